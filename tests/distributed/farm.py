"""Several processes over one PostgreSQL, one Redis and one S3 server, behind a load balancer."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.federation.processes import COMMAND, Server
from tests.servers import free_port


class Balancer:
    """Takes connections on a port, and gives each to one of the servers that take them."""

    def __init__(self, ports: list[int]) -> None:
        self.port = free_port()
        self._ports = ports
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._connections: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin; returns when connections are taken."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._connected, "127.0.0.1", self.port), self._loop
        ).result(10)

    def stop(self) -> None:
        """End."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ports = random.sample(self._ports, len(self._ports))
        for port in ports:
            try:
                there, back = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                continue
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
            return
        writer.close()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.close()


@dataclass
class Farm:
    """The processes, and what people and tests see of them: one address (it takes the place of a `Server`)."""

    folder: Path
    environ: dict[str, str]
    webs: list[Server] = field(default_factory=list[Server])
    workers: list[Server] = field(default_factory=list[Server])
    lives: int = 1

    def __post_init__(self) -> None:
        self.webs = [self._process(f"web{n}", "web") for n in (1, 2)]
        self.workers = [self._process(f"worker{n}", "worker") for n in (1, 2)]
        self.balancer = Balancer([server.port for server in self.webs])

    @property
    def processes(self) -> list[Server]:
        """All of them."""
        return [*self.webs, *self.workers]

    @property
    def port(self) -> int:
        """The port that people use."""
        return self.balancer.port

    @property
    def origin(self) -> str:
        """The address without an instance."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Farm:
        """Start all; returns when they answer."""
        self.balancer.start()
        for server in self.processes:
            server.launch()
        for server in self.processes:
            server.wait_until_up()
        return self

    def stop(self) -> None:
        """Kill all."""
        for server in self.processes:
            server.kill()
        self.balancer.stop()

    def ask(self, *words: str) -> str:
        """The results of an operator's command, which is a process of its own."""
        done = self.attempt("operator", *words)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout.strip()

    def attempt(self, operator: str, *words: str) -> subprocess.CompletedProcess[str]:
        """What came of a command of one of several operators, each with a folder of their own."""
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
        environ = {**kept, "HOME": str(self.folder), "INGLENOOK_DATA": str(self.folder / operator),
                   "INGLENOOK_DEV": "1", **self.environ}  # fmt: skip
        return subprocess.run([*COMMAND, *words], env=environ, capture_output=True, text=True, check=False, timeout=60)

    def _process(self, name: str, role: str) -> Server:
        return Server(self.folder / name, {**self.environ, "INGLENOOK_ROLE": role})
