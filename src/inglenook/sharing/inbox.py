"""How many requests of others wait for an answer at most (spec/08 §10.3). Anybody can send them: the oldest make room,
of the same origin first."""

from __future__ import annotations

from collections.abc import Iterable

from inglenook.kernel.collation import prefix_end, raw_key
from inglenook.sharing import documents, shortcuts
from inglenook.sharing.documents import DOCTYPE, Body, Sharing
from inglenook.storage.documents.contract import Index, Writer

OF_ONE_ORIGIN = 20
OF_ALL = 200


def _keys(doc_id: str, body: Body) -> Iterable[bytes]:
    """When a request came, over all and for its origin. One that was answered or has ended has no credentials to fill
    in any more, or is active."""
    if body.get("owner") or body.get("active") or not body.get("credentials"):
        return
    when = str(body.get("updated_at", ""))
    yield raw_key("", when)
    if origin := _origin(body.get("members")):
        yield raw_key(origin, when)


def _origin(members: object) -> str:
    first = members[0] if isinstance(members, list) and members else None
    address = first.get("instance") if isinstance(first, dict) else None
    return documents.origin_of(address) if isinstance(address, str) else ""


WAITING_REQUESTS = Index("sharings-requests", DOCTYPE, _keys)


def make_room(tx: Writer, newest: Sharing) -> None:
    """Drop the oldest requests, with their shortcuts, when there are too many beside the newest."""
    origin = documents.origin_of(newest.members[0].instance) if newest.members else ""
    for name, most in ((origin, OF_ONE_ORIGIN), ("", OF_ALL)):
        first = raw_key(name)
        last = prefix_end(first)
        surplus = tx.index_count(WAITING_REQUESTS, start=first, end=last) - most
        if surplus > 0:
            for entry in tx.index(WAITING_REQUESTS, start=first, end=last, limit=surplus):
                _drop(tx, entry.id, but=newest.id)


def _drop(tx: Writer, sharing_id: str, *, but: str) -> None:
    if sharing_id == but:
        return
    sharing = documents.load(tx, sharing_id)
    shortcuts.remove(tx, sharing)
    tx.delete(DOCTYPE, sharing_id, sharing.rev)
