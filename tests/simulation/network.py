"""A network in memory: requests reach another server's application after a delay, or do not.

Faults come from the seed: a request or an answer is lost, delayed (so that later ones overtake it), or the way
between two hosts is cut for a while. A server that is down refuses connections.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from multidict import CIMultiDict

from inglenook.peers.errors import PeerGarbage, PeerTimeout, PeerUnreachable
from inglenook.peers.transport import PeerRequest, PeerResponse, PeerStream

if TYPE_CHECKING:
    from .habits import Habits

LONGEST = 300.0
"""Seconds after which nobody waits for an answer any more."""

LATEST = 30.0
"""Seconds after which a repeated request has arrived."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


@dataclass(slots=True)
class Faults:
    """How bad the network is: probabilities of losing a request and an answer, longest delay in seconds; of a request
    that arrives once more, late; of a long body that breaks off on its way."""

    lost_requests: float = 0.0
    lost_answers: float = 0.0
    longest_delay: float = 0.05
    repeated: float = 0.0
    broken_bodies: float = 0.0


@dataclass
class Network:
    """All hosts and the ways between them. From hosts that are `gone` nothing of a sharing may come any more.
    `still_over` is asked before something `forbidden` counts as an offence, where memberships begin again unseen."""

    random: random.Random
    faults: Faults = field(default_factory=Faults)
    hosts: dict[str, Application] = field(default_factory=dict[str, Application])
    cut: set[frozenset[str]] = field(default_factory=set[frozenset[str]])
    forbidden: set[tuple[str, str, str]] = field(default_factory=set[tuple[str, str, str]])
    gone: set[str] = field(default_factory=set[str])
    still_over: Callable[[str, str, str], Awaitable[bool]] | None = None
    offences: list[str] = field(default_factory=list[str])
    requests: int = 0
    trace: Callable[[str], None] | None = None
    habits: Habits | None = None
    late: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    def forbid(self, origin: str, host: str, sharing: str) -> None:
        """From now on nothing of a sharing may go from one host to another, but the word that it has ended."""
        self.forbidden.add((origin, host, sharing))

    def allow(self, origin: str, host: str, sharing: str) -> None:
        """A membership begins again."""
        self.forbidden.discard((origin, host, sharing))
        self.forbidden.discard((host, origin, sharing))

    async def carry(self, origin: str, request: PeerRequest) -> PeerResponse:
        """Bring a request to its host and the answer back, in the way of its sender. Raises as `bring`."""
        if self.habits is not None:
            await self.habits.before(origin, request)
        return await self.bring(origin, request)

    async def bring(self, origin: str, request: PeerRequest) -> PeerResponse:
        """Bring a request to its host and the answer back. Raises PeerUnreachable, PeerTimeout."""
        url = urlsplit(request.url)
        host = url.netloc
        self.requests += 1
        sharing = url.path.split("/")[2] if url.path.startswith("/sharings/") else ""
        if sharing and await self._is_over(origin, host, sharing, request.method):
            self.offences.append(f"{origin} sends {request.method} {request.url} after the end")
        await self._delay()
        self._check_way(origin, host)
        application = self.hosts.get(host)
        if application is None:
            raise PeerUnreachable(f"{host} refuses the connection")
        if self.random.random() < self.faults.lost_requests:
            await asyncio.sleep(request.limits.total or 30.0)
            raise PeerTimeout(f"{host} did not answer in time")
        if self.faults.broken_bodies and callable(request.body) and self.random.random() < self.faults.broken_bodies:
            await call(application, request, part=self.random.random())
            raise PeerUnreachable(f"the connection to {host} was cut")
        try:
            async with asyncio.timeout(LONGEST):  # a server that has crashed meanwhile answers nothing
                response = await call(application, request)
        except TimeoutError as error:
            raise PeerTimeout(f"{host} did not answer in time") from error
        if self.habits is not None:
            self.habits.after(origin, host, request, response)
        if self.faults.repeated and may_be_repeated(request) and self.random.random() < self.faults.repeated:
            again = asyncio.create_task(self._repeat(origin, host, request))
            self.late.add(again)
            again.add_done_callback(self.late.discard)
        if self.trace is not None:
            said = request.body if isinstance(request.body, bytes) else b"..."
            asked = f"{origin} to {host}: {request.method} {url.path} {said[:1500]!r}"
            self.trace(f"{asked} -> {response.status} {response.body[:300]!r}")
        await self._delay()
        if self.hosts.get(host) is not application:
            raise PeerUnreachable(f"the connection to {host} was cut")
        self._check_way(origin, host)
        if self.random.random() < self.faults.lost_answers:
            await asyncio.sleep(request.limits.total or 30.0)
            raise PeerTimeout(f"{host} did not answer in time")
        return response

    async def _is_over(self, origin: str, host: str, sharing: str, method: str) -> bool:
        """Whether one host may not send this to another (any more)."""
        if origin in self.gone:
            return True
        if method == "DELETE" or (origin, host, sharing) not in self.forbidden:
            return False
        return self.still_over is None or await self.still_over(origin, host, sharing)

    async def _repeat(self, origin: str, host: str, request: PeerRequest) -> None:
        """The same request once more, late; nobody waits for the answer."""
        await asyncio.sleep(self.random.random() * LATEST)
        application = self.hosts.get(host)
        if application is None:
            return
        response = await call(application, request)
        if self.trace is not None:
            self.trace(f"{origin} {request.method} {urlsplit(request.url).path} once more -> {response.status}")
        if response.status >= 500:
            self.offences.append(f"{request.method} {request.url} once more: {response.status} {response.body[:300]!r}")

    def end(self) -> None:
        """Nothing arrives any more."""
        for task in self.late:
            task.cancel()

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
        """One exchange, whose answer is read piece by piece; it is there as a whole."""
        return self._open(request)

    @asynccontextmanager
    async def _open(self, request: PeerRequest) -> AsyncGenerator[PeerStream]:
        answer = await self._network.carry(self._host, request)
        yield WholeAnswer(answer.status, answer.headers, answer.url, answer.body)

    async def close(self) -> None:
        """Nothing is open."""


@dataclass(slots=True)
class WholeAnswer:
    """An answer as a stream of one piece."""

    status: int
    headers: CIMultiDict[str]
    url: str
    body: bytes

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body."""
        yield self.body

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises PeerGarbage."""
        if len(self.body) > limit:
            raise PeerGarbage("The answer is too long")
        return self.body


def may_be_repeated(request: PeerRequest) -> bool:
    """Whether a request may come again late: one of the plain protocol of replication that tells of no removal (what
    is removed may come back, and nothing in the protocol says which word was the last)."""
    path = urlsplit(request.url).path
    body = request.body
    if not isinstance(body, bytes) or "/sharings/" not in path:
        return False
    return path.endswith(("/_revs_diff", "/_bulk_docs", "/initial", "/metadata")) and b'"_deleted":true' not in body


async def call(application: Application, request: PeerRequest, *, part: float = 1.0) -> PeerResponse:
    """Call an ASGI application with one request; of its body only a part arrives before the connection ends."""
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
    over = asyncio.Event()
    waiting: list[Message] = [{"type": "http.request", "body": c, "more_body": True} for c in chunks]
    if part < 1.0:
        waiting = waiting[: int(part * len(waiting))]
        over.set()
    else:
        waiting.append({"type": "http.request", "body": b"", "more_body": False})
    answered: list[Message] = []

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
    start = next((m for m in answered if m["type"] == "http.response.start"), None)
    if start is None:
        raise PeerUnreachable("the connection was closed without an answer")
    content = b"".join(m.get("body", b"") for m in answered if m["type"] == "http.response.body")
    return PeerResponse(
        start["status"],
        CIMultiDict([(k.decode("latin-1"), v.decode("latin-1")) for k, v in start["headers"]]),
        content,
        request.url,
    )
