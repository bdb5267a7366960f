"""What happens to the shared folder happens to the sharing: a new name, the trash (spec/04 §16, §19.8; spec/05 §19).

A hook of the store: a sharing whose folder goes to the trash has ended in the very transaction, before the trashing
of what is in the folder could be taken for removals.
"""

from __future__ import annotations

from inglenook.files.documents import FILES, Item
from inglenook.files.tree import Lineage
from inglenook.sharing import description, documents, folder
from inglenook.sharing.revocation import Ending, stop_here
from inglenook.storage.documents.contract import Change, Writer


def follow(tx: Writer, change: Change) -> None:
    """The store's hook. What replication writes is no decision of the local user, but what it takes away is gone."""
    if change.new.doctype != FILES or change.old is None or (tx.origin and not change.new.deleted):
        return
    before = Item.of(change.old)
    sharings = before.sharing_ids()
    if not sharings or before.klass == "shortcut":
        return
    if change.new.deleted:
        origin, tx.origin = tx.origin, ""
        for sharing_id in sharings:
            _destroyed(tx, before, sharing_id)
        tx.origin = origin
        return
    after = Item.of(change.new)
    kept = after.sharing_ids()
    for sharing_id in sharings:
        if sharing_id not in kept:
            if after.trashed or Lineage(tx).in_trash(after):
                stop_here(tx, Ending(_moment(after), in_trash=True), sharing_id)
        elif after.name != before.name:
            _renamed(tx, sharing_id, after)


def _renamed(tx: Writer, sharing_id: str, item: Item) -> None:
    sharing = documents.get(tx, sharing_id)
    if sharing is not None and sharing.active:
        description.change(tx, sharing_id, item.name, _moment(item))


def _destroyed(tx: Writer, item: Item, sharing_id: str) -> None:
    """A folder destroyed without the trash; a copy that took its place goes on with the sharing."""
    sharing = documents.get(tx, sharing_id)
    if sharing is not None and not folder.referring_items(tx, sharing, limit=1):
        stop_here(tx, Ending(_moment(item), in_trash=True), sharing_id)


def _moment(item: Item) -> str:
    """When the change was made, by what the item says of itself: a hook has no clock."""
    cozy = item.cozy_metadata
    return str(cozy.get("trashedAt") or cozy.get("updatedAt") or item.updated_at)
