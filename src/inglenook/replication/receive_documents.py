"""Documents that are not files, received in a bulk: the model of CouchDB, within the rules (spec/05 §13)."""

from __future__ import annotations

from collections.abc import Sequence

from inglenook.kernel.rules import rule_for_document
from inglenook.replication.exchange import Exchange, Received, next_revision
from inglenook.sharing import tracking
from inglenook.storage.documents.contract import Writer


def apply_documents(tx: Writer, ex: Exchange, doctype: str, documents: Sequence[Received]) -> None:
    """Store what a rule takes in or what is shared already; anything else is dropped, as it is not this sharing's.

    Every received leaf is stored; the winner is the same on both sides (spec/01 §2.3)."""
    for received in documents:
        winner = tx.winner(doctype, received.id)
        if winner is None or winner.deleted:
            if received.deleted:
                continue
            if rule_for_document(ex.sharing.rules, doctype, received.id, received.body) is None:
                continue
            if winner is not None and not shareable_again(tx, ex, doctype, received.id):
                continue
        elif not tracking.load(tx, doctype, received.id).live(ex.sharing.id):
            continue
        tx.origin = ex.came(received.rev)
        is_news = tx.graft(doctype, received.id, received.chain, received.body, deleted=received.deleted)
        if is_news and ex.one_way:
            close_own_branches(tx, ex, doctype, received)


def close_own_branches(tx: Writer, ex: Exchange, doctype: str, received: Received) -> None:
    """Where one may only read, the owner's state counts: a branch that did not come from the owner ends in a
    tombstone, and stands against nothing. Which leaves came is remembered, since a document may be in conflict at the
    owner's as well."""
    shared = tracking.load(tx, doctype, received.id)
    history = tx.tree(doctype, received.id)
    info = shared.infos.get(ex.sharing.id)
    if info is None or history is None:
        return
    given = [*(rev for rev in info.get("leaves", ()) if rev not in received.chain), received.rev]
    for leaf in history.leaves():
        if not leaf.deleted and leaf.rev not in given:
            chain = next_revision([leaf.rev], ex.random)
            tx.graft(doctype, received.id, chain, {}, deleted=True)
    shared = tracking.load(tx, doctype, received.id)
    shared.infos[ex.sharing.id]["leaves"] = given
    tracking.save(tx, shared)


def shareable_again(tx: Writer, ex: Exchange, doctype: str, id: str) -> bool:
    """Whether a deleted document may come back through this sharing: it was in it, or in none."""
    shared = tracking.load(tx, doctype, id)
    return not shared.infos or ex.sharing.id in shared.infos
