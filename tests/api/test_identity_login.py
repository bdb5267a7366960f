"""Logging in and out: the form and its protections, sessions, second factors, passphrases (spec/03 §5, §6)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.browser_forms import Browser, cookie_line, fields, hashed
from tests.clocks import SteppedClock
from tests.servers import Person, RunningServer

from inglenook.identity import housekeeping, one_time
from inglenook.identity import passphrase as passphrases
from inglenook.identity.letters import LETTERS
from inglenook.identity.passphrase import NewPassphrase
from inglenook.kernel.errors import BadRequest

clock = SteppedClock()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose time passes by steps, and whose mails wait: nobody listens on the port of its mail server."""
    running = RunningServer(tmp_path_factory.mktemp("data"), smtp_url="smtp://127.0.0.1:1")
    running.env = replace(running.env, clock=clock)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def bob(server: RunningServer) -> Person:
    return server.add("bob", passphrase="cozy")


@pytest.fixture
def browser(alice: Person) -> Browser:
    return Browser(alice)


def letters(person: Person, template: str) -> list[dict[str, Any]]:
    """The values of the mails of a template, newest last."""

    async def read(_: object) -> list[dict[str, Any]]:
        records = await person.instance.store.read(lambda view: view.records(LETTERS))
        return [record.body for record in sorted(records, key=lambda record: record.seq)]

    return [one["template_values"] for one in person.server.do(read) if one["template_name"] == template]


# -- the form


def test_an_anonymous_visitor_is_sent_to_the_login(browser: Browser, alice: Person) -> None:
    answer = browser.get("/")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{alice.url}/auth/login")


def test_the_page_tells_its_script_how_to_hash_and_loads_nothing_from_elsewhere(browser: Browser) -> None:
    page = browser.get("/auth/login")
    assert 'id="login-form"' in page.text
    assert 'data-salt="me@alice.localhost"' in page.text
    assert 'data-iterations="650000"' in page.text
    assert '<input id="redirect" type="hidden" name="redirect" value="" />' in page.text
    assert {"csrf_token", "redirect", "trusted-device-token", "passphrase", "long-run-session"} <= set(
        fields(page.text)
    )
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page.text)
    assert not re.search(r"<script(?![^>]*src)|<style|style=|onclick", page.text)
    for path in re.findall(r'(?:src|href)="(/assets/[^"]+)"', page.text):
        asset = browser.get(path)
        assert asset.status_code == 200
        assert "immutable" in asset.headers["cache-control"]


def test_the_right_passphrase_opens_a_session_that_ends_with_the_browser(browser: Browser, alice: Person) -> None:
    answer = browser.login()
    assert (answer.status_code, answer.headers["location"]) == (303, f"http://home.{alice.domain}/")
    line = cookie_line(answer, "cozysessid")
    for part in ("httponly", "samesite=lax", "path=/", "domain=alice.localhost"):
        assert part in line
    assert "max-age" not in line
    assert "secure" not in line
    assert browser.logged_in


def test_remember_me_lasts_ten_years(browser: Browser) -> None:
    assert "max-age=315360000" in cookie_line(browser.login(**{"long-run-session": "true"}), "cozysessid")


def test_a_login_for_a_consent_is_short(browser: Browser, alice: Person) -> None:
    answer = browser.login(redirect=f"{alice.url}/auth/authorize?client_id=c")
    assert "max-age=300" in cookie_line(answer, "cozysessid")
    other = Browser(alice).login(redirect=f"{alice.url}/auth/authorize?client_id=c&scope=login")
    assert "max-age" not in cookie_line(other, "cozysessid")


def test_a_wrong_passphrase_is_a_401(browser: Browser) -> None:
    page = browser.login("wrong")
    assert page.status_code == 401
    assert 'role="alert"' in page.text
    text = browser.login("wrong", json=True)
    assert (text.status_code, text.json()) == (
        401, {"error": "The password you entered is incorrect, please try again."},
    )  # fmt: skip
    assert not browser.logged_in


def test_a_page_without_script_may_send_the_passphrase_itself(browser: Browser) -> None:
    assert browser.login(passphrase="cozy").status_code == 303


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"passphrase": "cozy"}, 401),
        ({"passphrase": "cozy", "clear": "true"}, 303),
        ({"passphrase": "wrong", "clear": "true"}, 401),
        ({"passphrase": ""}, 401),
        ({}, 401),
    ],
)
def test_clear_text_counts_only_when_the_page_says_so(browser: Browser, sent: dict[str, str], status: int) -> None:
    token = fields(browser.get("/auth/login").text)["csrf_token"]
    assert browser.post("/auth/login", data={"csrf_token": token, **sent}).status_code == status


def test_a_hash_is_a_hash_even_when_the_page_had_no_script(browser: Browser, alice: Person) -> None:
    assert browser.login(clear="true").status_code == 303


def test_a_forged_form_is_refused(browser: Browser, alice: Person) -> None:
    browser.get("/auth/login")
    right = hashed("cozy", alice.domain)
    missing = browser.post("/auth/login", data={"passphrase": right}, headers={"Accept": "application/json"})
    assert (missing.status_code, missing.json()) == (400, {"error": "missing csrf token in the form parameter"})
    wrong = browser.post("/auth/login", data={"passphrase": right, "csrf_token": "x" * 32})
    assert (wrong.status_code, wrong.text) == (403, "invalid csrf token")
    line = cookie_line(browser.get("/auth/login"), "_csrf")
    for part in ("path=/auth", "max-age=3600", "httponly", "samesite=strict"):
        assert part in line


# -- where one lands


@pytest.mark.parametrize(
    "target",
    [
        "http://evil.example/", "https://evil.example", "//evil.example/x", "http://{host}.evil.example/",
        "javascript:alert(1)", "ftp://{host}/", "http://evil.example\\@{host}/", "http://{host}@evil.example/",
        "\\\\evil.example", "///evil.example", "http:/\\evil.example", "http://{bob}/", "http://x.y.{host}/",
        "missing/x", "http:evil.example", "http://drive.{host}\t.evil.example/", " http://evil.example", "/path",
    ],
)  # fmt: skip
def test_a_redirection_elsewhere_is_refused(alice: Person, bob: Person, target: str) -> None:
    target = target.format(host=alice.domain, bob=bob.domain)
    assert Browser(alice).get("/auth/login", params={"redirect": target}).status_code == 400
    inside = Browser(alice)
    inside.login()
    answer = inside.get("/auth/login", params={"redirect": target})
    assert answer.status_code == 400
    assert "location" not in answer.headers


def test_a_refused_redirection_keeps_the_token_of_the_browser(browser: Browser) -> None:
    answer = browser.get("/auth/login?redirect=http://evil.example/", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()) == (400, {"error": "bad url: should be subdomain"})
    assert cookie_line(answer, "_csrf")
    as_page = browser.get("/auth/login?redirect=http://evil.example/", headers={"Accept": "text/html"})
    assert "bad url: should be subdomain" in as_page.text


def test_a_fragment_stays_for_an_app_and_not_for_the_instance(alice: Person) -> None:
    app = f"http://drive.{alice.domain}/x?a=b&c=d#/frag"
    page = Browser(alice).get("/auth/login", params={"redirect": app})
    assert fields(page.text)["redirect"] == app
    own = Browser(alice).login(redirect=f"{alice.url}/auth/authorize?foo=bar#secret")
    assert own.headers["location"] == f"{alice.url}/auth/authorize?foo=bar#="


# -- guessing


def test_guesses_are_slowed_down_and_the_owner_gets_in_later(server: RunningServer) -> None:
    carol = server.add("carol", passphrase="cozy")
    browser = Browser(carol)
    statuses = [browser.login("guess", json=True).status_code for _ in range(21)]
    assert statuses[:20] == [401] * 20
    assert statuses[20] == 429
    blocked = browser.login("cozy", json=True)
    assert blocked.status_code == 429
    clock.step(int(blocked.headers["retry-after"]) + 1)
    assert browser.login("cozy", json=True).status_code == 200
    assert Browser(carol).login("guess", json=True).status_code == 401, "a success forgets the wrong guesses"


def test_the_count_of_guesses_survives_a_restart(tmp_path: Any) -> None:
    first = RunningServer(tmp_path)
    first.env = replace(first.env, clock=clock)
    first.start()
    bob2 = first.add("bob2", passphrase="cozy")
    for _ in range(20):
        Browser(bob2).login("guess")
    first.stop()
    second = RunningServer(tmp_path)
    second.env = replace(second.env, clock=clock)
    second.start()
    try:
        again = Person(second, "bob2", bob2.instance)
        assert Browser(again).login("cozy", json=True).status_code == 429
    finally:
        second.stop()


# -- sessions


def test_a_forged_or_foreign_cookie_is_no_session(alice: Person, bob: Person) -> None:
    browser = Browser(alice)
    browser.login()
    good = browser.cookies["cozysessid"]
    for spoiled in (good[:-2] + "AA", "B" + good[1:], "", "garbage", good[:20], good + "A"):
        browser.cookies["cozysessid"] = spoiled
        assert not browser.logged_in, spoiled
    other = Browser(bob)
    other.cookies["cozysessid"] = good
    assert not other.logged_in


def test_a_session_ends_thirty_days_after_it_was_last_seen(browser: Browser) -> None:
    browser.login()
    for _ in range(3):
        clock.step(29 * 86400)
        assert browser.logged_in
    clock.step(31 * 86400)
    assert not browser.logged_in


def test_sessions_that_nobody_uses_are_thrown_away(server: RunningServer) -> None:
    alice2 = server.add("alice2", passphrase="cozy")
    old, used = Browser(alice2), Browser(alice2)
    old.login()
    used.login()

    def count() -> int:
        found = server.do(lambda _: alice2.instance.store.read(lambda view: view.all_docs("io.cozy.sessions")))
        return len(found)

    clock.step(20 * 86_400)
    assert used.logged_in
    server.do(lambda _: housekeeping.tidy(alice2.instance))
    assert count() == 2
    clock.step(15 * 86_400)
    server.do(lambda _: housekeeping.tidy(alice2.instance))
    assert count() == 1
    assert used.logged_in
    assert not old.logged_in


def test_a_change_of_passphrase_ends_sessions_and_keeps_oauth_tokens(server: RunningServer) -> None:
    carol3 = server.add("carol3", passphrase="cozy")
    browser = Browser(carol3)
    browser.login()
    token = carol3.token("io.cozy.settings")
    body = {
        "current_passphrase": hashed("cozy", carol3.domain), "new_passphrase": hashed("other", carol3.domain),
        "iterations": 650_000,
    }  # fmt: skip
    assert carol3.put("/settings/passphrase", token=token, json_body={**body, "iterations": 1}).status_code == 422
    wrong = {**body, "current_passphrase": "x"}
    assert carol3.put("/settings/passphrase", token=token, json_body=wrong).status_code == 400
    changed = carol3.put("/settings/passphrase", token=token, json_body=body)
    assert changed.status_code == 204
    assert "cozysessid=" in changed.headers["set-cookie"]
    assert not browser.logged_in
    assert carol3.get("/settings/capabilities", token=token).status_code == 200
    assert Browser(carol3).login("other").status_code == 303
    assert Browser(carol3).login("cozy").status_code == 401


def test_only_an_app_logs_out(alice: Person, browser: Browser) -> None:
    browser.login()
    refused = browser.request(
        "DELETE", "/auth/login", headers={"Authorization": f"Bearer {alice.token('io.cozy.files')}"}
    )
    assert (refused.status_code, refused.json()) == (
        401, {"error": "The user can logout only from client-side apps"},
    )  # fmt: skip
    assert browser.logged_in


# -- onboarding and forgetting


def test_a_new_instance_waits_for_its_owner(server: RunningServer) -> None:
    carol2 = server.add("carol2")
    token = carol2.instance.doc.register_token.hex()
    browser = Browser(carol2)
    assert "not ready" in browser.get("/").text
    assert "not ready" in browser.get("/auth/login").text
    assert carol2.get("/public/prelogin").status_code == 412
    sent = browser.get("/", params={"registerToken": token})
    assert sent.headers["location"] == f"{carol2.url}/auth/passphrase?registerToken={token}"
    form = fields(browser.get(sent.headers["location"]).text)
    assert form["register_token"] == token
    for bad, text in (("zz", "Invalid"), ("", "Empty"), ("00" * 16, "Invalid")):
        answer = browser.post("/settings/passphrase", data={"register_token": bad, "passphrase": "x"})
        assert answer.status_code == 400
        assert text in answer.json()["errors"][0]["detail"]
    done = browser.post(
        "/settings/passphrase",
        data={"register_token": token, "passphrase": "my new one"},
        headers={"Accept": "text/html"},
    )
    assert done.status_code == 303
    assert browser.logged_in
    assert Browser(carol2).login("my new one").status_code == 303
    again = browser.post("/settings/passphrase", data={"register_token": token, "passphrase": "second"})
    assert again.status_code == 400


def test_a_passphrase_hashed_by_a_browser_is_kept_as_it_came(server: RunningServer) -> None:
    bob3 = server.add("bob3")
    data = {
        "register_token": bob3.instance.doc.register_token.hex(), "passphrase": hashed("mine", bob3.domain, 100_000),
        "iterations": 100_000, "key": "k", "public_key": "p", "private_key": "s", "hint": "yours is not",
    }  # fmt: skip
    low = bob3.post("/settings/passphrase", json_body=data | {"iterations": 10})
    assert low.status_code == 422
    assert low.json()["errors"][0]["source"] == {"parameter": "KdfIterations"}
    assert bob3.post("/settings/passphrase", json_body=data).status_code == 200
    assert bob3.get("/public/prelogin").json()["KdfIterations"] == 100_000
    browser = Browser(bob3)
    page = browser.get("/auth/login").text
    assert 'data-iterations="100000"' in page
    sent = {"passphrase": hashed("mine", bob3.domain, 100_000), "csrf_token": fields(page)["csrf_token"]}
    assert browser.post("/auth/login", data=sent).status_code == 303
    assert bob3.get("/settings/hint", "io.cozy.settings").status_code == 204


def test_a_forgotten_passphrase_is_replaced_by_a_mailed_link(server: RunningServer) -> None:
    alice3 = server.add("alice3", passphrase="forgotten")
    browser = Browser(alice3)
    token = fields(browser.get("/auth/passphrase_reset").text)["csrf_token"]
    for _ in range(2):
        assert browser.post("/auth/passphrase_reset", data={"csrf_token": token}).status_code == 200
    mails = letters(alice3, "passphrase_reset")
    assert len(mails) == 1, "a second request within the quarter of an hour mails nothing"
    link = mails[0]["PassphraseResetLink"]
    assert link.startswith(f"{alice3.url}/auth/passphrase_renew?token=")
    form = fields(browser.get(link).text)
    wrong = browser.get("/auth/passphrase_renew", params={"token": "00" * 16})
    assert (wrong.status_code, wrong.json()) == (400, {"error": "invalid_token"})
    assert browser.get("/auth/passphrase_renew", params={"token": "zz"}).status_code == 400
    data = {
        "csrf_token": form["csrf_token"],
        "passphrase_reset_token": form["passphrase_reset_token"],
        "passphrase": "new",
    }
    assert browser.post("/auth/passphrase_renew", data=data).status_code == 303
    assert Browser(alice3).login("new").status_code == 303
    gone = browser.post("/auth/passphrase_renew", data=data, headers={"Accept": "application/json"})
    assert (gone.status_code, gone.json()) == (401, {"error": "Invalid reset token"})


def test_a_mailed_link_is_good_for_a_quarter_of_an_hour(server: RunningServer) -> None:
    carol4 = server.add("carol4", passphrase="forgotten")
    browser = Browser(carol4)
    token = fields(browser.get("/auth/passphrase_reset").text)["csrf_token"]
    browser.post("/auth/passphrase_reset", data={"csrf_token": token})
    link = letters(carol4, "passphrase_reset")[0]["PassphraseResetLink"]
    clock.step(901)
    assert browser.get(link).status_code == 400


def test_the_hint_cannot_be_the_passphrase_and_is_mailed_twice_an_hour(server: RunningServer) -> None:
    bob4 = server.add("bob4", passphrase="cozy")
    assert bob4.get("/settings/hint", "io.cozy.settings").status_code == 404
    assert bob4.put("/settings/hint", "io.cozy.settings", json_body={"hint": "cozy"}).status_code == 422
    assert bob4.put("/settings/hint", "io.cozy.settings", json_body={"hint": "soft"}).status_code == 204
    for _ in range(3):
        assert bob4.post("/auth/hint").status_code == 200
    assert [one["Hint"] for one in letters(bob4, "passphrase_hint")] == ["soft", "soft"]


# -- second factor


@pytest.fixture(scope="module")
def alice4(server: RunningServer) -> Person:
    """Somebody with the second factor by mail."""
    person = server.add("alice4", passphrase="cozy")
    body = {"auth_mode": "two_factor_mail"}
    assert person.put("/settings/instance/auth_mode", "io.cozy.settings", json_body=body).status_code == 204
    code = letters(person, "two_factor_mail_confirmation")[0]["TwoFactorActivationPasscode"]
    other = "000000" if code != "000000" else "111111"
    wrong = {**body, "two_factor_activation_code": other}
    assert person.put("/settings/instance/auth_mode", "io.cozy.settings", json_body=wrong).status_code == 422
    right = {**body, "two_factor_activation_code": code}
    assert person.put("/settings/instance/auth_mode", "io.cozy.settings", json_body=right).status_code == 204
    return person


def second_step(browser: Browser) -> dict[str, str]:
    """Log in up to the page of the second factor; gives its hidden fields."""
    answer = browser.login()
    assert "/auth/twofactor?" in answer.headers["location"]
    assert not browser.logged_in
    return fields(browser.get(answer.headers["location"]).text)


def newest_code(person: Person) -> str:
    return letters(person, "two_factor")[-1]["TwoFactorPasscode"]


def test_the_mailed_code_opens_the_session_once(alice4: Person) -> None:
    browser = Browser(alice4)
    form = second_step(browser)
    data = {**form, "two-factor-passcode": newest_code(alice4)}
    del data["two-factor-generate-trusted-device-token"]
    assert browser.post("/auth/twofactor", data=data).status_code == 303
    assert browser.logged_in
    assert Browser(alice4).post("/auth/twofactor", data=data).status_code == 401, "a code works once"


def test_a_code_is_burnt_after_ten_failures(alice4: Person) -> None:
    browser = Browser(alice4)
    form = second_step(browser)
    right = newest_code(alice4)
    wrong = "000000" if right != "000000" else "111111"
    for _ in range(10):
        assert browser.post("/auth/twofactor", data={**form, "two-factor-passcode": wrong}).status_code == 401
    assert browser.post("/auth/twofactor", data={**form, "two-factor-passcode": right}).status_code == 401


def test_a_trusted_device_is_not_asked_again(alice4: Person) -> None:
    browser = Browser(alice4)
    form = second_step(browser)
    data = {**form, "two-factor-passcode": newest_code(alice4), "two-factor-generate-trusted-device-token": "true"}
    answer = browser.post("/auth/twofactor", data=data, headers={"Accept": "application/json"})
    device = answer.json()["two_factor_trusted_device_token"]
    other = Browser(alice4)
    assert "/auth/twofactor" not in other.login(**{"trusted-device-token": device}).headers["location"]
    assert other.logged_in


def test_a_browser_without_scripts_is_trusted_by_its_cookie(alice4: Person) -> None:
    browser = Browser(alice4)
    form = second_step(browser)
    data = {**form, "two-factor-passcode": newest_code(alice4), "two-factor-generate-trusted-device-token": "true"}
    answer = browser.post("/auth/twofactor", data=data)
    line = cookie_line(answer, "trusted-device")
    assert "path=/auth;" in line + ";"
    assert "httponly" in line
    device = browser.cookies["trusted-device"]
    again = Browser(alice4)
    again.cookies["trusted-device"] = device
    assert "/auth/twofactor" not in again.login().headers["location"]
    stranger = Browser(alice4)
    stranger.cookies["trusted-device"] = device[:-2] + "AA"
    assert "/auth/twofactor" in stranger.login().headers["location"]


def test_only_the_code_that_was_mailed_is_right(alice4: Person) -> None:
    browser = Browser(alice4)
    form = second_step(browser)
    mailed = newest_code(alice4)
    clock.step(120)
    instance, token = alice4.instance, form["two-factor-token"]
    now = clock.now().timestamp()
    later = next(
        code for n in range(20) if (code := one_time.passcode_of(instance, token, now + 60 * n)) not in (None, mailed)
    )
    assert browser.post("/auth/twofactor", data={**form, "two-factor-passcode": str(later)}).status_code == 401
    assert browser.post("/auth/twofactor", data={**form, "two-factor-passcode": mailed}).status_code == 303


def test_the_wish_to_stay_logged_in_survives_the_second_factor(alice4: Person) -> None:
    browser = Browser(alice4)
    answer = browser.login(**{"long-run-session": "true"})
    form = fields(browser.get(answer.headers["location"]).text)
    code = one_time.passcode_of(alice4.instance, form["two-factor-token"], clock.now().timestamp())
    done = browser.post("/auth/twofactor", data={**form, "two-factor-passcode": str(code)})
    assert "max-age=315360000" in cookie_line(done, "cozysessid")


# -- codes


def test_a_session_code_needs_the_passphrase_and_works_once_on_the_consent_page(alice: Person) -> None:
    for body in ({}, {"passphrase": ""}, {"passphrase": hashed("wrong", alice.domain)}):
        answer = alice.post("/auth/session_code", json_body=body)
        assert (answer.status_code, answer.json()) == (401, {"error": "Not authorized"})
    code = alice.post("/auth/session_code", json_body={"passphrase": hashed("cozy", alice.domain)}).json()[
        "session_code"
    ]
    assert re.fullmatch(r"[0-9A-Za-z]{32}", code)
    for used in (False, True):
        browser = Browser(alice)
        answer = browser.get("/auth/authorize", params={"client_id": "c", "session_code": code})
        assert answer.status_code == 303
        assert answer.headers["location"] == f"{alice.url}/auth/authorize?client_id=c"
        assert browser.logged_in is not used


def test_a_confirmation_proves_that_the_passphrase_was_just_given(alice: Person, browser: Browser) -> None:
    browser.login()
    assert browser.get("/auth/confirm").status_code == 400
    where = f"http://drive.{alice.domain}/"
    token = fields(browser.get("/auth/confirm", params={"state": "s1", "redirect": where}).text)["csrf_token"]
    data = {"state": "s1", "redirect": where, "csrf_token": token, "passphrase": hashed("wrong", alice.domain)}
    assert browser.post("/auth/confirm", data=data, headers={"Accept": "application/json"}).status_code == 401
    data["passphrase"] = hashed("cozy", alice.domain)
    answer = browser.post("/auth/confirm", data=data, headers={"Accept": "application/json"})
    found = re.fullmatch(re.escape(where) + r"\?code=(\w+)&state=s1", answer.json()["redirect"])
    assert found
    assert browser.get(f"/auth/confirm/{found[1]}").status_code == 204
    assert browser.get("/auth/confirm/nope").status_code == 401
    clock.step(301)
    assert browser.get(f"/auth/confirm/{found[1]}").status_code == 401


def test_a_clear_passphrase_of_old_is_hashed_at_the_first_login(server: RunningServer) -> None:
    carol5 = server.add("carol5", passphrase="cozy")
    server.do(lambda _: passphrases.change_passphrase(carol5.instance, "in clear", 0))
    browser = Browser(carol5)
    page = browser.get("/auth/login").text
    assert 'data-iterations="0"' in page
    sent = {"passphrase": "in clear", "csrf_token": fields(page)["csrf_token"]}
    assert browser.post("/auth/login", data=sent).status_code == 303
    assert Browser(carol5).login("in clear").status_code == 303


def test_an_empty_passphrase_is_never_set(server: RunningServer, alice: Person) -> None:
    with pytest.raises(BadRequest, match="Missing new passphrase"):
        server.do(lambda _: passphrases.set_passphrase(alice.instance, NewPassphrase("")))
