"""One large file from one server to the other: wall time, CPU time, growth of memory.

Inglenook: the file is uploaded into a shared folder; the clock runs from the answer of the upload until the other
server shows the file; CPU and memory include the upload.
Syncthing: the file is moved into the folder and the device told to look, until it is in place on the other side.
Floor: one client puts the file to a bare server.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from pathlib import Path

import aiohttp

from bench.figures import FLOOR, OURS, SYNCTHING, Figure, Say, Size
from bench.floor import floor_server
from bench.floor_app import pieces
from bench.inglenook_pair import two_servers
from bench.syncthing_pair import installed, two_devices
from bench.usage import observed
from bench.waiting import until

TITLE = "A large file"
BLOCK = 16 * 1024**2

Measured = tuple[float, float, float]
"""Seconds by the clock, seconds of CPU, MB of memory more than before."""


async def measure(size: Size, folder: Path, say: Say) -> list[Figure]:
    """All three figures, and how long the upload took."""
    source = folder / "large.bin"
    await asyncio.to_thread(make, source, size.large)
    found: dict[str, Measured] = {}
    say(FLOOR)
    found[FLOOR] = await floor(source, folder / FLOOR)
    shutil.rmtree(folder / FLOOR)
    if installed():
        say(SYNCTHING)
        found[SYNCTHING] = await syncthing(source, folder / SYNCTHING)
        shutil.rmtree(folder / SYNCTHING)
    say(OURS)
    found[OURS], upload = await inglenook(source, folder / OURS)
    work = f"one file of {size.large // 1024**2} MiB"
    wall, cpu, memory = ({name: values[i] for name, values in found.items()} for i in range(3))
    return [
        Figure(f"{work}, from one server to the other", "s", wall, "twice the floor"),
        Figure(f"{work}: CPU of both, upload included", "CPU s", cpu, "7 for 1 GiB"),
        Figure(f"{work}: growth of memory of both", "MB", memory, "30, whatever the size"),
        Figure(f"{work}: upload to the first server", "s", {OURS: upload}, ""),
    ]


async def inglenook(source: Path, folder: Path) -> tuple[Measured, float]:
    """Two servers; gives also the seconds of the upload."""
    async with two_servers(folder) as pair:
        shared = await pair.alice.make_folder(TITLE)
        await pair.share(TITLE, shared)
        await pair.alice.write("small.txt", b"first", shared)

        async def small_is_there() -> bool:
            return await pair.bob.find("small.txt") is not None

        await until(small_is_there)
        async with observed(*pair.pids) as usage:
            started = time.monotonic()
            await pair.alice.upload(source, shared, lambda _: None)
            uploaded = time.monotonic()

            async def is_there() -> bool:
                return await pair.bob.find(source.name) is not None

            await until(is_there, every=0.02)
            ended = time.monotonic()
        return (ended - uploaded, usage.cpu, usage.growth / 1e6), uploaded - started


async def syncthing(source: Path, folder: Path) -> Measured:
    """Two devices."""
    async with two_devices(folder) as pair:
        copy = folder / source.name
        await asyncio.to_thread(shutil.copyfile, source, copy)
        there = pair.other.files / source.name
        async with observed(*pair.pids) as usage:
            started = time.monotonic()
            copy.rename(pair.one.files / source.name)
            scanning = asyncio.create_task(pair.scan(pair.one, source.name))
            await until(there.exists, every=0.02)
            wall = time.monotonic() - started
            await scanning
        await asyncio.to_thread(_assert_same_size, there, source)
        return wall, usage.cpu, usage.growth / 1e6


async def floor(source: Path, folder: Path) -> Measured:
    """A client in this process and a bare server; the CPU time is that of both."""
    async with floor_server(folder) as server, aiohttp.ClientSession() as http:
        async with observed(server.pid) as usage:
            own, started = time.process_time(), time.monotonic()
            async with http.put(f"{server.origin}/file/large", data=pieces(source)) as response:
                assert response.status == 201, response.status
            wall, own = time.monotonic() - started, time.process_time() - own
        return wall, usage.cpu + own, usage.growth / 1e6


def _assert_same_size(one: Path, other: Path) -> None:
    assert one.stat().st_size == other.stat().st_size


def make(path: Path, size: int) -> None:
    """A file of bytes that do not repeat, the same each time."""
    chance = random.Random(size)
    with path.open("wb") as file:
        for start in range(0, size, BLOCK):
            file.write(chance.randbytes(min(BLOCK, size - start)))
