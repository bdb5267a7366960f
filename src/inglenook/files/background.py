"""What follows from a change of a file, in the background: readers of the journal of each instance (spec/02 §21)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

import structlog

from inglenook.files import rendering, tree
from inglenook.files.documents import FILES, Item
from inglenook.files.thumbnails import make_thumbnails, missing
from inglenook.identity.instance import Instance
from inglenook.identity.instances import Instances
from inglenook.kernel.errors import DomainError
from inglenook.storage.documents.contract import JournalEntry, Reader
from inglenook.storage.journal_readers import JournalReader

THUMBNAILS = "thumbnails"

log = structlog.get_logger("inglenook.files")


class Server(Protocol):
    """What this part needs of the running server."""

    @property
    def instances(self) -> Instances:
        """The instances of the server."""
        ...


def background(server: Server) -> FileWork:
    """The background part of files."""
    return FileWork(server.instances)


class FileWork:
    """Runs the readers of the instances that this process works for."""

    def __init__(self, instances: Instances) -> None:
        self._instances = instances
        self._readers: dict[str, JournalReader] = {}
        self._opening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take up all instances; opening them goes on in the background."""
        self._instances.on_claimed.append(self.watch)
        self._instances.on_released.append(self.leave)
        self._instances.on_destroyed.append(self.leave)
        self._opening = asyncio.create_task(self._open_all())

    async def stop(self) -> None:
        """End; what is not done is done after the next start."""
        self._instances.on_claimed.remove(self.watch)
        self._instances.on_released.remove(self.leave)
        self._instances.on_destroyed.remove(self.leave)
        if self._opening is not None:
            self._opening.cancel()
            with suppress(asyncio.CancelledError):
                await self._opening
        stopping = [asyncio.create_task(reader.stop()) for reader in self._readers.values()]
        self._readers.clear()
        if stopping:
            await asyncio.sleep(0)  # they have been told; nobody starts another order
            rendering.end_all()
            await asyncio.gather(*stopping)

    async def watch(self, instance: Instance) -> None:
        """Follow the changes of an instance."""
        if instance.prefix in self._readers:
            return
        reader = JournalReader(
            instance.store,
            THUMBNAILS,
            lambda entries: make_for(instance, entries),
            instance.env,
            wants=_lacks_thumbnails,
        )
        self._readers[instance.prefix] = reader
        await reader.start()

    async def leave(self, instance: Instance) -> None:
        """Follow an instance no longer: another process does it, or it is taken down."""
        reader = self._readers.pop(instance.prefix, None)
        if reader is not None:
            await reader.stop()

    async def _open_all(self) -> None:
        for instance in await self._instances.tended():
            await self.watch(instance)


async def make_for(instance: Instance, entries: list[JournalEntry]) -> None:
    """Make the thumbnails that the files of some changes should have and have not.

    Raises OSError (no room for copies), `rendering.Interrupted`."""
    for id in dict.fromkeys(entry.id for entry in entries):
        item, formats = await instance.store.read(lambda view, id=id: _missing(view, id))
        if item is None or not formats:
            continue
        try:
            await make_thumbnails(instance, item, formats)
        except DomainError as error:
            log.warning("a thumbnail was not made", instance=instance.domain, file=id, cause=str(error))


def _missing(view: Reader, id: str) -> tuple[Item | None, list[str]]:
    item = tree.get(view, id)
    return item, [] if item is None else missing(view, item)


def _lacks_thumbnails(view: Reader, entry: JournalEntry) -> bool:
    return entry.doctype == FILES and entry.verb != "DELETED" and bool(_missing(view, entry.id)[1])
