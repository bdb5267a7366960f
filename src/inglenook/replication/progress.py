"""How far the sending to one member is, and what is on its way at this moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

from inglenook.kernel.errors import UpstreamFailed

SETTLING = 2.0
"""Seconds after which a server of another make has noted of a new file that it is shared; it does so aside, and does
not know what to do with a removal that comes earlier (spec/05 §23)."""


@dataclass(slots=True)
class Progress:
    """How far a run is: `cursor` is read, `open` is on its way (document → place in the feed), `again` has changed
    since. `fresh` is how far the newest changes were read while older ones still wait; 0 when none do.
    `sent` are the revisions of documents behind the cursor that need not be sent: the member has them already, or they
    are written down. `suspects` are documents at which the member's server has failed, `brought` the moments (of the
    monotonic clock, in seconds) at which it took the contents of late."""

    cursor: int
    open: dict[str, int] = field(default_factory=dict[str, int])
    again: set[str] = field(default_factory=set[str])
    fresh: int = 0
    sent: dict[str, str] = field(default_factory=dict[str, str])
    suspects: dict[str, Suspect] = field(default_factory=dict[str, "Suspect"])
    brought: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def done(self) -> int:
        """Up to here everything is with the member, or written down."""
        return min(self.cursor, min(self.open.values()) - 1) if self.open else self.cursor

    def note_brought(self, key: str, now: float) -> None:
        """The member has just taken the content of a file."""
        for old in [known for known, at in self.brought.items() if at + SETTLING <= now]:
            del self.brought[old]
        self.brought[key] = now

    def suspect(self, key: str, rev: str, why: str) -> None:
        """The member's server has failed at this document, or at this moment."""
        before = self.suspects.get(key)
        times = before.times if before is not None and before.rev == rev else 0
        self.suspects[key] = Suspect(rev, why, times + 1)

    def settling(self, keys: Iterable[str], now: float) -> float:
        """The seconds until the member's server surely knows of these files that they are shared."""
        return max((self.brought[key] + SETTLING - now for key in keys if key in self.brought), default=0.0)


@dataclass(frozen=True, slots=True)
class Suspect:
    """A document that was on its way when the member's server failed; `rev` is what was sent, `why` what happened."""

    rev: str
    why: str
    times: int


class OnTheWay:
    """Exchanges that go on beside each other; `wake` is called whenever one ends."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._tasks: set[asyncio.Task[None]] = set()
        self._trouble: UpstreamFailed | None = None
        self._fault: BaseException | None = None

    def start(self, exchange: Coroutine[Any, Any, None]) -> None:
        """Begin an exchange. When it raises UpstreamFailed, the member's server is out of reach; anything else is a
        fault of this side."""
        task = asyncio.create_task(exchange)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    @property
    def stopped(self) -> bool:
        """Whether something has stopped an exchange, so that no more shall begin."""
        return self._trouble is not None or self._fault is not None

    def check(self) -> None:
        """Raise what has stopped an exchange."""
        if self._fault is not None:
            raise self._fault
        if self._trouble is not None:
            raise self._trouble

    async def over(self, enough: Callable[[], bool]) -> None:
        """Wait until enough exchanges have ended. Raises as `check`."""
        while not enough() and self._tasks and not self.stopped:
            await asyncio.wait(set(self._tasks), return_when=asyncio.FIRST_COMPLETED)
        self.check()

    async def drop(self) -> None:
        """End what is on its way; it is not behind the checkpoint yet, so it will be sent again."""
        running = list(self._tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failed := task.exception()) is not None:
            if isinstance(failed, UpstreamFailed):
                self._trouble = failed
            else:
                self._fault = failed
        self._wake()
