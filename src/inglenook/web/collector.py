"""The removal of contents that nothing names any more, instance by instance (see `storage.contents`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import structlog

from inglenook.files import scratch
from inglenook.identity.instance import Instance
from inglenook.identity.instances import Instances
from inglenook.kernel.errors import DomainError

FIRST_SECONDS = 60.0  # from the start to the first round
EVERY_SECONDS = 1800.0

SPARED_SECONDS = 600.0  # that an instance is left alone, renewed while it is needed

log = structlog.get_logger("inglenook.server")


class Collector:
    """Goes round the open instances that this process works for. In the first round of each it also looks for what a
    crash has left unnamed."""

    def __init__(self, instances: Instances) -> None:
        self._instances = instances
        self._reconciled: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def round(self) -> int:
        """Collect the garbage of these instances; gives how many contents went."""
        scratch.sweep(self._instances.env)
        removed = 0
        for instance in self._instances.at_work():
            try:
                if await instance.ephemeral.get(_spared(instance)):
                    continue
                if instance.prefix not in self._reconciled:
                    await instance.contents.reconcile()
                    self._reconciled.add(instance.prefix)
                removed += await instance.contents.collect()
            except (DomainError, OSError) as error:
                log.warning("contents were not collected", instance=instance.domain, cause=str(error))
        return removed

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
