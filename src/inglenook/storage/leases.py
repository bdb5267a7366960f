"""Leases: of several processes, one works in the background for an instance, and another takes over when it dies.

A lease runs out some seconds after its holder has renewed it last. The holder stops its work *before* that moment when
it cannot renew, so that two never work at the same time, as long as their clocks go at the same speed. (If it happens
all the same, because a process was frozen, nothing breaks: whatever is done in the background is done at least once.)

The processes share the work evenly: each takes its part of what there is, by the number of those that want to work, and
gives back what is too much when another one joins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from inglenook.environment import Clock
from inglenook.kernel.errors import Unavailable
from inglenook.storage.bus import Bus

SECONDS = 10.0  # from a renewal to the end of a lease
RENEW_SECONDS = 3.0  # between two renewals
MARGIN_SECONDS = 2.0  # for the work to stop before the end
PAGE = 500  # leases renewed at a time
TOPIC = "leases"  # of the bus: there may be something to take

Step = Callable[[], Awaitable[None]]

log = structlog.get_logger("inglenook.storage")


class LeaseTable(Protocol):
    """Where the processes agree who holds what. The methods raise Unavailable."""

    async def enter(self, holder: str, seconds: float) -> int:
        """Say that `holder` wants to work for the next `seconds`; gives how many there are that do."""
        ...

    async def leave(self, holder: str) -> None:
        """Say that `holder` does not want to work any more: what it has is free."""
        ...

    async def take(self, names: Sequence[str], holder: str, seconds: float, *, most: int | None = None) -> set[str]:
        """Take what is free and renew what is held, `most` in all; gives the names of these, which `holder` has for
        `seconds` from now on."""
        ...

    async def give_back(self, names: Sequence[str], holder: str) -> None:
        """Let go of leases, so that others need not wait for their end."""
        ...


class LocalLeases:
    """Leases among the parts of one process; a hub holds them for several."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[str, tuple[str, float]] = {}
        self._present: dict[str, float] = {}

    async def enter(self, holder: str, seconds: float) -> int:
        now = self._clock.monotonic()
        self._present[holder] = now + seconds
        self._present = {name: end for name, end in self._present.items() if end > now}
        return len(self._present)

    async def leave(self, holder: str) -> None:
        self._present.pop(holder, None)
        self._held = {name: held for name, held in self._held.items() if held[0] != holder}

    async def take(self, names: Sequence[str], holder: str, seconds: float, *, most: int | None = None) -> set[str]:
        now = self._clock.monotonic()
        taken: set[str] = set()
        for name in names:
            owner, end = self._held.get(name, (holder, 0.0))
            if (owner == holder or end <= now) and (most is None or len(taken) < most):
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
    """The leases of one process. `holder` is its name among the others, `bus` tells when others have given something
    back."""

    def __init__(self, table: LeaseTable, holder: str, clock: Clock, bus: Bus | None = None) -> None:
        self._table = table
        self._holder = holder
        self._clock = clock
        self._bus = bus or Bus()
        self._wanted: dict[str, Wanted] = {}
        self._prompt = asyncio.Event()
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._deafen: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Begin to take and to renew."""
        self._deafen = self._bus.listen(TOPIC, lambda _: self._prompt.set())
        self._task = asyncio.create_task(self._run(), name="leases")

    async def stop(self) -> None:
        """Stop the work of all leases, and give them back."""
        self._deafen()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        async with self._turn:
            for wanted in self._held().values():
                await self._lose(wanted)
            self._wanted.clear()
            try:
                await self._table.leave(self._holder)
            except Unavailable as error:
                log.warning("leases run out by themselves", cause=str(error))
            self._bus.wake(TOPIC)

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

    def _held(self) -> dict[str, Wanted]:
        return {name: wanted for name, wanted in self._wanted.items() if wanted.end}

    async def _run(self) -> None:
        while True:
            self._prompt.clear()
            async with self._turn:
                await self._round()
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEW_SECONDS):
                    await self._prompt.wait()

    async def _round(self) -> None:
        """Renew what is held, take more up to this process's part, give back what is beyond it."""
        now = self._clock.monotonic()
        try:
            async with asyncio.timeout(RENEW_SECONDS):
                others = await self._table.enter(self._holder, SECONDS)
            part = -(-len(self._wanted) // max(others, 1))
            held = list(self._held())
            for at in range(0, len(held), PAGE):
                await self._take(held[at : at + PAGE], now)
            free = [name for name, wanted in self._wanted.items() if not wanted.end]
            for at in range(0, len(free), PAGE):
                if (room := part - len(self._held())) > 0:
                    await self._take(free[at : at + PAGE], now, most=room)
        except (Unavailable, TimeoutError) as error:
            log.warning("leases were not renewed", cause=str(error))
            for name, wanted in self._held().items():
                if wanted.end - MARGIN_SECONDS - RENEW_SECONDS <= now:
                    await self._lost(name, wanted)
        else:
            await self._give_up(list(self._held())[part:])

    async def _take(self, names: Sequence[str], now: float, most: int | None = None) -> None:
        async with asyncio.timeout(RENEW_SECONDS):
            taken = await self._table.take(names, self._holder, SECONDS, most=most)
        for name in names:
            wanted = self._wanted.get(name)
            if wanted is None:
                continue
            if name in taken:
                fresh, wanted.end = not wanted.end, now + SECONDS
                if fresh:
                    log.info("lease taken", name=name)
                    await wanted.gained()
            elif wanted.end:
                await self._lost(name, wanted)

    async def _give_up(self, names: Sequence[str]) -> None:
        """Another process shall work for these."""
        if names:
            for name in names:
                log.info("lease given up", name=name)
                await self._lose(self._wanted[name])
            await self._give_back(names)

    async def _lost(self, name: str, wanted: Wanted) -> None:
        log.warning("lease lost", name=name)
        await self._lose(wanted)

    async def _lose(self, wanted: Wanted) -> None:
        wanted.end = 0.0
        await wanted.lost()

    async def _give_back(self, names: Sequence[str]) -> None:
        try:
            await self._table.give_back(names, self._holder)
        except Unavailable as error:
            log.warning("leases run out by themselves", cause=str(error))
        else:
            self._bus.wake(TOPIC)
