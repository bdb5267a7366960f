"""A process that has loaded the command already, and forks for each call of it.

What is forked is a process of its own, as one that a shell starts; only the second that it takes to load is saved.
`python -m tests.cli.warm FD` is that process; `WarmCommand` is the side of the tests.
"""

from __future__ import annotations

import gc
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

LOADED = (
    "inglenook.cli.main", "inglenook.cli.standalone", "inglenook.cli.greeting", "inglenook.cli.transfer",
    "inglenook.cli.file_shell", "inglenook.web.runtime", "inglenook.web.parts", "inglenook.web.logs",
    "inglenook.moving.importing", "inglenook.moving.exporting", "inglenook.sharing.by_command",
)  # fmt: skip
LONGEST = 1 << 20  # bytes of a request


class WarmCommand:
    """Runs commands in forks of one process."""

    def __init__(self) -> None:
        self._socket, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.warm", str(there.fileno())],
            pass_fds=[there.fileno()], stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        there.close()

    def run(
        self, words: Sequence[str], *, environ: Mapping[str, str], folder: Path, stdin: bytes, timeout: float
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end. Raises TimeoutExpired."""
        request = json.dumps({"words": list(words), "environ": dict(environ), "folder": str(folder)}).encode()
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            source.write(stdin)
            source.seek(0)
            ours, theirs = socket.socketpair()
            with ours:
                with theirs:
                    socket.send_fds(self._socket, [request], [f.fileno() for f in (source, out, err, theirs)])
                pid = int.from_bytes(ours.recv(8), "big")
                ours.settimeout(timeout)
                try:
                    code = int(ours.recv(16))
                except TimeoutError:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                    raise subprocess.TimeoutExpired(list(words), timeout) from None
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(list(words), code, out.read(), err.read())

    def stop(self) -> None:
        """End the process."""
        self._socket.close()
        self._process.wait(20)


def _serve(connection: socket.socket) -> None:
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, LONGEST, 4)
        if not request:
            return
        if os.fork() == 0:
            connection.close()
            _keep(json.loads(request), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _keep(request: dict[str, object], descriptors: list[int]) -> NoReturn:
    """Run the command in a child, tell its id and then its exit code."""
    pid = os.fork()
    if pid == 0:
        os.close(descriptors[3])
        _become(request, descriptors)
    with socket.socket(fileno=descriptors[3]) as told:
        told.send(pid.to_bytes(8, "big"))
        told.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
    os._exit(0)


def _become(request: dict[str, object], descriptors: list[int]) -> NoReturn:
    from inglenook.cli.main import main

    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0)))
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.BufferedWriter(io.FileIO(number, "w"))) for number in (1, 2))
    environ, words = request["environ"], request["words"]
    assert isinstance(environ, dict)
    assert isinstance(words, list)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(str(request["folder"]))
    sys.argv = ["inglenook", *words]
    random.seed()
    code = 1
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    for name in LOADED:
        __import__(name)
    gc.collect()
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])))
