"""The pages of the discovery: an invited person gives the address of his server (spec/04 §10)."""

from __future__ import annotations

from litestar import get, post

from inglenook.identity import forms, pages
from inglenook.identity.caller import Caller
from inglenook.identity.instance import Instance
from inglenook.identity.translations import translate
from inglenook.kernel.errors import BadRequest, Conflict, DomainError, NotFound
from inglenook.kernel.members import State
from inglenook.sharing import discovery, documents, moved_away
from inglenook.sharing.answer import INVALID_URL
from inglenook.sharing.client_routes import Http
from inglenook.sharing.discovery import AddressRefused, InvalidAddress, Invitee, NotAnAddress, OwnerAway, RequestFailed
from inglenook.sharing.documents import Member, Sharing
from inglenook.storage.documents.contract import Reader
from inglenook.wire import SECRET, Answer, plain_json, redirect, wants_html

LINK = ("state", "sharecode", "shortcut")


@get("/sharings/{sharing_id:str}/discovery", opt={"guard": SECRET})
async def ask(sharing_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """The form for the address; a person whose server is known is sent there at once."""
    fields = {name: request.query_params.get(name, "") for name in LINK}
    if (moved := await _moved(caller, sharing_id, fields)) is not None:
        return moved
    sharing = await instance.store.read(lambda view: documents.get(view, sharing_id))
    if sharing is None:
        return _not_available(caller, 400)
    if not sharing.owner:
        return _form(caller, sharing, None, fields)
    try:
        invitee = await _find(instance, sharing_id, fields)
    except (NotFound, BadRequest):
        return _not_available(caller, 400)
    if not invitee.waiting:
        return _already_accepted(caller, invitee.member.instance)
    fields["state"] = invitee.state
    if invitee.member.instance:
        address = documents.origin_of(invitee.member.instance)
        try:
            address = await discovery.register(instance, invitee, address)
        except DomainError:
            if invitee.member.status != State.SEEN:  # who has seen it may have the request already
                return _form(caller, sharing, invitee.member, fields)
        return redirect(discovery.authorize_url(address, sharing_id, invitee.state, fields["shortcut"]), 302)
    return _form(caller, sharing, invitee.member, fields)


@post("/sharings/{sharing_id:str}/discovery", opt={"guard": SECRET}, status_code=200)
async def answer(sharing_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """Register the address and send the person there. A script gets JSON, when it accepts nothing else."""
    fields = await forms.read_fields(request)
    try:
        return await _take_address(sharing_id, fields, request, caller)
    except (NotFound, BadRequest) as error:
        if not wants_html(request):
            raise
        return _not_available(caller, 404 if isinstance(error, NotFound) else 400)


async def _take_address(sharing_id: str, fields: dict[str, str], request: Http, caller: Caller) -> Answer:
    instance = caller.instance
    wants_json = forms.only_json(request)
    if wants_json:
        await moved_away.require_here(instance)
    elif (moved := await _moved(caller, sharing_id, fields)) is not None:
        return moved
    sharing = await instance.store.read(lambda view: documents.load(view, sharing_id))
    invitee = await _find(instance, sharing_id, fields) if sharing.owner else None
    member = invitee.member if invitee is not None else None
    typed = fields.get("url") or fields.get("slug") or ""
    shortcut = fields.get("shortcut", "")
    try:
        address = discovery.normal_address(typed, fields.get("domain", ""))
        if invitee is not None:
            target = await discovery.discover(instance, invitee, address, shortcut)
        else:
            target = await discovery.forward(instance, sharing, fields.get("state", ""), address, shortcut)
    except NotAnAddress:
        return _form(caller, sharing, member, fields, 412, "sharing.discovery.error.email", typed)
    except (InvalidAddress, RequestFailed, Conflict) as error:
        if wants_json:
            return plain_json({"error": error.detail}, 400)
        if discovery.refused_because_accepted(error):
            return _already_accepted(caller, typed)
        return _form(caller, sharing, member, fields, 400, _words_for(error), typed)
    if wants_json:
        email = member.email if member is not None else ""
        return plain_json({"redirect": target, **({"email": email} if email else {})})
    return redirect(target, 302)


async def _moved(caller: Caller, sharing_id: str, fields: dict[str, str]) -> Answer | None:
    """Where an instance that has moved sends who comes with a link; None for one that is here."""
    query = {name: fields.get(name, "") for name in LINK}
    page = await moved_away.page_at_new_address(caller.instance, f"/sharings/{sharing_id}/discovery", query)
    if page is None:
        return None
    return redirect(page) if page else _not_available(caller, 410)


def _words_for(error: DomainError) -> str:
    """What the form says of an address that could not be registered."""
    if isinstance(error, OwnerAway):
        return "sharing.discovery.error.owner"
    refused = isinstance(error, AddressRefused) and error.said == discovery.REQUEST_FAILED
    if error.detail == INVALID_URL and not refused:
        return "sharing.discovery.error.url"
    return "sharing.discovery.error.request"


async def _find(instance: Instance, sharing_id: str, fields: dict[str, str]) -> Invitee:
    state, code = fields.get("state", ""), fields.get("sharecode", "")

    def find(view: Reader) -> Invitee:
        return discovery.find_invitee(view, instance, sharing_id, state, code)

    return await instance.store.read(find)


# -- pages


def _form(
    caller: Caller,
    sharing: Sharing,
    member: Member | None,
    fields: dict[str, str],
    status: int = 200,
    error: str = "",
    typed: str = "",
) -> Answer:
    context = caller.instance.context_settings
    default = context.get("sharing_domain")
    slug, domain = discovery.prefilled(member, default if isinstance(default, str) else discovery.DEFAULT_DOMAIN)
    locale = caller.instance.locale
    owner = sharing.members[0]
    return pages.page(
        caller,
        "sharing_discovery.html",
        status=status,
        sharing_id=sharing.id,
        owner=owner.public_name or owner.display_name,
        description=sharing.description,
        state=fields.get("state", ""),
        sharecode=fields.get("sharecode", ""),
        shortcut=fields.get("shortcut", ""),
        slug=typed or slug,
        address_domain=domain,
        suffix=domain if slug and domain and not typed else "",
        error=translate(locale, error, owner=owner.public_name or owner.display_name) if error else "",
        may_decline=sharing.owner,
    )


def _not_available(caller: Caller, status: int) -> Answer:
    locale = caller.instance.locale
    return pages.error_page(
        caller, status, translate(locale, "sharing.unavailable.title"), translate(locale, "sharing.unavailable.text")
    )


def _already_accepted(caller: Caller, instance_url: str) -> Answer:
    return pages.page(
        caller, "sharing_accepted.html", status=400, address=documents.origin_of(instance_url.strip()) or caller.url()
    )


ROUTES = [ask, answer]
