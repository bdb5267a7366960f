"""What is alice's is nothing at bob's, although one server and one cookie jar serve both."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.api.apps_workshop import boot_data, install, visit
from tests.browser_forms import Browser, fields, hashed
from tests.servers import Person, RunningServer

from inglenook.identity import commands, one_time, tokens


def at(person: Person, cookies: dict[str, str]) -> Browser:
    """A browser that sends somebody else's cookies to a person's server."""
    browser = Browser(person)
    browser.cookies.update(cookies)
    return browser


def test_a_session_is_one_at_its_own_instance_only(owner: Browser, bob: Person) -> None:
    thief = at(bob, owner.cookies)
    assert not thief.logged_in
    assert visit(thief).status_code == 302, "the app asks to log in"
    assert thief.get("/auth/login").status_code == 200


def test_a_page_token_is_bound_to_its_instance_and_session(owner: Browser, alice: Person, bob: Person) -> None:
    token = boot_data(visit(owner).text)["token"]
    bearer = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    assert owner.get("/permissions/self", headers=bearer).status_code == 200
    at_bob = at(bob, owner.cookies).get("/permissions/self", headers=bearer)
    assert (at_bob.status_code, at_bob.json()) == (400, {"error": "Invalid JWT token"})
    other = Browser(alice)
    other.login()
    assert other.get("/permissions/self", headers=bearer).status_code == 400, "another session of the same owner"
    assert Browser(alice).get("/permissions/self", headers=bearer).status_code == 400, "without the cookie"


@pytest.mark.parametrize("audience", [tokens.ACCESS, tokens.APP, tokens.CLI, tokens.SHARE, tokens.KONNECTOR])
def test_no_token_of_a_neighbour_opens_anything(alice: Person, bob: Person, audience: str) -> None:
    subject = {"app": "mini", "access": bob.client_id}.get(audience, "x")
    token = tokens.issue(bob.instance, audience, subject, scope="io.cozy.tests")
    for path in ("/permissions/self", "/files/io.cozy.files.root-dir", "/data/io.cozy.tests/_all_docs"):
        assert alice.get(path, token=token).status_code == 400


def test_a_token_signed_by_a_neighbour_in_the_name_of_alice_is_forged(alice: Person, bob: Person) -> None:
    class Pretended:
        """Bob's secrets under alice's name."""

        domain = alice.domain
        doc = bob.instance.doc
        env = bob.instance.env
        session_key = bob.instance.session_key

    forged = tokens.issue(Pretended(), tokens.ACCESS, alice.client_id, scope="io.cozy.tests")  # type: ignore[arg-type]
    assert alice.get("/permissions/self", token=forged).status_code == 400


def test_a_client_of_alice_is_unknown_at_bobs(alice: Person, bob: Person) -> None:
    client = alice.server.do(
        lambda _: commands.create_oauth_client(alice.instance, "https://x.example/cb", "D", "github.com/x/y")
    )
    refresh = tokens.issue(alice.instance, tokens.REFRESH, client.id, scope="io.cozy.tests")
    form = {
        "grant_type": "refresh_token", "client_id": client.id, "client_secret": client.body["client_secret"],
        "refresh_token": refresh,
    }  # fmt: skip
    refused = bob.http.post("/auth/access_token", data=form)
    assert refused.json() == {"error": "the client must be registered"}
    assert alice.http.post("/auth/access_token", data=form).status_code == 200


def test_codes_of_alice_are_nothing_at_bobs(alice: Person, bob: Person) -> None:
    code = alice.server.do(lambda _: one_time.make_code(alice.instance, one_time.SESSION_CODE, 3600.0))
    browser = Browser(bob)
    visit(browser, f"/?session_code={code}")
    assert not browser.logged_in
    rules = {"x": {"type": "io.cozy.tests", "verbs": ["GET"], "values": ["1"]}}
    body = {"data": {"attributes": {"permissions": rules}}}
    made = alice.post("/permissions?codes=c", "io.cozy.tests", json_body=body).json()["data"]["attributes"]
    assert bob.get("/permissions/self", token=made["codes"]["c"]).status_code == 400
    assert bob.get("/permissions/self", token=made["shortcodes"]["c"]).status_code == 403


def test_a_form_of_alice_cannot_be_sent_to_bob(alice: Person, bob: Person) -> None:
    page = Browser(alice).get("/auth/login")
    token = fields(page.text)["csrf_token"]
    sent = {"csrf_token": token, "passphrase": hashed("cozy", bob.domain)}
    assert Browser(bob).post("/auth/login", data=sent).status_code == 403


def test_the_cookie_of_a_password_opens_that_link_only(alice: Person, bob: Person) -> None:
    rules = {"x": {"type": "io.cozy.tests", "verbs": ["GET"], "values": ["1"]}}
    made: list[tuple[Person, str, str]] = []
    for person in (alice, alice, bob):
        body = {"data": {"attributes": {"permissions": rules, "password": "hush"}}}
        data = person.post("/permissions?codes=c", "io.cozy.tests", json_body=body).json()["data"]
        made.append((person, data["id"], data["attributes"]["shortcodes"]["c"]))
    visitor = Browser(alice)
    given = visitor.post("/auth/share-by-link/password", data={"perm_id": made[0][1], "password": "hush"})
    assert given.json() == {"password": "ok"}
    value = visitor.cookies[f"pass{made[0][1]}"]
    for person, id, code in made:
        stolen = at(person, {f"pass{id}": value, f"pass{made[0][1]}": value})
        answer = stolen.get("/permissions/self", headers={"Authorization": f"Bearer {code}"})
        assert answer.status_code == (200 if id == made[0][1] else 400)


def test_with_flat_sub_domains_the_cookies_of_neighbours_are_told_apart(
    tmp_path_factory: pytest.TempPathFactory, app_folder: Path
) -> None:
    server = RunningServer(tmp_path_factory.mktemp("flat"), subdomains="flat").start()
    try:
        alice, bob = server.add("alice", passphrase="cozy"), server.add("bob", passphrase="cozy")
        for person in (alice, bob):
            install(person, app_folder)
        browser = Browser(alice)
        browser.login()
        own = f"sess-{alice.instance.prefix}"
        assert own in browser.cookies
        assert browser.logged_in
        thief = at(bob, {**browser.cookies, f"sess-{bob.instance.prefix}": browser.cookies[own]})
        assert not thief.logged_in, "the name of the cookie is part of what is signed"
        assert visit(thief).status_code == 302
    finally:
        server.stop()
