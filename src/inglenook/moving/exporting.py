"""Making an export: a snapshot, what it needs held, and its parts kept for downloads (spec/12 §1, §5, §11)."""

from __future__ import annotations

import asyncio
import threading
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

import inglenook
from inglenook.files.quota import disk_usage
from inglenook.identity import letters
from inglenook.kernel.errors import NotFound, Unprocessed
from inglenook.moving import exports, parts, snapshot, spool
from inglenook.moving.exports import ExportRequest
from inglenook.moving.parts import HOLDERS, Part, holder
from inglenook.moving.snapshot import Order, Snapshot, Stopped
from inglenook.storage.contents import Received
from inglenook.storage.documents.contract import Content, Document, Writer

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

EVERYTHING = 1 << 62
"""A size of parts that puts all into one."""

_ATTEMPTS = 3
_HELD_AT_ONCE = 200

log = structlog.get_logger("inglenook.moving")

_making: dict[str, asyncio.Lock] = {}


async def export(instance: Instance, asked: ExportRequest, *, mail: bool) -> Document:
    """Make an export; gives its document. Former exports end when it is done. With `mail`, the owner is sent the link.

    Raises OutOfSpace, Unprocessed when contents vanish faster than they can be held."""
    document = await _export(instance, asked, asked.parts_size, mail=mail)
    await end_others(instance, document.id)
    return document


async def export_in_one(instance: Instance, asked: ExportRequest) -> tuple[Document, Part]:
    """Make an export of a single part, beside the others; `drop` it when it was read. Raises as `export`."""
    document = await _export(instance, asked, EVERYTHING, mail=False)
    [part] = await instance.store.read(lambda view: parts.parts_of(view, document.id))
    return document, part


async def drop(instance: Instance, export_id: str) -> None:
    """Let go of an export: nothing can be downloaded any more."""
    await instance.store.write(lambda tx: exports.end(tx, export_id, exports.EXPIRED))
    await parts.forget(instance, export_id)


async def end_others(instance: Instance, export_id: str) -> None:
    """End all exports but one."""
    for document in await instance.store.read(exports.newest_first):
        if document.id != export_id and document.body.get("state") in (exports.DONE, exports.EXPORTING):
            await drop(instance, document.id)


async def end_expired(instance: Instance) -> None:
    """End the exports whose time is over, and those that a crash left unfinished."""
    now = instance.env.clock.now()
    for document in await instance.store.read(exports.newest_first):
        state = document.body.get("state")
        if state == exports.DONE and exports.is_over(document, now):
            await drop(instance, document.id)
        elif state == exports.EXPORTING and not _lock(instance).locked():
            await _fail(instance, document.id, "The export was interrupted")


async def _export(instance: Instance, asked: ExportRequest, size: int, *, mail: bool) -> Document:
    async with _lock(instance):
        usage = await instance.store.read(lambda view: disk_usage(view).total)
        parts_size = size if size == EVERYTHING else exports.effective_size(size, usage)
        document = await instance.store.write(lambda tx: exports.begin(tx, instance, asked, parts_size))
        try:
            return await _make(instance, asked, document, mail=mail)
        except BaseException as error:
            await _fail(instance, document.id, str(error) or "The export was interrupted")
            raise


def _lock(instance: Instance) -> asyncio.Lock:
    return _making.setdefault(instance.prefix, asyncio.Lock())


async def _fail(instance: Instance, export_id: str, error: str) -> None:
    await instance.store.write(lambda tx: exports.end(tx, export_id, exports.ERROR, error))
    await parts.forget(instance, export_id)


async def _make(instance: Instance, asked: ExportRequest, document: Document, *, mail: bool) -> Document:
    started = instance.env.clock.monotonic()
    folder = spool.folder(instance)
    await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
    order = Order(
        entry=snapshot.entry_of_instance(instance.id, instance.rev, instance.doc.public()),
        moment=instance.env.clock.now().replace(microsecond=0),
        part_size=document.body["parts_size"],
        doctypes=frozenset(asked.doctypes),
        secrets=asked.secrets,
        software=f"inglenook {inglenook.__version__}",
    )
    taken = await _taken(instance, document.id, order, folder)
    try:
        received = [await _finished(instance, part) for part in taken.parts]
    finally:
        taken.discard()
    cursors = ["", *taken.cursors]
    kept = [
        Part(cursor, size, skeleton.content, places.content)
        for cursor, (size, skeleton, places) in zip(cursors, received, strict=True)
    ]
    seconds = instance.env.clock.monotonic() - started
    now = instance.env.clock.now().timestamp()
    name = await instance.public_name()

    def finish(tx: Writer) -> Document:
        done = exports.finish(tx, document.id, taken.cursors, taken.counts, seconds)
        if done is None:
            raise NotFound("The export was given up")
        for number, (_, skeleton, places) in enumerate(received):
            skeleton.hold(tx, HOLDERS, holder(document.id, f"{number}/skeleton"))
            places.hold(tx, HOLDERS, holder(document.id, f"{number}/map"))
        parts.keep(tx, document.id, kept)
        if mail:
            link = exports.link_of(instance, exports.mac_of(instance, document.id))
            letters.post(tx, "archiver", {"ArchiveLink": link, "PublicName": name}, now)
        return done

    return await instance.store.write(finish)


async def _taken(instance: Instance, export_id: str, order: Order, folder: Path) -> Snapshot:
    """A snapshot whose large contents are held; those that the storage has lost are left out of it."""
    for _ in range(_ATTEMPTS):
        stop = threading.Event()
        try:
            taken = await instance.store.scan(lambda view, o=order, s=stop: snapshot.take(view, o, folder, s))
        except Stopped as error:
            raise Unprocessed("The export was interrupted") from error
        finally:
            stop.set()
        try:
            missing = await _hold(instance, export_id, taken)
            if not missing:
                missing = await _check(instance, taken)
        except BaseException:
            taken.discard()
            raise
        if not missing:
            return taken
        taken.discard()
        log.warning("contents are missing in an export", instance=instance.domain, count=len(missing))
        order = replace(order, missing=order.missing | missing)
    raise Unprocessed("The export cannot be made: contents vanish")


async def _hold(instance: Instance, export_id: str, taken: Snapshot) -> frozenset[str]:
    """Hold the large contents; gives those that are gone."""
    missing: set[str] = set()
    batch: list[Content] = []
    number = 0
    for content in taken.large_contents():
        batch.append(content)
        if len(batch) == _HELD_AT_ONCE:
            missing |= await instance.store.write(lambda tx, n=number, b=batch: parts.hold(tx, export_id, n, b))
            number, batch = number + 1, []
    if batch:
        missing |= await instance.store.write(lambda tx: parts.hold(tx, export_id, number, batch))
    return frozenset(missing)


async def _check(instance: Instance, taken: Snapshot) -> frozenset[str]:
    """Read all large contents for their CRC-32; gives those that cannot be read."""
    missing: set[str] = set()
    for part in taken.parts:
        for unchecked in part.unchecked():
            crc = size = 0
            try:
                async for piece in instance.contents.read(Content(unchecked.sha256, "", unchecked.size)):
                    crc = zlib.crc32(piece, crc)
                    size += len(piece)
            except NotFound:
                missing.add(unchecked.sha256)
                continue
            if size != unchecked.size:
                missing.add(unchecked.sha256)
                continue
            part.check(unchecked, crc)
    return frozenset(missing)


async def _finished(instance: Instance, part: snapshot.PartSpool) -> tuple[int, Received, Received]:
    """The size of a part, its skeleton and its map, received as contents."""
    skeleton, places = await asyncio.to_thread(part.close)
    try:
        return (
            part.position,
            await instance.contents.receive(spool.pieces(skeleton)),
            await instance.contents.receive(spool.pieces(places)),
        )
    finally:
        skeleton.close()
        places.close()
