"""Destroying files and directories for good, and emptying the trash (spec/02 §18.4, §18.5).

A large tree goes in slices, each its own transaction, from the leaves up: whatever is interrupted leaves a tree
that is whole and can be destroyed again.
"""

from __future__ import annotations

from inglenook.files import tree
from inglenook.files.documents import TRASH_ID, Item
from inglenook.files.modify import refuse_system
from inglenook.files.store import delete_item
from inglenook.kernel.errors import DocumentConflict
from inglenook.storage.documents.contract import DocumentStore, Writer

SLICE = 500


async def destroy(store: DocumentStore, item: Item) -> str:
    """Destroy an item with all that is below it; gives the revision of its tombstone.

    Raises BadRequest for the directories that the server needs, DocumentConflict when the item has changed."""
    refuse_system(item)
    if not item.is_directory:
        return await store.write(lambda tx: delete_item(tx, item))
    while (rev := await store.write(lambda tx: _destroy_slice(tx, item))) is None:
        pass
    return rev


async def clear_trash(store: DocumentStore) -> None:
    """Destroy all that is in the trash."""
    while not await store.write(lambda tx: destroy_below(tx, TRASH_ID, SLICE)):
        pass


def _destroy_slice(tx: Writer, item: Item) -> str | None:
    """The last slice takes the directory itself along: else something could come into it in between."""
    current = tree.get(tx, item.id)
    if current is None or current.rev != item.rev:
        raise DocumentConflict
    return delete_item(tx, item) if destroy_below(tx, item.id, SLICE) else None


def destroy_below(tx: Writer, dir_id: str, limit: int) -> bool:
    """Destroy up to `limit` of the items below a directory, leaves first; True when nothing is left there."""
    found: list[Item] = []
    for item in tree.walk(tx, dir_id):
        found.append(item)
        if len(found) > limit:
            break
    whole = len(found) <= limit
    for item in reversed(found):
        if item.is_file or not tree.has_children(tx, item.id):
            delete_item(tx, item)
    return whole


def destroy_tree(tx: Writer, item: Item) -> str:
    """Destroy an item with all that is below it in one transaction, for small trees; gives its tombstone's revision."""
    if item.is_directory:
        while not destroy_below(tx, item.id, SLICE):
            pass
    return delete_item(tx, item)
