"""Reading sharings: one, those of a doctype, what is shared in them (spec/04 §15)."""

from __future__ import annotations

from inglenook.kernel.collation import raw_key
from inglenook.sharing import documents, tracking
from inglenook.sharing.contact_groups import BY_GROUP
from inglenook.sharing.documents import BY_DOCTYPE, Body, Sharing
from inglenook.sharing.inbox import WAITING_REQUESTS
from inglenook.sharing.shortcuts import BY_STATUS
from inglenook.storage.documents.contract import Reader

PAGE = 100


SHARING_INDEXES = (BY_DOCTYPE, BY_GROUP, BY_STATUS, WAITING_REQUESTS)


def shown(view: Reader, sharing: Sharing, *, with_documents: bool = True) -> Body:
    """The JSON:API object of a sharing with what is shared in it; `null` instead of an empty list."""
    shared = shared_docs(view, sharing) if with_documents else None
    return documents.resource(sharing, shared or None)


def shared_docs(view: Reader, sharing: Sharing) -> list[dict[str, str]]:
    """The documents that are in a sharing now, by the ids of this instance."""
    return [{"id": id, "type": doctype} for doctype, id in tracking.shared_documents(view, sharing.id)]


def of_doctype(view: Reader, doctype: str) -> list[Sharing]:
    """All sharings with a rule about a doctype that is not local, each once, also those that have ended."""
    key = raw_key(doctype)
    found: dict[str, Sharing] = {}
    after: tuple[bytes, str] | None = None
    while page := view.index_docs(BY_DOCTYPE, start=key, end=key + b"\0", after=after, limit=PAGE):
        for _, document in page:
            found[document.id] = documents.of_document(document)
        after = (page[-1][0], page[-1][1].id)
    return list(found.values())
