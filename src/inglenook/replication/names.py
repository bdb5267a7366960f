"""Names that this side changes because of what it has received (spec/05 §17.3), and gives back when they are free."""

from __future__ import annotations

from collections.abc import Sequence

from inglenook.files import tree
from inglenook.files.below import touch_directories_below
from inglenook.files.documents import FILES, Item
from inglenook.files.store import update_item
from inglenook.replication.exchange import Body, Exchange
from inglenook.sharing import tracking, wanted_names
from inglenook.sharing.wanted_names import Wanted
from inglenook.storage.documents.contract import Writer


def rename_local(tx: Writer, ex: Exchange, item: Item, name: str) -> None:
    """Rename an item of this side as its user would, so that the others learn of it. Where nobody is told, because
    one may only read, it gets its name back as soon as that is free."""
    earlier = wanted_names.waited_for(tx, item.dir_id, item.id) if ex.one_way else None
    info = tracking.load(tx, FILES, item.id).infos.get(ex.sharing.id)
    _rename(tx, item, {"name": name, "cozyMetadata": {**item.cozy_metadata, "updatedAt": ex.now}})
    if ex.one_way and info is not None:
        wanted = earlier.name if earlier is not None else item.name
        given = ex.membership in info.get("known", {})
        wanted_names.wait(tx, item.dir_id, item.id, Wanted(wanted, name, ex.sharing.id, given))


def give_names_back(tx: Writer, folders: Sequence[str]) -> None:
    """Give the names back that have become free in some folders."""
    for dir_id in folders:
        wanted_names.looked(tx, dir_id)
        for id, wanted in wanted_names.waiting_in(tx, dir_id).items():
            item = tree.get(tx, id)
            if item is None or (item.dir_id, item.name) != (dir_id, wanted.instead):
                wanted_names.done(tx, dir_id, id)
            elif not tree.taken(tx, dir_id, wanted.name):
                _rename(tx, item, {"name": wanted.name})


def _rename(tx: Writer, item: Item, changes: Body) -> None:
    """Write an item with another name. What is as the owner has given it counts as such under the new name, too."""
    before, tx.origin = tx.origin, ""
    untouched = [
        sharing
        for sharing, info in tracking.load(tx, FILES, item.id).infos.items()
        if info.get("given") == item.rev
    ]  # fmt: skip
    renamed = update_item(tx, item, {**item.body, **changes})
    shared = tracking.load(tx, FILES, item.id)
    for sharing in untouched:
        if shared.live(sharing):
            shared.infos[sharing]["given"] = renamed.rev
    if untouched:
        tracking.save(tx, shared)
    touch_directories_below(tx, renamed)
    tx.origin = before
