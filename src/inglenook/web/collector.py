"""The removal of contents that nothing names any more, instance by instance (see `storage.contents`).

An instance in which nothing was written since the last look, and in which nothing waits to be removed, is left alone:
its storage sleeps.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import structlog

from inglenook.files import scratch
from inglenook.identity.instance import Instance
from inglenook.identity.instances import Instances
from inglenook.kernel.errors import DomainError
from inglenook.storage.documents.contract import DocumentStore

FIRST_SECONDS = 60.0  # from the start to the first round
EVERY_SECONDS = 1800.0

SPARED_SECONDS = 600.0  # that an instance is left alone, renewed while it is needed

log = structlog.get_logger("inglenook.server")


class Watched:
    """An instance's store, from the first look of the collector on. `due` is the moment (seconds of Unix time) of the
    next look; a commit makes it come at once."""

    def __init__(self, store: DocumentStore) -> None:
        self.store = store
        self.due = -math.inf
        self.reconciled = False
        self.leave: Callable[[], None] = store.subscribe(self._moved)

    def _moved(self, _: int) -> None:
        self.due = -math.inf


class Collector:
    """Goes round the open instances that this process works for. At its first look at each it also looks for what a
    crash has left unnamed."""

    def __init__(self, instances: Instances) -> None:
        self._instances = instances
        self._watched: dict[str, Watched] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._forget_all_but([])

    async def round(self) -> int:
        """Collect the garbage of these instances; gives how many contents went."""
        scratch.sweep(self._instances.env)
        removed = 0
        at_work = self._instances.at_work()
        self._forget_all_but(at_work)
        for instance in at_work:
            try:
                if not await instance.ephemeral.get(_spared(instance)):
                    removed += await self._look_at(instance)
            except (DomainError, OSError) as error:
                log.warning("contents were not collected", instance=instance.domain, cause=str(error))
        return removed

    async def _look_at(self, instance: Instance) -> int:
        watched = self._watched.get(instance.prefix)
        if watched is None:
            watched = self._watched[instance.prefix] = Watched(instance.store)
        if watched.due > instance.env.clock.now().timestamp():
            return await instance.contents.sweep()  # what a process has left that ended in the middle of an upload
        due, watched.due = watched.due, math.inf  # before looking: a commit meanwhile brings us back
        try:
            if not watched.reconciled:
                await instance.contents.reconcile()
                watched.reconciled = True
            removed = await instance.contents.collect()
            again = await instance.contents.next_collection()
        except BaseException:
            watched.due = due
            raise
        if again is not None:
            watched.due = min(watched.due, again)
        return removed

    def _forget_all_but(self, instances: list[Instance]) -> None:
        """Leave the instances that this process does not work for any more, or whose data are others now."""
        stores = {instance.prefix: instance.store for instance in instances}
        for prefix, watched in list(self._watched.items()):
            if stores.get(prefix) is not watched.store:
                self._watched.pop(prefix).leave()

    async def _run(self) -> None:
        await asyncio.sleep(FIRST_SECONDS)
        while True:
            await self.round()
            await asyncio.sleep(EVERY_SECONDS)


@asynccontextmanager
async def spare(instance: Instance) -> AsyncGenerator[None]:
    """No content of an instance is removed inside the context, by any process, also when nothing names it any more."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(SPARED_SECONDS / 3)
            await instance.ephemeral.put(_spared(instance), 1, SPARED_SECONDS)

    await instance.ephemeral.put(_spared(instance), 1, SPARED_SECONDS)
    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        await instance.ephemeral.delete(_spared(instance))


def _spared(instance: Instance) -> str:
    return f"spared:{instance.prefix}"
