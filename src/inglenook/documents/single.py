"""One document at a time: read with its revisions, create, update, delete (spec/01 §2.4, §2.7, §5).

What a permit allows is decided in the same read or transaction as the thing itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from inglenook.documents import accounts, attachments, bodies
from inglenook.documents.all_docs import require_database
from inglenook.documents.presenting import assemble, render, render_typed
from inglenook.kernel import revisions
from inglenook.kernel.errors import BadDocument, BadRequest, DocumentNotFound
from inglenook.kernel.permissions import Permit
from inglenook.kernel.revisions import RevisionTree
from inglenook.storage.documents.contract import Body, Document, DocumentStore, Reader, Writer

SETTINGS = "io.cozy.settings"
VAULT = "io.cozy.settings.bitwarden"
ORGANIZATIONS = "com.bitwarden.organizations"

WRONG_PAIR = "You must either provide an _id and _rev in document (update) or neither (create with fixed id)."


def require_id(id: str) -> None:
    """Raises BadDocument for an id that no route of one document serves."""
    if id.startswith("_"):
        raise BadDocument("bad_id", f"Unsuported couchdb operation {id}")


def require_document(permit: Permit, verb: str, document: Document) -> None:
    """Raises Forbidden unless the permit opens this document; its body is looked at only when a rule does."""
    if not permit.allows_id(verb, document.doctype, document.id):
        permit.require_document(verb, document.doctype, document.id, document.body)


# -- reading


def read(view: Reader, permit: Permit, doctype: str, id: str) -> tuple[str, bytes]:
    """The revision and the JSON text, with `_type`, of the winning revision (spec/01 §5.1).

    Raises Forbidden before DocumentNotFound, so that a limited permit learns nothing of other documents."""
    require_id(id)
    document = view.get(doctype, id)
    if document is None:
        permit.require_document("GET", doctype, id, {})
        document = view.find(doctype, id)
    if not _is_open_vault(permit, doctype, id):
        require_document(permit, "GET", document)
    return document.rev, render_typed(view, document)


def _is_open_vault(permit: Permit, doctype: str, id: str) -> bool:
    return doctype == SETTINGS and id == VAULT and permit.allows_type("GET", ORGANIZATIONS)


@dataclass(frozen=True, slots=True)
class RevisionOptions:
    """What a read with `revs=true` asks for (spec/01 §2.7). `open_revs` is None, "all" or a list of revisions."""

    rev: str | None = None
    open_revs: str | list[str] | None = None
    latest: bool = False
    revs_info: bool = False
    conflicts: bool = False
    deleted_conflicts: bool = False
    attachments: bool = False

    @classmethod
    def of(cls, query: Callable[[str], str | None]) -> RevisionOptions:
        """The options of a query string. Raises BadDocument."""
        rev, open_revs = query("rev"), query("open_revs")
        wanted: str | list[str] | None = open_revs
        if open_revs is not None and open_revs != "all":
            wanted = _list_of_revisions(open_revs)
        return cls(
            rev=None if rev is None else revisions.normalise(rev.strip('"')),
            open_revs=wanted,
            latest=query("latest") == "true",
            revs_info=query("revs_info") == "true",
            conflicts=query("conflicts") == "true",
            deleted_conflicts=query("deleted_conflicts") == "true",
            attachments=query("attachments") == "true",
        )


def read_revisions(view: Reader, permit: Permit, doctype: str, id: str, options: RevisionOptions) -> bytes:
    """The JSON text of a document with its ancestry, or of a list of its revisions (spec/01 §2.7).

    Every revision shown is covered by the permit. Raises Forbidden, DocumentNotFound."""
    require_id(id)
    winner = view.winner(doctype, id)
    if winner is None:
        permit.require_document("GET", doctype, id, {})
    elif not _is_open_vault(permit, doctype, id):
        require_document(permit, "GET", winner)
    require_database(view, doctype)
    tree = view.tree(doctype, id)
    if options.open_revs is not None:
        return b"[" + b",".join(_open_revisions(view, permit, doctype, id, tree, options)) + b"]\n"
    if winner is None or tree is None:
        raise DocumentNotFound
    if options.rev is None:
        if winner.deleted:
            raise DocumentNotFound("deleted")
        return render(view, _shown(view, winner, options), _details(tree, winner.rev, options))
    leaves = _leaves_from(tree, options.rev) if options.latest else [options.rev]
    found = view.revision(doctype, id, leaves[0]) if leaves else None
    if found is None:
        raise DocumentNotFound
    require_document(permit, "GET", found)
    return render(view, _shown(view, found, options), _details(tree, found.rev, options))


def _shown(view: Reader, document: Document, options: RevisionOptions) -> Document:
    return attachments.inlined(view, document) if options.attachments else document


def read_attachment(
    view: Reader, permit: Permit, doctype: str, id: str, name: str, rev: str | None
) -> tuple[dict[str, Any], bytes]:
    """The stub and the bytes of an attachment of a document, or of a leaf of it. Raises Forbidden, DocumentNotFound."""
    require_id(id)
    document = view.get(doctype, id) if rev is None else view.revision(doctype, id, revisions.normalise(rev))
    if document is None:
        permit.require_document("GET", doctype, id, {})
        raise DocumentNotFound
    require_document(permit, "GET", document)
    return attachments.read(view, document, name)


def leaf_document(view: Reader, tree: RevisionTree, doctype: str, id: str, rev: str) -> bytes | None:
    """The JSON text of a leaf with its `_revisions`, None when its body is not kept."""
    found = view.revision(doctype, id, rev)
    return None if found is None else render(view, found, revisions_member(tree, rev))


def revisions_member(tree: RevisionTree, rev: str) -> dict[str, Any]:
    """The `_revisions` member of a revision."""
    return {"_revisions": revisions.chain_to_wire(tree.path(rev))}


def _open_revisions(
    view: Reader, permit: Permit, doctype: str, id: str, tree: RevisionTree | None, options: RevisionOptions
) -> list[bytes]:
    if options.open_revs == "all":
        if tree is None:
            raise DocumentNotFound
        wanted = [leaf.rev for leaf in tree.leaves()]
    else:
        wanted = cast("list[str]", options.open_revs)
    if options.latest and tree is not None:
        wanted = list(dict.fromkeys(leaf for rev in wanted for leaf in (_leaves_from(tree, rev) or [rev])))
    texts: list[bytes] = []
    for rev in wanted:
        found = None if tree is None else view.revision(doctype, id, rev)
        if found is None or tree is None:
            texts.append(msgspec.json.encode({"missing": rev}))
        else:
            require_document(permit, "GET", found)
            shown = render(view, _shown(view, found, options), revisions_member(tree, rev))
            texts.append(b'{"ok":' + shown + b"}")
    return texts


def _leaves_from(tree: RevisionTree, rev: str) -> list[str]:
    return [leaf.rev for leaf in tree.descendants(rev)] if tree.has(rev) else []


def _details(tree: RevisionTree, rev: str, options: RevisionOptions) -> dict[str, Any]:
    path = tree.path(rev)
    details: dict[str, Any] = {"_revisions": revisions.chain_to_wire(path)}
    if options.revs_info:
        leaf = tree.leaf(rev)
        status = "deleted" if leaf is not None and leaf.deleted else "available"
        infos = [{"rev": rev, "status": status}]
        infos += [{"rev": ancestor, "status": "missing"} for ancestor in reversed(path[:-1])]
        details["_revs_info"] = infos
    if options.rev is None:
        if options.conflicts and (conflicts := tree.conflicts()):
            details["_conflicts"] = conflicts
        if options.deleted_conflicts and (deleted := tree.deleted_conflicts()):
            details["_deleted_conflicts"] = deleted
    return details


def _list_of_revisions(text: str) -> list[str]:
    try:
        revs = msgspec.json.decode(text, type=list[str])
    except msgspec.MsgspecError:
        raise BadDocument("bad_request", "open_revs must be `all` or a list of revisions") from None
    return [revisions.normalise(rev) for rev in revs]


# -- writing


def written(document: Document) -> bytes:
    """The answer to a write: `ok`, `id`, `rev`, `type` and the document as `data`."""
    head = msgspec.json.encode({"ok": True, "id": document.id, "rev": document.rev, "type": document.doctype})
    data = assemble(document, document.raw, {"_type": document.doctype})
    return head[:-1] + b',"data":' + data + b"}\n"


def check_new(body: Body) -> None:
    """Raises BadDocument for a document of a `POST` that chooses its id, or names its type (spec/01 §1.7)."""
    id = body.get("_id")
    if isinstance(id, str) and id:
        raise BadDocument("defined_id", "document _id should be empty")
    if "_id" in body and id != "":
        bodies.check_id(id)


async def create(store: DocumentStore, doctype: str, body: Body) -> Document:
    """Create a document under a generated id (spec/01 §5.2). Raises BadDocument, DocumentTooLarge."""
    check_new(body)
    sent = bodies.split({name: value for name, value in body.items() if name not in ("_id", "_rev", "_revisions")})
    return await store.write(lambda tx: attachments.put(tx, doctype, tx.new_id(), sent, deleted=sent.deleted))


async def create_with_id(store: DocumentStore, doctype: str, id: str, body: Body) -> Document:
    """Create a document under a chosen id, or again after its deletion (spec/01 §5.3).

    Raises DocumentConflict when it is live, BadDocument, DocumentTooLarge."""
    require_id(id)
    sent = bodies.split({name: value for name, value in body.items() if name not in ("_id", "_rev", "_revisions")})
    return await store.write(lambda tx: attachments.put(tx, doctype, id, sent, deleted=sent.deleted))


async def update(store: DocumentStore, permit: Permit, doctype: str, id: str, rev: str, body: Body) -> Document:
    """Replace a live document (spec/01 §5.3). Raises Forbidden, DocumentNotFound, DocumentConflict, BadDocument."""
    require_id(id)
    members = {name: value for name, value in body.items() if name not in ("_id", "_rev", "_revisions")}

    def change(tx: Writer) -> Document:
        stored = tx.find(doctype, id)
        if not permit.allows_type("PUT", doctype):
            permit.require_document("PUT", doctype, id, stored.body)
            permit.require_document("PUT", doctype, id, members)
        sent = bodies.split(members)
        document = attachments.put(tx, doctype, id, sent, rev=rev, deleted=sent.deleted)
        if document.deleted:
            accounts.deleted(tx, stored)
        return document

    return await store.write(change)


def is_update(id: str, body: Body) -> bool:
    """Whether the document of a `PUT` is an update (it names its id and revision) or a creation.

    Raises BadRequest for one without the other, or for an id that is not that of the address."""
    own, rev = body.get("_id"), body.get("_rev")
    has_id, has_rev = isinstance(own, str) and own != "", isinstance(rev, str) and rev != ""
    if has_id != has_rev:
        raise BadRequest(WRONG_PAIR)
    if has_id and own != id:
        raise BadRequest("document _id doesnt match url")
    return has_id


async def delete(store: DocumentStore, permit: Permit, doctype: str, id: str, rev: str) -> Document:
    """Delete a document (spec/01 §5.4). Raises DocumentNotFound, Forbidden, DocumentConflict, BadDocument."""
    require_id(id)

    def change(tx: Writer) -> Document:
        stored = tx.get(doctype, id)
        if stored is None:
            if not tx.has_doctype(doctype):
                raise DocumentNotFound("Database does not exist.")
            permit.require_document("DELETE", doctype, id, {})
            stored = tx.find(doctype, id)
        require_document(permit, "DELETE", stored)
        tombstone = tx.delete(doctype, id, rev)
        accounts.deleted(tx, stored)
        return tombstone

    return await store.write(change)


def deleted(document: Document) -> bytes:
    """The answer to a deletion."""
    answer: dict[str, Any] = {"ok": True, "id": document.id, "rev": document.rev, "type": document.doctype}
    return msgspec.json.encode({**answer, "deleted": True}) + b"\n"
