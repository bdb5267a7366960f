"""The job that makes a zip file of some files (spec/02 §21, spec/07 §3.4)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from inglenook.files import tree
from inglenook.files.archive import Entry, stream_members
from inglenook.files.authorship import server_stamp
from inglenook.files.documents import ROOT_ID, Item, text
from inglenook.files.pdf_pages import asked_page
from inglenook.files.quota import check_room, quota_of, room
from inglenook.files.upload import Sent, create_file, new_file_body
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest, DomainError
from inglenook.kernel.names import check_name, conflict_name
from inglenook.storage.documents.contract import Reader, Writer

MOST_ENTRIES = 10_000
ZIP = "application/zip"


@dataclass(frozen=True, slots=True)
class ZipOrder:
    """What goes where: ids of files (and a page of a PDF, 0: all of it) by their path in the archive, the directory
    and the name of the archive."""

    files: dict[str, tuple[str, str]]
    dir_id: str
    filename: str

    @classmethod
    def read(cls, message: object) -> ZipOrder:
        """The order in the arguments of a job. Raises BadRequest, InvalidParameter (the name)."""
        arguments: dict[str, Any] = message if isinstance(message, dict) else {}
        listed = arguments.get("files")
        filename = text(arguments.get("filename"))
        if not isinstance(listed, dict) or not listed or len(listed) > MOST_ENTRIES:
            raise BadRequest("A zip job needs files, by their paths in the archive")
        check_name(filename)
        files: dict[str, tuple[str, str]] = {}
        for path, entry in listed.items():
            id, page = (entry.get("id"), entry.get("page")) if isinstance(entry, dict) else (entry, None)
            if not isinstance(id, str) or not path.strip("/"):
                raise BadRequest("A zip job needs the id of a file for each path in the archive")
            files[path.lstrip("/")] = (id, str(page) if page else "")
        return cls(files, text(arguments.get("dir_id")) or ROOT_ID, filename)


async def zip_files(instance: Instance, message: object) -> Item:
    """Make a zip file of the files that the arguments of a job name; a taken name gets a number.

    Raises BadRequest, InvalidParameter (name, page), NotFound (a file, or the directory), TooLarge (no room)."""
    order = ZipOrder.read(message)
    entries = await instance.store.read(lambda view: _entries(view, order))
    quota = quota_of(instance)
    most = await instance.store.read(lambda view: room(view, quota))
    received = await instance.contents.receive(stream_members(instance, _members(entries)), max_bytes=most)
    stamp, id = server_stamp(instance), instance.env.random.file_id()

    def write(tx: Writer) -> Item:
        check_room(tx, quota, received.size)
        body = new_file_body(order.filename, order.dir_id, Sent(mime=ZIP, klass="zip"), stamp)
        if tree.taken(tx, order.dir_id, order.filename):
            body["name"] = conflict_name(
                order.filename, is_file=True, taken=lambda name: tree.taken(tx, order.dir_id, name)
            )
        return create_file(tx, id, body, received)

    try:
        return await instance.store.write(write)
    except DomainError:
        await instance.contents.discard(received)
        raise


def _entries(view: Reader, order: ZipOrder) -> list[tuple[str, Entry]]:
    tree.find_directory(view, order.dir_id)
    found: list[tuple[str, Entry]] = []
    for path, (id, page) in order.files.items():
        item = tree.find_file(view, id)
        found.append((path, Entry(item, asked_page(page, item))))
    return found


async def _members(entries: Sequence[tuple[str, Entry]]) -> AsyncIterator[tuple[str, Entry]]:
    for entry in entries:
        yield entry
