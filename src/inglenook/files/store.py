"""The writes that every change of the tree goes through, and the rules of the tree they keep (spec/02 §22).

`create_item`, `update_item` and `delete_item` run in a transaction. They decide inside it what concurrency could
break: that the parent is there, that a name is used once per directory, that a directory does not end up in
itself. With a `chain` (oldest known ancestor first) the revision is the one that another server made, and must
become the winner (spec/05 §5.5); without it a local revision is made. They do not touch what lies below a
directory: see `files.below`.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from inglenook.files import tree
from inglenook.files.documents import FILES, ROOT_ID, TRASH_ID, VERSIONS, Item
from inglenook.files.tree import MAX_DEPTH, Lineage
from inglenook.kernel.errors import Conflict, DocumentConflict, InvalidParameter, NotFound, PreconditionFailed
from inglenook.storage.documents.contract import Body, Content, Writer


def create_item(tx: Writer, id: str, body: Body, *, chain: Sequence[str] = ()) -> Item:
    """Write a new file or directory.

    Raises NotFound (no such parent), Conflict (the name is taken), InvalidParameter (too deep), DocumentConflict
    (the id is in use)."""
    check_place(tx, id, body)
    if not chain:
        return Item.of(tx.put(FILES, id, body))
    if tx.get(FILES, id) is not None:
        raise DocumentConflict
    return _graft(tx, id, body, chain)


def update_item(tx: Writer, item: Item, body: Body, *, chain: Sequence[str] = ()) -> Item:
    """Write the next revision of a file or directory, whose name or place may differ.

    Raises as `create_item`; DocumentConflict when `item` is not the current revision any more, PreconditionFailed
    when a directory would lie in itself."""
    if body.get("dir_id") != item.body.get("dir_id") or body.get("name") != item.body.get("name"):
        check_place(tx, item.id, body)
    if not chain:
        return Item.of(tx.put(FILES, item.id, body, rev=item.rev))
    current = tx.get(FILES, item.id)
    if current is None or current.rev != item.rev:
        raise DocumentConflict
    return _graft(tx, item.id, body, chain)


def delete_item(tx: Writer, item: Item) -> str:
    """Delete one document with its content and old versions, not what lies below a directory; gives the revision
    of the tombstone. Raises DocumentConflict."""
    if item.is_file:
        delete_versions(tx, item.id)
        tx.release(FILES, item.id)
    return tx.delete(FILES, item.id, item.rev).rev


def delete_versions(tx: Writer, file_id: str) -> None:
    """Delete all old versions of a file."""
    while found := tx.all_docs(VERSIONS, start=f"{file_id}/", end=f"{file_id}0", inclusive_end=False, limit=100):
        for version in found:
            tx.release(VERSIONS, version.id)
            tx.delete(VERSIONS, version.id, version.rev)


def hold_content_of(tx: Writer, source_id: str, target_id: str, *, doctype: str = FILES) -> Content:
    """Make a file name the content that another one names; gives it. No byte is copied. Raises NotFound."""
    content = tx.content(doctype, source_id)
    if content is None:
        raise tree.missing()
    tx.hold(FILES, target_id, content)
    return content


def check_place(tx: Writer, id: str, body: Body) -> None:
    """Check that an item may have the name and the place that its body says. Raises as `update_item`."""
    dir_id, name = str(body["dir_id"]), str(body["name"])
    is_directory = body.get("type") == "directory"
    lineage = Lineage(tx)
    above = lineage.up_from(dir_id)
    if not above:
        raise tree.missing() if is_directory else NotFound("Parent directory with given DirID does not exist")
    if is_directory:
        if any(directory.id == id for directory in above):
            raise PreconditionFailed("Forbidden document move", parameter="dir-id")
        check_depth(len(above))
    there = tree.child(tx, dir_id, name)
    if there is not None and there.id != id:
        raise name_taken(there)


def check_depth(levels: int) -> None:
    """Refuse a directory whose path has this many slashes, when it is too deep (spec/02 §3.1)."""
    if levels >= MAX_DEPTH:
        raise InvalidParameter("Invalid path: too many levels", parameter="path")


def name_taken(by: Item) -> Conflict:
    """The error for a name that an item has already; it leads to that item (spec/11 §8)."""
    return Conflict("file already exists", related=f"/files/{quote(by.id, safe='')}")


def is_fixed(id: str) -> bool:
    """The root and the trash, which nothing may change."""
    return id in (ROOT_ID, TRASH_ID)


def _graft(tx: Writer, id: str, body: Body, chain: Sequence[str]) -> Item:
    tx.graft(FILES, id, chain, body)
    written = tx.find(FILES, id)
    if written.rev != chain[-1]:
        raise DocumentConflict
    return Item.of(written)
