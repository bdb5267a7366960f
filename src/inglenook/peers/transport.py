"""One exchange with another server, as values, and the contract of what carries it.

The network is one implementation (`peers.network`); the simulation puts another one in its place.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from multidict import CIMultiDict

from inglenook.peers.errors import PeerGarbage

BodyFactory = Callable[[], AsyncIterator[bytes]]
"""Gives the body from its beginning, each time the request is sent."""

Body = bytes | BodyFactory | None

MAX_BODY = 8_000_000
"""Bytes of an answer that are read, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an exchange may take, in seconds.

    `total` bounds the whole of it. `stall` bounds the time without any progress while a body is on its way, and
    `answer` the time between the last byte of the request and the first of the answer. None: no bound.
    """

    total: float | None = 10.0
    stall: float | None = None
    answer: float | None = None


TRANSFER = Limits(total=None, stall=30.0, answer=120.0)
"""For contents of any size: as long as it takes, while it moves."""


@dataclass(frozen=True, slots=True)
class PeerRequest:
    """What is sent. `url` is complete and already percent-encoded."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Body = None
    limits: Limits = Limits()
    max_body: int = MAX_BODY


@dataclass(frozen=True, slots=True)
class PeerResponse:
    """What was answered, whatever the status. `url` is where the answer came from, after redirects."""

    status: int
    headers: CIMultiDict[str]
    body: bytes
    url: str

    @property
    def ok(self) -> bool:
        """Whether the status is a success: any 2xx."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The decoded body. Raises PeerGarbage when it is not JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise PeerGarbage("The other server answered with something that is not JSON") from error


class PeerStream(Protocol):
    """An answer whose body is read piece by piece, within the `stall` limit for each piece."""

    status: int
    headers: CIMultiDict[str]
    url: str

    def chunks(self) -> AsyncIterator[bytes]:
        """The body. Raises PeerTimeout, PeerGarbage."""
        ...

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises PeerGarbage beyond `limit` bytes, PeerTimeout."""
        ...


class Transport(Protocol):
    """Carries one exchange: no redirects, no retries, no judgement of the status.

    Both methods raise PeerUnreachable, PeerTimeout, PeerGarbage, PeerForbiddenAddress, and keep `request.limits`.
    """

    async def send(self, request: PeerRequest) -> PeerResponse:
        """Send and read the whole answer, at most `request.max_body` bytes of it."""
        ...

    def open(self, request: PeerRequest) -> AbstractAsyncContextManager[PeerStream]:
        """Send and give the answer as soon as its headers are there; leaving the context ends the exchange."""
        ...

    async def close(self) -> None:
        """Close what is open."""
        ...
