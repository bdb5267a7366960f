"""The pages of a sharing in a real browser: wide and narrow, light and dark, in English and French."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from tests.api.sharing_town import contact, folder, member, people, rule, share, short_code, state_of
from tests.servers import Person, RunningServer

pytestmark = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the system's Chromium")

PICTURES = os.environ.get("INGLENOOK_TEST_PICTURES", "")
VIEWS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
WORDS = {
    "en": {"log in": "Log in", "password": "Password", "accept": "Accept the sharing", "decline": "Decline",
           "continue": "Continue", "grant": "Allow changes"},
    "fr": {"log in": "Se connecter", "password": "Mot de passe", "accept": "Accepter le partage",
           "decline": "Décliner", "continue": "Continuer", "grant": "Autoriser les changements"},
}  # fmt: skip


@dataclass
class Pair:
    """An owner and somebody who is invited, both of one language, on two servers."""

    locale: str
    owner: Person
    guest: Person

    def say(self, key: str) -> str:
        """A word of the pages."""
        return WORDS[self.locale][key]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, RunningServer]]:
    here = RunningServer(tmp_path_factory.mktemp("here")).start()
    there = RunningServer(tmp_path_factory.mktemp("there")).start()
    yield here, there
    there.stop()
    here.stop()


@pytest.fixture(scope="module", params=["en", "fr"])
def pair(request: pytest.FixtureRequest, servers: tuple[RunningServer, RunningServer]) -> Pair:
    locale: str = request.param
    here, there = servers
    return Pair(
        locale,
        here.add(f"alice-{locale}", passphrase="cozy", locale=locale, public_name="Alice"),
        there.add(f"bob-{locale}", passphrase="cozy", locale=locale, public_name="Bob"),
    )


@dataclass
class Visit:
    """A page in one browser context; what the browser complains about is kept."""

    page: Page
    pair: Pair
    complaints: list[str]

    def show(self, name: str) -> None:
        """Look at the page in each width and each colour scheme: nothing sticks out, nothing was complained about."""
        for width, scheme in VIEWS:
            self.page.set_viewport_size({"width": width, "height": 900})
            self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            wide = self.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} wide on {width}"
            if PICTURES:
                self.page.screenshot(path=Path(PICTURES) / f"{name}-{self.pair.locale}-{width}-{scheme}.png")
        assert self.page.locator("html").get_attribute("lang") == self.pair.locale
        assert "sharing." not in self.page.inner_text("main"), "every text is translated"
        assert [one for one in self.complaints if "status of 4" not in one] == []

    def open(self, url: str) -> None:
        """Go to a page."""
        self.page.goto(url)

    def press(self, word: str) -> None:
        """Press a button, and come to the next page."""
        with self.page.expect_navigation():
            self.page.get_by_role("button", name=self.pair.say(word), exact=True).click()

    def log_in(self, person: Person) -> None:
        """Log in at somebody's."""
        self.page.goto(f"{person.url}/auth/login?redirect={person.url}/connection_check")
        self.page.locator("input[type=password]").first.fill("cozy")
        with self.page.expect_response(lambda answer: answer.request.method == "POST"):
            self.page.locator("form button[type=submit]").first.click()


@pytest.fixture
def visit(chromium: Browser, pair: Pair) -> Iterator[Visit]:
    context = chromium.new_context(java_script_enabled=True)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    yield Visit(page, pair, complaints)
    context.close()


def shared(pair: Pair, name: str, *, reader: bool = False, known: bool = False) -> tuple[str, str]:
    """A folder of the owner's, shared with the guest; gives the sharing and the state of the invitation."""
    invited = contact(pair.owner, "bob", email="bob@example.org", url=pair.guest.url if known else "")
    files = [{**rule(folder(pair.owner, name), doctype="io.cozy.files"), "title": name}]
    relationships = people(readers=(invited,)) if reader else people(invited)
    sharing = share(pair.owner, relationships, files, description=name)
    return sharing, state_of(pair.owner, sharing)


def test_from_the_link_in_the_mail_to_the_consent(visit: Visit, pair: Pair) -> None:
    name = f"Holidays in Brittany {pair.locale}"
    sharing, state = shared(pair, name)
    link = f"{pair.owner.url}/sharings/{sharing}/discovery?state={state}"
    visit.open(link)
    assert name in visit.page.inner_text("main")
    visit.show("discovery")
    visit.page.locator("#slug").fill("me@example.org")
    visit.press("continue")
    assert visit.page.locator("#slug").get_attribute("aria-invalid") == "true"
    visit.show("discovery-mail")
    visit.page.locator("#slug").fill("http://gone.localhost:1")
    visit.press("continue")
    visit.show("discovery-nobody")
    visit.log_in(pair.guest)
    visit.open(link)
    visit.page.locator("#slug").fill(pair.guest.url)
    visit.press("continue")
    assert visit.page.url.startswith(f"{pair.guest.url}/auth/authorize/sharing?")
    visit.show("authorize")
    with visit.page.expect_response(lambda answer: answer.request.method == "POST") as sent:
        visit.page.get_by_role("button", name=pair.say("accept"), exact=True).click()
    assert sent.value.status == 303
    visit.open(link)
    visit.show("accepted")
    visit.open(f"{pair.owner.url}/sharings/{sharing}/discovery?state=guessed")
    visit.show("unavailable")


def test_a_reader_is_asked_in_other_words_and_can_decline(visit: Visit, pair: Pair) -> None:
    sharing, state = shared(pair, f"Recipes {pair.locale}", reader=True, known=True)
    visit.log_in(pair.guest)
    visit.open(f"{pair.guest.url}/auth/authorize/sharing?sharing_id={sharing}&state={state}")
    visit.show("authorize-reader")
    visit.press("decline")
    assert member(pair.owner, sharing)["declined_at"]
    visit.show("declined")


def test_one_declines_on_the_page_of_the_link(visit: Visit, pair: Pair) -> None:
    sharing, state = shared(pair, f"Unwanted {pair.locale}")
    visit.open(f"{pair.owner.url}/sharings/{sharing}/discovery?state={state}")
    visit.press("decline")
    assert member(pair.owner, sharing)["declined_at"]
    visit.show("declined-by-link")


def test_the_owner_gives_the_right_to_write(visit: Visit, pair: Pair) -> None:
    invited = contact(pair.owner, "bob", email="bob@example.org")
    files = [rule(folder(pair.owner, f"Choir {pair.locale}"), doctype="io.cozy.files")]
    relationships = people(readers=(invited,))
    sharing = share(pair.owner, relationships, files, app_slug="drive", preview_path="/preview", description="Choir")
    asked = pair.owner.post(f"/sharings/{sharing}/request-access", token=short_code(pair.owner, sharing))
    assert asked.status_code == 204
    visit.log_in(pair.owner)
    visit.open(f"{pair.owner.url}/auth/authorize/sharing/{sharing}/access/1")
    visit.show("access")
    visit.press("grant")
    assert "read_only" not in member(pair.owner, sharing)
    visit.show("access-granted")
    visit.open(f"{pair.owner.url}/auth/authorize/sharing/{sharing}/access/1")
    assert visit.page.get_by_role("button").count() == 0
    visit.show("access-nothing")


def test_the_whole_way_works_without_scripts(chromium: Browser, pair: Pair) -> None:
    sharing, state = shared(pair, f"Without scripts {pair.locale}")
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    visit = Visit(page, pair, [])
    visit.log_in(pair.guest)
    visit.open(f"{pair.owner.url}/sharings/{sharing}/discovery?state={state}")
    page.locator("#slug").fill(pair.guest.url)
    visit.press("continue")
    with page.expect_response(lambda answer: answer.request.method == "POST") as sent:
        page.get_by_role("button", name=pair.say("accept"), exact=True).click()
    assert sent.value.status == 303
    context.close()
