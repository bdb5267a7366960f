"""What the servers of a sharing ask of each other (spec/04 §7, §9.4, §12, §16-§20).

The request, the answer and the preview address come without a token: they carry a secret of their own or create
nothing that is agreed. All others take the token that the member's server got for this very sharing.
"""

from __future__ import annotations

import hmac

import msgspec
from litestar import delete, post, put

from inglenook.identity import forms
from inglenook.identity.caller import Caller
from inglenook.identity.instance import Instance
from inglenook.kernel import jsonapi
from inglenook.kernel.errors import AuthError, BadRequest, Forbidden, NotFound
from inglenook.kernel.jsonapi import MALFORMED
from inglenook.kernel.members import State
from inglenook.sharing import (
    answer,
    bodies,
    delegation,
    description,
    documents,
    invitation_mail,
    members_list,
    moved,
    moved_away,
    organizations,
    preview,
    readonly,
    requests,
    revocation,
    shortcuts,
    trust,
)
from inglenook.sharing.client_routes import BODY_LIMIT, Http, group_index, member_index
from inglenook.sharing.documents import NO_MEMBER, WRONG_STATE, Sharing
from inglenook.sharing.handshake import give_notice
from inglenook.sharing.peer_access import require_leaving_peer, require_peer
from inglenook.sharing.requests import Request
from inglenook.sharing.revocation import Ending
from inglenook.storage.documents.contract import Reader, Writer
from inglenook.wire import PEER, SECRET, Answer, no_content, plain_json, read_body
from inglenook.wire import jsonapi as jsonapi_answer

# -- before anything is agreed


@put("/sharings/{sharing_id:str}", opt={"guard": SECRET}, status_code=201)
async def take_request(sharing_id: str, request: Http, instance: Instance) -> Answer:
    """Take the request of an owner's server, and show it to the local user."""
    await moved_away.require_here(instance)
    received = requests.parse(await read_body(request, BODY_LIMIT), sharing_id)
    await _follow_owner(instance, received)
    query = request.query_params
    with_shortcut = query.get("shortcut") == "true"
    url = query.get("url", "")
    if with_shortcut and url:
        shortcuts.check_url(url)

    announced = with_shortcut and await invitation_mail.may_announce(instance)

    def write(tx: Writer) -> Sharing:
        sharing = requests.receive(tx, received, instance.env.clock.timestamp())
        if sharing.drive and query.get("interactive") != "true":
            trust.queue(tx, instance, sharing)
        if with_shortcut:
            target = requests.target_of_shortcut(instance, sharing, url)
            shortcuts.place(tx, instance, sharing, target, shortcuts.NEW)
            documents.save(tx, sharing)
            if announced:
                invitation_mail.announce(tx, instance, sharing, target)
        return sharing

    sharing = await instance.store.write(write)
    return jsonapi_answer(requests.answer_to_request(sharing), 201)


async def _follow_owner(instance: Instance, received: Request) -> None:
    """A request that waits for its answer may come again from another address when its owner has moved there, which
    the former address has to say."""
    told = received.sharing
    old = await instance.store.read(lambda view: documents.get(view, told.id))
    if old is None or old.owner or old.active or requests.may_replace(old, told):
        return
    former, now = (documents.origin_of(sharing.members[0].instance) for sharing in (old, told))
    if former and await moved_away.has_moved_to(instance, former, now, told.id):
        received.follows = former


@post("/sharings/{sharing_id:str}/preview-url", opt={"guard": SECRET}, status_code=200)
async def preview_url(sharing_id: str, request: Http, instance: Instance) -> Answer:
    """Where an invited person can look at what is shared, for his server's shortcut."""
    await moved_away.require_here(instance)
    state = bodies.decode(await read_body(request, BODY_LIMIT), Invitation).state
    if not state:
        raise BadRequest(MALFORMED)

    def find(view: Reader) -> str:
        return preview.preview_url(view, instance, documents.load(view, sharing_id), state)

    return plain_json({"url": await instance.store.read(find)})


class Invitation(msgspec.Struct):
    """The body of `preview-url`."""

    state: str = ""


@post("/sharings/{sharing_id:str}/answer", opt={"guard": SECRET}, status_code=200)
async def take_answer(sharing_id: str, request: Http, instance: Instance) -> Answer:
    """Take the answer of an invited person's server; the state in it is the secret."""
    await moved_away.require_here(instance)
    await instance.store.read(lambda view: documents.load(view, sharing_id))
    sent = answer.parse(await read_body(request, BODY_LIMIT))
    return jsonapi_answer(await answer.take(instance, sharing_id, sent))


# -- the list of members


@put("/sharings/{sharing_id:str}/recipients", opt={"guard": SECRET}, status_code=200)
async def take_members(sharing_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """Take the owner's list of members; before the sharing is agreed, by the code in the invitation."""
    sharing = await instance.store.read(lambda view: documents.get(view, sharing_id))
    if sharing is None or sharing.active or sharing.owner:
        _, index = await require_peer(caller, sharing_id, "POST")
        if index != 0:
            raise BadRequest(WRONG_STATE)
    else:
        pending = sharing
        code = await instance.store.read(lambda view: members_list.code_of_shortcut(view, pending))
        if not code or not hmac.compare_digest(code.encode(), caller.token.encode()):
            raise Forbidden
    listed = members_list.parse(await read_body(request, BODY_LIMIT))
    await instance.store.write(lambda tx: members_list.take(tx, sharing_id, listed))
    return no_content()


@post("/sharings/{sharing_id:str}/recipients/delegated", opt={"guard": PEER}, status_code=200)
async def take_delegated(sharing_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """A member adds people."""
    sharing, index = await require_peer(caller, sharing_id, "GET")
    permit = await caller.permit()
    if not sharing.owner or not (sharing.open_sharing or sharing.drive):
        raise Forbidden
    if sharing.open_sharing and not permit.allows_id("POST", documents.DOCTYPE, sharing_id):
        raise Forbidden
    received = jsonapi.parse_document(await read_body(request, BODY_LIMIT))
    delegated = delegation.parse(received.relationships)
    return plain_json(await delegation.take_delegated(instance, sharing_id, index, delegated))


@post("/sharings/{sharing_id:str}/members/{index:str}/invitation", opt={"guard": PEER}, status_code=200)
async def invite_late(sharing_id: str, index: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """Somebody of a member's group can be reached now."""
    sharing, by = await require_peer(caller, sharing_id, "POST")
    if not sharing.owner or not (sharing.open_sharing or sharing.drive):
        raise Forbidden
    at = member_index(sharing, index)
    attributes = jsonapi.parse_document(await read_body(request, BODY_LIMIT)).attributes
    try:
        told = documents.parse_member(attributes)
    except msgspec.ValidationError as error:
        raise BadRequest(MALFORMED) from error
    return plain_json(await delegation.take_invitable(instance, sharing_id, by, at, told))


@delete("/sharings/{sharing_id:str}/groups/{group:str}/{index:str}", opt={"guard": PEER}, status_code=200)
async def remove_from_group(sharing_id: str, group: str, index: str, instance: Instance, caller: Caller) -> Answer:
    """A member takes somebody out of a group that he has added."""
    sharing, by = await require_peer(caller, sharing_id, "POST")
    if not sharing.owner or not (sharing.open_sharing or sharing.drive):
        raise Forbidden
    group_at, at = group_index(sharing, group), member_index(sharing, index)
    if sharing.groups[group_at].addedBy != by:
        raise Forbidden

    def write(tx: Writer) -> None:
        revocation.take_out_of_group(tx, instance, documents.load(tx, sharing_id), group_at, at)

    await instance.store.write(write)
    await give_notice(instance, sharing_id)
    return no_content()


# -- what is told to a recipient


@put("/sharings/{sharing_id:str}/metadata", opt={"guard": PEER}, status_code=200)
async def take_description(sharing_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """Take the owner's description."""
    _, index = await require_peer(caller, sharing_id, "POST")
    if index != 0:
        raise BadRequest(WRONG_STATE)
    if not forms.content_type(request).endswith("json"):
        raise BadRequest(description.NOT_JSON)
    text = description.parse(await read_body(request, BODY_LIMIT))
    now = instance.env.clock.timestamp()
    await instance.store.write(lambda tx: description.change(tx, sharing_id, text, now))
    return no_content()


@post("/sharings/{sharing_id:str}/recipients/self/readonly", opt={"guard": PEER}, status_code=200)
async def become_reader(sharing_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """The local user may only read from now on."""
    return await _become(sharing_id, request, instance, caller, read_only=True)


@delete("/sharings/{sharing_id:str}/recipients/self/readonly", opt={"guard": PEER}, status_code=200)
async def become_writer(sharing_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """The local user may write again."""
    return await _become(sharing_id, request, instance, caller, read_only=False)


async def _become(sharing_id: str, request: Http, instance: Instance, caller: Caller, *, read_only: bool) -> Answer:
    _, index = await require_peer(caller, sharing_id, "POST")
    if index != 0:
        raise BadRequest(WRONG_STATE)
    sent = answer.parse(await read_body(request, BODY_LIMIT))
    await instance.store.write(lambda tx: readonly.become(tx, instance, sharing_id, sent, read_only=read_only))
    return no_content()


# -- changes of a member's server


@post("/sharings/{sharing_id:str}/recipients/self/moved", opt={"guard": PEER}, status_code=200)
async def take_move(sharing_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """The calling server has another address."""
    permit = await caller.permit()
    if permit.client_kind != "sharing":
        raise Forbidden
    sharing = await instance.store.read(lambda view: documents.load(view, sharing_id))
    if sharing.member_of_client(permit.client_id) is None:
        raise NotFound(NO_MEMBER)
    told = moved.parse(await read_body(request, BODY_LIMIT))

    def write(tx: Writer) -> None:
        moved.take(tx, documents.load(tx, sharing_id), permit.client_id, told)

    await instance.store.write(write)
    return no_content()


@post("/sharings/{sharing_id:str}/public-key", opt={"guard": PEER}, status_code=200)
async def take_public_key(sharing_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """A member of a shared password organization has keys now."""
    _, index = await require_peer(caller, sharing_id, "GET")
    sent = answer.parse(await read_body(request, BODY_LIMIT)).bitwarden
    if sent is None:
        raise BadRequest(MALFORMED)

    def write(tx: Writer) -> None:
        sharing = documents.load(tx, sharing_id)
        sharing.require_owner()
        if sharing.members[index].status != State.READY:  # revoked meanwhile
            raise Forbidden
        organizations.take_key(tx, instance, sharing, index, sent)

    await instance.store.write(write)
    return no_content()


# -- the end


@delete("/sharings/{sharing_id:str}", opt={"guard": SECRET}, status_code=200)
async def end(sharing_id: str, instance: Instance, caller: Caller) -> Answer:
    """The owner's server tells that it is over for the local user."""
    sharing = await instance.store.read(lambda view: documents.get(view, sharing_id))
    if sharing is not None and sharing.drive and not sharing.owner:
        token = sharing.credentials[0].drive_token if sharing.credentials else ""
        if not token or not hmac.compare_digest(token.encode(), caller.token.encode()):
            raise Forbidden
    else:
        await require_peer(caller, sharing_id, "POST")

    def write(tx: Writer) -> None:
        revocation.end_by_notice(tx, Ending.of(instance), documents.load(tx, sharing_id))

    await instance.store.write(write)
    return no_content()


@delete("/sharings/{sharing_id:str}/answer", opt={"guard": PEER}, status_code=200)
async def take_leave(sharing_id: str, instance: Instance, caller: Caller) -> Answer:
    """A member's server tells that he leaves; who may only read may leave as well (spec/04 §30.3)."""
    known = await instance.store.read(lambda view: documents.get(view, sharing_id))
    if known is not None and known.drive and known.owner:
        sharing, index = known, await _member_of_drive(caller, known)
    else:
        sharing, index = await require_leaving_peer(caller, sharing_id)
    if not sharing.owner:
        raise BadRequest(WRONG_STATE)
    at = index

    def write(tx: Writer) -> None:
        revocation.take_leave_of(tx, instance, documents.load(tx, sharing_id), at)

    await instance.store.write(write)
    return no_content()


async def _member_of_drive(caller: Caller, sharing: Sharing) -> int:
    """Who leaves a drive: the member whose code the request carries (spec/04 §19.6).

    Raises Forbidden without a code, NotFound for one that nobody of the drive has."""
    if not caller.token:
        raise Forbidden
    try:
        permit = await caller.permit()
    except AuthError as error:
        raise NotFound(NO_MEMBER) from error
    index = preview.member_of_key(sharing, permit.member_key) if permit.kind == "share-interact" else None
    if index is None or permit.sharing_id != sharing.id:
        raise NotFound(NO_MEMBER)
    return index


ROUTES = [
    take_request, preview_url, take_answer, take_members, take_delegated, invite_late, remove_from_group,
    take_description, become_reader, become_writer, take_move, take_public_key, end, take_leave,
]  # fmt: skip
