"""Taking a checked archive into a store, document by document (spec/12 §8, §11).

Documents go in by batches, a file together with its content; one that is refused is told of and stops nothing. How each
comes in is the matter of a way (`moving.placing`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import msgspec

from inglenook.files import fixed_directories
from inglenook.files.documents import FILES, ROOT_ID, SHORTCUT_MIME, TRASH_ID, TRASH_NAME, VERSIONS, members
from inglenook.kernel.errors import DomainError
from inglenook.moving import moved_sharings, moved_shortcuts, policy, snapshot, spool
from inglenook.moving.items import Directory, Items
from inglenook.moving.placing import AsItIs, LeftAlone, Way, Write
from inglenook.moving.policy import APPS, LAST, Newcomer
from inglenook.moving.summary import Summary
from inglenook.moving.units import Parts, Unit, Unread
from inglenook.moving.zip_reading import Entry, ZipReader
from inglenook.storage.contents import Received
from inglenook.storage.documents.contract import Writer

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

T = TypeVar("T")

BATCH = 100
BATCH_BYTES = 2_000_000


@dataclass(slots=True)
class _Batch:
    """Writes that share a transaction, each with the document it is about."""

    writes: list[tuple[str, str, Write]] = field(default_factory=list[tuple[str, str, Write]])
    received: list[Received] = field(default_factory=list[Received])
    size: int = 0


class Application:
    """One archive on its way into a store. `progress` is told the bytes of contents and the documents that are in.
    `shortcuts` are those that lead to the address from where the instance has moved: their id and new content."""

    def __init__(
        self,
        instance: Instance,
        parts: Parts,
        items: Items,
        to: Newcomer,
        summary: Summary,
        progress: Callable[[int, int], None],
        way: Way | None = None,
    ) -> None:
        self._instance = instance
        self._parts = parts
        self._items = items
        self._to = to
        self._summary = summary
        self._progress = progress
        self._way: Way = way or AsItIs()
        self.shortcuts: list[tuple[str, bytes]] = []
        self._done = 0
        self._documents_done = 0
        self._batch = _Batch()

    async def run(self) -> None:
        """Take everything in. Raises BadArchive, OutOfSpace."""
        await self._directories()
        early = {FILES, VERSIONS}
        await self._documents(lambda doctype: doctype not in early and doctype not in LAST)
        await self._documents(lambda doctype: doctype in early)
        for last in LAST:
            await self._documents(lambda doctype, last=last: doctype == last)

    # -- directories, parents first

    async def _directories(self) -> None:
        await self._fixed()
        after = (0, "")
        while page := await asyncio.to_thread(self._items.directories, after):
            for depth, directory in page:
                after = (depth, directory.id)
                await self._directory(directory)
        await self._flush()

    async def _fixed(self) -> None:
        """The root and the trash, with what the archive knows of them."""
        async for unit in self._units(lambda doctype: doctype == FILES, bodies_of=(ROOT_ID, TRASH_ID)):
            body = policy.file_body(unit.body, self._to)
            body["type"] = "directory"
            if unit.id == TRASH_ID:
                body |= {"name": TRASH_NAME, "dir_id": ROOT_ID}
            else:
                body.pop("name", None)
                body.pop("dir_id", None)

            await self._add(FILES, unit.id, self._way.fixed(unit, body))
        await self._flush()
        now = self._instance.env.clock.timestamp()

        def complete(tx: Writer) -> None:
            for id, body in (
                (ROOT_ID, fixed_directories.root_body(now)),
                (TRASH_ID, fixed_directories.trash_body(now)),
            ):
                if tx.get(FILES, id) is None:
                    tx.put(FILES, id, body)

        await self._instance.store.write(complete)

    async def _directory(self, directory: Directory) -> None:
        stored = msgspec.json.decode(directory.raw)
        rev = stored.pop("_rev", "")
        body = policy.file_body(stored, self._to) | {"dir_id": directory.dir_id, "name": directory.name}
        body.pop("trashed", None)
        await self._add(FILES, directory.id, self._way.directory(directory.id, rev, body), len(directory.raw))

    # -- documents, files

    async def _documents(self, wanted: Callable[[str], bool]) -> None:
        moves = self._to.moves
        async for unit in self._units(wanted):
            if unit.doctype in APPS:
                continue  # the apps are installed anew
            if not policy.is_taken(unit.doctype, moves=moves):
                self._summary.count("skipped", unit.doctype)
            elif unit.doctype == FILES:
                await self._file(unit)
            elif unit.doctype == VERSIONS:
                await self._version(unit)
            else:
                await self._document(unit)
        await self._flush()

    async def _document(self, unit: Unit) -> None:
        match unit.doctype:
            case "io.cozy.shared":
                write = moved_sharings.tracking_of(unit)
            case "io.cozy.sharings":
                write = moved_sharings.sharing_of(unit, self._to, self._instance)
            case snapshot.STEPS:
                write = moved_sharings.step_of(unit, self._instance)
            case "io.cozy.permissions":
                write = moved_sharings.permission_of(unit, self._to, self._instance)
            case "io.cozy.oauth.clients":
                wanted = await asyncio.to_thread(self._items.wants_client, unit.id)
                write = moved_sharings.client_of(unit) if wanted else None
            case _:
                body = policy.changed(unit, self._to)
                write = None if body is None else self._way.document(unit, body, self._to)
        if write is None:
            self._summary.count("skipped", unit.doctype)
        else:
            await self._add(unit.doctype, unit.id, write, unit.size)

    async def _file(self, unit: Unit) -> None:
        if unit.body.get("type") != "file":
            return
        place = await asyncio.to_thread(self._items.place, unit.id)
        if place is None or unit.content is None:
            return  # told of when it was checked
        body = policy.file_body(unit.body, self._to) | {"dir_id": place[0], "name": place[1]}
        received = await self._received(unit)
        if received is None:
            return
        if self._to.moves and unit.content.size <= moved_shortcuts.LARGEST and body.get("mime") == SHORTCUT_MIME:
            await self._shortcut(unit.id, unit.content, unit.reader)
        body |= {"size": str(received.size), "md5sum": received.content.md5}
        write = self._way.file(unit.id, unit.rev, body, received)
        await self._add(FILES, unit.id, write, received.size, received)

    async def _shortcut(self, id: str, entry: Entry, reader: ZipReader) -> None:
        """Remember a shortcut that leads to the former address."""
        content = await asyncio.to_thread(reader.read, entry, moved_shortcuts.LARGEST)
        changed = moved_shortcuts.rewritten(content, self._to.source, self._instance)
        if changed is not None and len(self.shortcuts) < moved_shortcuts.MOST:
            self.shortcuts.append((id, changed))

    async def _version(self, unit: Unit) -> None:
        file_id = unit.id.partition("/")[0]
        if unit.content is None or await asyncio.to_thread(self._items.place, file_id) is None:
            return
        body = dict(unit.body)
        body["relationships"] = {
            **members(body.get("relationships")),
            "file": {"data": {"_id": file_id, "_type": FILES}},
        }
        received = await self._received(unit)
        if received is None:
            return
        body |= {"size": str(received.size), "md5sum": received.content.md5}
        write = self._way.version(unit, body, received)
        await self._add(VERSIONS, unit.id, write, received.size, received)

    async def _received(self, unit: Unit) -> Received | None:
        """The content of a unit; None when it is not the one that was told of (known since the check)."""
        assert unit.content is not None
        received = await self._instance.contents.receive(spool.threaded(unit.reader.pieces(unit.content)))
        self._done += received.size
        self._progress(self._done, self._documents_done)
        if received.content.md5 != unit.body.get("md5sum"):
            await self._instance.contents.discard(received)
            return None
        return received

    # -- batches

    async def _add(
        self, doctype: str, id: str, write: Write, size: int = 500, received: Received | None = None
    ) -> None:
        batch = self._batch
        batch.writes.append((doctype, id, write))
        batch.size += size if received is None or received.data is not None else 500
        if len(batch.writes) >= BATCH or batch.size >= BATCH_BYTES:
            await self._flush()

    async def _flush(self) -> None:
        batch, self._batch = self._batch, _Batch()
        if not batch.writes:
            return
        outcomes = await self._instance.store.write(lambda tx: [_outcome(tx, write) for _, _, write in batch.writes])
        self._documents_done += len(batch.writes)
        self._progress(self._done, self._documents_done)
        for (doctype, id, _), outcome in zip(batch.writes, outcomes, strict=True):
            if outcome is None:
                self._summary.count("imported", doctype)
            elif isinstance(outcome, LeftAlone):
                self._summary.count("skipped", doctype)
                if str(outcome):
                    self._summary.remark(doctype, id, str(outcome), path=await self._path(doctype, id))
            else:
                reason, path = outcome.detail or type(outcome).__name__, await self._path(doctype, id)
                self._summary.remark(doctype, id, reason, path=path, lost=True)

    async def _path(self, doctype: str, id: str) -> str:
        """Where a file is, or that of a version; empty for other documents."""
        if doctype not in (FILES, VERSIONS):
            return ""
        return await asyncio.to_thread(self._items.path, id.partition("/")[0] if doctype == VERSIONS else id)

    async def _units(self, wanted: Callable[[str], bool], *, bodies_of: tuple[str, ...] = ()) -> AsyncIterator[Unit]:
        units = self._parts.units(wanted)
        while True:
            unit = await asyncio.to_thread(next, units, None)
            if unit is None:
                return
            if isinstance(unit, Unread):
                continue
            if not bodies_of or unit.id in bodies_of:
                yield unit


def _outcome(tx: Writer, write: Write) -> LeftAlone | DomainError | None:
    """None when a write succeeded, else why it did not."""
    try:
        write(tx)
    except (LeftAlone, DomainError) as reason:
        return reason
    return None
