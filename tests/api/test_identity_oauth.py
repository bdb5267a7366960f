"""OAuth 2: registration, consent, codes, tokens, revocation (spec/03 §7, §8)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from tests.browser_forms import Browser, fields
from tests.clocks import SteppedClock
from tests.servers import Person, RunningServer

from inglenook.identity import clients, commands, housekeeping, tokens
from inglenook.identity.clients import CLIENTS

clock = SteppedClock()
CALLBACK = "https://device.example/cb"
DEVICE = {"redirect_uris": [CALLBACK], "client_name": "Device", "software_id": "github.com/example/device"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = RunningServer(tmp_path_factory.mktemp("data"))
    running.env = replace(running.env, clock=clock)
    running.start()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def another_hour() -> None:
    """Registrations are limited by the hour."""
    clock.step(3601)


@pytest.fixture
def browser(alice: Person) -> Browser:
    visitor = Browser(alice)
    assert visitor.login().status_code == 303
    return visitor


@pytest.fixture
def device(alice: Person) -> dict[str, Any]:
    return register(alice).json()


def register(person: Person, **changes: Any) -> httpx.Response:
    body = {name: value for name, value in {**DEVICE, **changes}.items() if value is not None}
    return person.http.post("/auth/register", json=body, headers={"Accept": "application/json"})


def asking(client: dict[str, Any], scope: str = "io.cozy.settings:GET", **changes: str) -> dict[str, str]:
    asked = {
        "client_id": client["client_id"], "redirect_uri": client["redirect_uris"][0], "state": "st4te",
        "response_type": "code", "scope": scope,
    }  # fmt: skip
    return {**asked, **changes}


def query(location: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(location).query))


def code_for(browser: Browser, client: dict[str, Any], scope: str = "io.cozy.settings:GET", **changes: str) -> str:
    page = browser.get("/auth/authorize", params=asking(client, scope, **changes))
    assert page.status_code == 200, page.text
    answer = browser.post("/auth/authorize", data=fields(page.text))
    assert answer.status_code == 302, answer.text
    return query(answer.headers["location"])["code"]


def exchange(person: Person, client: dict[str, Any], **more: str) -> httpx.Response:
    data = {"grant_type": "authorization_code", **{n: client[n] for n in ("client_id", "client_secret")}, **more}
    return person.http.post("/auth/access_token", data=data)


# -- registration


def test_a_client_is_given_an_identity(alice: Person) -> None:
    answer = register(alice, client_kind="mobile", notification_platform="IOS", unknown="x")
    assert answer.status_code == 201
    client = answer.json()
    assert len(client["client_secret"]) == 32
    assert client["client_secret_expires_at"] == 0
    assert client["pending"] is True
    assert client["grant_types"] == ["authorization_code", "refresh_token"]
    assert client["notification_platform"] == "ios"
    assert "unknown" not in client
    assert "_id" not in client


@pytest.mark.parametrize(
    "claim", [{name: True} for name in ("flagship", "certified_from_store", "created_at_onboarding")]
    + [{"client_id": "mine"}, {"client_secret": "mine"}, {"last_refreshed_at": "now"}, {"oidc_session_id": "x"}],
)  # fmt: skip
def test_a_client_cannot_give_itself_what_the_server_grants(alice: Person, claim: dict[str, Any]) -> None:
    client = register(alice, **claim).json()
    for name, value in claim.items():
        assert client.get(name) != value
    url, bearer = f"/auth/register/{client['client_id']}", bearer_of(client)
    answer = alice.http.put(url, json={**DEVICE, **claim, "client_id": client["client_id"]}, headers=bearer)
    if "client_secret" in claim:
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_secret")
    else:
        assert answer.status_code == 200
        for name, value in claim.items():
            assert answer.json().get(name) != value


@pytest.mark.parametrize(
    ("change", "error", "description"),
    [
        ({"redirect_uris": None}, "invalid_redirect_uri", "redirect_uris is mandatory"),
        ({"redirect_uris": []}, "invalid_redirect_uri", "redirect_uris is mandatory"),
        ({"redirect_uris": "https://d.example"}, "invalid_redirect_uri", "redirect_uris is invalid"),
        ({"redirect_uris": [1]}, "invalid_redirect_uri", "redirect_uris is invalid"),
        ({"redirect_uris": ["https://d.example/#x"]}, "invalid_redirect_uri", "https://d.example/#x is invalid"),
        ({"redirect_uris": ["http://[::bad"]}, "invalid_redirect_uri", "http://[::bad is invalid"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri", "javascript:alert(1) is invalid"),
        ({"client_name": ""}, "invalid_client_metadata", "client_name is mandatory"),
        ({"client_name": 3}, "invalid_client_metadata", "client_name is invalid"),
        ({"software_id": None}, "invalid_client_metadata", "software_id is mandatory"),
        ({"notification_platform": "pigeon"}, "invalid_client_metadata", None),
        ({"software_id": "registry://store"}, "unapproved_software_id", "Link with store/settings is forbidden"),
    ],
)
def test_an_incomplete_registration_says_what_is_missing(
    alice: Person, change: dict[str, Any], error: str, description: str | None
) -> None:
    answer = register(alice, **change)
    assert answer.status_code == 400
    assert answer.json() == {"error": error} | ({"error_description": description} if description else {})


def test_a_redirection_to_the_instance_itself_is_refused(alice: Person) -> None:
    assert register(alice, redirect_uris=[f"{alice.url}/auth/login"]).json()["error"] == "invalid_redirect_uri"


@pytest.mark.parametrize("body", ["{not json", "[]", '"text"', "", "null", "\xff"])
def test_a_registration_that_cannot_be_read_is_a_400(alice: Person, body: str) -> None:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    answer = alice.http.post("/auth/register", content=body.encode("latin-1"), headers=headers)
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_client_metadata"})


def test_twins_are_numbered_from_the_highest(alice: Person) -> None:
    made = [register(alice, client_name="Twin").json() for _ in range(3)]
    assert [one["client_name"] for one in made] == ["Twin", "Twin-2", "Twin-3"]
    alice.http.delete(f"/auth/register/{made[1]['client_id']}", headers=bearer_of(made[1]))
    assert register(alice, client_name="Twin").json()["client_name"] == "Twin-4"
    assert register(alice, client_name="Twin-3").json()["client_name"] == "Twin-3-2"


def test_registrations_are_limited_by_the_hour(server: RunningServer) -> None:
    flood = server.add("flood")
    assert [register(flood).status_code for _ in range(51)] == [201] * 50 + [404]
    clock.step(3601)
    assert register(flood).status_code == 201


def bearer_of(client: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {client['registration_access_token']}", "Accept": "application/json"}


def test_a_client_manages_itself_only(alice: Person, device: dict[str, Any]) -> None:
    url = f"/auth/register/{device['client_id']}"
    other = register(alice).json()
    for method in ("GET", "DELETE", "PUT"):
        answer = alice.http.request(method, url, headers=bearer_of(other), json=DEVICE)
        assert (answer.status_code, answer.json()) == (401, {"error": "invalid_token"})
    read = alice.http.get(url, headers=bearer_of(device)).json()
    assert read["client_secret"] == device["client_secret"]
    assert "registration_access_token" not in read
    same = {**DEVICE, "client_id": device["client_id"]}
    shown = alice.http.put(url, json={**same, "client_secret": device["client_secret"]}, headers=bearer_of(device))
    assert shown.json()["client_secret"] != device["client_secret"], "a secret that is shown back is renewed"
    assert alice.http.delete(url, headers=bearer_of(device)).status_code == 204
    gone = alice.http.get(url, headers=bearer_of(device))
    assert (gone.status_code, gone.json()) == (404, {"error": "Client not found"})
    assert alice.http.delete(url, headers=bearer_of(device)).status_code == 204


def test_a_registration_that_nobody_allowed_is_dropped_after_an_hour(
    server: RunningServer, alice: Person, browser: Browser
) -> None:
    allowed, abandoned = register(alice).json(), register(alice).json()
    code_for(browser, allowed)
    clock.step(3599)
    server.do(lambda _: housekeeping.tidy(alice.instance))
    assert alice.http.get(f"/auth/register/{abandoned['client_id']}", headers=bearer_of(abandoned)).status_code == 200
    clock.step(2)
    server.do(lambda _: housekeeping.tidy(alice.instance))
    assert alice.http.get(f"/auth/register/{abandoned['client_id']}", headers=bearer_of(abandoned)).status_code == 404
    assert alice.http.get(f"/auth/register/{allowed['client_id']}", headers=bearer_of(allowed)).status_code == 200


# -- consent


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"state": ""}, "The state parameter is mandatory"),
        ({"client_id": ""}, "The client_id parameter is mandatory"),
        ({"redirect_uri": ""}, "The redirect_uri parameter is mandatory"),
        ({"response_type": "token"}, "Invalid response type"),
        ({"code_challenge": "x", "code_challenge_method": "plain"}, "Invalid challenge code method"),
        ({"code_challenge_method": "S256"}, "The code_challenge parameter must be given"),
        ({"client_id": "unknown"}, "The client must be registered"),
        ({"redirect_uri": f"{CALLBACK}/more"}, "match the registered ones"),
        ({"scope": ""}, "The scope parameter is mandatory"),
        ({"scope": "login"}, "The scope parameter is mandatory"),
        ({"scope": "Io.Cozy"}, "Invalid scope"),
        ({"scope": "*"}, "must send a code_challenge"),
    ],
)
def test_a_bad_request_is_a_page_and_never_a_redirection(
    browser: Browser, device: dict[str, Any], change: dict[str, str], text: str
) -> None:
    asked = {**asking(device), **change}
    page = browser.get("/auth/authorize", params=asked)
    csrf = fields(browser.get("/auth/authorize", params=asking(device)).text)["csrf_token"]
    form = browser.post("/auth/authorize", data={**asked, "csrf_token": csrf})
    for answer in (page, form):
        assert answer.status_code == 400
        assert "location" not in answer.headers
        assert text in answer.text.replace("&#39;", "'")


def test_the_page_says_what_is_asked_for(browser: Browser, device: dict[str, Any]) -> None:
    page = browser.get("/auth/authorize", params=asking(device, "io.cozy.files:GET io.cozy.contacts:ALL:a"))
    assert "Your files" in page.text
    assert "read and change, some of them only" in page.text
    assert device["client_name"] in page.text


def test_the_consent_needs_the_session_and_the_form(alice: Person, browser: Browser, device: dict[str, Any]) -> None:
    stranger = Browser(alice)
    sent = stranger.get("/auth/authorize", params=asking(device))
    assert sent.status_code == 303
    back = query(sent.headers["location"])["redirect"]
    assert query(back)["client_id"] == device["client_id"]
    csrf = fields(stranger.get("/auth/login").text)["csrf_token"]
    assert stranger.post("/auth/authorize", data={**asking(device), "csrf_token": csrf}).status_code == 401
    browser.get("/auth/authorize", params=asking(device))
    assert browser.post("/auth/authorize", data=asking(device)).status_code == 400
    assert browser.post("/auth/authorize", data={**asking(device), "csrf_token": "x" * 32}).status_code == 403


def test_the_answer_carries_the_code_twice_and_a_lone_hash(alice: Person, browser: Browser) -> None:
    client = register(alice, redirect_uris=["https://device.example/cb?keep=me"]).json()
    page = browser.get("/auth/authorize", params=asking(client))
    where = browser.post("/auth/authorize", data=fields(page.text)).headers["location"]
    code = query(where)["code"]
    assert where == f"https://device.example/cb?access_code={code}&code={code}&keep=me&state=st4te#"
    native = register(alice, redirect_uris=["cozyx://callback"]).json()
    page = browser.get("/auth/authorize", params=asking(native))
    answer = browser.post("/auth/authorize", data=fields(page.text), headers={"Accept": "application/json"})
    assert answer.json()["deeplink"].startswith("cozyx://callback?access_code=")


def test_the_number_of_devices_can_be_limited(server: RunningServer) -> None:
    bob2 = server.add("bob2", passphrase="cozy", feature_flags={"cozy.oauthclients.max": 1})
    browser = Browser(bob2)
    browser.login()
    code_for(browser, register(bob2, client_kind="mobile").json())
    second = register(bob2, client_kind="mobile").json()
    assert "Too many devices" in browser.get("/auth/authorize", params=asking(second)).text
    usage = bob2.get("/settings/clients-usage", "io.cozy.settings").json()["data"]["attributes"]
    assert usage == {"limit": 1, "count": 1, "limitReached": True, "limitExceeded": False}


# -- tokens


def test_a_code_becomes_tokens_once(alice: Person, browser: Browser, device: dict[str, Any]) -> None:
    code = code_for(browser, device)
    assert exchange(alice, {**device, "client_secret": "x"}, code=code).json() == {"error": "invalid client_secret"}
    other = register(alice).json()
    assert exchange(alice, other, code=code).json() == {"error": "invalid code"}, "a code belongs to its client"
    got = exchange(alice, device, code=code)
    assert got.status_code == 200
    assert set(got.json()) == {"token_type", "scope", "access_token", "refresh_token"}
    assert exchange(alice, device, code=code).json() == {"error": "invalid code"}
    listed = alice.get("/settings/clients", "io.cozy.oauth.clients").json()["data"]
    mine = next(one for one in listed if one["id"] == device["client_id"])
    assert "pending" not in mine["attributes"]
    assert mine["attributes"]["last_refreshed_at"]
    assert "client_secret" not in mine["attributes"]


def test_a_code_lasts_five_minutes(alice: Person, browser: Browser, device: dict[str, Any]) -> None:
    code = code_for(browser, device)
    clock.step(301)
    assert exchange(alice, device, code=code).json() == {"error": "invalid code"}


def test_pkce_binds_a_code_to_who_knows_the_verifier(alice: Person, browser: Browser, device: dict[str, Any]) -> None:
    verifier = "v" * 43
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    code = code_for(browser, device, code_challenge=challenge, code_challenge_method="S256")
    for wrong in ({}, {"code_verifier": "x" * 43}):
        assert exchange(alice, device, code=code, **wrong).json() == {"error": "invalid code_verifier"}
    assert exchange(alice, device, code=code, code_verifier=verifier).status_code == 200


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"grant_type": ""}, "the grant_type parameter is mandatory"),
        ({"client_id": ""}, "the client_id parameter is mandatory"),
        ({"client_secret": ""}, "the client_secret parameter is mandatory"),
        ({"client_id": "unknown"}, "the client must be registered"),
        ({"client_secret": "x"}, "invalid client_secret"),
        ({"code": ""}, "the code parameter is mandatory"),
        ({"code": "unknown"}, "invalid code"),
        ({"grant_type": "password"}, "invalid grant type"),
        ({"grant_type": "refresh_token"}, "invalid refresh token"),
    ],
)
def test_a_bad_exchange_says_why(alice: Person, device: dict[str, Any], change: dict[str, str], error: str) -> None:
    answer = exchange(alice, device, **{"code": "unknown", **change})
    assert (answer.status_code, answer.json()) == (400, {"error": error})


def test_a_refresh_token_renews_for_its_client_only(alice: Person, browser: Browser, device: dict[str, Any]) -> None:
    got = exchange(alice, device, code=code_for(browser, device)).json()
    other = register(alice).json()
    for client, token in ((other, got["refresh_token"]), (device, got["access_token"]), (device, "garbage")):
        answer = exchange(alice, client, grant_type="refresh_token", refresh_token=token)
        assert answer.json() == {"error": "invalid refresh token"}
    for _ in range(2):
        answer = exchange(alice, device, grant_type="refresh_token", refresh_token=got["refresh_token"])
        assert set(answer.json()) == {"token_type", "scope", "access_token"}
    bearer = {"Authorization": f"Bearer {got['refresh_token']}", "Accept": "application/json"}
    assert alice.http.get("/permissions/self", headers=bearer).json() == {
        "error": "Unrecognized token audience [refresh]"
    }


def test_a_refresh_under_a_former_domain_gives_a_new_refresh_token(server: RunningServer) -> None:
    alice2 = server.add("alice2", old_domain=f"oldned.localhost:{server.port}")
    client = server.do(lambda _: commands.create_oauth_client(alice2.instance, "http://localhost", "n", "s"))
    secret = client.body["client_secret"]
    issued = tokens.issue(alice2.instance, tokens.REFRESH, client.id, scope="io.cozy.files")
    former = {"client_id": client.id, "client_secret": secret}
    assert "refresh_token" not in exchange(alice2, former, grant_type="refresh_token", refresh_token=issued).json()
    doc = alice2.instance.doc
    alice2.instance.doc = replace_domain(doc, doc.old_domain)
    old = tokens.issue(alice2.instance, tokens.REFRESH, client.id, scope="io.cozy.files")
    alice2.instance.doc = doc
    assert exchange(alice2, former, grant_type="refresh_token", refresh_token=old).json()["refresh_token"]
    answer = alice2.http.get("/public/prelogin?x=1", headers={"Host": doc.old_domain})
    assert (answer.status_code, answer.headers["location"]) == (308, f"{alice2.url}/public/prelogin?x=1")


def replace_domain(doc: Any, domain: str) -> Any:
    import msgspec

    return msgspec.structs.replace(doc, domain=domain)


def test_a_token_comes_in_three_ways(alice: Person) -> None:
    token = alice.token("io.cozy.settings")
    for sent in ({"headers": {"Authorization": f"bearer {token}"}}, {"auth": ("anyone", token)},
                 {"params": {"bearer_token": token}}):  # fmt: skip
        assert alice.http.get("/settings/capabilities", **sent).status_code == 200


def test_what_is_wrong_with_a_token_is_told_in_words_that_clients_match(alice: Person, server: RunningServer) -> None:
    def answer(token: str, accept: str = "application/json") -> httpx.Response:
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        return alice.http.get("/permissions/self", headers={"Accept": accept, **bearer})

    none = answer("")
    assert (none.status_code, none.json()) == (401, {"error": "No token in request"})
    bad = answer("garbage")
    assert (bad.status_code, bad.json()) == (400, {"error": "Invalid JWT token"})
    assert bad.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    life = commands.oauth_token(alice.instance, alice.client_id, ["io.cozy.files"], expire=10)
    token = server.do(lambda _: life)
    assert answer(token).status_code == 200
    clock.step(11)
    old = answer(token)
    assert (old.status_code, old.json()) == (400, {"error": "Expired token"})
    assert "expired" in old.headers["www-authenticate"]
    text = answer("garbage", "application/vnd.api+json")
    assert text.headers["content-type"].startswith("text/plain")
    short = answer("abcdefABCDEF")
    assert (short.status_code, short.json()) == (403, {"error": "no permission doc for shortcode abcdefABCDEF"})


def test_the_everything_scope_is_worth_nothing_to_an_ordinary_client(alice: Person, server: RunningServer) -> None:
    token = server.do(lambda _: commands.oauth_token(alice.instance, alice.client_id, ["*"]))
    assert alice.get("/permissions/self", token=token).status_code == 400
    cli = tokens.issue(alice.instance, tokens.CLI, "CLI", scope="*")
    assert alice.get("/permissions/self", token=cli).status_code == 400


# -- the owner's list


def test_the_owner_sees_and_ends_devices(alice: Person, browser: Browser) -> None:
    client = register(alice, client_kind="mobile").json()
    got = exchange(alice, client, code=code_for(browser, client)).json()
    assert alice.get("/permissions/self", token=got["access_token"]).status_code == 200
    assert alice.post("/settings/synchronized", token=got["access_token"]).status_code == 204
    seen: list[str] = []
    url = "/settings/clients?page[limit]=2"
    while url:
        page = alice.get(url, "io.cozy.oauth.clients").json()
        assert len(page["data"]) <= 2
        seen += [one["id"] for one in page["data"]]
        url = page["links"].get("next", "")
    assert len(seen) == len(set(seen))
    assert client["client_id"] in seen
    assert alice.delete(f"/settings/clients/{client['client_id']}", "io.cozy.oauth.clients:GET").status_code == 403
    assert alice.delete(f"/settings/clients/{client['client_id']}", "io.cozy.oauth.clients").status_code == 204
    assert alice.delete(f"/settings/clients/{client['client_id']}", "io.cozy.oauth.clients").status_code == 404
    assert alice.get("/permissions/self", token=got["access_token"]).status_code == 400
    refresh = exchange(alice, client, grant_type="refresh_token", refresh_token=got["refresh_token"])
    assert refresh.json() == {"error": "the client must be registered"}


def test_the_client_of_a_sharing_is_complete_and_told_apart(alice: Person, server: RunningServer) -> None:
    instance = alice.instance

    async def make(_: object) -> Any:
        return await instance.store.write(
            lambda tx: clients.create_sharing_client(tx, instance, "https://bob.example/", "Bob")
        )

    made = server.do(make)
    declared = register(alice, client_kind="sharing").json()
    assert "client_kind" not in declared, "nobody declares itself another server"
    again = {**DEVICE, "client_id": declared["client_id"], "client_kind": "sharing"}
    url = f"/auth/register/{declared['client_id']}"
    assert "client_kind" not in alice.http.put(url, json=again, headers=bearer_of(declared)).json()
    wire = clients.wire_client(instance, made)
    assert wire["redirect_uris"] == ["https://bob.example/sharings/answer"]
    assert wire["client_name"] == "Sharing Bob"
    assert wire["client_uri"] == "https://bob.example/"
    assert "pending" not in wire
    pair = clients.issue_pair(instance, made.id, "io.cozy.sharings:GET:abc")
    assert pair.wire()["token_type"] == "bearer"

    async def look(_: object) -> Any:
        from inglenook.identity.caller import granted

        return (await granted(instance, pair.access_token, {})).permit

    permit = server.do(look)
    assert (permit.client_kind, permit.sharing_id, permit.client_id) == ("sharing", "abc", made.id)

    async def own(_: object) -> Any:
        return await instance.store.write(lambda tx: clients.create_sharing_client(tx, instance, alice.url, "Alice"))

    with pytest.raises(clients.ClientRefused):
        server.do(own)
    assert server.do(lambda _: instance.store.read(lambda view: view.get(CLIENTS, made.id))) is not None
