"""Exchanges over the real network: aiohttp, pooled connections, names resolved and addresses judged by us.

The address of every connection is judged when its socket is made: the one moment that neither a literal address, nor
a name with several addresses, nor a name that changes its mind between two look-ups (DNS rebinding) can go round.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from types import SimpleNamespace, TracebackType
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, AbstractStreamWriter, ResolveResult
from multidict import CIMultiDict
from yarl import URL

from inglenook.peers.addresses import LOOPBACK, AddressPolicy
from inglenook.peers.errors import PeerForbiddenAddress, PeerGarbage, PeerTimeout, PeerUnreachable
from inglenook.peers.transport import BodyFactory, Limits, PeerRequest, PeerResponse, PeerStream

KEEP_ALIVE = 30.0
"""Seconds an unused connection is kept."""

REMEMBER_NAMES = 30
"""Seconds a resolved name is remembered."""

LOOKUPS = 32
"""Names looked up at once: the system's resolver blocks a thread for each."""

SEND_AGAIN = frozenset({"POST", "PATCH"})
"""Methods that aiohttp does not send again by itself when a kept connection turns out to be closed."""

FAR = 1024 * 1024
"""Bytes of a body beyond which a kept connection was not closed before, but cut."""

Lookup = Callable[[str, int], Awaitable[list[str]]]
"""Host name and port to IP addresses."""


class ForbiddenAddress(OSError):
    """The address of a connection about to be made is not allowed."""


class Resolver(AbstractResolver):
    """Resolves names. Those under `.localhost` are this machine, whatever others say (RFC 6761 §6.3)."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        name = host.rstrip(".").lower()
        local = name == "localhost" or name.endswith(".localhost")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=int(socket.AI_NUMERICHOST | socket.AI_NUMERICSERV),
            )
            for address in ([LOOPBACK] if local else await self._lookup(host, port))
        ]

    async def close(self) -> None:
        """Nothing is kept here."""


class SystemLookup:
    """The system's resolver in threads of its own, so that dead name servers hold up nothing else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="lookup")

    async def __call__(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, self._ask, host, port)
        return list(dict.fromkeys(str(address[4][0]) for address in found))

    @staticmethod
    def _ask(host: str, port: int) -> list[Any]:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)

    def close(self) -> None:
        """Let the threads go; those that still wait for a name server end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class AiohttpTransport:
    """The transport over real connections. No cookies, no proxy from the environment, no redirects."""

    def __init__(
        self, policy: AddressPolicy, lookup: Lookup | None = None, *, remember_names: int = REMEMBER_NAMES
    ) -> None:
        self._policy = policy
        self._remember_names = remember_names
        self._system = SystemLookup()
        self._lookup: Lookup = lookup or self._system
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: PeerRequest) -> PeerResponse:
        """Send and read the whole answer, as `Transport.send`."""
        async with self.open(request) as stream:
            body = await stream.read(request.max_body)
            return PeerResponse(stream.status, stream.headers, body, stream.url)

    @asynccontextmanager
    async def open(self, request: PeerRequest) -> AsyncGenerator[PeerStream]:
        """Send and give the answer at its headers, as `Transport.open`."""
        pace = Pace(request.limits)
        try:
            async with pace:
                response = await self._send(request, pace)
                try:
                    yield NetworkStream(response, pace)
                finally:
                    response.release()
        except TimeoutError as error:
            if not pace.over:
                raise
            raise PeerTimeout(f"{URL(request.url, encoded=True).host} did not answer in time") from error

    async def _send(self, request: PeerRequest, pace: Pace) -> aiohttp.ClientResponse:
        session = self._session = self._session or self._new_session()
        reused = SimpleNamespace(connection=False, written=0)
        try:
            return await self._send_once(session, request, pace, reused)
        except PeerUnreachable:
            # The other side may close a kept connection at the very moment we use it: no fault of anybody.
            if not (reused.connection and request.method in SEND_AGAIN and reused.written <= FAR):
                raise
        return await self._send_once(session, request, pace, SimpleNamespace(connection=False, written=0))

    async def _send_once(
        self, session: aiohttp.ClientSession, request: PeerRequest, pace: Pace, reused: SimpleNamespace
    ) -> aiohttp.ClientResponse:
        url = URL(request.url, encoded=True)
        body = PacedBody(request.body, pace) if callable(request.body) else request.body
        if isinstance(body, PacedBody):
            pace.progress()
        else:
            pace.sent()
        try:
            return await session.request(
                request.method,
                url,
                headers={"Accept-Encoding": "identity", **request.headers},
                data=body,
                skip_auto_headers=("Content-Type",),
                allow_redirects=False,
                trace_request_ctx=reused,
            )
        except aiohttp.ClientError as error:
            if isinstance(body, PacedBody):
                reused.written = body.written
            if isinstance(body, PacedBody) and body.failure is not None:
                raise body.failure from error
            raise translated(error, url.host or "") from error

    def _new_session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0,
            keepalive_timeout=KEEP_ALIVE,
            use_dns_cache=self._remember_names > 0,
            ttl_dns_cache=self._remember_names,
            resolver=Resolver(self._lookup),
            socket_factory=self._socket,
        )
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(note_reuse)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
            trace_configs=[trace],
        )

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        if not self._policy.allows(str(address[0])):
            raise ForbiddenAddress("This address may not be contacted")
        return socket.socket(family=family, type=kind, proto=protocol)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        self._system.close()


async def note_reuse(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _params: aiohttp.TraceConnectionReuseconnParams
) -> None:
    """Remember that the request went over a connection kept from earlier."""
    context.trace_request_ctx.connection = True


class Pace:
    """Keeps the limits of one exchange: a time-out that moves while things move. `over` tells that it struck."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._end = None if limits.total is None else self._loop.time() + limits.total
        self._timeout = asyncio.timeout_at(self._end)
        self._movable = False
        self.over = False

    async def __aenter__(self) -> Pace:
        await self._timeout.__aenter__()
        self._movable = self._limits.stall is not None or self._limits.answer is not None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._movable = False
        self.over = self._timeout.expired()
        await self._timeout.__aexit__(kind, error, trace)

    def progress(self) -> None:
        """Something moved on the wire; the next thing must move within the stall limit."""
        self._expect_within(self._limits.stall)

    def pause(self) -> None:
        """Our own side is at work: not the other one's fault."""
        self._expect_within(None)

    def sent(self) -> None:
        """The request is sent; now the answer must come."""
        self._expect_within(self._limits.answer)

    def _expect_within(self, seconds: float | None) -> None:
        if not self._movable or self._timeout.expired():
            return
        ends = [self._end] if self._end is not None else []
        if seconds is not None:
            ends.append(self._loop.time() + seconds)
        self._timeout.reschedule(min(ends, default=None))


class PacedBody(aiohttp.Payload):
    """A request body made anew each time it is sent. `failure` is what its source raised, if it did."""

    def __init__(self, factory: BodyFactory, pace: Pace) -> None:
        super().__init__(factory)
        self._factory = factory
        self._pace = pace
        self.failure: BaseException | None = None
        self.written = 0

    async def write(self, writer: AbstractStreamWriter) -> None:
        source = self._factory()
        try:
            while True:
                self._pace.pause()
                chunk = await self._next(source)
                if chunk is None:
                    break
                self._pace.progress()
                await writer.write(chunk)
                self.written += len(chunk)
            self._pace.sent()
        finally:
            finish = getattr(source, "aclose", None)
            if finish is not None:
                await finish()

    async def _next(self, source: AsyncIterator[bytes]) -> bytes | None:
        try:
            return await anext(source, None)
        except BaseException as error:
            self.failure = error
            raise

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        raise TypeError("A streamed body has no text")


class NetworkStream:
    """An answer on its way in."""

    def __init__(self, response: aiohttp.ClientResponse, pace: Pace) -> None:
        self.status = response.status
        self.headers: CIMultiDict[str] = CIMultiDict(response.headers)
        self.url = str(response.url)
        self._response = response
        self._pace = pace
        self._host = response.url.host

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, as `PeerStream.chunks`."""
        content = self._response.content
        while True:
            self._pace.progress()
            try:
                chunk = await content.readany()
            except aiohttp.ClientError as error:
                raise PeerGarbage(f"The answer of {self._host} was cut") from error
            self._pace.pause()
            if not chunk:
                return
            yield chunk

    async def read(self, limit: int) -> bytes:
        """The whole body, as `PeerStream.read`."""
        announced = 0 if self._response.method == "HEAD" else self._response.content_length or 0
        parts: list[bytes] = []
        size = 0
        if announced <= limit:
            async for chunk in self.chunks():
                size += len(chunk)
                if size > limit:
                    break
                parts.append(chunk)
            else:
                return parts[0] if len(parts) == 1 else b"".join(parts)
        raise PeerGarbage(f"The answer of {self._host} is too large")


def translated(error: aiohttp.ClientError, host: str) -> PeerUnreachable | PeerGarbage | PeerForbiddenAddress:
    """What an error of aiohttp means."""
    if isinstance(error, aiohttp.InvalidURL) or (
        isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ForbiddenAddress)
    ):
        return PeerForbiddenAddress(f"{host} is not a public address")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return PeerUnreachable(f"{host} is unknown")
    if isinstance(error, aiohttp.ClientSSLError):
        return PeerUnreachable(f"The certificate of {host} is not valid")
    if isinstance(error, aiohttp.ClientConnectionError):
        return PeerUnreachable(f"{host} cannot be reached")
    return PeerGarbage(f"{host} does not answer in HTTP")
