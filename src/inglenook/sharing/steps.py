"""Steps towards other servers that must not be forgotten: what they are, and how they wait (DESIGN, idea 3).

A step is written as a record in the very transaction that makes it necessary, and removed when it is done. What
steps there are, with their retries and effects, is the table in `handshake`; when they run is the matter of
`runner`. A step holds no decision of its own: it reads the sharing when it runs, so that it says what is true then.
Steps with the same key replace each other: the list of members is told once, however often it changed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import msgspec

from inglenook.peers import addresses
from inglenook.peers.errors import PeerForbiddenAddress
from inglenook.storage.documents.contract import Reader, Record, Writer

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

KIND = "sharing-step"
DAY = 24 * 3600.0


class Outcome(Enum):
    """How an attempt ended."""

    DONE = "done"
    """The step has had its effect, or has lost its reason."""
    AGAIN = "again"
    """Not now: the other server could not be reached, or asked for patience."""
    REFUSED = "refused"
    """The other server has said no; asking again would change nothing."""


class Waiting(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A step that waits, as it is stored.

    `member` is the index of the member it is about. `turn` counts how often the step was written anew while it
    waited. `host` names the server it needs. `data` is what the step must remember by itself because the sharing
    forgets it (credentials of somebody who was revoked); it is never shown. `since` and `next` are seconds of Unix
    time."""

    step: str
    sharing: str
    member: int = 0
    turn: int = 0
    host: str = ""
    attempts: int = 0
    since: float = 0.0
    next: float = 0.0
    last_error: str = ""
    data: dict[str, Any] = {}


Attempt = Callable[["Instance", "Claim"], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Claim:
    """A step that is being attempted: what its record said when it was read."""

    id: str
    waiting: Waiting


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the table: what to do, how long an attempt may take, when to try again, when to give up (seconds).

    `grace` is how long the step rests before its first attempt, so that several changes become one message.
    `on_refused` and `on_given_up` say in words what stays then, for logs and operators. `ended` is written together
    with its end; `AGAIN` tells then that it was given up."""

    attempt: Attempt
    time_out: float = 10.0
    grace: float = 0.0
    first_retry: float = 1.0
    slowest_retry: float = 3600.0
    give_up_after: float = 30 * DAY
    on_refused: str = ""
    on_given_up: str = ""
    ended: Callable[[Writer, Claim, Outcome], None] | None = None


def queue(
    tx: Writer,
    now: float,
    step: str,
    sharing: str,
    member: int,
    *,
    instance: str = "",
    rest: float = 0.0,
    mark: str = "",
    data: Mapping[str, Any] | None = None,
) -> str:
    """Write a step down; gives its id. `instance` is the address of the server it needs, `rest` the seconds until it
    is due, `mark` sets apart steps that must not replace each other."""
    id = f"{sharing}/{step}/{member}" + (f"/{mark}" if mark else "")
    old = find(tx, id)
    waiting = Waiting(
        step=step,
        sharing=sharing,
        member=member,
        turn=old.waiting.turn + 1 if old is not None else 0,
        host=host_of(instance),
        since=now,
        next=now + rest,
        data=dict(data or {}),
    )
    _put(tx, id, waiting)
    return id


def due(view: Reader, now: float, limit: int = 100) -> list[Claim]:
    """Steps whose time has come."""
    return [claim_of(record) for record in view.records_due(KIND, now, limit=limit)]


def find(view: Reader, id: str) -> Claim | None:
    """One step, if it still waits."""
    record = view.record(KIND, id)
    return claim_of(record) if record is not None else None


def of_sharing(view: Reader, sharing: str, limit: int = 1000) -> list[Claim]:
    """What waits for a sharing."""
    return [claim_of(record) for record in view.records(KIND, start=f"{sharing}/", end=f"{sharing}0", limit=limit)]


def all_waiting(view: Reader, limit: int = 1000) -> list[Claim]:
    """What waits in an instance."""
    return [claim_of(record) for record in view.records(KIND, limit=limit)]


def done(tx: Writer, claim: Claim) -> None:
    """Remove a step, unless it was written anew while it ran."""
    current = find(tx, claim.id)
    if current is not None and current.waiting.turn == claim.waiting.turn:
        tx.delete_record(KIND, claim.id)


def postpone(tx: Writer, claim: Claim, now: float, next: float, error: str) -> None:
    """Let a step wait for its next attempt, unless it was written anew while it ran."""
    current = find(tx, claim.id)
    if current is None or current.waiting.turn != claim.waiting.turn:
        return
    current.waiting.since = current.waiting.since or now
    current.waiting.attempts += 1
    current.waiting.next = next
    current.waiting.last_error = error
    _put(tx, claim.id, current.waiting)


def remember(tx: Writer, id: str, data: Mapping[str, Any]) -> None:
    """Replace what a step remembers by itself."""
    current = find(tx, id)
    if current is not None:
        current.waiting.data = dict(data)
        _put(tx, id, current.waiting)


def wake(tx: Writer, host: str, now: float, limit: int = 500) -> int:
    """Make the steps due that wait for a server; gives how many."""
    woken = 0
    for record in tx.record_feed(KIND, host, limit=limit):
        waiting = claim_of(record).waiting
        if waiting.next > now and waiting.attempts:
            waiting.next = now
            _put(tx, record.id, waiting)
            woken += 1
    return woken


def hurry(tx: Writer, sharing: str, member: int, now: float) -> int:
    """Make the steps due that wait for a member of a sharing; gives how many."""
    hurried = 0
    for claim in of_sharing(tx, sharing):
        if claim.waiting.member == member and claim.waiting.next > now:
            claim.waiting.next = now
            _put(tx, claim.id, claim.waiting)
            hurried += 1
    return hurried


def hurry_all(tx: Writer, now: float, id: str = "") -> int:
    """Make the steps due that wait, or the one with this id; gives how many."""
    waiting = all_waiting(tx, limit=10_000) if not id else [claim for claim in [find(tx, id)] if claim is not None]
    for claim in waiting:
        claim.waiting.next = min(claim.waiting.next, now)
        _put(tx, claim.id, claim.waiting)
    return len(waiting)


def take_along(tx: Writer, id: str, waiting: Waiting, now: float) -> None:
    """A step that waited at the address from which an instance has moved here: it is due at once."""
    waiting.next = now
    _put(tx, id, waiting)


def forget(tx: Writer, sharing: str, *names: str, member: int | None = None) -> None:
    """Drop the steps of these names that wait for a sharing (and a member of it): they have lost their reason."""
    for claim in of_sharing(tx, sharing):
        if claim.waiting.step in names and member in (None, claim.waiting.member):
            tx.delete_record(KIND, claim.id)


def host_of(instance: str) -> str:
    """The server of an address, as `peers` names it; empty when the address is none."""
    try:
        return addresses.host_of(instance) if instance else ""
    except PeerForbiddenAddress:
        return ""


def claim_of(record: Record) -> Claim:
    """A stored step."""
    return Claim(record.id, msgspec.json.decode(record.raw, type=Waiting))


def _put(tx: Writer, id: str, waiting: Waiting) -> None:
    keys = [waiting.host] if waiting.host else []
    tx.put_record(KIND, id, msgspec.to_builtins(waiting), keys=keys, due=waiting.next)
