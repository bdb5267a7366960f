"""Mending what `check` finds, where that loses nothing (spec/10 §3 `check fs --repair`)."""

from __future__ import annotations

from collections.abc import Callable

from inglenook.files import tree
from inglenook.files.authorship import server_stamp
from inglenook.files.check import CONTENT_MISMATCH, FILESYSTEM_MISSING, INDEX_MISSING, Finding
from inglenook.files.documents import FILES, ROOT_ID, TRASH_ID, VERSIONS, Item, size_of
from inglenook.files.fixed_directories import root_body, trash_body
from inglenook.files.tree import Lineage
from inglenook.identity.instance import Instance
from inglenook.kernel.names import conflict_name, is_name
from inglenook.storage.documents.contract import Body, Writer


async def repair(instance: Instance, finding: Finding) -> bool:
    """Mend an inconsistency; False when it needs a person, or is not there any more."""
    if finding.type == INDEX_MISSING:
        await instance.contents.disown(finding.details["sha256"])
        return True
    if finding.type in (CONTENT_MISMATCH, FILESYSTEM_MISSING):
        return await _mend_content(instance, VERSIONS if finding.is_version else FILES, finding.document.id)
    mend = _MENDERS.get(finding.type)
    if mend is None or finding.is_version:
        return False
    now = server_stamp(instance).now
    return await instance.store.write(lambda tx: mend(tx, finding.document.id, now))


async def _mend_content(instance: Instance, doctype: str, id: str) -> bool:
    """Fetch bytes that are damaged or gone from another instance of this server that has the same content; where the
    bytes are what the server once took in, and the document says something else, correct the document."""
    content = await instance.store.read(lambda view: view.content(doctype, id))
    if content is None:
        return False
    if not await instance.contents.is_whole(content):
        for doc in await instance.registry.documents():
            if doc.prefix == instance.prefix or doc.deleting:
                continue
            other = await instance.registry.get(doc.domain)
            if await instance.contents.put_right(content, other.contents):
                break
        else:
            return False
    return await instance.store.write(lambda tx: _correct(tx, doctype, id))


def _correct(tx: Writer, doctype: str, id: str) -> bool:
    """Have a document say the size and MD5 of the content that it names."""
    document, content = tx.get(doctype, id), tx.content(doctype, id)
    if document is None or content is None:
        return False
    body = document.body
    if (size_of(body), body.get("md5sum")) != (content.size, content.md5):
        tx.put(doctype, id, {**body, "size": str(content.size), "md5sum": content.md5}, rev=document.rev)
    return True


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
