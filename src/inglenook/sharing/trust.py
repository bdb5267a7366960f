"""Drives from somebody who is trusted are accepted without a question (spec/04 §21)."""

from __future__ import annotations

from urllib.parse import urlsplit

from inglenook.contacts import address_book
from inglenook.identity.instance import Instance
from inglenook.sharing import answer, documents, steps
from inglenook.sharing.answer import OwnerRefused
from inglenook.sharing.documents import Sharing
from inglenook.sharing.options import sharing_options
from inglenook.sharing.steps import Claim, Outcome
from inglenook.storage.documents.contract import Reader, Writer

STEP = "auto-accept"


def is_trusted(view: Reader, instance: Instance, sharing: Sharing) -> bool:
    """Whether the owner of a request is trusted, by the context's options."""
    options = sharing_options(instance)
    if options.get("auto_accept_trusted") is not True or not sharing.members:
        return False
    owner = sharing.members[0]
    host = (urlsplit(documents.origin_of(owner.instance)).hostname or "").rstrip(".")
    domains = options.get("trusted_domains")
    for domain in domains if isinstance(domains, list) else ():
        trusted = str(domain).lower().strip(".")
        if trusted and (host == trusted or host.endswith(f".{trusted}")):
            return True
    return options.get("auto_accept_trusted_contacts") is True and address_book.is_trusted(view, owner.email)


def queue(tx: Writer, instance: Instance, sharing: Sharing) -> None:
    """Let a trusted drive be accepted soon."""
    state = sharing.credentials[0].state if sharing.credentials else ""
    if state and is_trusted(tx, instance, sharing):
        now = instance.env.clock.now().timestamp()
        owner = sharing.members[0].instance
        steps.queue(tx, now, STEP, sharing.id, 0, instance=owner, data={"state": state})


async def accept(instance: Instance, claim: Claim) -> Outcome:
    """Accept a drive in the name of the local user."""
    try:
        await answer.accept(instance, claim.waiting.sharing, claim.waiting.data["state"])
    except OwnerRefused as refusal:
        return Outcome.REFUSED if 400 <= refusal.status < 500 else Outcome.AGAIN
    return Outcome.DONE


LINE = steps.Step(
    accept,
    time_out=30.0,
    first_retry=0.25,
    slowest_retry=3600.0,
    give_up_after=2 * steps.DAY,
    on_refused="the drive waits for its user",
    on_given_up="the drive waits for its user",
)
