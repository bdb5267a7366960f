"""Two Inglenook servers, alice on one and bob on the other, with a folder between them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bench.waiting import until
from inglenook.demo.invitation import Browser, invitation, to_consent
from inglenook.demo.person import Person
from inglenook.demo.processes import ServerProcess, two_ports


@dataclass(slots=True)
class Pair:
    """Both people; `sharing` is known once `share` was called."""

    alice: Person
    bob: Person
    sharing: str = ""

    @property
    def pids(self) -> tuple[int, int]:
        """The processes of both servers."""
        return self.alice.server.pid, self.bob.server.pid

    async def invite(self, title: str, folder: str) -> str:
        """Share a folder of alice with bob; gives the link of the invitation."""
        self.alice.shared, self.alice.place = folder, f"/{title}"
        self.sharing = await self.alice.share(title, folder, self.bob.email)
        _, link = await invitation(self.alice, self.bob.email)
        return link

    @contextlib.asynccontextmanager
    async def about_to_accept(self, link: str) -> AsyncGenerator[Callable[[], Awaitable[object]]]:
        """Bob has logged in and sees the page of consent; gives the pressing of its button."""
        browser = Browser()
        try:
            page = await to_consent(browser, link, self.bob, lambda _: None)
            yield lambda: browser.send(page)
        finally:
            await browser.close()

    async def share(self, title: str, folder: str) -> None:
        """Share a folder, and wait until it is at bob's."""
        async with self.about_to_accept(await self.invite(title, folder)) as agree:
            await agree()
        await until(lambda: self.bob.received(self.sharing), every=0.02)

    async def count_at_bob(self) -> int:
        """Files that have come to the top of the shared folder."""
        if not self.bob.shared and not await self.bob.received(self.sharing):
            return 0
        folder = await self.bob.call("GET", f"/files/{self.bob.shared}?page[limit]=1")
        return folder["data"]["relationships"]["contents"]["meta"]["count"]


@contextlib.asynccontextmanager
async def two_servers(folder: Path, **settings: str) -> AsyncGenerator[Pair]:
    """Both servers, running inside the context; `settings` are those of both, beside the usual ones."""
    ports = two_ports()
    alice, bob = (
        Person(name, ServerProcess(folder / name, port, **settings), f"passphrase of {name}")
        for name, port in zip(("alice", "bob"), ports, strict=True)
    )
    try:
        await asyncio.gather(*(person.server.start() for person in (alice, bob)))
        await asyncio.gather(*(person.move_in() for person in (alice, bob)))
        yield Pair(alice, bob)
    finally:
        for person in (alice, bob):
            await person.leave()
        await asyncio.gather(*(person.server.stop() for person in (alice, bob)))
