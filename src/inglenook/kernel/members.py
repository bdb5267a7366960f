"""The life of a member of a sharing, as a table (spec/04 §2.2).

Each row says: in this state, at this event, what comes next. A pair without a row cannot happen: `next_state`
refuses it.
"""

from __future__ import annotations

from enum import Enum, StrEnum

from inglenook.kernel.errors import BadRequest


class State(StrEnum):
    """The status of a member, as it is stored and sent."""

    OWNER = "owner"
    MAIL_NOT_SENT = "mail-not-sent"
    PENDING = "pending"
    SEEN = "seen"
    READY = "ready"
    REVOKED = "revoked"


class Event(Enum):
    """What happens to a member."""

    INVITED = "the shortcut request was accepted, or the mail is on its way"
    CODE_USED = "somebody called with the member's preview or interact code"
    ANSWERED = "the member accepted"
    REVOKED = "the member was revoked, or has left"
    ADDED_AGAIN = "the same mail address or instance was added again"


FIRST_STATE = State.MAIL_NOT_SENT
"""Of somebody added by the owner."""
FIRST_STATE_BY_RECIPIENT = State.PENDING
"""Of somebody known by mail only, added by a recipient (spec/04 §17.3)."""

TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.MAIL_NOT_SENT, Event.INVITED): State.PENDING,
    (State.MAIL_NOT_SENT, Event.CODE_USED): State.SEEN,
    (State.MAIL_NOT_SENT, Event.ANSWERED): State.READY,
    (State.MAIL_NOT_SENT, Event.REVOKED): State.REVOKED,
    (State.MAIL_NOT_SENT, Event.ADDED_AGAIN): State.MAIL_NOT_SENT,
    (State.PENDING, Event.INVITED): State.PENDING,
    (State.PENDING, Event.CODE_USED): State.SEEN,
    (State.PENDING, Event.ANSWERED): State.READY,
    (State.PENDING, Event.REVOKED): State.REVOKED,
    (State.PENDING, Event.ADDED_AGAIN): State.MAIL_NOT_SENT,
    (State.SEEN, Event.INVITED): State.SEEN,
    (State.SEEN, Event.CODE_USED): State.SEEN,
    (State.SEEN, Event.ANSWERED): State.READY,
    (State.SEEN, Event.REVOKED): State.REVOKED,
    (State.SEEN, Event.ADDED_AGAIN): State.MAIL_NOT_SENT,
    (State.READY, Event.INVITED): State.READY,
    (State.READY, Event.CODE_USED): State.READY,
    (State.READY, Event.ANSWERED): State.READY,
    (State.READY, Event.REVOKED): State.REVOKED,
    (State.READY, Event.ADDED_AGAIN): State.READY,
    (State.REVOKED, Event.REVOKED): State.REVOKED,
    (State.REVOKED, Event.ADDED_AGAIN): State.MAIL_NOT_SENT,
    (State.OWNER, Event.REVOKED): State.REVOKED,  # on the copy of a recipient who has left
}

WAITING = frozenset({State.MAIL_NOT_SENT, State.PENDING, State.SEEN})
"""Invited, and not in yet."""


def next_state(state: str, event: Event) -> State:
    """The state after an event. Raises BadRequest when it cannot happen in this state, or there is no such state."""
    known = next((known for known in State if known == state), None)
    found = TRANSITIONS.get((known, event)) if known is not None else None
    if found is None:
        raise BadRequest("Sharing is not in the expected state")
    return found
