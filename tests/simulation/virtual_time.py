"""Virtual time: an event loop that never waits, a clock that reads it, and randomness from one seed.

When nothing is ready, time jumps to the next timer. The order of everything that happens then follows from the
seed alone (with a fixed PYTHONHASHSEED), so that a failing scenario can be run again and again.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from inglenook.environment import Clock, Randomness

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class NothingLeft(Exception):
    """Everybody waits and no timer runs: the scenario would hang for ever."""


class JumpingSelector(selectors.DefaultSelector):
    """Polls, and instead of waiting moves the clock of its loop."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        """What is ready now; else time passes at once."""
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise NothingLeft
        self.loop.passed += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a time of its own, in seconds from its beginning."""

    def __init__(self) -> None:
        self.passed = 0.0
        selector = JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Seconds since the beginning."""
        return self.passed

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Work for a thread is done at once: threads have no virtual time."""
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 -- whatever it is, it belongs to who waits for the work
            done.set_exception(error)
        return done


class VirtualClock(Clock):
    """The time of a virtual loop, with the error of one server's clock (seconds)."""

    def __init__(self, loop: VirtualLoop, skew: float = 0.0) -> None:
        self._loop = loop
        self._skew = skew

    def now(self) -> datetime:
        """The moment that this server believes it is."""
        return BEGIN + timedelta(seconds=self._loop.passed + self._skew)

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return self._loop.passed


class SeededRandomness(Randomness):
    """Unpredictable for the code, the same for each run of a seed."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def bytes(self, count: int) -> bytes:
        """`count` bytes."""
        return self._random.randbytes(count)
