"""Answering a query: the range of an index that the plan names, each candidate held against the whole selector.

`find` gives documents; `answer` the JSON text of `_find`. A short query is one read; one that has to look at many
candidates goes on off the event loop. An index that nobody used since the store was opened is attended first.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from inglenook.documents.all_docs import conflicts_of, require_database
from inglenook.documents.mango import definitions, planner
from inglenook.documents.mango.planner import Plan
from inglenook.documents.mango.requests import Query
from inglenook.documents.presenting import encode_json, project, render, shown_body
from inglenook.environment import Clock
from inglenook.kernel import selectors
from inglenook.kernel.errors import BadDocument
from inglenook.storage.documents.contract import Document, DocumentStore, Reader

PAGE = 100  # candidates of one query to the store
AT_ONCE = 400  # candidates looked at on the event loop
SCAN_RATIO = 10
ATTEMPTS = 3

SLOW = (
    "The number of documents examined is high in proportion to the number of results returned."
    " Consider adding a more specific index to improve this."
)


@dataclass(slots=True)
class Found:
    """The documents of a page, and what is told with them.

    `bookmark` is empty when nothing was found, `warning` when there is none. `examined` counts candidates."""

    documents: list[Document] = field(default_factory=list)
    bookmark: str = ""
    warning: str = ""
    keys_examined: int = 0
    examined: int = 0


async def find(store: DocumentStore, doctype: str, query: Query) -> Found:
    """The documents that a query asks for, at most its limit (spec/01 §9).

    Raises BadDocument (`no_index`, `no_usable_index`, `invalid_bookmark`, …), DocumentNotFound."""
    search = await _run(store, doctype, query, lambda view, documents: None)
    return search.found


async def answer(store: DocumentStore, clock: Clock, doctype: str, query: Query) -> bytes:
    """The JSON text of an answer to `_find` (spec/01 §8.2). Raises as `find`."""
    started = clock.monotonic()
    texts: list[bytes] = []

    def show(view: Reader, documents: list[Document]) -> None:
        texts.extend(_shown(view, document, query) for document in documents)

    found = (await _run(store, doctype, query, show)).found
    rest: dict[str, Any] = {"limit": query.limit, "next": len(texts) >= query.limit, "bookmark": found.bookmark}
    if found.warning:
        rest["warning"] = found.warning
    if query.execution_stats:
        rest["execution_stats"] = statistics(found, 1000 * (clock.monotonic() - started))
    return b'{"docs":[%b],%b\n' % (b",".join(texts), encode_json(rest)[1:])


def statistics(found: Found, milliseconds: float) -> dict[str, Any]:
    """The `execution_stats` of an answer; members equal to 0 are left out."""
    counts = {
        "total_keys_examined": found.keys_examined,
        "total_docs_examined": found.examined,
        "results_returned": len(found.documents),
        "execution_time_ms": round(milliseconds, 3),
    }
    return {name: value for name, value in counts.items() if value}


# -- searching


class _Search:
    """A query under way: where it stands in its index, and what it has found."""

    def __init__(self, doctype: str, query: Query, show: Callable[[Reader, list[Document]], None]) -> None:
        self.doctype = doctype
        self.query = query
        self.show = show
        self.found = Found()
        self.done = query.limit == 0
        self.plan: Plan | None = None
        self._after: tuple[bytes, str] | None = None
        self._skip = query.skip
        self._matches = selectors.compile(query.selector)

    def start(self, view: Reader) -> Plan:
        """Choose the index. Raises as `find`."""
        require_database(view, self.doctype)
        known = definitions.of_doctype(view, self.doctype)
        plan = planner.plan(self.query, known)
        if self.query.bookmark:
            mark = read_bookmark(self.query.bookmark)
            if mark.index != plan.definition.index.name:
                plan = _replan(self.query, known, mark)
            self._after = (mark.key, mark.id)
        self.plan = plan
        self.done = self.done or plan.empty
        return plan

    def go_on(self, view: Reader, candidates: float) -> None:
        """Look at more candidates, about this many at most."""
        plan = self.plan or self.start(view)
        if plan.definition.computed and not self.done:
            self._order(view, plan)
            return
        index, query, found = plan.definition.index, self.query, self.found
        looked_at = 0
        while not self.done and looked_at < candidates:
            wanted = query.limit - len(found.documents)
            skip = self._skip if plan.exact else 0
            size = min(PAGE, wanted) if plan.exact else PAGE
            page = view.index_docs(
                index, start=plan.start, end=plan.end, after=self._after, descending=plan.descending,
                skip=skip, limit=size,
            )  # fmt: skip
            self.done = len(page) < size
            if plan.exact:
                self._skip = 0
            looked_at += len(page)
            matching: list[Document] = []
            last = b""
            for key, document in page:
                found.keys_examined += 1
                found.examined += 1
                if not plan.exact and not self._matches(document.id, shown_body(view, document)):
                    continue
                if self._skip:
                    self._skip -= 1
                    continue
                matching.append(document)
                last = key
                if len(matching) == wanted:
                    self.done = True
                    break
            if page:
                self._after = (page[-1][0], page[-1][1].id)
            if matching:
                found.documents.extend(matching)
                found.bookmark = make_bookmark(Mark(index.name, last, matching[-1].id))
                self.show(view, matching)
        if self.done:
            self._finish(plan)

    def _order(self, view: Reader, plan: Plan) -> None:
        """Look at all candidates and order them: their index lacks fields that are computed when they are shown."""
        index, query, found = plan.definition.index, self.query, self.found
        keys: list[tuple[bytes, str]] = []
        seen: tuple[bytes, str] | None = None
        while page := view.index_docs(index, start=plan.start, end=plan.end, after=seen, limit=PAGE):
            seen = (page[-1][0], page[-1][1].id)
            found.examined += len(page)
            for _, document in page:
                shown = shown_body(view, document)
                if self._matches(document.id, shown):
                    keys.append((plan.definition.key(document.id, shown), document.id))
        found.keys_examined = found.examined
        keys.sort(reverse=plan.descending)
        after = self._after
        if after is not None:
            keys = [entry for entry in keys if (entry < after if plan.descending else entry > after)]
        keys = keys[self._skip : self._skip + query.limit]
        if keys:
            found.bookmark = make_bookmark(Mark(index.name, *keys[-1]))
        documents = view.get_many(self.doctype, [id for _, id in keys])
        found.documents = [document for document in documents if document is not None]
        self.show(view, found.documents)
        self.done = True
        self._finish(plan)

    def _finish(self, plan: Plan) -> None:
        found = self.found
        if not found.bookmark:
            found.bookmark = self.query.bookmark
        slow = found.examined > SCAN_RATIO * max(1, len(found.documents))
        found.warning = "\n".join(text for text in (plan.warning, SLOW if slow else "") if text)


async def _run(
    store: DocumentStore, doctype: str, query: Query, show: Callable[[Reader, list[Document]], None]
) -> _Search:
    for _ in range(ATTEMPTS):
        search = _Search(doctype, query, show)
        try:
            await store.read(lambda view, search=search: search.go_on(view, AT_ONCE))
            if not search.done:
                await store.scan(lambda view, search=search: search.go_on(view, float("inf")))
        except KeyError:
            # the index is not attended since the store was opened
            if search.plan is None or search.found.examined:
                raise
            index = search.plan.definition.index
            await store.write(lambda tx, index=index: tx.define_index(index))
        else:
            return search
    raise BadDocument("no_index", planner.NO_INDEX)


def _replan(query: Query, known: list[definitions.Definition], mark: Mark) -> Plan:
    """The plan over the index of a bookmark, when another one would be chosen now."""
    same = [definition for definition in known if definition.index.name == mark.index]
    try:
        return planner.plan(replace(query, use_index=(same[0].ddoc, same[0].name)), same)
    except (IndexError, BadDocument):
        raise _bad_bookmark(query.bookmark) from None


# -- showing


def _shown(view: Reader, document: Document, query: Query) -> bytes:
    extra = conflicts_of(view, document) if query.conflicts else None
    if not query.fields:
        return render(view, document, extra)
    whole = {"_id": document.id, "_rev": document.rev, **(extra or {}), **shown_body(view, document)}
    return encode_json(project(whole, query.fields))


# -- bookmarks


@dataclass(frozen=True, slots=True)
class Mark:
    """The last document of a page: the index of the store, its key and id."""

    index: str
    key: bytes
    id: str


def make_bookmark(mark: Mark) -> str:
    """The text of a bookmark: URL-safe ASCII."""
    raw = msgspec.msgpack.encode((mark.index, mark.key, mark.id))
    return "m1" + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_bookmark(bookmark: str) -> Mark:
    """What a bookmark says. Raises BadDocument."""
    text = bookmark.removeprefix("m1")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        mark = Mark(*msgspec.msgpack.decode(raw, type=tuple[str, bytes, str]))
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise _bad_bookmark(bookmark) from None
    if make_bookmark(mark) != bookmark:
        raise _bad_bookmark(bookmark)
    return mark


def _bad_bookmark(bookmark: str) -> BadDocument:
    return BadDocument("invalid_bookmark", f'Invalid bookmark value: "{bookmark}"')
