"""The process of `test_disk_full`: in a mount namespace of its own, it fills a disk of few megabytes.

    python -m contract.filling_disk FOLDER

On FOLDER, an empty folder, it mounts a small file system. Prints `ok` at the end; each check that fails
ends the process with its message.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from inglenook.environment import Config, Environment
from inglenook.kernel.errors import OutOfSpace
from inglenook.storage.blobs.local import LocalBlobStores
from inglenook.storage.contents import Contents
from inglenook.storage.documents.contract import DocumentStore
from inglenook.storage.documents.sqlite import SqliteStores

DOCTYPE = "io.cozy.full"
SIZE = "6m"


async def fill(store: DocumentStore) -> set[str]:
    """Write documents side by side until the disk is full; gives the ids of those that were acknowledged."""
    acknowledged: set[str] = set()
    refused = 0

    async def writer(lane: int) -> None:
        nonlocal refused
        for number in range(10_000):
            id = f"{lane}-{number}"
            try:
                await store.write(lambda tx, id=id: tx.put(DOCTYPE, id, {"text": "x" * 20_000}))
            except OutOfSpace:
                refused += 1
                return
            acknowledged.add(id)

    await asyncio.gather(*(writer(lane) for lane in range(8)))
    assert refused == 8, refused
    return acknowledged


async def stored(store: DocumentStore) -> set[str]:
    return {doc.id for doc in await store.scan(lambda view: view.all_docs(DOCTYPE, limit=100_000))}


async def main(folder: Path) -> None:
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(2_000_000))
    env = Environment(Config())
    stores = SqliteStores(folder, env)
    store = await stores.open("alice")
    blobs = LocalBlobStores(folder).of("alice")
    contents = Contents(store, blobs, env)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield os.urandom(65_536)

    # a content that does not fit is refused, and what came of it leaves room for others
    free = os.statvfs(folder).f_bavail
    try:
        await contents.receive(chunks())
    except OutOfSpace:
        pass
    else:
        raise AssertionError("13 MB went into 6 MB")
    assert os.statvfs(folder).f_bavail == free, "the refused content is still there"

    # documents, until nothing fits any more: what was acknowledged is there, what was refused is not
    acknowledged = await fill(store)
    assert acknowledged, "nothing was written at all"
    assert await stored(store) == acknowledged, "stored and acknowledged differ"

    # with room again, the same store goes on
    ballast.unlink()
    await store.write(lambda tx: tx.put(DOCTYPE, "after", {}))
    await stores.close()
    store = await SqliteStores(folder, env).open("alice")
    assert await stored(store) == acknowledged | {"after"}, "a restart sees something else"
    print("ok")


if __name__ == "__main__":
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", sys.argv[1]], check=True)
    asyncio.run(main(Path(sys.argv[1])))
