"""Several files and directories as one zip archive, made while it is sent (spec/02 §15.7, §15.8).

Nothing is stored: members are compressed piece by piece in a thread, and a directory is read page by page.
"""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from inglenook.files import tree
from inglenook.files.antivirus import is_blocked
from inglenook.files.dates import whole_second
from inglenook.files.documents import FILES, Item
from inglenook.files.pdf_pages import asked_page, page_name, take_page
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest, InvalidParameter, NotFound
from inglenook.kernel.names import clean_path
from inglenook.storage.documents.contract import Reader

MOST_ENTRIES = 10_000
DEFAULT_NAME = "archive"
EMPTY = "Can't create an archive with no files"
SLASH = "The archive filename can't contain a /"
EARLIEST = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class ArchiveRequest:
    """What goes into an archive: ids, paths, and pages of PDF files. A list that was not sent is None."""

    name: str
    ids: list[str] | None
    files: list[str] | None
    pages: list[dict[str, Any]] | None

    @classmethod
    def read(cls, attributes: dict[str, Any]) -> ArchiveRequest:
        """The request in the attributes of a body. Raises BadRequest for members of another type."""
        name = attributes.get("name") or DEFAULT_NAME
        ids, files, pages = (attributes.get(member) for member in ("ids", "files", "pages"))
        if not (isinstance(name, str) and _texts(ids) and _texts(files) and _objects(pages)):
            raise BadRequest("JSON input is malformed or is missing mandatory fields")
        if len(ids or ()) + len(files or ()) + len(pages or ()) > MOST_ENTRIES:
            raise BadRequest("Too many entries in one archive")
        return cls(name, ids, files, pages)

    def to_json(self) -> dict[str, Any]:
        """The attributes as they are answered."""
        return {"name": self.name, "ids": self.ids, "files": self.files, "pages": self.pages}


@dataclass(frozen=True, slots=True)
class Entry:
    """A listed file or directory; `page` is that of a PDF of which only one page goes into the archive, else 0."""

    item: Item
    page: int = 0


def find_entries(view: Reader, request: ArchiveRequest) -> list[Entry]:
    """What is listed, in its order. Raises NotFound for an unknown item, BadRequest for a relative path, and
    InvalidParameter for a page of what is no PDF."""
    found = [Entry(tree.find(view, id)) for id in request.ids or ()]
    found += [Entry(tree.by_path(view, clean_path(path))) for path in request.files or ()]
    for page in request.pages or ():
        item = tree.find_file(view, str(page.get("id", "")))
        found.append(Entry(item, asked_page(str(page.get("page", "")), item) or 1))
    return found


async def stream_archive(instance: Instance, name: str, entries: Sequence[Entry]) -> AsyncIterator[bytes]:
    """The bytes of a zip archive with these items below a directory of its name."""
    async for piece in stream_members(instance, _members(instance, name, entries)):
        yield piece


async def stream_members(instance: Instance, members: AsyncIterator[tuple[str, Entry]]) -> AsyncIterator[bytes]:
    """The bytes of a zip archive with these members, each under its path; a directory has only its name."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
        async for path, entry in members:
            item = entry.item
            info = zipfile.ZipInfo(path + ("/" if item.is_directory else ""), _date(item))
            info.external_attr = (0o40755 if item.is_directory else 0o644) << 16
            if item.is_directory:
                archive.writestr(info, b"")
                continue
            info.compress_type = zipfile.ZIP_DEFLATED
            size, pieces = await _content_of(instance, entry)
            with archive.open(info, "w", force_zip64=size > zipfile.ZIP64_LIMIT // 2) as member:
                async for chunk in pieces:
                    await asyncio.to_thread(member.write, chunk)
                    if piece := sink.take():
                        yield piece
    yield sink.take()


async def _content_of(instance: Instance, entry: Entry) -> tuple[int, AsyncIterator[bytes]]:
    """The size and the bytes of a file or of its page. What the storage has lost, and a page that is not there, is
    empty: the rest of the archive is worth having."""
    content = await instance.store.read(lambda view: view.content(FILES, entry.item.id))
    if content is None:
        return 0, _what_is_left(_nothing())
    if not entry.page:
        return content.size, _what_is_left(instance.contents.read(content))
    try:
        page = await take_page(instance, content, entry.page)
    except (NotFound, InvalidParameter):
        return 0, _nothing()
    return page.size, page.pieces()


async def _what_is_left(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    with suppress(NotFound):
        async for piece in pieces:
            yield piece


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


async def _members(instance: Instance, name: str, entries: Sequence[Entry]) -> AsyncIterator[tuple[str, Entry]]:
    """Each entry with what is below it, a directory before what is in it. Below a directory, files that the antivirus
    blocks are left out."""
    for entry in entries:
        top = page_name(entry.item.name, entry.page) if entry.page else entry.item.name
        waiting = [(f"{name}/{top}" if top else name, entry.item)]
        while waiting:
            path, item = waiting.pop()
            yield path, Entry(item, entry.page)
            if not item.is_directory:
                continue
            after: tuple[str, str] | None = None
            while True:
                page = await instance.store.read(
                    lambda view, id=item.id, after=after: tree.children_page(
                        view, id, limit=tree.WALK_PAGE, start=after
                    )
                )
                for child in page.children:
                    if child.is_directory:
                        waiting.append((f"{path}/{child.name}", child))
                    elif not is_blocked(instance, child, "download"):
                        yield f"{path}/{child.name}", Entry(child)
                if page.next is None:
                    break
                after = (str(page.next.body["type"]), page.next.name)


class _Sink(io.RawIOBase):
    """Where the archive is written: a place that is emptied as soon as somebody takes what is in it."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._written += data
        return len(data)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = bytes(self._written)
        self._written.clear()
        return taken


def _date(item: Item) -> tuple[int, int, int, int, int, int]:
    moment = whole_second(item.updated_at)
    if moment.year < 1980 or moment.year > 2107:
        return EARLIEST
    return (moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)


def _texts(value: object) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(entry, str) for entry in value))


def _objects(value: object) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(entry, dict) for entry in value))
