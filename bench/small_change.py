"""The latency of one small change: from the moment when it is sent to one server until the other one shows it.

Uploads of new files and changes of existing ones in turn, with pauses between them so that each stands alone.
Syncthing waits for its watcher, which collects changes for `fsWatcherDelayS`: measured with one second (the figure
of the table), with the default of ten seconds, and told by its API to look at once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from bench.figures import FLOOR, OURS, SYNCTHING, Figure, Say, Size, percentile
from bench.floor import floor_server
from bench.inglenook_pair import Pair, two_servers
from bench.syncthing_pair import Devices, installed, two_devices
from bench.waiting import until

TITLE = "Small changes"
DEFAULT_DELAY = 10
DEFAULT_CHANGES = 3
TOLD = "syncthing, told by its API"
BY_DEFAULT = "syncthing, default delay"

Change = Callable[[int], Awaitable[float]]
"""Makes the change of this number; gives the seconds until it was seen."""


async def measure(size: Size, folder: Path, say: Say) -> list[Figure]:
    """Median and 95th percentile."""
    found: dict[str, list[float]] = {}
    say(FLOOR)
    found[FLOOR] = await floor(size.changes, folder / FLOOR)
    if installed():
        say(SYNCTHING)
        found[SYNCTHING] = await syncthing(size.changes, folder / SYNCTHING, delay=1)
        say(TOLD)
        found[TOLD] = await syncthing(size.changes, folder / "told", delay=DEFAULT_DELAY, told=True)
        say(BY_DEFAULT)
        found[BY_DEFAULT] = await syncthing(DEFAULT_CHANGES, folder / "default", delay=DEFAULT_DELAY)
    say(OURS)
    found[OURS] = await inglenook(size.changes, folder / OURS)
    p50, p95 = ({name: percentile(v, share) * 1000 for name, v in found.items()} for share in (0.5, 0.95))
    return [
        Figure("one small change seen on the other server, p50", "ms", p50, "20 = 3x the floor (50 first)"),
        Figure("one small change seen on the other server, p95", "ms", p95, "50"),
    ]


async def inglenook(changes: int, folder: Path) -> list[float]:
    """Two servers."""
    async with two_servers(folder) as pair:
        await pair.share(TITLE, await pair.alice.make_folder(TITLE))
        return await in_turn(changes, lambda number: our_change(pair, number))


async def our_change(pair: Pair, number: int) -> float:
    """One change at alice's, seen at bob's: a new file, or the next content of the last one."""
    name, content = f"file-{number // 2}.txt", b"change %d" % number
    started = time.monotonic()
    if number % 2:
        await pair.alice.overwrite(name, content)
    else:
        await pair.alice.write(name, content, pair.alice.shared)

    async def seen() -> bool:
        found = await pair.bob.find(name)
        return found is not None and await pair.bob.read(name) == content

    await until(seen)
    return time.monotonic() - started


async def syncthing(changes: int, folder: Path, *, delay: int, told: bool = False) -> list[float]:
    """Two devices."""
    async with two_devices(folder, watcher_delay=delay) as pair:
        return await in_turn(changes, lambda number: their_change(pair, number, told=told))


async def their_change(pair: Devices, number: int, *, told: bool) -> float:
    """One change in the folder of the first device, seen in that of the other one."""
    name, content = f"file-{number // 2}.txt", b"change %d" % number
    there = pair.other.files / name
    started = time.monotonic()
    (pair.one.files / name).write_bytes(content)
    if told:
        await pair.scan(pair.one, name)
    await until(lambda: holds(there, content))
    return time.monotonic() - started


async def floor(changes: int, folder: Path) -> list[float]:
    """A bare server that passes on to another one."""
    async with (
        floor_server(folder / "other") as other,
        floor_server(folder / "one", other.origin) as one,
        aiohttp.ClientSession() as http,
    ):

        async def change(number: int) -> float:
            name, content = f"file-{number // 2}", b"change %d" % number
            started = time.monotonic()
            async with http.put(f"{one.origin}/file/{name}", data=content) as response:
                assert response.status == 201, response.status

            async def seen() -> bool:
                async with http.get(f"{other.origin}/file/{name}") as response:
                    return await response.read() == content

            await until(seen)
            return time.monotonic() - started

        return await in_turn(changes, change)


def holds(file: Path, content: bytes) -> bool:
    """Whether a file is there with this content; it may be replaced at any moment."""
    try:
        return file.read_bytes() == content
    except FileNotFoundError:
        return False


async def in_turn(changes: int, change: Change) -> list[float]:
    """The changes one after the other, with pauses; the first ones, while connections are made, do not count."""
    chance = random.Random(changes)
    taken: list[float] = []
    for number in range(changes + 2):
        taken.append(await change(number))
        await asyncio.sleep(chance.uniform(0.02, 0.1))
    return taken[2:]
