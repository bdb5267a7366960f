"""The state of an instance at one moment, as the parts of an export (spec/12 §1–§4, §11).

All is read in one consistent view: documents, directories, files, versions, in the order that is part of the format.
What lives in the database goes into the skeleton of its part; contents in the blob store are named only, and are held
by the export as long as it is kept, so that each download of a part gives the same bytes.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import quote

import msgspec

from inglenook.documents import attachments
from inglenook.files import tree
from inglenook.files.documents import FILES, ROOT_ID, TRASH_ID, VERSIONS, Item, size_of
from inglenook.files.thumbnails import THUMBNAILS
from inglenook.files.tree import Lineage
from inglenook.identity.instance import SETTINGS
from inglenook.identity.public_routes import AVATAR
from inglenook.identity.sessions import moment
from inglenook.moving import pictures
from inglenook.moving.exports import EXPORTS, Counts
from inglenook.moving.layout import CONTENTS, DATA, INSTANCE, MANIFEST
from inglenook.moving.zip_writing import PartSpool
from inglenook.sharing import steps
from inglenook.sharing.tracking import SHARED
from inglenook.storage.documents.contract import Body, Content, Document, Reader

TRACKING = "io.cozy.shared"
STEPS = "io.cozy.sharings.steps"
"""What waits to be told to members (`sharing.steps`), which goes with a move."""
IMPORTS = "io.cozy.imports"

LIVE_SECRETS = frozenset({"io.cozy.sessions", "io.cozy.sessions.logins", "io.cozy.oauth.access_codes"})
LEFT_OUT = frozenset({*LIVE_SECRETS, EXPORTS, IMPORTS, THUMBNAILS, TRACKING, STEPS})
"""Doctypes that no export has; the tracking of sharings is written from where it is kept."""

JOBS = "io.cozy.jobs"
CLIENTS = "io.cozy.oauth.clients"
SHARINGS = "io.cozy.sharings"
_SECRET_MEMBERS = {
    CLIENTS: ("client_secret", "registration_access_token", "notification_device_token"),
    SHARINGS: ("credentials",),
}
_OWN_JOBS = ("export", "import", "sendmail")
_PAGE = 200
_KNOWN_DIRECTORIES = 20_000
_MOST_LEFT_OUT = 1000
_HELD = msgspec.msgpack.Encoder()


class Stopped(Exception):
    """The snapshot was given up."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a snapshot is made of. `entry` is the text of `instance.json`, `moment` the time of documents, `missing` the
    SHA-256 of contents that the storage has lost. `one_part`: whatever its size, all goes into one part."""

    entry: bytes
    moment: datetime
    part_size: int
    doctypes: frozenset[str]
    secrets: bool
    software: str
    missing: frozenset[str] = frozenset()


@dataclass(slots=True)
class Snapshot:
    """The parts, not closed yet, with the cursor of each after the first, and the large contents they need."""

    parts: list[PartSpool]
    cursors: list[str] = field(default_factory=list[str])
    counts: Counts = field(default_factory=Counts)
    contents: IO[bytes] | None = None

    def large_contents(self) -> Iterator[Content]:
        """The contents to be held, each once for each time that it occurs."""
        if self.contents is None:
            return
        self.contents.seek(0)
        for line in self.contents:
            yield msgspec.json.decode(line, type=Content)

    def discard(self) -> None:
        """Throw everything away."""
        for part in self.parts:
            part.discard()
        if self.contents is not None:
            self.contents.close()


def take(view: Reader, order: Order, folder: Path, stop: threading.Event) -> Snapshot:
    """Read an instance; temporary files go to a folder. Raises Stopped, OSError."""
    maker = _Maker(view, order, folder, stop)
    try:
        maker.make()
    except BaseException:
        maker.snapshot.discard()
        raise
    return maker.snapshot


class _Maker:
    def __init__(self, view: Reader, order: Order, folder: Path, stop: threading.Event) -> None:
        self._view = view
        self._order = order
        self._folder = folder
        self._stop = stop
        self._lineage = Lineage(view)
        self._walked = 0
        self._sizes: list[int] = [0]  # bytes of contents of each part
        self._listed: IO[bytes] = cast("IO[bytes]", tempfile.TemporaryFile(dir=folder))  # noqa: SIM115 -- lives as long as the snapshot
        self.snapshot = Snapshot([PartSpool(folder)])
        self.snapshot.contents = cast("IO[bytes]", tempfile.TemporaryFile(dir=folder))  # noqa: SIM115 -- lives as long as the snapshot

    def make(self) -> None:
        try:
            self._first.add(INSTANCE, self._order.entry, self._order.moment)
            for doctype in sorted(self._doctypes(), key=_database_name):
                self._documents(doctype)
            if self._wanted(TRACKING):
                self._records(SHARED, TRACKING)
            if self._order.secrets and self._wanted(STEPS):
                self._records(steps.KIND, STEPS)
            if self._wanted(FILES):
                self._directories()
                self._files()
            if self._wanted(VERSIONS):
                self._versions()
            if self._wanted(SETTINGS):
                self._picture()
            self._manifest()
        finally:
            self._listed.close()

    @property
    def _first(self) -> PartSpool:
        return self.snapshot.parts[0]

    @property
    def _current(self) -> PartSpool:
        return self.snapshot.parts[-1]

    def _wanted(self, doctype: str) -> bool:
        return not self._order.doctypes or doctype in self._order.doctypes

    def _doctypes(self) -> list[str]:
        apart = (FILES, VERSIONS)
        return [
            name for name in self._view.doctypes() if name not in LEFT_OUT and name not in apart and self._wanted(name)
        ]

    # -- documents

    def _documents(self, doctype: str) -> None:
        for document in self._all(doctype):
            raw = self._shown(document) if document.id != AVATAR else None
            if raw is not None and not document.id.startswith("_design/"):
                self._first.add(_document_name(doctype, document.id), raw, self._order.moment)
                self.snapshot.counts.count(doctype, len(raw))

    def _all(self, doctype: str) -> Iterator[Document]:
        start = ""
        while True:
            page = self._view.all_docs(doctype, start=start, limit=_PAGE)
            for document in page:
                if self._stop.is_set():
                    raise Stopped
                yield document
            if len(page) < _PAGE:
                return
            start = page[-1].id + "\0"

    def _shown(self, document: Document) -> bytes | None:
        """The text of a document as it leaves, None when it stays."""
        if document.doctype == JOBS and document.body.get("worker") in _OWN_JOBS:
            return None
        secret = _SECRET_MEMBERS.get(document.doctype)
        if secret and not self._order.secrets:
            kept = {name: value for name, value in document.body.items() if name not in secret}
            return _text(document.id, document.rev, msgspec.json.encode(kept))
        return _text(document.id, document.rev, attachments.inlined(self._view, document).raw)

    def _records(self, kind: str, doctype: str) -> None:
        """Records leave as the documents of a doctype."""
        start = ""
        while page := self._view.records(kind, start=start, limit=_PAGE):
            for record in page:
                rev = f"1-{hashlib.md5(record.raw, usedforsecurity=False).hexdigest()}"
                raw = _text(record.id, rev, record.raw)
                self._first.add(_document_name(doctype, record.id), raw, self._order.moment)
                self.snapshot.counts.count(doctype, len(raw))
            start = page[-1].id + "\0"

    # -- files

    def _directories(self) -> None:
        """From the root down, a parent before what is in it, the trash last."""
        root = tree.get(self._view, ROOT_ID)
        if root is None:
            return
        self._directory(root, "/")
        self._below(ROOT_ID, "")
        trash = tree.get(self._view, TRASH_ID)
        if trash is not None:
            self._directory(trash, "/" + trash.name)
            self._below(TRASH_ID, "/" + trash.name)

    def _below(self, id: str, path: str) -> None:
        waiting = [(tree.children(self._view, id, "directory"), path)]
        while waiting:
            children, above = waiting[-1]
            child = next(children, None)
            if child is None or len(waiting) > tree.MAX_DEPTH:
                waiting.pop()
                continue
            own = f"{above}/{child.name}"
            self._directory(child, own)
            waiting.append((tree.children(self._view, child.id, "directory"), own))

    def _directory(self, item: Item, path: str) -> None:
        if self._stop.is_set():
            raise Stopped
        raw = _text(item.id, item.rev, item.raw, path=path)
        self._first.add(_document_name(FILES, item.id), raw, self._order.moment)
        self.snapshot.counts.count(FILES, len(raw))

    def _files(self) -> None:
        for document in self._all(FILES):
            item = Item.of(document)
            if not item.is_file:
                continue
            self._walked += 1
            if self._walked % _KNOWN_DIRECTORIES == 0:
                self._lineage.forget()
            path = self._lineage.path(item)
            if path is None:
                self._leave_out(f"{FILES}/{item.id}")
                continue
            executable = item.body.get("executable") is True
            self._with_content(document, f"{CONTENTS}{path[1:]}", item.updated_at, executable=executable)

    def _versions(self) -> None:
        for document in self._all(VERSIONS):
            self._with_content(document, CONTENTS + document.id, str(document.body.get("updated_at", "")))

    def _with_content(self, document: Document, place: str, date: str, *, executable: bool = False) -> None:
        """A document and its content: they are never in different parts, and nothing comes between them."""
        doctype, size = document.doctype, size_of(document.body)
        self._make_room(size, f"{doctype}/{document.id}")
        when = moment(date) or self._order.moment
        raw = _text(document.id, document.rev, document.raw)
        self._current.add(_document_name(doctype, document.id), raw, when)
        self.snapshot.counts.count(doctype, len(raw))
        content = self._view.content(doctype, document.id)
        if content is None or content.sha256 in self._order.missing:
            self._leave_out(place)
            return
        data = self._view.content_bytes(content.sha256)
        if data is not None:
            self._current.add(place, data, when, executable=executable)
        else:
            self._current.add_large(place, content, when, executable=executable)
            assert self.snapshot.contents is not None
            self.snapshot.contents.write(msgspec.json.encode(content) + b"\n")
        self._sizes[-1] += size
        self.snapshot.counts.files += 1
        self.snapshot.counts.files_size += content.size
        entry = {"doctype": doctype, "id": document.id, "size": content.size, "sha256": content.sha256}
        self._listed.write(msgspec.json.encode(entry) + b"\n")

    def _picture(self) -> None:
        """The picture of the owner, in the first part."""
        found = pictures.of(self._view)
        if found is None or found[1].sha256 in self._order.missing:
            return
        document, content = found
        place, data = pictures.entry_name(document), self._view.content_bytes(content.sha256)
        if data is not None:
            self._first.add(place, data, self._order.moment)
            return
        self._first.add_large(place, content, self._order.moment)
        assert self.snapshot.contents is not None
        self.snapshot.contents.write(msgspec.json.encode(content) + b"\n")

    def _make_room(self, size: int, cursor: str) -> None:
        if self._sizes[-1] and self._sizes[-1] + size > self._order.part_size:
            self.snapshot.parts.append(PartSpool(self._folder))
            self.snapshot.cursors.append(cursor)
            self._sizes.append(0)

    def _leave_out(self, what: str) -> None:
        if len(self.snapshot.counts.left_out) < _MOST_LEFT_OUT:
            self.snapshot.counts.left_out.append(what)

    # -- the manifest

    def _manifest(self) -> None:
        """The last entry of the first part: what is in the export, for whoever checks it."""
        counts = self.snapshot.counts
        cursors = ["", *self.snapshot.cursors]
        head: dict[str, Any] = {
            "format": 1,
            "software": self._order.software,
            "created_at": self._order.moment.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "doctypes": {
                name: {"count": count, "size": size} for name, (count, size) in sorted(counts.by_doctype.items())
            },
            "parts": [
                {"cursor": cursor, "contents_size": size} for cursor, size in zip(cursors, self._sizes, strict=True)
            ],
            "files_count": counts.files,
            "files_size": counts.files_size,
            "left_out": counts.left_out,
        }
        with self._first.open(MANIFEST, self._order.moment) as entry:
            entry.write(msgspec.json.encode(head)[:-1] + b',"contents":[')
            self._listed.seek(0)
            comma = b""
            for line in self._listed:
                entry.write(comma + line.rstrip(b"\n"))
                comma = b","
            entry.write(b"]}")


def _text(id: str, rev: str, raw: bytes, **more: str) -> bytes:
    """The JSON text of a document with its `_id` and `_rev`, the body's text as it is stored."""
    head = msgspec.json.encode({"_id": id, "_rev": rev, **more})
    return head if raw == b"{}" else head[:-1] + b"," + raw[1:]


def _document_name(doctype: str, id: str) -> str:
    """The name of a document's entry; the id is taken as a path, as the format has it."""
    inside = posixpath.normpath(f"/{id}.json").lstrip("/")
    return f"{DATA}{quote(doctype, safe='')}/{inside}"


def _database_name(doctype: str) -> str:
    return re.sub(r"\W", "-", doctype)


def entry_of_instance(id: str, rev: str, public: Body) -> bytes:
    """The text of `instance.json`, from the registry's document without its secrets."""
    body = {name: value for name, value in public.items() if name not in ("deleting", "created_at")}
    return msgspec.json.encode({"_id": id, "_rev": rev, **body})
