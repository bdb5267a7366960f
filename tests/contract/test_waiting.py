"""Many long polls of one doctype: a commit is looked at once for all of them (spec/11 §8)."""

from __future__ import annotations

import asyncio
import json

import pytest

from inglenook.documents import changes
from inglenook.documents.changes import Options, Patience
from inglenook.storage.documents.contract import DocumentStore, Reader

from .conftest import Place

WATCHED, OTHER = "io.cozy.tests.watched", "io.cozy.tests.other"
WAITING = 50


async def answer(store: DocumentStore) -> list[str]:
    """The ids that a long poll from now on tells."""
    pieces = [piece async for piece in changes.long_poll(store, WATCHED, Options(since=None), Patience(20.0))]
    return [row["id"] for row in json.loads(b"".join(pieces))["results"]]


@pytest.mark.anyio
async def test_what_happens_elsewhere_wakes_nobody(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await place.open()
    for doctype in (WATCHED, OTHER):
        await store.write(lambda tx, doctype=doctype: tx.put(doctype, "first", {}))
    reads = 0
    read = store.read

    progress = asyncio.Event()

    async def counted(query):
        nonlocal reads
        reads += 1
        progress.set()
        return await read(query)

    async def until(count: int) -> None:
        while reads < count:
            progress.clear()
            await asyncio.wait_for(progress.wait(), 20)

    monkeypatch.setattr(store, "read", counted)
    polls = [asyncio.create_task(answer(store)) for _ in range(WAITING)]
    await until(WAITING)
    # the first commit is told to all, since nobody knows yet what it changed
    await store.write(lambda tx: tx.put(OTHER, "x", {}))
    await until(2 * WAITING + 1)
    await store.write(lambda tx: tx.put(OTHER, "y", {}))
    await until(2 * WAITING + 2)
    assert not any(poll.done() for poll in polls)
    await store.write(lambda tx: tx.put(WATCHED, "z", {}))
    assert await asyncio.gather(*polls) == [["z"]] * WAITING
    assert reads < 4 * WAITING
    assert await read(lambda view: seen(view)) == ["first", "z"]


def seen(view: Reader) -> list[str]:
    return [entry.id for entry in view.changes(WATCHED)]
