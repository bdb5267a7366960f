"""A clock for tests that stands still until it is told to go on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from inglenook.environment import Clock


class SteppedClock(Clock):
    """Time that passes by `step`."""

    def __init__(self) -> None:
        self._now = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
        self._steps = 0.0

    def now(self) -> datetime:
        """The moment reached by the steps so far."""
        return self._now

    def monotonic(self) -> float:
        """Seconds stepped so far."""
        return self._steps

    def step(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)
        self._steps += seconds
