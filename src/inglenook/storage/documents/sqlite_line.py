"""The line of writers of an instance, and its group commit.

Changes wait in a queue. One job in a thread takes all that wait, runs each in a savepoint of its own, commits
once, and answers all of them: any number of concurrent writers pay for one `fsync`, and a change that fails takes
nothing with it but itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import apsw

from inglenook.storage.documents.contract import Writer
from inglenook.storage.documents.sqlite_schema import storage_error
from inglenook.storage.documents.sqlite_writer import SqliteWriter, WriteSession

BATCH = 256  # changes per commit at most, so that the first of them does not wait for ever

AnyChange = Callable[[Writer], Any]


@dataclass(slots=True)
class Outcome:
    """What became of one change: `error` when it failed, else `result` and what to do on the event loop."""

    result: Any = None
    error: BaseException | None = None
    actions: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])


@dataclass(slots=True)
class Committed:
    """What became of a batch: one outcome for each of the changes that ran, from the first on; `seq` is the new
    sequence of the instance, None when it has not moved."""

    outcomes: list[Outcome]
    seq: int | None = None


def commit_together(session: WriteSession, changes: list[AnyChange]) -> Committed:
    """Run changes in one transaction and commit them.

    When SQLite gives the whole transaction up (a full disk, a fault of the disk), all that ran so far fail with
    that cause; the changes after them did not run and have no outcome."""
    outcomes: list[Outcome] = []
    indexes = session.indexes.state
    try:
        session.begin()
        for change in changes:
            outcomes.append(_run(session, change, alone=len(changes) == 1))
            if not session.connection.in_transaction:
                lost = outcomes[-1].error
                session.indexes.state = indexes
                return Committed([Outcome(error=outcome.error or lost) for outcome in outcomes])
        moved = session.commit()
    except apsw.Error as error:
        session.abandon()
        session.indexes.state = indexes
        cause = storage_error(error)
        failed = [outcome.error for outcome in outcomes] + [None] * (len(changes) - len(outcomes))
        return Committed([Outcome(error=own or cause) for own in failed])
    return Committed(outcomes, session.seq if moved else None)


def _run(session: WriteSession, change: AnyChange, *, alone: bool) -> Outcome:
    """Run one change; when it fails, put everything back to where it was before."""
    execute = session.connection.execute
    seq, indexes = session.seq, session.indexes.state
    if not alone:
        execute("SAVEPOINT change")
    writer = SqliteWriter(session)
    try:
        result = change(writer)
    except BaseException as error:  # noqa: BLE001 - it is raised again where the write is awaited
        if alone:
            session.abandon()
        elif session.connection.in_transaction:
            execute("ROLLBACK TO change")
            execute("RELEASE change")
        session.seq, session.indexes.state = seq, indexes
        session.doctypes.clear()
        return Outcome(error=_as_caller_sees_it(error))
    finally:
        writer.end()
    if not alone:
        execute("RELEASE change")
    return Outcome(result, actions=writer.actions)


def _as_caller_sees_it(error: BaseException) -> BaseException:
    if isinstance(error, apsw.Error):
        cause = storage_error(error)
        cause.__cause__ = None if cause is error else error
        return cause
    if isinstance(error, StopIteration):  # a future cannot carry it
        return RuntimeError(f"A change raised StopIteration: {error}")
    return error


class WriteLine:
    """The queue of changes of one store. Used on the event loop; only the commits run in `pool`.

    Without a pool each change is committed at once, on the loop: nothing then depends on threads, as a simulation
    needs it. `session` gives the writing connection when it is needed first."""

    def __init__(self, session: Callable[[], WriteSession], pool: Executor | None, committed: Callable[[int], None]):
        self._session = session
        self._pool = pool
        self._committed = committed
        self._waiting: deque[tuple[AnyChange, asyncio.Future[Any]]] = deque()
        self._draining: asyncio.Future[None] | None = None
        self.commits = 0

    @property
    def busy(self) -> bool:
        """Whether a change waits or is being written."""
        return self._draining is not None

    async def write(self, change: AnyChange) -> Any:
        """Run a change; when this returns it is on the disk."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if self._pool is None:
            self._settle(loop, [future], commit_together(self._session(), [change]))
            return future.result()
        self._waiting.append((change, future))
        if self._draining is None:
            self._draining = loop.create_future()
            self._pool.submit(self._drain, loop)
        return await future

    async def idle(self) -> None:
        """Wait until nothing waits and nothing is being written."""
        while self._draining is not None:
            await asyncio.shield(self._draining)

    def _drain(self, loop: asyncio.AbstractEventLoop) -> None:
        """In the pool: commit what waits, until nothing does."""
        while self._waiting:
            batch: list[tuple[AnyChange, asyncio.Future[Any]]] = []
            while self._waiting and len(batch) < BATCH:
                batch.append(self._waiting.popleft())
            try:
                committed = commit_together(self._session(), [change for change, _ in batch])
            except BaseException as error:  # noqa: BLE001 - raised again where the writes are awaited
                committed = Committed([Outcome(error=error) for _ in batch])
            ran = len(committed.outcomes)
            self._waiting.extendleft(reversed(batch[ran:]))
            loop.call_soon_threadsafe(self._settle, loop, [future for _, future in batch[:ran]], committed)
        loop.call_soon_threadsafe(self._drained, loop)

    def _drained(self, loop: asyncio.AbstractEventLoop) -> None:
        """On the loop, the only place where changes are queued: end, or go on if one came in meanwhile."""
        if self._waiting and self._pool is not None:
            self._pool.submit(self._drain, loop)
        elif self._draining is not None:
            self._draining.set_result(None)
            self._draining = None

    def _settle(
        self, loop: asyncio.AbstractEventLoop, futures: list[asyncio.Future[Any]], committed: Committed
    ) -> None:
        """On the loop: do what was to be done after the commit, tell the subscribers, answer the callers."""
        self.commits += 1
        for outcome in committed.outcomes:
            for action in outcome.actions:
                loop.call_soon(action)
        if committed.seq is not None:
            self._committed(committed.seq)
        for future, outcome in zip(futures, committed.outcomes, strict=True):
            if future.done():
                continue
            if outcome.error is None:
                future.set_result(outcome.result)
            else:
                future.set_exception(outcome.error)
