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
        shared = tracking.load(tx, doctype, received.id)
        if winner is None or winner.deleted:
            if received.deleted:
                continue
            if rule_for_document(ex.sharing.rules, doctype, received.id, received.body) is None:
                continue
            if winner is not None and not shareable_again(ex, shared):
                continue
        elif not shared.live(ex.sharing.id):
            continue
        tx.origin = ex.came(received.rev)
        is_news = tx.graft(doctype, received.id, received.chain, received.body, deleted=received.deleted)
        if is_news and ex.one_way:
            close_own_branches(tx, ex, doctype, received, shared)


def close_own_branches(tx: Writer, ex: Exchange, doctype: str, received: Received, before: tracking.Shared) -> None:
    """Where one may only read, the owner's state counts: a branch that did not come from the owner ends in a
    tombstone, and stands against nothing. A document may be in conflict at the owner's as well: then it is remembered
    which leaves came. `before` is what was known ahead of this one, with the revision that came last."""
    history = tx.tree(doctype, received.id)
    if history is None:
        return
    info = before.infos.get(ex.sharing.id, {})
    came = {*info.get("leaves", ()), info.get("known", {}).get(ex.membership)} - {*received.chain, None}
    leaves = [leaf for leaf in history.leaves() if not leaf.deleted]
    for leaf in leaves:
        if leaf.rev != received.rev and leaf.rev not in came:
            chain = next_revision([leaf.rev], ex.random)
            tx.graft(doctype, received.id, chain, {}, deleted=True)
    given = sorted({leaf.rev for leaf in leaves} & came)
    if given != sorted(info.get("leaves", ())):
        shared = tracking.load(tx, doctype, received.id)
        shared.infos[ex.sharing.id]["leaves"] = given
        tracking.save(tx, shared)


def shareable_again(ex: Exchange, shared: tracking.Shared) -> bool:
    """Whether a deleted document may come back through this sharing: it was in it, or in none."""
    return not shared.infos or ex.sharing.id in shared.infos
