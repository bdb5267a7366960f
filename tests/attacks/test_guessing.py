"""Guessing passphrases, codes and passwords: slowed down, never locking the owner out; and nothing to learn from how
the server answers (spec/00, spec/03 §17)."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.browser_forms import Browser, fields, hashed
from tests.clocks import SteppedClock
from tests.servers import Person, RunningServer

from inglenook.identity import commands, one_time, tokens

MANY = 40


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, clock: SteppedClock) -> Iterator[RunningServer]:
    """Behind a proxy on this machine, so that guesses can come from several addresses."""
    running = RunningServer(
        tmp_path_factory.mktemp("data"), smtp_url="smtp://127.0.0.1:1", trusted_proxies=("127.0.0.1",)
    )
    running.env = replace(running.env, clock=clock)
    running.start()
    yield running
    running.stop()


def login_attempt(person: Person, address: str, passphrase: str = "wrong") -> httpx.Response:
    """One try of the form from an address."""
    headers = {"X-Forwarded-For": address, "Accept": "application/json"}
    page = person.http.get("/auth/login", headers={"X-Forwarded-For": address})
    token = fields(page.text)["csrf_token"]
    data = {"csrf_token": token, "passphrase": hashed(passphrase, person.domain)}
    return person.http.post("/auth/login", data=data, headers={**headers, "Cookie": f"_csrf={token}"})


def guesses(make: Callable[[int], httpx.Response]) -> list[int]:
    """The statuses of many guesses, until the server has enough."""
    found: list[int] = []
    for number in range(MANY):
        answer = make(number)
        found.append(answer.status_code)
        if answer.status_code == 429:
            assert int(answer.headers["retry-after"]) >= 1
            break
    return found


def test_the_passphrase_cannot_be_guessed_and_the_owner_gets_in(server: RunningServer, clock: SteppedClock) -> None:
    carol2 = server.add("carol2", passphrase="cozy")
    tried = guesses(lambda _: login_attempt(carol2, "198.51.100.7"))
    assert tried[-1] == 429
    assert set(tried[:-1]) == {401}
    assert login_attempt(carol2, "198.51.100.7", "cozy").status_code == 429, "who has to wait learns nothing"
    assert login_attempt(carol2, "203.0.113.9", "cozy").status_code == 200, "the owner is elsewhere"
    clock.step(3700)
    assert login_attempt(carol2, "198.51.100.7", "cozy").status_code == 200, "later it is forgotten"


def test_an_address_cannot_pretend_to_be_many(server: RunningServer) -> None:
    bob2 = server.add("bob2", passphrase="cozy")
    tried = guesses(lambda number: login_attempt(bob2, f"10.0.0.{number}, 198.51.100.7"))
    assert tried[-1] == 429, "what the client wrote before the address of the proxy does not count"


def test_the_network_of_one_subscriber_counts_as_one(server: RunningServer) -> None:
    alice2 = server.add("alice2", passphrase="cozy")
    tried = guesses(lambda number: login_attempt(alice2, f"2001:db8:1:2::{number:x}"))
    assert tried[-1] == 429


def test_every_way_to_try_a_passphrase_counts_together(server: RunningServer) -> None:
    carol3 = server.add("carol3", passphrase="cozy")
    client = server.do(
        lambda _: commands.create_oauth_client(carol3.instance, "https://x.example/cb", "D", "github.com/x/y")
    )
    credentials = {"client_id": client.id, "client_secret": client.body["client_secret"]}
    wrong = hashed("wrong", carol3.domain)
    ways: list[Callable[[], httpx.Response]] = [
        lambda: carol3.http.post("/auth/session_code", json={"passphrase": wrong}),
        lambda: carol3.http.post("/auth/login/flagship", json={**credentials, "passphrase": wrong}),
        lambda: carol3.post("/settings/passphrase/check", "io.cozy.settings", json_body={"passphrase": wrong}),
        lambda: carol3.put(
            "/settings/passphrase", "io.cozy.settings",
            json_body={"current_passphrase": wrong, "new_passphrase": "x" * 44, "iterations": 650_000, "key": "k"},
        ),
        lambda: carol3.post("/settings/email", "io.cozy.settings", json_body={"passphrase": wrong, "email": "a@b.eu"}),
    ]  # fmt: skip
    tried = guesses(lambda number: ways[number % len(ways)]())
    assert tried[-1] == 429
    assert [way().status_code for way in ways] == [429] * len(ways)


def test_a_hint_is_no_way_to_guess(server: RunningServer) -> None:
    """A hint that is the passphrase is refused, which tells it."""
    bob3 = server.add("bob3", passphrase="cozy")
    tried = guesses(
        lambda number: bob3.put("/settings/hint", "io.cozy.settings", json_body={"hint": f"guess {number}"})
    )
    assert tried[-1] == 429
    assert set(tried[:-1]) == {204}


def test_the_password_of_a_link_cannot_be_guessed(server: RunningServer) -> None:
    alice3 = server.add("alice3", passphrase="cozy")
    rules = {"x": {"type": "io.cozy.tests", "verbs": ["GET"], "values": ["1"]}}
    body = {"data": {"attributes": {"permissions": rules, "password": "hush"}}}
    id = alice3.post("/permissions", "io.cozy.tests", json_body=body).json()["data"]["id"]

    def attempt(password: str, address: str) -> httpx.Response:
        data = {"perm_id": id, "password": password}
        return alice3.http.post("/auth/share-by-link/password", data=data, headers={"X-Forwarded-For": address})

    assert guesses(lambda number: attempt(str(number), "198.51.100.7"))[-1] == 429
    assert attempt("hush", "203.0.113.9").status_code == 200


def test_codes_of_six_digits_cannot_be_tried_out(server: RunningServer) -> None:
    carol4 = server.add("carol4", passphrase="cozy")
    headers = {"X-Forwarded-For": "198.51.100.7"}
    tried = guesses(lambda number: carol4.get("/permissions/self", token=f"{number:06d}", headers=headers))
    assert tried[-1] == 429
    assert set(tried[:-1]) == {403}


def test_a_second_factor_is_burnt_and_new_ones_are_limited(server: RunningServer) -> None:
    bob4 = server.add("bob4", passphrase="cozy", auth_mode="two_factor_mail")
    for _ in range(20):
        assert login_attempt(bob4, "203.0.113.9", "cozy").status_code == 200
    assert login_attempt(bob4, "203.0.113.9", "cozy").status_code == 429


def test_the_wish_for_another_passphrase_tells_nothing(server: RunningServer) -> None:
    """With an address, without one, once, twice: always the same page."""
    alice4 = server.add("alice4", passphrase="cozy")
    carol5 = server.add("carol5", passphrase="cozy", email="")
    pages: set[str] = set()
    for person in (alice4, alice4, carol5):
        browser = Browser(person)
        form = fields(browser.get("/auth/passphrase_reset").text)
        answer = browser.post("/auth/passphrase_reset", data=form)
        assert answer.status_code == 200
        pages.add(answer.text.replace(person.domain, "").replace(form["csrf_token"], ""))
    assert len(pages) == 1


def test_an_instance_that_is_gone_looks_like_one_that_never_was(server: RunningServer) -> None:
    gone = server.add("gone", passphrase="cozy")
    domain = gone.domain
    server.do(lambda runtime: runtime.instances.destroy(gone.instance))
    answers = [
        httpx.get(f"{server.origin}{path}", headers={"Host": host, "Accept": "application/json"}, trust_env=False)
        for path in ("/", "/auth/login", "/public/prelogin")
        for host in (domain, f"never.localhost:{server.port}", f"mini.{domain}")
    ]
    assert {(one.status_code, one.text) for one in answers} == {(404, answers[0].text)}


def test_secrets_are_compared_in_constant_time(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, clock: SteppedClock
) -> None:
    """Each wrong secret passes through the comparison that takes as long as for a right one."""
    bob5 = server.add("bob5", passphrase="cozy")
    client = server.do(
        lambda _: commands.create_oauth_client(bob5.instance, "https://x.example/cb", "D", "github.com/x/y")
    )
    token = tokens.issue(bob5.instance, tokens.ACCESS, client.id, scope="io.cozy.tests")
    second = server.add("alice5", passphrase="cozy", auth_mode="two_factor_mail")
    factor = server.do(lambda _: one_time.mail_second_factor(second.instance))
    new = server.add("carol6")
    compared: list[tuple[Any, Any]] = []
    constant = hmac.compare_digest

    def watched(left: Any, right: Any) -> bool:
        compared.append((left, right))
        return constant(left, right)

    monkeypatch.setattr(hmac, "compare_digest", watched)

    def seen(act: Callable[[], httpx.Response], *statuses: int) -> None:
        compared.clear()
        assert act().status_code in statuses
        assert compared, "no comparison in constant time"

    form = {"grant_type": "refresh_token", "client_id": client.id, "client_secret": "wrong", "refresh_token": "x"}
    seen(lambda: bob5.http.post("/auth/access_token", data=form), 400)
    seen(lambda: bob5.get("/permissions/self", token=token[:-6] + "AAAAAA"), 400)
    seen(lambda: bob5.http.get("/settings/sessions/current", headers={"Cookie": "cozysessid=" + "A" * 96}), 404)
    seen(
        lambda: bob5.http.post("/auth/login", data={"csrf_token": "a" * 32}, headers={"Cookie": "_csrf=" + "b" * 32}),
        403,
    )
    seen(lambda: login_attempt(bob5, "203.0.113.9"), 401)
    seen(lambda: new.http.post("/settings/passphrase", data={"register_token": "00" * 16, "passphrase": "x"}), 400)
    data = {"two-factor-token": str(factor), "two-factor-passcode": "000000"}
    seen(lambda: second.http.post("/auth/twofactor", data=data), 401, 303)
