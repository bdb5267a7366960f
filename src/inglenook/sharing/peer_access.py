"""Who calls a server-to-server route: a member's server, by the token it got for that very sharing (spec/05 §12.0).

A token of an app or of an ordinary client never opens these routes, whatever its scope (spec/04 §30.28).
"""

from __future__ import annotations

from inglenook.identity import tokens
from inglenook.identity.caller import Caller
from inglenook.kernel.errors import ExpiredToken, Forbidden, NotFound
from inglenook.sharing.answer import until_agreed
from inglenook.sharing.documents import DOCTYPE, NO_MEMBER, Sharing, load, origin_of
from inglenook.sharing.fairness import take_place
from inglenook.sharing.moved_away import require_here


async def require_peer(caller: Caller, sharing_id: str, verb: str) -> tuple[Sharing, int]:
    """The sharing, and the index of the member whose server calls; `verb` is what the route needs beside GET.

    Raises NoToken, InvalidToken, ExpiredToken, Gone (this instance has moved), Forbidden (not for this sharing,
    not this verb, not a server's token), DocumentNotFound, NotFound (the client belongs to no member), TooManyRequests
    (too many at a time)."""
    permit = await caller.permit()
    if permit.client_kind != "sharing":
        raise Forbidden
    for needed in ("GET", verb):
        permit.require_id(needed, DOCTYPE, sharing_id)
    instance = caller.instance
    sharing = await instance.store.read(lambda view: load(view, sharing_id))
    if not sharing.owner and not sharing.active:
        await until_agreed(instance, sharing_id)
        sharing = await instance.store.read(lambda view: load(view, sharing_id))
    index = sharing.member_of_client(permit.client_id)
    if index is None:
        raise NotFound(NO_MEMBER)
    take_place(caller, sharing_id, index)
    if where := origin_of(sharing.members[index].instance):
        instance.peers.heard_from(where)
    return sharing, index


async def require_leaving_peer(caller: Caller, sharing_id: str) -> tuple[Sharing, int]:
    """The sharing, and the index of the member whose server tells that he leaves. The token of somebody who became a
    reader lives for an hour and cannot be renewed (spec/05 §1); that he leaves is taken from it later as well.

    Raises as `require_peer`."""
    try:
        return await require_peer(caller, sharing_id, "GET")
    except ExpiredToken:
        instance = caller.instance
        await require_here(instance)
        claims = tokens.verify_ended(instance, caller.token, tokens.ACCESS)
        sharing = await instance.store.read(lambda view: load(view, sharing_id))
        index = sharing.member_of_client(claims.sub)
        if index is None:
            raise
        return sharing, index
