"""Lists of documents by id: `_all_docs` in its two modes and `_normal_docs` (spec/01 §6.1, §6.2).

Ids are ordered by their bytes, which is how Python orders texts. A list without a limit is walked page by page,
each page a read of its own.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from inglenook.documents import sequences
from inglenook.documents.mango import builtin
from inglenook.documents.presenting import encode_json, render, shown_body
from inglenook.kernel.errors import BadDocument, DocumentNotFound
from inglenook.storage.documents.contract import Body, Document, DocumentStore, Reader

DESIGN = "_design/"
BEHIND_DESIGNS = "_design0"  # the first id behind all design documents
PAGE = 100  # documents of one read

NORMAL_LIMIT = 100
NORMAL_MAXIMUM = 1000
NORMAL_LIMIT_OF_ZERO = 25


@dataclass(frozen=True, slots=True)
class Range:
    """The documents with low <= id < high (`high` None: no bound), upwards or downwards; `limit` None: all."""

    low: str = ""
    high: str | None = None
    descending: bool = False
    skip: int = 0
    limit: int | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing can be in it."""
        return self.limit == 0 or (self.high is not None and self.high <= self.low)

    def holds(self, id: str) -> bool:
        """Whether an id is in it."""
        return self.low <= id and (self.high is None or id < self.high)

    def clipped(self, low: str, high: str | None) -> Range:
        """The part of it between two ids."""
        highs = [bound for bound in (self.high, high) if bound is not None]
        return replace(self, low=max(self.low, low), high=min(highs, default=None))


@dataclass(frozen=True, slots=True)
class Options:
    """What a plain `_all_docs` was asked for. With `keys`: only the documents of these ids, in that order."""

    range: Range
    keys: list[Any] | None = None
    include_docs: bool = False
    conflicts: bool = False
    update_seq: bool = False


def require_database(view: Reader, doctype: str) -> None:
    """Raises DocumentNotFound when the doctype has no database."""
    if not view.has_doctype(doctype):
        raise DocumentNotFound("Database does not exist.")


def count(view: Reader, doctype: str, range: Range) -> int:
    """The live documents between the bounds of a range, those of built-in indexes included."""
    stored = view.status(doctype).live if range.high is None else view.rank(doctype, range.high)
    if range.low:
        stored -= view.rank(doctype, range.low)
    return max(0, stored) + sum(1 for document in builtin.unstored(view, doctype) if range.holds(document.id))


class Walk:
    """The documents of a range, a page at a time, those of built-in indexes at their place."""

    def __init__(self, doctype: str, wanted: Range, *, page: int = PAGE) -> None:
        self._doctype = doctype
        self._ahead = wanted
        self._page = page
        self.done = wanted.empty

    def page(self, view: Reader) -> list[Document]:
        """The next documents. An empty page does not mean the end, `done` does."""
        ahead = self._ahead
        if self.done:
            return []
        virtual = [document for document in builtin.unstored(view, self._doctype) if ahead.holds(document.id)]
        # where documents are merged in, what is skipped is walked through
        size = self._page if ahead.limit is None or (virtual and ahead.skip) else min(self._page, ahead.limit)
        skip = 0 if virtual else ahead.skip
        found = self._stored(view, skip, size)
        self.done = len(found) < size
        if virtual:
            found = self._merge(found, virtual)
            skip = min(ahead.skip, len(found))
        if not found:
            return []
        last = found[-1].id
        if virtual:
            found = found[skip:]
        limit = ahead.limit
        if limit is not None:
            found = found[:limit]
            limit -= len(found)
            self.done = self.done or limit == 0
        bounds = {"high": last} if ahead.descending else {"low": last + "\0"}
        self._ahead = replace(ahead, skip=ahead.skip - skip, limit=limit, **bounds)
        return found

    def _stored(self, view: Reader, skip: int, size: int) -> list[Document]:
        ahead = self._ahead
        if not ahead.descending:
            return view.all_docs(
                self._doctype, start=ahead.low, end=ahead.high, inclusive_end=False, skip=skip, limit=size
            )
        if ahead.high is not None and view.get(self._doctype, ahead.high) is not None:
            skip += 1  # the upper bound is not in the range
        return view.all_docs(
            self._doctype, start=ahead.high or "", end=ahead.low, descending=True, skip=skip, limit=size
        )

    def _merge(self, found: list[Document], virtual: list[Document]) -> list[Document]:
        descending = self._ahead.descending
        if not self.done:  # more is stored: only what lies before the last one found belongs to this page
            last = found[-1].id
            virtual = [d for d in virtual if (d.id > last if descending else d.id < last)]
        return sorted([*found, *virtual], key=lambda document: document.id, reverse=descending)


# -- plain mode


async def rows(store: DocumentStore, doctype: str, options: Options) -> AsyncIterator[bytes]:
    """The answer of a plain `_all_docs`, in pieces. Raises DocumentNotFound before the first."""
    if options.keys is not None:
        keys = _cut(options.keys, options.range)
        yield await store.read(lambda view: _head(view, doctype, options, None))
        for at in range(0, len(keys), PAGE):
            wanted = keys[at : at + PAGE]

            def rows_of_keys(view: Reader, wanted: list[Any] = wanted) -> bytes:
                return b",".join(_rows_of_keys(view, doctype, wanted, options))

            yield (b"," if at else b"") + await store.read(rows_of_keys)
        yield b"]}\n"
        return
    walk = Walk(doctype, options.range)

    def first(view: Reader) -> bytes:
        head = _head(view, doctype, options, _offset(view, doctype, options.range))
        return head + following(view)

    def following(view: Reader) -> bytes:
        return b",".join([_row(view, document, options) for document in walk.page(view)])

    piece = await store.read(first)
    while not walk.done:
        yield piece
        piece = await store.read(following)
        piece = b"," + piece if piece else b""
    yield piece + b"]}\n"


def design_rows(view: Reader, doctype: str, options: Options) -> bytes:
    """The answer of `_design_docs`: as `rows`, of the design documents alone. Raises DocumentNotFound."""
    require_database(view, doctype)
    whole = Range(DESIGN, BEHIND_DESIGNS)
    part = options.range.clipped(DESIGN, BEHIND_DESIGNS)
    found: list[Document] = []
    walk = Walk(doctype, part)
    while not walk.done:
        found.extend(walk.page(view))
    before = Range(BEHIND_DESIGNS if part.high is None else part.high, BEHIND_DESIGNS)
    before = before if part.descending else Range(DESIGN, part.low)
    head = {"total_rows": count(view, doctype, whole), "offset": count(view, doctype, before) + part.skip}
    texts = [_row(view, document, options) for document in found]
    return encode_json(head)[:-1] + b',"rows":[' + b",".join(texts) + b"]}\n"


def _head(view: Reader, doctype: str, options: Options, offset: int | None) -> bytes:
    require_database(view, doctype)
    head: dict[str, Any] = {"total_rows": count(view, doctype, Range()), "offset": offset}
    if options.update_seq:
        head["update_seq"] = sequences.encode(view.status(doctype).last_seq)
    return encode_json(head)[:-1] + b',"rows":['


def _offset(view: Reader, doctype: str, range: Range) -> int:
    if range.descending:
        ahead = 0 if range.high is None else count(view, doctype, Range(low=range.high))
    else:
        ahead = count(view, doctype, Range(high=range.low)) if range.low else 0
    return min(ahead + range.skip, count(view, doctype, Range()))


def _row(view: Reader, document: Document, options: Options) -> bytes:
    id = encode_json(document.id)
    row = b'{"id":%b,"key":%b,"value":{"rev":"%b"}' % (id, id, document.rev.encode())
    if options.include_docs:
        row += b',"doc":' + render(view, document, conflicts_of(view, document) if options.conflicts else None)
    return row + b"}"


def _rows_of_keys(view: Reader, doctype: str, keys: Sequence[Any], options: Options) -> list[bytes]:
    ids = [key for key in keys if isinstance(key, str)]
    found = dict(zip(ids, view.get_many(doctype, ids), strict=True))
    virtual = {document.id: document for document in builtin.unstored(view, doctype)}
    texts: list[bytes] = []
    for key in keys:
        document = found.get(key) or virtual.get(key) if isinstance(key, str) else None
        if document is None:
            texts.append(b'{"key":%b,"error":"not_found"}' % encode_json(key))
        elif document.deleted:
            row: dict[str, Any] = {"id": key, "key": key, "value": {"rev": document.rev, "deleted": True}}
            texts.append(encode_json({**row, "doc": None} if options.include_docs else row))
        else:
            texts.append(_row(view, document, options))
    return texts


def conflicts_of(view: Reader, document: Document) -> Mapping[str, Any] | None:
    """The `_conflicts` member of a document, None when it has none."""
    tree = view.tree(document.doctype, document.id)
    conflicts = [] if tree is None else tree.conflicts()
    return {"_conflicts": conflicts} if conflicts else None


def _cut(keys: list[Any], range: Range) -> list[Any]:
    keys = keys[::-1] if range.descending else keys
    return keys[range.skip :] if range.limit is None else keys[range.skip : range.skip + range.limit]


# -- filtered mode


async def filtered_rows(
    store: DocumentStore, doctype: str, range: Range, fields: Sequence[str], *, designs: bool
) -> AsyncIterator[bytes]:
    """The answer of an `_all_docs` with `Fields` or `DesignDocs`, in pieces (spec/01 §6.1).

    Without `designs` the design documents are left out, and do not count in `skip` and `limit`."""
    await store.read(lambda view: require_database(view, doctype))
    paths = FieldPaths.of(fields)
    skip, left, sent = range.skip, range.limit, 0
    yield b'{"rows":['
    for part in [range] if designs else around_designs(range):
        walk = Walk(doctype, replace(part, skip=0, limit=None))

        def page(view: Reader, walk: Walk = walk) -> list[bytes]:
            return [_filtered_row(view, document, paths) for document in walk.page(view)]

        while not walk.done and left != 0:
            texts = await store.read(page)
            dropped = min(skip, len(texts))
            skip -= dropped
            texts = texts[dropped : None if left is None else dropped + left]
            left = None if left is None else left - len(texts)
            if texts:
                yield (b"," if sent else b"") + b",".join(texts)
                sent += len(texts)
    yield b'],"offset":0,"total_rows":%d}\n' % sent


def _filtered_row(view: Reader, document: Document, paths: FieldPaths) -> bytes:
    shown = {"_id": document.id, "_rev": document.rev, **shown_body(view, document)}
    return encode_json({"id": document.id, "rev": document.rev, "doc": paths.project(shown)})


@dataclass(frozen=True, slots=True)
class FieldPaths:
    """The fields of a filtered list: dotted paths, `p.[]` for an array (spec/01 §6.1)."""

    listed: frozenset[str]
    containers: frozenset[str]

    @classmethod
    def of(cls, fields: Sequence[str]) -> FieldPaths:
        """The paths of a list of names."""
        above: set[str] = set()
        for name in fields:
            steps = name.split(".")
            above.update(".".join(steps[:depth]) for depth in range(1, len(steps)))
        return cls(frozenset(fields), frozenset(above))

    def project(self, document: Body, above: str = "") -> Body:
        """The part of a document that is listed."""
        kept: Body = {}
        for name, value in document.items():
            path = above + name
            if isinstance(value, list):
                if f"{path}.[]" in self.listed:
                    kept[name] = value
            elif path in self.listed:
                kept[name] = value
            elif isinstance(value, dict) and path in self.containers:
                kept[name] = self.project(cast("Body", value), path + ".")
        return kept


def around_designs(wanted: Range) -> list[Range]:
    """The parts of a range before and behind the design documents, in the order of reading."""
    parts = [wanted.clipped("", DESIGN), wanted.clipped(BEHIND_DESIGNS, None)]
    return [part for part in (reversed(parts) if wanted.descending else parts) if not part.empty]


# -- without design documents


@dataclass(frozen=True, slots=True)
class NormalPage:
    """A page of `_normal_docs`: the documents' JSON text, the total, and the bookmark of the next page."""

    rows: list[bytes]
    total_rows: int
    bookmark: str


def normal_page(view: Reader, doctype: str, *, limit: int, skip: int, bookmark: str) -> NormalPage:
    """Documents without the design documents, in the order of their ids (spec/01 §6.2).

    Raises DocumentNotFound without a database, BadDocument for a bookmark that nobody gave."""
    require_database(view, doctype)
    limit = limit or NORMAL_LIMIT_OF_ZERO
    after = read_bookmark(bookmark) if bookmark else None
    asked = skip = 0 if after is not None else skip
    rest = Range() if after is None else Range(low=after + "\0")
    rows: list[bytes] = []
    last = after
    for part in around_designs(rest):
        # a part is read from where the skipped documents end
        inside = count(view, doctype, part) if skip else 0
        walk = Walk(doctype, replace(part, skip=skip, limit=limit - len(rows)), page=limit)
        while not walk.done:
            for document in walk.page(view):
                rows.append(render(view, document))
                last = document.id
        skip = max(0, skip - inside)
    if after is None and len(rows) < limit:
        total = asked + len(rows)
    else:
        total = sum(count(view, doctype, part) for part in around_designs(Range()))
    return NormalPage(rows, total, "" if last is None else make_bookmark(last))


def make_bookmark(id: str) -> str:
    """The bookmark behind a document."""
    return "n1" + base64.urlsafe_b64encode(id.encode()).decode().rstrip("=")


def read_bookmark(bookmark: str) -> str:
    """The id in a bookmark. Raises BadDocument."""
    try:
        if not bookmark.startswith("n1"):
            raise ValueError(bookmark)
        id = base64.b64decode(bookmark[2:] + "=" * (-len(bookmark[2:]) % 4), altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        raise BadDocument("invalid_bookmark", f'Invalid bookmark value: "{bookmark}"') from None
    if make_bookmark(id) != bookmark:
        raise BadDocument("invalid_bookmark", f'Invalid bookmark value: "{bookmark}"')
    return id
