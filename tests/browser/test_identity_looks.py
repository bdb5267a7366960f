"""Every page of identity and of web apps, wide and narrow, light and dark, in English and French: nothing sticks out,
everything is in the language of the instance, no policy is violated. `INGLENOOK_TEST_PICTURES` names a folder to keep
pictures in."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from tests.api.apps_workshop import install, write_app
from tests.servers import Person, RunningServer

from inglenook.identity import translations

pytestmark = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the system's Chromium")

PICTURES = os.environ.get("INGLENOOK_TEST_PICTURES", "")
VIEWS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
CHALLENGE = "CrlVwe1WSHWuTQYh3iczmx3aS-faRx6C92k9_hNxl4A"
FIRST_WORDS = sorted({key.partition(".")[0] for key in translations.keys("en")})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose mails wait: nobody listens on the port of its mail server."""
    running = RunningServer(tmp_path_factory.mktemp("data"), smtp_url="smtp://127.0.0.1:1").start()
    yield running
    running.stop()


@pytest.fixture(scope="module", params=["en", "fr"])
def person(request: pytest.FixtureRequest, server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Person:
    locale: str = request.param
    person = server.add(f"alice-{locale}", passphrase="cozy", locale=locale, public_name="Alice")
    install(person, write_app(tmp_path_factory.mktemp("app")))
    return person


class Look:
    """A visitor of one person's pages."""

    def __init__(self, context: BrowserContext, person: Person) -> None:
        self.person = person
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)

    def at(self, name: str, path: str = "") -> None:
        """Open a page, or stay, and look at it in each view."""
        if path:
            self.page.goto(path if path.startswith("http") else self.person.url + path)
        for width, scheme in VIEWS:
            self.page.set_viewport_size({"width": width, "height": 800})
            self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            wide = self.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} wide on {width}"
            if PICTURES:
                where = Path(PICTURES) / f"{name}-{self.person.instance.locale}-{width}-{scheme}.png"
                self.page.screenshot(path=where, full_page=True)
        assert self.page.locator("html").get_attribute("lang") == self.person.instance.locale, name
        text = self.page.inner_text("main")
        assert not re.search(
            rf"\b(?:{'|'.join(FIRST_WORDS)})\.[a-z_]+\b(?!@|:)", text.replace(self.person.domain, "")
        ), text
        assert self.page.locator("h1").count() == 1, name
        assert [one for one in self.complaints if "the server responded with a status of" not in one] == [], name

    def press(self, number: int = 0) -> None:
        """Send the form."""
        with self.page.expect_navigation():
            self.page.locator("form button[type=submit]").nth(number).click()

    def log_in(self) -> None:
        """Log in."""
        self.page.goto(f"{self.person.url}/auth/login?redirect={self.person.url}/auth/confirm?state=s")
        self.page.locator("#password").fill("cozy")
        self.press()


@pytest.fixture
def look(chromium: Browser, person: Person) -> Iterator[Look]:
    context = chromium.new_context()
    yield Look(context, person)
    context.close()


def register(person: Person, **more: Any) -> dict[str, Any]:
    declared = {
        "redirect_uris": ["https://device.example/callback"], "client_name": "Phone of Alice", "software_id": "s",
        "client_kind": "mobile", "client_uri": "https://device.example/", **more,
    }  # fmt: skip
    return person.http.post("/auth/register", json=declared, headers={"Accept": "application/json"}).json()


def asking(client: dict[str, Any], scope: str, **more: str) -> str:
    query = {
        "client_id": client["client_id"], "redirect_uri": client["redirect_uris"][0], "state": "s", "scope": scope,
        "response_type": "code", **more,
    }  # fmt: skip
    return "/auth/authorize?" + urlencode(query)


def change(person: Person, switch: Callable[[Any], Any]) -> None:
    person.server.do(lambda _: person.instance.registry.modify(person.instance, switch))


def test_pages_of_the_login(look: Look, person: Person) -> None:
    look.at("login", "/auth/login")
    look.page.locator("#password").fill("wrong")
    look.press()
    look.at("login-wrong")
    sharing = f"{person.url}/auth/authorize/sharing?sharing_id=x&state=y"
    look.at("login-sharing", f"/auth/login?{urlencode({'redirect': sharing})}")
    look.at("login-elsewhere", "/auth/login?redirect=http://elsewhere.example/")
    look.at("reset", "/auth/passphrase_reset")
    look.press()
    look.at("reset-sent")
    look.at("renew-wrong", "/auth/passphrase_renew?token=zz")
    token = person.instance.doc.passphrase_reset_token.hex()
    look.at("renew", f"/auth/passphrase_renew?token={token}")
    look.page.locator("#password").fill("one sentence")
    look.page.locator("#again").fill("another sentence")
    look.page.locator("form button").click()
    look.at("renew-mismatch")
    person.put("/settings/hint", "io.cozy.settings", json_body={"hint": "the usual one"})
    look.at("reset-hint", "/auth/passphrase_reset")
    look.press(1)
    look.at("hint-sent")


def test_pages_of_the_second_factor_and_the_confirmation(look: Look, person: Person) -> None:
    look.log_in()
    look.at("confirm", "/auth/confirm?state=s")
    look.page.locator("#password").fill("wrong")
    look.press()
    look.at("confirm-wrong")
    look.at("confirm-stateless", "/auth/confirm")
    change(person, lambda doc: msgspec.structs.replace(doc, auth_mode=1))
    look.page.context.clear_cookies()
    look.page.goto(f"{person.url}/auth/login")
    look.page.locator("#password").fill("cozy")
    look.press()
    look.at("twofactor")
    look.page.locator("#two-factor-passcode").fill("000000")
    look.press()
    look.at("twofactor-wrong")
    change(person, lambda doc: msgspec.structs.replace(doc, auth_mode=0))


def test_pages_of_the_consent(look: Look, person: Person) -> None:
    client = register(person)
    look.log_in()
    look.at("authorize", asking(client, "io.cozy.files:GET io.cozy.contacts io.cozy.notes:GET,POST:a,b"))
    look.at("authorize-many", asking(client, " ".join(
        f"io.cozy.{name}" for name in ("files", "contacts", "settings", "sharings", "permissions", "jobs", "xyz.abc")
    )))  # fmt: skip
    long = register(person, client_name="A device with quite a long name that somebody has thought of " * 2)
    look.at("authorize-long", asking(long, "io.cozy.files"))
    look.at("authorize-bad", "/auth/authorize")
    everything = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    look.at("flagship", asking(client, "*", **everything))
    look.page.locator("#confirm-code").fill("000000")
    look.press()
    look.at("flagship-wrong")
    change(person, lambda doc: msgspec.structs.replace(doc, feature_flags={"cozy.oauthclients.max": 0}))
    look.at("authorize-limit", asking(client, "io.cozy.files"))
    change(person, lambda doc: msgspec.structs.replace(doc, feature_flags={}))


def test_pages_of_links_and_apps(look: Look, person: Person) -> None:
    rules = {"files": {"type": "io.cozy.files", "verbs": ["GET"]}}
    body = {"data": {"attributes": {"permissions": rules, "password": "hush"}}}
    made = person.post("/permissions?codes=c", "io.cozy.files", json_body=body).json()["data"]["attributes"]
    app = f"http://mini.{person.domain}"
    look.at("link-password", f"{app}/public/?sharecode={made['shortcodes']['c']}")
    look.page.locator("#password").fill("wrong")
    look.page.locator("form button").click()
    look.page.get_by_role("alert").wait_for()
    look.at("link-wrong")
    look.at("app-missing", f"http://nothing.{person.domain}/")
    look.at("app-no-page", f"{app}/public/nothing.html")
    look.at("error-404", "/nothing")
    look.at("error-401", "/permissions/self")
    look.log_in()
    look.at("home", f"http://home.{person.domain}/")
    client = register(person)
    change(person, lambda doc: msgspec.structs.replace(doc, feature_flags={"cozy.oauthclients.max": 0}))
    person.server.do(lambda _: person.instance.store.write(_no_longer_pending(client["client_id"])))
    look.at("too-many-devices", f"/settings/clients/limit-exceeded?redirect={app}/")
    change(person, lambda doc: msgspec.structs.replace(doc, feature_flags={}))
    for reason in ("", "PAYMENT_FAILED", "LOGIN_FAILED"):
        change(person, lambda doc, reason=reason: msgspec.structs.replace(doc, blocked=True, blocking_reason=reason))
        look.at(f"blocked{reason.lower().replace('_', '-')}", "/")
    change(person, lambda doc: msgspec.structs.replace(doc, blocked=False, blocking_reason=""))


def test_pages_of_the_onboarding(look: Look, server: RunningServer, person: Person) -> None:
    locale = person.instance.locale
    new = server.add(f"bob-{locale}", locale=locale)
    look.person = new
    look.at("need-onboarding", "/")
    look.at("onboarding", f"/?registerToken={new.instance.doc.register_token.hex()}")


def _no_longer_pending(client_id: str) -> Callable[[Any], None]:
    from inglenook.identity import clients

    def settle(tx: Any) -> None:
        clients.update_client(tx, client_id, {"pending": None})

    return settle
