"""Many members: a file to several of them on one server, a change to many, and what it costs the healthy ones and the
owner's own requests when others are on servers that are dead or hang."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import AsyncGenerator, Awaitable, Sequence
from pathlib import Path

import msgspec

from bench.commands import CommandedServer
from bench.figures import OURS, Figure, Say, Size, percentile
from bench.waiting import until
from inglenook.demo.invitation import accept
from inglenook.demo.person import Person
from inglenook.demo.processes import ServerFailed, ServerProcess, two_ports

FEW = 5
ABSENT = 10
REQUESTS = 200
AT_A_TIME = 4


async def measure(size: Size, folder: Path, say: Say) -> list[Figure]:
    """All of it."""
    say("1 MB to several members")
    async with servers(folder / "few", "alice", "bob") as (own, other):
        alice, guests = await people(own, other, FEW)
        sharing = await share(alice, guests, "Few")
        few = await seen_by_all(alice, guests, sharing, os.urandom(1_000_000))
        await all_leave(alice, *guests)
    say("a small change to many members")
    async with servers(folder / "many", "alice", "bob") as (own, other):
        alice, guests = await people(own, other, size.members)
        say(f"{len(guests)} have moved in, and are invited")
        sharing = await share(alice, guests, "Many")
        say("all have the folder")
        many = [await seen_by_all(alice, guests, sharing, b"small %d" % n) for n in range(5)]
        await all_leave(alice, *guests)
    say("members who are gone")
    before, after = await with_absent(folder / "absent")
    return [
        Figure(f"1 MB to {FEW} members on one server", "s", {OURS: few}, "0.5"),
        Figure(
            f"a small change to {size.members} members on one server, seen by all", "s", {OURS: percentile(many, 0.5)}
        ),
        Figure(
            f"{ABSENT} of {ABSENT + FEW} members dead or hanging: local p99", "x", {OURS: after[0] / before[0]}, "1.2"
        ),
        Figure("the same: a change seen by the healthy, p50", "x", {OURS: after[1] / before[1]}, "1.2"),
    ]


async def with_absent(folder: Path) -> tuple[tuple[float, float], tuple[float, float]]:
    """Local p99 and the median until healthy members have a change: while all are there, and without some."""
    async with servers(folder, "alice", "bob", "dead", "hanging") as (own, other, dead, hanging):
        alice, guests = await people(own, other, FEW)
        gone = [*await guests_at(dead, ABSENT // 2, "d"), *await guests_at(hanging, ABSENT // 2, "h")]
        sharing = await share(alice, [*guests, *gone], "Absent")
        before = await look(alice, guests, sharing)
        await dead.kill()
        os.kill(hanging.pid, signal.SIGSTOP)
        try:
            await seen_by_all(alice, guests, sharing, b"they are gone")
            after = await look(alice, guests, sharing)
        finally:
            os.kill(hanging.pid, signal.SIGCONT)
            await all_leave(alice, *guests, *gone)
    return before, after


async def look(alice: Person, guests: Sequence[Person], sharing: str) -> tuple[float, float]:
    """Local p99, and the median until all of the guests have a change, in seconds."""
    changes: list[float] = []
    local: list[float] = []

    async def requests() -> None:
        for _ in range(REQUESTS):
            started = time.monotonic()
            await alice.call("GET", f"/files/{alice.shared}?page[limit]=1")
            local.append(time.monotonic() - started)
            await asyncio.sleep(0.01)

    reading = asyncio.create_task(requests())
    while not reading.done():
        changes.append(await seen_by_all(alice, guests, sharing, b"change"))
    await reading
    return percentile(local, 0.99), percentile(changes, 0.5)


@contextlib.asynccontextmanager
async def servers(folder: Path, *names: str) -> AsyncGenerator[Sequence[ServerProcess]]:
    """Servers inside the context."""
    ports: list[int] = []
    start = 8200
    while len(ports) < len(names):
        with contextlib.suppress(ServerFailed):  # taken by somebody else
            ports += two_ports(start)
        start += 2
    found = [CommandedServer(folder / name, port) for name, port in zip(names, ports, strict=False)]
    try:
        await asyncio.gather(*(server.start() for server in found))
        yield found
    finally:
        await asyncio.gather(*(server.stop() for server in found))


async def people(own: ServerProcess, other: ServerProcess, count: int) -> tuple[Person, list[Person]]:
    """Alice, and her guests on another server."""
    alice = Person("alice", own, "passphrase of alice")
    await alice.move_in()
    return alice, await guests_at(other, count, "g")


async def guests_at(server: ServerProcess, count: int, letter: str) -> list[Person]:
    """People on one server."""
    found = [Person(f"{letter}{n}", server, "passphrase") for n in range(count)]
    await few_at_a_time(*(person.move_in() for person in found))
    return found


async def few_at_a_time(*work: Awaitable[None]) -> None:
    """Do all of it, not all at once."""
    limit = asyncio.Semaphore(AT_A_TIME)

    async def limited(one: Awaitable[None]) -> None:
        async with limit:
            await one

    await asyncio.gather(*(limited(one) for one in work))


async def all_leave(*everybody: Person) -> None:
    """Close all connections."""
    for person in everybody:
        await person.leave()


async def share(alice: Person, guests: Sequence[Person], title: str) -> str:
    """Share a folder with all of them, and wait until they have it."""
    alice.shared, alice.place = await alice.make_folder(title), f"/{title}"
    sharing = await alice.share(title, alice.shared, guests[0].email)
    for guest in guests[1:]:
        contact = {"fullname": guest.name, "email": [{"address": guest.email, "primary": True}]}
        made = await alice.call(
            "POST", "/data/io.cozy.contacts/", body=msgspec.json.encode(contact), kind="application/json"
        )
        recipients = {"recipients": {"data": [{"type": "io.cozy.contacts", "id": made["id"]}]}}
        data = {"type": "io.cozy.sharings", "id": sharing, "relationships": recipients}
        await alice.call("POST", f"/sharings/{sharing}/recipients", body=msgspec.json.encode({"data": data}))
    links = await invitations(alice, {guest.email for guest in guests})
    await few_at_a_time(*(accept(links[guest.email], guest, lambda _: None) for guest in guests))
    for guest in guests:
        await until(lambda guest=guest: guest.received(sharing), every=0.05)
    return sharing


async def invitations(alice: Person, addresses: set[str]) -> dict[str, str]:
    """The links in the mails, by address."""
    found: dict[str, str] = {}
    listed = ("mails", "--domain", alice.domain, "--json", "--limit", str(len(addresses)))

    async def all_found() -> bool:
        for line in (await alice.server.command(*listed)).splitlines():
            mail = msgspec.json.decode(line)
            if link := re.search(r"https?://\S+/discovery\?\S+", mail["text"]):
                found.update({address: link[0].rstrip(")>.,") for address in addresses if address in mail["to"]})
        return not addresses - found.keys()

    await until(all_found, every=0.5)
    return found


async def seen_by_all(alice: Person, guests: Sequence[Person], sharing: str, content: bytes) -> float:
    """Seconds from sending a new file until all of them show it."""
    name = f"{time.monotonic_ns()}.bin"
    started = time.monotonic()
    await alice.write(name, content, alice.shared)

    async def has_it(guest: Person) -> bool:
        return await guest.find(name) is not None

    for guest in guests:  # one after the other, that the server has not to answer all of them again and again
        await until(lambda guest=guest: has_it(guest), every=0.005)
    return time.monotonic() - started
