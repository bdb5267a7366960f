"""Logging in: the passphrase or its second factor becomes a session (spec/03 §6.3, §6.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from litestar.datastructures import Cookie

from inglenook.identity import auth_message, news_of_devices, one_time, passphrase, redirects, sessions
from inglenook.identity.instance import AUTH_MODES
from inglenook.identity.sessions import Duration, Session
from inglenook.identity.throttle import Guard
from inglenook.storage.documents.contract import Writer

if TYPE_CHECKING:
    from inglenook.identity.caller import Caller
    from inglenook.identity.instance import Instance

TRUSTED_DEVICE = "trusted-device"
TRUSTED_SECONDS = 365 * 86_400


@dataclass(frozen=True, slots=True)
class SecondFactorNeeded:
    """The passphrase was right, a code was mailed: `token` goes with it."""

    token: str


async def check_passphrase(caller: Caller, received: str, *, clear: bool = False) -> bool:
    """Whether this is the passphrase; guesses are counted. Raises MustWait."""
    guard = Guard(caller.instance, "login", caller.visitor.ip)
    return await guard.attempt(lambda: passphrase.is_right(caller.instance, received, clear=clear))


async def second_factor(
    caller: Caller, trusted_device_token: str = ""
) -> SecondFactorNeeded | Literal["none", "limit"]:
    """Mail a code when this login needs one: `none` when it does not, `limit` when too many were mailed."""
    instance = caller.instance
    if instance.doc.auth_mode != AUTH_MODES["two_factor_mail"] or is_trusted_device(caller, trusted_device_token):
        return "none"
    token = await one_time.mail_second_factor(instance)
    return SecondFactorNeeded(token) if token else "limit"


async def start_session(caller: Caller, *, long_run: bool = False, target: str = "") -> Session:
    """Open a session and write the login entry. `target` is where the login leads: an OAuth consent gets a short
    session only."""
    instance = caller.instance
    client_id = redirects.asks_consent(instance, target) if target else None
    duration: Duration = "short" if client_id is not None else "long" if long_run else "normal"
    now, at = instance.env.clock.timestamp(), instance.env.clock.now().timestamp()
    who = caller.visitor

    def open_it(tx: Writer) -> Session:
        session = sessions.open_session(tx, now, duration)
        sessions.record_login(tx, session, who, now, client_id=client_id or "")
        news_of_devices.note_login(tx, instance, who, at)
        return session

    session = await instance.store.write(open_it)
    caller.remember_session(session)
    return session


def trusted_device_token(caller: Caller) -> str:
    """What spares this browser the second factor next time."""
    instance = caller.instance
    now = int(instance.env.clock.now().timestamp())
    return auth_message.sign(instance.session_key, TRUSTED_DEVICE, b"", now, _device(caller))


def trusted_device_cookie(caller: Caller) -> Cookie:
    """The same as a cookie of the login pages, for browsers that keep it without a script."""
    return Cookie(
        key=TRUSTED_DEVICE, value=trusted_device_token(caller), path="/auth", max_age=TRUSTED_SECONDS, httponly=True,
        samesite="lax", secure=not caller.instance.env.config.dev,
    )  # fmt: skip


def is_trusted_device(caller: Caller, token: str) -> bool:
    """Whether this browser has passed the second factor before: by the field of the form, or by its cookie."""
    token = token or caller.request.cookies.get(TRUSTED_DEVICE, "")
    return auth_message.verify(caller.instance.session_key, TRUSTED_DEVICE, token, _device(caller)) is not None


def _device(caller: Caller) -> bytes:
    system, browser = sessions.software(caller.visitor.user_agent)
    return (caller.instance.domain + system + browser).encode()


def hashing(instance: Instance) -> dict[str, Any]:
    """What the page that asks for the passphrase tells its script."""
    return {"salt": instance.passphrase_salt, "iterations": instance.doc.kdf_iterations}
