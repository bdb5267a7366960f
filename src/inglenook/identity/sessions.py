"""Sessions of browsers: the documents, the cookie, and the pages that need one (spec/03 §6.5).

The cookie carries the id of an `io.cozy.sessions` document, signed with the instance's session secret: a change of
passphrase draws a new secret and so ends every session at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from litestar import Request
from litestar.datastructures import Cookie

from inglenook.environment import rfc3339
from inglenook.identity import auth_message
from inglenook.storage.documents.contract import Document, Reader, Writer
from inglenook.wire import Answer, redirect

if TYPE_CHECKING:
    from inglenook.identity.caller import Caller
    from inglenook.identity.instance import Instance

SESSIONS = "io.cozy.sessions"
LOGINS = "io.cozy.sessions.logins"

IDLE_LIFE = timedelta(days=30)
TOUCH_EVERY = timedelta(hours=24)
SWEEP = "session-sweep"
SWEEP_EVERY = timedelta(days=1)
LONG_RUN_SECONDS = 315_360_000
SHORT_RUN_SECONDS = 300

Duration = Literal["normal", "long", "short"]


@dataclass(frozen=True, slots=True)
class Session:
    """A live session: its document."""

    id: str
    rev: str
    body: dict[str, Any]

    @property
    def duration(self) -> Duration:
        """How long its cookie lives."""
        if self.body.get("long_run"):
            return "long"
        return "short" if self.body.get("short_run") else "normal"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Where a request comes from: the address of the peer and its User-Agent."""

    ip: str
    user_agent: str


def visitor(request: Request[Any, Any, Any], trusted_proxies: tuple[str, ...] = ()) -> Visitor:
    """Who is at the other end. `X-Forwarded-For` counts only when a trusted proxy sent it, and of its addresses the
    last one that is no trusted proxy: what stands before it is whatever the client wrote there."""
    ip = request.client.host if request.client else ""
    if ip in trusted_proxies:
        named = [one.strip() for line in request.headers.getall("x-forwarded-for", []) for one in line.split(",")]
        while ip in trusted_proxies and named:
            ip = named.pop() or ip
    return Visitor(ip, request.headers.get("user-agent", "")[:512])


# -- documents


def open_session(tx: Writer, now: str, duration: Duration = "normal") -> Session:
    """Write a new session."""
    body = {"created_at": now, "last_seen": now, "long_run": duration == "long", "short_run": duration == "short"}
    document = tx.put(SESSIONS, tx.new_id(), body)
    return Session(document.id, document.rev, document.body)


def record_login(tx: Writer, session: Session, who: Visitor, now: str, *, client_id: str = "") -> Document:
    """Write the entry of the login history; `client_id` when the login happens to accept an OAuth client."""
    os, browser = software(who.user_agent)
    body = {
        "session_id": session.id, "ip": who.ip, "city": "", "subdivision": "", "country": "",
        "user_agent": who.user_agent, "os": os, "browser": browser, "created_at": now,
    }  # fmt: skip
    if client_id:
        body["client_registration"] = client_id
    return tx.put(LOGINS, tx.new_id(), body)


def end_session(tx: Writer, session_id: str) -> None:
    """Delete a session, if it is there."""
    document = tx.get(SESSIONS, session_id)
    if document is not None:
        tx.delete(SESSIONS, session_id, document.rev)


def end_sessions(tx: Writer, *, but: str = "") -> int:
    """Delete all sessions except one; gives how many. Bounded pages, one transaction."""
    ended, start = 0, ""
    while page := tx.all_docs(SESSIONS, start=start, limit=200):
        for document in page:
            if document.id != but:
                tx.delete(SESSIONS, document.id, document.rev)
                ended += 1
        start = page[-1].id + "\x00"
    return ended


def sweep_is_due(view: Reader, now: float) -> bool:
    """Whether it is time to look for sessions that are over; `now` is in seconds of Unix time."""
    record = view.record(SWEEP, "next")
    return record is None or record.body["at"] <= now


def sweep(tx: Writer, now: datetime) -> int:
    """Delete the sessions that nobody has used for `IDLE_LIFE`; gives how many. Bounded pages, one transaction."""
    ended, start = 0, ""
    while page := tx.all_docs(SESSIONS, start=start, limit=200):
        for document in page:
            seen = moment(document.body.get("last_seen"))
            if seen is None or now - seen > IDLE_LIFE:
                tx.delete(SESSIONS, document.id, document.rev)
                ended += 1
        start = page[-1].id + "\x00"
    tx.put_record(SWEEP, "next", {"at": (now + SWEEP_EVERY).timestamp()})
    return ended


def forget_logins(tx: Writer) -> None:
    """Delete the history of logins."""
    tx.drop_doctype(LOGINS)
    tx.create_doctype(LOGINS)


async def session_of(instance: Instance, cookies: Mapping[str, str]) -> Session | None:
    """The session of a request's cookies, if there is a valid one; refreshes `last_seen` once a day."""
    session_id = session_id_of(instance, cookies.get(cookie_name(instance), ""))
    if not session_id:
        return None
    document = await instance.store.read(lambda view: view.get(SESSIONS, session_id))
    if document is None:
        return None
    session = Session(document.id, document.rev, document.body)
    now = instance.env.clock.now()
    seen = moment(session.body.get("last_seen"))
    if seen is None or now - seen > IDLE_LIFE:
        await instance.store.write(lambda tx: end_session(tx, session_id))
        return None
    if now - seen > TOUCH_EVERY:
        await instance.store.write(lambda tx: _touch(tx, session_id, rfc3339(now)))
    return session


def session_id_of(instance: Instance, cookie: str) -> str:
    """The session id that a cookie's value names, empty when it is not signed by this instance."""
    value = auth_message.verify(instance.session_key, cookie_name(instance), cookie)
    return value.decode("ascii", "replace") if value else ""


def _touch(tx: Writer, session_id: str, now: str) -> None:
    document = tx.get(SESSIONS, session_id)
    if document is not None:
        tx.put(SESSIONS, session_id, {**document.body, "last_seen": now}, rev=document.rev)


# -- the cookie


def cookie_name(instance: Instance) -> str:
    """The name of the session cookie: of its own for each instance where instances share a parent domain."""
    return f"sess-{instance.prefix}" if instance.env.config.subdomains == "flat" else "cozysessid"


def cookie_domain(instance: Instance, host: str) -> str:
    """The Domain attribute that makes a cookie reach the app hosts; `host` is the contextual domain."""
    name = host.partition(":")[0]
    return name.partition(".")[2] if instance.env.config.subdomains == "flat" else name


def session_cookie(instance: Instance, session: Session, host: str) -> Cookie:
    """The cookie of a session; `host` is the contextual domain."""
    now = int(instance.env.clock.now().timestamp())
    name = cookie_name(instance)
    ages = {"long": LONG_RUN_SECONDS, "short": SHORT_RUN_SECONDS, "normal": None}
    return Cookie(
        key=name,
        value=auth_message.sign(instance.session_key, name, session.id.encode(), now),
        path="/",
        domain=cookie_domain(instance, host),
        max_age=ages[session.duration],
        httponly=True,
        samesite="lax",
        secure=not instance.env.config.dev,
    )


def dead_cookie(instance: Instance, host: str) -> Cookie:
    """What removes the session cookie from the browser."""
    return Cookie(key=cookie_name(instance), value="", path="/", domain=cookie_domain(instance, host), max_age=0)


# -- pages that need a session


async def require_login(caller: Caller) -> Answer | None:
    """None for a logged-in browser; else the redirection to the login page, which comes back to this very URL."""
    if await caller.session() is not None:
        return None
    return redirect(caller.url("/auth/login", {"redirect": caller.here()}))


def moment(value: Any) -> datetime | None:
    """A stored RFC 3339 date, None when it cannot be read."""
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else None


def software(user_agent: str) -> tuple[str, str]:
    """The operating system and the browser that a User-Agent names, for people."""
    systems = (("Android", "Android"), ("iPhone", "iOS"), ("iPad", "iOS"), ("Windows", "Windows"), ("Mac OS", "macOS"),
               ("CrOS", "ChromeOS"), ("Linux", "Linux"))  # fmt: skip
    browsers = (("Edg", "Edge"), ("OPR", "Opera"), ("Firefox", "Firefox"), ("Chrome", "Chrome"), ("Safari", "Safari"))
    return (
        next((name for mark, name in systems if mark in user_agent), ""),
        next((name for mark, name in browsers if mark in user_agent), ""),
    )
