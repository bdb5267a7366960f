"""Files, directories and versions as JSON:API objects (spec/02 §8).

Builders are pure: what has to be read (children, versions, paths) is given to them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import msgspec

from inglenook.files.documents import FILES, VERSIONS, Item, references_of
from inglenook.files.thumbnail_secrets import ThumbnailSecrets
from inglenook.files.tree import ChildrenPage, Lineage
from inglenook.kernel import jsonapi
from inglenook.storage.documents.contract import Document

Object = dict[str, Any]

_encode = msgspec.json.Encoder().encode

THUMBNAIL_FORMATS = ("tiny", "small", "medium", "large")
_HIDDEN_IN_FILES = frozenset({"referenced_by", "internal_vfs_id", "path"})


@dataclass(frozen=True, slots=True)
class Shape:
    """How items are shown in one answer: who signs the links of thumbnails, and the sharing whose drive they are
    seen through (empty: none)."""

    secrets: ThumbnailSecrets
    drive_id: str = ""

    def inside(self, drive_id: str) -> Shape:
        """The same, seen through a drive."""
        return replace(self, drive_id=drive_id)


# -- files


def file_object(shape: Shape, item: Item, *, path: str | None = None, versions: Sequence[Document] = ()) -> Object:
    """A file; `path` is given for lists of searches only, `versions` where the answer carries them."""
    attributes: Object = {name: value for name, value in item.body.items() if name not in _HIDDEN_IN_FILES}
    if path is not None:
        attributes["path"] = path
    if shape.drive_id:
        attributes["driveId"] = shape.drive_id
    relationships: Object = {}
    if versions:
        data = [{"id": version.id, "type": VERSIONS} for version in versions]
        relationships["old_versions"] = {"data": data}
    relationships["parent"] = _parent(item.dir_id)
    relationships["referenced_by"] = _referenced_by(item)
    return jsonapi.resource(FILES, item.id, attributes, item.rev, file_links(shape, item), relationships)


def file_links(shape: Shape, item: Item) -> dict[str, str]:
    """The links of a file: to itself, and to thumbnails for pictures and PDF."""
    links = {"self": f"/files/{item.id}"}
    if has_thumbnails(item):
        secret = shape.secrets.issue(item.id)
        for format in THUMBNAIL_FORMATS:
            links[format] = f"/files/{item.id}/thumbnails/{secret}/{format}"
    return links


def has_thumbnails(item: Item) -> bool:
    """Whether small pictures are made of a file."""
    return item.body.get("class") in ("image", "pdf")


def file_document(
    shape: Shape, item: Item, versions: Sequence[Document] = (), links: Mapping[str, str] | None = None
) -> Object:
    """An answer about one file, with its versions where the route says so."""
    included = [version_object(version) for version in versions]
    return jsonapi.document(file_object(shape, item, versions=versions), included, links)


def version_object(version: Document) -> Object:
    """An old version of a file."""
    return jsonapi.resource(VERSIONS, version.id, version.body, version.rev)


# -- directories


def directory_object(shape: Shape, item: Item, lineage: Lineage) -> Object:
    """A directory in its short form: in lists, and when it is created."""
    return jsonapi.resource(
        FILES,
        item.id,
        _directory_attributes(shape, item, lineage),
        item.rev,
        {"self": f"/files/{item.id}"},
        {"referenced_by": _referenced_by(item)},
    )


def partial_directory_object(item: Item, attributes: Object) -> Object:
    """A directory of which only some attributes are told: without links (spec/02 §14.7)."""
    return jsonapi.resource(FILES, item.id, attributes, item.rev, None, {"referenced_by": _referenced_by(item)})


def directory_document(shape: Shape, item: Item, lineage: Lineage, page: ChildrenPage, paging: Paging) -> Object:
    """An answer about one directory, with a page of what is in it."""
    itself = f"/files/{item.id}"
    contents_links = {"self": f"{itself}/relationships/contents"}
    links: dict[str, str] = {}
    query = paging.next_query(item.id, page)
    if query:
        contents_links["next"] = f"{itself}/relationships/contents?{query}"
        links["next"] = f"{itself}?{query}"
    parent: Object = {"data": None}
    if item.dir_id:
        parent = {"links": {"self": f"/files/{item.dir_id}"}, "data": {"id": item.dir_id, "type": FILES}}
    relationships: Object = {
        "parent": parent,
        "contents": {
            "links": contents_links,
            "meta": {"count": page.total},
            "data": [{"id": child.id, "type": FILES} for child in page.children],
        },
        "not_synchronized_on": {
            "links": {"self": f"{itself}/relationships/not_synchronized_on"},
            "data": item.not_synchronized_on or None,
        },
        "referenced_by": _referenced_by(item),
    }
    data = jsonapi.resource(
        FILES, item.id, _directory_attributes(shape, item, lineage), item.rev, {"self": itself}, relationships
    )
    return jsonapi.document(data, child_objects(shape, item.id, page.children, lineage), links)


def children_document(
    shape: Shape, dir_id: str, lineage: Lineage, page: ChildrenPage, paging: Paging, route: str
) -> Object:
    """A list of what is in a directory; `route` is the path that the next page has."""
    query = paging.next_query(dir_id, page)
    links = {"next": f"{route}?{query}"} if query else {}
    return jsonapi.document(child_objects(shape, dir_id, page.children, lineage), None, links, {"count": page.total})


def item_objects(shape: Shape, items: Sequence[Item], lineage: Lineage) -> list[Object]:
    """Elements of a list: files without versions, directories in the short form."""
    return [directory_object(shape, item, lineage) if item.is_directory else file_object(shape, item) for item in items]


def child_objects(shape: Shape, dir_id: str, children: Sequence[Item], lineage: Lineage) -> list[Any]:
    """As `item_objects`, for what is in one directory: most files are sent as they are stored (`msgspec.Raw`)."""
    if shape.drive_id:
        return item_objects(shape, children, lineage)
    parent = _encode(_parent(dir_id))
    found: list[Any] = []
    for child in children:
        raw = child.raw
        if _AS_STORED(raw) and not _NOT_AS_STORED(raw):
            found.append(_stored_file(child, raw, parent))
        else:
            found.append(directory_object(shape, child, lineage) if child.is_directory else file_object(shape, child))
    return found


_AS_STORED = re.compile(rb'"type":"file"').search
_NOT_AS_STORED = re.compile(
    rb'"type":"directory"|"referenced_by":|"internal_vfs_id":|"path":|"class":"(?:image|pdf)"'
).search
"""Members that are hidden or shown elsewhere, at any depth: rather too careful than wrong."""


def _stored_file(item: Item, raw: bytes, parent: bytes) -> msgspec.Raw:
    """`file_object` of a file whose attributes are its stored text."""
    id = _encode(item.id)[1:-1]
    return msgspec.Raw(
        b'{"type":"io.cozy.files","id":"%b","attributes":%b,"meta":{"rev":"%b"},"links":{"self":"/files/%b"},'
        b'"relationships":{"parent":%b,"referenced_by":{"links":{"self":"/files/%b/relationships/references"},'
        b'"data":null}}}' % (id, raw, item.rev.encode(), id, parent, id)
    )


def item_objects_with_path(shape: Shape, items: Sequence[Item], lineage: Lineage) -> list[Object]:
    """Elements of a list whose files have their path too."""
    return [
        directory_object(shape, item, lineage)
        if item.is_directory
        else file_object(shape, item, path=lineage.path(item))
        for item in items
    ]


def _directory_attributes(shape: Shape, item: Item, lineage: Lineage) -> Object:
    attributes = dict(lineage.with_path(item))
    if shape.drive_id:
        attributes["driveId"] = shape.drive_id
    return attributes


def _parent(dir_id: str) -> Object:
    return {"links": {"related": f"/files/{dir_id}"}, "data": {"id": dir_id, "type": FILES}}


def _referenced_by(item: Item) -> Object:
    return {
        "links": {"self": f"/files/{item.id}/relationships/references"},
        "data": references_of(item.body, "referenced_by") or None,
    }


# -- pages


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page of a list was asked for: from a cursor (`key` and document id), else behind `skip` elements.

    `uses_skip` tells that the next page is named by a number too."""

    limit: int
    skip: int = 0
    uses_skip: bool = False
    cursor: tuple[list[Any], str] | None = None

    def next_query(self, dir_id: str, page: ChildrenPage) -> str:
        """The query of the page that follows a page of children; empty for the last one."""
        if page.next is None:
            return ""
        kind = str(page.next.body.get("type"))
        return self.query([dir_id, kind, page.next.name], page.next.id)

    def query(self, key: Sequence[str], id: str) -> str:
        """The query of a page that starts at an element; keys in alphabetical order."""
        limit = f"page%5Blimit%5D={self.limit}"
        if self.uses_skip:
            return f"{limit}&page%5Bskip%5D={self.skip + self.limit}"
        cursor = quote(msgspec.json.encode([list(key), id]).decode(), safe="")
        return f"page%5Bcursor%5D={cursor}&{limit}"
