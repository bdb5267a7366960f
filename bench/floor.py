"""Servers of the floor (`bench.floor_app`), each one bare Granian worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from bench.waiting import until


@dataclass(slots=True)
class FloorServer:
    """One of them."""

    origin: str
    process: Process

    @property
    def pid(self) -> int:
        """The running process; it has a child."""
        return self.process.pid


@contextlib.asynccontextmanager
async def floor_server(folder: Path, peer: str = "") -> AsyncGenerator[FloorServer]:
    """A server inside the context; `peer` is the address of the one that it sends everything to."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ("--interface", "asgi", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--loop", "uvloop")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "granian", *words, "--no-ws", "--no-log", "bench.floor_app:app"),
        env={**os.environ, "FLOOR_FOLDER": str(folder), "FLOOR_PEER": peer},
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=DEVNULL,
        start_new_session=True,
    )
    try:
        await until(lambda: _accepts(port), every=0.05, patience=60)
        yield FloorServer(f"http://127.0.0.1:{port}", process)
    finally:
        process.terminate()
        await process.wait()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
