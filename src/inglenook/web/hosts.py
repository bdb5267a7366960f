"""From the Host header to what answers: an instance, a web app of it, or a refusal (spec/03 §1.2, §2.6)."""

from __future__ import annotations

from typing import Any

from litestar import Request

from inglenook import wire
from inglenook.apps import serving
from inglenook.identity import pages, settings, tokens
from inglenook.identity.host_names import HostMatch
from inglenook.identity.translations import translate
from inglenook.kernel.errors import AuthError
from inglenook.moving import blocking, moved_page
from inglenook.sharing import preview
from inglenook.web import errors
from inglenook.wire import Answer

OPEN_WHEN_BLOCKED = ("/settings", "/apps", "/konnectors", "/assets/")
"""What stays reachable on a blocked instance."""

OPEN_WITHOUT_TERMS = (
    *OPEN_WHEN_BLOCKED, "/auth/", "/public/", "/assets/", "/.well-known/", "/move/", "/robots.txt", "/connection_check",
)  # fmt: skip
"""What stays reachable on an instance whose terms of service are overdue."""

OPEN_WHEN_MOVING = ("/move/", "/auth/")
"""Where something may be sent to on an instance that moves away."""

BLOCKED = "This instance is blocked, its owner can ask the administrator why"
MOVING = "This instance is moving to another server, nothing can be changed until it is there"


def unknown_host(accept: str) -> Answer:
    """Nobody lives at this host."""
    return errors.plain(404, "The instance was not found", accept)


def moved_host(match: HostMatch, target: str) -> Answer:
    """The name is a former one: the same path and query on the current domain (308 keeps method and body)."""
    instance = match.instance
    host = instance.app_host(match.slug) if match.slug else instance.domain
    return wire.redirect(f"{instance.env.config.scheme}://{host}{target}", 308)


def blocked(match: HostMatch, path: str, accept: str, token: str = "") -> Answer | None:
    """What a blocked instance answers, None when it is not blocked or the request may pass.

    `token` is the credential of the request: the operator's own pass."""
    doc = match.instance.doc
    reason = doc.blocking_reason
    if not doc.blocked or (not match.slug and _stays_open(path, reason)) or _is_operator(match, token):
        return None
    wants_page = "text/html" in accept
    if reason in blocking.OURS and wants_page:
        return wire.redirect(match.instance.url("/move/importing"), 302)
    status = 402 if reason == "PAYMENT_FAILED" else 503
    if reason == "LOGIN_FAILED" or wants_page:
        return _blocked_page(match, reason, status)
    headers = {"retry-after": "60"} if reason in blocking.OURS else None
    code = reason.lower() if reason in blocking.OURS else reason or "UNKNOWN"
    item = {"status": str(status), "title": "Blocked", "code": code, "detail": BLOCKED, "source": {}}
    return wire.plain_json([item], status, headers)


def read_only(match: HostMatch, method: str, path: str) -> Answer | None:
    """What is answered to a change of an instance that moves away: come back later (spec/12 §11)."""
    if not match.instance.doc.moving or method in ("GET", "HEAD", "OPTIONS") or path.startswith(OPEN_WHEN_MOVING):
        return None
    item = {"status": "503", "title": "Moving", "code": "moving", "detail": MOVING, "source": {}}
    return wire.plain_json({"errors": [item]}, 503, {"retry-after": "60", "content-type": wire.JSONAPI})


def _stays_open(path: str, reason: str) -> bool:
    always = path.startswith((*OPEN_WHEN_BLOCKED, "/assets/"))
    return always or (reason in blocking.OURS and path.startswith("/move/"))


def _is_operator(match: HostMatch, token: str) -> bool:
    if not token:
        return False
    try:
        tokens.verify(match.instance, token, tokens.CLI)
    except AuthError:
        return False
    return True


def _blocked_page(match: HostMatch, reason: str, status: int) -> Answer:
    locale = match.instance.locale
    kind = {"LOGIN_FAILED": "blocked.login", "PAYMENT_FAILED": "blocked.payment"}.get(reason, "blocked")
    title = "blocked.payment.title" if kind == "blocked.payment" else "blocked.title"
    origin = match.instance.origin if match.slug else ""
    return pages.notice(
        status,
        translate(locale, title),
        translate(locale, f"{kind}.text"),
        locale,
        domain=match.domain,
        origin=origin,
    )


def terms(match: HostMatch, path: str) -> Answer | None:
    """What an instance answers whose owner has not signed its terms in time, None when all is well or the path stays
    open: everything that is needed to log in and sign (spec/01 §3, spec/04 §1)."""
    if match.slug or not settings.terms_overdue(match.instance) or path == "/" or path.startswith(OPEN_WITHOUT_TERMS):
        return None
    return wire.plain_json([settings.terms_warning(match.instance)], 402)


async def app_page(scope: Any, match: HostMatch) -> Answer:
    """What a host of a web app answers. Websockets have nothing to find there."""
    if scope["type"] != "http":
        return wire.text("Not Found", 404)
    if match.instance.doc.moved and (answer := await moved_page.answer(Request(scope), match)):
        return answer
    return await serving.answer(Request(scope), match, preview.page_token)
