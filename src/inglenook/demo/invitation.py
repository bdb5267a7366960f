"""An invitation is followed as a browser would: the mail's link, one's own address, login, consent (spec/04 §6–§9)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser

import aiohttp
import msgspec
from yarl import URL

from inglenook.demo.person import Person, RequestRefused, new_session

MAIL = 20.0
"""Seconds that the mail may take."""
PAGES = 6
"""Redirections followed for one page."""


@dataclass(slots=True)
class Page:
    """A web page: its address, its title, and the form on it (`action`, and the fields with what they hold)."""

    url: URL
    title: str = ""
    action: str = ""
    fields: dict[str, str] = field(default_factory=dict[str, str])


class Browser:
    """A browser without JavaScript, which remembers cookies."""

    def __init__(self) -> None:
        self._http = new_session()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def visit(self, url: URL | str) -> Page:
        """Open an address. Raises RequestRefused, aiohttp.ClientError."""
        return await self._load("GET", URL(url), None)

    async def send(self, page: Page, **typed: str) -> Page:
        """Fill in the form of a page and press its button; gives the page that follows."""
        return await self._load("POST", page.url.join(URL(page.action)), page.fields | typed)

    async def _load(self, method: str, url: URL, data: dict[str, str] | None) -> Page:
        request = self._http.request(method, url, data=data, headers={"Accept": "text/html"}, max_redirects=PAGES)
        async with request as response:
            content = await response.read()
            if response.status >= 400 and response.url.path.startswith(("/auth", "/sharings")):
                raise RequestRefused(method, str(response.url), response.status, content)
            return read_page(response.url, content.decode("utf-8", "replace"))


def read_page(url: URL, text: str) -> Page:
    """The title of a page and its first form."""
    page = Page(url)
    _Reader(page).feed(text)
    return page


class _Reader(HTMLParser):
    def __init__(self, page: Page) -> None:
        super().__init__()
        self._page = page
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self._in_title = tag == "title"
        if tag == "form" and not self._page.action:
            self._page.action = values.get("action", "")
        elif tag == "input" and values.get("name"):
            self._page.fields[values["name"]] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        self._in_title = False

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self._page.title += data.strip()


async def invitation(sender: Person, email: str) -> tuple[str, str]:
    """The mail to an address, from those that the sender's server keeps: its subject, and the link in it.

    Raises TimeoutError, ServerFailed."""
    async with asyncio.timeout(MAIL):
        while True:
            for line in (await sender.server.command("mails", "--domain", sender.domain, "--json")).splitlines():
                mail = msgspec.json.decode(line)
                link = re.search(r"https?://\S+/discovery\?\S+", mail["text"])
                if email in mail["to"] and link:
                    return mail["subject"], link[0].rstrip(")>.,")


async def accept(link: str, guest: Person, step: Callable[[str], None]) -> None:
    """Follow the link as the guest; `step` is told what has happened. Raises RequestRefused, aiohttp.ClientError."""
    browser = Browser()
    try:
        page = await to_consent(browser, link, guest, step)
        await browser.send(page)
        step("agrees; the two servers exchange credentials for this sharing alone")
    finally:
        await browser.close()


async def to_consent(browser: Browser, link: str, guest: Person, step: Callable[[str], None]) -> Page:
    """Follow the link up to the page on which the guest agrees by sending its form. Raises as `accept`."""
    page = await browser.visit(link)
    step(f"opens the link: “{headline(page)}”, and types {guest.domain}")
    page = await browser.send(page, slug=guest.url)
    if "passphrase" in page.fields:
        page = await browser.send(page, passphrase=guest.passphrase)
        step(f"logs in at the own server: “{headline(page)}”")
    if not page.action.startswith("/auth/authorize/sharing"):
        raise aiohttp.ClientPayloadError(f"There is nothing to agree to on {page.url.path}: {page.title}")
    return page


def headline(page: Page) -> str:
    """The title without the name of the server."""
    return page.title.partition(" – ")[0]
