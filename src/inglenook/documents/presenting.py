"""Documents as they are shown: the stored JSON text with `_id`, `_rev` and what was asked for put before it.

The body is not decoded on the way out. Doctypes whose stored form lacks something that is shown (the `path` of a
directory) have a presenter, put into `PRESENTERS` by the assembly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from inglenook.kernel import selectors
from inglenook.storage.documents.contract import Body, Document, Reader

Presenter = Callable[[Reader, Document], Body]

PRESENTERS: dict[str, Presenter] = {}
"""By doctype: gives the body to show for a stored document."""

COMPUTED: dict[str, dict[str, Callable[[Body], bool]]] = {}
"""By doctype and field: whether a presenter will show this top-level field, judged by the stored body. It makes
indexes on such fields work; they are ordered when they are read."""

encode_json = msgspec.json.Encoder().encode


def shown_body(view: Reader, document: Document) -> Body:
    """The decoded body as it is shown."""
    presenter = PRESENTERS.get(document.doctype)
    return document.body if presenter is None or document.deleted else presenter(view, document)


def shown_raw(view: Reader, document: Document) -> bytes:
    """The JSON text of the body as it is shown."""
    presenter = PRESENTERS.get(document.doctype)
    return document.raw if presenter is None or document.deleted else encode_json(presenter(view, document))


def render(view: Reader, document: Document, extra: Mapping[str, Any] | None = None) -> bytes:
    """The JSON text of a document: `_id`, `_rev`, `_deleted` of a tombstone, the members of `extra`, the body."""
    return assemble(document, shown_raw(view, document), extra)


def assemble(document: Document, raw: bytes, extra: Mapping[str, Any] | None = None) -> bytes:
    """`render` with the JSON text of a body given."""
    head = b'{"_id":%b,"_rev":"%b"' % (encode_json(document.id), document.rev.encode())
    if document.deleted:
        head += b',"_deleted":true'
    if extra:
        head += b"," + encode_json(extra)[1:-1]
    return head + (b"}" if raw == b"{}" else b"," + raw[1:])


def render_typed(view: Reader, document: Document) -> bytes:
    """`render` with `_type`, the form of the routes of one document."""
    return render(view, document, {"_type": document.doctype})


def project(document: Body, fields: tuple[str, ...]) -> Body:
    """The listed fields of a document, nested ones inside objects; what is absent is left out (spec/01 §8.2)."""
    kept: Body = {}
    for path in fields:
        value = selectors.lookup(path, document)
        if value is selectors.MISSING:
            continue
        *above, last = selectors.steps(path)
        inner = kept
        for step in above:
            inner = cast("Body", inner.setdefault(step, {}))
        inner[last] = value
    return kept
