"""The stores of many instances: opening, sleeping, destroying, saving."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

from inglenook.kernel.errors import Unavailable
from inglenook.kernel.revisions import RevisionTree
from inglenook.storage.documents import sqlite
from inglenook.storage.documents.contract import Content, Index, Reader, Writer
from inglenook.storage.documents.sqlite import SqliteStores
from inglenook.storage.documents.sqlite_store import SqliteStore

from .backends import environment
from .conftest import Place

pytestmark = pytest.mark.anyio
TODO = "io.cozy.todos"
IN_MEMORY = ("sqlite-in-memory", "sqlite-and-objects-in-memory")
LOW = "1-" + "0" * 32


async def test_opening_twice_gives_the_same_store(place: Place) -> None:
    opened = await asyncio.gather(*(place.open() for _ in range(10)))
    assert all(store is opened[0] for store in opened)
    assert await place.open() is opened[0]


async def test_a_store_exists_once_it_was_opened(place: Place) -> None:
    assert not place.stores.exists("alice")
    await place.open()
    assert place.stores.exists("alice")
    assert not place.stores.exists("bob")


async def test_instances_do_not_see_each_other(place: Place) -> None:
    alice, bob = await place.stores.open("alice"), await place.stores.open("bob")
    await alice.write(lambda tx: tx.put(TODO, "t", {}))
    assert await bob.read(lambda view: (view.doctypes(), view.last_seq())) == ([], 0)


async def test_what_was_written_is_there_after_a_restart(place: Place) -> None:
    store = await place.open()
    rev = (await store.write(lambda tx: tx.put(TODO, "t", {"a": 1}))).rev
    await store.write(lambda tx: tx.graft(TODO, "t", [LOW], {"a": "conflict"}))
    await store.write(lambda tx: tx.put_local(TODO, "l", {"n": 1}))
    await store.write(lambda tx: tx.set_checkpoint("r", 1))
    before = await store.read(lambda view: view.journal(since=0))
    store = await place.reopen()
    found = await store.read(
        lambda view: (
            view.find(TODO, "t").rev,
            view.revision(TODO, "t", LOW),
            view.local(TODO, "l"),
            view.checkpoint("r"),
            view.journal(since=0),
        )
    )
    assert (found[0], found[3], found[4]) == (rev, 1, before)
    assert found[1] is not None
    assert found[1].body == {"a": "conflict"}
    assert found[2] is not None


async def test_a_destroyed_store_is_gone(place: Place) -> None:
    store = await place.open()
    await store.write(lambda tx: tx.put(TODO, "t", {}))
    await place.stores.destroy("alice")
    await place.stores.destroy("alice")
    assert not place.stores.exists("alice")
    with pytest.raises(Unavailable):
        await store.read(lambda view: view.last_seq())
    again = await place.open()
    assert await again.read(lambda view: view.doctypes()) == []
    assert [path.name for path in place.folder.iterdir()] == (["alice"] if place.backend.on_disk else [])


async def test_a_closed_store_takes_nothing_more(place: Place) -> None:
    store = await place.open()
    await store.close()
    await store.close()
    with pytest.raises(Unavailable):
        await store.write(lambda tx: tx.put(TODO, "t", {}))


async def test_closing_finishes_what_waits(place: Place) -> None:
    store = await place.open()
    writing = [asyncio.create_task(store.write(lambda tx, n=n: tx.put(TODO, f"{n}", {}))) for n in range(50)]
    await asyncio.sleep(0)
    store = await place.reopen()
    assert len(await asyncio.gather(*writing)) == 50
    assert (await store.read(lambda view: view.status(TODO))).live == 50


async def test_a_copy_is_whole_while_everything_goes_on(place: Place, tmp_path: Path) -> None:
    store = await place.open()
    await store.write(lambda tx: [tx.put(TODO, f"{n}", {"n": n}) for n in range(1000)])
    target = tmp_path / "copies" / "alice" / "documents.sqlite"
    target.parent.mkdir(parents=True)
    writes = [asyncio.create_task(store.write(lambda tx, n=n: tx.put(TODO, f"x{n}", {}))) for n in range(50)]
    await store.backup(str(target))
    await asyncio.gather(*writes)
    assert os.listdir(target.parent) == ["documents.sqlite"]
    copies = SqliteStores(target.parent.parent, environment())
    copy = await copies.open("alice")
    status = await copy.read(lambda view: view.status(TODO))
    assert 1000 <= status.live <= 1050
    assert len(await copy.scan(lambda view: view.all_docs(TODO, limit=2000))) == status.live
    await copies.close()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", ".hidden", "a\0b"])
async def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    stores = SqliteStores(tmp_path / "instances", environment())
    for use in (stores.open, stores.destroy):
        with pytest.raises(ValueError, match="Not a name of a store"):
            await use(name)
    with pytest.raises(ValueError, match="Not a name of a store"):
        stores.exists(name)
    await stores.close()


# -- only SQLite on a disk


def open_files() -> int:
    return sum("documents.sqlite" in os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd"))


async def test_stores_that_are_not_used_cost_no_open_files(tmp_path: Path) -> None:
    stores = SqliteStores(tmp_path, environment(), most_awake=5)
    opened = [await stores.open(f"i{n}") for n in range(40)]
    for round in range(2):
        for n, store in enumerate(opened):
            await store.write(lambda tx, n=n, round=round: tx.put(TODO, f"t{round}", {"n": n}))
        for n, store in enumerate(opened):
            assert (await store.read(lambda view, round=round: view.find(TODO, f"t{round}"))).body == {"n": n}
            assert (await store.scan(lambda view: view.status(TODO))).live == round + 1
            assert open_files() <= 6 * 8 + 8
    await stores.close()
    assert open_files() == 0


async def fall_asleep(store: SqliteStore) -> None:
    async with asyncio.timeout(30):
        while store.awake:
            await store.sleep()  # does nothing while the line of writers comes to its end
            await asyncio.sleep(0)


async def test_a_store_that_nobody_uses_falls_asleep_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(sqlite, "SWEEP_SECONDS", 0.05)
    stores = SqliteStores(tmp_path, environment())
    opened = [await stores.open(f"i{n}") for n in range(3)]
    for store in opened:
        await store.write(lambda tx: tx.put(TODO, "t", {}))
        await store.scan(lambda view: view.status(TODO))
    async with asyncio.timeout(30):
        while open_files():  # noqa: ASYNC110 -- it is the condition itself that is looked at
            await asyncio.sleep(0.01)
    assert stores.awake == 0
    assert (await opened[0].read(lambda view: view.find(TODO, "t"))).id == "t"
    await stores.close()


async def test_a_sleeping_store_keeps_its_indexes_and_subscribers(tmp_path: Path) -> None:
    stores = SqliteStores(tmp_path, environment())
    store = await stores.open("alice", indexes=[Index("fixed", TODO, lambda id, body: [b"f"])])
    assert isinstance(store, SqliteStore)
    await store.write(lambda tx: tx.define_index(Index("dynamic", TODO, lambda id, body: [b"d"])))
    told = asyncio.Event()
    store.subscribe(lambda seq: told.set())
    assert store.awake
    await fall_asleep(store)
    assert open_files() == 0
    await store.write(lambda tx: tx.put(TODO, "t", {}))
    await asyncio.wait_for(told.wait(), 10)
    assert await store.read(lambda view: (view.index_count("fixed"), view.index_count("dynamic"))) == (1, 1)
    await fall_asleep(store)
    assert await store.read(lambda view: (view.index_count("fixed"), view.index_count("dynamic"))) == (1, 1)
    await stores.close()


async def test_a_file_can_be_read_with_plain_sqlite(tmp_path: Path) -> None:
    stores = SqliteStores(tmp_path, environment())
    store = await stores.open("alice")
    await store.write(lambda tx: tx.put(TODO, "t", {"label": "milk"}))
    await stores.close()
    connection = sqlite3.connect(tmp_path / "alice" / "documents.sqlite")
    rows = connection.execute("SELECT id, body, json_extract(body, '$.label') FROM documents").fetchall()
    assert rows == [("t", '{"label":"milk"}', "milk")]
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    stores = SqliteStores(tmp_path, environment())
    await stores.open("alice")
    await stores.close()
    connection = sqlite3.connect(tmp_path / "alice" / "documents.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    stores = SqliteStores(tmp_path, environment())
    with pytest.raises(Unavailable, match="99"):
        await stores.open("alice")
    await stores.close()


async def test_a_damaged_file_is_unavailable_and_the_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "alice").mkdir()
    (tmp_path / "alice" / "documents.sqlite").write_bytes(b"This is no database." * 1000)
    stores = SqliteStores(tmp_path, environment())
    with pytest.raises(Unavailable):
        await stores.open("alice")
    bob = await stores.open("bob")
    await bob.write(lambda tx: tx.put(TODO, "t", {}))
    await stores.close()


async def test_the_copy_of_a_store_makes_the_same_store_on_any_backend(place: Place, tmp_path: Path) -> None:
    by_tag = Index("by_tag", TODO, lambda id, body: [body.get("tag", "").encode()])
    store = await place.open(indexes=[by_tag])
    small = Content("0" * 64, "md5", 3)

    def fill(tx: Writer) -> None:
        first = tx.put(TODO, "a\0b", {"tag": "x", "text": "é\0"})
        tx.put(TODO, "a\0b", {"tag": "y"}, rev=first.rev)
        tx.graft(TODO, "a\0b", ["1-a", "2-b"], {"tag": "lost"})
        gone = tx.put(TODO, "gone", {"tag": "z"})
        tx.delete(TODO, "gone", gone.rev)
        tx.put_local(TODO, "mark", {"n": 1})
        tx.put_record("kind", "r", {"n": 2}, keys=["k"], due=5.0)
        tx.set_checkpoint("reader", 2)
        tx.hold(TODO, "a\0b", small, b"abc")

    await store.write(fill)
    await store.backup(str(tmp_path / "copy.sqlite"))
    if place.backend.name in IN_MEMORY:
        with pytest.raises(Unavailable):
            await place.stores.install("bob", str(tmp_path / "copy.sqlite"))
        return
    await place.stores.install("bob", str(tmp_path / "copy.sqlite"))
    copy = await place.stores.open("bob", indexes=[by_tag])

    def everything(view: Reader) -> list[object]:
        return [
            [(doc.id, doc.rev, doc.raw, doc.seq) for doc in view.all_docs(TODO)],
            (view.tree(TODO, "a\0b") or RevisionTree()).encode(),
            [view.revision(TODO, "a\0b", "2-b"), view.local(TODO, "mark"), view.status(TODO), view.changes(TODO)],
            [view.last_seq(), view.checkpoints(), view.journal(since=0)],
            [view.record("kind", "r"), view.record_feed("kind", "k"), view.next_due("kind")],
            [view.content(TODO, "a\0b"), view.content_bytes(small.sha256), view.index("by_tag")],
        ]

    there, here = await store.read(everything), await copy.read(everything)
    assert repr(there) == repr(here)
    await copy.write(lambda tx: tx.put(TODO, "new", {"tag": "n"}))
    assert await copy.read(lambda view: view.last_seq()) == await store.read(lambda view: view.last_seq()) + 1
