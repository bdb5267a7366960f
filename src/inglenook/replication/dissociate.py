"""A removal received from a member: what is here is replaced by a copy of its own (spec/05 §16.3, §16.4).

The shared id is given up, so that it can come back later; the content stays with the person, in the trash, in the
folder of what is no longer shared, or in place. No byte is copied: the copy names the same content.
"""

from __future__ import annotations

from inglenook.files import tree
from inglenook.files.documents import TRASH_ID, Item
from inglenook.files.fixed_directories import ensure_no_longer_shared
from inglenook.files.store import create_item, delete_item, hold_content_of
from inglenook.kernel.names import conflict_name
from inglenook.kernel.rules import SharingRule
from inglenook.replication.exchange import FILES, Body, Exchange, Received
from inglenook.sharing import rights, tracking
from inglenook.sharing.documents import DOCTYPE
from inglenook.storage.documents.contract import Writer

CROSSING = 60.0
"""Seconds after which a change of something that was removed has not crossed the removal any more."""


def dissociate(tx: Writer, ex: Exchange, rule_index: int, item: Item) -> None:
    """Take a file or folder out of the sharing, because another member has removed it."""
    if item.is_file:
        dissociate_file(tx, ex, ex.sharing.rules[rule_index], item)
    else:
        dissociate_folder(tx, ex, item)


def dissociate_folder(tx: Writer, ex: Exchange, item: Item) -> None:
    """Copy a folder with all that is below it into the trash under new ids, then delete the old ones."""
    if tree.Lineage(tx).in_trash(item):
        return
    below = list(tree.walk(tx, item.id))
    where = tree.Lineage(tx).path_of(item.dir_id) or "/"
    copies = {item.id: copy_item(tx, item, TRASH_ID, restore_path=where)}
    for inner in below:
        copies[inner.id] = copy_item(tx, inner, copies[inner.dir_id], trashed=True, name=inner.name)
    for old in reversed(below):
        give_up_inside(tx, ex, old)
    give_up(tx, ex, item)


def dissociate_file(tx: Writer, ex: Exchange, rule: SharingRule, item: Item) -> None:
    """Copy a file to where it belongs now, then delete the old id."""
    if item.trashed:
        return
    references = [r for r in item.references if f"{r['type']}/{r['id']}" not in rule.values]
    if rule.selector == "referenced_by" and ex.sharing.owner:
        body = {**item.body, "referenced_by": references}
        delete_first(tx, ex, item)
        place_copy(tx, ex, item, body, item.dir_id, item.name)
    elif not references:
        where = tree.Lineage(tx).path_of(item.dir_id) or "/"
        copy_item(tx, item, TRASH_ID, restore_path=where, trashed=True, references=references)
        give_up(tx, ex, item)
    else:
        place = ensure_no_longer_shared(tx, ex.instance)
        copy_item(tx, item, place.id, references=references)
        give_up(tx, ex, item)


def give_up_id(tx: Writer, item: Item) -> None:
    """Free the id of something that was taken out here, with all that is below it: copies take their places."""
    before, tx.origin = tx.origin, ""
    items = [item, *tree.walk(tx, item.id)] if item.is_directory else [item]
    copies: dict[str, str] = {}
    for old in items:
        content = tx.content(FILES, old.id) if old.is_file else None
        if content is not None:
            tx.hold("passing", old.id, content)
    for old in reversed(items):
        delete_item(tx, old)
    for old in items:
        id = tx.new_id()
        create_item(tx, id, {**old.body, "dir_id": copies.get(old.dir_id, old.dir_id)})
        copies[old.id] = id
        content = tx.content("passing", old.id)
        if content is not None:
            tx.hold(FILES, id, content)
            tx.release("passing", old.id)
    tx.origin = before


def delete_first(tx: Writer, ex: Exchange, item: Item) -> None:
    """Free the name of a file that is replaced in its place; its content is kept by a passing holder."""
    content = tx.content(FILES, item.id)
    if content is not None:
        tx.hold("passing", item.id, content)
    give_up(tx, ex, item)


def place_copy(tx: Writer, ex: Exchange, item: Item, body: Body, dir_id: str, name: str) -> None:
    """Put the copy where the original was."""
    id = tx.new_id()
    content = tx.content("passing", item.id)
    create_item(tx, id, without_empty({**body, "dir_id": dir_id, "name": name}))
    if content is not None:
        tx.hold(FILES, id, content)
    tx.release("passing", item.id)


def copy_item(
    tx: Writer,
    item: Item,
    dir_id: str,
    *,
    restore_path: str = "",
    trashed: bool = False,
    name: str = "",
    references: list[dict[str, str]] | None = None,
) -> str:
    """A copy under a new id in a folder, with a name that is free there; gives the new id."""
    if not name:
        name = item.name
        if tree.taken(tx, dir_id, name):
            # the rule of file names also for folders, as the reference does (spec/05 trap 28)
            name = conflict_name(name, is_file=True, taken=lambda other: tree.taken(tx, dir_id, other))
    body: Body = {**item.body, "dir_id": dir_id, "name": name, "restore_path": restore_path}
    if item.is_file:
        body["trashed"] = trashed
    if references is not None:
        body["referenced_by"] = references
    elif item.is_directory:  # a folder that was shared onward is not, in the trash: that sharing ends with the old id
        body["referenced_by"] = [r for r in item.references if r["type"] != DOCTYPE]
    id = tx.new_id()
    create_item(tx, id, without_empty(body))
    if item.is_file:
        hold_content_of(tx, item.id, id)
    return id


def without_empty(body: Body) -> Body:
    """A body without the members that are absent when empty (spec/02 §25.6)."""
    return {k: v for k, v in body.items() if not (k in ("restore_path", "referenced_by") and not v)}


def give_up_inside(tx: Writer, ex: Exchange, item: Item) -> None:
    """Delete the old id of something below a removed folder. The member who removed the folder may have had it
    elsewhere, or never: it is told of this removal, unless its own removal of the item arrives first."""
    crossed = is_on_its_way(tx, ex, item.id)
    delete_item(tx, item)
    shared = tracking.load(tx, FILES, item.id)
    info = shared.infos.get(ex.sharing.id)
    if info is not None and ex.sharing.owner:
        gone: tracking.Info = {"rule": info["rule"], "removed": True, "dissociated": True}
        shared.infos[ex.sharing.id] = {**gone, "crossed": [ex.membership]} if crossed else gone
        tracking.save(tx, shared)


def give_up(tx: Writer, ex: Exchange, item: Item) -> None:
    """Delete the old id of what a member has removed. The owner remembers it as dissociated, so that it may come back
    and the others are told; a recipient forgets it."""
    give_up_inside(tx, ex, item)
    note_removal(tx, ex, item.id)


def note_removal(tx: Writer, ex: Exchange, id: str) -> None:
    """The member itself has removed what is (already) gone here: it need not be told."""
    shared = tracking.load(tx, FILES, id)
    info = shared.infos.get(ex.sharing.id)
    if info is None:
        return
    if ex.sharing.owner:
        known = {**info.get("known", {}), ex.membership: shared.leaf}
        shared.infos[ex.sharing.id] = {**info, "known": known}
    else:
        del shared.infos[ex.sharing.id]
    tracking.save(tx, shared)


def has_removed(ex: Exchange, shared: tracking.Shared) -> bool:
    """Whether the owner knows that the member itself has removed a document (`note_removal`): what the member sends
    of it is then no echo. What left inside of a folder comes back without a new revision of its own."""
    info = shared.infos.get(ex.sharing.id, {})
    return bool(info.get("removed")) and info.get("known", {}).get(ex.membership) == shared.leaf


def is_over_on_both_sides(tx: Writer, ex: Exchange, shared: tracking.Shared, received: Received) -> bool:
    """Whether something was removed here by its own user, and the other side knows that or has removed it as well:
    when it comes again it is new, and what is here of it has no part in it any more."""
    info = shared.infos.get(ex.sharing.id, {})
    settled = bool(info.get("settled")) and not has_crossed(tx, ex, shared, received)
    if not info.get("removed") or info.get("dissociated"):
        return settled
    return settled or has_removed(ex, shared) or is_brought_back(tx, ex, shared, received)


def has_crossed(tx: Writer, ex: Exchange, shared: tracking.Shared, received: Received) -> bool:
    """Whether a change of what was taken out here, and is still there, was made before the owner heard of it: it is one
    revision of an item whose removal the owner has taken just now. What somebody else has kept has two or more, since
    the owner adds one (`revived`), and what left inside of a folder has none."""
    settled = float(shared.infos[ex.sharing.id]["settled"])
    if ex.moment - settled > CROSSING or tree.get(tx, received.id) is None:
        return False
    return sum(not shared.knows(rev) for rev in received.chain) == 1


def is_brought_back(tx: Writer, ex: Exchange, shared: tracking.Shared, received: Received) -> bool:
    """Whether a member who has taken the owner's removal brings the item back: he had it in his own trash, which makes
    two revisions that the owner has not seen. A single one is a change that crossed the removal (spec/05 §17.4)."""
    unseen = sum(not shared.knows(rev) for rev in received.chain)
    return ex.sharing.owner and unseen >= 2 and is_told(tx, ex, shared.id)


def is_told(tx: Writer, ex: Exchange, id: str) -> bool:
    """Whether the member has taken the latest change of a file or folder."""
    key = f"{FILES}/{id}"
    record = tx.record(tracking.SHARED, key)
    if record is None or record.seq > tx.checkpoint(tracking.checkpoint_of(ex.sharing.id, ex.index)):
        return False
    return tx.record(tracking.retry_kind(ex.sharing.id, ex.index), key) is None


def is_on_its_way(tx: Writer, ex: Exchange, id: str) -> bool:
    """Whether the latest change of a file or folder may be on its way to the member at this moment. When that arrives
    behind his own removal, which is acknowledged by then, it looks as if somebody had kept it. Who may only read by
    now takes it even before his removal, which is from an earlier time, is told."""
    if not ex.sharing.owner:
        return False
    shared = tracking.load(tx, FILES, id)
    came = shared.infos.get(ex.sharing.id, {}).get("known", {}).get(ex.membership) == shared.leaf
    return rights.is_read_only(ex.sharing, ex.index) or not (came or is_told(tx, ex, id))


def is_being_removed(tx: Writer, ex: Exchange, shared: tracking.Shared, received: Received) -> bool:
    """Whether something was destroyed here by its own user, which the other side does not know yet: it must not come
    back by a change that was on its way at that moment."""
    info = shared.infos.get(ex.sharing.id, {})
    removed_here = bool(info.get("removed")) and not info.get("dissociated")
    return removed_here and not comes_anew(tx, ex, shared, received)


def comes_anew(tx: Writer, ex: Exchange, shared: tracking.Shared, received: Received) -> bool:
    """Whether something that was removed here is new when it is received. So is what a reader has removed: nobody is
    told of that, and when the owner changes it, it is there again."""
    removed_by_reader = ex.one_way and bool(shared.infos.get(ex.sharing.id, {}).get("removed"))
    return removed_by_reader or is_over_on_both_sides(tx, ex, shared, received) or is_left_over(ex, shared)


def is_left_over(ex: Exchange, shared: tracking.Shared) -> bool:
    """Whether something has its id from other sharings only, and has left them all. Where a folder is shared onward to
    somebody who is in the first sharing as well, its files can come to him by either under the very same id: their ids
    differ by the keys of both, and what he moves from one to the other goes around."""
    return bool(shared.infos) and ex.sharing.id not in shared.infos and not shared.belongs_to_others(ex.sharing.id)
