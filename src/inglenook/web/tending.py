"""Several processes over the same data: each takes notice of what the others do to the registry, and of those that
work in the background, one works for each instance (docs/decisions/0010).

A process that works in the background wants the lease of every instance. When it gets one, the instance's background
work begins here; when it loses it, the work ends here, and another process has begun it or will.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from inglenook.identity.instance import Instance
from inglenook.identity.instances import Instances
from inglenook.identity.registry_news import RegistryNews
from inglenook.kernel.errors import DomainError
from inglenook.storage.leases import Leases

LOOK_SECONDS = 60.0  # between two looks at the registry that nothing has asked for
REST_SECONDS = 2.0  # after a failure

log = structlog.get_logger("inglenook.server")


class Tending:
    """Follows the registry; with `leases`, works for the instances whose lease it holds."""

    def __init__(self, instances: Instances, leases: Leases | None) -> None:
        self._instances = instances
        self._news = RegistryNews(instances)
        self._leases = leases
        self._wanted: dict[str, str] = {}  # prefix by the id of the registry's document
        self._beginning: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        if leases is not None:
            instances.claims = self

    async def start(self) -> None:
        """Begin; every part that works in the background must have started."""
        if self._leases is not None:
            await self._leases.start()
        self._unsubscribe = self._instances.registry.subscribe(lambda _: self._changed.set())
        self._task = asyncio.create_task(self._run(), name="tending")

    async def stop(self) -> None:
        """End the background work of all instances, so that another process takes over at once."""
        self._unsubscribe()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._leases is not None:
            await self._leases.stop()

    def holds(self, instance: Instance) -> bool:
        """Whether this process works for an instance now."""
        return self._leases is not None and self._leases.holds(_lease(instance.prefix))

    async def _run(self) -> None:
        for id, prefix in (await self._news.look_around()).items():
            self._want(id, prefix)
        while True:
            self._changed.clear()
            try:
                await self._follow()
            except DomainError as error:
                log.warning("the registry was not followed", cause=str(error))
                await asyncio.sleep(REST_SECONDS)
                continue
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _follow(self) -> None:
        for id, prefix in (await self._news.look_again()).items():
            if prefix is not None:
                self._want(id, prefix)
            elif self._leases is not None and id in self._wanted:
                await self._leases.renounce(_lease(self._wanted.pop(id)))

    def _want(self, id: str, prefix: str) -> None:
        if self._leases is None or id in self._wanted:
            return
        self._wanted[id] = prefix
        self._leases.want(_lease(prefix), lambda: self._gained(prefix), lambda: self._lost(prefix))

    async def _gained(self, prefix: str) -> None:
        self._beginning[prefix] = asyncio.create_task(self._begin(prefix), name=f"tending {prefix}")

    async def _begin(self, prefix: str) -> None:
        while True:
            try:
                await self._instances.claimed(await self._instances.by_prefix(prefix))
            except DomainError as error:
                log.warning("background work did not begin", prefix=prefix, cause=str(error))
                await asyncio.sleep(REST_SECONDS)
            else:
                return

    async def _lost(self, prefix: str) -> None:
        beginning = self._beginning.pop(prefix, None)
        if beginning is not None:
            beginning.cancel()
            await asyncio.gather(beginning, return_exceptions=True)
        for instance in self._instances.opened():
            if instance.prefix == prefix:
                await self._instances.released(instance)


def _lease(prefix: str) -> str:
    return f"work:{prefix}"
