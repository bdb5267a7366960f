"""Codes that work once: session codes, confirmations, and the second factor by mail (spec/03 §6.6, §6.8).

They are records named by the hash of the code, so that reading the database gives no code away, and they survive
a restart.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from inglenook.identity import auth_message, letters, throttle
from inglenook.identity.links import short_code
from inglenook.storage.documents.contract import Writer

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

SESSION_CODE = "session-codes"
CONFIRM_CODE = "confirm-codes"
SECOND_FACTOR = "second-factor"
EMAIL_TOKEN = "email-tokens"  # noqa: S105
SESSION_CODE_SECONDS = 7 * 24 * 3600.0
CONFIRM_CODE_SECONDS = 300.0
EMAIL_TOKEN_SECONDS = 24 * 3600.0

STEP_SECONDS = 60
SKEW_STEPS = 14
MAX_FAILURES = 10
_SWEEP = 20

Outcome = Literal["right", "wrong", "burnt"]


# -- random codes


async def make_code(instance: Instance, kind: str, seconds: float, value: Any = None) -> str:
    """A new code of 32 letters and digits, good once within `seconds`; `value` is given back with it."""
    code = short_code(instance.env.random, 32)
    now = _now(instance)

    def keep(tx: Writer) -> None:
        tx.put_record(kind, _name(code), {"until": now + seconds, "value": value}, due=now + seconds)
        _sweep(tx, kind, now)

    await instance.store.write(keep)
    return code


async def take_code(instance: Instance, kind: str, code: str) -> tuple[bool, Any]:
    """Whether a code is good, and its value; it is used up by this."""
    name = _name(code)
    if await instance.store.read(lambda view: view.record(kind, name)) is None:
        return False, None
    now = _now(instance)

    def take(tx: Writer) -> tuple[bool, Any]:
        record = tx.record(kind, name)
        if record is None:
            return False, None
        tx.delete_record(kind, name)
        return record.body["until"] > now, record.body["value"]

    return await instance.store.write(take)


async def peek_code(instance: Instance, kind: str, code: str) -> Any:
    """The value of a good code, without using it up; None for any other."""
    record = await instance.store.read(lambda view: view.record(kind, _name(code)))
    return record.body["value"] if record is not None and record.body["until"] > _now(instance) else None


async def known_code(instance: Instance, kind: str, code: str) -> bool:
    """Whether a code is good, without using it up."""
    record = await instance.store.read(lambda view: view.record(kind, _name(code)))
    return record is not None and record.body["until"] > _now(instance)


# -- the second factor by mail


@dataclass(frozen=True, slots=True)
class MailedCode:
    """A kind of passcode for the owner: its records, its mail with the value that carries it, how many may be mailed in
    an hour."""

    kind: str
    template: str
    value: str
    counter: str
    per_hour: int


LOGIN = MailedCode(SECOND_FACTOR, "two_factor", "TwoFactorPasscode", "two-factor-generation", 20)
FLAGSHIP = MailedCode("confirm-flagship", "confirm_flagship", "Code", "confirm-flagship", 30)


async def mail_second_factor(instance: Instance) -> str | None:
    """Mail the passcode of a login to the owner; gives the token that goes with it. As `mail_passcode`."""
    return await mail_passcode(instance, LOGIN)


async def check_second_factor(instance: Instance, token: str, passcode: str) -> Outcome:
    """Whether a passcode is the one that was mailed for a login. As `check_passcode`."""
    return await check_passcode(instance, LOGIN, token, passcode)


async def mail_passcode(instance: Instance, code: MailedCode, about: str = "") -> str | None:
    """Mail a passcode to the owner; gives the token that goes with it. `about` is what it confirms.

    None when too many were mailed within the hour."""
    now = _now(instance)
    token = auth_message.sign(instance.session_key, "totp", instance.env.random.bytes(32), int(now))
    passcode = passcode_of(instance, token, now)
    if passcode is None:
        return None

    def ask(tx: Writer) -> bool:
        if not throttle.count(tx, code.counter, code.per_hour, 3600.0, now):
            return False
        end = now + STEP_SECONDS * (SKEW_STEPS + 1)
        record = {"failures": 0, "mailed_at": now, "until": end, "about": about}
        tx.put_record(code.kind, _name(token), record, due=end)
        letters.post(tx, code.template, {code.value: passcode}, now)
        _sweep(tx, code.kind, now)
        return True

    return token if await instance.store.write(ask) else None


async def check_passcode(instance: Instance, code: MailedCode, token: str, passcode: str, about: str = "") -> Outcome:
    """Try a passcode. A right one is used up; after ten wrong ones the token is `burnt`, as is an unknown one.

    Only the passcode that was mailed is right: those of the minutes around it, which the window of spec/03 §6.6 would
    take as well, would make guessing thirty times as easy."""
    now = _now(instance)
    token = bare_token(token)

    def attempt(tx: Writer) -> Outcome:
        record = tx.record(code.kind, _name(token))
        if record is None or record.body["until"] <= now or record.body.get("about", "") != about:
            return "burnt"
        expected = passcode_of(instance, token, record.body["mailed_at"])
        if expected is None:  # signed before a change of passphrase
            return "burnt"
        if hmac.compare_digest(passcode.encode(), expected.encode()):
            tx.delete_record(code.kind, _name(token))
            return "right"
        failures = record.body["failures"] + 1
        if failures >= MAX_FAILURES:
            tx.delete_record(code.kind, _name(token))
            return "burnt"
        tx.put_record(code.kind, _name(token), {**record.body, "failures": failures}, due=record.body["until"])
        return "wrong"

    return await instance.store.write(attempt)


def bare_token(token: str) -> str:
    """A token as it was signed; `PUT /settings/passphrase` gives and takes its base64 (spec/03 §5)."""
    if len(token) > 2 * auth_message.MAX_LENGTH:
        return token
    try:
        inner = base64.b64decode(token, validate=True).decode("ascii")
    except ValueError:
        return token
    return inner if inner.startswith("AAAA") else token


def passcode_of(instance: Instance, token: str, at: float) -> str | None:
    """The six digits that go with a token at a moment (seconds of Unix time)."""
    salt = auth_message.verify(instance.session_key, "totp", token)
    return None if salt is None else _totp(_derived(instance, salt, b""), at)


def activation_passcode(instance: Instance, email: str, at: float) -> str:
    """The six digits that confirm a mail address before the second factor is switched on."""
    return _totp(_derived(instance, None, email.encode()), at)


def right_activation(instance: Instance, email: str, passcode: str) -> bool:
    """Whether this is the code that was mailed to confirm the address."""
    now = _now(instance)
    expected = [
        activation_passcode(instance, email, now + step * STEP_SECONDS) for step in range(-SKEW_STEPS, SKEW_STEPS + 1)
    ]
    matches = [hmac.compare_digest(one.encode(), passcode.encode()) for one in expected]
    return any(matches)


def _derived(instance: Instance, salt: bytes | None, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, info).derive(instance.session_key)


def _totp(key: bytes, at: float) -> str:
    """RFC 6238 with SHA-256, six digits, steps of a minute."""
    mac = hmac.digest(key, struct.pack(">Q", int(at) // STEP_SECONDS), hashlib.sha256)
    offset = mac[-1] & 0x0F
    number = struct.unpack(">I", mac[offset : offset + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06d}"


def _sweep(tx: Writer, kind: str, now: float) -> None:
    for record in tx.records_due(kind, now, limit=_SWEEP):
        tx.delete_record(kind, record.id)


def _name(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def _now(instance: Instance) -> float:
    return instance.env.clock.now().timestamp()
