"""Server processes: the installed command with a data folder of its own, started, killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import TypeVar

import httpx
from tests import backend
from tests.servers import free_port

from inglenook.cli import control

T = TypeVar("T")

COMMAND = (sys.executable, "-m", "inglenook.cli")
PATIENCE = 120.0
"""Seconds until a condition that should come true counts as failed; the machine may be busy."""


def eventually(check: Callable[[], T], what: str = "", seconds: float = PATIENCE) -> T:
    """The first true value of a check, polled; what it saw last is in the failure."""
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        last = check()
        if last:
            return last
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what or check}; last seen: {last!r}")


@dataclass
class Server:
    """One server process after the other on the same data folder and port. `lives` counts them."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict[str, str])
    port: int = field(default_factory=free_port)
    lives: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def origin(self) -> str:
        """The address without an instance."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What all its lives have logged."""
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def errors(self) -> list[str]:
        """The errors among it: faults of the server's own, which nothing from outside may cause."""
        return [line for line in self.log.splitlines() if '"level":"error"' in line or "Traceback" in line]

    def start(self) -> Server:
        """Start; returns when it answers."""
        self.launch()
        self.wait_until_up()
        return self

    def launch(self) -> None:
        """Start without waiting."""
        assert self.process is None
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "serve", "--port", str(self.port)],
                env=self._environment(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self.lives += 1

    def wait_until_up(self) -> None:
        """Return when it answers."""
        eventually(self._answers, f"{self.folder.name} answers")

    def kill(self) -> None:
        """End it at once, as by kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """End it gracefully."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(25) == 0
        self.process = None

    def ask(self, *words: str) -> str:
        """The results of an operator's command, by the control socket of the running server."""
        output, errors = TextIOWrapper(BytesIO()), TextIOWrapper(BytesIO())
        with redirect_stdout(output), redirect_stderr(errors):
            code = control.call(self.folder / "data", control.Request(list(words), str(self.folder)))
        said = [stream.buffer.getvalue().decode().strip() for stream in (output, errors)]  # type: ignore[attr-defined]
        assert code == 0, f"{words}: {said[1]} {said[0][:2000]}"
        return said[0]

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log[-3000:]
        lock = self.folder / "data" / "lock"  # before this a process of a former life may answer, which is about to end
        if not lock.exists() or lock.read_text().split()[:1] != [str(self.process.pid)]:
            return False
        try:
            return httpx.get(f"{self.origin}/version", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
        own = {"HOME": str(self.folder), "INGLENOOK_DATA": str(self.folder / "data"), "INGLENOOK_DEV": "1"}
        return {**kept, **own, **backend.chosen.environ(self.folder), **self.environ}
