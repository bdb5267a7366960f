"""An authorised line to one peer, and when its access token has to be renewed (spec/05 §20.2, spec/04 §14)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from inglenook.peers.addresses import host_of, origin_of, parse_url
from inglenook.peers.errors import PeerForbiddenAddress, PeerGarbage
from inglenook.peers.transport import PeerResponse

DEAD_TOKEN = (b"Expired token", b"Invalid JWT token")
"""Texts of the 400 that a Cozy server gives for a token it does not accept any more (spec/04 §1.2)."""

REMEMBERED = 2048

IN_DOUBT = 600.0
"""Seconds between two renewals of the tokens of a link for a 4xx that does not speak of them."""


@dataclass(frozen=True, slots=True)
class TokensChanged:
    """What a renewal changed: the tokens to use from now on, at that address."""

    access_token: str
    refresh_token: str
    instance: str


async def keep_nothing(_change: TokensChanged) -> None:
    """For links whose changes nobody has to remember."""


@dataclass(slots=True)
class PeerLink:
    """What is needed to call a peer in the name of one sharing.

    `client_id` and `client_secret` are those of our OAuth client there. `save` is awaited when tokens or address
    change, before they are used. The fields are brought up to date as well.
    """

    instance: str
    access_token: str
    refresh_token: str
    client_id: str
    client_secret: str
    save: Callable[[TokensChanged], Awaitable[Any]] = keep_nothing

    def take(self, change: TokensChanged) -> None:
        """Use what a renewal gave."""
        self.access_token = change.access_token
        self.refresh_token = change.refresh_token
        self.instance = change.instance

    def is_like(self, other: PeerLink) -> bool:
        """Whether both call the same address with the same client and tokens."""
        mine = (self.instance, self.client_id, self.access_token, self.refresh_token)
        return mine == (other.instance, other.client_id, other.access_token, other.refresh_token)

    def __repr__(self) -> str:
        return f"PeerLink({self.instance})"


def new_address(called: str, response: PeerResponse) -> str | None:
    """Where the peer lives now, by its answer; None when it did not move.

    A 401 that came from another host after redirects (they cost the token), or a 410 that names the new address.
    """
    moved = None
    if response.status == 401 and host_of(response.url) != host_of(called):
        moved = response.url
    elif response.status == 410:
        moved = related(response)
    if not moved:
        return None
    try:
        origin = origin_of(moved)
    except PeerForbiddenAddress:
        return None
    if parse_url(called).scheme == "https" and not origin.startswith("https:"):
        return None
    return origin


def related(response: PeerResponse) -> str | None:
    """`errors[0].links.related` of a JSON:API error."""
    try:
        match response.json():
            case {"errors": [{"links": {"related": str(url)}}, *_]}:
                return url
            case _:
                return None
    except PeerGarbage:
        return None


def renewal_may_help(response: PeerResponse) -> bool:
    """Whether an answer says that the access token is the problem, as a Cozy server does."""
    if response.status == 400:
        challenge = response.headers.get("WWW-Authenticate", "")
        return "invalid_token" in challenge or any(text in response.body for text in DEAD_TOKEN)
    return response.status in (401, 403, 410)


class Doubts:
    """Which links have lately met a 4xx that may mean the token or something else: the reference renews on any of them
    (spec/05 §20.2), which for a document that is refused for good would be three requests instead of one each time."""

    def __init__(self) -> None:
        self._tried: OrderedDict[tuple[str, str], float] = OrderedDict()

    def worth_trying(self, link: PeerLink, now: float) -> bool:
        """Whether the tokens of a link are to be renewed in doubt; not again for a while. `now` is monotonic."""
        key = (link.instance, link.client_id)
        last = self._tried.get(key)
        if last is not None and now - last < IN_DOUBT:
            return False
        self._tried[key] = now
        self._tried.move_to_end(key)
        if len(self._tried) > REMEMBERED:
            self._tried.popitem(last=False)
        return True


class Replacements:
    """Which access token of a link took the place of which, so that late users of an old one need no renewal of their
    own. The tokens of different servers, and of different clients, have nothing to do with each other."""

    def __init__(self) -> None:
        self._changes: OrderedDict[tuple[str, str, str], TokensChanged] = OrderedDict()

    def add(self, link: PeerLink, old: str, change: TokensChanged) -> None:
        """An old access token of a link is to be used no more."""
        if old != change.access_token:
            self._changes[link.instance, link.client_id, old] = change
            if len(self._changes) > REMEMBERED:
                self._changes.popitem(last=False)

    def of(self, link: PeerLink, token: str) -> TokensChanged | None:
        """The latest change that replaces a token of a link, None when it is the latest itself."""
        latest, instance = None, link.instance
        for _ in range(len(self._changes)):
            change = self._changes.get((instance, link.client_id, token))
            if change is None:
                break
            latest, token, instance = change, change.access_token, change.instance
        return latest
