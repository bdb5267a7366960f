"""Paths as the routes see them: each segment decoded exactly once, an encoded slash kept inside its segment.

The ids of documents may contain a slash, sent as `%2F` (spec/01 §1.6). The server's own decoding loses the
difference, so the path is rebuilt from its raw form with a mark in the place of such a slash; routing then splits
segments rightly, and the values of path parameters get their slash back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

from litestar import Litestar
from litestar.exceptions import NotFoundException

from inglenook.kernel.errors import BadRequest
from inglenook.web.errors import is_data

MARK = "\x00"  # a NUL never is part of an accepted path
_OF_ALL_DOCTYPES = ("_all_doctypes", "_transaction")  # what is right below `/data`


def decoded(raw_path: bytes) -> str:
    """The path with every segment decoded once. Raises BadRequest for NUL or what is not UTF-8."""
    if b"\0" in raw_path or b"%00" in raw_path:
        raise BadRequest("The path contains a NUL character")
    try:
        return "/".join(unquote_to_bytes(segment).decode().replace("/", MARK) for segment in raw_path.split(b"/"))
    except UnicodeDecodeError:
        raise BadRequest("The path is not UTF-8") from None


def has_route_shape(path: str) -> bool:
    """Whether slashes stand where routes have them: below `/data` a trailing slash is significant.

    Raises BadRequest for a document of a doctype without a name."""
    if not is_data(path):
        return True
    match path.split("/")[2:]:  # what follows "/data"
        case [""]:
            return True
        case [name]:
            return name in _OF_ALL_DOCTYPES
        case ["", first, *_] if first:
            raise BadRequest("Invalid doctype ''")
        case [doctype, ""]:
            return doctype != ""
        case segments:
            return bool(segments) and "" not in segments


def install_routing(app: Litestar) -> None:
    """Make the router give path parameters their slashes back, and no route for the OPTIONS it adds by itself."""
    router = app.asgi_router
    find: Callable[..., tuple[Any, Any, str, dict[str, Any], str]] = router._handle_routing  # pyright: ignore[reportPrivateUsage]

    @lru_cache(1024)
    def handle_routing(path: str, method: str | None) -> tuple[Any, Any, str, dict[str, Any], str]:
        found = find(path=path, method=method)
        if method == "OPTIONS" and getattr(found[1].fn, "__name__", "") == "options_handler":
            raise NotFoundException
        if MARK not in path:
            return found
        parameters = {
            name: value.replace(MARK, "/") if isinstance(value, str) else value for name, value in found[3].items()
        }
        return (*found[:3], parameters, found[4])

    router.handle_routing = handle_routing  # pyright: ignore[reportAttributeAccessIssue]
