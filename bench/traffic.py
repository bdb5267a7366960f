"""What small edits of large things cost: bytes towards the other server, and seconds until it shows them.

An edit of one hundredth of a large file, its copy beside it, the rename of a folder that is full of files, and many
changes in a row: of one file, of which the other server needs the last one only, and of as many files. The bytes
include what the measurement itself asks there.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.figures import OURS, Figure, Say, Size
from bench.inglenook_pair import Pair, two_servers
from bench.large_file import make
from bench.small_files import AT_ONCE
from bench.waiting import until
from bench.way import Way, counted
from inglenook.demo.person import pieces_of

TITLE = "Edits"


async def measure(size: Size, folder: Path, say: Say) -> list[Figure]:
    """Bytes and seconds."""
    async with two_servers(folder / "servers") as pair, counted(pair.bob.server.port) as way:
        pair.bob.server.port = way.port  # which is a part of bob's address
        await pair.bob.move_in()
        await pair.share(TITLE, await pair.alice.make_folder(TITLE))
        say("an edit of a large file")
        share, edited = await edit(pair, way, size.large, folder / "large.bin")
        say("a copy of it")
        copied, copy = await copy_inside(pair, way)
        say("the rename of a full folder")
        renamed, rename = await full_folder(pair, way, size.many)
        say("changes of one file in a row")
        superseded, last = await many_changes(pair, way, size.changes)
        say("changes of many files in a row")
        each = await changes_of_many(pair, size.changes)
    return [
        Figure(f"1 % of a file of {size.large // 1024**2} MiB edited: bytes sent", "%", {OURS: share}, "3"),
        Figure("the same: seconds until it is there", "s", {OURS: edited}),
        Figure("the same file copied inside the share: bytes sent", "KB", {OURS: copied}, "10"),
        Figure("the same: seconds until it is there", "s", {OURS: copy}),
        Figure(f"rename of a folder with {size.many:,} files: bytes sent", "KB", {OURS: renamed}, "a few"),
        Figure("the same: seconds until it is there", "s", {OURS: rename}, "0.1"),
        Figure(
            f"{size.changes} changes of one file of 100 KB: bytes sent", "x", {OURS: superseded}, "not each of them"
        ),
        Figure("the same: seconds from the last one until it is there", "s", {OURS: last}, "0.3"),
        Figure(
            f"{size.changes} changes of {size.changes} files: seconds until all are there", "s", {OURS: each}, "0.5"
        ),
    ]


async def during(
    way: Way, change: Callable[[], Awaitable[object]], seen: Callable[[], Awaitable[bool]]
) -> tuple[int, float]:
    """Bytes sent, and seconds from the end of a change until it is seen."""
    before = way.sent
    await change()
    started = time.monotonic()
    await until(seen, every=0.02)
    return way.sent - before, time.monotonic() - started


async def edit(pair: Pair, way: Way, size: int, source: Path) -> tuple[float, float]:
    """Change one hundredth in the middle of a large file; gives percents of its size, and seconds."""
    await asyncio.to_thread(make, source, size)
    await pair.alice.upload(source, pair.alice.shared, lambda _: None)
    await until(lambda: has_md5(pair, source.name), every=0.1)

    def change() -> None:
        with source.open("r+b") as file:
            file.seek(size // 3)
            file.write(os.urandom(size // 100))

    await asyncio.to_thread(change)
    found = await pair.alice.must_find(source.name)

    async def upload() -> None:
        body = pieces_of(source, lambda _: None)
        await pair.alice.call("PUT", f"/files/{found['id']}", body=body, kind="application/octet-stream", length=size)

    sent, seconds = await during(way, upload, lambda: has_md5(pair, source.name))
    return sent / size * 100, seconds


async def copy_inside(pair: Pair, way: Way) -> tuple[float, float]:
    """Copy the large file beside itself; gives KB and seconds."""
    found = await pair.alice.must_find("large.bin")

    async def copy() -> None:
        await pair.alice.call("POST", f"/files/{found['id']}/copy?Name=copy.bin")

    sent, seconds = await during(way, copy, lambda: has_md5(pair, "copy.bin"))
    return sent / 1000, seconds


async def has_md5(pair: Pair, path: str) -> bool:
    """Whether a file has the same content on both sides."""
    here, there = await pair.alice.find(path), await pair.bob.find(path)
    if here is None or there is None:
        return False
    return here["attributes"]["md5sum"] == there["attributes"]["md5sum"]


async def full_folder(pair: Pair, way: Way, files: int) -> tuple[float, float]:
    """Rename a folder with many files; gives KB and seconds."""
    full = await pair.alice.make_folder("full", pair.alice.shared)
    limit = asyncio.Semaphore(AT_ONCE)

    async def write(number: int) -> None:
        async with limit:
            await pair.alice.write(f"{number}.txt", b"%d" % number, full)

    await asyncio.gather(*(write(number) for number in range(files)))

    async def all_there() -> bool:
        found = await pair.bob.find("full")
        if found is None:
            return False
        listed = await pair.bob.call("GET", f"/files/{found['id']}?page[limit]=1")
        return listed["data"]["relationships"]["contents"]["meta"]["count"] >= files

    await until(all_there, every=0.2)

    async def renamed() -> bool:
        return await pair.bob.find("renamed") is not None

    sent, seconds = await during(way, lambda: pair.alice.change("full", name="renamed"), renamed)
    return sent / 1000, seconds


async def many_changes(pair: Pair, way: Way, changes: int) -> tuple[float, float]:
    """Change one file many times in a row; gives how many times its size was sent, and the seconds after the last."""
    content = [os.urandom(100_000) for _ in range(changes)]
    await pair.alice.write("again.bin", content[0], pair.alice.shared)
    await until(lambda: has_md5(pair, "again.bin"), every=0.02)

    async def change() -> None:
        for one in content:
            await pair.alice.overwrite("again.bin", one)

    sent, seconds = await during(way, change, lambda: has_md5(pair, "again.bin"))
    return sent / 100_000, seconds


async def changes_of_many(pair: Pair, changes: int) -> float:
    """Change many small files, each once, without waiting for answers in between; gives the seconds from the first
    request until the last change is there."""
    names = [f"each-{number}.txt" for number in range(changes)]
    await asyncio.gather(*(pair.alice.write(name, b"before", pair.alice.shared) for name in names))
    await until(lambda: all_have_md5(pair, names), every=0.05)
    started = time.monotonic()
    await asyncio.gather(*(pair.alice.overwrite(name, name.encode()) for name in names))
    await until(lambda: all_have_md5(pair, names), every=0.01)
    return time.monotonic() - started


async def all_have_md5(pair: Pair, names: list[str]) -> bool:
    """Whether all files have the same content on both sides."""
    for name in reversed(names):
        if not await has_md5(pair, name):
            return False
    return True
