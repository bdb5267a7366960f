"""Many documents in one request: `_bulk_docs`, `_bulk_get`, `_revs_diff` (spec/01 §2.4, §2.5, §6.3, §6.4, §7.2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import msgspec

from inglenook.documents import accounts, attachments, bodies
from inglenook.documents.all_docs import require_database
from inglenook.documents.bodies import Incoming
from inglenook.documents.mango import definitions
from inglenook.documents.presenting import encode_json, render
from inglenook.documents.single import revisions_member
from inglenook.kernel import revisions
from inglenook.kernel.errors import BadDocument, DocumentConflict
from inglenook.kernel.revisions import RevisionTree
from inglenook.storage.documents.contract import Document, DocumentStore, Reader, Writer

ASIDE_FROM = 100  # documents; more are decoded off the event loop
PAGE = 50  # documents rendered in one read of `_bulk_get`

NO_PATH = "When `new_edits: false`, the document needs `_rev` or `_revisions` specified"
CONFLICT = {"error": "conflict", "reason": "Document update conflict."}


Completed = Callable[[Incoming], Incoming]
"""Gives a document as it is stored, from what was sent."""


class BulkDocs(msgspec.Struct):
    """The body of `_bulk_docs`."""

    docs: list[msgspec.Raw] | None = None
    new_edits: bool = True


# -- writing


def read_bulk(raw: bytes) -> BulkDocs | None:
    """The body of `_bulk_docs`, None when it is not JSON of that form."""
    try:
        bulk = msgspec.json.decode(raw, type=BulkDocs)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return bulk if all(bytes(document).startswith(b"{") for document in bulk.docs or ()) else None


def _as_sent(document: Incoming) -> Incoming:
    return document


async def write(store: DocumentStore, doctype: str, bulk: BulkDocs, completed: Completed = _as_sent) -> bytes:
    """Write the documents of a request, each for itself and as `completed`; gives the answer.

    A document that cannot be understood refuses them all: raises BadDocument, DocumentTooLarge."""
    if bulk.docs is None:
        raise BadDocument("bad_request", "POST body must include `docs` parameter.")
    docs = bulk.docs

    def understand() -> list[Incoming]:
        return [completed(bodies.read_document(raw)) for raw in docs]

    sent = understand() if len(docs) < ASIDE_FROM else await asyncio.to_thread(understand)
    if bulk.new_edits:
        results = await store.write(lambda tx: [_edit(tx, doctype, document) for document in _begin(tx, doctype, sent)])
        return encode_json(results) + b"\n"
    chains = [_chain(document) for document in sent]

    def replicate(tx: Writer) -> None:
        for document, chain in zip(_begin(tx, doctype, sent), chains, strict=True):
            _graft(tx, doctype, document, chain)

    await store.write(replicate)
    return b"[]\n"


def _begin(tx: Writer, doctype: str, sent: list[Incoming]) -> list[Incoming]:
    tx.create_doctype(doctype)
    return sent


def _edit(tx: Writer, doctype: str, sent: Incoming) -> dict[str, Any]:
    id = sent.id or tx.new_id()
    parent = sent.chain[-1] if sent.chain else sent.rev
    stored = _former(tx, doctype, id)
    try:
        document = attachments.put(tx, doctype, id, sent, rev=parent, deleted=sent.deleted)
    except DocumentConflict:
        return {"id": id, **CONFLICT}
    _follow(tx, stored, document)
    return {"ok": True, "id": id, "rev": document.rev}


def _graft(tx: Writer, doctype: str, sent: Incoming, chain: list[str]) -> None:
    id = sent.id or tx.new_id()
    stored = _former(tx, doctype, id)
    if attachments.graft(tx, doctype, id, chain, sent) and _has_followers(doctype, id):
        winner = tx.winner(doctype, id)
        if winner is not None:
            _follow(tx, stored, winner)


def _has_followers(doctype: str, id: str) -> bool:
    """Whether something belongs to a write of this document besides itself."""
    return doctype == accounts.ACCOUNTS or definitions.is_design(id)


def _former(tx: Writer, doctype: str, id: str) -> Document | None:
    """The document as it is before a write, when that matters."""
    return tx.get(doctype, id) if _has_followers(doctype, id) else None


def _follow(tx: Writer, stored: Document | None, winner: Document) -> None:
    """What belongs to a write besides the document itself."""
    if definitions.is_design(winner.id):
        definitions.replaced(tx, stored, winner)
    elif stored is not None and winner.deleted:
        accounts.deleted(tx, stored)


def _chain(sent: Incoming) -> list[str]:
    if sent.chain:
        return sent.chain
    if sent.rev is None:
        raise BadDocument("bad_request", NO_PATH)
    return [revisions.normalise(sent.rev)]


# -- reading


async def get(
    store: DocumentStore, doctype: str, items: list[Any], *, revs: bool, latest: bool, inline: bool = False
) -> AsyncIterator[bytes]:
    """The answer of `_bulk_get`, in pieces; `inline` with the bytes of attachments.

    Raises DocumentNotFound before the first."""
    await store.read(lambda view: require_database(view, doctype))
    yield b'{"results":['
    for at in range(0, len(items), PAGE):
        wanted = items[at : at + PAGE]

        def page(view: Reader, wanted: list[Any] = wanted) -> bytes:
            return b",".join([_result(view, doctype, item, revs, latest, inline) for item in wanted])

        yield (b"," if at else b"") + await store.read(page)
    yield b"]}\n"


def _result(view: Reader, doctype: str, item: object, revs: bool, latest: bool, inline: bool) -> bytes:
    wanted = cast("dict[str, Any]", item) if isinstance(item, dict) else {}
    id, rev = wanted.get("id"), wanted.get("rev")
    if not isinstance(id, str):
        return _failed(None, rev, "bad_request", "document id missed")
    tree = view.tree(doctype, id)
    if rev is None:
        leaves = [] if tree is None else [leaf.rev for leaf in tree.leaves()]
    else:
        try:
            rev = revisions.normalise(rev) if isinstance(rev, str) else revisions.normalise("")
        except BadDocument as error:
            return _failed(id, rev, "bad_request", error.detail)
        leaves = [rev]
        if latest and tree is not None and tree.has(rev):
            leaves = [leaf.rev for leaf in tree.descendants(rev)]
    found = [document for leaf in leaves if (document := view.revision(doctype, id, leaf)) is not None]
    if not found or tree is None:
        return _failed(id, "undefined" if rev is None else rev, "not_found", "missing")
    if inline:
        found = [attachments.inlined(view, document) for document in found]
    texts = [render(view, document, _ancestry(tree, document, revs)) for document in found]
    return b'{"id":%b,"docs":[%b]}' % (encode_json(id), b",".join([b'{"ok":' + text + b"}" for text in texts]))


def _ancestry(tree: RevisionTree, document: Document, revs: bool) -> dict[str, Any] | None:
    return revisions_member(tree, document.rev) if revs else None


def _failed(id: str | None, rev: object, error: str, reason: str) -> bytes:
    failure = {"id": id, "rev": "undefined" if rev is None else rev, "error": error, "reason": reason}
    return encode_json({"id": id, "docs": [{"error": failure}]})


def revs_diff(view: Reader, doctype: str, asked: object) -> bytes:
    """The answer of `_revs_diff`: what is not known here. Raises BadDocument, DocumentNotFound."""
    require_database(view, doctype)
    if not isinstance(asked, dict):
        raise BadDocument("bad_request", "Request body must be a JSON object")
    answer: dict[str, Any] = {}
    for id, revs in cast("dict[str, object]", asked).items():
        if not isinstance(revs, list):
            raise BadDocument("bad_request", "Invalid rev format")
        wanted: list[str] = []
        for rev in cast("list[object]", revs):
            if not isinstance(rev, str):
                raise BadDocument("bad_request", "Invalid rev format")
            wanted.append(revisions.normalise(rev))
        tree = view.tree(doctype, id)
        missing = wanted if tree is None else tree.missing(wanted)
        if missing:
            answer[id] = {"missing": missing}
            if tree is not None and (ancestors := tree.possible_ancestors(missing)):
                answer[id]["possible_ancestors"] = ancestors
    return encode_json(answer) + b"\n"
