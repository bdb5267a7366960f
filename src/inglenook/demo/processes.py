"""The servers of the demonstration: real processes, each with a data folder and a port of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path

COMMAND = (sys.executable, "-m", "inglenook.cli")
START = 30.0
"""Seconds that a server may take to answer."""
END = 25.0
"""Seconds that a server may take to end."""


class ServerFailed(Exception):
    """A server or a command did not do what the demonstration needs; the text is for people."""


class ServerProcess:
    """A server of this installation. `data` is its data folder, `origin` its address without an instance; `settings`
    are more of its settings by their names, as the command line takes them."""

    def __init__(self, folder: Path, port: int, **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.port = port
        self.origin = f"http://127.0.0.1:{port}"
        self._environ = {name: text for name, text in os.environ.items() if not name.startswith("INGLENOOK_")}
        self._environ |= {"INGLENOOK_DATA": str(self.data), "INGLENOOK_DEV": "1"}
        self._environ |= {"INGLENOOK_LOG_FORMAT": "console", "INGLENOOK_LOG_LEVEL": "warning"}
        self._environ |= {f"INGLENOOK_{name.upper()}": value for name, value in settings.items()}
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        """The id of the running process. Raises ServerFailed when there is none."""
        if self._process is None or self._process.returncode is not None:
            raise ServerFailed("The server does not run")
        return self._process.pid

    async def start(self) -> None:
        """Start, and return when requests are answered. Raises ServerFailed."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(*COMMAND, "serve", "--host", "127.0.0.1", "--port", str(self.port)),
                env=self._environ,
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demonstration, which then ends its servers
            )
        try:
            async with asyncio.timeout(START):
                while not await self._accepts():
                    if self._process.returncode is not None:
                        raise ServerFailed(f"A server ended at once; its last words:\n{self.last_words()}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise ServerFailed(f"A server did not answer within {START:.0f} s: see {self.log}") from None

    async def stop(self) -> None:
        """End the server as an operator would; nothing happens when it does not run."""
        await self._end(signal.SIGINT)

    async def kill(self) -> None:
        """End the server as a power cut would."""
        await self._end(signal.SIGKILL)

    async def command(self, *words: str) -> str:
        """Execute `inglenook WORDS` for this server; gives its standard output. Raises ServerFailed."""
        process = await asyncio.create_subprocess_exec(
            *COMMAND, *words, env=self._environ, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
        )
        output, errors = await process.communicate()
        if process.returncode:
            raise ServerFailed(f"inglenook {' '.join(words)}: {errors.decode().strip()}")
        return output.decode().strip()

    def last_words(self, lines: int = 12) -> str:
        """The end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    async def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(number)
        try:
            await asyncio.wait_for(process.wait(), END)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _accepts(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True


def two_ports(first: int = 0) -> tuple[int, int]:
    """Two ports side by side that are free: from `first` when given, else from 8080 on. Raises ServerFailed."""
    starts = [first] if first else range(8080, 8180, 2)
    for start in starts:
        if _is_free(start) and _is_free(start + 1):
            return start, start + 1
    raise ServerFailed(f"The ports {starts[0]} and {starts[0] + 1} are taken; give another one with --port")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True
