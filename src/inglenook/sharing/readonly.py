"""Making a member read-only, and letting him write again (spec/04 §18).

The member's server is asked first; only when it has agreed does the flag change. The new credentials are good from
before the request leaves, since the member may use them before its answer is here; the old ones die afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from inglenook.identity import clients
from inglenook.identity.instance import Instance
from inglenook.identity.tokens import ACCESS_SECONDS
from inglenook.kernel import xor
from inglenook.kernel.errors import BadRequest, Denied, Forbidden, InvalidParameter, UpstreamFailed
from inglenook.kernel.members import WAITING, State
from inglenook.peers.errors import PeerCircuitOpen, PeerForbiddenAddress, PeerRefusedTokens
from inglenook.sharing import documents, links, members_list, rights, triggers
from inglenook.sharing.answer import (
    INVALID_URL,
    Answer,
    credentials_for_peer,
    document_of,
    make_credentials,
    require_credentials,
)
from inglenook.sharing.discovery import REQUEST_FAILED
from inglenook.sharing.documents import WRONG_STATE, Body, Sharing
from inglenook.storage.documents.contract import Writer
from inglenook.wire import JSONAPI

LAST_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Prepared:
    """Credentials made for a member whose rights are about to change, as a token of a call in progress. They are
    `fresh` unless an earlier call has sent them already, and nobody knows whether it arrived."""

    sharing: Sharing
    client_id: str
    attributes: Body
    fresh: bool


# -- the owner's side


async def set_read_only(instance: Instance, sharing_id: str, index: int, read_only: bool) -> None:
    """Change what a member may do.

    Raises DocumentNotFound, BadRequest (not the owner, a member without credentials), UpstreamFailed (his server has
    refused or cannot be reached); nothing has changed then."""
    prepared = await instance.store.write(lambda tx: _prepare(tx, instance, sharing_id, index, read_only))
    if prepared is None:
        return
    agreed = unsure = False
    try:
        response = await instance.peers.authorized(
            links.peer_link(instance, prepared.sharing, index),
            "POST" if read_only else "DELETE",
            f"/sharings/{sharing_id}/recipients/self/readonly",
            headers={"Accept": JSONAPI, "Content-Type": JSONAPI},
            body=msgspec.json.encode(document_of(sharing_id, prepared.attributes)),
        )
        agreed = response.ok
    except (PeerCircuitOpen, PeerForbiddenAddress, PeerRefusedTokens) as error:
        raise UpstreamFailed(REQUEST_FAILED) from error
    except UpstreamFailed as error:
        unsure = True
        raise UpstreamFailed(REQUEST_FAILED) from error
    finally:
        if not agreed and not unsure and prepared.fresh:
            await instance.store.write(lambda tx: _give_up(tx, sharing_id, index, prepared.client_id))
    if not agreed:
        raise UpstreamFailed(REQUEST_FAILED)
    await instance.store.write(lambda tx: _agreed(tx, instance, sharing_id, index, prepared.client_id, read_only))


def _prepare(tx: Writer, instance: Instance, sharing_id: str, index: int, read_only: bool) -> Prepared | None:
    sharing = documents.load(tx, sharing_id)
    sharing.require_owner()
    member, credentials = sharing.member(index), sharing.credentials[index - 1]
    unsure = bool(credentials.next_client_id)  # an earlier change may have arrived without its answer coming back
    if (member.read_only == read_only and not unsure) or member.status == State.REVOKED:
        if member.read_only != read_only:
            raise BadRequest(WRONG_STATE)
        return None
    if member.status in WAITING:
        member.read_only = read_only
        member.asked_at = ""
        sharing.touch(instance.env.clock.timestamp())
        documents.save(tx, sharing)
        members_list.queue(tx, instance, sharing)
        return None
    if credentials.access_token is None or not credentials.access_token.access_token or not member.instance:
        raise BadRequest(WRONG_STATE)
    issued_at = int(instance.env.clock.now().timestamp()) + LAST_HOUR - ACCESS_SECONDS if read_only else None
    local = tx.get(clients.CLIENTS, credentials.next_client_id) if unsure else None
    fresh = local is None
    if local is None:
        local, pair = make_credentials(tx, instance, sharing, index, read_only=False, issued_at=issued_at)
        credentials.next_client_id = local.id
        documents.save(tx, sharing)
    else:  # his server may use it by now: another client in its place could leave it with nothing
        pair = clients.issue_pair(instance, local.id, rights.scope(sharing, read_only=False), issued_at=issued_at)
    attributes = credentials_for_peer(instance, local, pair)
    if read_only:
        attributes["access_token"]["refresh_token"] = ""
    else:
        attributes["xor_key"] = xor.key_to_json(credentials.xor_key)
    return Prepared(sharing, local.id, attributes, fresh)


def _agreed(tx: Writer, instance: Instance, sharing_id: str, index: int, client_id: str, read_only: bool) -> None:
    sharing = documents.load(tx, sharing_id)
    member, credentials = sharing.member(index), sharing.credentials[index - 1]
    if member.status != State.READY or credentials.next_client_id != client_id:
        clients.delete_client(tx, client_id)
        return
    clients.delete_client(tx, credentials.inbound_client_id)
    credentials.inbound_client_id, credentials.next_client_id = client_id, ""
    member.read_only = read_only
    member.asked_at = ""
    sharing.touch(instance.env.clock.timestamp())
    documents.save(tx, sharing)
    members_list.queue(tx, instance, sharing)


def _give_up(tx: Writer, sharing_id: str, index: int, client_id: str) -> None:
    clients.delete_client(tx, client_id)
    sharing = documents.get(tx, sharing_id)
    if sharing is not None and index - 1 < len(sharing.credentials):
        credentials = sharing.credentials[index - 1]
        if credentials.next_client_id == client_id:
            credentials.next_client_id = ""
            documents.save(tx, sharing)


def check_peer_may_toggle(sharing: Sharing, caller: int) -> None:
    """Whether a member may decide on the rights of others: in an open sharing, or in a drive unless he only reads.

    Raises Forbidden."""
    if sharing.members[caller].read_only or not (sharing.open_sharing or sharing.drive):
        raise Forbidden


# -- the recipient's side


async def forward(instance: Instance, sharing: Sharing, index: int, read_only: bool) -> None:
    """Ask the owner's server to change what another member may do.

    Raises BadRequest (no credentials), InvalidParameter (the owner's server does not understand), Denied (the owner
    does not allow it), UpstreamFailed (any other failure)."""
    try:
        response = await instance.peers.authorized(
            links.peer_link(instance, sharing, 0),
            "POST" if read_only else "DELETE",
            f"/sharings/{sharing.id}/recipients/{index}/readonly",
        )
    except UpstreamFailed as error:
        raise UpstreamFailed(REQUEST_FAILED) from error
    if response.ok:
        return
    if response.status == 403:
        raise Denied("Forbidden")
    if response.status == 400:
        raise InvalidParameter(INVALID_URL, parameter="url")
    raise UpstreamFailed(REQUEST_FAILED)


def become(tx: Writer, instance: Instance, sharing_id: str, sent: Answer, *, read_only: bool) -> None:
    """The owner's server has changed what the local user may do. Raises DocumentNotFound, BadRequest."""
    sharing = documents.load(tx, sharing_id)
    client, token = require_credentials(sent)
    me = sharing.me()
    if sharing.owner or len(sharing.credentials) != 1 or me is None:
        raise BadRequest(WRONG_STATE)
    credentials = sharing.credentials[0]
    credentials.client, credentials.access_token = client, token
    sharing.members[me].read_only = read_only
    if read_only:
        triggers.hide_sending(sharing)
    else:
        if sent.xor_key:
            credentials.xor_key = xor.key_from_json(sent.xor_key)
        triggers.show(sharing, instance.env.random)
    documents.save(tx, sharing)
