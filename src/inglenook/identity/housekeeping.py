"""What is thrown away when its time is over: registrations that nobody allowed, sessions that nobody uses any more
(spec/03 §6.5, §7.2)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import structlog

from inglenook.identity import clients, sessions
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import DomainError

if TYPE_CHECKING:
    from inglenook.identity.instances import Instances

EVERY_SECONDS = 600.0

log = structlog.get_logger("inglenook.identity")


class Server(Protocol):
    """What housekeeping needs of the running server."""

    instances: Instances


class Housekeeping:
    """Tidies each instance when it is opened, and the open ones every ten minutes."""

    def __init__(self, instances: Instances) -> None:
        self._instances = instances
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        self._instances.on_opened.append(tidy)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            for instance in self._instances.opened():
                try:
                    await tidy(instance)
                except DomainError as error:
                    log.warning("tidying failed", instance=instance.domain, cause=str(error))
            await asyncio.sleep(EVERY_SECONDS)


async def tidy(instance: Instance) -> None:
    """Throw away what is over in one instance."""
    now = instance.env.clock.now().timestamp()
    if await instance.store.read(lambda view: view.records_due(clients.PENDING, now, limit=1)):
        await instance.store.write(lambda tx: clients.drop_abandoned(tx, now))
    if await instance.store.read(lambda view: sessions.sweep_is_due(view, now)):
        await instance.store.write(lambda tx: sessions.sweep(tx, instance.env.clock.now()))


def make(server: Server) -> Housekeeping:
    """The background part of identity."""
    return Housekeeping(server.instances)
