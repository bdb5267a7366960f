"""What an app of an instance that has moved answers to strangers: where it is now (spec/12 §9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from inglenook.identity import pages
from inglenook.identity.caller import Caller

if TYPE_CHECKING:
    from litestar import Request

    from inglenook.identity.host_names import HostMatch
    from inglenook.wire import Answer

pages.extend("inglenook.moving")


async def answer(request: Request[Any, Any, Any], match: HostMatch) -> Answer | None:
    """410 with the same link at the new address, for who has no session; None for the owner."""
    caller = Caller(match.instance, match.domain, request)
    if await caller.session() is not None:
        return None
    settings = await match.instance.settings()
    link = new_address(
        str(settings.get("moved_to") or ""), str(settings.get("moved_to_subdomain_type") or ""), match.slug
    )
    if link:
        raw: bytes = request.scope.get("raw_path") or b"/"
        query = request.scope["query_string"].decode("ascii", "replace")
        link += raw.decode("ascii", "replace").partition("?")[0] + (f"?{query}" if query else "")
    home = caller.url("").rstrip("/")
    return pages.page(caller, "moved.html", status=410, origin=home, link=link)


def new_address(moved_to: str, subdomains: str, slug: str) -> str:
    """The origin of an app at the new address, empty when that is not known."""
    parts = urlsplit(moved_to)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return ""
    if subdomains == "flat":
        label, dot, rest = parts.netloc.partition(".")
        return f"{parts.scheme}://{label}-{slug}{dot}{rest}"
    return f"{parts.scheme}://{slug}.{parts.netloc}"
