"""Which answers other origins may read (spec/03 §2.5, spec/01 §16.1).

The API of an instance is open to every origin, because it is guarded by tokens. Below `/auth/`, where the cookie
counts, only a few routes are.
"""

from __future__ import annotations

from collections.abc import Mapping

Headers = list[tuple[bytes, bytes]]

_API_METHODS = "GET,HEAD,PUT,PATCH,POST,DELETE"
_MAX_AGE = b"43200"  # seconds

_OPEN_AUTH: Mapping[str, str] = {
    "/auth/login": "DELETE",
    "/auth/login/others": "DELETE",
    "/auth/registerFromWebApp": "POST",
    "/auth/share-by-link/password": "POST",
}
"""The routes below `/auth/` that other origins may call, and the methods."""


def open_methods(path: str) -> str:
    """The methods of a path that other origins may use, empty when there are none."""
    if path.startswith("/auth/"):
        return _OPEN_AUTH.get(path, "")
    return _API_METHODS


def preflight(path: str, origin: bytes, requested_headers: bytes) -> Headers | None:
    """The headers of the answer to a pre-flight request, None when the path is closed to other origins."""
    methods = open_methods(path)
    if not methods:
        return None
    headers = [
        (b"vary", b"Origin"),
        (b"vary", b"Access-Control-Request-Method"),
        (b"vary", b"Access-Control-Request-Headers"),
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-methods", methods.encode()),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-max-age", _MAX_AGE),
    ]
    if requested_headers:
        headers.append((b"access-control-allow-headers", requested_headers))
    return headers


def simple(path: str, method: str, origin: bytes) -> Headers:
    """The headers that open an ordinary answer to its origin, none when it is closed."""
    if path.startswith("/auth/") and method not in _OPEN_AUTH.get(path, "").split(","):
        return []
    return [
        (b"vary", b"Origin"),
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),
    ]
