"""From contacts and groups of the address book to members of a sharing (spec/04 §4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from inglenook.contacts import address_book
from inglenook.contacts.address_book import Contact
from inglenook.environment import Randomness
from inglenook.kernel.errors import BadRequest, InvalidAttribute
from inglenook.kernel.jsonapi import MALFORMED, Object, Reference
from inglenook.sharing import members
from inglenook.sharing.documents import Member, Sharing
from inglenook.storage.documents.contract import Reader

GROUPS = "io.cozy.contacts.groups"
NO_ADDRESS = "The contact has no email address"
GROUP_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Invited:
    """One entry of the relationships of a body: a contact, or a group when the type says so."""

    id: str
    group: bool
    read_only: bool


def parse_invited(relationships: Object) -> list[Invited]:
    """The `recipients`, then the `read_only_recipients` of a body (spec/04 §5). Raises BadRequest."""
    found: list[Invited] = []
    for name, read_only in (("recipients", False), ("read_only_recipients", True)):
        try:
            related = msgspec.convert(relationships.get(name) or {}, _Relationship)
        except msgspec.ValidationError as error:
            raise BadRequest(MALFORMED) from error
        found += [Invited(entry.id, entry.type == GROUPS, read_only) for entry in related.data or ()]
    return found


class _Relationship(msgspec.Struct):
    data: list[Reference] | None = None


def invite(view: Reader, sharing: Sharing, invited: Sequence[Invited], random: Randomness, *, limit: int) -> list[int]:
    """Put contacts and groups into an owner's sharing; gives the indexes of the members to be invited.

    Raises DocumentNotFound (unknown contact or group), InvalidAttribute (a contact without any address), BadRequest
    (too many members, a group twice, rights in conflict)."""
    concerned: dict[int, None] = {}
    for entry in invited:
        if entry.group:
            group = address_book.find_group(view, entry.id)
            at = members.add_group(sharing, entry.id, group.name, added_by=0, read_only=entry.read_only)
            for contact in address_book.contacts_of_group(view, entry.id, limit=GROUP_LIMIT):
                new = member_of_contact(contact, read_only=entry.read_only, group=at)
                added = members.add_member(sharing, new, random, limit=limit)
                if added.state:
                    concerned[added.index] = None
        else:
            contact = address_book.find_contact(view, entry.id)
            new = member_of_addressable(contact, read_only=entry.read_only)
            added = members.add_member(sharing, new, random, limit=limit)
            if added.state:
                concerned[added.index] = None
    return list(concerned)


def member_of_addressable(contact: Contact, *, read_only: bool) -> Member:
    """A contact that is invited by name. Raises InvalidAttribute when it can be reached in no way."""
    if not contact.email and not contact.instance:
        raise InvalidAttribute(NO_ADDRESS, pointer="/data/attributes/recipients")
    return member_of_contact(contact, read_only=read_only)


def member_of_contact(contact: Contact, *, read_only: bool, group: int | None = None) -> Member:
    """A contact as a member that is not invited yet; `group` is the index of the group it comes through."""
    return Member(
        status="mail-not-sent",
        name=contact.name,
        email=contact.email,
        instance=members.normal_instance(contact.instance) if contact.instance else "",
        read_only=read_only,
        only_in_groups=group is not None,
        groups=[] if group is None else [group],
    )
