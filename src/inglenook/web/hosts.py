"""From the Host header to what answers: an instance, a web app of it, or a refusal (spec/03 §1.2, §2.6)."""

from __future__ import annotations

from typing import Any

from litestar import Request

from inglenook import wire
from inglenook.apps import serving
from inglenook.identity import settings
from inglenook.identity.instances import HostMatch
from inglenook.sharing import preview
from inglenook.web import errors
from inglenook.wire import Answer

OPEN_WHEN_BLOCKED = ("/settings", "/apps", "/konnectors")
"""What stays reachable on a blocked instance."""

OPEN_WITHOUT_TERMS = (
    *OPEN_WHEN_BLOCKED, "/auth/", "/public/", "/assets/", "/.well-known/", "/move/", "/robots.txt", "/connection_check",
)  # fmt: skip
"""What stays reachable on an instance whose terms of service are overdue."""


def unknown_host(accept: str) -> Answer:
    """Nobody lives at this host."""
    return errors.plain(404, "The instance was not found", accept)


def moved_host(match: HostMatch, target: str) -> Answer:
    """The name is a former one: the same path and query on the current domain (308 keeps method and body)."""
    instance = match.instance
    host = instance.app_host(match.slug) if match.slug else instance.domain
    return wire.redirect(f"{instance.env.config.scheme}://{host}{target}", 308)


def blocked(match: HostMatch, path: str, accept: str) -> Answer | None:
    """What a blocked instance answers, None when it is not blocked or the path stays open."""
    doc = match.instance.doc
    if not doc.blocked or (not match.slug and path.startswith(OPEN_WHEN_BLOCKED)):
        return None
    reason = doc.blocking_reason
    wants_page = "text/html" in accept
    if reason in ("MOVING", "IMPORTING") and wants_page:
        return wire.redirect(match.instance.url("/move/importing"), 302)
    status = 402 if reason == "PAYMENT_FAILED" else 503
    message = "This instance is blocked, its owner can ask the administrator why"
    if reason == "LOGIN_FAILED" or wants_page:
        return errors.page(status, message, match)
    item = {"status": str(status), "title": "Blocked", "code": reason or "UNKNOWN", "detail": message, "source": {}}
    return wire.plain_json([item], status)


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
    return await serving.answer(Request(scope), match, preview.page_token)
