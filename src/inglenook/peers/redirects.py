"""Following a redirect to its next request (spec/04 §1.3, RFC 9110 §15.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from yarl import URL

from inglenook.peers.addresses import parse_url
from inglenook.peers.errors import PeerForbiddenAddress
from inglenook.peers.transport import PeerRequest

MAX_REDIRECTS = 5
STATUSES = frozenset({301, 302, 303, 307, 308})
CREDENTIALS = frozenset({"authorization", "cookie"})
OF_THE_BODY = frozenset({"content-type", "content-length", "content-encoding", "transfer-encoding"})


def redirected(request: PeerRequest, status: int, headers: Mapping[str, str]) -> PeerRequest | None:
    """The request that a redirect asks for; None when the answer is no redirect.

    Method and body are kept, except after 303. Credentials stay behind when the host changes or TLS is lost.
    Raises PeerForbiddenAddress for a target that is no http(s) address.
    """
    location = headers.get("Location", "")
    if status not in STATUSES or not location:
        return None
    old = URL(request.url, encoded=True)
    try:
        new = parse_url(str(old.join(URL(location, encoded=True)).with_fragment(None)))
    except ValueError as error:
        raise PeerForbiddenAddress("The redirect leads to no address") from error
    dropped: set[str] = set()
    if not same_server(old, new):
        dropped |= CREDENTIALS
    follow = replace(request, url=str(new))
    if status == 303 and request.method not in ("GET", "HEAD"):
        dropped |= OF_THE_BODY
        follow = replace(follow, method="GET", body=None)
    return replace(
        follow, headers={name: value for name, value in request.headers.items() if name.lower() not in dropped}
    )


def same_server(old: URL, new: URL) -> bool:
    """Whether a redirect stays on the same server: same origin, or the step from http to https on one host."""
    if old.origin() == new.origin():
        return True
    upgrade = (old.scheme, old.port, new.scheme, new.port) == ("http", 80, "https", 443)
    return upgrade and old.host == new.host
