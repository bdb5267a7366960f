"""Work in the background that must go on when something fails in it: a database that was away for a moment, a fault."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from inglenook.kernel.errors import Unavailable

FIRST_PAUSE = 1.0  # seconds
LONGEST_PAUSE = 300.0

log = structlog.get_logger("inglenook.background")


async def keep_going(work: Callable[[], Coroutine[Any, Any, None]], name: str, **of: object) -> None:
    """Run some work until it ends by itself. When it fails, that is told (`of` says whose work it is), and it begins
    anew after a pause, which doubles as long as it fails again soon."""
    clock = asyncio.get_running_loop().time
    pause = FIRST_PAUSE
    while True:
        began = clock()
        run = asyncio.create_task(work(), name=name)
        try:
            await asyncio.wait([run])
        finally:
            run.cancel()
            await asyncio.wait([run])
        fault = asyncio.CancelledError("a part of the work") if run.cancelled() else run.exception()
        if fault is None:
            return
        if clock() - began > LONGEST_PAUSE:
            pause = FIRST_PAUSE
        tell = log.warning if isinstance(fault, Unavailable) else log.error
        tell("work_failed", work=name, pause=pause, exc_info=fault, **of)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
