"""Runs the steps that wait, when they are due (DESIGN, idea 3): the only place that knows of time and retries.

For each open instance it looks after every commit, and sleeps until the next step is due. Instances are opened once
at the start, so that what waited when the server stopped goes on. When a server answers again after failures, what
waits for it is due at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import structlog

from inglenook.identity.instance import Instance
from inglenook.identity.instances import Instances
from inglenook.kernel.errors import DomainError, Unavailable
from inglenook.sharing import attempts, steps
from inglenook.sharing.handshake import STEPS
from inglenook.sharing.steps import Claim, Outcome, Step
from inglenook.storage.documents.contract import Reader
from inglenook.storage.ongoing import keep_going

AT_ONCE = 64
"""Steps attempted at the same time, over all instances."""

PAGE = 100
AFTER_A_FAULT = 60.0  # seconds

log = structlog.get_logger("inglenook.sharing")


class StepRunner:
    """The background part of sharings."""

    def __init__(self, instances: Instances) -> None:
        self._instances = instances
        self._watchers: dict[str, Watcher] = {}
        self._budget = asyncio.Semaphore(AT_ONCE)
        self._opening: asyncio.Task[None] | None = None
        self._stopped = False
        instances.on_claimed.append(self._watch)
        instances.on_released.append(self._leave)
        instances.on_destroyed.append(self._leave)

    async def start(self) -> None:
        """Begin; instances that have steps waiting are found in the background."""
        self._opening = asyncio.create_task(self._open_all(), name="sharing steps: opening")

    async def stop(self) -> None:
        """End: what is under way is given up and goes on at the next start."""
        self._stopped = True
        if self._opening is not None:
            self._opening.cancel()
            with suppress(asyncio.CancelledError):
                await self._opening
        for watcher in list(self._watchers.values()):
            await watcher.stop()
        self._watchers.clear()

    async def _open_all(self) -> None:
        for instance in await self._instances.tended():
            await self._watch(instance)

    async def _watch(self, instance: Instance) -> None:
        if instance.prefix not in self._watchers and not self._stopped and not instance.doc.moved:
            watcher = self._watchers[instance.prefix] = Watcher(instance, self._budget)
            watcher.start()

    async def _leave(self, instance: Instance) -> None:
        watcher = self._watchers.pop(instance.prefix, None)
        if watcher is not None:
            await watcher.stop()


class Watcher:
    """The steps of one instance."""

    def __init__(self, instance: Instance, budget: asyncio.Semaphore) -> None:
        self._instance = instance
        self._budget = budget
        self._woken = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._faults: dict[str, float] = {}
        self._recoveries: dict[str, Callable[[], None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin to watch."""
        self._unsubscribe = self._instance.store.subscribe(lambda _: self._woken.set())
        self._task = asyncio.create_task(keep_going(self._run, "sharing steps", instance=self._instance.domain))

    async def stop(self) -> None:
        """End, giving up what is under way."""
        self._unsubscribe()
        for end in self._recoveries.values():
            end()
        tasks = [task for task in (self._task, *self._running.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            pause = await self._look()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):  # `wait_for` may lose a cancellation (cpython#86296)
                    await self._woken.wait()

    async def _look(self) -> float | None:
        """Begin the steps that are due; gives the seconds until the next one is, None when none waits."""
        now = self._instance.env.clock.now().timestamp()

        def read(view: Reader) -> tuple[list[Claim], float | None]:
            next_due = view.next_due(steps.KIND)
            if next_due is None or next_due > now:
                return [], next_due
            return steps.due(view, now, PAGE + len(self._running)), next_due

        due, next_due = await self._instance.store.read(read)
        for claim in due:
            step = STEPS.get(claim.waiting.step)
            if step is not None and claim.id not in self._running and self._faults.get(claim.id, 0.0) <= now:
                task = asyncio.create_task(self._attempt(claim, step), name=f"sharing step {claim.waiting.step}")
                self._running[claim.id] = task
                task.add_done_callback(lambda task, claim=claim: self._ended(claim, task))
        if next_due is None:
            return None
        return max(next_due - now, 0.0) if not due else AFTER_A_FAULT

    async def _attempt(self, claim: Claim, step: Step) -> None:
        async with self._budget:
            outcome = await attempts.attempt_claim(self._instance, claim, step)
        if outcome is Outcome.AGAIN and claim.waiting.host:
            self._wait_for_recovery(claim.waiting.host)

    def _ended(self, claim: Claim, task: asyncio.Task[None]) -> None:
        self._running.pop(claim.id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A fault of ours: the step keeps its place, and is not tried again in a tight circle.
            self._faults[claim.id] = self._instance.env.clock.now().timestamp() + AFTER_A_FAULT
            tell = log.warning if isinstance(error, Unavailable) else log.error
            tell("sharing step failed", step=claim.waiting.step, sharing=claim.waiting.sharing, exc_info=error)
        self._woken.set()

    def _wait_for_recovery(self, host: str) -> None:
        if host not in self._recoveries:
            self._recoveries[host] = self._instance.peers.on_recovery(host, lambda: self._recovered(host))

    def _recovered(self, host: str) -> None:
        end = self._recoveries.pop(host, None)
        if end is not None:
            end()
        now = self._instance.env.clock.now().timestamp()
        waking = asyncio.ensure_future(self._instance.store.write(lambda tx: steps.wake(tx, host, now)))
        waking.add_done_callback(_report)


def _report(waking: asyncio.Future[int]) -> None:
    if not waking.cancelled() and (error := waking.exception()) is not None:
        log.warning(
            "sharing steps could not be woken", cause=str(error) if isinstance(error, DomainError) else repr(error)
        )


class Server(Protocol):
    """What a background part is made from."""

    @property
    def instances(self) -> Instances:
        """The instances of the server."""
        ...


def background(server: Server) -> StepRunner:
    """The runner of a server."""
    return StepRunner(server.instances)
