"""A server of several processes: this one owns the data folder, starts the others, and starts anew those that end.

The others, the *workers*, answer requests on the same port, where the kernel gives each connection to one of them, and
share the background work. This process answers none: it is the hub that joins them (`storage.hub`), and it holds their
sockets, so that what comes in while a worker is started anew waits for it.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence

import structlog

from inglenook.environment import Environment
from inglenook.storage.hub import Hub
from inglenook.web.inherited import Inherited
from inglenook.web.listener import bind_beside, bind_several
from inglenook.web.lock import DataLock

START = 60.0
"""Seconds for the first start of a worker."""
END = 19.0
"""Seconds for all workers to end."""
SHORT_LIFE = 10.0
"""Seconds; a worker that lives shorter than that is started anew after a pause,"""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0
"""of so many seconds, which doubles."""
PATIENCE = 2.0
"""Seconds of a pause during which the connections of a worker wait for the next one."""

log = structlog.get_logger("inglenook.server")


class WorkerFailed(Exception):
    """A process of the server ended before it answered."""


class Supervisor:
    """Keeps `count` workers running.

    `command` starts one; `describe` gives what it reads from its standard input, from its number and its
    descriptors."""

    def __init__(
        self, env: Environment, count: int, lock: DataLock, command: Sequence[str],
        describe: Callable[[int, Inherited], bytes],
    ) -> None:  # fmt: skip
        self._env = env
        self._lock = lock
        self._command = command
        self._describe = describe
        self._hub = Hub(env.clock)
        self._workers: dict[int, Process] = {}
        self._count = count
        self._listeners: list[socket.socket] = []
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start the workers; returns when all answer requests. Raises WorkerFailed, OSError (the address)."""
        self._listeners = bind_several(self._env.config.host, self._env.config.port, self._count)
        ready = [asyncio.Event() for _ in range(self._count)]
        self._tasks = [
            asyncio.create_task(self._keep(number, event), name=f"worker {number}")
            for number, event in enumerate(ready)
        ]
        answering = asyncio.create_task(_all(ready))
        done, _ = await asyncio.wait([answering, *self._tasks], timeout=START, return_when=asyncio.FIRST_COMPLETED)
        if answering not in done:
            answering.cancel()
            raise WorkerFailed("A process of the server ended before it answered; its log tells why")

    async def stop(self) -> None:
        """End the workers as an operator would, and those that do not end after a while at once."""
        self._stopping = True
        for listener in self._listeners:
            listener.close()
        for worker in self._workers.values():
            worker.send_signal(signal.SIGTERM)
        _, slow = await asyncio.wait(self._tasks, timeout=END)
        for worker in self._workers.values():
            log.warning("a worker did not end in time", pid=worker.pid)
            worker.kill()
        if slow:
            await asyncio.wait(slow)

    async def _keep(self, number: int, ready: asyncio.Event) -> None:
        """Run one worker after the other; ends when the first one never answered, or at the end of the server."""
        pause = FIRST_PAUSE
        clock = self._env.clock
        while not self._stopping:
            born = clock.monotonic()
            code = await self._run(number, ready)
            if self._stopping or not ready.is_set():
                return
            tell = log.warning if code < 0 else log.error  # killed from outside, or a fault of ours
            tell("a worker ended, another one is started", number=number, code=code)
            pause = FIRST_PAUSE if clock.monotonic() - born > SHORT_LIFE else min(pause * 2, LONGEST_PAUSE)
            await self._rest(number, pause)

    async def _rest(self, number: int, pause: float) -> None:
        """Wait before a worker is started anew; the others get its connections when that takes long."""
        config = self._env.config
        if pause <= PATIENCE:
            await asyncio.sleep(pause)
            return
        self._listeners[number].close()
        await asyncio.sleep(pause)
        if not self._stopping:
            self._listeners[number] = bind_beside(config.host, config.port)

    async def _run(self, number: int, ready: asyncio.Event) -> int:
        """One worker, from its start to its end."""
        here, there = socket.socketpair()
        with there:
            inherited = Inherited(there.fileno(), self._lock.descriptor, self._listeners[number].fileno())
            worker = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=PIPE,
                pass_fds=inherited,
                start_new_session=True,  # Ctrl-C is for this process, which then ends the workers
            )
            described = self._describe(number, inherited)
        self._workers[number] = worker
        if self._stopping:
            worker.send_signal(signal.SIGTERM)
        serving = asyncio.create_task(self._hub.serve(here, ready))
        try:
            assert worker.stdin is not None
            worker.stdin.write(described)
            worker.stdin.close()
            return await worker.wait()
        finally:
            del self._workers[number]
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


async def _all(events: Sequence[asyncio.Event]) -> None:
    for event in events:
        await event.wait()
