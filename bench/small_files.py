"""The first copy of many files: wall time, and CPU time of both servers.

Inglenook: from the consent of the recipient until the last file is in the listing of the other server; once more in the
plain protocol, as towards servers of another make.
Syncthing: from letting two devices that have scanned their folders connect until the last file is in place.
Floor: one client puts the same bytes to a bare server, eight at a time.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import aiohttp

from bench.figures import FLOOR, OURS, SYNCTHING, Figure, Say, Size
from bench.floor import floor_server
from bench.inglenook_pair import two_servers
from bench.syncthing_pair import installed, two_devices
from bench.usage import observed
from bench.waiting import until

AT_ONCE = 8
TITLE = "Many small files"

Measured = tuple[float, float]
"""Seconds by the clock, seconds of CPU."""


async def measure(size: Size, folder: Path, say: Say) -> list[Figure]:
    """Both figures of small files, by batches and in the plain protocol, and of larger ones."""
    small = [os.urandom(size.file_size) for _ in range(size.files)]
    work = f"{size.files} files of {size.file_size // 1000} KB, first copy"
    found = await all_three(small, folder / "small", say)
    say("inglenook, without extensions")
    plain = {**found, OURS: await inglenook(small, folder / "plain", extensions="none")}
    say(f"{size.middling} files of 1 MB")
    middling = await all_three([os.urandom(1_000_000) for _ in range(size.middling)], folder / "middling", say)
    return [
        *_figures(work, found, "Syncthing's, then half of it", "3"),
        *_figures(f"{work}, plain wire", plain, "3x Syncthing's", "8"),
        *_figures(f"{size.middling} files of 1 MB, first copy", middling, "1.2x Syncthing's", ""),
    ]


async def all_three(contents: list[bytes], folder: Path, say: Say) -> dict[str, Measured]:
    """The same files in all ways."""
    found: dict[str, Measured] = {}
    say(FLOOR)
    found[FLOOR] = await floor(contents, folder / FLOOR)
    if installed():
        say(SYNCTHING)
        found[SYNCTHING] = await syncthing(contents, folder / SYNCTHING)
    say(OURS)
    found[OURS] = await inglenook(contents, folder / OURS)
    return found


def _figures(work: str, found: dict[str, Measured], wall: str, cpu: str) -> list[Figure]:
    return [
        Figure(work, "s", {name: values[0] for name, values in found.items()}, wall),
        Figure(f"{work}: CPU of both", "CPU s", {name: values[1] for name, values in found.items()}, cpu),
    ]


async def inglenook(contents: list[bytes], folder: Path, **settings: str) -> Measured:
    """Two servers."""
    async with two_servers(folder, **settings) as pair:
        shared = await pair.alice.make_folder(TITLE)
        limit = asyncio.Semaphore(AT_ONCE)

        async def upload(number: int, content: bytes) -> None:
            async with limit:
                await pair.alice.write(name_of(number), content, shared)

        await asyncio.gather(*(upload(number, content) for number, content in enumerate(contents)))
        link = await pair.invite(TITLE, shared)
        async with pair.about_to_accept(link) as agree, observed(*pair.pids) as usage:
            started = time.monotonic()
            await agree()

            async def all_there() -> bool:
                return await pair.count_at_bob() >= len(contents)

            await until(all_there, every=0.05)
            wall = time.monotonic() - started
        return wall, usage.cpu


async def syncthing(contents: list[bytes], folder: Path) -> Measured:
    """Two devices."""
    async with two_devices(folder) as pair:
        await pair.connect(paused=True)
        for number, content in enumerate(contents):
            (pair.one.files / name_of(number)).write_bytes(content)
        await pair.scan(pair.one)
        async with observed(*pair.pids) as usage:
            started = time.monotonic()
            await pair.connect(paused=False)
            await until(lambda: pair.other.count() >= len(contents), every=0.02)
            wall = time.monotonic() - started
        return wall, usage.cpu


async def floor(contents: list[bytes], folder: Path) -> Measured:
    """A client in this process and a bare server; the CPU time is that of both."""
    async with floor_server(folder) as server, aiohttp.ClientSession() as http:
        limit = asyncio.Semaphore(AT_ONCE)

        async def put(number: int, content: bytes) -> None:
            async with limit, http.put(f"{server.origin}/file/{name_of(number)}", data=content) as response:
                assert response.status == 201, response.status

        async with observed(server.pid) as usage:
            own, started = time.process_time(), time.monotonic()
            await asyncio.gather(*(put(number, content) for number, content in enumerate(contents)))
            wall, own = time.monotonic() - started, time.process_time() - own
        return wall, usage.cpu + own


def name_of(number: int) -> str:
    """The name of a file."""
    return f"file-{number:05d}.bin"
