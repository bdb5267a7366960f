"""The contract of a document store: what one instance can read, write and be told of.

An instance owns *documents* (JSON with an id and a tree of revisions, grouped by doctype, spec/01 §2), *records*
(plain JSON kept by the server for its own bookkeeping: no revisions, not in the journal) and *contents* (bytes
named by a document, addressed by SHA-256). Every document write commits, in the same transaction, one entry of
the *journal* with the instance's next sequence number; whatever must happen because of a write reads the journal
behind a checkpoint of its own.

The plain values are in `values`, and can be had from here. This module has no code that stores anything:
`storage.documents.sqlite` and `storage.documents.postgres` implement it, and `tests/contract` proves each by the same
tests.

Reads and writes are plain functions run by the store:

    document = await store.read(lambda view: view.get("io.cozy.contacts", "c1"))
    written = await store.write(lambda tx: tx.put("io.cozy.contacts", "c1", body))

A read sees one consistent snapshot. Writes of an instance happen one after the other; those that wait together
share one commit, and each still succeeds or fails alone. When `write` returns, the change survives a power cut.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from inglenook.kernel.revisions import RevisionTree
from inglenook.storage.documents.values import (
    MAX_DOCUMENT_BYTES,
    MAX_DOCUMENT_DEPTH,
    REVISION_LIMIT,
    Body,
    Change,
    Content,
    DoctypeStatus,
    Document,
    FeedEntry,
    Index,
    IndexEntry,
    IndexKeys,
    JournalEntry,
    Record,
    Verb,
)

__all__ = [
    "MAX_DOCUMENT_BYTES",
    "MAX_DOCUMENT_DEPTH",
    "REVISION_LIMIT",
    "Body",
    "Change",
    "Content",
    "DoctypeStatus",
    "Document",
    "DocumentStore",
    "DocumentStores",
    "FeedEntry",
    "Hook",
    "Index",
    "IndexEntry",
    "IndexKeys",
    "JournalEntry",
    "Reader",
    "Record",
    "Verb",
    "Writer",
]

T = TypeVar("T")

Hook = Callable[["Writer", Change], None]
"""Runs inside the transaction of each document write; may read and write through the same `Writer`.

An exception makes the write fail. Hooks are for what is *part* of the write (the tracking record of a shared
document); what merely follows from it reads the journal."""


class Reader(Protocol):
    """A consistent view of one instance. Methods never wait for the network; lists are bounded by their `limit`."""

    # -- documents
    def get(self, doctype: str, id: str) -> Document | None:
        """The winning revision of a live document, else None."""
        ...

    def find(self, doctype: str, id: str) -> Document:
        """The winning revision of a live document.

        Raises DocumentNotFound: `missing`, `deleted`, or `wrong_doctype` when the doctype has no database."""
        ...

    def winner(self, doctype: str, id: str) -> Document | None:
        """The winning revision, a tombstone included; None when the document was never there."""
        ...

    def get_many(self, doctype: str, ids: Sequence[str]) -> list[Document | None]:
        """`winner` for each id, in order."""
        ...

    def tree(self, doctype: str, id: str) -> RevisionTree | None:
        """All known revisions of a document, None when it was never there."""
        ...

    def revision(self, doctype: str, id: str, rev: str) -> Document | None:
        """A leaf (winner, conflict or tombstone) with its body; None when unknown or when the body is gone."""
        ...

    def all_docs(
        self,
        doctype: str,
        *,
        start: str = "",
        end: str | None = None,
        inclusive_end: bool = True,
        descending: bool = False,
        skip: int = 0,
        limit: int = 100,
    ) -> list[Document]:
        """Live documents ordered by the bytes of their id, from `start` to `end` (reversed: from `start` down)."""
        ...

    def rank(self, doctype: str, id: str) -> int:
        """The number of live documents whose id comes before `id`, by the bytes."""
        ...

    def doctypes(self) -> list[str]:
        """The doctypes that have a database, by name."""
        ...

    def has_doctype(self, doctype: str) -> bool:
        """Whether the doctype has a database."""
        ...

    def status(self, doctype: str) -> DoctypeStatus:
        """Counts of a doctype (all 0 without a database)."""
        ...

    def changes(self, doctype: str, *, since: int = 0, limit: int = 100, descending: bool = False) -> list[FeedEntry]:
        """Documents of a doctype changed after `since`, by sequence; descending starts at the newest and ignores
        `since`."""
        ...

    def pending(self, doctype: str, since: int) -> int:
        """The number of documents of a doctype changed after `since`: the length of `changes` without a limit."""
        ...

    # -- journal
    def last_seq(self) -> int:
        """The instance's sequence: that of its last journal entry or record."""
        ...

    def journal(self, *, since: int, limit: int = 100) -> list[JournalEntry]:
        """Entries after `since`, oldest first."""
        ...

    def checkpoint(self, reader: str) -> int:
        """The sequence up to which a reader of the journal is done; 0 for an unknown one."""
        ...

    def checkpoints(self) -> dict[str, int]:
        """All readers of the journal that have a checkpoint. The journal keeps what any of them has not read, and
        besides at least its newest entries."""
        ...

    # -- local documents (spec/01 §2.11)
    def local(self, doctype: str, name: str) -> Document | None:
        """A local document, None when it is not there. `name` is without `_local/`, the id of the document with it."""
        ...

    # -- indexes
    def index(
        self,
        index: Index | str,
        *,
        start: bytes = b"",
        end: bytes | None = None,
        after: tuple[bytes, str] | None = None,
        descending: bool = False,
        skip: int = 0,
        limit: int = 100,
    ) -> list[IndexEntry]:
        """Entries with start <= key < end (end None: no bound), ordered.

        `after` continues behind an entry already seen (key and id), in the direction of reading. Raises KeyError for
        an index that was not given when the store was opened, nor defined since; so do the other three."""
        ...

    def index_docs(
        self,
        index: Index | str,
        *,
        start: bytes = b"",
        end: bytes | None = None,
        after: tuple[bytes, str] | None = None,
        descending: bool = False,
        skip: int = 0,
        limit: int = 100,
    ) -> list[tuple[bytes, Document]]:
        """`index` with the documents, in one query."""
        ...

    def index_count(self, index: Index | str, *, start: bytes = b"", end: bytes | None = None) -> int:
        """The number of entries in a range."""
        ...

    def index_sum(self, index: Index | str, *, start: bytes = b"", end: bytes | None = None) -> int:
        """The sum of `Index.amount` over a range."""
        ...

    # -- records
    def record(self, kind: str, id: str) -> Record | None:
        """A record, None when it is not there."""
        ...

    def records(self, kind: str, *, start: str = "", end: str | None = None, limit: int = 100) -> list[Record]:
        """Records of a kind by the bytes of their id, start <= id < end (end None: no bound)."""
        ...

    def record_feed(self, kind: str, key: str, *, since: int = 0, limit: int = 100) -> list[Record]:
        """Records of a kind that carry `key`, changed after `since`, by sequence: a feed of its own for each key."""
        ...

    def records_due(self, kind: str, until: float, *, limit: int = 100) -> list[Record]:
        """Records of a kind whose `due` is not after `until` (seconds of Unix time), earliest first."""
        ...

    def next_due(self, kind: str) -> float | None:
        """The earliest `due` of a kind, None when nothing is due ever."""
        ...

    # -- contents
    def content(self, doctype: str, id: str) -> Content | None:
        """The content that a document names."""
        ...

    def content_bytes(self, sha256: str) -> bytes | None:
        """The bytes of a content that lives in the database, None when it lives in the blob store."""
        ...

    def known_content(self, sha256: str) -> Content | None:
        """A content that some document of this instance names, by its SHA-256."""
        ...

    def is_garbage(self, sha256: str) -> bool:
        """Whether a blob is noted as one that nothing names (see `Writer.garbage`)."""
        ...

    def oldest_garbage(self) -> float | None:
        """The moment (seconds of Unix time) since when the first of the blobs noted so is; None without any."""
        ...


class Writer(Reader, Protocol):
    """A transaction. All its writes are committed together, or none.

    `origin` is told to hooks and written in the journal: on whose behalf the transaction writes (empty for the
    owner and its apps; replication puts the member it received from, so that nothing is sent back to it).
    """

    origin: str

    def new_id(self) -> str:
        """A fresh document id: 32 lower-case hexadecimal digits."""
        ...

    def put(
        self, doctype: str, id: str, body: Mapping[str, Any], *, rev: str | None = None, deleted: bool = False
    ) -> Document:
        """Create or update a document interactively (spec/01 §2.4).

        `body` has no underscore members but `_attachments`, which are stubs. Without `rev` the document must not be
        live (a tombstone is continued); with it, `rev` must be a live leaf. The doctype's database is made when it is
        missing.
        Raises DocumentConflict, BadDocument (malformed rev or id), DocumentTooLarge."""
        ...

    def delete(self, doctype: str, id: str, rev: str, body: Mapping[str, Any] | None = None) -> Document:
        """Close the branch of a live leaf by a tombstone with this body (empty by default). Raises as `put`."""
        ...

    def graft(
        self, doctype: str, id: str, chain: Sequence[str], body: Mapping[str, Any], *, deleted: bool = False
    ) -> bool:
        """Write a revision made elsewhere (spec/01 §2.5): `chain` runs from the oldest known ancestor to the leaf.

        False when the leaf is known already: nothing changes then, not even the sequence."""
        ...

    def create_doctype(self, doctype: str) -> bool:
        """Make the database of a doctype; False when it is there."""
        ...

    def drop_doctype(self, doctype: str) -> bool:
        """Remove a doctype with all its documents, without a journal entry for each; False when it is not there."""
        ...

    def put_local(self, doctype: str, name: str, body: Mapping[str, Any] | None, rev: str | None = None) -> str:
        """Write (None: remove) a local document; gives its new revision (spec/01 §2.11).

        Raises DocumentNotFound when the doctype has no database, BadDocument, DocumentTooLarge."""
        ...

    def set_checkpoint(self, reader: str, seq: int | None) -> None:
        """Move a reader's checkpoint forward (never back); None forgets it.

        From its first checkpoint on (0 is one) the journal keeps everything behind it, so a reader that will never
        come back must be forgotten."""
        ...

    def put_record(
        self, kind: str, id: str, body: Any, *, keys: Iterable[str] = (), due: float | None = None
    ) -> Record:
        """Write a record with the keys of its feeds and the moment when it is due. Takes a new sequence number."""
        ...

    def delete_record(self, kind: str, id: str) -> None:
        """Remove a record; nothing happens when it is not there."""
        ...

    def hold(self, doctype: str, id: str, content: Content, data: bytes | None = None) -> None:
        """Make a document name a content, in place of the one it named.

        `data` are the bytes when they shall live in the database; without it they must be held already by some
        document of this instance, or be in the blob store: else NotFound is raised. A document that is deleted does
        not let go of its content by itself (`release`); dropping its doctype does."""
        ...

    def release(self, doctype: str, id: str) -> None:
        """Make a document name no content. A content that nothing names any more is forgotten; bytes in the blob
        store become garbage, which the collector removes later. Noting a blob so takes a new sequence number, so that
        subscribers are told."""
        ...

    def garbage(self, *, before: float, limit: int = 100) -> list[str]:
        """SHA-256 of blobs that nothing has named since before a moment (seconds of Unix time)."""
        ...

    def forget_garbage(self, sha256: str) -> bool:
        """Take a blob off the garbage list; True when still nothing names it, so that its bytes may go."""
        ...

    def disown(self, sha256: str) -> None:
        """Note a blob as garbage that was put and that no document came to name. Subscribers are told."""
        ...

    def define_index(self, index: Index) -> None:
        """Add an index to an open store and fill it (`_index` of spec/01 §8)."""
        ...

    def drop_index(self, name: str) -> None:
        """Remove an index."""
        ...

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run an action on the event loop once this transaction is safely stored (not when it fails)."""
        ...


class DocumentStore(Protocol):
    """The store of one instance, open.

    `read` runs a bounded query at once (point reads or a page); `scan` runs a longer one off the event loop.
    Neither sees a change that is not committed. `write` runs a function in the instance's single line of
    writers. The functions get a view or transaction that must not be used after they return, call no other
    store and do not await. After each commit `subscribe`d callbacks are called on the event loop with the new
    sequence: a hint, never a promise.
    """

    async def read(self, query: Callable[[Reader], T]) -> T:
        """Run a bounded query."""
        ...

    async def scan(self, query: Callable[[Reader], T]) -> T:
        """Run a query that may take long, without holding up anybody."""
        ...

    async def write(self, change: Callable[[Writer], T]) -> T:
        """Run a change in a transaction; when this returns it is on the disk. Raises what `change` raises, and
        OutOfSpace when the disk is full; nothing was changed then."""
        ...

    def subscribe(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """Be told of commits; gives the function that ends the subscription."""
        ...

    async def backup(self, target: str) -> None:
        """Write a consistent copy into a file, while everything goes on: that of a store on SQLite, for any store."""
        ...

    async def close(self) -> None:
        """Finish what waits, then close."""
        ...


class DocumentStores(Protocol):
    """Where the stores of all instances live.

    `open` gives the same store while it is open; stores that nobody uses are closed after a while by
    themselves and opened again when needed."""

    def open(self, name: str, *, indexes: Sequence[Index] = (), hooks: Sequence[Hook] = ()) -> Awaitable[DocumentStore]:
        """Open (make, if needed) the store of an instance, named by its database prefix."""
        ...

    def exists(self, name: str) -> bool:
        """Whether there is a store of that name."""
        ...

    def making(self, name: str) -> AbstractAsyncContextManager[None]:
        """The turn to make a store of that name anew: one process has it at a time, and the others wait. It ends with
        the process. Raises Unavailable when it does not come."""
        ...

    def install(self, name: str, source: str) -> Awaitable[None]:
        """Make a store, which must not be there, from a file that `DocumentStore.backup` wrote on any server."""
        ...

    def destroy(self, name: str) -> Awaitable[None]:
        """Delete a store with everything in it."""
        ...

    def close(self) -> Awaitable[None]:
        """Close all that is open."""
        ...
