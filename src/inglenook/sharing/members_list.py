"""The owner tells the others who is in the sharing (spec/04 §17.4, §17.5).

One step for each member that is concerned: it sends the list as it is then, so that many changes cost one message,
and it waits for a member whose server is away.
"""

from __future__ import annotations

import msgspec

from inglenook.contacts import address_book
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest
from inglenook.kernel.jsonapi import MALFORMED
from inglenook.kernel.members import State
from inglenook.sharing import attempts, bodies, documents, links, preview, shortcuts, steps
from inglenook.sharing.documents import WRONG_STATE, Body, Member, Sharing
from inglenook.sharing.members import MAX_MEMBERS, STATUSES
from inglenook.sharing.steps import Claim, Outcome
from inglenook.storage.documents.contract import Reader, Writer
from inglenook.wire import JSONAPI

STEP = "tell-members"
GRACE = 1.0
LONGEST_LIST = 50 * MAX_MEMBERS
HEADERS = {"Accept": JSONAPI, "Content-Type": JSONAPI}


# -- the owner's side


def queue(tx: Writer, instance: Instance, sharing: Sharing, *, but: int = 0) -> None:
    """Let all members know of the list as it is now, except the one (`but`) who knows already."""
    if not sharing.owner:
        return
    now = instance.env.clock.now().timestamp()
    for index, member in enumerate(sharing.members):
        if index and index != but and is_concerned(member):
            steps.queue(tx, now, STEP, sharing.id, index, instance=member.instance, rest=GRACE)


def is_concerned(member: Member) -> bool:
    """Whether a member is told: one who takes part, or who is invited and whose server is known."""
    return bool(member.instance) and member.status in (State.READY, State.PENDING, State.SEEN)


async def tell(instance: Instance, claim: Claim) -> Outcome:
    """Send the list to one member."""
    index = claim.waiting.member

    def read(view: Reader) -> tuple[Sharing | None, str]:
        sharing = documents.get(view, claim.waiting.sharing)
        if sharing is None or index >= len(sharing.members):
            return None, ""
        return sharing, preview.preview_code(view, instance, sharing, index)

    sharing, code = await instance.store.read(read)
    if sharing is None or not sharing.owner or not is_concerned(sharing.members[index]):
        return Outcome.DONE
    with_groups = instance.peers.speaks(sharing.members[index].instance, "status")
    listed = list_of(sharing, with_groups=with_groups)
    path, body = f"/sharings/{sharing.id}/recipients", msgspec.json.encode(listed)
    if sharing.members[index].status == State.READY:
        link = links.peer_link(instance, sharing, index)
        response = await instance.peers.authorized(link, "PUT", path, headers=HEADERS, body=body)
    elif code:
        url = documents.origin_of(sharing.members[index].instance) + path
        headers = {**HEADERS, "Authorization": f"Bearer {code}"}
        response = await instance.peers.request("PUT", url, headers=headers, body=body)
    else:
        return Outcome.DONE
    return attempts.judge(response.status)


def list_of(sharing: Sharing, *, with_groups: bool = False) -> Body:
    """The list on the wire: a bare array of members and one of groups (spec/04 trap 18). A server of the same make
    is also told through which groups each of them comes (spec/04 §30.9)."""
    shown: list[Body] = [
        {name: body[name] for name in ("status", "public_name", "email", "read_only") if name in body}
        for body in map(documents.member_body, sharing.members)
    ]
    if with_groups:
        for body, member in zip(shown, sharing.members, strict=True):
            body |= {"groups": member.groups, "only_in_groups": member.only_in_groups}
    return {"data": shown, "included": [documents.group_body(group) for group in sharing.groups]}


LINE = steps.Step(
    tell,
    give_up_after=7 * steps.DAY,
    on_refused="the member keeps an older list",
    on_given_up="the member keeps an older list",
)


# -- the recipient's side


class Listed(msgspec.Struct, kw_only=True):
    """A received list."""

    data: list[Body]
    included: list[Body] | None = None


def parse(body: bytes) -> Listed:
    """Read a list. Raises BadRequest."""
    listed = bodies.decode(body, Listed)
    try:
        _ = [documents.parse_group(group) for group in listed.included or ()]
        found = [documents.parse_member(member) for member in listed.data]
    except msgspec.ValidationError as error:
        raise BadRequest(MALFORMED) from error
    if len(found) > LONGEST_LIST or any(member.status not in STATUSES for member in found):
        raise BadRequest(MALFORMED)
    return listed


def take(tx: Writer, sharing_id: str, listed: Listed) -> None:
    """Store the owner's list; the addresses of servers that we know stay. Raises DocumentNotFound, BadRequest."""
    sharing = documents.load(tx, sharing_id)
    if sharing.owner:
        raise BadRequest(WRONG_STATE)
    for at, told in enumerate(map(documents.parse_member, listed.data)):
        if at == len(sharing.members):
            sharing.members.append(Member(status=told.status))
        member = sharing.members[at]
        if told.email and told.email != member.email:
            another = "" if member.email else member.name
            member.name = address_book.name_of_email(tx, told.email) or another
        member.status, member.public_name = told.status, told.public_name
        member.email, member.read_only = told.email, told.read_only
        if "groups" in listed.data[at]:
            member.groups, member.only_in_groups = told.groups, told.only_in_groups
    sharing.groups = [documents.parse_group(group) for group in listed.included or ()]
    documents.save(tx, sharing)


def code_of_shortcut(view: Reader, sharing: Sharing) -> str:
    """The preview code in the shortcut of a sharing that was not answered yet: the owner tells the list by it."""
    return shortcuts.secrets_of(view, sharing).get("sharecode", "")
