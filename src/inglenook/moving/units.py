"""What an archive of an export has in it, one document after the other, each with its content (spec/12 §2, §12).

Content is known by its place alone: it is the entry behind the document of its file or version. Nothing is believed
but that; the paths inside the archive are never used as paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from inglenook.documents.bodies import read_document
from inglenook.files.documents import FILES, VERSIONS
from inglenook.kernel.doctypes import is_name
from inglenook.kernel.errors import DomainError
from inglenook.moving.layout import CONTENTS, DATA, INSTANCE
from inglenook.moving.zip_reading import BadArchive, Entry, ZipReader
from inglenook.storage.documents.contract import Body

MAX_DOCUMENT = 20_000_000  # bytes of text: of the largest body, with the largest attachments in base64


@dataclass(frozen=True, slots=True)
class Unit:
    """A document of an archive. `rev` is empty when it has none; `size` is the length of its text; `attachments` are
    its own with their bytes (spec/01 §1.7); `content` is the entry behind it, of files and versions."""

    doctype: str
    id: str
    rev: str
    body: Body
    attachments: Body | None
    size: int
    content: Entry | None
    reader: ZipReader


@dataclass(frozen=True, slots=True)
class Unread:
    """A document that cannot be read."""

    doctype: str
    id: str
    reason: str


class Parts:
    """The parts of an export on the local disk, in the order of their numbers."""

    def __init__(self, paths: list[Path]) -> None:
        """Open them. Raises BadArchive, OSError."""
        self._readers: list[ZipReader] = []
        try:
            for path in paths:
                self._readers.append(ZipReader(path))
            self._readers.sort(key=lambda reader: not _has_instance(reader))
        except BaseException:
            self.close()
            raise
        if not self._readers or not _has_instance(self._readers[0]):
            self.close()
            raise BadArchive("This is no export of an instance, or its first part is missing")

    def close(self) -> None:
        """Close them."""
        for reader in self._readers:
            reader.close()

    def units(self, wanted: Callable[[str], bool]) -> Iterator[Unit | Unread]:
        """The documents of the doctypes that are wanted. The content of one must be read before the next is asked for.

        Raises BadArchive."""
        for reader in self._readers:
            waiting: Entry | None = None
            for entry in reader.entries():
                if waiting is not None:
                    content = entry if entry.name.startswith(CONTENTS) else None
                    yield _unit(reader, waiting, content)
                waiting = entry if wanted(_doctype_of(entry.name)) else None
            if waiting is not None:
                yield _unit(reader, waiting, None)

    def first(self) -> Iterator[tuple[ZipReader, Entry]]:
        """All entries of the first part. Raises BadArchive."""
        for entry in self._readers[0].entries():
            yield self._readers[0], entry

    def everything(self) -> Iterator[tuple[ZipReader, Entry]]:
        """All entries. Raises BadArchive."""
        for reader in self._readers:
            for entry in reader.entries():
                yield reader, entry


def _has_instance(reader: ZipReader) -> bool:
    return any(entry.name == INSTANCE for entry in reader.entries())


def _doctype_of(name: str) -> str:
    """The doctype of an entry, empty for what is no document."""
    if not name.startswith(DATA):
        return ""
    folder, slash, rest = name.removeprefix(DATA).partition("/")
    return unquote(folder) if slash and rest.endswith(".json") else ""


def _unit(reader: ZipReader, entry: Entry, content: Entry | None) -> Unit | Unread:
    doctype = _doctype_of(entry.name)
    folder_and_id = entry.name.removeprefix(DATA).removesuffix(".json")
    path_id = folder_and_id.partition("/")[2]
    if not is_name(doctype):
        return Unread(doctype[:200], path_id, "this is no name of a doctype")
    if entry.size > MAX_DOCUMENT:
        return Unread(doctype, path_id, "the document is too large")
    raw = reader.read(entry, MAX_DOCUMENT)
    try:
        read = read_document(raw)
    except DomainError as error:
        return Unread(doctype, path_id, f"the document cannot be read: {error.detail}")
    except RecursionError:
        return Unread(doctype, path_id, "the document cannot be read")
    id = read.id or path_id
    if read.deleted or not id or id.startswith("_") or len(id.encode()) > 1024 or "\0" in id:
        return Unread(doctype, path_id, "the document has no id that can be used")
    holds = doctype == VERSIONS or (doctype == FILES and read.body.get("type") == "file")
    return Unit(doctype, id, read.rev or "", read.body, read.attachments, len(raw), content if holds else None, reader)


def text_member(body: Body, name: str) -> str:
    """A member of a body that is a text, else empty."""
    value: Any = body.get(name)
    return value if isinstance(value, str) else ""
