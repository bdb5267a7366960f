"""Mails that wait to be sent, and those that could not be: durable records of each instance (DESIGN, idea 3).

A mail counts as sent for who asks for it once its record is committed. `mail.sender` does the rest: it claims a
letter (which counts the attempt and sets the moment of the next one) before it hands it over, so that neither a
crash nor a full disk makes it send the same letter in a loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from inglenook.identity.letters import LETTERS
from inglenook.mail import letter as letters
from inglenook.mail.letter import Letter
from inglenook.peers.backoff import delay
from inglenook.storage.documents.contract import Reader, Record, Writer

FAILURES = "letters-failed"
REMEMBERED_FAILURES = 100
GIVE_UP_AFTER = 3 * 24 * 3600.0
"""Seconds during which a letter is tried."""


class Failure(msgspec.Struct, frozen=True):
    """A letter that was given up; its content is not kept. `at` is in seconds of Unix time."""

    what: str
    to: list[str]
    error: str
    at: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """A letter that waits, for lists: no values, no bodies. `next_try` is in seconds of Unix time."""

    id: str
    what: str
    to: tuple[str, ...]
    attempts: int
    last_error: str
    since: float


@dataclass(frozen=True, slots=True)
class Claimed:
    """A letter that is being handed over."""

    id: str
    letter: Letter


def queue_mail(tx: Writer, message: Letter | Mapping[str, Any], now: float) -> str:
    """Ask for a mail in the transaction of what it tells about; gives the id of its record.

    `message` is a letter or the message of a `sendmail` job, `now` in seconds of Unix time. Raises BadRequest."""
    letter = message if isinstance(message, Letter) else letters.parse(message)
    letters.check(letter)
    letter.since = now
    return tx.put_record(LETTERS, tx.new_id(), msgspec.to_builtins(letter), due=now).id


def claim(tx: Writer, now: float, jitter: float) -> Claimed | None:
    """The next letter that is due, with its next attempt written down; None when nothing is due.

    Letters that nobody can read are given up on the way."""
    for record in tx.records_due(LETTERS, now, limit=20):
        letter = read(record)
        if letter is None:
            give_up(tx, record.id, Letter(mode=""), "The mail cannot be read", now)
            continue
        letter.since = letter.since or now
        letter.attempts += 1
        body = msgspec.to_builtins(letter)
        tx.put_record(LETTERS, record.id, body, due=now + delay(letter.attempts - 1, jitter))
        return Claimed(record.id, letter)
    return None


def done(tx: Writer, claimed: Claimed) -> None:
    """The letter has been handed over."""
    tx.delete_record(LETTERS, claimed.id)


def postpone(tx: Writer, claimed: Claimed, error: str, now: float, jitter: float) -> bool:
    """The letter could not be handed over; it waits for its next attempt. False when it was given up instead."""
    letter = claimed.letter
    if now - letter.since > GIVE_UP_AFTER:
        give_up(tx, claimed.id, letter, error, now)
        return False
    letter.last_error = error
    due = now + delay(letter.attempts - 1, jitter)
    tx.put_record(LETTERS, claimed.id, msgspec.to_builtins(letter), due=due)
    return True


def give_up(tx: Writer, id: str, letter: Letter, error: str, now: float) -> None:
    """The letter will not be sent; what it was about is remembered for the operator."""
    tx.delete_record(LETTERS, id)
    failure = Failure(what_of(letter), [address.email for address in letter.to], error, now)
    tx.put_record(FAILURES, id, msgspec.to_builtins(failure), due=now)
    oldest = tx.records_due(FAILURES, now, limit=2 * REMEMBERED_FAILURES)
    for record in oldest[: max(len(oldest) - REMEMBERED_FAILURES, 0)]:
        tx.delete_record(FAILURES, record.id)


def waiting(view: Reader, limit: int = 100) -> list[Waiting]:
    """The letters that wait."""
    found: list[Waiting] = []
    for record in view.records(LETTERS, limit=limit):
        letter = read(record) or Letter(mode="")
        to = tuple(address.email for address in letter.to)
        found.append(Waiting(record.id, what_of(letter), to, letter.attempts, letter.last_error, letter.since))
    return found


def hurry(tx: Writer, now: float, id: str = "") -> int:
    """Make the letters due that wait, or the one with this id; gives how many."""
    found = (
        tx.records(LETTERS, limit=10_000) if not id else [one for one in [tx.record(LETTERS, id)] if one is not None]
    )
    for record in found:
        tx.put_record(LETTERS, record.id, record.body, due=now)
    return len(found)


def failures(view: Reader, limit: int = REMEMBERED_FAILURES) -> list[Failure]:
    """The letters that were given up lately."""
    return [msgspec.json.decode(record.raw, type=Failure) for record in view.records(FAILURES, limit=limit)]


def forget_failures(tx: Writer, what: str, email: str) -> int:
    """Forget the letters of a kind to an address that were given up, since they are written anew; gives how many."""
    forgotten = 0
    for record in tx.records(FAILURES, limit=REMEMBERED_FAILURES):
        failure = msgspec.json.decode(record.raw, type=Failure)
        if failure.what == what and email in failure.to:
            tx.delete_record(FAILURES, record.id)
            forgotten += 1
    return forgotten


def read(record: Record) -> Letter | None:
    """The letter of a record, None when it cannot be read."""
    try:
        return msgspec.json.decode(record.raw, type=Letter)
    except msgspec.DecodeError:
        return None


def what_of(letter: Letter) -> str:
    """What a letter is about, without its content."""
    return letter.template_name or "message"
