"""Records: the server's own bookkeeping, its feeds and its due moments."""

from __future__ import annotations

import pytest

from inglenook.storage.documents.contract import DocumentStore, Record

from .conftest import Place

pytestmark = pytest.mark.anyio


def ids(records: list[Record]) -> list[str]:
    return [record.id for record in records]


async def test_records_are_written_read_and_removed(store: DocumentStore) -> None:
    assert await store.read(lambda view: view.record("job", "j")) is None
    written = await store.write(lambda tx: tx.put_record("job", "j", {"n": [1, "é"]}))
    found = await store.read(lambda view: view.record("job", "j"))
    assert found == written
    assert found is not None
    assert found.body == {"n": [1, "é"]}
    again = await store.write(lambda tx: tx.put_record("job", "j", {"n": 2}))
    assert again.seq == written.seq + 1
    assert await store.read(lambda view: view.record("job", "j")) == again
    await store.write(lambda tx: tx.delete_record("job", "j"))
    await store.write(lambda tx: tx.delete_record("job", "j"))
    assert await store.read(lambda view: view.record("job", "j")) is None
    assert await store.read(lambda view: view.journal(since=0)) == []


async def test_records_are_listed_by_the_bytes_of_their_id(store: DocumentStore) -> None:
    names = ["a", "aa", "b", "\uffff", "\U0001f600"]
    await store.write(lambda tx: [tx.put_record("job", name, {}) for name in reversed(names)])
    await store.write(lambda tx: tx.put_record("other", "ab", {}))
    assert ids(await store.read(lambda view: view.records("job"))) == names
    assert ids(await store.read(lambda view: view.records("job", start="aa", end="\uffff"))) == ["aa", "b"]
    assert ids(await store.read(lambda view: view.records("job", start="aa", limit=2))) == ["aa", "b"]


async def test_each_key_is_a_feed_of_its_own(store: DocumentStore) -> None:
    async def write(id: str, *keys: str) -> int:
        return (await store.write(lambda tx: tx.put_record("shared", id, {}, keys=keys))).seq

    async def feed(key: str, since: int = 0, limit: int = 100) -> list[str]:
        return ids(await store.read(lambda view: view.record_feed("shared", key, since=since, limit=limit)))

    first = await write("1", "s1", "s2", "s1")
    await write("2", "s1")
    await write("3", "s2")
    assert await feed("s1") == ["1", "2"]
    assert await feed("s2") == ["1", "3"]
    again = await write("1", "s1", "s2")
    assert await feed("s1") == ["2", "1"]
    assert await feed("s1", since=first, limit=1) == ["2"]
    assert await feed("s1", since=again) == []
    await write("1", "s2")
    assert await feed("s1") == ["2"]
    await store.write(lambda tx: tx.delete_record("shared", "1"))
    assert await feed("s2") == ["3"]
    assert ids(await store.read(lambda view: view.record_feed("other", "s1"))) == []


async def test_what_is_due_comes_earliest_first(store: DocumentStore) -> None:
    async def write(id: str, due: float | None) -> None:
        await store.write(lambda tx: tx.put_record("job", id, {}, due=due))

    async def due(until: float, limit: int = 100) -> list[str]:
        return ids(await store.read(lambda view: view.records_due("job", until, limit=limit)))

    assert await store.read(lambda view: view.next_due("job")) is None
    await write("late", 30.5)
    await write("early", 10.25)
    await write("never", None)
    await store.write(lambda tx: tx.put_record("other", "x", {}, due=1))
    assert await store.read(lambda view: view.next_due("job")) == 10.25
    assert await due(10.0) == []
    assert await due(10.25) == ["early"]
    assert await due(1e12) == ["early", "late"]
    assert await due(1e12, limit=1) == ["early"]
    await write("early", None)
    assert await store.read(lambda view: view.next_due("job")) == 30.5
    await store.write(lambda tx: tx.delete_record("job", "late"))
    assert await store.read(lambda view: view.next_due("job")) is None


async def test_records_survive_a_restart(place: Place) -> None:
    store = await place.open()
    written = await store.write(lambda tx: tx.put_record("job", "j", {"a": 1}, keys=["k"], due=5))
    store = await place.reopen()
    found = await store.read(lambda view: (view.record("job", "j"), view.record_feed("job", "k"), view.next_due("job")))
    assert found == (written, [written], 5.0)
