"""Mail addresses of contacts that no mail would reach as they are written, put right for an operator (spec/03 §16)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from inglenook.contacts.address_book import CONTACTS
from inglenook.kernel.errors import DocumentConflict

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance
    from inglenook.storage.documents.contract import Document, Reader, Writer

PAGE = 200
_ADDRESS = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+")


async def mend_addresses(instance: Instance) -> int:
    """Take what is around the addresses of contacts away (blanks, `mailto:`, a name and brackets); gives how many were
    changed. What has no address in it stays as it is."""
    mended = 0
    start = ""
    while True:

        def read(view: Reader, start: str = start) -> list[Document]:
            return view.all_docs(CONTACTS, start=start, limit=PAGE)

        page = await instance.store.scan(read)
        for document in page:
            entries = mended_entries(document.body.get("email"))
            if entries is not None:
                mended += await instance.store.write(lambda tx, d=document, e=entries: _put(tx, d, e))
        if len(page) < PAGE:
            return mended
        start = page[-1].id + "\0"


def mended_entries(listed: Any) -> list[Any] | None:
    """The list `email` of a contact with its addresses put right, None when nothing is to be done."""
    if not isinstance(listed, list):
        return None
    entries = [_mended(entry) for entry in listed]
    return entries if entries != listed else None


def _mended(entry: Any) -> Any:
    address = entry.get("address") if isinstance(entry, dict) else None
    if not isinstance(address, str):
        return entry
    found = _ADDRESS.findall(address.strip().removeprefix("mailto:"))
    return {**entry, "address": found[0]} if len(found) == 1 else entry


def _put(tx: Writer, document: Document, entries: list[Any]) -> bool:
    try:
        tx.put(CONTACTS, document.id, {**document.body, "email": entries}, rev=document.rev)
    except DocumentConflict:  # its owner changes it right now
        return False
    return True
