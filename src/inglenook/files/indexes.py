"""The access paths of files and versions (spec/02 §22), as indexes of the document store.

`CHILDREN` lists a directory in the order of the wire: directories first, then the collation of names. The trash
is not in it: it is never shown in the root and does not count. `NAMES` finds a child by the bytes of its name,
the trash included; it decides whether a name is free.
"""

from __future__ import annotations

from collections.abc import Iterator

from inglenook.files.documents import FILES, TRASH_ID, VERSIONS, references_of, size_of, text
from inglenook.kernel.collation import raw_key, sort_key
from inglenook.storage.documents.contract import Body, Index


def children_prefix(dir_id: str, kind: str = "") -> bytes:
    """What the keys of all children of a directory (of one `type`) start with."""
    return raw_key(dir_id, kind) if kind else raw_key(dir_id)


def child_key(dir_id: str, kind: str, name: str) -> bytes:
    """The key of one child in `CHILDREN`: the name in collation order, then its bytes."""
    return raw_key(dir_id, kind) + sort_key(name) + raw_key(name)


def name_key(dir_id: str, name: str) -> bytes:
    """The key of a child in `NAMES`."""
    return raw_key(dir_id, name)


def reference_prefix(doctype: str, id: str) -> bytes:
    """What the keys of `REFERENCES`, `REFERENCES_BY_DATE` and `LEFT_OUT` start with for one document."""
    return raw_key(doctype, id)


def reference_date_key(doctype: str, id: str, date: str) -> bytes:
    """A key of `REFERENCES_BY_DATE`."""
    return raw_key(doctype, id, date)


def usage_prefix(dir_id: str) -> bytes:
    """The key of the files of a directory in `USAGE`."""
    return raw_key(dir_id)


def after(prefix: bytes) -> bytes:
    """The first key behind all those that start with a prefix."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1])


def _children(id: str, body: Body) -> Iterator[bytes]:
    dir_id = text(body.get("dir_id"))
    if dir_id and id != TRASH_ID:
        yield child_key(dir_id, text(body.get("type")), text(body.get("name")))


def _names(id: str, body: Body) -> Iterator[bytes]:
    dir_id = text(body.get("dir_id"))
    if dir_id:
        yield name_key(dir_id, text(body.get("name")))


def _usage(id: str, body: Body) -> Iterator[bytes]:
    if body.get("type") == "file":
        yield usage_prefix(text(body.get("dir_id")))


def _references(id: str, body: Body) -> Iterator[bytes]:
    for reference in references_of(body, "referenced_by"):
        yield reference_prefix(reference["type"], reference["id"])


def _references_by_date(id: str, body: Body) -> Iterator[bytes]:
    metadata = body.get("metadata")
    date = text(metadata.get("datetime")) if isinstance(metadata, dict) else ""
    for reference in references_of(body, "referenced_by"):
        yield reference_date_key(reference["type"], reference["id"], date)


def _left_out(id: str, body: Body) -> Iterator[bytes]:
    if body.get("type") == "directory":
        for reference in references_of(body, "not_synchronized_on"):
            yield reference_prefix(reference["type"], reference["id"])


def _version_usage(id: str, body: Body) -> Iterator[bytes]:
    yield raw_key(id.partition("/")[0])


CHILDREN = Index("files.children", FILES, _children)
NAMES = Index("files.names", FILES, _names)
USAGE = Index("files.usage", FILES, _usage, amount=size_of)
REFERENCES = Index("files.references", FILES, _references)
REFERENCES_BY_DATE = Index("files.references-by-date", FILES, _references_by_date)
LEFT_OUT = Index("files.left-out", FILES, _left_out)
VERSION_USAGE = Index("files.version-usage", VERSIONS, _version_usage, amount=size_of)

FILE_INDEXES: tuple[Index, ...] = (
    CHILDREN,
    NAMES,
    USAGE,
    REFERENCES,
    REFERENCES_BY_DATE,
    LEFT_OUT,
    VERSION_USAGE,
)
