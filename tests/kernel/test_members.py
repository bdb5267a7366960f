"""The life of a member (spec/04 §2.2)."""

from __future__ import annotations

import pytest

from inglenook.kernel.errors import BadRequest
from inglenook.kernel.members import FIRST_STATE, TRANSITIONS, WAITING, Event, State, next_state


def after(*events: Event) -> State:
    state = FIRST_STATE
    for event in events:
        state = next_state(state, event)
    return state


def test_an_invitation_runs_its_course() -> None:
    assert after() == "mail-not-sent"
    assert after(Event.INVITED) == "pending"
    assert after(Event.INVITED, Event.CODE_USED) == "seen"
    assert after(Event.INVITED, Event.CODE_USED, Event.ANSWERED) == "ready"
    assert after(Event.INVITED, Event.CODE_USED, Event.ANSWERED, Event.REVOKED) == "revoked"


@pytest.mark.parametrize("state", ["mail-not-sent", "pending", "seen", "ready"])
def test_an_answer_makes_ready_from_any_state_but_revoked(state: str) -> None:
    assert next_state(state, Event.ANSWERED) is State.READY


def test_a_code_never_takes_a_member_back() -> None:
    assert next_state("seen", Event.CODE_USED) is State.SEEN
    assert next_state("ready", Event.CODE_USED) is State.READY
    assert next_state("seen", Event.INVITED) is State.SEEN


@pytest.mark.parametrize("state", ["revoked", "pending", "seen", "mail-not-sent"])
def test_somebody_added_again_is_invited_again(state: str) -> None:
    assert next_state(state, Event.ADDED_AGAIN) is State.MAIL_NOT_SENT


def test_nothing_happens_to_a_ready_member_who_is_added_again() -> None:
    assert next_state("ready", Event.ADDED_AGAIN) is State.READY


@pytest.mark.parametrize("event", [Event.ANSWERED, Event.CODE_USED, Event.INVITED])
def test_a_revoked_member_cannot_come_back_alone(event: Event) -> None:
    with pytest.raises(BadRequest, match="not in the expected state"):
        next_state("revoked", event)


@pytest.mark.parametrize(("state", "event"), [("owner", Event.ANSWERED), ("nonsense", Event.REVOKED)])
def test_what_cannot_happen_is_refused(state: str, event: Event) -> None:
    with pytest.raises(BadRequest):
        next_state(state, event)


def test_every_state_can_be_revoked_and_every_waiting_one_accepted() -> None:
    assert all(TRANSITIONS[state, Event.REVOKED] is State.REVOKED for state in State)
    assert all(TRANSITIONS[state, Event.ANSWERED] is State.READY for state in WAITING)
