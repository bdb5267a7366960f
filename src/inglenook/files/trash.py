"""Sending files and directories to the trash, and bringing them back (spec/02 §18.1 and §18.3).

The sharings whose root goes to the trash end: the `sharing` domain sees the reference go away in the same
transaction, by its hook on the store.
"""

from __future__ import annotations

from inglenook.environment import Randomness
from inglenook.files import tree
from inglenook.files.create_directory import ensure_path, nearest
from inglenook.files.documents import (
    FILES,
    ROOT_ID,
    SHARINGS,
    TRASH_ID,
    Item,
    set_or_drop,
)
from inglenook.files.modify import IN_TRASH, refuse_fixed
from inglenook.files.stamps import Stamp, touched, with_trash
from inglenook.files.store import update_item
from inglenook.files.tree import Lineage
from inglenook.kernel.errors import BadRequest, Conflict, NotFound
from inglenook.kernel.names import clean_path, strip_conflict_mark, trash_name
from inglenook.storage.documents.contract import Body, Writer

NAME_TRIES = 1000


def trash(tx: Writer, item: Item, stamp: Stamp, random: Randomness) -> Item:
    """Send an item to the trash with all that is below it.

    Files below get the mark `trashed`, directories below a new revision. References to sharings go, but on
    shortcuts. Raises BadRequest when the item is there already, or is the root or the trash."""
    refuse_fixed(item)
    lineage = Lineage(tx)
    in_trash = lineage.in_trash(item)
    if in_trash and (item.is_directory or item.trashed):
        raise BadRequest(IN_TRASH)
    parent_path = lineage.path_of(item.dir_id) or "/"
    body: Body = {**item.body, "cozyMetadata": with_trash(touched(item, stamp), stamp)}
    if not in_trash:
        body["name"] = free_trash_name(tx, TRASH_ID, item.id, item.name, random)
        body["dir_id"] = TRASH_ID
        body["restore_path"] = parent_path
    if item.is_file:
        body["trashed"] = True
    without_sharings(body)
    written = update_item(tx, item, body)
    if item.is_directory:
        _mark_below(tx, item, trashed=True)
    return written


def restore(tx: Writer, item: Item, stamp: Stamp, random: Randomness) -> Item:
    """Bring an item back from the trash to where it was, with all that is below it; the way there is made anew
    when it is gone. Raises BadRequest when the item is not in the trash."""
    refuse_fixed(item)
    lineage = Lineage(tx)
    refuse_outside_trash(lineage, item)
    return restore_into(tx, item, _restore_parent(tx, restore_destination(lineage, item), stamp), stamp, random)


def restore_into(tx: Writer, item: Item, parent: Item, stamp: Stamp, random: Randomness) -> Item:
    """Bring an item back from the trash into a directory, with all that is below it."""
    body: Body = {**item.body, "cozyMetadata": touched(item, stamp), "dir_id": parent.id}
    body["name"] = free_trash_name(tx, parent.id, item.id, strip_conflict_mark(item.name), random)
    body.pop("restore_path", None)
    if item.is_file:
        body["trashed"] = False
    written = update_item(tx, item, body)
    if item.is_directory:
        _mark_below(tx, item, trashed=False)
    return written


def restore_destination(lineage: Lineage, item: Item) -> str:
    """The path of the directory where a trashed item belongs (spec/02 §18.3): its own `restore_path`, else the
    same way below the place of the top directory it was trashed with."""
    if item.restore_path:
        return _clean(item.restore_path)
    above = lineage.ancestors(item)
    between = [directory for directory in above if directory.id not in (ROOT_ID, TRASH_ID)]
    if not between or not between[-1].restore_path:
        return "/"
    top = between[-1]
    names = [strip_conflict_mark(top.name), *(directory.name for directory in reversed(between[:-1]))]
    return _clean(top.restore_path + "/" + "/".join(names))


def refuse_outside_trash(lineage: Lineage, item: Item) -> None:
    """Refuse an item that is not in the trash. Raises BadRequest."""
    if not (lineage.in_trash(item) or item.trashed):
        raise BadRequest("File or directory is not in the trash")


def free_trash_name(tx: Writer, dir_id: str, id: str, name: str, random: Randomness) -> str:
    """The name itself when no other item has it in a directory, else with random digits (spec/02 §3.3)."""
    tried = name
    for _ in range(NAME_TRIES):
        there = tree.child(tx, dir_id, tried)
        if there is None or there.id == id:
            return tried
        tried = trash_name(name, random)
    raise Conflict("file already exists")


def without_sharings(body: Body) -> None:
    """Take the references to sharings off a body, unless it is a shortcut (changes it)."""
    if body.get("class") == "shortcut" or "referenced_by" not in body:
        return
    kept = [
        entry
        for entry in body["referenced_by"] or []
        if not (isinstance(entry, dict) and entry.get("type") == SHARINGS)
    ]
    set_or_drop(body, "referenced_by", kept)


def _clean(path: str) -> str:
    return clean_path(path) if path.startswith("/") else "/"


def _restore_parent(tx: Writer, path: str, stamp: Stamp) -> Item:
    """The directory of a path, made when it is missing; the root when a file or the trash is in the way."""
    root = tree.find_directory(tx, ROOT_ID)
    try:
        deepest, _ = nearest(tx, path)
    except NotFound:
        return root
    if any(directory.id == TRASH_ID for directory in Lineage(tx).up_from(deepest.id)):
        return root
    return ensure_path(tx, path, stamp)


def _mark_below(tx: Writer, item: Item, *, trashed: bool) -> None:
    """Give each directory below a new revision, and each file the mark; what lies higher comes first, so that a
    hook that ends the sharing of a directory runs before it sees what is in it (spec/05 §19)."""
    for found in tree.walk(tx, item.id):
        if found.is_file and found.trashed == trashed:
            continue
        body: Body = dict(found.body)
        if found.is_file:
            body["trashed"] = trashed
        if trashed:
            without_sharings(body)
        tx.put(FILES, found.id, body, rev=found.rev)
