"""Old contents of a file: when one is kept, when it goes, and how it comes back (spec/02 §1.4 and §17).

A version is a document of `io.cozy.files.versions` whose id starts with the id of its file, and which names a
content of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inglenook.files import tree
from inglenook.files.dates import nanoseconds, seconds_between
from inglenook.files.documents import FILES, VERSIONS, Item, items, members, set_or_drop, text
from inglenook.files.settings import VersionLimits
from inglenook.files.stamps import Stamp, overwritten
from inglenook.files.store import update_item
from inglenook.kernel.errors import Conflict, DocumentNotFound
from inglenook.storage.documents.contract import Body, Content, Document, Reader, Writer

MOST_VERSIONS = 10_000


def versions_of(view: Reader, file_id: str) -> list[Document]:
    """The old versions of a file, by id."""
    return view.all_docs(VERSIONS, start=f"{file_id}/", end=f"{file_id}0", inclusive_end=False, limit=MOST_VERSIONS)


def find_version(view: Reader, version_id: str) -> Document:
    """A version by its whole id. Raises DocumentNotFound."""
    document = view.winner(VERSIONS, version_id)
    if document is None:
        raise DocumentNotFound("missing")
    if document.deleted:
        raise DocumentNotFound("deleted")
    return document


def keep_previous(tx: Writer, item: Item, new_md5: str, limits: VersionLimits, now: str) -> None:
    """Keep the content of a file as a version before another one takes its place, and prune (spec/02 §17.1)."""
    candidate_id = f"{item.id}/{item.rev}"
    old = sorted(versions_of(tx, item.id), key=lambda version: nanoseconds(_made_at(version)) or 0)
    if any(version.id == candidate_id for version in old):
        return
    if limits.keep == 0:
        for version in old:
            delete_version(tx, version)
        return
    too_soon = bool(old) and not item.tags and seconds_between(_made_at(old[-1]), now) < limits.seconds
    kept = not too_soon and new_md5 != item.md5sum
    surplus = len(old) + 1 + (1 if kept else 0) - limits.keep
    for version in [version for version in old if not items(version.body.get("tags"))][: max(surplus, 0)]:
        delete_version(tx, version)
    if kept:
        save_version(tx, item, now)


def save_version(tx: Writer, item: Item, now: str) -> None:
    """Keep the current content of a file as a version, whatever the limits."""
    content = tx.content(FILES, item.id)
    if content is None:
        return
    id = f"{item.id}/{item.rev}"
    tx.put(VERSIONS, id, _version_body(item, now))
    tx.hold(VERSIONS, id, content)


def delete_version(tx: Writer, version: Document) -> None:
    """Delete a version with its content."""
    tx.release(VERSIONS, version.id)
    tx.delete(VERSIONS, version.id, version.rev)


def delete_all_versions(tx: Writer, limit: int) -> bool:
    """Delete some versions, whatever their file; True when none is left."""
    found = tx.all_docs(VERSIONS, limit=limit)
    for version in found:
        delete_version(tx, version)
    return len(found) < limit


def tag_version(tx: Writer, version: Document, tags: Sequence[str], now: str) -> Document:
    """Set the tags of a version."""
    cozy = {**members(version.body.get("cozyMetadata")), "updatedAt": now}
    body = {**version.body, "tags": list(tags), "cozyMetadata": cozy}
    return tx.put(VERSIONS, version.id, body, rev=version.rev)


def revert(tx: Writer, item: Item, version: Document, now: str) -> Item:
    """Make a version the current content of its file; the current one becomes a version (spec/02 §17.2)."""
    content = version_content(tx, version)
    save_version(tx, item, now)
    was = members(version.body.get("cozyMetadata"))
    cozy = item.cozy_metadata
    for member in ("uploadedAt", "uploadedOn", "uploadedBy"):
        if member in was:
            cozy[member] = was[member]
    body: Body = {
        **item.body,
        "size": str(content.size),
        "md5sum": content.md5,
        "updated_at": text(version.body.get("updated_at")) or item.updated_at,
    }
    set_or_drop(body, "tags", items(version.body.get("tags")))
    set_or_drop(body, "metadata", members(version.body.get("metadata")))
    set_or_drop(body, "cozyMetadata", cozy)
    tx.hold(FILES, item.id, content)
    written = update_item(tx, item, body)
    delete_version(tx, version)
    return written


def version_content(view: Reader, version: Document) -> Content:
    """The content of a version. Raises NotFound when the storage has lost it."""
    content = view.content(VERSIONS, version.id)
    if content is None:
        raise tree.missing()
    return content


def belongs_to_file(view: Reader, file_id: str) -> Item:
    """The file of a version route. Raises NotFound, and Conflict for a directory."""
    item = tree.find(view, file_id)
    if not item.is_file:
        raise Conflict("Conflict access to same file or directory")
    return item


def set_metadata(tx: Writer, item: Item, metadata: Mapping[str, Any], tags: Sequence[str], stamp: Stamp) -> Item:
    """New metadata and tags with the same content, as an upload of it would do (spec/02 §17.6)."""
    body: Body = {**item.body, "cozyMetadata": overwritten(item, stamp)}
    set_or_drop(body, "tags", list(tags))
    set_or_drop(body, "metadata", dict(metadata))
    return update_item(tx, item, body)


def _version_body(item: Item, now: str) -> Body:
    was = item.cozy_metadata
    cozy: dict[str, Any] = {"doctypeVersion": "1", "metadataVersion": 1, "createdAt": now, "updatedAt": now}
    if "uploadedOn" in was:
        cozy["createdOn"] = cozy["uploadedOn"] = was["uploadedOn"]
    cozy["uploadedAt"] = was.get("uploadedAt") or item.updated_at
    if "uploadedBy" in was:
        cozy["uploadedBy"] = was["uploadedBy"]
    body: Body = {
        "updated_at": item.updated_at,
        "size": str(item.size),
        "md5sum": item.md5sum,
        "tags": item.tags or None,
        "cozyMetadata": cozy,
        "relationships": {"file": {"data": {"_id": item.id, "_type": FILES}}},
    }
    set_or_drop(body, "metadata", item.metadata)
    return body


def _made_at(version: Document) -> str:
    return text(members(version.body.get("cozyMetadata")).get("createdAt"))
