"""What follows from a change of a file, in the background: readers of the journal of each instance (spec/02 §21)."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from inglenook.files import quota_alert, rendering, tree
from inglenook.files.antivirus import TRIES, antivirus_of, give_up, lacks_scan, scan_file
from inglenook.files.below import has_rest, touch_the_rest
from inglenook.files.clamd import ScanFailed
from inglenook.files.documents import FILES, VERSIONS, Item
from inglenook.files.old_trash import clean_old_trashed
from inglenook.files.quota import quota_of
from inglenook.files.thumbnails import make_thumbnails, missing
from inglenook.identity.instance import Instance
from inglenook.identity.instances import Instances
from inglenook.kernel.errors import DomainError
from inglenook.storage.documents.contract import JournalEntry, Reader
from inglenook.storage.journal_readers import Handler, JournalReader, Wants
from inglenook.storage.ongoing import keep_going

BELOW, THUMBNAILS, ANTIVIRUS, QUOTA = "directories-below", "thumbnails", "antivirus", "disk-quota"
CLEANING_SECONDS = 3600.0

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
    """Runs the readers of the instances that this process works for, and tidies their trash from time to time."""

    def __init__(self, instances: Instances) -> None:
        self._instances = instances
        self._readers: dict[tuple[str, str], JournalReader] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Take up all instances; opening them goes on in the background."""
        self._instances.on_claimed.append(self.watch)
        self._instances.on_modified.append(self._look_again)
        self._instances.on_released.append(self.leave)
        self._instances.on_destroyed.append(self.leave)
        self._tasks = [
            asyncio.create_task(self._open_all()),
            asyncio.create_task(keep_going(self._clean, "cleaning of the trash")),
        ]

    async def stop(self) -> None:
        """End; what is not done is done after the next start."""
        self._instances.on_claimed.remove(self.watch)
        self._instances.on_modified.remove(self._look_again)
        self._instances.on_released.remove(self.leave)
        self._instances.on_destroyed.remove(self.leave)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        stopping = [asyncio.create_task(reader.stop()) for reader in self._readers.values()]
        self._readers.clear()
        if stopping:
            await asyncio.sleep(0)  # they have been told; nobody starts another order
            rendering.end_all()
            await asyncio.gather(*stopping)

    async def watch(self, instance: Instance) -> None:
        """Follow the changes of an instance."""
        await self._read(instance, BELOW, lambda entries: touch_the_rest(instance, entries), has_rest)
        await self._read(instance, THUMBNAILS, lambda entries: make_for(instance, entries), _lacks_thumbnails)
        if antivirus_of(instance) is not None:
            await self._read(instance, ANTIVIRUS, lambda entries: scan_all(instance, entries), _lacks_scan)
        else:
            await self._forget(instance, ANTIVIRUS)
        if quota_of(instance):
            await self._read(
                instance,
                QUOTA,
                lambda _: tell_quota(instance),
                lambda view, entry: entry.doctype in (FILES, VERSIONS) and quota_alert.is_news(view, instance),
            )
        else:
            await self._forget(instance, QUOTA)

    async def leave(self, instance: Instance) -> None:
        """Follow an instance no longer: another process does it, or it is taken down."""
        for key in [key for key in self._readers if key[0] == instance.prefix]:
            await self._readers.pop(key).stop()

    async def _read(self, instance: Instance, name: str, handle: Handler, wants: Wants) -> None:
        key = (instance.prefix, name)
        if key not in self._readers:
            reader = self._readers[key] = JournalReader(instance.store, name, handle, instance.env, wants=wants)
            try:
                await reader.start()
            except DomainError:
                del self._readers[key]  # whoever asks for it again begins it
                raise

    async def _forget(self, instance: Instance, name: str) -> None:
        """The journal need not keep anything for a reader that is not wanted any more."""
        reader = self._readers.pop((instance.prefix, name), None)
        if reader is not None:
            await reader.forget()
        elif name in await instance.store.read(lambda view: view.checkpoints()):
            await instance.store.write(lambda tx: tx.set_checkpoint(name, None))

    async def _look_again(self, instance: Instance) -> None:
        """An instance that is followed may have got a quota, or another context."""
        if (instance.prefix, THUMBNAILS) in self._readers and not instance.doc.deleting:
            await self.watch(instance)

    async def _open_all(self) -> None:
        for instance in await self._instances.tended():
            await self.watch(instance)

    async def _clean(self) -> None:
        while True:
            await asyncio.sleep(CLEANING_SECONDS)
            for instance in await self._instances.tended():
                try:
                    await clean_old_trashed(instance)
                except (DomainError, OSError) as error:
                    log.warning("the trash was not cleaned", instance=instance.domain, cause=str(error))


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


async def scan_all(instance: Instance, entries: list[JournalEntry]) -> None:
    """Look for viruses in the files of some changes; one that cannot be looked at after some tries is marked so."""
    for id in dict.fromkeys(entry.id for entry in entries):
        for attempt in range(TRIES):
            try:
                await scan_file(instance, id)
            except ScanFailed as error:
                log.warning("a file was not scanned", instance=instance.domain, file=id, cause=str(error))
                if attempt + 1 == TRIES:
                    await give_up(instance, id, str(error))
            else:
                break


async def tell_quota(instance: Instance) -> None:
    """Tell the owner how full the space is."""
    await instance.store.write(lambda tx: quota_alert.tell(tx, instance))


def _lacks_scan(view: Reader, entry: JournalEntry) -> bool:
    return entry.doctype == FILES and entry.verb != "DELETED" and lacks_scan(view, entry.id)


def _missing(view: Reader, id: str) -> tuple[Item | None, list[str]]:
    item = tree.get(view, id)
    return item, [] if item is None else missing(view, item)


def _lacks_thumbnails(view: Reader, entry: JournalEntry) -> bool:
    return entry.doctype == FILES and entry.verb != "DELETED" and bool(_missing(view, entry.id)[1])
