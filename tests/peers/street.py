"""Servers that behave badly in every way we know, on real sockets of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

from aiohttp import web

from inglenook.environment import Clock

Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeClock(Clock):
    """Time that moves only when told."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


class Street:
    """Opens servers and closes them when the test is over."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def raw(self, conversation: Conversation, name: str = "bob", port: int = 0) -> str:
        """A server that says what it likes on the socket; gives its URL."""
        talks: set[asyncio.Task[None]] = set()

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            talks.add(task)
            try:
                await conversation(reader, writer)
            except (ConnectionError, asyncio.CancelledError):
                pass
            finally:
                talks.discard(task)
                writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", port)

        async def end() -> None:
            server.close()
            for task in list(talks):
                task.cancel()
            await asyncio.gather(*talks, return_exceptions=True)

        self._stack.push_async_callback(end)
        return f"http://{name}.localhost:{server.sockets[0].getsockname()[1]}"

    async def web(self, *handlers: tuple[str, str, Handler], name: str = "bob", port: int = 0) -> str:
        """A decent web server; gives its URL."""
        app = web.Application(client_max_size=1 << 30)
        for method, path, handler in handlers:
            app.router.add_route(method, path, handler)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        self._stack.push_async_callback(runner.cleanup)
        return f"http://{name}.localhost:{runner.addresses[0][1]}"


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """The head of one request."""
    return await reader.readuntil(b"\r\n\r\n")


async def free_port() -> int:
    """A port on which nobody listens."""
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port
