"""What apps and devices of the local user can do with sharings (spec/04 §5, §8, §15-§19)."""

from __future__ import annotations

from typing import Any

from litestar import Request, delete, get, patch, post

from inglenook.files.documents import FILES
from inglenook.identity.caller import Caller
from inglenook.identity.instance import Instance
from inglenook.kernel import jsonapi
from inglenook.kernel.errors import AuthError, BadRequest, Forbidden, InvalidParameter
from inglenook.sharing import (
    creation,
    delegation,
    description,
    documents,
    people,
    preview,
    reading,
    readonly,
    revocation,
    shortcuts,
)
from inglenook.sharing.client_access import require_full_rights, require_full_rights_or_forbid, require_reading
from inglenook.sharing.documents import WRONG_STATE, Sharing
from inglenook.sharing.handshake import give_notice
from inglenook.sharing.peer_access import require_peer
from inglenook.sharing.revocation import Ending
from inglenook.storage.documents.contract import Reader, Writer
from inglenook.wire import TOKEN, Answer, no_content, plain_json, read_body
from inglenook.wire import jsonapi as answer

Http = Request[Any, Any, Any]
BODY_LIMIT = 2_000_000


@post("/sharings/", opt={"guard": TOKEN}, status_code=201)
async def create(request: Http, instance: Instance, caller: Caller) -> Answer:
    """Create a sharing and invite people to it."""
    wanted, invited = creation.parse(await read_body(request, BODY_LIMIT))
    permit = await require_full_rights_or_forbid(caller, wanted.rules)
    sharing = await creation.create(instance, permit, wanted, invited)
    return answer(jsonapi.document(documents.resource(sharing)), 201)


@get("/sharings/{sharing_id:str}", opt={"guard": TOKEN})
async def read(sharing_id: str, instance: Instance, caller: Caller) -> Answer:
    """A sharing with what is shared in it."""
    sharing = await _load(instance, caller, sharing_id)
    await require_reading(caller, sharing)
    shown = await instance.store.scan(lambda view: reading.shown(view, documents.load(view, sharing_id)))
    return answer(jsonapi.document(shown))


@get("/sharings/doctype/{doctype:str}", opt={"guard": TOKEN})
async def read_of_doctype(doctype: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """All sharings about a doctype."""
    permit = await caller.permit()
    if permit.client_kind == "sharing":
        raise Forbidden
    permit.require_type("GET", doctype)
    with_documents = request.query_params.get("shared_docs", "").lower() not in ("false", "0", "f")

    def read_all(view: Reader) -> list[documents.Body]:
        return [
            reading.shown(view, sharing, with_documents=with_documents) for sharing in reading.of_doctype(view, doctype)
        ]

    return answer(jsonapi.listing(await instance.store.scan(read_all)))


@get("/sharings/drives", opt={"guard": TOKEN})
async def read_drives(instance: Instance, caller: Caller) -> Answer:
    """The drives that are shared here or with us, for the list of the Drive app (spec/06 §4.1)."""
    (await caller.permit()).require_type("GET", FILES)

    def read_all(view: Reader) -> list[documents.Body]:
        found = reading.of_doctype(view, FILES)
        return [reading.shown(view, one, with_documents=False) for one in found if one.drive and one.active]

    return answer(jsonapi.listing(await instance.store.scan(read_all)))


@get("/sharings/news", opt={"guard": TOKEN})
async def news(instance: Instance, caller: Caller) -> Answer:
    """How many sharings nobody has looked at yet."""
    try:
        await caller.permit()
    except AuthError as error:
        raise Forbidden from error
    return plain_json({"meta": {"count": await instance.store.read(shortcuts.count_new)}})


@patch("/sharings/{sharing_id:str}", opt={"guard": TOKEN})
async def describe(sharing_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """Change the description; without one it becomes empty."""
    sharing = await _load(instance, caller, sharing_id)
    await require_full_rights(caller, sharing.rules)
    attributes = jsonapi.parse_document(await read_body(request, BODY_LIMIT)).attributes
    text = attributes.get("description") or ""
    if not isinstance(text, str):
        raise BadRequest(jsonapi.MALFORMED)
    now = instance.env.clock.timestamp()
    await instance.store.write(lambda tx: description.change(tx, sharing_id, text, now))
    shown = await instance.store.scan(lambda view: reading.shown(view, documents.load(view, sharing_id)))
    return answer(jsonapi.document(shown))


# -- people


@post("/sharings/{sharing_id:str}/recipients", opt={"guard": TOKEN}, status_code=200)
async def add_recipients(sharing_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """Add people and groups: the owner by himself, a recipient through the owner."""
    sharing = await _load(instance, caller, sharing_id)
    await require_full_rights(caller, sharing.rules)
    received = jsonapi.parse_document(await read_body(request, BODY_LIMIT))
    invited = people.parse_invited(received.relationships)
    add = delegation.add if sharing.owner else delegation.delegate
    changed = await add(instance, sharing_id, invited)
    shown = await instance.store.scan(lambda view: reading.shown(view, changed))
    return answer(jsonapi.document(shown))


@post("/sharings/{sharing_id:str}/recipients/{index:str}/readonly", opt={"guard": TOKEN}, status_code=200)
async def add_read_only(sharing_id: str, index: str, instance: Instance, caller: Caller) -> Answer:
    """Let a member only read."""
    return await _toggle(instance, caller, sharing_id, index, read_only=True)


@delete("/sharings/{sharing_id:str}/recipients/{index:str}/readonly", opt={"guard": TOKEN}, status_code=200)
async def remove_read_only(sharing_id: str, index: str, instance: Instance, caller: Caller) -> Answer:
    """Let a member write again."""
    return await _toggle(instance, caller, sharing_id, index, read_only=False)


async def _toggle(instance: Instance, caller: Caller, sharing_id: str, index: str, *, read_only: bool) -> Answer:
    sharing = await _load(instance, caller, sharing_id)
    if (await caller.permit()).client_kind == "sharing":
        sharing, by = await require_peer(caller, sharing_id, "POST")
        readonly.check_peer_may_toggle(sharing, by)
    else:
        await require_full_rights(caller, sharing.rules)
    at = member_index(sharing, index)
    if sharing.owner:
        await readonly.set_read_only(instance, sharing_id, at, read_only)
    else:
        await readonly.forward(instance, sharing, at, read_only)
    return no_content()


# -- the end


@delete("/sharings/{sharing_id:str}/recipients", opt={"guard": TOKEN}, status_code=200)
async def revoke_all(sharing_id: str, instance: Instance, caller: Caller) -> Answer:
    """End the sharing for everybody; one with a preview that has ended already cannot end again."""
    sharing = await instance.store.read(lambda view: documents.load(view, sharing_id))
    await require_full_rights_or_forbid(caller, sharing.rules)

    def finish(tx: Writer) -> None:
        current = documents.load(tx, sharing_id)
        preview.check_not_ended(tx, instance, current)
        revocation.end(tx, Ending.of(instance), current)

    await instance.store.write(finish)
    await give_notice(instance, sharing_id)
    return no_content()


@delete("/sharings/{sharing_id:str}/recipients/{index:str}", opt={"guard": TOKEN}, status_code=200)
async def revoke_one(sharing_id: str, index: str, instance: Instance, caller: Caller) -> Answer:
    """End the sharing for one member. The members of a drive may ask the owner for it."""
    sharing = await instance.store.read(lambda view: documents.load(view, sharing_id))
    at = member_index(sharing, index)
    if sharing.drive and sharing.owner:
        if (await caller.permit()).client_kind == "sharing":
            sharing, by = await require_peer(caller, sharing_id, "POST")
            readonly.check_peer_may_toggle(sharing, by)
        else:
            await require_full_rights(caller, sharing.rules)
    else:
        await require_full_rights_or_forbid(caller, sharing.rules)
    if sharing.owner:
        await instance.store.write(
            lambda tx: revocation.revoke_member(tx, instance, documents.load(tx, sharing_id), at)
        )
        await give_notice(instance, sharing_id)
    elif sharing.drive:
        await delegation.call_owner(instance, sharing, "DELETE", f"/sharings/{sharing_id}/recipients/{at}", None)
    else:
        raise Forbidden
    return no_content()


@delete("/sharings/{sharing_id:str}/groups/{index:str}", opt={"guard": TOKEN}, status_code=200)
async def revoke_group(sharing_id: str, index: str, instance: Instance, caller: Caller) -> Answer:
    """End the sharing for a group."""
    sharing = await instance.store.read(lambda view: documents.load(view, sharing_id))
    await require_full_rights_or_forbid(caller, sharing.rules)
    at = group_index(sharing, index)
    await instance.store.write(lambda tx: revocation.revoke_group(tx, instance, documents.load(tx, sharing_id), at))
    await give_notice(instance, sharing_id)
    return no_content()


@delete("/sharings/{sharing_id:str}/recipients/self", opt={"guard": TOKEN}, status_code=200)
async def leave(sharing_id: str, instance: Instance, caller: Caller) -> Answer:
    """The local user leaves a sharing of somebody else."""
    sharing = await instance.store.read(lambda view: documents.load(view, sharing_id))
    await require_full_rights_or_forbid(caller, sharing.rules)
    await instance.store.write(lambda tx: revocation.leave(tx, Ending.of(instance), documents.load(tx, sharing_id)))
    await give_notice(instance, sharing_id)
    return no_content()


# -- parts of paths


def member_index(sharing: Sharing, text: str) -> int:
    """The member of a path, the owner excluded. Raises InvalidParameter `index`."""
    return _index(text, 1, len(sharing.members))


def member_index_or_owner(sharing: Sharing, text: str) -> int:
    """The member of a path to whom something may wait: on a recipient the owner too. Raises InvalidParameter."""
    return _index(text, 1 if sharing.owner else 0, len(sharing.members))


def group_index(sharing: Sharing, text: str) -> int:
    """The group of a path. Raises InvalidParameter `index`, BadRequest on a recipient."""
    if not sharing.owner:
        raise BadRequest(WRONG_STATE)
    return _index(text, 0, len(sharing.groups))


def _index(text: str, first: int, end: int) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else -1
    if not first <= number < end:
        raise InvalidParameter("Invalid index", parameter="index")
    return number


async def _load(instance: Instance, caller: Caller, sharing_id: str) -> Sharing:
    """The sharing of a path; who has no valid token learns nothing of it."""
    await caller.permit()
    return await instance.store.read(lambda view: documents.load(view, sharing_id))


ROUTES = [
    create, read, read_of_doctype, read_drives, news, describe, add_recipients, add_read_only, remove_read_only,
    revoke_all, revoke_one, revoke_group, leave,
]  # fmt: skip
