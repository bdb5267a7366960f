"""How long to wait before something is tried again: doubling delays with jitter."""

from __future__ import annotations

FIRST = 1.0
"""Seconds before the first retry."""

HOUR = 3600.0
SPREAD = 0.25


def delay(attempt: int, jitter: float, *, ceiling: float = HOUR) -> float:
    """Seconds to wait after failure number `attempt` (0 is the first): 1 s doubling up to `ceiling`, ±25 %.

    `jitter` is a random number in [0, 1): those who failed together shall not come back together.
    """
    doublings = min(max(attempt, 0), 60)
    return min(FIRST * 2.0**doublings, ceiling) * (1.0 - SPREAD + 2.0 * SPREAD * jitter)
