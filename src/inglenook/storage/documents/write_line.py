"""The line of writers of an instance, and its group commit.

Changes wait in a queue. One job in a thread takes all that wait, runs each in a savepoint of its own, commits
once, and answers all of them: any number of concurrent writers pay for one `fsync`, and a change that fails takes
nothing with it but itself. How a batch is run and committed is the matter of each database.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from inglenook.storage.documents.contract import Writer

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


Commit = Callable[[list[AnyChange]], Committed]
"""Runs changes in one transaction and commits them: see `Committed`."""


class WriteLine:
    """The queue of changes of one store. Used on the event loop; only the commits run in `pool`.

    Without a pool each change is committed at once, on the loop: nothing then depends on threads, as a simulation
    needs it. `commit` runs changes (at most `batch`) in one transaction; `committed` is told the new sequence."""

    def __init__(
        self, commit: Commit, pool: Executor | None, committed: Callable[[int], None], *, batch: int = BATCH
    ) -> None:
        self._commit = commit
        self._pool = pool
        self._committed = committed
        self._batch = batch
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
            self._settle(loop, [future], self._commit([change]))
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
            while self._waiting and len(batch) < self._batch:
                batch.append(self._waiting.popleft())
            try:
                committed = self._commit([change for change, _ in batch])
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
