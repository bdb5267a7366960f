"""Waiting for what other threads do: tests look again when something has moved, not when time has passed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 15.0
"""Seconds until a condition that should come true counts as failed."""
LONGEST_LOOK = 1.0
"""Seconds after which a test looks again although nothing was noted: not everything is told."""

_moved = threading.Condition()
_count = 0


def note(*_: object) -> None:
    """Something has moved: a commit, a request that came in, a mail."""
    global _count
    with _moved:
        _count += 1
        _moved.notify_all()


def count() -> int:
    """How often something has moved."""
    return _count


def wait_after(seen: int, seconds: float) -> None:
    """Return when something has moved since a count, or after a time."""
    with _moved:
        _moved.wait_for(lambda: _count != seen, min(seconds, LONGEST_LOOK))


def eventually(check: Callable[[], T], what: str = "", seconds: float = PATIENCE) -> T:
    """The first true value of a check, which is looked at whenever something moves; what it saw last is in the
    failure."""
    end = time.monotonic() + seconds
    while True:
        seen = count()
        last = check()
        if last:
            return last
        left = end - time.monotonic()
        if left <= 0:
            raise AssertionError(f"{what or check} did not come true in {seconds} s; last: {last!r}")
        wait_after(seen, left)
