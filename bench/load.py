"""A small client for many requests over kept connections (HTTP/1.1, RFC 9112).

It is light enough not to be what is measured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Wire:
    """A request as it goes over the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""

    def encode(self, host: str) -> bytes:
        """The bytes of it."""
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body or self.method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(self.body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + self.body


async def one_request(url: str, request: Wire) -> float:
    """Send one request and read its answer to the end; gives the seconds that it took."""
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection("127.0.0.1", at.port or 80, limit=1 << 20)
    started = time.monotonic()
    try:
        writer.write(request.encode(at.netloc))
        await _answer(reader)
    finally:
        writer.close()
    return time.monotonic() - started


async def requests_during(
    seconds: float, connections: int, url: str, make: Callable[[int], Wire], *, port: int | None = None
) -> list[float]:
    """Send requests as fast as they are answered; gives how many seconds each took. Raises AssertionError for one that
    failed.

    `make` gives the request of a number. `port` when it is not that of the URL."""
    host = urlsplit(url).netloc
    at = port or urlsplit(url).port or 80
    end = time.monotonic() + seconds
    numbers = iter(range(1 << 60))
    took: list[float] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", at, limit=1 << 20)
        try:
            while time.monotonic() < end:
                started = time.monotonic()
                writer.write(make(next(numbers)).encode(host))
                await _answer(reader)
                took.append(time.monotonic() - started)
        finally:
            writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return took


async def _answer(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head[9:12])
    if b"transfer-encoding: chunked" in head:
        body = b"(in pieces)"
        while size := int((await reader.readuntil(b"\r\n")), 16):
            await reader.readexactly(size + 2)
        await reader.readexactly(2)
    else:
        start = head.find(b"content-length: ")
        length = int(head[start + 16 : head.find(b"\r\n", start)]) if start >= 0 else 0
        body = await _read(reader, length)
    assert 200 <= status < 300, f"{status}: {body[:300]!r}"


async def _read(reader: asyncio.StreamReader, length: int) -> bytes:
    """The first bytes of a body, which is read to its end."""
    body = b""
    while length:
        piece = await reader.read(min(length, 1 << 20))
        assert piece, "the answer breaks off"
        length -= len(piece)
        body = body or piece
    return body
