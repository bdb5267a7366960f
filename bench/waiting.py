"""Waiting for something to become true, with a deadline."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

PATIENCE = 300.0
"""Seconds until it is given up."""


async def until(
    check: Callable[[], bool | Awaitable[bool]], *, every: float = 0.002, patience: float = PATIENCE
) -> float:
    """Look again and again until it is true; gives the seconds it took. Raises TimeoutError."""
    started = time.monotonic()
    while True:
        found = check()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return time.monotonic() - started
        if time.monotonic() - started > patience:
            raise TimeoutError(f"Not within {patience:.0f} s: {inspect.getsource(check).strip()}")
        await asyncio.sleep(every)
