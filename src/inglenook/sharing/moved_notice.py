"""Telling the members of a sharing that this side has moved here (spec/04 §20.2, spec/12 §10)."""

from __future__ import annotations

import msgspec

from inglenook.identity import clients
from inglenook.identity.instance import Instance
from inglenook.kernel import jsonapi
from inglenook.kernel.members import State
from inglenook.sharing import attempts, documents, links, steps
from inglenook.sharing.documents import DOCTYPE, Sharing
from inglenook.sharing.steps import Claim, Outcome
from inglenook.storage.documents.contract import Reader, Writer
from inglenook.wire import JSONAPI

STEP = "moved-notice"
BODY_TYPE = "io.cozy.sharings.moved"
PAUSE = 3.0  # seconds before the first one
IMPORTS = "io.cozy.imports"
WAITING = "waiting"

_STATES = {Outcome.DONE: "told", Outcome.REFUSED: "refused", Outcome.AGAIN: "given up"}
_MOST = 10_000


class Notice(msgspec.Struct):
    """A member who is to be told, as the summary of an import has it. `instance` is the server, `state` how far it is:
    `waiting`, `told`, `refused`, or `given up`."""

    sharing: str
    instance: str
    state: str = WAITING


def queue(tx: Writer, sharing: Sharing, now: float, *, summary: str = "") -> int:
    """Write down the notices of a sharing: to each member who has a server, or to the owner; gives how many.

    `summary` is the id of the import in whose document it is told what becomes of them."""
    data = {"summary": summary} if summary else None
    told = 0
    for index, member in enumerate(sharing.members):
        other = index > 0 if sharing.owner else index == 0
        if other and member.instance and sharing.active and member.status in (State.READY, State.OWNER):
            steps.queue(tx, now, STEP, sharing.id, index, instance=member.instance, rest=PAUSE, data=data)
            told += 1
    return told


def all_waiting(view: Reader) -> list[Notice]:
    """The notices of an instance that nobody has got yet."""
    found = steps.all_waiting(view, limit=_MOST)
    return [Notice(claim.waiting.sharing, claim.waiting.host) for claim in found if claim.waiting.step == STEP]


def note(tx: Writer, claim: Claim, outcome: Outcome) -> None:
    """Note in the summary of the import how a notice has ended (spec/12 §11)."""
    summary = tx.get(IMPORTS, str(claim.waiting.data.get("summary", "")))
    notices = [] if summary is None else list(summary.body.get("sharings") or [])
    wanted = {"sharing": claim.waiting.sharing, "instance": claim.waiting.host, "state": WAITING}
    if summary is not None and wanted in notices:
        notices[notices.index(wanted)] = {**wanted, "state": _STATES[outcome]}
        tx.put(IMPORTS, summary.id, {**summary.body, "sharings": notices}, rev=summary.rev)


async def tell(instance: Instance, claim: Claim) -> Outcome:
    """Tell one member our address and the tokens that are good here."""
    index = claim.waiting.member
    sharing = await instance.store.read(lambda view: documents.get(view, claim.waiting.sharing))
    if sharing is None or not sharing.active:
        return Outcome.DONE
    credentials = sharing.credentials_for(index)
    if credentials is None or not credentials.inbound_client_id:
        return Outcome.DONE
    pair = clients.issue_pair(instance, credentials.inbound_client_id, f"{DOCTYPE}:ALL:{sharing.id}")
    attributes = {
        "id": "",
        "new_instance": instance.origin,
        "access_token": pair.access_token,
        "refresh_token": pair.refresh_token,
    }
    response = await instance.peers.authorized(
        links.peer_link(instance, sharing, index),
        "POST",
        f"/sharings/{sharing.id}/recipients/self/moved",
        headers={"Accept": JSONAPI, "Content-Type": JSONAPI},
        body=msgspec.json.encode(jsonapi.document(jsonapi.resource(BODY_TYPE, "", attributes))),
    )
    return attempts.judge(response.status)


LINE = steps.Step(
    tell,
    on_refused="the member keeps the old address",
    on_given_up="the member keeps the old address",
    ended=note,
)
