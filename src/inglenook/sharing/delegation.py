"""Adding people to a living sharing: by the owner, or by a recipient through the owner (spec/04 §17.1-17.3, §17.7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from inglenook.contacts import address_book
from inglenook.files.stamps import Stamp
from inglenook.identity.instance import Instance
from inglenook.kernel import jsonapi
from inglenook.kernel.errors import (
    BadRequest,
    Conflict,
    Denied,
    Forbidden,
    InvalidAttribute,
    InvalidParameter,
    NotFound,
    UpstreamFailed,
)
from inglenook.kernel.jsonapi import MALFORMED, Object
from inglenook.kernel.members import FIRST_STATE_BY_RECIPIENT, WAITING, Event, State, next_state
from inglenook.peers.transport import PeerResponse
from inglenook.sharing import (
    bodies,
    documents,
    folder,
    invitation_mail,
    invitations,
    links,
    members,
    members_list,
    people,
    preview,
)
from inglenook.sharing.creation import max_members
from inglenook.sharing.discovery import REQUEST_FAILED
from inglenook.sharing.documents import DOCTYPE, Body, Group, Member, Sharing
from inglenook.sharing.people import Invited
from inglenook.storage.documents.contract import Reader, Writer
from inglenook.wire import JSON, JSONAPI

MEMBERS_TYPE = "io.cozy.sharings.members"


class Delegated(msgspec.Struct, kw_only=True):
    """People and groups on the wire between two servers (spec/04 §17.2)."""

    recipients: list[Member]
    groups: list[Group]


# -- on the owner


async def add(instance: Instance, sharing_id: str, invited: Sequence[Invited]) -> Sharing:
    """The owner adds people and groups, and invites them.

    Raises DocumentNotFound, InvalidAttribute, BadRequest as `creation.create`."""

    def write(tx: Writer) -> list[str]:
        sharing = documents.load(tx, sharing_id)
        sharing.require_owner()
        ordered = sorted(invited, key=lambda entry: entry.group)
        concerned = people.invite(tx, sharing, ordered, instance.env.random, limit=max_members(instance))
        return store_added(tx, instance, sharing, concerned)

    steps = await instance.store.write(write)
    await invitations.send_now(instance, steps)
    return await instance.store.read(lambda view: documents.load(view, sharing_id))


def store_added(tx: Writer, instance: Instance, sharing: Sharing, concerned: Sequence[int]) -> list[str]:
    """Save a sharing to which people were added: their codes, their invitations, and the list for the others. Gives
    the steps of the invitations."""
    sharing.touch(instance.env.clock.timestamp())
    if not sharing.active:
        sharing.active = True
        folder.add_root_reference(tx, sharing, Stamp(instance.env.clock.timestamp(), instance.url()))
    documents.save(tx, sharing)
    if sharing.preview_path:
        preview.refresh_preview(tx, instance, sharing)
    steps = invitations.queue(tx, instance, sharing, concerned)
    members_list.queue(tx, instance, sharing)
    return steps


async def take_delegated(instance: Instance, sharing_id: str, caller: int, delegated: Delegated) -> dict[str, str]:
    """Add the people that a member has chosen. Those whose server is known are invited from here; the states of all
    are given to the member's server, which mails the others.

    Raises Forbidden (not the owner, not open, a reader who would let others write), Conflict (somebody is in already),
    InvalidAttribute (somebody without any address who comes through no group), BadRequest as `add_member`."""

    def write(tx: Writer) -> tuple[dict[str, str], list[str]]:
        sharing = documents.load(tx, sharing_id)
        check_may_add(sharing, caller, delegated)
        behind = _groups_not_known(delegated, len(sharing.groups))
        for group in delegated.groups:
            members.add_group(sharing, group.id, group.name, added_by=caller, read_only=group.read_only)
        states: dict[str, str] = {}
        concerned: list[int] = []
        for person in delegated.recipients:
            if not person.email and not person.instance and not person.groups:
                raise InvalidAttribute(people.NO_ADDRESS, pointer="/data/attributes/recipients")
            new = _arriving(person, len(sharing.groups), behind)
            try:
                added = members.add_member(sharing, new, instance.env.random, limit=max_members(instance))
                if not added.state:
                    raise documents.already_accepted()
            except (BadRequest, Conflict):
                if not new.groups:
                    raise
                continue
            if new.instance:
                concerned.append(added.index)
            elif new.email:
                sharing.members[added.index].status = FIRST_STATE_BY_RECIPIENT
            if key := person.instance or person.email:  # as the member's server knows him
                states[key] = added.state
        return states, store_added(tx, instance, sharing, concerned)

    states, steps = await instance.store.write(write)
    await invitations.send_what_can_be(instance, steps)
    return states


def check_may_add(sharing: Sharing, caller: int, delegated: Delegated) -> None:
    """Whether a member may add these people (spec/04 §17.3). Raises Forbidden."""
    if not is_open_to(sharing, caller):
        raise Forbidden
    if not sharing.members[caller].read_only:
        return
    everyone_reads = all(person.read_only for person in delegated.recipients) and all(
        group.read_only for group in delegated.groups
    )
    if sharing.open_sharing or not everyone_reads:
        raise Forbidden


def is_open_to(sharing: Sharing, caller: int) -> bool:
    """Whether a member has a say in who takes part; somebody may have been revoked while he asked."""
    takes_part = sharing.members[caller].status == State.READY
    return sharing.owner and takes_part and (sharing.open_sharing or sharing.drive)


async def take_invitable(instance: Instance, sharing_id: str, caller: int, index: int, told: Member) -> dict[str, str]:
    """Somebody of a group that a member added can be reached now (spec/04 §17.7); gives the state of his invitation.

    Raises Forbidden, InvalidParameter `index`, Conflict (he is invited already), BadRequest (no address)."""

    def write(tx: Writer) -> tuple[dict[str, str], list[str]]:
        sharing = documents.load(tx, sharing_id)
        if not is_open_to(sharing, caller) or sharing.members[caller].read_only:
            raise Forbidden
        if not 0 < index < len(sharing.members):
            raise InvalidParameter("Invalid index", parameter="index")
        member = sharing.members[index]
        if member.status != State.MAIL_NOT_SENT:
            raise documents.already_accepted()
        if not told.email and not told.instance:
            raise BadRequest(MALFORMED)
        member.email = told.email or member.email
        member.instance = members.normal_instance(told.instance) if told.instance else member.instance
        sharing.credentials[index - 1] = fresh = members.fresh_credentials(instance.env.random)
        if not member.instance:
            member.status = next_state(member.status, Event.INVITED)
        return {member.instance or member.email: fresh.state}, store_added(tx, instance, sharing, [index])

    states, steps = await instance.store.write(write)
    await invitations.send_what_can_be(instance, steps)
    return states


def _groups_not_known(delegated: Delegated, had: int) -> int:
    """How many groups of the sharing the member's server did not know yet when it counted where its own ones begin:
    what comes with new groups comes through them."""
    counted = [index for person in delegated.recipients for index in person.groups]
    if not delegated.groups or not counted or min(counted) >= had:
        return 0
    return had - min(counted)


def _arriving(person: Member, groups: int, behind: int) -> Member:
    """A person on the wire as a new member: nothing that only this server knows is taken from it. The indexes of its
    groups are `behind` by so many."""
    return Member(
        status=State.MAIL_NOT_SENT,
        name=person.name,
        public_name=person.public_name,
        email=person.email.strip(),
        instance=members.normal_instance(person.instance) if person.instance else "",
        read_only=person.read_only,
        only_in_groups=person.only_in_groups and bool(person.groups),
        groups=sorted({index + behind for index in person.groups if 0 <= index + behind < groups}),
    )


def parse(relationships: Object) -> Delegated:
    """People and groups from the relationships of a body. Raises BadRequest."""
    try:
        return Delegated(
            recipients=[documents.parse_member(entry) for entry in _data(relationships, "recipients")],
            groups=[documents.parse_group(entry) for entry in _data(relationships, "groups")],
        )
    except msgspec.ValidationError as error:
        raise BadRequest(MALFORMED) from error


def parse_states(response: PeerResponse) -> dict[str, str]:
    """The states that the owner's server gives. Raises UpstreamFailed."""
    try:
        return bodies.decode(response.body, dict[str, str])
    except BadRequest as error:
        raise UpstreamFailed(REQUEST_FAILED) from error


def _data(relationships: Object, name: str) -> list[Body]:
    entry = msgspec.convert(relationships.get(name) or {}, Object)
    return msgspec.convert(entry.get("data") or [], list[Body])


# -- on a recipient


async def delegate(instance: Instance, sharing_id: str, invited: Sequence[Invited]) -> Sharing:
    """A recipient adds people and groups: the owner's server is asked, then those without a known server are mailed.

    Raises DocumentNotFound, InvalidAttribute (a contact without address), Denied with the owner's words,
    UpstreamFailed."""

    def choose(view: Reader) -> tuple[Sharing, Delegated]:
        sharing = documents.load(view, sharing_id)
        return sharing, choose_people(view, sharing, invited)

    sharing, delegated = await instance.store.read(choose)
    await ask_owner(instance, sharing, delegated)
    return await instance.store.read(lambda view: documents.load(view, sharing_id))


def choose_people(view: Reader, sharing: Sharing, invited: Sequence[Invited]) -> Delegated:
    """The members and groups that the entries of a body stand for, as the owner's server is told of them."""
    chosen = Delegated(recipients=[], groups=[])
    for entry in sorted(invited, key=lambda entry: entry.group):
        if not entry.group:
            contact = address_book.find_contact(view, entry.id)
            chosen.recipients.append(people.member_of_addressable(contact, read_only=entry.read_only))
            continue
        group = address_book.find_group(view, entry.id)
        at = len(sharing.groups) + len(chosen.groups)
        chosen.groups.append(Group(id=entry.id, name=group.name, addedBy=0, read_only=entry.read_only))
        for contact in address_book.contacts_of_group(view, entry.id, limit=people.GROUP_LIMIT):
            chosen.recipients.append(people.member_of_contact(contact, read_only=entry.read_only, group=at))
    return chosen


async def ask_owner(instance: Instance, sharing: Sharing, delegated: Delegated) -> None:
    """Send chosen people to the owner's server, keep and mail them. Raises as `delegate`."""
    document = jsonapi.document(
        {
            "type": DOCTYPE,
            "id": sharing.id,
            "attributes": {},
            "meta": {},
            "relationships": {
                "recipients": {"data": [documents.member_body(person) for person in delegated.recipients] or None},
                "groups": {"data": [documents.group_body(group) for group in delegated.groups] or None},
            },
        }
    )
    response = await call_owner(
        instance, sharing, "POST", f"/sharings/{sharing.id}/recipients/delegated", msgspec.json.encode(document)
    )
    states = parse_states(response)
    await instance.store.write(lambda tx: keep_delegated(tx, instance, sharing.id, delegated, states))


async def call_owner(
    instance: Instance, sharing: Sharing, method: str, path: str, body: bytes | None, *, kind: str = JSONAPI
) -> PeerResponse:
    """Ask the owner's server for something in the name of the local user; `kind` is the media type of the body.

    Raises Denied with the owner's words, NotFound, BadRequest, UpstreamFailed for any other refusal."""
    response = await instance.peers.authorized(
        links.peer_link(instance, sharing, 0),
        method,
        path,
        headers={"Accept": JSON, "Content-Type": kind} if body is not None else {"Accept": JSON},
        body=body,
    )
    if response.ok:
        return response
    detail = _words(response)
    match response.status:
        case 403:
            raise Denied(detail or "Forbidden")
        case 400:
            raise BadRequest(detail or REQUEST_FAILED)
        case 404:
            raise NotFound(detail or REQUEST_FAILED)
        case 409:
            raise Conflict(detail or documents.ALREADY_ACCEPTED)
        case _:
            raise UpstreamFailed(REQUEST_FAILED)


def keep_delegated(
    tx: Writer, instance: Instance, sharing_id: str, delegated: Delegated, states: dict[str, str]
) -> None:
    """Store the people that the owner's server has taken, and mail those whose server is not known (spec/04 §6.5).
    The groups will come with the owner's list; until then ours are as good."""
    sharing = documents.load(tx, sharing_id)
    me = sharing.me() or 0
    known = {group.id for group in sharing.groups if not group.revoked}
    for group in delegated.groups:
        if group.id not in known:
            sharing.groups.append(msgspec.structs.replace(group, addedBy=me))
    for person in delegated.recipients:
        state = states.get(person.instance) or states.get(person.email)
        if not state:
            _keep_unreachable(sharing, person)
            continue
        at = members.find_member(sharing, person)
        if at is None:
            sharing.members.append(msgspec.structs.replace(person, instance="", status=State.MAIL_NOT_SENT))
            at = len(sharing.members) - 1
        member = sharing.members[at]
        member.name = person.name or member.name
        if member.status in WAITING:
            member.status = next_state(member.status, Event.INVITED)
        if not person.instance and person.email:
            link = instance.url(f"/sharings/{sharing.id}/discovery", {"state": state})
            invitation_mail.queue(tx, instance, sharing, member, link)
    documents.save(tx, sharing)


def _keep_unreachable(sharing: Sharing, person: Member) -> None:
    """Remember who stands at the place of a member without any address: what his contact gets later concerns him
    (spec/04 §17.7). The owner's list tells the place alone, and may have come first."""
    if person.email or person.instance or not person.groups:
        return
    for member in sharing.members:
        if member.status == State.MAIL_NOT_SENT and not (member.name or member.email or member.instance):
            member.name, member.groups, member.only_in_groups = person.name, person.groups, person.only_in_groups
            member.read_only = person.read_only
            return
    sharing.members.append(msgspec.structs.replace(person, status=State.MAIL_NOT_SENT))


def _words(response: PeerResponse) -> str:
    try:
        match bodies.decode(response.body, dict[str, Any]):
            case {"errors": [{"detail": str(detail)}, *_]} | {"error": str(detail)}:
                return detail
            case _:
                return ""
    except BadRequest:
        return ""
