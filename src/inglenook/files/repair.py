"""Mending what `check` finds, where that loses nothing (spec/10 §3 `check fs --repair`)."""

from __future__ import annotations

from collections.abc import Callable

from inglenook.files import tree
from inglenook.files.authorship import server_stamp
from inglenook.files.check import Finding
from inglenook.files.documents import FILES, ROOT_ID, TRASH_ID, Item
from inglenook.files.fixed_directories import root_body, trash_body
from inglenook.files.tree import Lineage
from inglenook.identity.instance import Instance
from inglenook.kernel.names import conflict_name, is_name
from inglenook.storage.documents.contract import Body, Writer


async def repair(instance: Instance, finding: Finding) -> bool:
    """Mend an inconsistency; False when it needs a person, or is not there any more."""
    mend = _MENDERS.get(finding.type)
    if mend is None or finding.is_version:
        return False
    now = server_stamp(instance).now
    return await instance.store.write(lambda tx: mend(tx, finding.document.id, now))


def _make_root(tx: Writer, id: str, now: str) -> bool:
    return _make(tx, ROOT_ID, root_body(now))


def _make_trash(tx: Writer, id: str, now: str) -> bool:
    return _make(tx, TRASH_ID, trash_body(now))


def _make(tx: Writer, id: str, body: Body) -> bool:
    if tx.get(FILES, id) is not None:
        return False
    tx.put(FILES, id, body)
    return True


def _set_trashed(tx: Writer, id: str, now: str) -> bool:
    item = tree.get(tx, id)
    if item is None or not item.is_file:
        return False
    in_trash = Lineage(tx).in_trash(item)
    if item.trashed == in_trash:
        return False
    return _write(tx, item, {**item.body, "trashed": in_trash})


def _drop_path(tx: Writer, id: str, now: str) -> bool:
    item = tree.get(tx, id)
    if item is None or "path" not in item.body:
        return False
    return _write(tx, item, {name: value for name, value in item.body.items() if name != "path"})


def _rename(tx: Writer, id: str, now: str) -> bool:
    """Give one of several items of the same name a name of its own."""
    item = tree.get(tx, id)
    if item is None or tree.count_named(tx, item.dir_id, item.name) < 2:
        return False
    return _write(tx, item, {**item.body, "name": _free(tx, item, item.dir_id)})


def _adopt(tx: Writer, id: str, now: str) -> bool:
    """Put an orphan into the root."""
    item = tree.get(tx, id)
    if item is None or Lineage(tx).path(item) is not None:
        return False
    name = item.name if is_name(item.name) else item.id
    adopted = Item(item.id, item.rev, {**item.body, "name": name, "dir_id": ROOT_ID})
    if tree.taken(tx, ROOT_ID, name):
        name = _free(tx, adopted, ROOT_ID)
    return _write(tx, item, {**adopted.body, "name": name})


def _free(tx: Writer, item: Item, dir_id: str) -> str:
    return conflict_name(item.name, is_file=item.is_file, taken=lambda name: tree.taken(tx, dir_id, name))


def _write(tx: Writer, item: Item, body: Body) -> bool:
    tx.put(FILES, item.id, body, rev=item.rev)
    return True


_MENDERS: dict[str, Callable[[Writer, str, str], bool]] = {
    "index_missing_root": _make_root,
    "index_missing_trash": _make_trash,
    "trashed_not_in_trash": _set_trashed,
    "not_trashed_in_trash": _set_trashed,
    "index_file_with_path": _drop_path,
    "index_duplicate_name": _rename,
    "index_orphan_tree": _adopt,
}
