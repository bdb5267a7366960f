"""The process that `test_crash` kills: it writes as fast as it can, and says each write that was acknowledged.

    python -m contract.crashing_writer BACKEND FOLDER FIRST

Writers run side by side. Each write takes a number `n` from FIRST on and makes, in one transaction, two documents,
an update of a counter, a record and (every fifth) a content; when it returns, the line `n` is printed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from inglenook.environment import Config, Environment
from inglenook.storage.contents import Contents, Received
from inglenook.storage.documents.contract import Index, Writer

from .backends import BACKENDS

DOCTYPE = "io.cozy.crash"
WRITERS = 16
BY_NUMBER = Index("by_number", DOCTYPE, lambda id, body: [b"%08d" % body["n"]] if "n" in body else [])


def body_of(number: int) -> dict[str, object]:
    """The body of both documents of a write."""
    return {"n": number, "text": "x" * (number % 700)}


def content_of(number: int) -> bytes:
    """The content of a write: every tenth is too large for the database."""
    return b"%08d" % number * (20_000 if number % 10 == 0 else 100)


def write(tx: Writer, number: int, received: Received | None) -> None:
    """All that belongs to one number."""
    for side in "ab":
        tx.put(DOCTYPE, f"{number:08}{side}", body_of(number))
    counter = tx.get(DOCTYPE, "counter")
    tx.put(DOCTYPE, "counter", {"writes": counter.body["writes"] + 1 if counter else 1}, rev=counter and counter.rev)
    tx.put_record("crash", f"{number:08}", number, keys=["all"])
    if received is not None:
        received.hold(tx, DOCTYPE, f"{number:08}a")


async def main(backend: str, folder: Path, first: int) -> None:
    env = Environment(Config())
    blobs = BACKENDS[backend].blobs(folder, env)
    store = await BACKENDS[backend].documents(folder, env, blobs).open("alice", indexes=[BY_NUMBER])
    contents = Contents(store, blobs.of("alice"), env)
    numbers = iter(range(first, 10**8))

    async def chunks(data: bytes) -> AsyncIterator[bytes]:
        yield data

    async def writer() -> None:
        for number in numbers:
            received = await contents.receive(chunks(content_of(number))) if number % 5 == 0 else None
            await store.write(lambda tx, number=number, received=received: write(tx, number, received))
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
            await asyncio.sleep(0)

    await asyncio.gather(*(writer() for _ in range(WRITERS)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
