"""The pages of identity in a real browser, with and without JavaScript, light and dark, narrow and wide."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from tests.servers import Person, RunningServer

from inglenook.identity import passphrase_hash

pytestmark = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the system's Chromium")

PICTURES = os.environ.get("INGLENOOK_TEST_PICTURES", "")


@pytest.fixture(scope="module")
def alice(server: RunningServer) -> Person:
    return server.add("alice", passphrase="cozy")


def show(page: Page, name: str) -> None:
    """Keep a picture of the page for people who look at them."""
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png")


def watch(page: Page) -> list[str]:
    """What the browser complains about: errors of scripts, violations of the policy."""
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    return complaints


def log_in(page: Page, person: Person, passphrase: str = "cozy") -> None:
    page.goto(f"{person.url}/auth/login?redirect={person.url}/connection_check")
    page.get_by_label("Password").fill(passphrase)
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        page.get_by_role("button", name="Log in").click()


def has_session(page: Page) -> bool:
    return any(cookie["name"] == "cozysessid" for cookie in page.context.cookies())


@pytest.mark.parametrize("scripts", [True, False], ids=["with-scripts", "without-scripts"])
def test_one_logs_in_with_and_without_scripts(chromium: Browser, alice: Person, scripts: bool) -> None:
    page = chromium.new_context(java_script_enabled=scripts).new_page()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.post_data or "") if request.method == "POST" else None)
    complaints = watch(page)
    log_in(page, alice)
    assert has_session(page)
    assert ("passphrase=cozy" in sent[0]) is not scripts, "with scripts the passphrase stays in the browser"
    assert complaints == []


def test_a_wrong_passphrase_is_said_and_the_form_can_be_used_again(chromium: Browser, alice: Person) -> None:
    page = chromium.new_page()
    log_in(page, alice, "wrong")
    page.get_by_role("alert").wait_for()
    show(page, "login-wrong")
    page.get_by_label("Password").fill("cozy")
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        page.keyboard.press("Enter")
    assert has_session(page)


@pytest.mark.parametrize("scripts", [True, False], ids=["with-scripts", "without-scripts"])
def test_the_owner_chooses_a_passphrase(chromium: Browser, server: RunningServer, scripts: bool) -> None:
    person = server.add(f"new{scripts}".lower())
    page = chromium.new_context(java_script_enabled=scripts).new_page()
    complaints = watch(page)
    page.goto(f"{person.url}/?registerToken={person.instance.doc.register_token.hex()}")
    page.get_by_label("New password").fill("a long sentence")
    if scripts:
        page.get_by_label("The same once more").fill("another sentence")
        page.get_by_role("button").click()
        assert "not the same" in page.get_by_role("alert").inner_text()
        show(page, "onboarding")
    page.get_by_label("The same once more").fill("a long sentence")
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        page.get_by_role("button").click()
    assert has_session(page)
    assert [one for one in complaints if "404" not in one] == [], "the home app is not installed here"
    assert person.instance.doc.kdf_iterations == passphrase_hash.DEFAULT_ITERATIONS
    again = chromium.new_page()
    log_in(again, person, "a long sentence")
    assert has_session(again)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_pages_fit_the_window_and_can_be_used_by_keyboard(
    chromium: Browser, alice: Person, scheme: str, width: int
) -> None:
    context = chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 720})  # pyright: ignore[reportArgumentType]
    page = context.new_page()
    complaints = watch(page)
    for path in ("/auth/login", "/auth/passphrase_reset", "/auth/authorize", "/auth/twofactor?two_factor_token=x"):
        page.goto(alice.url + path)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path
        show(page, f"{path.split('?')[0].strip('/').replace('/', '-')}-{scheme}-{width}")
    page.goto(f"{alice.url}/auth/login")
    assert page.evaluate("document.activeElement.id") == "password"
    order = []
    for _ in range(3):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert order == ["long-run-session", "BUTTON", "A"]
    assert [one for one in complaints if "400" not in one] == []


def test_the_consent_page_shows_what_is_asked_for(chromium: Browser, alice: Person) -> None:
    page = chromium.new_page()
    device = {
        "redirect_uris": [f"{alice.url.replace('alice', 'device')}/cb"],
        "client_name": "Phone",
        "software_id": "s",
    }
    client = alice.http.post("/auth/register", json=device).json()
    query = f"client_id={client['client_id']}&state=s&response_type=code&scope=io.cozy.files:GET io.cozy.contacts"
    page.goto(f"{alice.url}/auth/authorize?{query}&redirect_uri={client['redirect_uris'][0]}")
    page.get_by_label("Password").fill("cozy")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Phone asks for access").wait_for()
    assert page.get_by_role("listitem").all_inner_texts() == ["Your files\nread", "Your contacts\nread and change"]
    show(page, "authorize")
    page.get_by_role("button", name="Allow", exact=True).click()
    page.wait_for_url("**/cb?access_code=*")
