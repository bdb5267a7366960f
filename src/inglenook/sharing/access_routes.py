"""Asking for more rights, and the page on which the owner gives them (spec/11 §5).

The page is below `/auth`, where the cookie that protects its form is sent (spec/04 §28)."""

from __future__ import annotations

import msgspec
from litestar import get, post

from inglenook.identity import forms, pages, sessions
from inglenook.identity.caller import Caller
from inglenook.identity.csrf import Csrf
from inglenook.identity.instance import Instance
from inglenook.identity.translations import translate
from inglenook.kernel.errors import DomainError, Forbidden, NotFound
from inglenook.kernel.members import State
from inglenook.sharing import access, delegation, documents, preview, readonly
from inglenook.sharing.client_access import CLIENTS, require_reading
from inglenook.sharing.client_routes import BODY_LIMIT, Http, member_index
from inglenook.sharing.documents import NO_MEMBER, Sharing
from inglenook.sharing.peer_access import require_peer
from inglenook.wire import JSON, SESSION, TOKEN, Answer, no_content, read_body


@post("/sharings/{sharing_id:str}/request-access", opt={"guard": TOKEN}, status_code=200)
async def ask(sharing_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """Ask for the right to write: by the code of a preview, by the server of a member, or by his own client."""
    permit = await caller.permit()
    sharing = await instance.store.read(lambda view: documents.load(view, sharing_id))
    index: int | None = None
    if permit.kind in ("share-preview", "share-interact"):
        if permit.sharing_id != sharing_id:
            raise Forbidden
        index = preview.member_of_key(sharing, permit.member_key)
        if index is None:
            raise NotFound(NO_MEMBER)
    elif permit.client_kind == "sharing":
        sharing, index = await require_peer(caller, sharing_id, "GET")
    elif sharing.owner or permit.kind not in CLIENTS:
        raise Forbidden
    else:
        await require_reading(caller, sharing)
    asked = access.parse(await read_body(request, BODY_LIMIT))
    if index is None:
        path = f"/sharings/{sharing_id}/request-access"
        await delegation.call_owner(instance, sharing, "POST", path, msgspec.json.encode(asked), kind=JSON)
    else:
        at = index
        await instance.store.write(lambda tx: access.take(tx, instance, documents.load(tx, sharing_id), at, asked))
    return no_content()


@get("/auth/authorize/sharing/{sharing_id:str}/access/{index:str}", opt={"guard": SESSION})
async def decide(sharing_id: str, index: str, instance: Instance, caller: Caller) -> Answer:
    """The question to the owner: may he write?"""
    protection = Csrf(caller)
    if (login := await sessions.require_login(caller)) is not None:
        return protection.protect(login)
    sharing = await instance.store.read(lambda view: documents.load(view, sharing_id))
    at = _reader(sharing, index)
    if at is None:
        return protection.protect(_nothing_to_decide(caller))
    return _page(caller, sharing, at, protection=protection)


@post("/auth/authorize/sharing/{sharing_id:str}/access/{index:str}", opt={"guard": SESSION}, status_code=200)
async def grant(sharing_id: str, index: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """The yes of the owner."""
    protection = Csrf(caller)
    protection.check(await forms.read_fields(request))
    if await caller.session() is None:
        return protection.protect(pages.error_page(caller, 401, translate(instance.locale, "login.required")))
    sharing = await instance.store.read(lambda view: documents.load(view, sharing_id))
    at = _reader(sharing, index)
    if at is None:
        return protection.protect(_nothing_to_decide(caller))
    try:
        await readonly.set_read_only(instance, sharing_id, at, read_only=False)
    except DomainError:
        return _page(caller, sharing, at, protection=protection, failed=True)
    return _page(caller, sharing, at, protection=protection, granted=True)


def _reader(sharing: Sharing, index: str) -> int | None:
    """The member of a path, when he only reads and could be allowed to write. Raises InvalidParameter."""
    at = member_index(sharing, index)
    member = sharing.members[at]
    return at if sharing.owner and member.read_only and member.status != State.REVOKED else None


def _page(
    caller: Caller, sharing: Sharing, index: int, *, protection: Csrf, granted: bool = False, failed: bool = False
) -> Answer:
    member = sharing.members[index]
    return pages.page(
        caller,
        "sharing_access.html",
        status=502 if failed else 200,
        csrf=protection,
        member=member.display_name or member.instance,
        description=sharing.description,
        sharing_id=sharing.id,
        index=index,
        granted=granted,
        failed=failed,
        address=caller.instance.app_url(sharing.app_slug or "home"),
    )


def _nothing_to_decide(caller: Caller) -> Answer:
    locale = caller.instance.locale
    title, text = translate(locale, "sharing.access.nothing.title"), translate(locale, "sharing.access.nothing.text")
    return pages.error_page(caller, 400, title, text)


ROUTES = [ask, decide, grant]
