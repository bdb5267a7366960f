"""Copying a file on the same instance: the bytes are kept once (spec/02 §16.3)."""

from __future__ import annotations

from inglenook.files import tree
from inglenook.files.create_directory import refuse_trashed_parent
from inglenook.files.documents import FILES, Item
from inglenook.files.stamps import Stamp, fresh_upload
from inglenook.files.store import create_item
from inglenook.files.tree import Lineage
from inglenook.kernel.errors import NotFound
from inglenook.kernel.mime import class_of_mime, mime_of_name
from inglenook.kernel.names import check_name, conflict_name, copy_name
from inglenook.storage.documents.contract import Body, Writer

CERTIFIED = ("carbonCopy", "electronicSafe")
KEPT = ("size", "md5sum", "executable", "encrypted")


def copied_body(source: Item, name: str, dir_id: str, stamp: Stamp) -> Body:
    """The body of a copy: references, certified metadata, antivirus and trash marks stay behind (spec/02 §26.4)."""
    check_name(name)
    mime = mime_of_name(name)
    body: Body = {
        "type": "file",
        "name": name,
        "dir_id": dir_id,
        "created_at": stamp.now,
        "updated_at": stamp.now,
        "mime": mime,
        "class": class_of_mime(mime),
        "trashed": False,
        "cozyMetadata": fresh_upload(stamp),
        **{member: source.body[member] for member in KEPT if member in source.body},
    }
    if source.tags:
        body["tags"] = source.tags
    metadata = {key: value for key, value in source.metadata.items() if key not in CERTIFIED}
    if metadata:
        body["metadata"] = metadata
    return body


def copy_file(tx: Writer, id: str, source: Item, body: Body) -> Item:
    """Write a copy whose body is made by `copied_body`; a taken name gets a number.

    Raises NotFound (no such directory, or in the trash; the content is lost)."""
    lineage = Lineage(tx)
    dir_id, name = str(body["dir_id"]), str(body["name"])
    if lineage.directory(dir_id) is None:
        raise NotFound("Parent directory with given DirID does not exist")
    refuse_trashed_parent(lineage, dir_id)
    if tree.taken(tx, dir_id, name):
        body["name"] = conflict_name(name, is_file=True, taken=lambda tried: tree.taken(tx, dir_id, tried))
    content = tx.content(FILES, source.id)
    if content is None:
        raise tree.missing()
    item = create_item(tx, id, body)
    tx.hold(FILES, id, content)
    return item


def default_copy_name(source: Item, locale: str) -> str:
    """The name of a copy when none is asked: `a (copy).txt` in the language of the instance."""
    return copy_name(source.name, locale)
