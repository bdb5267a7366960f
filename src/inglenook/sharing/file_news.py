"""Something new in a shared folder: the owner is told, where the context asks for it (spec/04 §23.3, spec/07 §5.4).

A reader of the journal for each such instance. What it tells is a notification with an id of its own making, so that
a page that is read again after a crash tells nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from inglenook.files.documents import FILES, Item
from inglenook.identity.instance import Instance
from inglenook.identity.instances import Instances
from inglenook.kernel.errors import DomainError
from inglenook.sharing import documents, notifications, tracking
from inglenook.storage.documents.contract import JournalEntry, Writer
from inglenook.storage.journal_readers import JournalReader

READER = "sharing-file-news"
CATEGORY = "sharing-file-changed"
MAILS_PER_HOUR = 200


class FileNews:
    """The background part: one reader for each instance whose context has the option on."""

    def __init__(self, instances: Instances) -> None:
        self._instances = instances
        self._readers: dict[str, JournalReader] = {}
        self._opening: asyncio.Task[None] | None = None
        instances.on_claimed.append(self._watch)
        instances.on_released.append(self._leave)
        instances.on_destroyed.append(self._leave)

    async def start(self) -> None:
        """Begin."""
        self._opening = asyncio.create_task(self._open_all(), name="news of shared files: opening")

    async def stop(self) -> None:
        """End."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        readers, self._readers = list(self._readers.values()), {}
        await asyncio.gather(*(reader.stop() for reader in readers))

    async def _open_all(self) -> None:
        for instance in await self._instances.tended():
            await self._watch(instance)

    async def _watch(self, instance: Instance) -> None:
        if instance.prefix in self._readers or not is_wanted(instance):
            return

        async def handle(entries: list[JournalEntry]) -> None:
            await take(instance, entries)

        reader = JournalReader(instance.store, READER, handle, instance.env, from_now=True)
        self._readers[instance.prefix] = reader
        try:
            await reader.start()
        except DomainError:
            del self._readers[instance.prefix]  # whoever asks for it again begins it
            raise

    async def _leave(self, instance: Instance) -> None:
        reader = self._readers.pop(instance.prefix, None)
        if reader is not None:
            await reader.stop()


def is_wanted(instance: Instance) -> bool:
    """Whether the context of an instance has `sharing_notifications.enabled`."""
    options = instance.context_settings.get("sharing_notifications")
    return isinstance(options, dict) and options.get("enabled") is True


async def take(instance: Instance, entries: Sequence[JournalEntry]) -> None:
    """Tell of the files and folders that a page of the journal has made."""
    created = [entry.id for entry in entries if entry.doctype == FILES and entry.verb == "CREATED"]
    if not created:
        return
    hour = int(instance.env.clock.now().timestamp() // 3600)
    key = f"file-news/{instance.prefix}/{hour}"
    mails = MAILS_PER_HOUR - (await instance.ephemeral.get(key) or 0)
    told = await instance.store.write(lambda tx: tell(tx, instance, created, mails))
    if told:
        await instance.ephemeral.put(key, MAILS_PER_HOUR - mails + told, 3600.0)


def tell(tx: Writer, instance: Instance, created: Sequence[str], mails: int) -> int:
    """Write the notifications for new files and folders, at most so many with a mail; gives how many."""
    told = 0
    for id in created:
        document = tx.get(FILES, id)
        if document is None:
            continue
        item = Item.of(document)
        for sharing_id, info in tracking.load(tx, FILES, id).infos.items():
            sharing = documents.get(tx, sharing_id)
            if info.get("removed") or sharing is None or not (sharing.owner and sharing.active):
                continue
            place = f"/folder/{id}" if item.is_directory else f"/folder/{item.dir_id}/file/{id}"
            values = {
                "SharingDescription": sharing.description,
                "FileName": item.name,
                "FileURL": instance.app_url("drive", fragment=place),
                "IsFolder": item.is_directory,
            }
            made = notifications.notify(
                tx, instance, category=CATEGORY, category_id=f"{sharing_id}/{id}", template="sharing_file_changed",
                values=values, slug="drive", once=True, by_mail=told < mails,
            )  # fmt: skip
            told += made is not None
    return told


class Host(Protocol):
    """The server, as far as this part needs it."""

    @property
    def instances(self) -> Instances:
        """All instances."""
        ...


def background(host: Host) -> FileNews:
    """The background part of a server."""
    return FileNews(host.instances)
