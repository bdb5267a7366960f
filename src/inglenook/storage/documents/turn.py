"""Waiting for a turn that one process has at a time, and that ends with its process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from inglenook.kernel.errors import Unavailable

LONGEST_SECONDS = 60.0  # to wait: whoever has the turn needs a moment only
LOOK_SECONDS = 0.02  # between two looks


async def wait_for_turn(take: Callable[[], bool]) -> None:
    """Return once `take`, which does not wait, has given the turn. Raises Unavailable when it takes too long."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    while not take():
        if loop.time() - started > LONGEST_SECONDS:
            raise Unavailable("Another process has been making this store for too long")
        await asyncio.sleep(LOOK_SECONDS)
