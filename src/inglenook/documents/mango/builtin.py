"""The design documents that every instance has (spec/01 §10): generated when they are shown, never stored.

The server has indexes of its own for its own look-ups. A mango index of this list is built when a query first
chooses it. A client that adds an index under one of these names stores the design document, which then counts.
"""

from __future__ import annotations

from typing import Any

import msgspec

from inglenook.kernel.revisions import next_rev
from inglenook.storage.documents.contract import Document, Reader

INDEXES: dict[str, dict[str, tuple[str, ...]]] = {
    "io.cozy.files": {
        "dir-children": ("dir_id", "_id"),
        "dir-by-path": ("path",),
        "by-mime-updated-at": ("mime", "trashed", "updated_at"),
        "with-conflicts": ("_conflicts",),
        "by-sharing-status": ("metadata.sharing.status",),
        "by-dir-id-updated-at": ("dir_id", "updated_at"),
    },
    "io.cozy.jobs": {
        "by-worker-and-state": ("worker", "state"),
        "by-trigger-id": ("trigger_id", "queued_at"),
        "by-queued-at": ("queued_at",),
    },
    "io.cozy.triggers": {"by-worker-and-type": ("worker", "type")},
    "io.cozy.sessions.logins": {"by-os-browser-ip": ("os", "browser", "ip")},
    "io.cozy.notifications": {"by-source-id": ("source_id", "created_at")},
    "io.cozy.contacts": {"by-me": ("me",), "by-groups": ("relationships.groups.data",)},
    "com.bitwarden.ciphers": {"by-folder-id": ("folder_id",), "by-organization-id": ("organization_id",)},
    "io.cozy.nextcloud.migrations": {"by-status": ("status",)},
}
"""Mango indexes by doctype and name. Doctypes that `/data` never shows are left out."""

VIEWS: dict[str, dict[str, tuple[str, str]]] = {
    "io.cozy.files": {
        "disk-usage": ("if (doc.type === 'file') emit(doc.dir_id, +doc.size)", "_sum"),
        "not-synchronized-on": (
            "if (doc.type === 'directory') (doc.not_synchronized_on || []).forEach((r) => emit([r.type, r.id]))",
            "_count",
        ),
        "referenced-by": ("(doc.referenced_by || []).forEach((r) => emit([r.type, r.id]))", "_count"),
        "referenced-by-sorted-by-datetime": (
            "const at = (doc.metadata && doc.metadata.datetime) || '';"
            " (doc.referenced_by || []).forEach((r) => emit([r.type, r.id, at]))",
            "_count",
        ),
        "by-parent-type-name": ("emit([doc.dir_id, doc.type, doc.name])", "_count"),
    },
    "io.cozy.files.versions": {"old-versions-disk-usage": ("emit(doc._id, +doc.size)", "_sum")},
    "io.cozy.contacts": {"contacts-by-email": ("(doc.email || []).forEach((e) => emit(e.address, doc._id))", "")},
}
"""Map views by doctype and name: the body of the map function, and the reduce function."""


def names(doctype: str) -> set[str]:
    """The names of the built-in design documents of a doctype, without `_design/`."""
    return {*INDEXES.get(doctype, ()), *VIEWS.get(doctype, ())}


def unstored(view: Reader, doctype: str) -> list[Document]:
    """The built-in design documents of a doctype that are not stored, in the order of their ids."""
    documents = of_doctype(doctype)
    if not documents:
        return []
    stored = view.get_many(doctype, [document.id for document in documents])
    pairs = zip(documents, stored, strict=True)
    return [document for document, there in pairs if there is None or there.deleted]


def of_doctype(doctype: str) -> tuple[Document, ...]:
    """The built-in design documents of a doctype, stored or not, in the order of their ids."""
    return _DOCUMENTS.get(doctype, ())


def find(view: Reader, doctype: str, id: str) -> Document | None:
    """A live design document, stored or built-in, by its whole id."""
    stored = view.get(doctype, id)
    if stored is not None:
        return stored
    return next((document for document in _DOCUMENTS.get(doctype, ()) if document.id == id), None)


def index_view(fields: dict[str, str], definition: dict[str, Any], partial: dict[str, Any]) -> dict[str, Any]:
    """A mango index as a view of a design document (spec/01 §8.1). The order of `fields` is that of the index."""
    return {
        "map": {"fields": fields, "partial_filter_selector": partial},
        "reduce": "_count",
        "options": {"def": definition},
    }


def _documents(doctype: str) -> tuple[Document, ...]:
    bodies: dict[str, dict[str, Any]] = {}
    for name, fields in INDEXES.get(doctype, {}).items():
        view = index_view(dict.fromkeys(fields, "asc"), {"fields": list(fields)}, {})
        bodies[name] = {"language": "query", "views": {name: view}}
    for name, (code, reduce) in VIEWS.get(doctype, {}).items():
        view = {"map": f"function (doc) {{ {code} }}", **({"reduce": reduce} if reduce else {})}
        bodies[name] = {"language": "javascript", "views": {name: view}}
    return tuple(
        Document(doctype, f"_design/{name}", next_rev(None, body), msgspec.json.encode(body), body=body)
        for name, body in sorted(bodies.items())
    )


_DOCUMENTS: dict[str, tuple[Document, ...]] = {doctype: _documents(doctype) for doctype in {*INDEXES, *VIEWS}}
