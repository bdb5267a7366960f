"""Telling everybody again where an instance is: after a change of domain, or of mind (spec/12 §7.1, §10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inglenook.moving.moved_sharings import own_index
from inglenook.sharing import documents, moved_notice
from inglenook.storage.documents.contract import Document, Reader, Writer

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

_PAGE = 100


async def tell_everybody(instance: Instance) -> int:
    """Put the present address into our own entry of every sharing, and tell its members; gives how many are told."""
    former = instance.doc.old_domain
    addresses = [f"http://{former}", f"https://{former}"] if former else []
    now = instance.env.clock.now().timestamp()
    told = 0
    start = ""
    while True:

        def page(view: Reader, start: str = start) -> list[Document]:
            return view.all_docs(documents.DOCTYPE, start=start, limit=_PAGE)

        found = await instance.store.read(page)
        for document in found:

            def write(tx: Writer, id: str = document.id) -> int:
                sharing = documents.get(tx, id)
                if sharing is None or not sharing.active:
                    return 0
                mine = own_index(sharing, *addresses)
                if mine is not None and sharing.members[mine].instance != instance.origin:
                    sharing.members[mine].instance = instance.origin
                    documents.save(tx, sharing)
                return moved_notice.queue(tx, sharing, now)

            told += await instance.store.write(write)
        if len(found) < _PAGE:
            return told
        start = found[-1].id + "\0"
