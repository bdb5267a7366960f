"""CPU time and memory of processes, from /proc (proc(5)): each with all its children."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGESIZE")
EVERY = 0.02
"""Seconds between two looks at the memory."""


@dataclass(slots=True)
class Usage:
    """What some processes have used: `cpu` in seconds, `growth` of resident memory at its height in bytes."""

    cpu: float = 0.0
    growth: int = 0


@contextlib.asynccontextmanager
async def observed(*pids: int) -> AsyncGenerator[Usage]:
    """The usage of these processes and their children inside the context; filled in at its end."""
    usage = Usage()
    before, memory = cpu_of(*pids), resident(*pids)
    highest = memory

    async def watch() -> None:
        nonlocal highest
        while True:
            highest = max(highest, resident(*pids))
            await asyncio.sleep(EVERY)

    watching = asyncio.create_task(watch())
    try:
        yield usage
    finally:
        watching.cancel()
        usage.cpu = cpu_of(*pids) - before
        usage.growth = max(highest, resident(*pids)) - memory


def cpu_of(*pids: int) -> float:
    """CPU seconds that the processes and their living children have used so far."""
    total = 0
    for pid in family(*pids):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def resident(*pids: int) -> int:
    """Bytes of resident memory."""
    total = 0
    for pid in family(*pids):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    return total


def family(*pids: int) -> set[int]:
    """The processes with all their descendants."""
    found: set[int] = set()
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                waiting.extend(int(child) for child in tasks.read_text().split())
    return found
