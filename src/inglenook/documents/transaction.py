"""Writes of several documents, of any doctypes of one instance, that happen together or not at all (spec/11 §6).

Each document carries its `_type`, its `_id` when it is not to be generated, its `_rev` when it is there already, and
`_deleted` when it is to go. One database transaction, so that the entries of the journal stand together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from inglenook.documents import accounts, attachments, bodies, single
from inglenook.documents.bodies import Incoming
from inglenook.documents.presenting import encode_json
from inglenook.kernel import doctypes
from inglenook.kernel.errors import BadDocument, DocumentConflict, DocumentNotFound, DomainError, Forbidden, TooLarge
from inglenook.kernel.permissions import Permit
from inglenook.storage.documents.contract import Document, DocumentStore, Writer
from inglenook.wire import status_of

MOST_DOCUMENTS = 1000  # of one transaction
OWNERS_CLIENTS = frozenset({"app", "konnector", "oauth", "cli"})  # kinds of permits; not those of links

Completed = Callable[[str, Incoming], Incoming]
"""Gives a document of a doctype as it is stored, from what was sent."""


class Transaction(msgspec.Struct):
    """The body of a transaction."""

    docs: list[msgspec.Raw]


@dataclass(frozen=True, slots=True)
class Step:
    """One document of a transaction."""

    doctype: str
    sent: Incoming


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a transaction: one result for each document. `status` is that of HTTP, of its first failure."""

    status: int
    results: list[dict[str, Any]]

    @property
    def answer(self) -> bytes:
        """The JSON text of the answer: the results, or the first failure with them."""
        if self.status < 400:
            return encode_json(self.results) + b"\n"
        first = next(result for result in self.results if result["error"] != NOT_DONE["error"])
        head = {"ok": False, "status": str(self.status), "error": first["error"], "reason": first["reason"]}
        return encode_json({**head, "results": self.results}) + b"\n"


NOT_DONE = {"error": "not_done", "reason": "Another document of the transaction failed."}


def read(raw: bytes) -> list[Step]:
    """The documents of a body: `{"docs": […]}`, or the list alone. Raises BadDocument, DocumentTooLarge, TooLarge."""
    try:
        if raw.lstrip()[:1] == b"[":
            documents = msgspec.json.decode(raw, type=list[msgspec.Raw])
        else:
            documents = msgspec.json.decode(raw, type=Transaction).docs
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadDocument("bad_request", "A transaction is a JSON object with a list of `docs`") from None
    if len(documents) > MOST_DOCUMENTS:
        raise TooLarge(f"A transaction has {MOST_DOCUMENTS} documents at most")
    return [_step(document) for document in documents]


def _step(raw: msgspec.Raw) -> Step:
    value = bodies.decode_document(bytes(raw))
    doctype = value.pop("_type", None)
    if not isinstance(doctype, str) or not doctype:
        raise BadDocument("doc_validation", "Each document of a transaction names its doctype in _type")
    sent = bodies.split(value)
    if sent.id is not None:
        single.require_id(sent.id)
    if sent.chain is not None:
        raise BadDocument("doc_validation", "Bad special document member: _revisions")
    if sent.id is None and (sent.rev is not None or sent.deleted):
        raise BadDocument("illegal_docid", "A document that is there already is named by its _id")
    bodies.check_size(sent.id or "", sent.body)
    return Step(doctype, sent)


def check(permit: Permit, steps: list[Step]) -> None:
    """Raises Forbidden when the caller is not the owner's client, or some doctype cannot be written."""
    if permit.kind not in OWNERS_CLIENTS:
        raise Forbidden
    for doctype in {step.doctype for step in steps}:
        doctypes.check_writable(doctype)


class _Failed(DomainError):
    """Undoes the transaction; carries what is told."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__("The transaction failed")
        self.outcome = outcome


async def write(store: DocumentStore, permit: Permit, steps: list[Step], completed: Completed) -> Outcome:
    """Write all documents, or none: what failed is in the outcome. A missing permission is such a failure."""

    def change(tx: Writer) -> Outcome:
        results: list[dict[str, Any]] = []
        failed: DomainError | None = None
        for step in steps:
            named = {"type": step.doctype, "id": step.sent.id}
            try:
                results.append(_write(tx, permit, step.doctype, completed(step.doctype, step.sent)))
            except (BadDocument, DocumentConflict, DocumentNotFound, Forbidden) as error:
                failed = failed or error
                results.append({**named, "error": error.title or "forbidden", "reason": error.detail or "Forbidden"})
        if failed is None:
            return Outcome(201, results)
        told = [result if "error" in result else _undone(result) for result in results]
        raise _Failed(Outcome(status_of(failed), told))

    try:
        return await store.write(change)
    except _Failed as failure:
        return failure.outcome


def _undone(result: dict[str, Any]) -> dict[str, Any]:
    return {"type": result["type"], "id": result["id"], **NOT_DONE}


def _write(tx: Writer, permit: Permit, doctype: str, sent: Incoming) -> dict[str, Any]:
    """Write one document. Raises Forbidden, DocumentNotFound, DocumentConflict, BadDocument."""
    id = sent.id or tx.new_id()
    if sent.rev is None:
        if sent.deleted:
            raise DocumentConflict
        permit.require_document("POST", doctype, id, sent.body)
        document = attachments.put(tx, doctype, id, sent)
    else:
        stored = _stored(tx, permit, doctype, id, sent)
        document = attachments.put(tx, doctype, id, sent, rev=sent.rev, deleted=sent.deleted)
        if document.deleted:
            accounts.deleted(tx, stored)
    return {"ok": True, "id": id, "rev": document.rev, "type": doctype}


def _stored(tx: Writer, permit: Permit, doctype: str, id: str, sent: Incoming) -> Document:
    """The live document that is going to be replaced or deleted. Raises Forbidden before DocumentNotFound."""
    verb = "DELETE" if sent.deleted else "PUT"
    stored = tx.get(doctype, id)
    if stored is None:
        permit.require_document(verb, doctype, id, {})
        return tx.find(doctype, id)
    if not permit.allows_type(verb, doctype):
        permit.require_document(verb, doctype, id, stored.body)
        if not sent.deleted:
            permit.require_document(verb, doctype, id, sent.body)
    return stored
