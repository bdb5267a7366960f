"""The job that unpacks a zip file into a directory (spec/02 §21, spec/07 §3.4 and §15.41).

The names in an archive come from strangers: `..` leads nowhere, so that everything stays inside the destination. What
is there already with the same content is left as it is, so that a job that is run again goes on where it was.
"""

from __future__ import annotations

import asyncio
import zipfile
import zlib
from collections.abc import AsyncIterator
from typing import IO

from inglenook.files import tree
from inglenook.files.authorship import server_stamp
from inglenook.files.create_directory import NewDirectory, create_directory
from inglenook.files.dates import nanoseconds
from inglenook.files.documents import FILES, TRASH_ID, Item, members, text
from inglenook.files.extraction import HEAD_BYTES, extract, is_read
from inglenook.files.quota import check_room, quota_of, room
from inglenook.files.scratch import scratch_folder
from inglenook.files.stamps import Stamp
from inglenook.files.thumbnails import copy_to
from inglenook.files.tree import Lineage
from inglenook.files.upload import NOTHING_FOUND, Sent, create_file, new_file_body
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest, DomainError, NotFound
from inglenook.kernel.mime import class_of_mime, mime_of_name
from inglenook.kernel.names import conflict_name, is_name
from inglenook.storage.contents import Received
from inglenook.storage.documents.contract import Reader, Writer

MOST_ENTRIES = 100_000
PIECE = 256 * 1024
_DAMAGED = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError, OSError)


async def unzip_file(instance: Instance, message: object) -> int:
    """Unpack the archive `zip` into the directory `destination`, both named by their ids; gives how many files it has.

    A taken name gets `- conflict -` and the time. Raises BadRequest (the arguments; an archive that cannot be read,
    or is encrypted), NotFound, TooLarge (no room)."""
    arguments = members(message)
    id, destination = text(arguments.get("zip")), text(arguments.get("destination"))
    if not id or not destination:
        raise BadRequest("An unzip job needs a zip and a destination")

    def read(view: Reader) -> Item:
        directory = tree.find_directory(view, destination)
        if directory.id == TRASH_ID or Lineage(view).in_trash(directory):
            raise NotFound("Parent directory is in the trash")
        return tree.find_file(view, id)

    item = await instance.store.read(read)
    content = await instance.store.read(lambda view: view.content(FILES, item.id))
    if content is None:
        raise tree.missing()
    with scratch_folder(instance.env, "unzip-") as folder:
        source = folder / "source"
        await copy_to(instance, content, source)
        try:
            with zipfile.ZipFile(source) as archive:
                return await _unpack(instance, archive, destination)
        except _DAMAGED as error:
            raise BadRequest(f"The archive cannot be read: {error}") from error


async def _unpack(instance: Instance, archive: zipfile.ZipFile, destination: str) -> int:
    listed = archive.infolist()
    if len(listed) > MOST_ENTRIES:
        raise BadRequest(f"The archive has more than {MOST_ENTRIES} entries")
    stamp, count = server_stamp(instance), 0
    for info in listed:
        names = inside(info.filename)
        if not names:
            continue
        if info.is_dir():
            await instance.store.write(lambda tx, names=names: _directory(tx, destination, names, stamp))
            continue
        await _unpack_file(instance, archive, info, destination, names, stamp)
        count += 1
    return count


def inside(path: str) -> list[str]:
    """The names on the way of a member, of which none leads up or out; what no file can be called is left out."""
    cleaned = path.encode("utf-8", "ignore").decode()
    for character in "\0\r\n":
        cleaned = cleaned.replace(character, "")
    return [name for name in cleaned.split("/") if is_name(name)]


async def _unpack_file(
    instance: Instance,
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    destination: str,
    names: list[str],
    stamp: Stamp,
) -> None:
    quota = quota_of(instance)
    most = await instance.store.read(lambda view: room(view, quota))
    head = bytearray()
    with archive.open(info) as member:
        received = await instance.contents.receive(_pieces(member, head), max_bytes=most)
    name, mime, date = names[-1], mime_of_name(names[-1]), _date(info)
    found = NOTHING_FOUND
    if is_read(mime):
        found = await extract(mime, bytes(head), date or stamp.now, instance.url())
    sent = Sent(mime=mime, klass=class_of_mime(mime), created_at=date, updated_at=date)
    id = instance.env.random.file_id()

    def write(tx: Writer) -> bool:
        parent = _directory(tx, destination, names[:-1], stamp)
        there = tree.child(tx, parent.id, name)
        if there is not None and there.is_file and _is_same(there, received):
            return False
        check_room(tx, quota, received.size)
        free = name if there is None else _conflict(tx, parent.id, name, stamp)
        create_file(tx, id, new_file_body(free, parent.id, sent, stamp), received, found=found)
        return True

    try:
        used = await instance.store.write(write)
    except DomainError:
        await instance.contents.discard(received)
        raise
    if not used:
        await instance.contents.discard(received)


def _directory(tx: Writer, destination: str, names: list[str], stamp: Stamp) -> Item:
    """The directory below the destination, made with all that is missing above it; where a file is in the way, one
    beside it."""
    current = tree.find_directory(tx, destination)
    for name in names:
        below = tree.child(tx, current.id, name)
        if below is not None and below.is_file:
            name = f"{name} - folder"
            below = tree.child(tx, current.id, name)
        if below is None:
            below = create_directory(tx, NewDirectory(name, current.id), stamp, with_origin=False)
        current = below
    return current


def _is_same(there: Item, received: Received) -> bool:
    return there.size == received.size and there.md5sum == received.content.md5


def _conflict(tx: Writer, dir_id: str, name: str, stamp: Stamp) -> str:
    seconds = (nanoseconds(stamp.now) or 0) // 1_000_000_000
    tried = f"{name} - conflict - {seconds}"
    if not tree.taken(tx, dir_id, tried):
        return tried
    return conflict_name(tried, is_file=False, taken=lambda other: tree.taken(tx, dir_id, other))


async def _pieces(member: IO[bytes], head: bytearray) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(member.read, PIECE):
        if len(head) < HEAD_BYTES:
            head += piece[: HEAD_BYTES - len(head)]
        yield piece


def _date(info: zipfile.ZipInfo) -> str:
    """The date of a member as RFC 3339; an archive does not say of which zone it is."""
    year, month, day, hour, minute, second = info.date_time
    date = f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{min(second, 59):02d}Z"
    return date if nanoseconds(date) is not None else ""
