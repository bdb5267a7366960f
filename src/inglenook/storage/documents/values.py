"""What a store gives and takes, as plain values: documents, journal entries, indexes, records, contents."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

Body = dict[str, Any]
Verb = Literal["CREATED", "UPDATED", "DELETED"]

REVISION_LIMIT = 1000  # revisions remembered per branch (spec/01 §2.3)
MAX_DOCUMENT_BYTES = 8_000_000  # spec/01 §2.9
MAX_DOCUMENT_DEPTH = 500  # arrays and objects in each other; far from where reading it would fail


class Document:
    """One revision of a document, as stored.

    `raw` is the JSON text of the body, without the members that start with an underscore but `_attachments` (stubs,
    see `documents.attachments`); `body` is the same, decoded at the first use (change it only through a store).
    `seq` is the sequence of the document's last change, 0 when the document was not read from the winner's place.
    """

    __slots__ = ("_body", "deleted", "doctype", "id", "raw", "rev", "seq")

    def __init__(
        self,
        doctype: str,
        id: str,
        rev: str,
        raw: bytes,
        *,
        deleted: bool = False,
        seq: int = 0,
        body: Body | None = None,
    ) -> None:
        self.doctype = doctype
        self.id = id
        self.rev = rev
        self.raw = raw
        self.deleted = deleted
        self.seq = seq
        self._body = body

    @property
    def body(self) -> Body:
        """The decoded body."""
        if self._body is None:
            self._body = msgspec.json.decode(self.raw)
        return self._body

    def __repr__(self) -> str:
        return f"Document({self.doctype}/{self.id} {self.rev}{' deleted' if self.deleted else ''})"


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One committed document write.

    `rev` is the revision that was written, which is not the winner when a conflict was lost. `verb` tells what became
    of the document: DELETED when it is a tombstone now, CREATED when it was none or a tombstone before.
    `last_body` is the JSON text of the last live body, kept for deletions only (what is told of a deletion is
    the content that went away, spec/01 §14). `origin` says on whose behalf the transaction wrote (see `Writer`).
    """

    seq: int
    doctype: str
    id: str
    rev: str
    verb: Verb
    origin: str
    last_body: bytes | None


@dataclass(frozen=True, slots=True)
class Change:
    """What a hook is shown inside the writing transaction.

    `old` is the winner before the write (a tombstone is None), `new` the winner after it, which is a tombstone
    when the document is now deleted. `written` is the revision that this write added.
    """

    verb: Verb
    old: Document | None
    new: Document
    written: str


@dataclass(frozen=True, slots=True)
class DoctypeStatus:
    """Counts of one doctype: live documents, tombstones, sequence of its last change."""

    live: int
    deleted: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """A document of a changes feed: each document once, at its latest sequence."""

    seq: int
    id: str
    rev: str
    deleted: bool


IndexKeys = Callable[[str, Body], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Index:
    """An ordered look-up over the winning, live revisions of a doctype.

    `keys(id, body)` gives the byte strings under which a document is found (none: it is not in the index);
    entries are ordered by key, then by the bytes of the id. `amount`, if given, is a number kept per document
    that `Reader.index_sum` adds up. Design documents are in no index. Both functions must take any body, and never
    raise: an error of theirs makes the write fail. Raise `version` when they change: the store then builds the index
    anew when it opens. Keys that must order like the collation of spec/01 §9.3 are made by `kernel.collation`.
    """

    name: str
    doctype: str
    keys: IndexKeys = field(compare=False)
    version: int = 1
    amount: Callable[[Body], int] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One entry of an index."""

    key: bytes
    id: str


@dataclass(frozen=True, slots=True)
class Record:
    """A plain value kept for the server's bookkeeping.

    `seq` is the instance's sequence at its last write, `raw` its JSON text.
    """

    kind: str
    id: str
    seq: int
    raw: bytes

    @property
    def body(self) -> Body:
        """The decoded value, a fresh one at each use."""
        return msgspec.json.decode(self.raw)


class Content(msgspec.Struct, frozen=True):
    """Bytes as they are named: SHA-256 in hexadecimal, MD5 in standard base64 (the wire's form), size in bytes."""

    sha256: str
    md5: str
    size: int
