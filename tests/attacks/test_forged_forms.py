"""Forms sent from elsewhere, sessions that were prepared, pages in frames (spec/03 §2.5, §6.1)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.api.apps_workshop import visit
from tests.browser_forms import Browser, cookie_line, fields, hashed
from tests.servers import Person

FORMS = [
    "/auth/login", "/auth/passphrase_reset", "/auth/passphrase_renew", "/auth/confirm", "/auth/authorize",
    "/auth/authorize/sharing",
]  # fmt: skip
PAGES = [
    "/auth/login", "/auth/passphrase_reset", "/auth/confirm?state=s", "/auth/twofactor?two_factor_token=x",
    "/auth/passphrase_renew?token=00", "/auth/authorize", "/auth/authorize/sharing", "/nowhere",
]  # fmt: skip


@pytest.mark.parametrize("path", FORMS)
def test_each_form_has_to_repeat_the_token_of_its_browser(owner: Browser, path: str) -> None:
    owner.get("/auth/login")
    own = owner.cookies["_csrf"]
    as_script = {"Accept": "application/json"}
    missing = owner.post(path, data={"x": "1"}, headers=as_script)
    assert (missing.status_code, missing.json()) == (400, {"error": "missing csrf token in the form parameter"})
    for forged in ("x" * 32, own[:-1], own + "a", own.swapcase()):
        wrong = owner.post(path, data={"csrf_token": forged}, headers=as_script)
        assert (wrong.status_code, wrong.json()) == (403, {"error": "invalid csrf token"})
    del owner.cookies["_csrf"]
    assert owner.post(path, data={"csrf_token": own}, headers=as_script).status_code == 403


def test_an_address_does_not_bring_the_token(owner: Browser) -> None:
    owner.get("/auth/login")
    token = owner.cookies["_csrf"]
    assert owner.post(f"/auth/authorize?csrf_token={token}", data={"x": "1"}).status_code == 400


@pytest.mark.parametrize("planted", ["", "a", "x; Domain=evil.example", "a b", "é", "<script>", "A" * 5000, "a\tb"])
def test_a_planted_cookie_is_not_taken_over_as_it_is(alice: Person, planted: str) -> None:
    answer = alice.http.get("/auth/login", headers={"Cookie": f"_csrf={planted}".encode()})
    assert answer.status_code in (200, 400, 431)
    if answer.status_code == 200:
        assert re.match(r"_csrf=[a-z]{32}; ", cookie_line(answer, "_csrf"))
        assert "<script>" not in answer.text.replace('<script src="', "")


def test_the_cookie_of_forms_does_not_travel_from_other_sites(alice: Person) -> None:
    line = cookie_line(Browser(alice).get("/auth/login"), "_csrf")
    for attribute in ("httponly", "samesite=strict", "path=/auth"):
        assert attribute in line


def test_a_prepared_session_is_not_adopted(alice: Person, owner: Browser) -> None:
    prepared = "A" * 80
    victim = Browser(alice)
    victim.cookies["cozysessid"] = prepared
    assert not victim.logged_in
    assert victim.login().status_code == 303
    assert victim.cookies["cozysessid"] != prepared
    again = Browser(alice)
    again.login()
    assert again.cookies["cozysessid"] not in (victim.cookies["cozysessid"], owner.cookies["cozysessid"])


def test_an_ended_session_stays_ended(alice: Person) -> None:
    browser = Browser(alice)
    browser.login()
    kept = browser.cookies["cozysessid"]
    answer = browser.post("/auth/passphrase_reset", data=fields(browser.get("/auth/passphrase_reset").text))
    assert answer.status_code == 200
    thief = Browser(alice)
    thief.cookies["cozysessid"] = kept
    assert not thief.logged_in, "the session was ended by the wish for another passphrase"


def test_a_session_is_not_given_by_an_address(alice: Person, owner: Browser) -> None:
    stolen = owner.cookies["cozysessid"]
    visitor = Browser(alice)
    for name in ("cozysessid", "session_id", "sessionid"):
        assert visitor.get(f"/settings/sessions/current?{name}={stolen}").status_code == 404


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("known", [False, True], ids=["visitor", "owner"])
def test_no_page_of_the_instance_can_be_framed_or_run_scripts_from_elsewhere(
    alice: Person, owner: Browser, path: str, known: bool
) -> None:
    browser = owner if known else Browser(alice)
    answer = browser.get(path, headers={"Accept": "text/html"})
    policy = answer.headers["content-security-policy"]
    assert "frame-ancestors 'none';" in policy
    assert "base-uri 'none';" in policy
    assert "unsafe-inline" not in policy
    assert "script-src" not in policy or "'self'" in policy
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on[a-z]+=", answer.text), "nothing inline"


def test_the_page_of_an_app_is_framed_by_itself_only(owner: Browser) -> None:
    assert "frame-ancestors 'self';" in visit(owner).headers["content-security-policy"]


def test_nothing_below_auth_is_read_by_other_origins(owner: Browser) -> None:
    evil = {"Origin": "https://evil.example"}
    logout = owner.request("OPTIONS", "/auth/login", headers={**evil, "Access-Control-Request-Method": "POST"})
    assert logout.headers["access-control-allow-methods"] == "DELETE", "logging out, which takes the token of an app"
    assert "access-control-allow-origin" not in owner.get("/auth/login", headers=evil).headers
    for path in ("/auth/authorize", "/auth/confirm?state=s", "/auth/register/x", "/auth/access_token"):
        assert "access-control-allow-origin" not in owner.get(path, headers=evil).headers
        asked = {**evil, "Access-Control-Request-Method": "POST"}
        assert "access-control-allow-origin" not in owner.request("OPTIONS", path, headers=asked).headers
    assert "access-control-allow-origin" not in visit(owner, headers=evil).headers


def test_a_cookie_alone_changes_nothing_through_the_api(owner: Browser) -> None:
    """What a foreign page could make the owner's browser send: requests with the cookie, without a token."""
    for method, path in (
        ("DELETE", "/auth/login"), ("DELETE", "/settings/email"), ("PUT", "/settings/passphrase"),
        ("POST", "/permissions"), ("DELETE", "/files/trash"), ("POST", "/sharings/"), ("DELETE", "/apps/mini"),
    ):  # fmt: skip
        sent: dict[str, Any] = {"content": b"{}", "headers": {"Content-Type": "text/plain"}}
        assert owner.request(method, path, **sent).status_code in (400, 401)
    assert owner.logged_in


def test_the_second_factor_and_the_first_passphrase_need_their_secret(alice: Person) -> None:
    """The forms without a token of the browser (spec/03 §6.1) carry a secret that no other site knows."""
    visitor = Browser(alice)
    assert (
        visitor.post("/auth/twofactor", data={"two-factor-token": "x", "two-factor-passcode": "1"}).status_code == 401
    )
    sent = {"register_token": "00" * 16, "passphrase": hashed("other", alice.domain)}
    assert visitor.post("/settings/passphrase", data=sent).status_code == 400
