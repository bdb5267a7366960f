"""Attachments: contents that a document names in `_attachments`, sent inline in base64 (spec/01 §1.7).

A document keeps stubs: type, length, digest. The bytes are contents of the store, held under a name made of the digest
and the id of the document, as long as some leaf of the document names them. Database clients replicate them: they send
the bytes within documents, and fetch them one by one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from inglenook.documents.bodies import Incoming
from inglenook.documents.presenting import encode_json
from inglenook.kernel import revisions
from inglenook.kernel.errors import BadDocument, DocumentNotFound, DocumentTooLarge, PreconditionFailed
from inglenook.storage.documents.contract import (
    MAX_DOCUMENT_BYTES,
    Body,
    Change,
    Content,
    Document,
    Reader,
    Writer,
)

MEMBER = "_attachments"
DEFAULT_TYPE = "application/octet-stream"
_MARK = b'"_attachments":'
_HELD = "attachments"  # records: which digests a document holds, by doctype and id
_DIGEST = "md5-"

Stubs = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """The body of a document to be written, and the contents that it brings."""

    body: Body
    contents: tuple[tuple[Content, bytes], ...] = ()

    def hold(self, tx: Writer, doctype: str, id: str) -> None:
        """Keep the contents; to be called once the document is written."""
        for content, data in self.contents:
            tx.hold(doctype, _holder(id, _DIGEST + content.md5), content, data)


def prepare(view: Reader, doctype: str, id: str, sent: Incoming, generation: int) -> Prepared:
    """The body of a document with its attachments as stubs; `generation` is that of the revision to be written.

    Raises BadDocument, DocumentTooLarge, PreconditionFailed for a stub of what is not here."""
    if not sent.attachments or sent.deleted:
        return Prepared(sent.body)
    stubs: Stubs = {}
    contents: list[tuple[Content, bytes]] = []
    for name, given in sent.attachments.items():
        described = _described(name, given)
        if described.get("stub") is True:
            stubs[name] = _known(view, doctype, id, name, described)
            continue
        content, data = _decoded(described)
        contents.append((content, data))
        position = described.get("revpos")
        stubs[name] = {
            "content_type": _type_of(described),
            "revpos": position if type(position) is int else generation,
            "digest": _DIGEST + content.md5,
            "length": content.size,
            "stub": True,
        }
    if sum(len(data) for _, data in contents) > MAX_DOCUMENT_BYTES:
        raise DocumentTooLarge(id)
    return Prepared({**sent.body, MEMBER: stubs}, tuple(contents))


def put(
    tx: Writer, doctype: str, id: str, sent: Incoming, *, rev: str | None = None, deleted: bool = False
) -> Document:
    """`Writer.put` of a document that may have attachments. Raises as `prepare` and `Writer.put`."""
    if not sent.attachments:
        return tx.put(doctype, id, sent.body, rev=rev, deleted=deleted)
    former = tx.winner(doctype, id) if rev is None else None
    parent = rev if rev is not None else None if former is None else former.rev
    generation = 1 if parent is None else revisions.generation(revisions.normalise(parent)) + 1
    prepared = prepare(tx, doctype, id, sent, generation)
    document = tx.put(doctype, id, prepared.body, rev=rev, deleted=deleted)
    prepared.hold(tx, doctype, id)
    return document


def graft(tx: Writer, doctype: str, id: str, chain: list[str], sent: Incoming) -> bool:
    """`Writer.graft` of a document that may have attachments. Raises as `prepare` and `Writer.graft`."""
    if not sent.attachments:
        return tx.graft(doctype, id, chain, sent.body, deleted=sent.deleted)
    tree = tx.tree(doctype, id)
    if tree is not None and tree.has(revisions.normalise(chain[-1])):
        return False
    prepared = prepare(tx, doctype, id, sent, revisions.generation(chain[-1]))
    grafted = tx.graft(doctype, id, chain, prepared.body, deleted=sent.deleted)
    prepared.hold(tx, doctype, id)
    return grafted


def stubs_of(document: Document) -> Stubs:
    """The attachments of a document, without their bytes."""
    return cast("Stubs", document.body.get(MEMBER) or {}) if _MARK in document.raw else {}


def read(view: Reader, document: Document, name: str) -> tuple[dict[str, Any], bytes]:
    """The stub and the bytes of an attachment. Raises DocumentNotFound."""
    stub = stubs_of(document).get(name)
    data = None if stub is None else _bytes(view, document, stub)
    if stub is None or data is None:
        raise DocumentNotFound("Document is missing attachment")
    return stub, data


def inlined(view: Reader, document: Document) -> Document:
    """The document with the bytes of its attachments in the place of the stubs."""
    stubs = stubs_of(document)
    if not stubs:
        return document
    whole: Stubs = {}
    for name, stub in stubs.items():
        data = _bytes(view, document, stub)
        told = {member: value for member, value in stub.items() if member not in ("stub", "length")}
        whole[name] = stub if data is None else {**told, "data": base64.b64encode(data).decode()}
    body = {**document.body, MEMBER: whole}
    raw = encode_json(body)
    return Document(document.doctype, document.id, document.rev, raw, deleted=document.deleted, body=body)


def forget_old(tx: Writer, change: Change) -> None:
    """A hook: let go of contents that no leaf of the document names any more."""
    old, new = change.old, change.new
    if not (_MARK in new.raw or (old is not None and _MARK in old.raw) or change.written != new.rev):
        return
    key = f"{new.doctype}/{new.id}"
    record = tx.record(_HELD, key)
    held: set[str] = set() if record is None else set(cast("list[str]", record.body))
    named: set[str] = set()
    tree = tx.tree(new.doctype, new.id)
    for leaf in () if tree is None else tree.leaves():
        document = new if leaf.rev == new.rev else tx.revision(new.doctype, new.id, leaf.rev)
        if document is not None:
            named.update(str(stub["digest"]) for stub in stubs_of(document).values())
    if named == held:
        return
    for digest in held - named:
        tx.release(new.doctype, _holder(new.id, digest))
    if named:
        tx.put_record(_HELD, key, sorted(named))
    else:
        tx.delete_record(_HELD, key)


def forget_all(tx: Writer, doctype: str) -> None:
    """Forget what the documents of a doctype hold, which is about to be dropped with its contents."""
    while page := tx.records(_HELD, start=f"{doctype}/", end=f"{doctype}0"):
        for record in page:
            tx.delete_record(_HELD, record.id)


def _holder(id: str, digest: str) -> str:
    """The name under which a document holds a content; no document has such an id."""
    return f"_attachments/{digest}/{id}"


def _bytes(view: Reader, document: Document, stub: Mapping[str, Any]) -> bytes | None:
    content = view.content(document.doctype, _holder(document.id, str(stub["digest"])))
    return None if content is None else view.content_bytes(content.sha256)


def _described(name: str, given: object) -> dict[str, Any]:
    if not name or name.startswith("_") or not isinstance(given, dict):
        raise BadDocument("bad_request", f"Attachment name '{name}' is malformed or it is no object")
    return cast("dict[str, Any]", given)


def _type_of(described: Mapping[str, Any]) -> str:
    """The media type, as it will be sent; one that cannot be sent is not kept."""
    given = described.get("content_type")
    if isinstance(given, str) and given.isascii() and given.isprintable() and 0 < len(given) < 256:
        return given
    return DEFAULT_TYPE


def _decoded(described: Mapping[str, Any]) -> tuple[Content, bytes]:
    data = described.get("data")
    if not isinstance(data, str):
        raise BadDocument("bad_request", "An attachment has its bytes in `data`, or is a stub")
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise BadDocument("bad_request", "Attachment data is not valid base64") from None
    md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
    return Content(hashlib.sha256(content).hexdigest(), md5, len(content)), content


def _known(view: Reader, doctype: str, id: str, name: str, described: Mapping[str, Any]) -> dict[str, Any]:
    """The stub that some leaf of the document has. Raises PreconditionFailed."""
    for document in _leaves(view, doctype, id):
        stub = stubs_of(document).get(name)
        if stub is not None and described.get("digest", stub["digest"]) == stub["digest"]:
            return stub
    raise PreconditionFailed(f"Invalid attachment stub in {id} for {name}", title="missing_stub")


def _leaves(view: Reader, doctype: str, id: str) -> Iterable[Document]:
    tree = view.tree(doctype, id)
    for leaf in () if tree is None else tree.leaves():
        document = view.revision(doctype, id, leaf.rev)
        if document is not None:
            yield document
