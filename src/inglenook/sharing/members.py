"""The list of members: adding people and groups, finding them, taking groups away (spec/04 §2.2, §4, §17.6).

Functions over a sharing that is loaded in a transaction; they change it, the caller saves it. Members and groups are
never removed from their lists, so that indexes stay what they were.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from inglenook.environment import Randomness
from inglenook.kernel import xor
from inglenook.kernel.errors import BadRequest
from inglenook.kernel.members import Event, State, next_state
from inglenook.sharing.documents import Credentials, Group, Member, Sharing, origin_of, same_instance

MAX_MEMBERS = 90  # the owner and the revoked ones included (spec/04 §28)
STATUSES = frozenset(State)


@dataclass(frozen=True, slots=True)
class Added:
    """What became of somebody who was added: the place in the list, and the state of the invitation to send, which
    is empty for a member who has accepted already."""

    index: int
    state: str


def add_member(sharing: Sharing, new: Member, random: Randomness, *, limit: int = MAX_MEMBERS) -> Added:
    """Add a person, or invite again one who is not in (spec/04 §4, "addMember").

    `new.groups` holds the index of the group through which the person comes, if any. The link of a former
    invitation keeps working. Raises BadRequest: too many members, rights that contradict those the person has."""
    at = find_member(sharing, new)
    if at is None:
        if len(sharing.members) >= limit:
            raise BadRequest("There are too many members for this sharing")
        sharing.members.append(new)
        fresh = fresh_credentials(random)
        sharing.credentials.append(fresh)
        return Added(len(sharing.members) - 1, fresh.state)
    old = sharing.members[at]
    gone = old.status == State.REVOKED
    if not gone and old.read_only != new.read_only:
        if old.only_in_groups:
            raise BadRequest("A group member cannot be added as they are already in another group of the sharing")
        if new.groups:
            raise BadRequest("A group member cannot be added as they are already in the sharing")
    old.only_in_groups = new.only_in_groups and (gone or old.only_in_groups)
    old.groups = sorted({*(() if gone else old.groups), *new.groups})
    if old.status == State.READY:
        return Added(at, "")
    old.status = next_state(old.status, Event.ADDED_AGAIN)
    old.declined_at = old.asked_at = ""
    old.unreachable = False
    old.name, old.instance, old.read_only = new.name, new.instance, new.read_only
    former = sharing.credentials[at - 1]
    fresh = fresh_credentials(random)
    if not gone and former.state:
        fresh.xor_key = former.xor_key
        fresh.former_states = [*former.former_states, former.state]
    sharing.credentials[at - 1] = fresh
    return Added(at, fresh.state)


def find_member(sharing: Sharing, person: Member) -> int | None:
    """The place of a person: the same mail address, or the same instance for somebody without one (spec/04 §4)."""
    for index, member in enumerate(sharing.members):
        if index and (
            same_email(member.email, person.email) if person.email else same_instance(member.instance, person.instance)
        ):
            return index
    return None


def find_known_member(sharing: Sharing, email: str, instance: str) -> int | None:
    """The place of a contact: the same mail address or the same instance (spec/07 §6.5)."""
    for index, member in enumerate(sharing.members):
        if index and (same_email(member.email, email) or same_instance(member.instance, instance)):
            return index
    return None


def add_group(sharing: Sharing, group_id: str, name: str, *, added_by: int, read_only: bool) -> int:
    """Append a group; gives its index. Raises BadRequest when it is in the sharing already."""
    if any(group_id and group.id == group_id and not group.revoked for group in sharing.groups):
        raise BadRequest("The group cannot be added twice to the same sharing")
    sharing.groups.append(Group(id=group_id, name=name, addedBy=added_by, read_only=read_only))
    return len(sharing.groups) - 1


def leave_group(member: Member, group: int) -> bool:
    """Take a group from a member; True when the member was there through groups alone and none is left."""
    if group not in member.groups:
        return False
    member.groups = [index for index in member.groups if index != group]
    return member.only_in_groups and not member.groups and member.status != State.REVOKED


def same_email(one: str, other: str) -> bool:
    """Whether two mail addresses are the same mailbox, as far as one can tell; never for empty ones."""
    return bool(one) and one.strip().casefold() == other.strip().casefold()


def normal_instance(url: str) -> str:
    """The address of a server as it is stored: without path or final slash when that can be told (spec/04 trap 15)."""
    return origin_of(url) or url


def fresh_credentials(random: Randomness) -> Credentials:
    """A new state and a new XOR key (spec/04 §2.5, §28)."""
    state = base64.urlsafe_b64encode(random.bytes(16)).rstrip(b"=").decode()
    return Credentials(state=state, xor_key=xor.make_key(random.bytes(8)))
