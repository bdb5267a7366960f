"""A first copy of very many small files: seconds for each thousand of them, and how long a small change in the same
folder takes to be seen while it goes on."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from bench.figures import OURS, Figure, Say, Size, percentile
from bench.inglenook_pair import Pair, two_servers
from bench.small_files import AT_ONCE, name_of
from bench.usage import observed
from bench.waiting import until

TITLE = "Very many files"
ENOUGH = 200
"""Small changes, at most."""


async def measure(size: Size, folder: Path, say: Say) -> list[Figure]:
    """Seconds, memory, latencies."""
    say(OURS)
    content = os.urandom(size.file_size)
    async with two_servers(folder) as pair:
        shared = await pair.alice.make_folder(TITLE)
        limit = asyncio.Semaphore(AT_ONCE)

        async def upload(number: int) -> None:
            async with limit:
                await pair.alice.write(name_of(number), content[:-8] + number.to_bytes(8, "big"), shared)

        await asyncio.gather(*(upload(number) for number in range(size.very_many)))
        link = await pair.invite(TITLE, shared)
        async with pair.about_to_accept(link) as agree, observed(*pair.pids) as usage:
            started = time.monotonic()
            await agree()
            await until(lambda: arrived(pair, 1), every=0.02)
            latencies = await changes_during(pair, size.very_many)
            await until(lambda: arrived(pair, size.very_many), every=0.1)
            wall = time.monotonic() - started
    work = f"{size.very_many:,} files of {size.file_size // 1000} KB, first copy"
    figures = [
        Figure(f"{work}: seconds for each thousand", "s", {OURS: wall / size.very_many * 1000}, "as for 1,000"),
        Figure(f"{work}: growth of memory of both", "MB", {OURS: usage.growth / 1e6}, "30"),
    ]
    if latencies:
        p50, p95 = (percentile(latencies, share) * 1000 for share in (0.5, 0.95))
        figures.append(Figure("one small change during this copy, p50", "ms", {OURS: p50}, "50"))
        figures.append(Figure("one small change during this copy, p95", "ms", {OURS: p95}, "100"))
    return figures


async def arrived(pair: Pair, count: int) -> bool:
    """Whether so many files are at bob's."""
    return await pair.count_at_bob() >= count


async def changes_during(pair: Pair, files: int) -> list[float]:
    """Small changes one after the other, until the copy is over."""
    taken: list[float] = []
    while not await arrived(pair, files) and len(taken) < ENOUGH:
        name = f"change {len(taken)}.txt"
        started = time.monotonic()
        await pair.alice.write(name, b"small", pair.alice.shared)

        async def seen(name: str = name) -> bool:
            return await pair.bob.find(name) is not None

        await until(seen, every=0.01)
        taken.append(time.monotonic() - started)
    return taken
