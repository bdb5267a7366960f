"""The pages on which the local user agrees to a sharing of somebody else (spec/04 §11, spec/03 §9)."""

from __future__ import annotations

import msgspec
from litestar import get, post

from inglenook.identity import forms, pages, sessions
from inglenook.identity.caller import Caller
from inglenook.identity.csrf import Csrf
from inglenook.identity.instance import Instance
from inglenook.identity.translations import translate
from inglenook.kernel.errors import BadRequest, InvalidParameter, NotFound, UpstreamFailed
from inglenook.sharing import answer, bodies, documents, landing, moved_away, requests, revocation, rights, shortcuts
from inglenook.sharing.answer import OwnerRefused
from inglenook.sharing.client_routes import Http
from inglenook.sharing.documents import ORGANIZATIONS, Sharing
from inglenook.sharing.handshake import give_notice
from inglenook.sharing.revocation import Ending
from inglenook.storage.documents.contract import Writer
from inglenook.wire import SESSION, Answer, redirect

ENDED = (400, 401, 403, 404, 409, 410)
"""Answers of the owner's server that mean that there is nothing to agree to any more."""


@get("/auth/authorize/sharing", opt={"guard": SESSION})
async def ask(request: Http, instance: Instance, caller: Caller) -> Answer:
    """The question: do you want to take part? A drive is accepted by coming here, a shortcut only put in its place."""
    protection = Csrf(caller)
    sharing_id, state = request.query_params.get("sharing_id", ""), request.query_params.get("state", "")
    for name, value in (("state", state), ("sharing_id", sharing_id)):
        if not value:
            return protection.protect(_missing(caller, name))
    if (moved := await _moved(caller, sharing_id, state)) is not None:
        return protection.protect(moved)
    if (login := await sessions.require_login(caller)) is not None:
        return protection.protect(login)
    sharing = await instance.store.read(lambda view: answer.load_pending(view, sharing_id))
    if sharing is None or (sharing.active and not sharing.drive):
        return protection.protect(_not_available(caller))
    wants_shortcut = request.query_params.get("shortcut", "").lower() == "true"
    try:
        if sharing.drive:
            if not sharing.active:
                sharing = await answer.accept(instance, sharing_id, state)
                await _place(instance, sharing, requests.drive_url(instance, sharing))
            return protection.protect(redirect(requests.drive_url(instance, sharing)))
        if wants_shortcut:
            await _place(instance, sharing, await _preview_url(instance, sharing, state))
            return protection.protect(redirect(landing.inbox_url(instance, sharing_id)))
    except (UpstreamFailed, BadRequest, NotFound) as error:
        return protection.protect(_failed(caller, error))
    return _question(caller, protection, sharing, state)


@post("/auth/authorize/sharing", opt={"guard": SESSION}, status_code=200)
async def agree(request: Http, instance: Instance, caller: Caller) -> Answer:
    """The yes of the local user: the owner's server is told."""
    protection = Csrf(caller)
    fields = await forms.read_fields(request)
    protection.check(fields)
    sharing_id, state = fields.get("sharing_id", ""), fields.get("state", "")
    for name, value in (("state", state), ("sharing_id", sharing_id)):
        if not value:
            return protection.protect(_missing(caller, name))
    if (moved := await _moved(caller, sharing_id, state)) is not None:
        return protection.protect(moved)
    if await caller.session() is None:
        return protection.protect(_login_required(caller))
    sharing = await instance.store.read(lambda view: answer.load_pending(view, sharing_id))
    if sharing is None:
        return protection.protect(_not_available(caller))
    try:
        if not sharing.active:
            sharing = await answer.accept(instance, sharing_id, state)
    except (UpstreamFailed, BadRequest, NotFound) as error:
        return protection.protect(_failed(caller, error))
    return protection.protect(redirect(await landing.after_consent(instance, sharing, caller.domain)))


@post("/auth/authorize/sharing/{sharing_id:str}/decline", opt={"guard": SESSION}, status_code=200)
async def decline(sharing_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """The no of the local user: the request goes, and the owner's server is told (spec/08 §10.5)."""
    protection = Csrf(caller)
    fields = await forms.read_fields(request)
    protection.check(fields)
    if await caller.session() is None:
        return protection.protect(_login_required(caller))
    state = fields.get("state", "")

    def write(tx: Writer) -> str:
        sharing = answer.load_pending(tx, sharing_id)
        if sharing is None or sharing.active:
            return ""
        owner = sharing.members[0].public_name or sharing.members[0].display_name
        revocation.leave(tx, Ending.of(instance), sharing, state=state)
        return owner

    owner = await instance.store.write(write)
    if not owner:
        return protection.protect(_not_available(caller))
    await give_notice(instance, sharing_id)
    return protection.protect(
        pages.page(caller, "sharing_declined.html", owner=owner, address=instance.app_url("home"))
    )


@get("/auth/authorize/sharing/{sharing_id:str}/cancel", opt={"guard": SESSION})
async def cancel(sharing_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """The local user does not want to decide now: back to the preview, nothing is written."""
    if await caller.session() is None:
        return _login_required(caller)
    try:
        sharing = await instance.store.read(lambda view: documents.load(view, sharing_id))
        return redirect(await _preview_url(instance, sharing, request.query_params.get("state", "")))
    except (UpstreamFailed, BadRequest, NotFound):
        return redirect(instance.app_url("home"))


async def _moved(caller: Caller, sharing_id: str, state: str) -> Answer | None:
    """Where an instance that has moved asks its user; None for one that is here."""
    query = {"sharing_id": sharing_id, "state": state}
    page = await moved_away.page_at_new_address(caller.instance, "/auth/authorize/sharing", query)
    if page is None:
        return None
    return redirect(page) if page else _not_available(caller)


# -- what is asked of the owner's server


class Preview(msgspec.Struct):
    """The answer to `preview-url`."""

    url: str


async def _preview_url(instance: Instance, sharing: Sharing, state: str) -> str:
    """Where the owner shows what is shared (spec/04 §11.2). Raises OwnerRefused, UpstreamFailed, BadRequest."""
    where = documents.origin_of(sharing.members[0].instance) if sharing.members else ""
    if not where or sharing.owner:
        raise BadRequest(documents.WRONG_STATE)
    response, _ = await moved_away.request(
        instance,
        where,
        "POST",
        f"/sharings/{sharing.id}/preview-url",
        headers={"Accept": "application/json", "Content-Type": "application/json"},
        body=msgspec.json.encode({"state": state}),
    )
    if not response.ok:
        raise OwnerRefused(response.status)
    try:
        return shortcuts.check_url(bodies.decode(response.body, Preview).url)
    except (InvalidParameter, BadRequest) as error:
        raise OwnerRefused(0) from error


async def _place(instance: Instance, sharing: Sharing, url: str) -> None:
    def write(tx: Writer) -> None:
        current = documents.load(tx, sharing.id)
        shortcuts.place(tx, instance, current, url, shortcuts.SEEN)
        documents.save(tx, current)

    await instance.store.write(write)


# -- pages


def _question(caller: Caller, protection: Csrf, sharing: Sharing, state: str) -> Answer:
    owner, locale = sharing.members[0], caller.instance.locale
    listed = sharing.rules[:1] if sharing.rules[0].doctype == ORGANIZATIONS else sharing.rules
    return pages.page(
        caller,
        "sharing_authorize.html",
        csrf=protection,
        owner=owner.public_name or owner.display_name,
        owner_host=documents.origin_of(owner.instance).partition("://")[2],
        description=sharing.description,
        read_only=rights.i_am_read_only(sharing),
        things=[{"title": rule.title, "kind": _kind(locale, rule.doctype, rule.mime)} for rule in listed],
        sharing_id=sharing.id,
        state=state,
    )


def _kind(locale: str, doctype: str, mime: str) -> str:
    """What a line of the question is about; a type of file is told as it is."""
    if doctype == documents.FILES:
        return mime or translate(locale, "sharing.kind.directory")
    if doctype == ORGANIZATIONS:
        return translate(locale, "sharing.kind.organization")
    return translate(locale, "sharing.kind.document")


def _failed(caller: Caller, error: UpstreamFailed | BadRequest | NotFound) -> Answer:
    locale = caller.instance.locale
    if isinstance(error, UpstreamFailed) and (not isinstance(error, OwnerRefused) or error.status not in ENDED):
        title, text = translate(locale, "sharing.failed.title"), translate(locale, "sharing.failed.text")
        return pages.error_page(caller, 502, title, text)
    return _not_available(caller)


def _not_available(caller: Caller) -> Answer:
    locale = caller.instance.locale
    title, text = translate(locale, "sharing.unavailable.title"), translate(locale, "sharing.unavailable.text")
    return pages.error_page(caller, 400, title, text)


def _missing(caller: Caller, name: str) -> Answer:
    locale = caller.instance.locale
    text = translate(locale, "sharing.missing", name=name)
    return pages.error_page(caller, 400, translate(locale, "sharing.unavailable.title"), text)


def _login_required(caller: Caller) -> Answer:
    return pages.error_page(caller, 401, translate(caller.instance.locale, "login.required"))


ROUTES = [ask, agree, decline, cancel]
