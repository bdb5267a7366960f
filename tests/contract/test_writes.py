"""Transactions: group commit, snapshots, failures, hooks and what follows a commit."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from inglenook.kernel.errors import BadDocument, DocumentConflict
from inglenook.storage.documents.contract import Change, DocumentStore, Index, Reader, Writer
from inglenook.storage.documents.sqlite import SqliteStores
from inglenook.storage.documents.sqlite_store import SqliteStore

from .backends import environment
from .conftest import Place

pytestmark = pytest.mark.anyio
TODO = "io.cozy.todos"


class Refused(Exception):
    """What a change of these tests fails with."""


async def ids(store: DocumentStore) -> list[str]:
    return [doc.id for doc in await store.read(lambda view: view.all_docs(TODO))]


async def test_what_a_write_returns_is_what_its_function_returned(store: DocumentStore) -> None:
    assert await store.write(lambda tx: 42) == 42


async def test_a_write_is_seen_by_the_next_read(store: DocumentStore) -> None:
    for number in range(20):
        await store.write(lambda tx, number=number: tx.put(TODO, f"t{number}", {}))
        assert await store.read(lambda view, number=number: view.get(TODO, f"t{number}")) is not None
        assert await store.scan(lambda view, number=number: view.get(TODO, f"t{number}")) is not None


async def test_a_transaction_reads_its_own_writes(store: DocumentStore) -> None:
    def change(tx: Writer) -> tuple[object, ...]:
        before = tx.last_seq()
        tx.put(TODO, "t", {"a": 1})
        return (
            tx.last_seq() - before,
            tx.find(TODO, "t").body,
            tx.status(TODO).live,
            [entry.id for entry in tx.changes(TODO)],
            [entry.id for entry in tx.journal(since=before)],
        )

    assert await store.write(change) == (1, {"a": 1}, 1, ["t"], ["t"])


async def test_a_failing_change_leaves_nothing(store: DocumentStore) -> None:
    def change(tx: Writer) -> None:
        tx.put(TODO, "t", {"a": 1})
        tx.put_record("job", "j", {})
        tx.set_checkpoint("r", 5)
        raise Refused

    seq = await store.read(lambda view: view.last_seq())
    with pytest.raises(Refused):
        await store.write(change)
    assert await store.read(
        lambda view: (view.doctypes(), view.record("job", "j"), view.checkpoint("r"), view.last_seq())
    ) == ([], None, 0, seq)


async def test_one_failing_change_among_many_fails_alone(store: DocumentStore) -> None:
    def change(number: int):
        def run(tx: Writer) -> int:
            tx.put(TODO, f"t{number:02}", {"n": number})
            if number % 3 == 0:
                raise Refused(number)
            return number

        return run

    results = await asyncio.gather(*(store.write(change(number)) for number in range(30)), return_exceptions=True)
    for number, result in enumerate(results):
        if number % 3 == 0:
            assert isinstance(result, Refused)
            assert result.args == (number,)
        else:
            assert result == number
    assert await ids(store) == [f"t{number:02}" for number in range(30) if number % 3]
    seqs = await store.read(lambda view: [entry.seq for entry in view.journal(since=0)])
    assert seqs == sorted(set(seqs))


async def test_a_body_that_is_nested_too_deep_is_refused(store: DocumentStore) -> None:
    def nested(levels: int) -> dict[str, object]:
        body: dict[str, object] = {}
        for _ in range(levels - 1):
            body = {"a": body}
        return body

    await store.write(lambda tx: tx.put(TODO, "deep", nested(500)))
    for levels in (501, 900, 5000):
        for change in (
            lambda tx, levels=levels: tx.put(TODO, "deeper", nested(levels)),
            lambda tx, levels=levels: tx.graft(TODO, "deeper", ["1-aa"], nested(levels)),
        ):
            with pytest.raises(BadDocument):
                await store.write(change)
    assert await ids(store) == ["deep"]


async def test_of_many_writers_of_one_revision_exactly_one_wins(store: DocumentStore) -> None:
    rev = (await store.write(lambda tx: tx.put(TODO, "t", {"n": -1}))).rev
    writes = [store.write(lambda tx, n=n: tx.put(TODO, "t", {"n": n}, rev=rev)) for n in range(20)]
    results = await asyncio.gather(*writes, return_exceptions=True)
    won = [result for result in results if not isinstance(result, BaseException)]
    assert len(won) == 1
    assert all(isinstance(result, DocumentConflict) for result in results if isinstance(result, BaseException))
    assert (await store.read(lambda view: view.find(TODO, "t"))).body == won[0].body


async def test_changes_are_made_in_the_order_in_which_they_were_asked_for(store: DocumentStore) -> None:
    await asyncio.gather(*(store.write(lambda tx, n=n: tx.put(TODO, f"t{n}", {})) for n in reversed(range(100))))
    feed = await store.read(lambda view: view.changes(TODO))
    assert [entry.id for entry in feed] == [f"t{n}" for n in reversed(range(100))]


async def test_writers_that_wait_together_share_one_commit(tmp_path: Path) -> None:
    stores = SqliteStores(tmp_path, environment())
    store = await stores.open("alice")
    assert isinstance(store, SqliteStore)
    entered, release = threading.Event(), threading.Event()

    def hold_the_line(tx: Writer) -> None:
        entered.set()
        assert release.wait(30)

    first = asyncio.create_task(store.write(hold_the_line))
    assert await asyncio.to_thread(entered.wait, 30)
    before = store.commits
    rest = [asyncio.create_task(store.write(lambda tx, n=n: tx.put(TODO, f"t{n}", {}))) for n in range(200)]
    await asyncio.sleep(0)  # all of them are in the line now
    release.set()
    await asyncio.gather(first, *rest)
    assert store.commits - before == 2  # that of the first one, and one for all who waited
    assert len(await store.read(lambda view: view.changes(TODO, limit=1000))) == 200
    await stores.close()


async def test_a_reader_is_not_held_up_by_a_writer_and_sees_nothing_uncommitted(tmp_path: Path) -> None:
    stores = SqliteStores(tmp_path, environment())
    store = await stores.open("alice")
    await store.write(lambda tx: tx.put(TODO, "before", {}))
    entered, release = threading.Event(), threading.Event()

    def write_and_linger(tx: Writer) -> None:
        tx.put(TODO, "during", {})
        entered.set()
        assert release.wait(30)

    writing = asyncio.create_task(store.write(write_and_linger))
    assert await asyncio.to_thread(entered.wait, 30)
    assert await ids(store) == ["before"]
    assert [doc.id for doc in await store.scan(lambda view: view.all_docs(TODO))] == ["before"]
    release.set()
    await writing
    assert await ids(store) == ["before", "during"]
    await stores.close()


async def test_a_scan_sees_one_snapshot_while_writes_go_on(tmp_path: Path) -> None:
    stores = SqliteStores(tmp_path, environment())
    store = await stores.open("alice")
    await store.write(lambda tx: tx.put(TODO, "a", {}))
    entered, release = threading.Event(), threading.Event()

    def look_twice(view: Reader) -> tuple[int, int]:
        first = view.status(TODO).live
        entered.set()
        assert release.wait(30)
        return first, view.status(TODO).live

    scanning = asyncio.create_task(store.scan(look_twice))
    assert await asyncio.to_thread(entered.wait, 30)
    await store.write(lambda tx: tx.put(TODO, "b", {}))
    release.set()
    assert await scanning == (1, 1)
    assert await store.scan(lambda view: view.status(TODO).live) == 2
    await stores.close()


async def test_a_writer_kept_beyond_its_transaction_is_useless(store: DocumentStore) -> None:
    kept = await store.write(lambda tx: tx)
    with pytest.raises(AttributeError):
        kept.put(TODO, "t", {})
    assert await ids(store) == []


async def test_a_caller_that_goes_away_disturbs_nobody(store: DocumentStore) -> None:
    tasks = [asyncio.create_task(store.write(lambda tx, n=n: tx.put(TODO, f"t{n}", {}))) for n in range(10)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [not isinstance(result, BaseException) for n, result in enumerate(results) if n != 3] == [True] * 9
    assert set(await ids(store)) >= {f"t{n}" for n in range(10) if n != 3}


# -- after a commit


async def test_subscribers_are_told_the_new_sequence(store: DocumentStore) -> None:
    told: asyncio.Queue[int] = asyncio.Queue()
    end = store.subscribe(told.put_nowait)
    written = await store.write(lambda tx: tx.put(TODO, "t", {}))
    assert await asyncio.wait_for(told.get(), 10) == written.seq
    record = await store.write(lambda tx: tx.put_record("job", "j", {}))
    assert await asyncio.wait_for(told.get(), 10) == record.seq
    with pytest.raises(Refused):
        await store.write(fail_after_a_write)
    await store.write(lambda tx: tx.set_checkpoint("r", 1))
    end()
    end()
    await store.write(lambda tx: tx.put(TODO, "u", {}))
    await asyncio.sleep(0)
    assert told.empty()


def fail_after_a_write(tx: Writer) -> None:
    tx.put(TODO, "failed", {})
    tx.after_commit(lambda: pytest.fail("the change was not committed"))
    raise Refused


async def test_actions_run_on_the_loop_after_the_commit_and_only_then(store: DocumentStore) -> None:
    loop, seen = asyncio.get_running_loop(), list[str]()
    done = asyncio.Event()

    def act() -> None:
        assert asyncio.get_running_loop() is loop
        seen.append("done")
        done.set()

    def change(tx: Writer) -> None:
        tx.after_commit(act)
        tx.put(TODO, "t", {})
        assert seen == []

    await store.write(change)
    await asyncio.wait_for(done.wait(), 10)
    with pytest.raises(Refused):
        await store.write(fail_after_a_write)
    await asyncio.sleep(0)
    assert seen == ["done"]


# -- hooks


async def test_hooks_see_each_change_in_its_transaction(place: Place) -> None:
    seen: list[tuple[object, ...]] = []

    def hook(tx: Writer, change: Change) -> None:
        old = change.old and (change.old.rev, change.old.body)
        seen.append((tx.origin, change.verb, old, change.new.rev, change.new.deleted, change.new.body, change.written))

    store = await place.open(hooks=[hook])

    def change(tx: Writer) -> list[str]:
        tx.origin = "bob"
        first = tx.put(TODO, "t", {"a": 1})
        second = tx.put(TODO, "t", {"a": 2}, rev=first.rev)
        tx.graft(TODO, "t", [first.rev, "2-" + "0" * 32], {"a": 0})
        tx.graft(TODO, "t", [first.rev], {})
        tx.put_local(TODO, "x", {})
        third = tx.delete(TODO, "t", second.rev)
        fourth = tx.delete(TODO, "t", "2-" + "0" * 32)
        return [first.rev, second.rev, third.rev, fourth.rev]

    first, second, third, fourth = await store.write(change)
    low = "2-" + "0" * 32
    winner = max(third, fourth)
    assert seen == [
        ("bob", "CREATED", None, first, False, {"a": 1}, first),
        ("bob", "UPDATED", (first, {"a": 1}), second, False, {"a": 2}, second),
        ("bob", "UPDATED", (second, {"a": 2}), second, False, {"a": 2}, low),
        ("bob", "UPDATED", (second, {"a": 2}), low, False, {"a": 0}, third),
        ("bob", "DELETED", (low, {"a": 0}), winner, True, {}, fourth),
    ]
    seen.clear()
    await store.write(lambda tx: tx.put(TODO, "t", {"a": 5}))
    assert seen[0][:3] == ("", "CREATED", None)


async def test_what_a_hook_writes_belongs_to_the_same_transaction(place: Place) -> None:
    def track(tx: Writer, change: Change) -> None:
        if change.new.doctype == TODO:
            tracked = tx.get("io.cozy.shared", change.new.id)
            tx.put("io.cozy.shared", change.new.id, {"rev": change.written}, rev=tracked.rev if tracked else None)
        if change.new.body.get("refuse"):
            raise Refused

    store = await place.open(hooks=[track])
    first = await store.write(lambda tx: tx.put(TODO, "t", {}))
    second = await store.write(lambda tx: tx.put(TODO, "t", {"a": 1}, rev=first.rev))
    tracked = await store.read(lambda view: view.find("io.cozy.shared", "t"))
    assert tracked.body == {"rev": second.rev}
    with pytest.raises(Refused):
        await store.write(lambda tx: tx.put(TODO, "t", {"refuse": True}, rev=second.rev))
    found = await store.read(lambda view: (view.find(TODO, "t").rev, view.find("io.cozy.shared", "t").rev))
    assert found == (second.rev, tracked.rev)


async def test_an_index_defined_by_a_failing_change_is_not_there(store: DocumentStore) -> None:
    def change(tx: Writer) -> None:
        tx.define_index(Index("failed", TODO, lambda id, body: [b"failed"]))
        raise Refused

    results = await asyncio.gather(
        store.write(lambda tx: None), store.write(lambda tx: None), store.write(change), return_exceptions=True
    )
    assert isinstance(results[2], Refused)
    with pytest.raises(Refused):
        await store.write(change)
    await store.write(lambda tx: tx.put(TODO, "t", {}))
    with pytest.raises(KeyError):
        await store.read(lambda view: view.index("failed"))
    # the next one takes the number that the failed one had
    await store.write(lambda tx: tx.define_index(Index("second", TODO, lambda id, body: [b"second"])))
    await store.write(lambda tx: tx.put(TODO, "u", {}))
    assert [entry.key for entry in await store.read(lambda view: view.index("second"))] == [b"second", b"second"]
