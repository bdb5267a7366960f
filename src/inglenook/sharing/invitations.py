"""Inviting members: directly to their server when it is known, else by mail (spec/04 §6).

An invitation is a step written with the change that makes it necessary. The route that wrote it sends it at once and
answers with what became of it; if the server dies in between, the runner sends it later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from urllib.parse import urlencode

import msgspec

from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest, UpstreamFailed
from inglenook.kernel.members import WAITING, Event, State, next_state
from inglenook.sharing import attempts, documents, invitation_mail, members_list, moved_away, preview, requests, steps
from inglenook.sharing.documents import ORGANIZATIONS, Sharing
from inglenook.sharing.steps import Claim, Outcome
from inglenook.storage.documents.contract import Reader, Writer
from inglenook.wire import JSONAPI

STEP = "invite"
CANNOT_BE_SENT = "The invitation cannot be sent"
REST = 30.0  # seconds until the runner takes up what the route has not finished


def queue(tx: Writer, instance: Instance, sharing: Sharing, indexes: Iterable[int]) -> list[str]:
    """Write down the invitations of members that are not invited yet; gives the ids of the steps, for `send_now`."""
    now = instance.env.clock.now().timestamp()
    return [
        steps.queue(tx, now, STEP, sharing.id, at, instance=sharing.members[at].instance, rest=REST)
        for at in indexes
        if sharing.members[at].status == State.MAIL_NOT_SENT
    ]


async def send_now(instance: Instance, ids: Sequence[str]) -> None:
    """Send invitations side by side. Raises BadRequest when one of them can reach nobody; the others are sent."""
    outcomes = await asyncio.gather(*(attempts.attempt(instance, id, LINE) for id in ids))
    if Outcome.REFUSED in outcomes:
        raise BadRequest(CANNOT_BE_SENT)


async def send_what_can_be(instance: Instance, ids: Sequence[str]) -> None:
    """Send invitations side by side; who can be reached in no way stays uninvited."""
    await asyncio.gather(*(attempts.attempt(instance, id, LINE) for id in ids))


async def send(instance: Instance, claim: Claim) -> Outcome:
    """Attempt one invitation: the request to the member's server, else the mail."""
    sharing_id, index = claim.waiting.sharing, claim.waiting.member
    sharing = await instance.store.read(lambda view: documents.get(view, sharing_id))
    if sharing is None or not sharing.owner or sharing.members[index].status != State.MAIL_NOT_SENT:
        return Outcome.DONE
    if where := await _reach_server(instance, sharing, index):
        await instance.store.write(lambda tx: _set_pending(tx, instance, sharing_id, index, where))
        return Outcome.DONE
    return await instance.store.write(lambda tx: _mail(tx, instance, sharing_id, index))


async def put_request(
    instance: Instance, sharing: Sharing, index: int, query: dict[str, str], address: str = ""
) -> tuple[int, str]:
    """Send the sharing request to a member's server, at `address` when that is to be tried (spec/04 §6.4); gives the
    status of the answer, and the address that has given it: another one when the member has moved.

    Raises UpstreamFailed, BadRequest."""

    sharing_id = sharing.id

    def build(view: Reader, at: str = address) -> tuple[str, bytes]:
        current = documents.load(view, sharing_id)
        if at:
            current.members[index].instance = at
        where = documents.origin_of(current.member(index).instance)
        token = preview.existing_interact_code(view, current, index) if current.drive else ""
        return where, msgspec.json.encode(requests.request_for(view, current, index, drive_token=token))

    if sharing.drive:
        await instance.store.write(lambda tx: _make_drive_token(tx, instance, sharing_id, index))
    path = f"/sharings/{sharing_id}" + (f"?{urlencode(query)}" if query else "")
    headers = {"Accept": JSONAPI, "Content-Type": JSONAPI}
    where, body = await instance.store.scan(build)
    response = await instance.peers.request("PUT", where + path, headers=headers, body=body)
    if moved_to := moved_away.new_origin(response):
        where, body = await instance.store.scan(lambda view: build(view, moved_to))
        response = await instance.peers.request("PUT", where + path, headers=headers, body=body)
    return response.status, where


def _make_drive_token(tx: Writer, instance: Instance, sharing_id: str, index: int) -> None:
    sharing = documents.load(tx, sharing_id)
    if sharing.drive:
        preview.interact_code(tx, instance, sharing, index)


async def _reach_server(instance: Instance, sharing: Sharing, index: int) -> str:
    """Send the request to a member's server; gives where it was taken, empty when it was not."""
    member = sharing.members[index]
    if not member.instance or sharing.rules[0].doctype == ORGANIZATIONS:
        return ""
    query = {"shortcut": "true"}
    if not sharing.drive:
        state = sharing.credentials[index - 1].state
        query["url"] = await instance.store.read(lambda view: preview.link_for(view, instance, sharing, index, state))
    try:
        status, where = await put_request(instance, sharing, index, query)
    except (UpstreamFailed, BadRequest):
        return ""
    return where if 200 <= status < 300 else ""


def _set_pending(tx: Writer, instance: Instance, sharing_id: str, index: int, where: str) -> None:
    sharing = documents.load(tx, sharing_id)
    member = sharing.members[index]
    if not documents.same_instance(member.instance, where):
        member.instance = where
    member.status = next_state(member.status, Event.INVITED) if member.status in WAITING else member.status
    documents.save(tx, sharing)
    members_list.queue(tx, instance, sharing, but=index)


def mail_again(tx: Writer, instance: Instance, sharing: Sharing, index: int) -> None:
    """Mail an invitation once more, with the same link."""
    link = preview.link_for(tx, instance, sharing, index, sharing.credentials[index - 1].state)
    invitation_mail.queue(tx, instance, sharing, sharing.members[index], link)


def _mail(tx: Writer, instance: Instance, sharing_id: str, index: int) -> Outcome:
    sharing = documents.load(tx, sharing_id)
    member = sharing.members[index]
    if member.status != State.MAIL_NOT_SENT:
        return Outcome.DONE
    if not member.email:
        return Outcome.DONE if member.groups else Outcome.REFUSED
    link = preview.link_for(tx, instance, sharing, index, sharing.credentials[index - 1].state)
    invitation_mail.queue(tx, instance, sharing, member, link)
    member.status = next_state(member.status, Event.INVITED)
    documents.save(tx, sharing)
    members_list.queue(tx, instance, sharing, but=index)
    return Outcome.DONE


LINE = steps.Step(
    send,
    time_out=25.0,
    on_refused="the member has no address and stays uninvited",
)
