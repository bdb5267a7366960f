"""The server process: the application behind a port, from the lock of its data folder to a graceful end (spec/10 §3).

HTTP is spoken by Granian inside our own event loop (docs/decisions/0004): the parts in the background and the
requests share one loop, and nothing has to be handed between threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings, HTTP2Settings

from inglenook.documents.changes import end_long_polls
from inglenook.environment import Environment
from inglenook.storage.bus import Bus
from inglenook.storage.hub import HubClient
from inglenook.web.app import create_app
from inglenook.web.gate import Gate
from inglenook.web.inherited import Inherited
from inglenook.web.listener import ListeningServer, bind
from inglenook.web.lock import DataFolderTaken, DataLock
from inglenook.web.metrics import MetricsServer
from inglenook.web.runtime import Runtime
from inglenook.web.supervisor import Supervisor

log = structlog.get_logger("inglenook.server")

GRACE = 12.0
"""Seconds for running requests to end; with the same again for the parts in the background, less than 20 in all."""
PARKING = 6.0
"""Seconds for the parts in the background to end."""
PATIENCE = 60.0
"""Seconds to wait for a command that is using the data folder."""
HEADER_SECONDS = 20.0
"""How long the head of a request may take to arrive; the pieces of a body have `wire.BODY_IDLE_SECONDS` each."""
MAX_HEADERS = 256 * 1024
"""Bytes of the head of a request, in either version of HTTP."""
CONNECTIONS = 8192
"""Requests and websockets served at once; more wait."""

Ready = Callable[[Runtime], contextlib.AbstractAsyncContextManager[Any]]


async def serve(env: Environment, alongside: Ready | None = None) -> None:
    """Own the data folder and answer requests until SIGINT or SIGTERM.

    `alongside` is a context kept open while the server runs (the control socket of the commands).
    Raises DataFolderTaken, OSError (an address that cannot be bound).
    """
    stop = _signalled()
    lock = await _lock(env.config.data)
    try:
        listener = bind(env.config.host, env.config.port)
        async with _answering(Runtime(env), listener, alongside):
            log.info("listening", address=f"{env.config.host}:{env.config.port}", data=str(env.config.data))
            await stop.wait()
            log.info("stopping")
    finally:
        lock.release()
    log.info("stopped")


async def serve_by_several(
    env: Environment, command: Sequence[str], describe: Callable[[int, Inherited], bytes]
) -> None:
    """Own the data folder and have `env.config.workers` processes answer requests, until SIGINT or SIGTERM.

    `command` and `describe` start one of them (see `Supervisor`). Raises as `serve`, and WorkerFailed."""
    stop = _signalled()
    lock = await _lock(env.config.data)
    try:
        supervisor = Supervisor(env, env.config.workers, lock, command, describe)
        try:
            await supervisor.start()
            log.info("listening", address=f"{env.config.host}:{env.config.port}", data=str(env.config.data),
                     workers=env.config.workers)  # fmt: skip
            await stop.wait()
            log.info("stopping")
        finally:
            await supervisor.stop()
    finally:
        lock.release()
    log.info("stopped")


async def serve_as_worker(
    env: Environment, connection: socket.socket, listener: socket.socket, alongside: Ready | None = None
) -> None:
    """Answer requests as one of several processes, until SIGTERM or until the one that started it is gone.

    `connection` leads to that one, `listener` is the socket that gives the requests."""
    stop = _signalled()
    hub = HubClient(connection, Bus())
    await hub.start()
    try:
        async with _answering(Runtime(env, hub=hub), listener, alongside):
            hub.ready()
            ended = asyncio.ensure_future(hub.ended.wait())
            told = asyncio.ensure_future(stop.wait())
            await asyncio.wait([ended, told], return_when=asyncio.FIRST_COMPLETED)
            for waiting in (ended, told):
                waiting.cancel()
    finally:
        await hub.stop()


@asynccontextmanager
async def _answering(runtime: Runtime, listener: socket.socket, alongside: Ready | None) -> AsyncGenerator[None]:
    """Answer requests inside the context, with everything in the background."""
    sys.setswitchinterval(0.0005)  # a long Python computation in another thread gives way to the loop sooner
    try:
        await runtime.start()
        commands = alongside(runtime) if alongside else contextlib.nullcontext()
        async with commands, listening(create_app(runtime), listener):
            gc.collect()
            gc.freeze()  # what is there now stays: no search for garbage walks through it again
            yield
    finally:
        listener.close()
        await _within(PARKING, runtime.stop(), "the background parts")


def _signalled() -> asyncio.Event:
    """Set by SIGINT and SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


@asynccontextmanager
async def listening(gate: Gate, listener: socket.socket) -> AsyncGenerator[None]:
    """Answer requests that come to `listener` inside the context.

    At its end no request is taken any more, websockets and long polls are ended, running requests get `GRACE` seconds,
    and what is left is cut off."""
    config = gate.runtime.env.config
    logging.getLogger("_granian").setLevel(logging.ERROR)
    server = ListeningServer(
        gate,
        listener,
        interface=Interfaces.ASGINL,
        http=HTTPModes.auto,
        backpressure=CONNECTIONS,
        http1_settings=HTTP1Settings(header_read_timeout=int(HEADER_SECONDS * 1000), max_buffer_size=MAX_HEADERS),
        http2_settings=HTTP2Settings(max_headers_size=MAX_HEADERS, keep_alive_interval=int(HEADER_SECONDS * 1000)),
        log_enabled=False,
        ssl_cert=Path(config.tls_cert) if config.tls_cert else None,
        ssl_key=Path(config.tls_key) if config.tls_key else None,
    )
    running = asyncio.ensure_future(server.serve())
    try:
        await asyncio.sleep(0)  # it takes the socket, or fails
        if running.done():
            running.result()
        async with _watched(gate):
            yield
    finally:
        server.stop()
        listener.close()
        gate.close_websockets()
        end_long_polls()
        done, _ = await asyncio.wait([running], timeout=GRACE)
        if not done:
            log.warning("requests cut off", count=len(gate.active))
            for task in list(gate.active):
                task.cancel()
            await asyncio.wait([running], timeout=1)
            running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def _watched(gate: Gate) -> AsyncGenerator[None]:
    """Answer questions about the figures of this process, when an address is configured for that."""
    if gate.metrics is None:
        yield
        return
    figures = MetricsServer(gate.metrics, gate.runtime)
    await figures.start()
    try:
        yield
    finally:
        await figures.stop()


async def _lock(folder: Path) -> DataLock:
    """The lock of the data folder; a command that holds it is waited for. Raises DataFolderTaken."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            return DataLock.acquire(folder, "server")
        except DataFolderTaken as taken:
            if taken.holder.purpose == "server" or asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(0.05)


async def _within(seconds: float, ending: Any, what: str) -> None:
    try:
        await asyncio.wait_for(ending, seconds)
    except TimeoutError:
        log.warning("did not end in time", what=what)
