"""The way to a server, with a counter: everything that goes to it passes here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

PIECE = 256 * 1024


@dataclass(slots=True)
class Way:
    """`port` leads to the server; `sent` are the bytes that went to it, from everybody."""

    port: int = 0
    sent: int = 0


@contextlib.asynccontextmanager
async def counted(target: int) -> AsyncGenerator[Way]:
    """A way to the server at a port, inside the context."""
    way = Way()

    async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, to_server: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(PIECE):
                way.sent += len(data) if to_server else 0
                sink.write(data)
                await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pass_on(reader, back, to_server=True), pass_on(there, writer, to_server=False))

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    way.port = listener.sockets[0].getsockname()[1]
    try:
        yield way
    finally:
        listener.close()
