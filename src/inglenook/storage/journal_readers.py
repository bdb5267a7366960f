"""Readers of the journal: what must happen because of a write happens here, at least once, however often the
server dies in between (docs/decisions/0001).

A reader has a name and a durable checkpoint. It reads the entries behind its checkpoint in pages and gives each
page to its handler; when the handler is done, the checkpoint moves. A wake-up only makes it prompt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from inglenook.environment import Environment
from inglenook.storage.documents.contract import DocumentStore, JournalEntry, Reader

PAGE = 100  # entries per call of a handler
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0
MOST_PASSED = 1000  # entries that a reader passes over before it says so

Handler = Callable[[list[JournalEntry]], Awaitable[None]]
"""Handles a page of entries, oldest first. It may see a page, or a part of it, again after a crash."""

Wants = Callable[[Reader, JournalEntry], bool]
"""Whether an entry is to be handled, by what is stored now; quick, for it runs with the reading of the page."""

log = structlog.get_logger("inglenook.journal")


class JournalReader:
    """Runs one named reader of one instance's journal.

    A failing handler is called again with the same page, after a pause that doubles from a second to a minute.
    The journal keeps what the reader has not seen from its first start on, until `forget` (see `Writer.
    set_checkpoint`); `from_now` makes a new reader begin with what is written after its first start, instead of with
    what the journal still has.

    With `wants` the handler is given those entries alone. The checkpoint does not follow each of the others: what the
    reader passes over costs no write, and is read again after a crash."""

    def __init__(
        self,
        store: DocumentStore,
        name: str,
        handle: Handler,
        env: Environment,
        *,
        page: int = PAGE,
        from_now: bool = False,
        wants: Wants | None = None,
    ) -> None:
        self._store = store
        self._name = name
        self._handle = handle
        self._env = env
        self._page = page
        self._from_now = from_now
        self._wants = wants
        self._at = 0  # the sequence up to which nothing is left to do
        self._passed = 0  # entries between the checkpoint and there
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Begin to read; returns when the journal keeps what this reader needs."""
        name, from_now = self._name, self._from_now
        if name not in await self._store.read(lambda view: view.checkpoints()):
            await self._store.write(lambda tx: tx.set_checkpoint(name, tx.last_seq() if from_now else 0))
        self._unsubscribe = self._store.subscribe(lambda _: self._wake.set())
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"journal reader {name}")

    async def stop(self) -> None:
        """End after the page at hand; what comes later waits for the next start."""
        self._unsubscribe()
        self._stopping.set()
        self._wake.set()
        if self._task is not None:
            await self._task
            self._task = None

    async def forget(self) -> None:
        """Stop for good: the journal need not keep anything for this reader any more."""
        await self.stop()
        await self._store.write(lambda tx: tx.set_checkpoint(self._name, None))

    def prompt(self) -> None:
        """Look again now (for a hint that comes from elsewhere than the store)."""
        self._wake.set()

    async def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._wake.clear()
            step = asyncio.ensure_future(self._step())
            try:
                await asyncio.wait([step])
            except asyncio.CancelledError:
                step.cancel()
                raise
            error = asyncio.CancelledError("a part of the handler") if step.cancelled() else step.exception()
            if error is not None:
                failures += 1
                pause = self._pause(failures)
                log.warning("journal.retry", reader=self._name, failures=failures, pause=pause, exc_info=error)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause)
                continue
            failures = 0
            if not step.result() and not self._stopping.is_set():
                await self._wake.wait()

    async def _step(self) -> bool:
        """Handle one page; False when there was nothing to read."""
        name, page, at = self._name, self._page, self._at

        def read(view: Reader) -> tuple[list[JournalEntry], list[JournalEntry]]:
            entries = view.journal(since=max(view.checkpoint(name), at), limit=page)
            wants = self._wants
            return entries, entries if wants is None else [entry for entry in entries if wants(view, entry)]

        entries, wanted = await self._store.read(read)
        if not entries:
            return False
        if wanted:
            await self._handle(wanted)
        last = entries[-1].seq
        self._passed += len(entries)
        if wanted or self._passed >= MOST_PASSED:
            await self._store.write(lambda tx: tx.set_checkpoint(name, last))
            self._passed = 0
        self._at = last
        return True

    def _pause(self, failures: int) -> float:
        longest = min(FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 10), LONGEST_RETRY_SECONDS)
        return longest * (0.5 + self._env.random.uniform() / 2)
