"""A store that is closed while it is used."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from tests.contract.conftest import Place

from inglenook.kernel.errors import Unavailable
from inglenook.storage.documents.contract import DocumentStore

pytestmark = pytest.mark.anyio
TIMES = 20


async def read_until_closed(store: DocumentStore) -> None:
    """Look at the store again and again, until it refuses."""
    with suppress(Unavailable):
        while True:
            await store.read(lambda view: view.all_docs("io.cozy.tests", limit=50))
            await asyncio.sleep(0)


async def test_reads_that_go_on_while_a_store_is_closed_are_answered_or_refused(place: Place) -> None:
    for number in range(TIMES):
        store = await place.reopen()
        for n in range(20):
            await store.write(lambda tx, id=f"{number}-{n}": tx.put("io.cozy.tests", id, {"text": "x" * 100}))
        reading = asyncio.create_task(read_until_closed(store))
        await asyncio.sleep(0)
        await store.close()
        await reading
