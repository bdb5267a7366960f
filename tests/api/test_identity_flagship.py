"""A client that asks for everything is confirmed by its owner with a mailed code; mails about devices (spec/03 §6.5,
§7.4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.browser_forms import Browser, fields
from tests.servers import Person, RunningServer

from inglenook.identity.letters import LETTERS
from inglenook.mail import templates

CALLBACK = "cozy://cb"
VERIFIER, CHALLENGE = "v" * 50, "CrlVwe1WSHWuTQYh3iczmx3aS-faRx6C92k9_hNxl4A"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose mails wait: nobody listens on the port of its mail server."""
    running = RunningServer(tmp_path_factory.mktemp("data"), smtp_url="smtp://127.0.0.1:1").start()
    yield running
    running.stop()


@pytest.fixture
def browser(alice: Person) -> Browser:
    visitor = Browser(alice)
    visitor.login()
    return visitor


@pytest.fixture
def phone(alice: Person) -> dict[str, Any]:
    declared = {"redirect_uris": [CALLBACK], "client_name": "Phone", "software_id": "s", "client_kind": "mobile"}
    return alice.http.post("/auth/register", json=declared).json()


def mails(person: Person, template: str) -> list[dict[str, Any]]:
    async def read(_: object) -> list[Any]:
        records = await person.instance.store.read(lambda view: view.records(LETTERS))
        return [record.body for record in sorted(records, key=lambda record: record.seq)]

    return [one["template_values"] for one in person.server.do(read) if one["template_name"] == template]


def asking(client: dict[str, Any], **changes: str) -> dict[str, str]:
    asked = {
        "client_id": client["client_id"], "redirect_uri": CALLBACK, "state": "s", "response_type": "code", "scope": "*",
        "code_challenge": CHALLENGE, "code_challenge_method": "S256",
    }  # fmt: skip
    return {name: value for name, value in {**asked, **changes}.items() if value}


def test_who_asks_for_everything_is_confirmed_by_a_mailed_code(
    alice: Person, browser: Browser, phone: dict[str, Any]
) -> None:
    page = browser.get("/auth/authorize", params=asking(phone))
    assert page.status_code == 200
    form = fields(page.text)
    straight = browser.post("/auth/authorize", data=form)
    assert straight.status_code == 400, "the consent alone gives nothing"
    code = mails(alice, "confirm_flagship")[-1]["Code"]
    wrong = browser.post(
        "/auth/authorize/flagship", data={**form, "confirm_code": "000000" if code != "000000" else "1"}
    )
    assert wrong.status_code == 401
    asked_again = browser.post("/auth/authorize/flagship", data={**fields(wrong.text), "confirm_code": code})
    assert asked_again.status_code == 303
    consent = browser.get(asked_again.headers["location"])
    assert "Everything" in consent.text
    answer = browser.post("/auth/authorize", data=fields(consent.text))
    assert answer.status_code == 302
    got = answer.headers["location"].partition("access_code=")[2].partition("&")[0]
    pair = alice.http.post(
        "/auth/access_token",
        data={
            "grant_type": "authorization_code", "client_id": phone["client_id"], "code": got, "code_verifier": VERIFIER,
            "client_secret": phone["client_secret"],
        },
    ).json()  # fmt: skip
    assert pair["scope"] == "*"
    own = alice.get("/permissions/self", token=pair["access_token"]).json()["data"]["attributes"]
    assert own["permissions"] == {"rule0": {"type": "*"}}


def test_a_code_confirms_the_client_that_it_was_mailed_for(
    alice: Person, browser: Browser, phone: dict[str, Any]
) -> None:
    form = fields(browser.get("/auth/authorize", params=asking(phone)).text)
    code = mails(alice, "confirm_flagship")[-1]["Code"]
    other = alice.http.post(
        "/auth/register", json={"redirect_uris": [CALLBACK], "client_name": "Other", "software_id": "s"}
    ).json()
    taken = {**form, "client_id": other["client_id"], "confirm_code": code}
    assert browser.post("/auth/authorize/flagship", data=taken).status_code == 401
    assert browser.post("/auth/authorize/flagship", data={**form, "confirm_code": code}).status_code == 303


def test_a_confirmation_needs_session_form_and_challenge(
    alice: Person, browser: Browser, phone: dict[str, Any]
) -> None:
    assert browser.get("/auth/authorize", params=asking(phone, code_challenge="")).status_code == 400
    without = asking(phone, code_challenge="", code_challenge_method="")
    assert browser.get("/auth/authorize", params=without).status_code == 400
    stranger = Browser(alice)
    assert stranger.get("/auth/authorize", params=asking(phone)).status_code == 303
    token = fields(stranger.get("/auth/login").text)["csrf_token"]
    form = {**asking(phone), "csrf_token": token, "confirm_token": "x", "confirm_code": "1"}
    assert stranger.post("/auth/authorize/flagship", data=form).status_code == 401
    assert browser.post("/auth/authorize/flagship", data=asking(phone)).status_code == 400


def test_ten_wrong_codes_end_a_confirmation(alice: Person, browser: Browser, phone: dict[str, Any]) -> None:
    form = fields(browser.get("/auth/authorize", params=asking(phone)).text)
    code = mails(alice, "confirm_flagship")[-1]["Code"]
    for _ in range(10):
        assert browser.post("/auth/authorize/flagship", data={**form, "confirm_code": "x"}).status_code == 401
    assert browser.post("/auth/authorize/flagship", data={**form, "confirm_code": code}).status_code == 401


# -- mails about devices


def test_the_owner_is_told_of_a_client_that_he_has_allowed(
    alice: Person, browser: Browser, phone: dict[str, Any]
) -> None:
    before = len(mails(alice, "new_registration"))
    asked = asking(phone, scope="io.cozy.files")
    for _ in range(2):
        page = browser.get("/auth/authorize", params=asked)
        assert browser.post("/auth/authorize", data=fields(page.text)).status_code == 302
    told = mails(alice, "new_registration")[before:]
    assert [one["DeviceName"] for one in told] == [phone["client_name"]], "once for each device"
    assert told[0]["DevicesLink"] == f"http://settings.{alice.domain}/#/connectedDevices"
    letter = templates.render("new_registration", told[0], locale="en", domain=alice.domain)
    assert phone["client_name"] in letter.text
    assert told[0]["DevicesLink"] in letter.text


def test_the_owner_is_told_of_a_login_from_elsewhere(server: RunningServer) -> None:
    bob2 = server.add("bob2", passphrase="cozy")
    firefox = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"}
    phone = {"User-Agent": "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/130.0 Mobile Safari/537.36"}
    for agent, mailed in ((firefox, 0), (firefox, 0), (phone, 1), (phone, 1), (firefox, 1)):
        browser = Browser(bob2)
        browser.http.headers.update(agent)
        assert browser.login().status_code == 303
        assert len(mails(bob2, "new_connection")) == mailed
    told = mails(bob2, "new_connection")[0]
    assert (told["OS"], told["Browser"], told["IPAddress"]) == ("Android", "Chrome", "127.0.0.1")
    letter = templates.render("new_connection", told, locale="fr", domain=bob2.domain)
    for word in ("Android", "Chrome", "127.0.0.1", f"http://settings.{bob2.domain}/#/profile/password"):
        assert word in letter.text
