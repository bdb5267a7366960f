"""Looking through a whole archive before anything is changed (spec/12 §11, "validation first").

What is wrong with the archive itself, or with the bytes of a file, refuses it. What loses nothing, or was lost before
the archive was made, becomes a remark.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from inglenook.files.documents import FILES, ROOT_ID, TRASH_ID, VERSIONS, size_of
from inglenook.kernel.errors import BadRequest, OutOfSpace, TooLarge
from inglenook.moving.items import Items
from inglenook.moving.policy import APPS, Newcomer
from inglenook.moving.summary import Summary
from inglenook.moving.units import Parts, Unit, Unread, text_member

ROOM_LEFT = 64 * 1024 * 1024
"""Bytes that stay free on the disk."""

DOCUMENTS_TOLD = 500
"""After so many documents without contents the progress is told."""

_FAULTS_TOLD = 5


class Refused(BadRequest):
    """The archive is not taken in; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may be taken in: bytes of the quota (0: no limit), and the folder on whose disk they will be. `partial`:
    files whose bytes are not right are left out, instead of refusing everything."""

    quota: int
    folder: Path
    partial: bool = False


class Checker:
    """One check, to be run in a thread by `run`; then `summary`, `slugs` and `total` tell what was found."""

    def __init__(self, parts: Parts, items: Items, to: Newcomer, bounds: Bounds, stop: threading.Event) -> None:
        self.summary = Summary()
        self.slugs: list[str] = []
        self.total = 0
        self._parts = parts
        self._items = items
        self._to = to
        self._bounds = bounds
        self._stop = stop
        self._faults: list[str] = []
        self._bad = 0

    def run(self, progress: Callable[[int, int], None]) -> None:
        """Check everything; `progress` is told the bytes and the documents looked at.

        Raises Refused, BadArchive, TooLarge, OutOfSpace."""
        self._check_sizes()
        done = 0
        for looked_at, unit in enumerate(self._parts.units(bool), 1):
            if self._stop.is_set():
                raise Refused("The import was interrupted")
            self._look_at(unit)
            if isinstance(unit, Unit) and unit.content is not None:
                done += unit.content.size
                progress(done, looked_at)
            elif looked_at % DOCUMENTS_TOLD == 0:
                progress(done, looked_at)
        if self._bad:
            more = f" and {self._bad - len(self._faults)} more" if self._bad > len(self._faults) else ""
            raise Refused(f"The archive is damaged: {'; '.join(self._faults)}{more}")
        for id, reason in self._items.settle():
            self.summary.remark(FILES, id, reason, path=self._items.path(id))

    def _check_sizes(self) -> None:
        """By what the directory of the archive says, which the entries are held to when they are read."""
        packed = 0
        for _, entry in self._parts.everything():
            self.total += entry.size
            packed += entry.packed
            if self._stop.is_set():
                raise Refused("The import was interrupted")
        free = shutil.disk_usage(self._bounds.folder).free
        if self.total + ROOM_LEFT > free:
            raise OutOfSpace(f"There is no room for the archive: it needs {self.total} bytes, {free} are free")

    def _look_at(self, unit: Unit | Unread) -> None:
        summary = self.summary
        summary.count("found", unit.doctype)
        if isinstance(unit, Unread):
            summary.remark(unit.doctype, unit.id, unit.reason, lost=True)
            return
        match unit.doctype:
            case "io.cozy.files":
                self._file_or_directory(unit)
            case "io.cozy.files.versions":
                self._version(unit)
            case "io.cozy.sharings" if self._to.moves:
                self._sharing(unit)
            case doctype if doctype in APPS:
                slug = unit.id.rpartition("/")[2]
                if slug and slug not in self.slugs and len(self.slugs) < 1000:
                    self.slugs.append(slug)
            case _:
                pass

    def _file_or_directory(self, unit: Unit) -> None:
        body = unit.body
        if unit.id in (ROOT_ID, TRASH_ID):
            return
        dir_id, name = text_member(body, "dir_id") or ROOT_ID, text_member(body, "name")
        match body.get("type"):
            case "directory":
                raw = msgspec.json.encode({"_rev": unit.rev, **body})
                if not self._items.add_directory(unit.id, dir_id, name, raw):
                    self._lose(unit, "its id is there twice")
            case "file":
                if self._content_is_right(unit) and not self._items.add_file(unit.id, dir_id, name):
                    self._lose(unit, "its id is there twice")
            case _:
                self._lose(unit, "it is neither a file nor a directory")

    def _version(self, unit: Unit) -> None:
        file_id, slash, rest = unit.id.partition("/")
        if not slash or not rest or not self._items.has_file(file_id):
            self._lose(unit, "its file is not in the archive")
        elif self._content_is_right(unit) and not self._items.add_version(unit.id):
            self._lose(unit, "its id is there twice")

    def _content_is_right(self, unit: Unit) -> bool:
        if unit.content is None:
            self._lose(unit, "its content is not in the archive")
            return False
        digest = hashlib.md5(usedforsecurity=False)
        size = 0
        for piece in unit.reader.pieces(unit.content):
            if self._stop.is_set():
                raise Refused("The import was interrupted")
            digest.update(piece)
            size += len(piece)
        md5 = base64.b64encode(digest.digest()).decode()
        if size != size_of(unit.body) or md5 != text_member(unit.body, "md5sum"):
            self._fault(unit, "its content is not the one that its document tells of")
            return False
        self.summary.files_size += size
        if self._bounds.quota and self.summary.files_size > self._bounds.quota:
            raise TooLarge("The archive is too big and exceeds the disk quota")
        return True

    def _fault(self, unit: Unit, reason: str) -> None:
        self._lose(unit, reason)
        if not self._bounds.partial:
            self._bad += 1
            if len(self._faults) < _FAULTS_TOLD:
                self._faults.append(f"{unit.content.name if unit.content else unit.id}: {reason}")

    def _lose(self, unit: Unit, reason: str) -> None:
        """Tell of a file, directory or version that cannot be taken in, and where it was."""
        if unit.doctype == VERSIONS:
            path = self._items.path(unit.id.partition("/")[0])
        else:
            above = self._items.path(text_member(unit.body, "dir_id"))
            path = f"{above}/{text_member(unit.body, 'name')}"
        self.summary.remark(unit.doctype, unit.id, reason, path=path, lost=True)

    def _sharing(self, unit: Unit) -> None:
        credentials = unit.body.get("credentials")
        for entry in credentials if isinstance(credentials, list) else ():
            if isinstance(entry, dict) and isinstance(entry.get("inbound_client_id"), str):
                self._items.want_client(entry["inbound_client_id"])
