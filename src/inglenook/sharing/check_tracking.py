"""Looking for what is wrong in the tracking of shared documents, and mending it (spec/10 §3 `check shared`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from inglenook.identity.instance import Instance
from inglenook.kernel.shared_tree import SharedTree, generation
from inglenook.sharing.tracking import SHARED, Shared, save
from inglenook.storage.documents.contract import Reader, Record, Writer

PAGE = 500
CHAIN = 100  # revisions of a document that tracking takes up at once


async def check_shared(instance: Instance) -> AsyncIterator[dict[str, Any]]:
    """The tracking records that cannot be read, and those where a child's generation does not follow its parent's."""
    start = ""
    while True:

        def read(view: Reader, start: str = start) -> list[Record]:
            return view.records(SHARED, start=start, limit=PAGE)

        page = await instance.store.scan(read)
        for record in page:
            for finding in faults_of(record.id, record.body):
                yield finding
        if len(page) < PAGE:
            return
        start = page[-1].id + "\x00"


def faults_of(id: str, body: Any) -> Iterator[dict[str, Any]]:
    """What is wrong with one tracking record."""
    waiting: list[tuple[str, Any]] = [("", body.get("revisions") if isinstance(body, dict) else None)]
    while waiting:
        parent, node = waiting.pop()
        if not isinstance(node, dict) or not isinstance(node.get("rev"), str):
            yield {"type": "invalid_json", "_id": id}
            return
        rev: str = node["rev"]
        if parent and generation(rev) <= generation(parent):
            yield {"type": "invalid_revs_suite", "_id": id, "parent_rev": parent, "child_rev": rev}
        waiting += [(rev, child) for child in node.get("branches") or ()]


async def repair_shared(instance: Instance, finding: dict[str, Any]) -> bool:
    """Make the tree of a tracking record anew from the revisions of its document; False when that cannot be done: what
    the sharings know of the document is lost, or the document was never here.

    Nothing is lost by it: where a member has another revision, the next exchange tells."""
    key: str = finding["_id"]
    doctype, _, id = key.partition("/")

    def mend(tx: Writer) -> bool:
        record, tree = tx.record(SHARED, key), tx.tree(doctype, id)
        infos: Any = record.body.get("infos") if record is not None and isinstance(record.body, dict) else None
        if tree is None or not isinstance(infos, dict) or not all(isinstance(info, dict) for info in infos.values()):
            return False
        chain = tree.path(tree.winner().rev)[-CHAIN:]
        save(tx, Shared(doctype, id, SharedTree.of_chain(chain), infos))
        return True

    return await instance.store.write(mend)
