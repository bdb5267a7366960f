"""The description of a sharing: changed by its people, told by the owner to the others (spec/04 §16)."""

from __future__ import annotations

import msgspec

from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest
from inglenook.kernel.members import State
from inglenook.sharing import attempts, bodies, documents, links, steps
from inglenook.sharing.documents import Sharing
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


def change(tx: Writer, sharing_id: str, text: str) -> Sharing:
    """Set the description, and the title of a drive; the owner's server tells the others. On a recipient it stays
    with him. Raises DocumentNotFound."""
    sharing = documents.load(tx, sharing_id)
    if sharing.description == text and not sharing.drive:
        return sharing
    sharing.description = text
    if sharing.drive:
        root = sharing.files_rule()
        sharing.rules = [
            msgspec.structs.replace(rule, title=text) if rule is root and text else rule for rule in sharing.rules
        ]
    documents.save(tx, sharing)
    if sharing.owner:
        for index, member in enumerate(sharing.members):
            if member.status == State.READY and member.instance:
                steps.queue(tx, 0.0, STEP, sharing.id, index, instance=member.instance)
    return sharing


async def tell(instance: Instance, claim: Claim) -> Outcome:
    """Send the description to one member."""
    index = claim.waiting.member
    sharing = await instance.store.read(lambda view: documents.get(view, claim.waiting.sharing))
    if sharing is None or not sharing.owner or sharing.members[index].status != State.READY:
        return Outcome.DONE
    response = await instance.peers.authorized(
        links.peer_link(instance, sharing, index),
        "PUT",
        f"/sharings/{sharing.id}/metadata",
        headers={"Content-Type": "application/json"},
        body=msgspec.json.encode({"description": sharing.description}),
    )
    return attempts.judge(response.status)


LINE = steps.Step(
    tell,
    give_up_after=7 * steps.DAY,
    on_refused="the member keeps the old description",
    on_given_up="the member keeps the old description",
)
