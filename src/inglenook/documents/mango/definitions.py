"""Mango indexes: their definitions in design documents, and the indexes of the store behind them (spec/01 §8.1, §9.5).

The design documents are the truth. The index of the store is named by what it holds, so that two design documents
with the same definition share it. It is built when the definition is written, and attended again when a query
first needs it after the store was opened (see `find`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, cast

import msgspec

from inglenook.documents.mango import builtin
from inglenook.documents.mango.requests import IndexRequest
from inglenook.documents.presenting import COMPUTED
from inglenook.kernel import collation, selectors
from inglenook.kernel.errors import BadDocument, DocumentConflict, DocumentNotFound
from inglenook.storage.documents.contract import Body, Document, Index, Reader, Writer

DESIGN = "_design/"
BEHIND_DESIGNS = "_design0"
KEY_VERSION = 1  # raise when the keys of an index change
_PAGE = 200
_STRING = collation.sort_key("")[:1]  # what the keys of strings start with


@dataclass(frozen=True)
class Definition:
    """A mango index of a doctype: `ddoc` is the id of its design document, `name` that of the view in it.

    `partial` is the normalised filter as JSON text, empty without one."""

    doctype: str
    ddoc: str
    name: str
    fields: tuple[str, ...]
    partial: bytes

    @property
    def computed(self) -> bool:
        """Whether some field is not stored: the index then tells what is in it, not the whole order."""
        return any(field in COMPUTED.get(self.doctype, ()) for field in self.fields)

    def key(self, id: str, body: Body) -> bytes:
        """The whole key of a document that is in the index, from its body as it is shown."""
        return b"".join(field_key(field, id, body) or b"" for field in self.fields)

    @cached_property
    def index(self) -> Index:
        """The index of the store."""
        identity = msgspec.json.encode([self.doctype, self.fields, self.partial.decode()])
        fields, computed = self.fields, COMPUTED.get(self.doctype, {})
        filter = selectors.compile(msgspec.json.decode(self.partial)) if self.partial else None

        def keys(id: str, body: Body) -> Iterator[bytes]:
            if filter is not None and not filter(id, body):
                return
            key = b""
            for field in fields:
                if field in computed:
                    if not computed[field](body):
                        return
                    continue
                part = field_key(field, id, body)
                if part is None:
                    return
                key += part
            yield key

        digest = hashlib.sha1(identity, usedforsecurity=False).hexdigest()
        return Index(f"mango/{digest}", self.doctype, keys, KEY_VERSION)


def is_design(id: str) -> bool:
    """Whether this is the id of a design document."""
    return id.startswith(DESIGN)


def is_built_in(doctype: str, name: str) -> bool:
    """Whether a design document (without `_design/`) is one that every instance has."""
    return name in builtin.names(doctype)


def field_key(field: str, id: str, body: Body) -> bytes | None:
    """The part that a field has in the key of a document; None when the document lacks the field."""
    if field == "_id":
        return _STRING + collation.raw_key(id)
    value = selectors.lookup(field, body)
    return None if value is selectors.MISSING else collation.sort_key(value)


def value_key(field: str, value: object) -> bytes:
    """The part of a key that a value has in a field; ids are ordered by their bytes."""
    if field == "_id" and isinstance(value, str):
        return _STRING + collation.raw_key(value)
    return collation.sort_key(value)


# -- reading


def of_doctype(view: Reader, doctype: str) -> list[Definition]:
    """All mango indexes of a doctype."""
    found: list[Definition] = []
    for document in designs(view, doctype):
        found.extend(_definitions(doctype, document.id, document.raw))
    return found


def designs(view: Reader, doctype: str) -> list[Document]:
    """All design documents of a doctype, the built-in ones too, in the order of their ids."""
    found: list[Document] = []
    start, page = DESIGN, None
    while page is None or len(page) == _PAGE:
        page = view.all_docs(doctype, start=start, end=BEHIND_DESIGNS, inclusive_end=False, limit=_PAGE)
        found.extend(page)
        start = page[-1].id + "\0" if page else start
    stored = {document.id for document in found}
    found.extend(document for document in builtin.of_doctype(doctype) if document.id not in stored)
    found.sort(key=lambda document: document.id)
    return found


@lru_cache(2048)
def _definitions(doctype: str, ddoc: str, raw: bytes) -> tuple[Definition, ...]:
    body = msgspec.json.decode(raw)
    views = body.get("views")
    if body.get("language") != "query" or not isinstance(views, dict):
        return ()
    found = (_definition(doctype, ddoc, name, view) for name, view in cast("dict[str, Any]", views).items())
    return tuple(definition for definition in found if definition is not None)


def _definition(doctype: str, ddoc: str, name: str, view: object) -> Definition | None:
    map = cast("dict[str, Any]", view).get("map") if isinstance(view, dict) else None
    fields = cast("dict[str, Any]", map).get("fields") if isinstance(map, dict) else None
    if not isinstance(fields, dict) or not fields:
        return None
    partial = cast("dict[str, Any]", map).get("partial_filter_selector") or {}
    try:
        for field in cast("dict[str, Any]", fields):
            selectors.steps(field)
        filter = selectors.normalise(partial) if partial else None
    except BadDocument:
        return None  # written by a replicator; no index can be made of it
    raw = msgspec.json.encode(filter) if filter is not None else b""
    return Definition(doctype, ddoc, name, tuple(cast("dict[str, Any]", fields)), raw)


# -- writing


@dataclass(frozen=True, slots=True)
class Created:
    """What came of an `_index`: `result` is `created` or `exists`."""

    result: str
    id: str
    name: str


def create(tx: Writer, doctype: str, request: IndexRequest) -> Created:
    """Write a definition into its design document and build the index. Raises BadDocument."""
    tx.create_doctype(doctype)
    stored = builtin.find(tx, doctype, request.ddoc)
    body: Body = dict(stored.body) if stored is not None else {"language": "query", "views": {}}
    if body.get("language") != "query":
        raise BadDocument("invalid_ddoc_lang", "The design document is not in the language of queries.")
    views = cast("dict[str, Any]", body.get("views") or {})
    fresh = builtin.index_view(request.fields, request.definition, request.partial)
    for name, view in views.items():
        same = isinstance(view, dict) and _same_index(cast("dict[str, Any]", view).get("map"), fresh["map"])
        if same and (name == request.name or not request.named):
            return Created("exists", request.ddoc, name)
    body["views"] = {**views, request.name: fresh}
    current = tx.get(doctype, request.ddoc)
    document = tx.put(doctype, request.ddoc, body, rev=None if current is None else current.rev)
    replaced(tx, current, document)
    return Created("created", request.ddoc, request.name)


def copy(tx: Writer, doctype: str, source: str, target: str, rev: str | None) -> Document:
    """Copy a design document; `rev` is the revision of a target that exists.

    Raises DocumentNotFound, DocumentConflict."""
    document = require(tx, doctype, source)
    current = builtin.find(tx, doctype, target)
    if current is not None and tx.get(doctype, target) is None and rev == current.rev:
        rev = None  # a built-in one is stored for the first time
    elif current is not None and current.rev != rev:
        raise DocumentConflict
    copied = tx.put(doctype, target, document.body, rev=rev)
    replaced(tx, current, copied)
    return copied


def delete(tx: Writer, doctype: str, id: str, rev: str) -> Document:
    """Delete a design document. Raises DocumentNotFound, DocumentConflict, BadDocument."""
    stored = require(tx, doctype, id)
    tombstone = tx.delete(doctype, id, rev)
    replaced(tx, stored, tombstone)
    return tombstone


def require(view: Reader, doctype: str, id: str) -> Document:
    """A live design document, stored or built-in. Raises DocumentNotFound."""
    if not view.has_doctype(doctype):
        raise DocumentNotFound("Database does not exist.")
    return builtin.find(view, doctype, id) or view.find(doctype, id)


def replaced(tx: Writer, old: Document | None, new: Document) -> None:
    """Build the indexes of a design document just written, drop those that no design document names any more."""
    before = set() if old is None else {d.index.name for d in _definitions(old.doctype, old.id, old.raw)}
    for definition in () if new.deleted else _definitions(new.doctype, new.id, new.raw):
        if definition.index.name not in before:
            tx.define_index(definition.index)
    if before:
        named = {definition.index.name for definition in of_doctype(tx, new.doctype)}
        for name in before - named:
            tx.drop_index(name)


def _same_index(map: object, fresh: dict[str, Any]) -> bool:
    if not isinstance(map, dict):
        return False
    mine = cast("dict[str, Any]", map)
    fields = mine.get("fields")
    return (
        isinstance(fields, dict)
        and list(cast("dict[str, Any]", fields)) == list(fresh["fields"])
        and mine.get("partial_filter_selector", {}) == fresh["partial_filter_selector"]
    )
