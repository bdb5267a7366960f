"""What only PostgreSQL has: connections that are lost, limits of its own."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psycopg
import pytest
from tests.services import schema_url

from inglenook.kernel.errors import TooLarge, Unavailable
from inglenook.storage.bus import Bus
from inglenook.storage.documents.contract import Index, Writer
from inglenook.storage.documents.postgres import PostgresStores
from inglenook.storage.documents.postgres_line import BATCH

from .backends import environment

pytestmark = pytest.mark.anyio
TODO = "io.cozy.todos"

Process = Callable[[], PostgresStores]


@pytest.fixture
def url(TEST_POSTGRES_URL: str, tmp_path: Path) -> str:
    """A database without tables."""
    return schema_url(TEST_POSTGRES_URL, tmp_path)


@pytest.fixture
async def process(url: str, anyio_backend: str) -> AsyncIterator[Process]:
    """Makes what each process has: stores over the same database."""
    made: list[PostgresStores] = []

    def make() -> PostgresStores:
        made.append(PostgresStores(url, environment(), Bus(), blob_present=lambda name, sha256: False))
        return made[-1]

    yield make
    for stores in made:
        await stores.close()


# -- transactions


async def test_writers_that_wait_together_share_commits(process: Process) -> None:
    store = await process().open("alice")
    entered, release = threading.Event(), threading.Event()

    def hold_the_line(tx: Writer) -> None:
        entered.set()
        assert release.wait(30)

    first = asyncio.create_task(store.write(hold_the_line))
    assert await asyncio.to_thread(entered.wait, 30)
    before = store.commits
    rest = [asyncio.create_task(store.write(lambda tx, n=n: tx.put(TODO, f"t{n}", {}))) for n in range(2 * BATCH)]
    await asyncio.sleep(0)
    release.set()
    await asyncio.gather(first, *rest)
    assert store.commits - before == 3


async def cut_off(url: str) -> None:
    """End all other connections, as a restart of PostgreSQL does."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )


async def test_lost_connections_are_replaced(process: Process, url: str) -> None:
    store = await process().open("alice")
    await store.write(lambda tx: tx.put(TODO, "a", {}))
    await asyncio.gather(*(store.read(lambda view: view.last_seq()) for _ in range(20)))
    for number in range(3):
        await cut_off(url)
        await store.write(lambda tx, number=number: tx.put(TODO, f"b{number}", {}))
        assert await store.read(lambda view: view.status(TODO).live) == number + 2
        assert await store.scan(lambda view: view.status(TODO).live) == number + 2


async def test_a_connection_lost_in_a_transaction_fails_all_that_was_in_it(process: Process, url: str) -> None:
    store = await process().open("alice")
    await store.write(lambda tx: tx.put(TODO, "before", {}))
    entered, release = threading.Event(), threading.Event()

    def linger(tx: Writer) -> None:
        tx.put(TODO, "during", {})
        entered.set()
        assert release.wait(30)
        tx.put(TODO, "never", {})

    writing = asyncio.create_task(store.write(linger))
    assert await asyncio.to_thread(entered.wait, 30)
    await cut_off(url)
    release.set()
    with pytest.raises(Unavailable):
        await writing
    await store.write(lambda tx: tx.put(TODO, "after", {}))
    assert [doc.id for doc in await store.read(lambda view: view.all_docs(TODO))] == ["after", "before"]


async def test_a_database_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    stores = PostgresStores(
        f"postgresql:///x?host={tmp_path}", environment(), Bus(), blob_present=lambda name, sha256: False
    )
    with pytest.raises(Unavailable):
        await stores.open("alice")
    await stores.close()


# -- values


async def test_texts_with_any_characters_are_kept_in_the_order_of_their_bytes(process: Process) -> None:
    store = await process().open("alice")
    ids = sorted(
        ["a", "a\0", "a\0z", "a\1", "a\1\1", "a\2", "\1", "b\0\1\0", "é", "\uffff", "\U0001f600"], key=str.encode
    )
    await store.write(lambda tx: [tx.put(TODO, id, {"id": id}) for id in reversed(ids)])
    documents = await store.read(lambda view: view.all_docs(TODO))
    assert [(doc.id, doc.body["id"]) for doc in documents] == [(id, id) for id in ids]
    assert [doc.id for doc in await store.read(lambda view: view.all_docs(TODO, start="a\0", end="a\1"))] == ids[2:5]


async def test_keys_too_long_for_the_database_are_found_and_ids_are_refused(process: Process) -> None:
    index = Index("long", TODO, lambda id, body: [body["key"].encode()])
    store = await process().open("alice", indexes=[index])
    keys = ["k" * 10_000 + end for end in "ab"]
    await store.write(lambda tx: [tx.put(TODO, f"{n}", {"key": key}) for n, key in enumerate([*keys, "j", "l"])])
    for n, key in enumerate(keys):
        entries = await store.read(
            lambda view, key=key: view.index(index, start=key.encode(), end=key.encode() + b"\0")
        )
        assert f"{n}" in [entry.id for entry in entries]
    page = await store.read(lambda view: view.index(index))
    assert (page[0].id, {page[1].id, page[2].id}, page[3].id) == ("2", {"0", "1"}, "3")
    rest = await store.read(lambda view: view.index(index, after=(page[1].key, page[1].id)))
    assert rest == page[2:]
    long_id = random.Random(1).randbytes(4000).hex()
    with pytest.raises(TooLarge):
        await store.write(lambda tx: tx.put(TODO, long_id, {"key": "x"}))
    assert await store.read(lambda view: view.status(TODO).live) == 4
