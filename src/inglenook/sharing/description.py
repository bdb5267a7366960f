"""The description of a sharing: changed by its people, told by the owner to the others (spec/04 §16)."""

from __future__ import annotations

import msgspec

from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest
from inglenook.kernel.members import State
from inglenook.sharing import attempts, bodies, documents, invitations, links, members_list, steps
from inglenook.sharing.documents import ORGANIZATIONS, Sharing
from inglenook.sharing.steps import Claim, Outcome
from inglenook.storage.documents.contract import Writer

STEP = "describe"
MAX_BYTES = 1000
TOO_LONG = "description is too long (maximum 1000 characters)"
NOT_JSON = "JSON input is malformed"


class Metadata(msgspec.Struct):
    """The body of `PUT /sharings/:id/metadata`."""

    description: str | None = None


def parse(body: bytes) -> str:
    """A description that another server sends, trimmed. Raises BadRequest."""
    text = (bodies.decode(body, Metadata, NOT_JSON).description or "").strip()
    if len(text.encode()) > MAX_BYTES:
        raise BadRequest(TOO_LONG)
    return text


def change(tx: Writer, sharing_id: str, text: str, now: str) -> Sharing:
    """Set the description, and the title of a drive; the owner's server tells the others, those who have not answered
    yet included. On a recipient it stays with him. Raises DocumentNotFound."""
    sharing = documents.load(tx, sharing_id)
    if sharing.description == text and not sharing.drive:
        return sharing
    sharing.description = text
    if sharing.drive:
        root = sharing.files_rule()
        sharing.rules = [
            msgspec.structs.replace(rule, title=text) if rule is root and text else rule for rule in sharing.rules
        ]
    sharing.touch(now)
    documents.save(tx, sharing)
    if sharing.owner:
        for index, member in enumerate(sharing.members):
            if index and members_list.is_concerned(member):
                steps.queue(tx, 0.0, STEP, sharing.id, index, instance=member.instance)
    return sharing


async def tell(instance: Instance, claim: Claim) -> Outcome:
    """Send the description to one member: by itself, or with the request again when that waits for its answer."""
    index = claim.waiting.member
    sharing = await instance.store.read(lambda view: documents.get(view, claim.waiting.sharing))
    if sharing is None or not sharing.owner or not members_list.is_concerned(sharing.members[index]):
        return Outcome.DONE
    if sharing.members[index].status != State.READY:
        return await _repeat_request(instance, sharing, index)
    response = await instance.peers.authorized(
        links.peer_link(instance, sharing, index),
        "PUT",
        f"/sharings/{sharing.id}/metadata",
        headers={"Content-Type": "application/json"},
        body=msgspec.json.encode({"description": sharing.description}),
    )
    return attempts.judge(response.status)


async def _repeat_request(instance: Instance, sharing: Sharing, index: int) -> Outcome:
    """Send the request as it is now. Without `shortcut` it renews neither the shortcut nor what tells of it."""
    if sharing.rules[0].doctype == ORGANIZATIONS:
        return Outcome.DONE  # an invitation to one leaves by mail alone
    status, _ = await invitations.put_request(instance, sharing, index, {})
    outcome = attempts.judge(status)
    if outcome is not Outcome.REFUSED:
        return outcome
    current = await instance.store.read(lambda view: documents.get(view, sharing.id))
    accepted = current is not None and current.members[index].status == State.READY
    return Outcome.AGAIN if accepted else Outcome.REFUSED


LINE = steps.Step(
    tell,
    give_up_after=7 * steps.DAY,
    on_refused="the member keeps the old description",
    on_given_up="the member keeps the old description",
)
