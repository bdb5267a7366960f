"""The installed command, run as an operator runs it: processes, a data folder, a port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
from tests.servers import free_port

from .warm import WarmCommand

COMMAND = (sys.executable, "-m", "inglenook.cli")


@dataclass
class Operator:
    """Somebody at a shell, with a data folder of their own."""

    folder: Path
    port: int = field(default_factory=free_port)
    environ: dict[str, str] = field(default_factory=dict[str, str])
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])
    home: Path | None = None
    """Where the data folder is, when it is not in `folder`."""
    _said: int = 0

    @property
    def data(self) -> Path:
        """The data folder."""
        return (self.home or self.folder) / "data"

    def guest(self, folder: Path) -> Operator:
        """Somebody else at a shell, on the same server, with another current folder."""
        return Operator(folder, self.port, dict(self.environ), home=self.home or self.folder)

    @property
    def origin(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self.port}"

    def domain(self, name: str) -> str:
        """The domain of a person on this server."""
        return f"{name}.localhost:{self.port}"

    def environment(self) -> dict[str, str]:
        """The environment of the commands: nothing of the machine's own configuration."""
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
        own = {"HOME": str(self.folder), "INGLENOOK_DATA": str(self.data), "INGLENOOK_DEV": "1"}
        return {**kept, **own, **self.environ}

    def run(self, *words: str, stdin: bytes = b"", timeout: float = 60) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end."""
        return _warm().run(words, environ=self.environment(), folder=self.folder, stdin=stdin, timeout=timeout)

    def ask(self, *words: str, stdin: bytes = b"") -> str:
        """The results of a command that must succeed."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, f"{words}: exit {done.returncode}\n{done.stderr.decode()}"
        return done.stdout.decode().strip()

    def refused(self, *words: str, code: int = 1) -> str:
        """What a command that must fail says, in one line."""
        done = self.run(*words)
        assert done.returncode == code, f"{words}: exit {done.returncode}\n{done.stderr.decode()}"
        last = done.stderr.decode().strip().splitlines()[-1]
        assert last.startswith("Error: ")
        return last

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command without waiting for its end."""
        process = subprocess.Popen(
            [*COMMAND, *words], env=self.environment(), cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a server without waiting for it."""
        self._said = self._log_size()
        log = (self.folder / "server.log").open("ab")
        process = subprocess.Popen(
            [*COMMAND, "serve", "--port", str(self.port), *words],
            env=self.environment(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def serve(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a server, and return when it answers."""
        process = self.start(*words)
        wait_for(lambda: process.poll() is not None or self._listens(), "the server answers")
        assert process.poll() is None, f"the server ended: {self.log()}"
        return process

    def log(self) -> str:
        """What the servers logged."""
        path = (self.home or self.folder) / "server.log"
        return path.read_text() if path.exists() else ""

    def stop(self, process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
        """Stop a server; gives its exit code."""
        process.send_signal(number)
        return process.wait(25)

    def _log_size(self) -> int:
        path = self.folder / "server.log"
        return path.stat().st_size if path.exists() else 0

    def _listens(self) -> bool:
        """Whether the server that was started last has said that it answers."""
        with (self.folder / "server.log").open("rb") as log:
            log.seek(self._said)
            return b'"listening"' in log.read()


@cache
def _warm() -> WarmCommand:
    """The process that runs the commands of these tests; it ends with them."""
    return WarmCommand()


@pytest.fixture(scope="session", autouse=True)
def end_warm_command() -> Iterator[None]:
    """End that process, if it was needed."""
    yield
    if _warm.cache_info().currsize:
        _warm().stop()


def wait_for(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    """Poll a condition until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    """An operator with an empty folder; whatever they started is ended."""
    somebody = Operator(tmp_path)
    yield somebody
    for process in somebody.processes:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A server that runs as long as the tests of a module."""
    keeper = Operator(tmp_path_factory.mktemp("house"))
    process = keeper.serve()
    yield keeper
    assert process.poll() is None, f"the server ended: {keeper.log()}"
    assert keeper.stop(process) == 0


@pytest.fixture
def running(house: Operator, tmp_path: Path) -> Iterator[Operator]:
    """An operator whose server runs already and is empty; it is emptied again for the next test."""
    guest = house.guest(tmp_path)
    yield guest
    for domain in house.ask("instances", "ls", "--fields", "domain").split():
        house.ask("instances", "rm", domain, "--force")


@pytest.fixture(params=["running", "stopped"])
def either(request: pytest.FixtureRequest) -> Operator:
    """The operator of a server that runs, and of one that does not: commands work the same."""
    return request.getfixturevalue("running" if request.param == "running" else "operator")
