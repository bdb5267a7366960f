"""Groups of contacts that change while they are in a sharing (spec/04 §17.6, spec/07 §6.5).

A hook of the store sees each change of a contact or group, and writes down a step for each sharing that the group is
in. The step then adds or removes the person: on the owner directly, on a recipient through the owner's server.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from inglenook.contacts import address_book
from inglenook.contacts.address_book import CONTACTS, GROUPS, Contact, contact_of
from inglenook.identity.instance import Instance
from inglenook.kernel import jsonapi
from inglenook.kernel.collation import raw_key
from inglenook.kernel.errors import BadRequest, Conflict, Denied
from inglenook.kernel.members import Event, State, next_state
from inglenook.sharing import (
    delegation,
    documents,
    invitation_mail,
    invitations,
    members,
    members_list,
    people,
    revocation,
    steps,
)
from inglenook.sharing.creation import max_members
from inglenook.sharing.delegation import MEMBERS_TYPE, Delegated
from inglenook.sharing.documents import DOCTYPE, Body, Member, Sharing
from inglenook.sharing.steps import Claim, Outcome
from inglenook.storage.documents.contract import Change, Index, Reader, Writer

FOLLOW = "follow-contact"
RENAME = "rename-group"
MOST_SHARINGS = 1000


def _group_keys(doc_id: str, body: Body) -> Iterable[bytes]:
    if body.get("active"):
        for group in body.get("groups") or ():
            if isinstance(group, dict) and group.get("id") and not group.get("revoked"):
                yield raw_key(str(group["id"]))


BY_GROUP = Index("sharings-by-group", DOCTYPE, _group_keys)


class Followed(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a step must know of a contact that has changed. `email` and `instance` are those it had before."""

    contact: str
    added: list[str] = []
    removed: list[str] = []
    invitable: bool = False
    email: str = ""
    instance: str = ""


# -- the hook


def follow(tx: Writer, change: Change) -> None:
    """The store's hook: note what a changed contact or group means for sharings."""
    doctype = change.new.doctype
    if doctype == CONTACTS:
        _follow_contact(tx, change)
    elif doctype == GROUPS and change.old is not None and not change.new.deleted:
        old, new = change.old.body.get("name"), change.new.body.get("name")
        if old != new and isinstance(new, str):
            for sharing_id in _sharings_with(tx, [change.new.id]):
                steps.queue(tx, 0.0, RENAME, sharing_id, 0, mark=change.new.id, data={"group": change.new.id})


def _follow_contact(tx: Writer, change: Change) -> None:
    before = contact_of(change.new.id, change.old.body) if change.old is not None else None
    after = contact_of(change.new.id, change.new.body) if not change.new.deleted else None
    had, has = _groups_of(before), _groups_of(after)
    invitable = (
        before is not None
        and after is not None
        and not (before.email or before.instance)
        and bool(after.email or after.instance)
    )
    if had == has and not invitable:
        return
    data = Followed(
        contact=change.new.id,
        added=sorted(has - had),
        removed=sorted(had - has),
        invitable=invitable,
        email=before.email if before else "",
        instance=before.instance if before else "",
    )
    concerned = (has | had) if invitable else (has ^ had)
    for sharing_id in _sharings_with(tx, concerned):
        sharing = documents.load(tx, sharing_id)
        owner = "" if sharing.owner else sharing.members[0].instance
        mark = f"{change.new.id}-{change.written.partition('-')[0]}"
        steps.queue(tx, 0.0, FOLLOW, sharing_id, 0, instance=owner, mark=mark, data=msgspec.to_builtins(data))


def _groups_of(contact: Contact | None) -> set[str]:
    """The groups that a contact counts in; one in the trash is in none (spec/07 §15.15)."""
    return set() if contact is None or contact.trashed else set(contact.groups)


def _sharings_with(view: Reader, groups: Iterable[str]) -> list[str]:
    found: dict[str, None] = {}
    for group in groups:
        key = raw_key(group)
        for entry in view.index(BY_GROUP, start=key, end=key + b"\0", limit=MOST_SHARINGS):
            found[entry.id] = None
    return list(found)


# -- the steps


async def rename(instance: Instance, claim: Claim) -> Outcome:
    """Give a group of a sharing its new name."""

    def write(tx: Writer) -> None:
        sharing = documents.get(tx, claim.waiting.sharing)
        if sharing is None or not sharing.active:
            return
        name = address_book.find_group(tx, claim.waiting.data["group"]).name
        for group in sharing.groups:
            if group.id == claim.waiting.data["group"]:
                group.name = name
        sharing.touch(instance.env.clock.timestamp())
        documents.save(tx, sharing)
        members_list.queue(tx, instance, sharing)

    await instance.store.write(write)
    return Outcome.DONE


async def follow_contact(instance: Instance, claim: Claim) -> Outcome:
    """Bring a sharing in step with the groups of a contact. Of what the change said, what is still so is done: while a
    step waits for the owner's server, its contact may have changed again."""
    data = msgspec.convert(claim.waiting.data, Followed)
    sharing_id = claim.waiting.sharing
    sharing = await instance.store.read(lambda view: documents.get(view, sharing_id))
    if sharing is None or not sharing.active:
        return Outcome.DONE
    if sharing.owner:
        invited = await instance.store.write(lambda tx: _on_owner(tx, instance, sharing_id, data))
        await invitations.send_what_can_be(instance, invited)
    else:
        await _on_recipient(instance, sharing, data)
    return Outcome.DONE


def _on_owner(tx: Writer, instance: Instance, sharing_id: str, data: Followed) -> list[str]:
    """Change the owner's sharing; gives the invitations that have to go out."""
    invited: list[str] = []
    contact = _contact(tx, data.contact)
    sharing = documents.load(tx, sharing_id)
    if contact is not None and data.invitable:
        at = _waiting_member(sharing, contact)
        if at is not None:
            member = sharing.members[at]
            member.email, member.instance = contact.email, members.normal_instance(contact.instance)
            invited += delegation.store_added(tx, instance, sharing, [at])
    entered, left = _entered_and_left(sharing, contact, data, added_by=0)
    later = _enter(tx, instance, sharing, contact, entered, invited)
    for group in left:
        at = members.find_known_member(sharing, data.email, data.instance)
        if at is not None:
            revocation.take_out_of_group(tx, instance, sharing, group, at, rest=0.0)
    if left and later:  # from a group that may write to one that may not, or back: another membership
        _enter(tx, instance, documents.load(tx, sharing_id), contact, later, invited)
    return invited


def _enter(
    tx: Writer, instance: Instance, sharing: Sharing, contact: Contact | None, groups: list[int], invited: list[str]
) -> list[int]:
    """Add a contact by its groups, and note the invitations; gives the groups by which it cannot come: the person is
    in with other rights, or there is no room. Nobody is there to be told."""
    concerned: list[int] = []
    refused: list[int] = []
    for group in groups:
        new = people.member_of_contact(_known(contact), read_only=sharing.groups[group].read_only, group=group)
        try:
            added = members.add_member(sharing, new, instance.env.random, limit=max_members(instance))
        except BadRequest:
            refused.append(group)
            continue
        if added.state:
            concerned.append(added.index)
    if len(refused) < len(groups):
        invited += delegation.store_added(tx, instance, sharing, concerned)
    return refused


async def _on_recipient(instance: Instance, sharing: Sharing, data: Followed) -> None:
    me = sharing.me()
    if me is None:
        return
    contact = await instance.store.read(lambda view: _contact(view, data.contact))
    try:
        if contact is not None and data.invitable:
            await _tell_invitable(instance, sharing, contact)
        entered, left = _entered_and_left(sharing, contact, data, added_by=me)
        for group in entered:
            new = people.member_of_contact(_known(contact), read_only=sharing.groups[group].read_only, group=group)
            await delegation.ask_owner(instance, sharing, Delegated(recipients=[new], groups=[]))
        for group in left:
            at = members.find_known_member(sharing, data.email, data.instance)
            if at is not None:
                path = f"/sharings/{sharing.id}/groups/{group}/{at}"
                await delegation.call_owner(instance, sharing, "DELETE", path, None)
    except (BadRequest, Conflict, Denied):
        return  # the owner's server has decided; nobody is there to be told


async def _tell_invitable(instance: Instance, sharing: Sharing, contact: Contact) -> None:
    at = _waiting_member(sharing, contact)
    if at is None:
        return
    told = Member(
        status=State.MAIL_NOT_SENT,
        name=contact.name,
        email=contact.email,
        instance=members.normal_instance(contact.instance) if contact.instance else "",
    )
    document = jsonapi.document(jsonapi.resource(MEMBERS_TYPE, "", documents.member_body(told)))
    path = f"/sharings/{sharing.id}/members/{at}/invitation"
    response = await delegation.call_owner(instance, sharing, "POST", path, msgspec.json.encode(document))
    states = delegation.parse_states(response)

    def keep(tx: Writer) -> None:
        current = documents.load(tx, sharing.id)
        member = current.members[at]
        member.email = told.email or member.email
        if member.status == State.MAIL_NOT_SENT:
            member.status = next_state(member.status, Event.INVITED)
        documents.save(tx, current)
        state = states.get(told.email)
        if state and not told.instance:
            link = instance.url(f"/sharings/{sharing.id}/discovery", {"state": state})
            invitation_mail.queue(tx, instance, current, member, link)

    await instance.store.write(keep)


def _waiting_member(sharing: Sharing, contact: Contact) -> int | None:
    """The member that a contact became before anybody could reach it: same name, in one of its groups."""
    groups = {index for index, group in enumerate(sharing.groups) if group.id in contact.groups and not group.revoked}
    for index, member in enumerate(sharing.members):
        unreachable = member.status == State.MAIL_NOT_SENT and not member.email and not member.instance
        if index and unreachable and member.name == contact.name and not groups.isdisjoint(member.groups):
            return index
    return None


def _entered_and_left(
    sharing: Sharing, contact: Contact | None, data: Followed, *, added_by: int
) -> tuple[list[int], list[int]]:
    """The groups of a sharing that a contact has entered and is still in, and those that it has left for good."""
    now = _groups_of(contact)
    entered = _places(sharing, now.intersection(data.added), added_by=added_by)
    return entered, _places(sharing, set(data.removed) - now, added_by=added_by)


def _places(sharing: Sharing, groups: Iterable[str], *, added_by: int) -> list[int]:
    wanted = set(groups)
    return [
        index
        for index, group in enumerate(sharing.groups)
        if group.id in wanted and not group.revoked and group.addedBy == added_by
    ]


def _contact(view: Reader, contact_id: str) -> Contact | None:
    document = view.get(CONTACTS, contact_id)
    return contact_of(document.id, document.body) if document is not None else None


def _known(contact: Contact | None) -> Contact:
    assert contact is not None, "groups are only entered by contacts that exist"
    return contact


FOLLOW_LINE = steps.Step(follow_contact, time_out=30.0, on_refused="the person is not added or removed")
RENAME_LINE = steps.Step(rename, on_refused="the group keeps its old name in the sharing")
