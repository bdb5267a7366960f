"""The journal, checkpoints, and the readers that run behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from inglenook.storage.documents.contract import DocumentStore, JournalEntry, Reader, Writer
from inglenook.storage.documents.sqlite import SqliteStores
from inglenook.storage.journal_readers import JournalReader

from .backends import environment
from .conftest import Place

pytestmark = pytest.mark.anyio
TODO = "io.cozy.todos"


async def put(store: DocumentStore, *ids: str) -> None:
    for id in ids:
        await store.write(lambda tx, id=id: tx.put(TODO, id, {}))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that events on the loop bring about."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the conditions are about what was handled, not about one event
            await asyncio.sleep(0.001)


async def test_each_document_write_is_one_entry(store: DocumentStore) -> None:
    def change(tx: Writer) -> list[str]:
        first = tx.put(TODO, "t", {"a": 1})
        tx.origin = "bob"
        second = tx.put(TODO, "t", {"a": 2}, rev=first.rev)
        tx.put_record("job", "j", {})
        third = tx.delete(TODO, "t", second.rev, {"why": "done"})
        return [first.rev, second.rev, third.rev]

    revs = await store.write(change)
    entries = await store.read(lambda view: view.journal(since=0))
    assert [(e.doctype, e.id, e.rev, e.verb, e.origin, e.last_body) for e in entries] == [
        (TODO, "t", revs[0], "CREATED", "", None),
        (TODO, "t", revs[1], "UPDATED", "bob", None),
        (TODO, "t", revs[2], "DELETED", "bob", b'{"a":2}'),
    ]
    seqs = [entry.seq for entry in entries]
    assert seqs == sorted(set(seqs))
    assert await store.read(lambda view: view.last_seq()) == seqs[-1]
    assert await store.read(lambda view: view.journal(since=seqs[0])) == entries[1:]
    assert await store.read(lambda view: view.journal(since=0, limit=2)) == entries[:2]


async def test_a_deletion_without_a_live_document_has_no_last_body(store: DocumentStore) -> None:
    await store.write(lambda tx: tx.graft(TODO, "t", ["1-a", "2-b"], {}, deleted=True))
    (entry,) = await store.read(lambda view: view.journal(since=0))
    assert (entry.verb, entry.rev, entry.last_body) == ("DELETED", "2-b", None)


async def test_checkpoints_only_move_forward(store: DocumentStore) -> None:
    assert await store.read(lambda view: view.checkpoint("r")) == 0
    for seq, expected in ((5, 5), (3, 5), (7, 7), (None, 0), (2, 2)):
        await store.write(lambda tx, seq=seq: tx.set_checkpoint("r", seq))
        assert await store.read(lambda view: view.checkpoint("r")) == expected
        assert await store.read(lambda view: view.checkpoints()) == ({} if seq is None else {"r": expected})


async def test_the_sequence_never_goes_back(place: Place) -> None:
    store = await place.open()
    await put(store, "a")
    last = await store.write(lambda tx: tx.put_record("job", "j", {}).seq)
    await store.write(lambda tx: tx.delete_record("job", "j"))
    store = await place.reopen()
    assert await store.read(lambda view: view.last_seq()) == last
    assert (await store.write(lambda tx: tx.put(TODO, "b", {}))).seq == last + 1


async def test_the_journal_is_trimmed_behind_its_slowest_reader(tmp_path: Path) -> None:
    stores = SqliteStores(tmp_path, environment(), journal_kept=50)
    store = await stores.open("alice")

    async def write(count: int) -> None:
        await store.write(lambda tx: [tx.put(TODO, tx.new_id(), {}) for _ in range(count)])

    async def oldest() -> int:
        return (await store.read(lambda view: view.journal(since=0, limit=1)))[0].seq

    await write(1500)
    assert await oldest() == 1451  # the newest 50 stay without any reader
    await store.write(lambda tx: tx.set_checkpoint("slow", 1460))
    await store.write(lambda tx: tx.set_checkpoint("fast", 1500))
    await write(1000)
    assert await oldest() == 1461
    await store.write(lambda tx: tx.set_checkpoint("slow", None))
    await write(1000)
    assert await oldest() == 1501
    await stores.close()


# -- the runner


class Collector:
    """A handler that remembers what it was given, and fails when it is told to."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.pages: list[int] = []
        self.failures: list[BaseException] = []

    async def __call__(self, entries: list[JournalEntry]) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.pages.append(len(entries))
        self.ids += [entry.id for entry in entries]


async def test_a_reader_gets_what_was_written_before_and_after_its_start(place: Place) -> None:
    store, collected = await place.open(), Collector()
    await put(store, "a", "b", "c")
    reader = JournalReader(store, "r", collected, place.env, page=2)
    await reader.start()
    await until(lambda: collected.ids == ["a", "b", "c"])
    assert collected.pages == [2, 1]
    await put(store, "d")
    await until(lambda: collected.ids == ["a", "b", "c", "d"])
    await reader.stop()
    await put(store, "e")
    assert collected.ids == ["a", "b", "c", "d"]
    assert await store.read(lambda view: view.checkpoint("r")) == 4


async def test_a_reader_resumes_where_it_was(place: Place) -> None:
    store, collected = await place.open(), Collector()
    await put(store, "a")
    reader = JournalReader(store, "r", collected, place.env)
    await reader.start()
    await until(lambda: collected.ids == ["a"])
    await reader.stop()
    await put(store, "b")
    store = await place.reopen()
    reader = JournalReader(store, "r", collected, place.env)
    await reader.start()
    await until(lambda: collected.ids == ["a", "b"])
    await reader.forget()
    assert await store.read(lambda view: view.checkpoint("r")) == 0


async def test_a_reader_passes_over_what_it_does_not_want(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inglenook.storage.journal_readers.MOST_PASSED", 4)
    store, collected = await place.open(), Collector()
    await put(store, "a", "b!", "c")
    passed: list[str] = []

    def wants(view: Reader, entry: JournalEntry) -> bool:
        passed.append(entry.id)
        return entry.id.endswith("!")

    reader = JournalReader(store, "r", collected, place.env, page=2, wants=wants)
    await reader.start()
    await until(lambda: passed == ["a", "b!", "c"])
    await put(store, "d")
    await until(lambda: len(passed) == 4)
    assert collected.ids == ["b!"]
    await reader.stop()
    assert await store.read(lambda view: view.checkpoint("r")) == 2
    await put(store, "e", "f", "g")
    reader = JournalReader(store, "r", collected, place.env, page=2, wants=wants)
    await reader.start()
    await until(lambda: passed[4:] == ["c", "d", "e", "f", "g"])
    await reader.stop()
    assert collected.ids == ["b!"]
    assert await store.read(lambda view: view.checkpoint("r")) == 6


async def test_a_reader_can_begin_with_what_is_new(place: Place) -> None:
    store, collected = await place.open(), Collector()
    await put(store, "old")
    reader = JournalReader(store, "r", collected, place.env, from_now=True)
    await reader.start()
    await put(store, "new")
    await until(lambda: collected.ids == ["new"])
    await reader.stop()


async def test_a_reader_that_began_with_nothing_misses_nothing_after_a_crash(place: Place) -> None:
    store, collected = await place.open(), Collector()
    reader = JournalReader(store, "r", collected, place.env, from_now=True)
    await reader.start()
    await reader.stop()
    await put(store, "a")
    reader = JournalReader(store, "r", collected, place.env, from_now=True)
    await reader.start()
    await until(lambda: collected.ids == ["a"])
    await reader.stop()


async def test_a_handler_in_which_something_was_cancelled_is_called_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inglenook.storage.journal_readers.FIRST_RETRY_SECONDS", 0.01)
    store, collected = await place.open(), Collector()
    collected.failures = [asyncio.CancelledError()]
    await put(store, "a")
    reader = JournalReader(store, "r", collected, place.env)
    await reader.start()
    await until(lambda: collected.ids == ["a"])
    await reader.stop()


async def test_a_failing_handler_gets_the_same_page_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inglenook.storage.journal_readers.FIRST_RETRY_SECONDS", 0.01)
    store, collected = await place.open(), Collector()
    collected.failures = [OSError("first"), ValueError("second")]
    await put(store, "a", "b")
    reader = JournalReader(store, "r", collected, place.env)
    await reader.start()
    await until(lambda: collected.ids == ["a", "b"])
    assert collected.failures == []
    await reader.stop()


async def test_a_reader_stops_at_once_although_it_waits_for_a_retry(place: Place) -> None:
    store, collected = await place.open(), Collector()
    collected.failures = [OSError()]
    await put(store, "a")
    reader = JournalReader(store, "r", collected, place.env)
    await reader.start()
    await until(lambda: not collected.failures)
    await asyncio.wait_for(reader.stop(), 0.4)  # the pause is half a second at least
    assert await store.read(lambda view: view.checkpoint("r")) == 0


async def test_stopping_waits_for_the_page_at_hand(place: Place) -> None:
    store = await place.open()
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def slow(entries: list[JournalEntry]) -> None:
        entered.set()
        await go_on.wait()

    await put(store, "a")
    reader = JournalReader(store, "r", slow, place.env)
    await reader.start()
    await asyncio.wait_for(entered.wait(), 10)
    stopping = asyncio.create_task(reader.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    go_on.set()
    await asyncio.wait_for(stopping, 10)
    assert await store.read(lambda view: view.checkpoint("r")) == 1


async def test_a_started_reader_holds_back_the_trimming_of_the_journal(tmp_path: Path) -> None:
    stores = SqliteStores(tmp_path, environment(), journal_kept=10)
    store, collected = await stores.open("alice"), Collector()
    collected.failures = [OSError() for _ in range(1000)]
    reader = JournalReader(store, "r", collected, environment())
    await reader.start()
    await store.write(lambda tx: [tx.put(TODO, f"t{n}", {}) for n in range(2500)])
    await until(lambda: len(collected.failures) < 1000)
    await reader.stop()
    assert (await store.read(lambda view: view.journal(since=0, limit=1)))[0].id == "t0"
    await stores.close()
