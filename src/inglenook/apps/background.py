"""Installations that go on while somebody watches, or after the request that began them has been answered."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import structlog

from inglenook.apps.installing import Told, mend
from inglenook.kernel.errors import BadRequest, DomainError, OutOfSpace
from inglenook.storage.documents.contract import Document

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance
    from inglenook.identity.instances import Instances

log = structlog.get_logger("inglenook.apps")

_running: dict[asyncio.Task[None], Instances] = {}


class Installation:
    """One installation or update under way, as a stream of the states of the app's document."""

    def __init__(self, instance: Instance, work: Callable[[Told], Awaitable[Document]]) -> None:
        self._states: asyncio.Queue[Document | DomainError | None] = asyncio.Queue()
        task = asyncio.create_task(self._run(work), name=f"installation in {instance.domain}")
        _running[task] = instance.registry
        task.add_done_callback(lambda task: _running.pop(task, None) and None)

    async def next(self) -> Document | None:
        """The next state, None at the end. Raises what ended the work, and goes on in any case when nobody asks."""
        state = await self._states.get()
        if isinstance(state, DomainError):
            raise state
        return state

    async def _run(self, work: Callable[[Told], Awaitable[Document]]) -> None:
        try:
            await work(self._states.put_nowait)
        except DomainError as error:
            self._states.put_nowait(error)
        except OSError as error:
            log.warning("an app cannot be read", error=str(error))
            text = f"The source cannot be read: {error.strerror or error}"
            self._states.put_nowait(OutOfSpace(text) if error.errno == errno.ENOSPC else BadRequest(text))
        finally:
            self._states.put_nowait(None)


class Installer:
    """The background part: at the end of the server, installations are given up (and mended at the next start)."""

    def __init__(self, instances: Instances) -> None:
        self._instances = instances

    async def start(self) -> None:
        """Nothing runs before somebody asks."""

    async def stop(self) -> None:
        """End what is under way."""
        mine = [task for task, instances in _running.items() if instances is self._instances]
        for task in mine:
            task.cancel()
        for task in mine:
            with suppress(asyncio.CancelledError):
                await task


class Server(Protocol):
    """What the background part is made from."""

    @property
    def instances(self) -> Instances:
        """The instances of the server."""
        ...


def background(server: Server) -> Installer:
    """The background part of a server."""
    return Installer(server.instances)


def join(instances: Instances) -> None:
    """Take part in the life of instances."""
    instances.on_opened.append(mend)
