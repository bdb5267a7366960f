"""The changes feed of a doctype: each document once, at its latest sequence (spec/01 §7.1, spec/11 §8).

A feed without a limit is read page by page. A long poll waits, woken by the store's commits, until there is
something to tell. `Feed` is also what `/files/_changes` reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol
from weakref import WeakKeyDictionary

from inglenook.documents import sequences
from inglenook.documents.all_docs import DESIGN, require_database
from inglenook.documents.presenting import encode_json, project, render, shown_body
from inglenook.kernel import selectors
from inglenook.kernel.errors import DomainError
from inglenook.storage.documents.contract import Body, Document, DocumentStore, FeedEntry, Reader

PAGE = 200  # changes of one read
DESCENDING_PAGE = 2000  # what was read already is read over by each following page
LONG_POLL_SECONDS = 60.0  # how long a feed waits when nobody says otherwise
LONG_POLL_MAXIMUM = 300.0  # then the client asks again, and its permit is looked at again

Hidden = Callable[[Reader, str, Document], bool]

HIDDEN: dict[str, Hidden] = {}
"""By doctype: whether a document is left out on a device (`hidden(view, client_id, document)`): it is then told as
deleted. Put there by the assembly."""


class Filter(Protocol):
    """Chooses the changes of a feed."""

    @property
    def needs_document(self) -> bool:
        """Whether it looks at more than ids."""
        ...

    @property
    def projects(self) -> bool:
        """Whether included documents are told in part."""
        ...

    def keeps(self, entry: FeedEntry, document: Document | None) -> bool:
        """Whether a change is told."""
        ...

    def project(self, document: Body) -> Body:
        """The part of an included document that is told, with `_id` and `_rev`."""
        ...


@dataclass(frozen=True, slots=True)
class ByIds:
    """Only these documents."""

    ids: Collection[str]
    needs_document = False
    projects = False

    def keeps(self, entry: FeedEntry, document: Document | None) -> bool:
        return entry.id in self.ids

    def project(self, document: Body) -> Body:
        return document


@dataclass(frozen=True, slots=True)
class Designs:
    """Only design documents."""

    needs_document = False
    projects = False

    def keeps(self, entry: FeedEntry, document: Document | None) -> bool:
        return entry.id.startswith(DESIGN)

    def project(self, document: Body) -> Body:
        return document


@dataclass(frozen=True, slots=True)
class BySelector:
    """Only documents whose winning revision, a tombstone too, matches a selector; `fields` empty: told whole."""

    matches: selectors.Matcher
    fields: list[str]
    needs_document = True

    @property
    def projects(self) -> bool:
        return bool(self.fields)

    @classmethod
    def of(cls, selector: Body, fields: list[str]) -> BySelector:
        """Raises BadDocument for a selector that cannot be understood."""
        return cls(selectors.compile(selectors.normalise(selector)), fields)

    def keeps(self, entry: FeedEntry, document: Document | None) -> bool:
        if document is None:
            return False
        return self.matches(
            entry.id, {**document.body, "_rev": entry.rev, **({"_deleted": True} if entry.deleted else {})}
        )

    def project(self, document: Body) -> Body:
        return project(document, tuple(self.fields))


@dataclass(frozen=True, slots=True)
class Options:
    """What a feed was asked for. `since` None: from now on; `limit` 0: no limit; `client_id`: of an OAuth client."""

    since: int | None = 0
    limit: int = 0
    descending: bool = False
    all_leaves: bool = False
    include_docs: bool = False
    seq_interval: int = 0
    filter: Filter | None = None
    client_id: str = ""


def filtered(options: Options, filter: Filter | None) -> Options:
    """The same options with a filter."""
    return replace(options, filter=filter)


def seen_by(options: Options, client_id: str) -> Options:
    """The same options for the device of an OAuth client, or for nobody's device."""
    return replace(options, client_id=client_id)


class Feed:
    """One reading of a feed: pages of rows, then what ends the answer.

    After the last page `last_seq` is the sequence to go on from, `pending` the number of changes left out."""

    def __init__(self, doctype: str, options: Options) -> None:
        self.doctype = doctype
        self.options = options
        self.done = False
        self.sent = 0
        self.last_seq = 0
        self.pending = 0
        self._at = options.since
        self._fetched = 0

    def page(self, view: Reader) -> list[bytes]:
        """The JSON text of the next rows. An empty page does not mean the end, `done` does.

        Raises DocumentNotFound without a database."""
        options, doctype = self.options, self.doctype
        require_database(view, doctype)
        current = view.status(doctype).last_seq
        if self._at is None:
            self._at = current
        left = options.limit - self.sent if options.limit else None
        # a filter may drop any number of entries: it is given whole pages
        size = DESCENDING_PAGE if options.descending else PAGE
        if left is not None and options.filter is None:
            size = min(size, left)
        entries = self._entries(view, size)
        rows: list[bytes] = []
        for entry, document in zip(entries, self._documents(view, entries), strict=True):
            self._fetched += 1
            self._at = entry.seq
            if options.filter is not None and not options.filter.keeps(entry, document):
                continue
            rows.append(self._row(view, entry, document))
            self.sent += 1
            if left is not None and len(rows) == left:
                break
        full = bool(options.limit) and self.sent >= options.limit
        if full or len(entries) < size:
            self._finish(view, current, full)
        return rows

    def _entries(self, view: Reader, size: int) -> list[FeedEntry]:
        if not self.options.descending:
            return view.changes(self.doctype, since=self._at or 0, limit=size)
        if self._fetched == 0:
            return view.changes(self.doctype, limit=size, descending=True)
        # the store starts a descending feed at the newest: what was read already is read over
        newest = view.changes(self.doctype, limit=self._fetched + size, descending=True)
        return [entry for entry in newest if entry.seq < (self._at or 0)][:size]

    def _documents(self, view: Reader, entries: list[FeedEntry]) -> list[Document | None]:
        options = self.options
        if options.include_docs or (options.filter is not None and options.filter.needs_document):
            return view.get_many(self.doctype, [entry.id for entry in entries])
        return [None] * len(entries)

    def _row(self, view: Reader, entry: FeedEntry, document: Document | None) -> bytes:
        options = self.options
        leaves = [entry.rev]
        if options.all_leaves:
            tree = view.tree(self.doctype, entry.id)
            leaves = leaves if tree is None else [leaf.rev for leaf in tree.leaves()]
        interval = options.seq_interval
        seq = sequences.encode(entry.seq) if interval < 2 or (self.sent + 1) % interval == 0 else ""
        deleted, shown = entry.deleted, b"null"
        if options.include_docs and document is not None:
            hidden = HIDDEN.get(self.doctype) if options.client_id and not document.deleted else None
            if hidden is not None and hidden(view, options.client_id, document):
                deleted = True
                shown = encode_json({"_id": entry.id, "_rev": leaves[0], "_deleted": True})
            elif options.filter is not None and options.filter.projects:
                whole = {"_id": document.id, "_rev": document.rev, **shown_body(view, document)}
                if document.deleted:
                    whole["_deleted"] = True
                shown = encode_json(options.filter.project(whole))
            else:
                shown = render(view, document)
        return b'{"id":%b,"seq":"%b","doc":%b,%b"changes":[%b]}' % (
            encode_json(entry.id),
            seq.encode(),
            shown,
            b'"deleted":true,' if deleted else b"",
            b",".join([b'{"rev":"%b"}' % rev.encode() for rev in leaves]),
        )

    def _finish(self, view: Reader, current: int, full: bool) -> None:
        self.done = True
        if not full:
            self.last_seq = current
            return
        at = self._at or 0
        self.last_seq = at
        if self.options.descending:
            status = view.status(self.doctype)
            self.pending = max(0, status.live + status.deleted - self._fetched)
        else:
            self.pending = view.pending(self.doctype, at)


async def normal(store: DocumentStore, doctype: str, options: Options) -> AsyncIterator[bytes]:
    """The answer of a feed that ends with what is there, in pieces. Raises DocumentNotFound before the first."""
    feed = Feed(doctype, options)
    piece = b'{"results":[' + b",".join(await store.read(feed.page))
    while not feed.done:
        yield piece
        sent = feed.sent
        rows = await store.read(feed.page)
        piece = (b"," if rows and sent else b"") + b",".join(rows)
    yield piece + _tail(feed)


def _tail(feed: Feed) -> bytes:
    return b'],"last_seq":"%b","pending":%d}\n' % (sequences.encode(feed.last_seq).encode(), feed.pending)


# -- long poll


@dataclass(frozen=True, slots=True)
class Patience:
    """How a long poll waits, in seconds: a white space every `heartbeat` (None: none), until `timeout`."""

    timeout: float = LONG_POLL_SECONDS
    heartbeat: float | None = None


async def long_poll(store: DocumentStore, doctype: str, options: Options, patience: Patience) -> AsyncIterator[bytes]:
    """The answer of a feed that waits until something has changed, or its patience ends (spec/11 §8).

    Waiting costs memory and a timer: a commit is looked at once for all that wait for a doctype, and wakes them only
    when it has changed. Raises DocumentNotFound before the first piece."""
    loop = asyncio.get_running_loop()
    wait = _Wait(loop.time() + patience.timeout, asyncio.Event())
    watch = _watch_of(store, doctype)
    watch.waits.add(wait)
    try:
        since = options.since
        while True:
            wait.wakeup.clear()
            feed = Feed(doctype, replace(options, since=since))
            rows = await store.read(feed.page)
            while not rows and not feed.done:
                rows = await store.read(feed.page)
            if rows or loop.time() >= wait.end:
                break
            since = feed.last_seq
            async for beat in _beats(wait, patience.heartbeat):
                yield beat
        yield b'{"results":[' + b",".join(rows)
        while not feed.done:
            rows = await store.read(feed.page)
            if rows:
                yield b"," + b",".join(rows)
        yield _tail(feed)
    finally:
        watch.leave(wait)


def end_long_polls() -> None:
    """Let every long poll of this event loop answer now: the server is going to stop."""
    for watch in _watches.get(asyncio.get_running_loop(), {}).values():
        for wait in watch.waits:
            wait.end = 0.0
            wait.wakeup.set()


@dataclass(slots=True, eq=False)
class _Wait:
    """A long poll that waits until `end`, in the time of its event loop, or for its wake-up."""

    end: float
    wakeup: asyncio.Event


class _Watch:
    """All long polls of one doctype of one store."""

    def __init__(self, store: DocumentStore, doctype: str, ended: Callable[[], object]) -> None:
        self.waits: set[_Wait] = set()
        self._store = store
        self._doctype = doctype
        self._ended = ended
        self._seen = -1  # the last sequence of the doctype that was told; the first commit is always told
        self._looking: asyncio.Task[None] | None = None
        self._again = False
        self._unsubscribe = store.subscribe(self._committed)

    def leave(self, wait: _Wait) -> None:
        """One waits no more; the last one ends the watch."""
        self.waits.discard(wait)
        if not self.waits:
            self._unsubscribe()
            self._ended()

    def _committed(self, seq: int) -> None:
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())
        else:
            self._again = True

    async def _look(self) -> None:
        while True:
            self._again = False
            try:
                seq = (await self._store.read(lambda view: view.status(self._doctype))).last_seq
            except DomainError:  # the store is closed or out of reach: who waits will be told so
                seq = -1
            if seq != self._seen or seq == -1:
                self._seen = seq
                for wait in self.waits:
                    wait.wakeup.set()
            if not self._again:
                self._looking = None
                return


_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[int, str], _Watch]] = WeakKeyDictionary()


def _watch_of(store: DocumentStore, doctype: str) -> _Watch:
    watches, key = _watches.setdefault(asyncio.get_running_loop(), {}), (id(store), doctype)
    watch = watches.get(key)
    if watch is None:
        watch = watches[key] = _Watch(store, doctype, lambda: watches.pop(key, None))
    return watch


async def _beats(wait: _Wait, heartbeat: float | None) -> AsyncIterator[bytes]:
    """Wait for a commit or the end; yield a line break at each beat."""
    loop = asyncio.get_running_loop()
    while not wait.wakeup.is_set() and (left := wait.end - loop.time()) > 0:
        with suppress(TimeoutError):
            await asyncio.wait_for(wait.wakeup.wait(), left if heartbeat is None else min(left, heartbeat))
        if heartbeat is not None and not wait.wakeup.is_set():
            yield b"\n"
