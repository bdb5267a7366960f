"""Local documents: what a replicator keeps beside a database, never replicated (spec/01 §2.11)."""

from __future__ import annotations

from inglenook.documents import bodies
from inglenook.documents.all_docs import require_database
from inglenook.documents.presenting import assemble
from inglenook.kernel.errors import BadDocument, DocumentNotFound
from inglenook.storage.documents.contract import Body, DocumentStore, Reader, Writer

REMOVED = "0-0"  # the revision of a removed local document


def read(view: Reader, doctype: str, name: str) -> bytes:
    """The JSON text of a local document. Raises DocumentNotFound."""
    require_database(view, doctype)
    document = view.local(doctype, name)
    if document is None:
        raise DocumentNotFound
    return assemble(document, document.raw) + b"\n"


async def write(store: DocumentStore, doctype: str, name: str, body: Body) -> str:
    """Write or (with `_deleted`) remove a local document; gives its revision. Nothing ever conflicts.

    Raises DocumentNotFound without a database, BadDocument."""
    if "/" in name:
        raise BadDocument("bad_request", "_local documents do not accept attachments.")
    rev = body.get("_rev")
    if rev is not None and not isinstance(rev, str):
        raise BadDocument("bad_request", "Invalid rev format")
    sent = bodies.split({member: value for member, value in body.items() if member not in ("_id", "_rev")})

    def change(tx: Writer) -> str:
        require_database(tx, doctype)
        return tx.put_local(doctype, name, None if sent.deleted else sent.body, rev)

    return await store.write(change)
