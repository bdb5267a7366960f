"""Several processes that have the same instance open: what each of them has is played by stores of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.services import schema_url

from inglenook.kernel.errors import DocumentConflict, Unavailable
from inglenook.storage.bus import Bus
from inglenook.storage.documents.contract import Index, Reader, Writer
from inglenook.storage.documents.postgres import PostgresStores
from inglenook.storage.documents.sqlite import SqliteStores

from .backends import environment

pytestmark = pytest.mark.anyio
TODO = "io.cozy.todos"
BY_TAG = Index("by_tag", TODO, lambda id, body: [tag.encode() for tag in body.get("tags", [])], amount=lambda b: 1)

Process = Callable[[], SqliteStores | PostgresStores]


@pytest.fixture(params=["sqlite", "postgres"])
async def process(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Process]:
    """Makes what each process has: stores over the same data."""
    made: list[SqliteStores | PostgresStores] = []
    url = ""
    if request.param == "postgres":
        url = schema_url(request.getfixturevalue("TEST_POSTGRES_URL"), tmp_path)

    def make() -> SqliteStores | PostgresStores:
        env = environment()
        if url:
            made.append(PostgresStores(url, env, Bus(), blob_present=lambda name, sha256: False))
        else:
            made.append(SqliteStores(tmp_path, env, among_others=True))
        return made[-1]

    yield make
    for stores in made:
        await stores.close()


async def test_processes_that_open_a_store_together_make_it_once(process: Process) -> None:
    opened = await asyncio.gather(*(process().open("alice", indexes=[BY_TAG]) for _ in range(4)))
    await asyncio.gather(*(store.write(lambda tx: tx.put(TODO, tx.new_id(), {"tags": ["a"]})) for store in opened))
    assert [await store.read(lambda view: view.index_count(BY_TAG)) for store in opened] == [4] * 4


async def test_one_process_at_a_time_makes_a_store_anew(process: Process) -> None:
    making: list[str] = []

    async def make(stores: SqliteStores | PostgresStores) -> None:
        async with stores.making("alice"):
            making.append("begins")
            await stores.destroy("alice")
            store = await stores.open("alice")
            await store.write(lambda tx: tx.put(TODO, "made", {}))
            making.append("ends")

    await asyncio.gather(*(make(process()) for _ in range(3)))
    assert making == ["begins", "ends"] * 3


async def test_writers_of_all_processes_stand_in_one_line(process: Process) -> None:
    stores = [await process().open("alice") for _ in range(3)]
    await stores[0].write(lambda tx: tx.put(TODO, "counter", {"n": 0}))

    def count(tx: Writer) -> None:
        found = tx.find(TODO, "counter")
        tx.put(TODO, "counter", {"n": found.body["n"] + 1}, rev=found.rev)
        tx.put_record("counted", tx.new_id(), {}, keys=["all"])

    await asyncio.gather(*(store.write(count) for store in stores for _ in range(40)))
    views = [await store.read(lambda view: (view.find(TODO, "counter").body, view.last_seq())) for store in stores]
    assert views == [({"n": 120}, 241)] * 3
    seqs = await stores[0].read(lambda view: [entry.seq for entry in view.journal(since=0, limit=1000)])
    assert len(seqs) == len(set(seqs)) == 121


async def test_of_writers_of_one_revision_in_two_processes_exactly_one_wins(process: Process) -> None:
    stores = [await process().open("alice") for _ in range(2)]
    rev = (await stores[0].write(lambda tx: tx.put(TODO, "t", {}))).rev
    writes = [stores[n % 2].write(lambda tx, n=n: tx.put(TODO, "t", {"n": n}, rev=rev)) for n in range(20)]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert sum(isinstance(result, DocumentConflict) for result in results) == 19


async def test_an_index_that_another_process_does_not_know_is_never_read_out_of_step(process: Process) -> None:
    one, two = await process().open("alice"), await process().open("alice")
    await one.write(lambda tx: tx.define_index(BY_TAG))
    await one.write(lambda tx: tx.put(TODO, "1", {"tags": ["a"]}))
    assert await two.read(lambda view: view.index_count(BY_TAG)) == 1
    await two.write(lambda tx: tx.put(TODO, "2", {"tags": ["b"]}))
    for store in (one, two):
        with pytest.raises(KeyError):
            await store.read(lambda view: view.index(BY_TAG))
    await one.write(lambda tx: tx.put(TODO, "3", {"tags": ["c"]}))
    await two.write(lambda tx: tx.define_index(BY_TAG))
    assert [entry.key for entry in await two.read(lambda view: view.index(BY_TAG))] == [b"a", b"b", b"c"]
    await one.write(lambda tx: tx.define_index(BY_TAG))
    for store, id in ((one, "4"), (two, "5"), (one, "6")):
        await store.write(lambda tx, id=id: tx.put(TODO, id, {"tags": [id]}))
    assert await one.read(lambda view: (view.index_count(BY_TAG), view.index_sum(BY_TAG))) == (6, 6)


async def test_an_index_dropped_or_changed_by_another_process_is_so_here(process: Process) -> None:
    one, two = await process().open("alice", indexes=[BY_TAG]), await process().open("alice", indexes=[BY_TAG])
    await one.write(lambda tx: tx.put(TODO, "1", {"tags": ["a"]}))
    upper = Index("by_tag", TODO, lambda id, body: [tag.upper().encode() for tag in body["tags"]], version=2)
    await two.write(lambda tx: tx.define_index(upper))
    await one.write(lambda tx: tx.put(TODO, "2", {"tags": ["b"]}))
    with pytest.raises(KeyError):
        await two.read(lambda view: view.index(upper))
    await two.write(lambda tx: tx.define_index(upper))
    assert [entry.key for entry in await one.read(lambda view: view.index("by_tag"))] == [b"A", b"B"]
    await two.write(lambda tx: tx.drop_index("by_tag"))
    await one.write(lambda tx: tx.put(TODO, "3", {"tags": ["c"]}))
    with pytest.raises(KeyError):
        await one.read(lambda view: view.index("by_tag"))


async def test_a_doctype_dropped_by_another_process_is_made_again_by_the_next_write(process: Process) -> None:
    one, two = await process().open("alice", indexes=[BY_TAG]), await process().open("alice", indexes=[BY_TAG])
    await one.write(lambda tx: tx.put(TODO, "1", {"tags": ["a"]}))
    await two.write(lambda tx: tx.put(TODO, "2", {"tags": ["b"]}))
    await two.write(lambda tx: tx.drop_doctype(TODO))
    await one.write(lambda tx: tx.put(TODO, "3", {"tags": ["c"]}))
    status, count = await two.read(lambda view: (view.status(TODO), view.index_count(BY_TAG)))
    assert (status.live, count) == (1, 1)


async def test_a_store_destroyed_by_another_process_takes_nothing_more(process: Process) -> None:
    here, there = process(), process()
    store = await here.open("alice")
    await store.write(lambda tx: tx.put(TODO, "old", {}))
    await there.destroy("alice")
    with pytest.raises(Unavailable):
        await store.write(lambda tx: tx.put(TODO, "t", {}))
    fresh = await there.open("alice")
    await fresh.write(lambda tx: tx.put(TODO, "new", {}))
    with pytest.raises(Unavailable):
        await store.write(lambda tx: tx.put(TODO, "t", {}))
    await store.close()
    again = await here.open("alice")
    assert [doc.id for doc in await again.read(lambda view: view.all_docs(TODO))] == ["new"]


async def test_a_scan_sees_one_snapshot_while_another_process_writes(process: Process) -> None:
    one, two = await process().open("alice"), await process().open("alice")
    await one.write(lambda tx: tx.put(TODO, "a", {}))
    entered, release = threading.Event(), threading.Event()

    def look_twice(view: Reader) -> tuple[int, int]:
        first = view.status(TODO).live
        entered.set()
        assert release.wait(30)
        return first, view.status(TODO).live

    looking = asyncio.create_task(one.scan(look_twice))
    assert await asyncio.to_thread(entered.wait, 30)
    await two.write(lambda tx: tx.put(TODO, "b", {}))
    release.set()
    assert await looking == (1, 1)


async def test_who_writes_all_the_time_does_not_keep_the_others_out(process: Process) -> None:
    busy, other = await process().open("alice"), await process().open("alice")
    over = asyncio.Event()

    async def write_on(n: int) -> None:
        while not over.is_set():
            await busy.write(lambda tx: tx.put_record("busy", str(n), {}))

    writers = [asyncio.create_task(write_on(n)) for n in range(20)]
    try:
        async with asyncio.timeout(30):
            for n in range(20):
                before = busy.commits
                await other.write(lambda tx, n=n: tx.put(TODO, str(n), {}))
                assert busy.commits - before < 50, "a turn comes after some turns of others"
    finally:
        over.set()
        await asyncio.gather(*writers)
