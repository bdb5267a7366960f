"""The answer: a recipient agrees, and the two servers exchange what they need to call each other (spec/04 §12).

`accept` is the recipient's side; it is sent because a person has pressed a button. `take_answer` is the owner's side,
one transaction: when it says yes, everything that replication needs is stored.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from weakref import WeakValueDictionary

import msgspec

from inglenook.contacts import address_book
from inglenook.identity import clients
from inglenook.identity.clients import ClientRefused, TokenPair
from inglenook.identity.instance import Instance
from inglenook.kernel import jsonapi, xor
from inglenook.kernel.errors import BadRequest, InvalidParameter, NotFound, UpstreamFailed
from inglenook.kernel.members import WAITING, Event, State, next_state
from inglenook.peers.transport import PeerResponse
from inglenook.sharing import (
    documents,
    folder,
    members_list,
    moved_away,
    moved_notice,
    organizations,
    revocation,
    rights,
    shortcuts,
    triggers,
)
from inglenook.sharing.documents import NO_MEMBER, WRONG_STATE, AccessToken, Body, Credentials, OAuthClient, Sharing
from inglenook.sharing.options import sharing_options
from inglenook.sharing.revocation import Ending
from inglenook.storage.documents.contract import Document, Reader, Writer
from inglenook.wire import JSONAPI

TYPE = "io.cozy.sharings.answer"
INVALID_URL = "The Cozy URL is invalid"
TIME_OUT = 10.0


class Answer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The attributes that travel both ways (spec/04 §12): credentials to call the one who sends them."""

    state: str = ""
    public_name: str = ""
    client: OAuthClient | None = None
    access_token: AccessToken | None = None
    xor_key: Any = None
    bitwarden: Body | None = None


class OwnerRefused(UpstreamFailed):
    """The owner's server did not take the answer; `status` is what it said, 0 when it could not be asked."""

    def __init__(self, status: int) -> None:
        super().__init__("The sharing request failed")
        self.status = status


# -- on the wire


def parse(body: bytes) -> Answer:
    """Read an answer. Raises BadRequest."""
    try:
        answer = msgspec.convert(jsonapi.parse_document(body).attributes, Answer)
        if answer.xor_key:
            xor.key_from_json(answer.xor_key)
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        raise BadRequest(jsonapi.MALFORMED) from error
    return answer


def require_credentials(answer: Answer) -> tuple[OAuthClient, AccessToken]:
    """The credentials of an answer that must have some. Raises BadRequest."""
    client, token = answer.client, answer.access_token
    if client is None or token is None or not token.access_token or not client.client_id:
        raise BadRequest(WRONG_STATE)
    return client, token


def document_of(sharing_id: str, attributes: Body) -> Body:
    """The JSON:API document around the attributes of an answer."""
    return jsonapi.document(jsonapi.resource(TYPE, sharing_id, attributes))


def credentials_for_peer(instance: Instance, client: Document, pair: TokenPair) -> Body:
    """`client` and `access_token` as they are given to the other server (spec/04 §2.6)."""
    shown = clients.wire_client(instance, client, with_registration_token=True)
    return {
        "client": {name: shown[name] for name in CLIENT_FIELDS if name in shown},
        "access_token": pair.wire(),
    }


CLIENT_FIELDS = tuple(field.name for field in msgspec.structs.fields(OAuthClient))


# -- the owner's side


@dataclass(frozen=True, slots=True)
class Taken:
    """An answer that was taken: what to say back, and the member who has joined."""

    reply: Body
    member: int


async def take(instance: Instance, sharing_id: str, answer: Answer) -> Body:
    """Take the answer of a member; gives the document to reply.

    A state works once. The member who has it already may send it again (the first reply may have been lost), which
    is proved by his server: it must honour the credentials that it is said to have issued.
    Raises DocumentNotFound, BadRequest (not the owner, no credentials), NotFound (unknown or used state),
    InvalidParameter `url` (the member's server is not known)."""
    client, token = require_credentials(answer)
    sharing = await instance.store.read(lambda view: documents.load(view, sharing_id))
    index = _member_of_answer(sharing, answer)
    proved = ""
    if sharing.members[index].status == State.READY:
        if not await _comes_from(instance, sharing.members[index].instance, client, token):
            raise NotFound(NO_MEMBER)
        proved = sharing.members[index].instance
    taken = await instance.store.write(lambda tx: take_answer(tx, instance, sharing_id, answer, proved=proved))
    return taken.reply


def take_answer(tx: Writer, instance: Instance, sharing_id: str, answer: Answer, *, proved: str = "") -> Taken:
    """Store what a member's server has sent and make credentials for it. `proved` is the address of the server that
    a second answer was proved to come from. Raises as `take`."""
    client, token = require_credentials(answer)
    sharing = documents.load(tx, sharing_id)
    index = _member_of_answer(sharing, answer)
    member, credentials = sharing.members[index], sharing.credentials[index - 1]
    if member.status == State.READY and not documents.same_instance(member.instance, proved):
        raise NotFound(NO_MEMBER)
    if member.status == State.READY:
        clients.delete_client(tx, credentials.inbound_client_id)
    if not documents.origin_of(member.instance):
        raise InvalidParameter(INVALID_URL, parameter="url")
    member.status = next_state(member.status, Event.ANSWERED)
    member.public_name = answer.public_name or member.public_name
    local, pair = make_credentials(tx, instance, sharing, index, read_only=rights.is_read_only(sharing, index))
    credentials.client, credentials.access_token = client, token
    credentials.inbound_client_id = local.id
    address_book.fill_name(tx, member.email, member.public_name)
    sharing.active = True
    triggers.show(sharing, instance.env.random)
    organizations.take_key(tx, instance, sharing, index, answer.bitwarden)
    documents.save(tx, sharing)
    members_list.queue(tx, instance, sharing, but=index)
    reply = {**credentials_for_peer(instance, local, pair), "xor_key": xor.key_to_json(credentials.xor_key)}
    return Taken(document_of(sharing.id, reply), index)


def make_credentials(
    tx: Writer, instance: Instance, sharing: Sharing, index: int, *, read_only: bool, issued_at: int | None = None
) -> tuple[Document, TokenPair]:
    """A new OAuth client for a member's server with its tokens; `issued_at` moves their end (spec/04 §2.7, §12).

    Raises InvalidParameter `url` when the server is not known or is this one."""
    member = sharing.members[index]
    try:
        local = clients.create_sharing_client(
            tx, instance, documents.origin_of(member.instance), member.public_name or member.email
        )
    except ClientRefused as error:
        raise InvalidParameter(INVALID_URL, parameter="url") from error
    scope = rights.scope(sharing, read_only=read_only)
    return local, clients.issue_pair(instance, local.id, scope, issued_at=issued_at)


def _member_of_answer(sharing: Sharing, answer: Answer) -> int:
    sharing.require_owner()
    if not answer.state:
        raise BadRequest(WRONG_STATE)
    index = sharing.member_of_state(answer.state)
    if index is None or sharing.members[index].status not in (*WAITING, State.READY):
        raise NotFound(NO_MEMBER)
    return index


async def _comes_from(instance: Instance, address: str, client: OAuthClient, token: AccessToken) -> bool:
    """Whether a server honours the credentials that somebody says it has issued, by renewing the token with them."""
    form = {
        "grant_type": "refresh_token",
        "refresh_token": token.refresh_token,
        "client_id": client.client_id,
        "client_secret": client.client_secret,
    }
    try:
        response = await instance.peers.request(
            "POST",
            f"{documents.origin_of(address)}/auth/access_token",
            headers={"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode(),
            timeout=5.0,
        )
    except UpstreamFailed:
        return False
    return response.ok


# -- the recipient's side

_answering: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
"""Who answers a sharing now: one at a time. A lock lives as long as somebody holds it or waits for it."""


async def accept(instance: Instance, sharing_id: str, state: str) -> Sharing:
    """Tell the owner that the local user takes part, and store what the owner's server gives. Nothing happens when
    the sharing is active already.

    Raises DocumentNotFound, BadRequest (our own sharing, no owner to answer to), OwnerRefused, UpstreamFailed."""
    lock = _answering.setdefault((instance.prefix, sharing_id), asyncio.Lock())
    async with lock:
        sharing = await instance.store.read(lambda view: documents.load(view, sharing_id))
        if sharing.active and not sharing.owner:
            return sharing
        return await _answer(instance, sharing, state)


async def _answer(instance: Instance, sharing: Sharing, state: str) -> Sharing:
    if sharing.owner or len(sharing.members) < 2 or len(sharing.credentials) != 1:
        raise BadRequest(WRONG_STATE)
    where = documents.origin_of(sharing.members[0].instance)
    if not where:
        raise BadRequest(WRONG_STATE)
    name = await instance.public_name()

    def prepare(tx: Writer) -> tuple[str, Body]:
        current = documents.load(tx, sharing.id)
        local, pair = make_credentials(tx, instance, current, 0, read_only=False)
        current.credentials[0].next_client_id = local.id
        documents.save(tx, current)
        return local.id, credentials_for_peer(instance, local, pair)

    client_id, given = await instance.store.write(prepare)
    attributes: Body = {"state": state, "public_name": name, **given}
    if sharing.organization_rule() is not None:
        attributes["bitwarden"] = await organizations.my_key(instance)
    agreed = False
    try:
        response, owner_at = await moved_away.request(
            instance,
            where,
            "POST",
            f"/sharings/{sharing.id}/answer",
            headers={"Accept": JSONAPI, "Content-Type": JSONAPI},
            body=msgspec.json.encode(document_of(sharing.id, attributes)),
            patience=TIME_OUT,
        )
        reply = _read_reply(response)
        accepted = await instance.store.write(
            lambda tx: take_reply(tx, instance, sharing.id, client_id, reply, owner_at=owner_at)
        )
        agreed = True
    finally:
        if not agreed:
            await instance.store.write(lambda tx: _withdraw(tx, sharing.id, client_id))
    if not accepted.active:
        raise BadRequest(WRONG_STATE)
    return accepted


async def until_agreed(instance: Instance, sharing_id: str) -> None:
    """Wait while the local user's answer to a sharing is on its way: the owner's server may call before its reply is
    read here."""
    lock = _answering.get((instance.prefix, sharing_id))
    if lock is not None:
        async with lock:
            return


def _withdraw(tx: Writer, sharing_id: str, client_id: str) -> None:
    clients.delete_client(tx, client_id)
    sharing = documents.get(tx, sharing_id)
    if sharing is not None and not sharing.owner:
        for credentials in sharing.credentials:
            if credentials.next_client_id == client_id:
                credentials.next_client_id = ""
        documents.save(tx, sharing)


def take_reply(
    tx: Writer, instance: Instance, sharing_id: str, client_id: str, reply: Answer, *, owner_at: str
) -> Sharing:
    """Store what the owner's server has given, and where it is now; the sharing is active from now on. When it was
    declined, or has ended, while the answer was on its way, the owner is told that the local user leaves."""
    client, token = require_credentials(reply)
    sharing = documents.load(tx, sharing_id)
    if sharing.owner or sharing.active:
        clients.delete_client(tx, client_id)
        return sharing
    if not documents.same_instance(sharing.members[0].instance, owner_at):
        sharing.members[0].instance = owner_at
    me = sharing.me()
    if me is not None and sharing.members[me].status in WAITING:
        sharing.members[me].status = next_state(sharing.members[me].status, Event.ANSWERED)
    kept = sharing.credentials[0] if sharing.credentials else Credentials()
    key = xor.key_from_json(reply.xor_key) if reply.xor_key else kept.xor_key
    sharing.credentials = [
        msgspec.structs.replace(
            kept, xor_key=key, client=client, access_token=token, inbound_client_id=client_id, next_client_id=""
        )
    ]
    if me is not None and sharing.members[me].status == State.REVOKED:
        revocation.leave(tx, Ending.of(instance, rest=0.0), sharing)
        return sharing
    sharing.active = True
    sharing.initial_sync = not sharing.drive and sharing.initial_number_of_files_to_sync > 0
    triggers.show(sharing, instance.env.random)
    if shortcuts.existing(tx, sharing) is not None:
        shortcuts.mark_seen(tx, sharing.shortcut_id, instance.env.clock.timestamp())
    documents.save(tx, sharing)
    if sharing.moved_from:  # the invitation went to the address of before, and the owner knows no other
        moved_notice.queue(tx, sharing, instance.env.clock.now().timestamp())
    rule = sharing.files_rule()
    if not sharing.drive and rule is not None and not rule.mime and not sharing.initial_sync:
        folder.ensure_sharing_folder(tx, instance, sharing)
        sharing = documents.load(tx, sharing_id)
    if sharing_options(instance).get("auto_accept_trusted_contacts") is True:
        owner = sharing.members[0]
        address_book.trust(tx, owner.email, name=owner.public_name, instance=owner.instance)
    return sharing


def _read_reply(response: PeerResponse) -> Answer:
    if not response.ok:
        raise OwnerRefused(response.status)
    try:
        reply = parse(response.body)
        require_credentials(reply)
    except BadRequest as error:
        raise OwnerRefused(0) from error
    return reply


def load_pending(view: Reader, sharing_id: str) -> Sharing | None:
    """A request that the local user may look at: known, of somebody else, with at least two members, not ended."""
    sharing = documents.get(view, sharing_id)
    if sharing is None or sharing.owner or len(sharing.members) < 2:
        return None
    me = sharing.me()
    if me is not None and sharing.members[me].status == State.REVOKED:
        return None
    return sharing
