"""The changes feed of files, with paths and filters that `/data` does not have (spec/02 §14.8).

`seen_from` narrows it to one directory, as a shared drive shows it: everything else looks deleted (spec/06 §8).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace

import msgspec

from inglenook.documents import sequences
from inglenook.documents.presenting import project
from inglenook.files.documents import FILES, ROOT_ID, TRASH_ID, Item
from inglenook.files.left_out import is_left_out
from inglenook.files.tree import Lineage
from inglenook.kernel.errors import BadRequest
from inglenook.storage.documents.contract import Body, Document, DocumentStore, FeedEntry, Reader

PAGE = 200
MOST = 10_000
PARAMETERS = frozenset(
    {"since", "limit", "include_docs", "fields", "include_file_path", "skip_deleted", "skip_trashed"}
)
_DESIGN = "_design/"
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """What a feed was asked for. `since` None: from now on; `limit` 0: no limit; `fields` empty: whole documents."""

    since: int | None = 0
    limit: int = 0
    include_docs: bool = False
    fields: tuple[str, ...] = ()
    with_paths: bool = False
    skip_deleted: bool = False
    skip_trashed: bool = False

    @classmethod
    def read(cls, query: Mapping[str, str]) -> FeedOptions:
        """The options in a query string. Raises BadRequest."""
        for name in query:
            if name not in PARAMETERS:
                raise BadRequest(f"Unsupported query parameter '{name}'")
        limit = query.get("limit", "")
        digits = limit.removeprefix("-").removeprefix("+")
        if limit and not (digits.isascii() and digits.isdigit() and len(digits) < 16):
            raise BadRequest(f"Invalid limit value '{limit}': it is not an integer")
        options = cls(
            since=sequences.decode(query.get("since", "")),
            limit=min(max(int(limit or 0), 0), MOST),
            include_docs=query.get("include_docs") == "true",
            fields=tuple(name for name in query.get("fields", "").split(",") if name),
            with_paths="include_file_path" in query,
            skip_deleted="skip_deleted" in query,
            skip_trashed="skip_trashed" in query,
        )
        if (options.with_paths or options.skip_trashed) and not options.include_docs:
            raise BadRequest("Invalid options: include_docs should be set to true")
        if options.fields and (options.with_paths or options.skip_trashed):
            added = tuple(name for name in ("type", "name", "dir_id") if name not in options.fields)
            shown = ("path",) if options.with_paths and "path" not in options.fields else ()
            return replace(options, fields=(*options.fields, *added, *shown))
        return options


@dataclass(frozen=True, slots=True)
class SeenFrom:
    """The drive through which a feed is read: the directory or file that it shares, and the id of the sharing.

    Of a shared file only its own changes are told (spec/06 §8)."""

    root_id: str
    drive_id: str
    is_file: bool = False


class FilesFeed:
    """One reading of the feed: pages of rows; then `last_seq` and `pending` end the answer."""

    def __init__(self, options: FeedOptions, *, client_id: str = "", seen_from: SeenFrom | None = None) -> None:
        self.options = replace(options, include_docs=True) if seen_from else options
        self.done = False
        self.last_seq = 0
        self.pending = 0
        self._client_id = client_id
        self._seen_from = seen_from
        self._at = options.since
        self._read = 0

    def page(self, view: Reader) -> list[bytes]:
        """The JSON text of the next rows; an empty page does not mean the end, `done` does."""
        options, current = self.options, view.status(FILES).last_seq
        at = current if self._at is None else self._at
        size = min(PAGE, options.limit - self._read) if options.limit else PAGE
        entries = view.changes(FILES, since=at, limit=size)
        documents = view.get_many(FILES, [entry.id for entry in entries]) if options.include_docs else []
        lineage = Lineage(view)
        rows: list[bytes] = []
        for position, entry in enumerate(entries):
            self._read += 1
            at = entry.seq
            if self._is_told(entry.id):
                row = self._row(lineage, entry, documents[position] if documents else None)
                if row is not None:
                    rows.append(row)
        self._at = at
        full = bool(options.limit) and self._read >= options.limit
        if full or len(entries) < size:
            self.done = True
            self.last_seq = at if full else max(current, at)
            self.pending = view.pending(FILES, at) if full else 0
        return rows

    def _is_told(self, id: str) -> bool:
        if self._seen_from is None:
            return not id.startswith(_DESIGN)
        if self._seen_from.is_file:
            return id == self._seen_from.root_id
        return id != ROOT_ID and not id.startswith(_DESIGN)

    def _row(self, lineage: Lineage, entry: FeedEntry, document: Document | None) -> bytes | None:
        if entry.deleted:
            if self.options.skip_deleted:
                return None
            return _line(entry, self._projected({"_id": entry.id, "_rev": entry.rev, "_deleted": True}), deleted=True)
        if document is None:
            return _line(entry, None)
        item = Item.of(document)
        if self._is_hidden(lineage, item):
            if self.options.skip_deleted:
                return None
            return _line(entry, {"_id": entry.id, "_rev": entry.rev, "_deleted": True}, deleted=True)
        if self.options.skip_trashed and _is_trashed(lineage, item):
            return None
        with_path = self.options.with_paths or self._seen_from is not None
        shown = lineage.with_any_path(item) if with_path else lineage.with_path(item)
        whole: Body = {"_id": entry.id, "_rev": entry.rev, **shown}
        if self._seen_from is not None:
            whole["driveId"] = self._seen_from.drive_id
        return _line(entry, self._projected(whole))

    def _is_hidden(self, lineage: Lineage, item: Item) -> bool:
        if self._client_id and is_left_out(lineage, self._client_id, item):
            return True
        seen_from = self._seen_from
        return seen_from is not None and not seen_from.is_file and not lineage.below(item, seen_from.root_id)

    def _projected(self, whole: Body) -> Body | None:
        if not self.options.include_docs:
            return None
        return project(whole, self.options.fields) if self.options.fields else whole


async def answer(store: DocumentStore, feed: FilesFeed) -> AsyncIterator[bytes]:
    """The JSON text of a feed, piece by piece."""
    rows = await store.read(feed.page)
    sent = bool(rows)
    yield b'{"results":[' + b",".join(rows)
    while not feed.done:
        if rows := await store.read(feed.page):
            yield (b"," if sent else b"") + b",".join(rows)
            sent = True
    yield b'],"last_seq":"%b","pending":%d}\n' % (sequences.encode(feed.last_seq).encode(), feed.pending)


def _is_trashed(lineage: Lineage, item: Item) -> bool:
    return item.id == TRASH_ID or item.trashed or (item.is_directory and lineage.in_trash(item))


def _line(entry: FeedEntry, document: Body | None, *, deleted: bool = False) -> bytes:
    return b'{"id":%b,"seq":"%b","doc":%b,%b"changes":[{"rev":"%b"}]}' % (
        _encode(entry.id),
        sequences.encode(entry.seq).encode(),
        _encode(document),
        b'"deleted":true,' if deleted else b"",
        entry.rev.encode(),
    )
