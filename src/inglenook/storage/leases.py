"""Leases: of several processes, one works in the background for an instance, and another takes over when it dies.

A lease runs out some seconds after its holder has renewed it last. The holder stops its work *before* that moment when
it cannot renew, so that two never work at the same time, as long as their clocks go at the same speed. (If it happens
all the same, because a process was frozen, nothing breaks: whatever is done in the background is done at least once.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from inglenook.environment import Clock
from inglenook.kernel.errors import Unavailable

SECONDS = 10.0  # from a renewal to the end of a lease
RENEW_SECONDS = 3.0  # between two renewals
MARGIN_SECONDS = 2.0  # for the work to stop before the end
PAGE = 500  # leases renewed at a time

Step = Callable[[], Awaitable[None]]

log = structlog.get_logger("inglenook.storage")


class LeaseTable(Protocol):
    """Where the processes agree who holds what."""

    async def take(self, names: Sequence[str], holder: str, seconds: float) -> set[str]:
        """Take what is free and renew what is held; gives the names that `holder` has now, for `seconds`.

        Raises Unavailable."""
        ...

    async def give_back(self, names: Sequence[str], holder: str) -> None:
        """Let go of leases, so that others need not wait for their end. Raises Unavailable."""
        ...


class LocalLeases:
    """Leases among the parts of one process (and of tests)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[str, tuple[str, float]] = {}

    async def take(self, names: Sequence[str], holder: str, seconds: float) -> set[str]:
        now = self._clock.monotonic()
        taken: set[str] = set()
        for name in names:
            owner, end = self._held.get(name, (holder, 0.0))
            if owner == holder or end <= now:
                self._held[name] = (holder, now + seconds)
                taken.add(name)
        return taken

    async def give_back(self, names: Sequence[str], holder: str) -> None:
        for name in names:
            if self._held.get(name, ("", 0.0))[0] == holder:
                del self._held[name]


@dataclass(slots=True)
class Wanted:
    """A lease that this process would like to hold; `end` is the moment until which it does (0: it does not)."""

    gained: Step
    lost: Step
    end: float = 0.0


class Leases:
    """The leases of one process. `holder` is its name among the others."""

    def __init__(self, table: LeaseTable, holder: str, clock: Clock) -> None:
        self._table = table
        self._holder = holder
        self._clock = clock
        self._wanted: dict[str, Wanted] = {}
        self._prompt = asyncio.Event()
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to take and to renew."""
        self._task = asyncio.create_task(self._run(), name="leases")

    async def stop(self) -> None:
        """Stop the work of all leases, and give them back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        async with self._turn:
            held = [name for name, wanted in self._wanted.items() if wanted.end]
            for name in held:
                await self._lose(self._wanted[name])
            self._wanted.clear()
            await self._give_back(held)

    def want(self, name: str, gained: Step, lost: Step) -> None:
        """Hold a lease from when it is free: `gained` begins the work, `lost` must have stopped it when it returns."""
        if name not in self._wanted:
            self._wanted[name] = Wanted(gained, lost)
            self._prompt.set()

    async def renounce(self, name: str) -> None:
        """Not want a lease any more; its work is stopped when this returns."""
        async with self._turn:
            wanted = self._wanted.pop(name, None)
            if wanted is not None and wanted.end:
                await self._lose(wanted)
                await self._give_back([name])

    def holds(self, name: str) -> bool:
        """Whether this process has the lease now."""
        wanted = self._wanted.get(name)
        return wanted is not None and wanted.end > self._clock.monotonic()

    async def _run(self) -> None:
        while True:
            self._prompt.clear()
            names = list(self._wanted)
            for at in range(0, len(names), PAGE):
                async with self._turn:
                    await self._renew(names[at : at + PAGE])
            try:
                async with asyncio.timeout(RENEW_SECONDS):
                    await self._prompt.wait()
            except TimeoutError:
                continue

    async def _renew(self, names: Sequence[str]) -> None:
        now = self._clock.monotonic()
        try:
            async with asyncio.timeout(RENEW_SECONDS):
                taken = await self._table.take(names, self._holder, SECONDS)
        except (Unavailable, TimeoutError) as error:
            log.warning("leases were not renewed", cause=str(error))
            ends = {name: wanted.end for name in names if (wanted := self._wanted.get(name))}
            taken = {name for name, end in ends.items() if end - MARGIN_SECONDS - RENEW_SECONDS > now}
        else:
            for name in taken & self._wanted.keys():
                wanted = self._wanted[name]
                if not wanted.end:
                    log.info("lease taken", name=name)
                    wanted.end = now + SECONDS
                    await wanted.gained()
                wanted.end = now + SECONDS
        for name in names:
            wanted = self._wanted.get(name)
            if wanted is not None and wanted.end and name not in taken:
                log.warning("lease lost", name=name)
                await self._lose(wanted)

    async def _lose(self, wanted: Wanted) -> None:
        wanted.end = 0.0
        await wanted.lost()

    async def _give_back(self, names: Sequence[str]) -> None:
        if not names:
            return
        try:
            await self._table.give_back(names, self._holder)
        except Unavailable as error:
            log.warning("leases run out by themselves", cause=str(error))
