"""A network in memory: requests reach another server's application after a delay, or do not.

Faults come from the seed: a request or an answer is lost, delayed (so that later ones overtake it), or the way
between two hosts is cut for a while. A server that is down refuses connections.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from multidict import CIMultiDict

from inglenook.peers.errors import PeerTimeout, PeerUnreachable
from inglenook.peers.transport import PeerRequest, PeerResponse, PeerStream

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


@dataclass(slots=True)
class Faults:
    """How bad the network is: probabilities of losing a request and an answer, longest delay in seconds."""

    lost_requests: float = 0.0
    lost_answers: float = 0.0
    longest_delay: float = 0.05


@dataclass
class Network:
    """All hosts and the ways between them."""

    random: random.Random
    faults: Faults = field(default_factory=Faults)
    hosts: dict[str, Application] = field(default_factory=dict[str, Application])
    cut: set[frozenset[str]] = field(default_factory=set[frozenset[str]])
    forbidden: set[tuple[str, str, str]] = field(default_factory=set[tuple[str, str, str]])
    offences: list[str] = field(default_factory=list[str])
    requests: int = 0
    trace: Callable[[str], None] | None = None

    def forbid(self, origin: str, host: str, sharing: str) -> None:
        """From now on nothing of a sharing may go from one host to another, but the word that it has ended."""
        self.forbidden.add((origin, host, sharing))

    def allow(self, origin: str, host: str, sharing: str) -> None:
        """A membership begins again."""
        self.forbidden.discard((origin, host, sharing))
        self.forbidden.discard((host, origin, sharing))

    async def carry(self, origin: str, request: PeerRequest) -> PeerResponse:
        """Bring a request to its host and the answer back. Raises PeerUnreachable, PeerTimeout."""
        url = urlsplit(request.url)
        host = url.netloc
        self.requests += 1
        sharing = url.path.split("/")[2] if url.path.startswith("/sharings/") else ""
        if request.method != "DELETE" and (origin, host, sharing) in self.forbidden:
            self.offences.append(f"{origin} sends {request.method} {request.url} after the end")
        await self._delay()
        self._check_way(origin, host)
        application = self.hosts.get(host)
        if application is None:
            raise PeerUnreachable(f"{host} refuses the connection")
        if self.random.random() < self.faults.lost_requests:
            await asyncio.sleep(request.limits.total or 30.0)
            raise PeerTimeout(f"{host} did not answer in time")
        response = await call(application, request)
        if self.trace is not None:
            said = request.body if isinstance(request.body, bytes) else b"..."
            line = f"{origin} {request.method} {url.path} {said[:1500]!r} -> {response.status} {response.body[:300]!r}"
            self.trace(line)
        await self._delay()
        if self.hosts.get(host) is not application:
            raise PeerUnreachable(f"the connection to {host} was cut")
        self._check_way(origin, host)
        if self.random.random() < self.faults.lost_answers:
            await asyncio.sleep(request.limits.total or 30.0)
            raise PeerTimeout(f"{host} did not answer in time")
        return response

    def _check_way(self, one: str, other: str) -> None:
        if frozenset((one, other)) in self.cut:
            raise PeerUnreachable(f"no way from {one} to {other}")

    async def _delay(self) -> None:
        await asyncio.sleep(self.random.random() ** 2 * self.faults.longest_delay)


class SimulatedTransport:
    """The network as the peers of one server see it."""

    def __init__(self, network: Network, host: str) -> None:
        self._network = network
        self._host = host

    async def send(self, request: PeerRequest) -> PeerResponse:
        """One exchange."""
        return await self._network.carry(self._host, request)

    def open(self, request: PeerRequest) -> AbstractAsyncContextManager[PeerStream]:
        """Streams of answers are not part of the simulation."""
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing is open."""


async def call(application: Application, request: PeerRequest) -> PeerResponse:
    """Call an ASGI application with one request."""
    url = urlsplit(request.url)
    body = request.body
    chunks = [body] if isinstance(body, bytes) else [c async for c in body()] if body is not None else []
    headers = {"host": url.netloc, **{k.lower(): v for k, v in request.headers.items()}}
    if isinstance(body, bytes):
        headers["content-length"] = str(len(body))
    scope: Message = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": url.scheme,
        "path": unquote(url.path),
        "raw_path": url.path.encode(),
        "query_string": url.query.encode(),
        "root_path": "",
        "headers": [(k.encode(), v.encode("latin-1")) for k, v in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": (url.hostname, url.port or 80),
        "state": {},
    }
    waiting: list[Message] = [{"type": "http.request", "body": c, "more_body": True} for c in chunks]
    waiting.append({"type": "http.request", "body": b"", "more_body": False})
    answered: list[Message] = []
    over = asyncio.Event()

    async def receive() -> Message:
        if waiting:
            return waiting.pop(0)
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        answered.append(message)

    try:
        await application(scope, receive, send)
    finally:
        over.set()
    start = next(m for m in answered if m["type"] == "http.response.start")
    content = b"".join(m.get("body", b"") for m in answered if m["type"] == "http.response.body")
    return PeerResponse(
        start["status"],
        CIMultiDict([(k.decode("latin-1"), v.decode("latin-1")) for k, v in start["headers"]]),
        content,
        request.url,
    )
