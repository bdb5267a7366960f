"""Links: who may make, read, change and revoke them, and what their codes open (spec/03 §10, §11)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.browser_forms import Browser, cookie_line
from tests.clocks import SteppedClock
from tests.servers import Person, RunningServer

from inglenook.environment import rfc3339
from inglenook.identity import permission_documents, tokens

clock = SteppedClock()
TESTS = "io.cozy.tests"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = RunningServer(tmp_path_factory.mktemp("data"))
    running.env = replace(running.env, clock=clock)
    running.start()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def fresh_tokens(alice: Person) -> None:
    """Time passes in these tests: no access token of an earlier one is used again."""
    alice._tokens.clear()


def rule(*values: str, verbs: tuple[str, ...] = ("GET",), type: str = TESTS, **more: Any) -> dict[str, Any]:
    built: dict[str, Any] = {"type": type, "verbs": list(verbs), **more}
    return built | ({"values": list(values)} if values else {})


def make(
    person: Person, rules: dict[str, Any], *scopes: str, params: dict[str, str] | None = None, token: str | None = None,
    **attributes: Any,
) -> httpx.Response:  # fmt: skip
    body = {"data": {"type": "io.cozy.permissions", "attributes": {"permissions": rules, **attributes}}}
    return person.post("/permissions", *(scopes or (TESTS,)), params=params or {}, token=token, json_body=body)


def link(person: Person, rules: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    answer = make(person, rules or {"t": rule("a")}, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def change(person: Person, id: str, *scopes: str, token: str | None = None, **attributes: Any) -> httpx.Response:
    body = {"data": {"type": "io.cozy.permissions", "id": id, "attributes": attributes}}
    return person.patch(f"/permissions/{id}", *(scopes or (TESTS,)), token=token, json_body=body)


def opens(person: Person, code: str) -> bool:
    return person.get("/permissions/self", token=code).status_code == 200


def in_hours(hours: float) -> str:
    return rfc3339(clock.now() + timedelta(hours=hours))


# -- making


def test_each_name_has_a_long_and_a_short_code(alice: Person) -> None:
    made = link(alice, params={"codes": "bob,bob2"})
    attributes = made["attributes"]
    assert set(attributes["codes"]) == set(attributes["shortcodes"]) == {"bob", "bob2"}
    assert all(re.fullmatch(r"[0-9A-Za-z]{12}", short) for short in attributes["shortcodes"].values())
    claims = tokens.unverified(attributes["codes"]["bob"])
    assert claims is not None
    assert (claims.sub, claims.audience, claims.iss) == ("bob", "share", alice.domain)
    for code in (*attributes["codes"].values(), *attributes["shortcodes"].values()):
        assert opens(alice, code)
        assert opens(alice, code + ".") is (len(code) == 12)
    metadata = attributes["cozyMetadata"]
    assert metadata["updatedByApps"][0]["instance"] == alice.domain
    assert attributes["source_id"] == metadata["createdByApp"] == alice.client_id
    assert made["links"] == {"self": f"/permissions/{made['id']}"}


def test_without_names_there_is_one_nameless_code(alice: Person) -> None:
    assert list(link(alice)["attributes"]["codes"]) == [""]


def test_codes_of_one_name_and_moment_are_different(alice: Person) -> None:
    made = [link(alice, params={"codes": "same"})["attributes"]["codes"]["same"] for _ in range(4)]
    assert len(set(made)) == 4
    assert all(opens(alice, code) for code in made)


def test_the_order_of_rules_is_kept(alice: Person) -> None:
    titles = ["zebra", "apple", "mango"]
    made = link(alice, {title: rule(title) for title in titles})
    assert list(made["attributes"]["permissions"]) == titles
    mine = alice.get("/permissions/self", token=made["attributes"]["codes"][""]).json()["data"]["attributes"]
    assert list(mine["permissions"]) == titles
    assert not {"codes", "shortcodes"} & set(mine)


@pytest.mark.parametrize(("ttl", "hours"), [("30m", 0.5), ("1D", 24), ("1Y", 365 * 24)])
def test_a_link_lives_as_long_as_it_is_told(alice: Person, ttl: str, hours: float) -> None:
    made = link(alice, params={"ttl": ttl, "codes": "c"})["attributes"]
    clock.step(hours * 3600 - 1)
    assert opens(alice, made["shortcodes"]["c"])
    clock.step(2)
    answer = alice.get("/permissions/self", token=made["shortcodes"]["c"], headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()) == (400, {"error": "Expired token"})


def test_an_unreadable_end_is_refused(alice: Person) -> None:
    for params, attributes, pointer in (
        ({"ttl": "soon"}, {}, {"parameter": "ttl"}),
        ({}, {"expires_at": "next tuesday"}, {"pointer": "/data/attributes/expires_at"}),
    ):
        answer = make(alice, {"t": rule()}, params=params, **attributes)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["source"] == pointer


def test_tiny_codes_live_an_hour_at_most(alice: Person) -> None:
    def short(**params: str) -> str:
        return link(alice, params={**params, "codes": "c"})["attributes"]["shortcodes"]["c"]

    assert re.fullmatch(r"\d{6}", short(ttl="1h", tiny="true"))
    assert len(short(ttl="2h", tiny="true")) == len(short(tiny="true")) == 12


def test_trying_tiny_codes_is_slowed_down(server: RunningServer) -> None:
    alice2 = server.add("alice2")
    code = link(alice2, params={"ttl": "1h", "tiny": "true", "codes": "c"})["attributes"]["shortcodes"]["c"]
    tries = [f"{(int(code) + n) % 1_000_000:06d}" for n in range(1, 22)]
    statuses = [alice2.get("/permissions/self", token=one).status_code for one in tries]
    assert statuses == [403] * 20 + [429]
    assert alice2.get("/permissions/self", token=code).status_code == 429
    clock.step(2)
    assert alice2.get("/permissions/self", token=code).status_code == 200
    assert alice2.get("/permissions/self", token="abcdefABCDEF").status_code == 403


@pytest.mark.parametrize(
    ("scope", "wanted", "status"),
    [
        (TESTS, rule(), 200),
        (f"{TESTS}:GET", rule(verbs=("GET", "POST")), 403),
        (f"{TESTS}:GET", {"type": TESTS}, 403),
        (f"{TESTS}:GET:a,b", rule("a"), 200),
        (f"{TESTS}:GET:a,b", rule("a", "c"), 403),
        (f"{TESTS}:GET:a,b", rule(), 403),
        (f"{TESTS}:GET", rule(type="io.cozy.contacts"), 403),
        (TESTS, {"type": "*"}, 403),
        ("io.cozy.sharings", rule(type="io.cozy.sharings"), 403),
        (TESTS, rule(verbs=("SHOUT",)), 400),
        (TESTS, rule(type="io..cozy"), 403),
        (TESTS, "text", 400),
    ],
)
def test_a_link_gives_no_more_than_its_maker_has(alice: Person, scope: str, wanted: Any, status: int) -> None:
    assert make(alice, {"t": wanted}, scope).status_code == status


def test_a_link_makes_no_links(alice: Person) -> None:
    code = link(alice, {"t": {"type": TESTS}})["attributes"]["codes"][""]
    answer = make(alice, {"t": rule()}, token=code)
    assert (answer.status_code, answer.text) == (403, "Only apps can create sharing permissions")
    assert alice.post("/permissions", json_body={}).status_code == 401


@pytest.mark.parametrize("body", [None, [], {"data": []}, {"data": {"attributes": {"permissions": []}}}, {"data": {}}])
def test_a_body_without_rules_is_a_400(alice: Person, body: Any) -> None:
    assert alice.post("/permissions", TESTS, json_body=body).status_code == 400


# -- reading


def test_a_link_is_read_by_its_maker_only(alice: Person, server: RunningServer) -> None:
    made = link(alice)
    read = alice.get(f"/permissions/{made['id']}", TESTS).json()["data"]["attributes"]
    assert "codes" not in read
    stranger = server.do(lambda _: other_client(alice))
    assert alice.get(f"/permissions/{made['id']}", token=stranger(TESTS)).status_code == 403
    assert alice.get("/permissions/unknown", TESTS).status_code == 404


async def other_client(person: Person) -> Any:
    from inglenook.identity import commands

    client = await commands.create_oauth_client(person.instance, "http://localhost", "other", "github.com/other")

    def token(scope: str) -> str:
        return tokens.issue(person.instance, tokens.ACCESS, client.id, scope=scope)

    return token


def test_links_of_a_doctype_are_listed_in_pages_with_their_codes(server: RunningServer) -> None:
    carol3 = server.add("carol3")
    made = {link(carol3, {"t": rule(f"v{n}")})["id"] for n in range(5)}
    link(carol3, {"o": rule(type="io.cozy.contacts")}, token=carol3.token("io.cozy.contacts"))
    seen: list[str] = []
    url = f"/permissions/doctype/{TESTS}/shared-by-link?page[limit]=2"
    while url:
        page = carol3.get(url, TESTS).json()
        assert all(one["attributes"]["codes"] for one in page["data"])
        assert page["meta"]["count"] == len(page["data"])
        seen += [one["id"] for one in page["data"]]
        url = page["links"].get("next", "")
    assert len(seen) == 5
    assert set(seen) == made
    for scope in (f"{TESTS}:POST", f"{TESTS}:GET:a", "io.cozy.contacts"):
        assert carol3.get(f"/permissions/doctype/{TESTS}/shared-by-link", scope).status_code == 403
    for query in ("page[limit]=x", "page[cursor]=x"):
        assert carol3.get(f"/permissions/doctype/{TESTS}/sharedByLink?{query}", TESTS).status_code == 422


def test_one_may_ask_which_documents_have_a_link(alice: Person) -> None:
    link(alice, {"t": rule("shared", verbs=("POST", "GET"))})
    asked = {"data": [{"type": TESTS, "id": "shared"}, {"type": TESTS, "id": "not shared"}]}
    found = alice.post("/permissions/exists", TESTS, json_body=asked)
    assert found.json() == {"data": [{"id": "shared", "type": TESTS, "verbs": ["GET", "POST"]}]}
    assert alice.post("/permissions/exists", "io.cozy.contacts", json_body=asked).json() == {"data": None}
    assert alice.post("/permissions/exists", json_body=asked).status_code == 401


# -- changing


def test_rules_are_added_replaced_and_removed_by_title(alice: Person) -> None:
    made = link(alice)
    added = change(alice, made["id"], permissions={"more": rule("b")}).json()["data"]["attributes"]
    assert list(added["permissions"]) == ["t", "more"]
    assert added["cozyMetadata"]["updatedByApps"][0]["instance"] == alice.domain
    left = change(alice, made["id"], permissions={"t": {}, "more": rule("c")}).json()["data"]["attributes"]
    assert left["permissions"] == {"more": rule("c")}
    for bad in ({"x": rule(type="io.cozy.contacts")}, {"x": rule(type="*")}):
        assert change(alice, made["id"], permissions=bad).status_code == 403


def test_codes_are_kept_or_removed_and_never_chosen(alice: Person) -> None:
    made = link(alice, params={"codes": "bob,bob2"})
    codes = made["attributes"]["codes"]
    foreign = link(alice, params={"codes": "x"})["attributes"]["codes"]["x"]
    for chosen in ({"weak": "1234"}, {"copy": foreign}, {"bob": 3}):
        assert change(alice, made["id"], codes=chosen).status_code == 422
    left = change(alice, made["id"], codes={"bob2": codes["bob2"]}).json()["data"]["attributes"]
    assert set(left["codes"]) == set(left["shortcodes"]) == {"bob2"}
    assert not opens(alice, codes["bob"])
    assert opens(alice, codes["bob2"])
    assert opens(alice, foreign)


def test_the_end_can_be_set_and_lifted(alice: Person) -> None:
    made = link(alice)
    code = made["attributes"]["codes"][""]
    assert change(alice, made["id"], expires_at=in_hours(-1)).status_code == 200
    assert not opens(alice, code)
    assert alice.get(f"/permissions/{made['id']}", TESTS).status_code == 400
    assert change(alice, made["id"], expires_at="soon").status_code == 422
    assert "expires_at" not in change(alice, made["id"], expires_at="").json()["data"]["attributes"]
    assert opens(alice, code)


def test_a_change_names_one_thing(alice: Person) -> None:
    made = link(alice)
    for attributes in ({}, {"codes": {}, "permissions": {}}, {"other": 1}):
        answer = change(alice, made["id"], **attributes)
        assert answer.status_code == 400


def test_strangers_and_visitors_change_nothing(alice: Person, server: RunningServer) -> None:
    made = link(alice, {"t": {"type": TESTS}})
    code = made["attributes"]["codes"][""]
    stranger = server.do(lambda _: other_client(alice))("io.cozy.contacts")
    for token in (stranger, code):
        changes: list[dict[str, Any]] = [
            {"codes": {}},
            {"expires_at": ""},
            {"password": "x"},
            {"permissions": {"m": rule(type="io.cozy.contacts")}},
            {"permissions": {"t": {}}},
        ]
        for attributes in changes:
            assert change(alice, made["id"], token=token, **attributes).status_code == 403, attributes
        assert alice.delete(f"/permissions/{made['id']}", token=token).status_code == 403
    assert opens(alice, code)


def test_a_client_with_the_same_rights_may_revoke(alice: Person, server: RunningServer) -> None:
    made = link(alice)
    other = server.do(lambda _: other_client(alice))(TESTS)
    assert alice.delete(f"/permissions/{made['id']}", token=other).status_code == 204
    for code in (made["attributes"]["codes"][""], made["attributes"]["shortcodes"][""]):
        answer = alice.get("/permissions/self", token=code)
        assert answer.status_code == 403
        assert "no permission doc for" in answer.text
    assert alice.delete(f"/permissions/{made['id']}", token=other).status_code == 404


def test_the_rules_of_an_app_are_its_own(alice: Person, server: RunningServer) -> None:
    instance = alice.instance
    now = instance.env.clock.timestamp()
    rules = {"tests": {"type": TESTS, "verbs": ["GET"]}, "contacts": {"type": "io.cozy.contacts"}}

    async def install(_: object) -> Any:
        return await instance.store.write(
            lambda tx: permission_documents.put_for_app(tx, "io.cozy.apps/mini", rules, now)
        )

    document = server.do(install)
    app = tokens.issue(instance, tokens.APP, "mini")
    mine = alice.get("/permissions/self", token=app).json()["data"]
    assert (mine["id"], mine["attributes"]["type"]) == (document.id, "app")
    assert list(mine["attributes"]["permissions"]) == ["tests", "contacts"]
    made = make(alice, {"t": rule("a")}, token=app).json()["data"]["attributes"]
    assert made["source_id"] == "io.cozy.apps/mini"
    assert made["cozyMetadata"]["createdByApp"] == "mini"
    body = {"data": {"attributes": {"permissions": {"x": rule()}}}}
    assert alice.patch("/permissions/apps/mini", TESTS, json_body=body).status_code == 403
    assert alice.patch("/permissions/apps/mini", token=app, json_body=body).status_code == 200
    assert alice.patch("/permissions/apps/none", token=app, json_body=body).status_code == 404
    assert alice.delete(f"/permissions/{document.id}", token=app).status_code == 403
    unknown = tokens.issue(instance, tokens.APP, "unknown")
    assert alice.get("/permissions/self", token=unknown).status_code == 400


# -- passwords


@pytest.fixture
def protected(alice: Person) -> dict[str, Any]:
    return link(alice, params={"codes": "c"}, password="hush")


def give(browser: Browser, id: str, password: str, **headers: str) -> httpx.Response:
    form = {"perm_id": id, "password": password}
    return browser.post("/auth/share-by-link/password", data=form, headers={"Accept": "application/json", **headers})


def test_a_protected_link_opens_with_its_password_only(alice: Person, protected: dict[str, Any]) -> None:
    assert protected["attributes"]["password"] is True
    code = protected["attributes"]["shortcodes"]["c"]
    browser = Browser(alice)
    bearer = {"Authorization": f"Bearer {code}", "Accept": "application/json"}
    closed = browser.get("/permissions/self", headers=bearer)
    assert (closed.status_code, closed.json()) == (400, {"error": "Invalid JWT token"})
    assert "www-authenticate" not in closed.headers, "another token would not help"
    wrong = give(browser, protected["id"], "x")
    assert (wrong.status_code, wrong.json()) == (403, {"error": "Invalid password"})
    origin = f"http://drive.{alice.domain}"
    right = give(browser, protected["id"], "hush", Origin=origin)
    assert (right.status_code, right.json()) == (200, {"password": "ok"})
    assert right.headers["access-control-allow-origin"] == origin
    line = cookie_line(right, f"pass{protected['id']}")
    for part in ("path=/", "domain=alice.localhost", "httponly", "samesite=lax"):
        assert part in line
    assert "max-age" not in line
    opened = browser.get("/permissions/self", headers=bearer)
    assert opened.status_code == 200
    assert opened.json()["data"]["attributes"]["password"] is True


def test_a_new_password_ends_the_visits_of_the_old_one(alice: Person, protected: dict[str, Any]) -> None:
    browser = Browser(alice)
    bearer = {"Authorization": f"Bearer {protected['attributes']['codes']['c']}"}
    give(browser, protected["id"], "hush")
    assert browser.get("/permissions/self", headers=bearer).status_code == 200
    assert change(alice, protected["id"], password="other").status_code == 200
    assert browser.get("/permissions/self", headers=bearer).status_code == 400
    assert "password" not in change(alice, protected["id"], password="").json()["data"]["attributes"]
    assert browser.get("/permissions/self", headers=bearer).status_code == 200
    assert give(browser, protected["id"], "any").json() == {"password": "none"}


def test_guessing_passwords_is_slowed_down(alice: Person, protected: dict[str, Any]) -> None:
    browser = Browser(alice)
    statuses = [give(browser, protected["id"], f"guess {n}").status_code for n in range(22)]
    assert statuses == [403] * 20 + [429] * 2
    waiting = give(browser, protected["id"], "hush")
    assert waiting.status_code == 429
    clock.step(int(waiting.headers["retry-after"]))
    assert give(browser, protected["id"], "hush").json() == {"password": "ok"}
    assert give(Browser(alice), link(alice, password="other")["id"], "other").status_code == 200


def test_an_unknown_or_expired_link_has_no_password(alice: Person) -> None:
    assert give(Browser(alice), "unknown", "x").status_code == 404
    ended = link(alice, password="hush", expires_at=in_hours(-1))
    assert give(Browser(alice), ended["id"], "hush").status_code == 404


# -- across instances


def test_a_code_is_nothing_on_another_instance(alice: Person, server: RunningServer) -> None:
    bob3 = server.add("bob3")
    made = link(alice, params={"codes": "c"})["attributes"]
    assert bob3.get("/permissions/self", token=made["codes"]["c"]).status_code == 400
    assert bob3.get("/permissions/self", token=made["shortcodes"]["c"]).status_code == 403
