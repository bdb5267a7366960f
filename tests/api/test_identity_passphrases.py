"""Another passphrase: by its owner, with a second factor, by force, or after it was forgotten (spec/03 §5)."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from tests.browser_forms import Browser, cookie_line, fields, hashed
from tests.servers import Person, RunningServer

from inglenook.identity import commands
from inglenook.identity.letters import LETTERS

SETTINGS = "io.cozy.settings"
ITERATIONS = 650_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose mails wait: nobody listens on the port of its mail server."""
    running = RunningServer(tmp_path_factory.mktemp("data"), smtp_url="smtp://127.0.0.1:1").start()
    yield running
    running.stop()


def newest(person: Person, template: str) -> dict[str, Any]:
    async def read(_: object) -> list[Any]:
        records = await person.instance.store.read(lambda view: view.records(LETTERS))
        return [record.body for record in sorted(records, key=lambda record: record.seq)]

    return [one["template_values"] for one in person.server.do(read) if one["template_name"] == template][-1]


def change(person: Person, **body: Any) -> Any:
    return person.put("/settings/passphrase", SETTINGS, json_body={"iterations": ITERATIONS, **body})


def test_a_mailed_code_stands_for_the_passphrase(server: RunningServer) -> None:
    bob2 = server.add("bob2", passphrase="cozy", auth_mode="two_factor_mail")
    wrong = change(bob2, current_passphrase=hashed("wrong", bob2.domain))
    assert (wrong.status_code, wrong.json()["errors"][0]["detail"]) == (400, "Invalid passphrase")
    asked = change(bob2, current_passphrase=hashed("cozy", bob2.domain))
    assert asked.status_code == 200
    token = asked.json()["two_factor_token"]
    assert base64.b64decode(token).isascii(), "the token travels as base64 of its text"
    new = {"new_passphrase": hashed("other", bob2.domain), "two_factor_token": token}
    assert change(bob2, **new, two_factor_passcode="000000", iterations=10).status_code == 422
    assert change(bob2, **new, two_factor_passcode="x").status_code == 400
    done = change(bob2, **new, two_factor_passcode=newest(bob2, "two_factor")["TwoFactorPasscode"])
    assert done.status_code == 204
    assert "max-age=315360000" in cookie_line(done, "cozysessid"), "without a session a long one begins"


def test_the_token_of_the_second_factor_is_read_as_text_too(server: RunningServer) -> None:
    alice2 = server.add("alice2", passphrase="cozy", auth_mode="two_factor_mail")
    token = change(alice2, current_passphrase=hashed("cozy", alice2.domain)).json()["two_factor_token"]
    text = base64.b64decode(token).decode()
    code = newest(alice2, "two_factor")["TwoFactorPasscode"]
    new = {"new_passphrase": hashed("other", alice2.domain), "two_factor_token": text, "two_factor_passcode": code}
    assert change(alice2, **new).status_code == 204


def test_the_new_cookie_lasts_as_long_as_the_session(server: RunningServer) -> None:
    carol3 = server.add("carol3", passphrase="cozy")
    browser = Browser(carol3)
    browser.login()
    cookie = f"cozysessid={browser.cookies['cozysessid']}"
    body = {"current_passphrase": hashed("cozy", carol3.domain), "new_passphrase": hashed("b", carol3.domain)}
    done = carol3.put(
        "/settings/passphrase", SETTINGS, json_body={**body, "iterations": ITERATIONS}, headers={"Cookie": cookie}
    )
    assert done.status_code == 204
    line = cookie_line(done, "cozysessid")
    assert line
    assert "max-age" not in line
    assert not browser.logged_in, "the old cookie is dead"


@pytest.mark.parametrize(
    ("known", "changes", "may"),
    [
        (True, {"magic_link": True}, False),
        (False, {}, True),
        (None, {}, False),
        (None, {"magic_link": True}, True),
        (None, {"oidc_id": "x"}, True),
    ],
)
def test_a_passphrase_that_nobody_knows_can_be_replaced_by_force(
    server: RunningServer, known: bool | None, changes: dict[str, Any], may: bool
) -> None:
    name = f"f{known}{'-'.join(changes)}".lower().replace("_", "")
    person = server.add(name, passphrase="cozy")

    async def forget(_: object) -> None:
        await person.instance.registry.modify(
            person.instance, lambda doc: msgspec.structs.replace(doc, password_defined=known, **changes)
        )

    server.do(forget)
    keys = {"key": "k", "publicKey": "p", "privateKey": "pp"}
    answer = change(person, new_passphrase=hashed("new", person.domain), force=True, **keys)
    assert answer.status_code == (204 if may else 400), answer.text
    assert Browser(person).login("new").status_code == (303 if may else 401)


def test_the_command_line_may_always_force(server: RunningServer) -> None:
    bob3 = server.add("bob3", passphrase="cozy")

    async def token(_: object) -> str:
        return commands.cli_token(bob3.instance, [SETTINGS])

    body = {"new_passphrase": hashed("n", bob3.domain), "iterations": ITERATIONS, "key": "k", "force": True}
    answer = bob3.put("/settings/passphrase", token=server.do(token), json_body=body)
    assert (answer.status_code, cookie_line(answer, "cozysessid")) == (204, "")


def test_what_a_forgotten_passphrase_encrypted_goes_with_it(server: RunningServer) -> None:
    alice3 = server.add("alice3", passphrase="cozy")
    for doctype in ("com.bitwarden.ciphers", "com.bitwarden.folders", "io.cozy.tests"):
        assert alice3.put(f"/data/{doctype}/one", doctype, json_body={"name": "2.x|y|z"}).status_code in (200, 201)
    browser = Browser(alice3)
    token = fields(browser.get("/auth/passphrase_reset").text)["csrf_token"]
    browser.post("/auth/passphrase_reset", data={"csrf_token": token, "from": "settings"})
    link = newest(alice3, "passphrase_reset")["PassphraseResetLink"]
    assert "from=settings" in link
    form = fields(browser.get(link).text)
    data = {**form, "passphrase": "new", "iterations": "0", "key": ""}
    answer = browser.post("/auth/passphrase_renew", data=data, headers={"Accept": "application/json"})
    assert answer.json() == {"redirect": f"http://settings.{alice3.domain}/#/profile/email"}
    for doctype, status in (("com.bitwarden.ciphers", 404), ("com.bitwarden.folders", 404), ("io.cozy.tests", 200)):
        assert alice3.get(f"/data/{doctype}/one", doctype).status_code == status


def test_pages_of_the_passphrase_keep_the_token_of_the_browser(server: RunningServer) -> None:
    carol4 = server.add("carol4", passphrase="cozy")
    for path in ("/auth/passphrase", "/auth/passphrase_reset", "/auth/passphrase_renew?token=zz", "/auth/confirm"):
        assert cookie_line(Browser(carol4).get(path), "_csrf"), path


def test_the_passphrase_alone_confirms_even_without_a_session(server: RunningServer) -> None:
    bob5 = server.add("bob5", passphrase="cozy")
    browser = Browser(bob5)
    page = browser.get("/auth/confirm", params={"state": "s", "redirect": f"http://drive.{bob5.domain}/"})
    assert page.status_code == 200
    data = {**fields(page.text), "passphrase": hashed("cozy", bob5.domain), "clear": ""}
    answer = browser.post("/auth/confirm", data=data)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"http://drive.{bob5.domain}/?code=")
    assert not browser.logged_in
