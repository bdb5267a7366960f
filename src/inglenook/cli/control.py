"""The way of a command into the running server: a Unix socket in the data folder, for its owner alone.

The process that the person started sends its arguments and then acts as the terminal of the command, which runs
inside the server. Messages in both directions are a letter, a length (4 bytes, big-endian) and a payload:

    to the server    J  the request, JSON: arguments, folder, environment, terminal
                     I  standard input, empty at its end; asked for by R, one answer for each
    to the terminal  O  standard output      E  standard error
                     R  more of the standard input is wanted
                     Q  a question: JSON {"question", "secret"}; answered by I
                     X  the exit code, in text: the end
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inglenook.cli.terminal import PIECE, Terminal, answer_of, status_line

NAME = "control.sock"
_LONGEST_ADDRESS = 100  # bytes of a path that every system takes for a Unix socket
_HIGHEST = 1_000_000  # bytes waiting to be sent before a command has to wait


@dataclass(frozen=True, slots=True)
class Request:
    """A command as it was typed."""

    arguments: list[str]
    folder: str
    environ: dict[str, str] = field(default_factory=dict[str, str])
    interactive: bool = False
    columns: int = 80

    @classmethod
    def of_this_process(cls, arguments: list[str]) -> Request:
        """The request for a command line of this process."""
        environ = {name: value for name, value in os.environ.items() if name.startswith("COZY_")}
        interactive = sys.stdin.isatty() and sys.stderr.isatty()
        return cls(arguments, str(Path.cwd()), environ, interactive, _columns())


Run = Callable[[Request, Terminal], Awaitable[int]]


class NoServer(Exception):
    """No server listens on the control socket."""


# -- the side of the person


def call(folder: Path, request: Request) -> int:
    """Have the running server execute a command, being its terminal; gives the exit code. Raises NoServer."""
    with _connect(folder) as connection, connection.makefile("rwb") as stream:
        _send(stream, b"J", json.dumps(vars_of(request)).encode())
        try:
            while True:
                letter, payload = _receive(stream)
                match letter:
                    case b"O":
                        sys.stdout.buffer.write(payload)
                    case b"E":
                        sys.stdout.flush()
                        sys.stderr.buffer.write(payload)
                        sys.stderr.flush()
                    case b"R":
                        sys.stdout.flush()
                        _send(stream, b"I", sys.stdin.buffer.read1(PIECE))  # pyright: ignore[reportAttributeAccessIssue]
                    case b"Q":
                        sys.stdout.flush()
                        question = json.loads(payload)
                        answer = answer_of(question["question"], secret=question["secret"])
                        _send(stream, b"I", answer.encode())
                    case _:
                        sys.stdout.flush()
                        return int(payload)
        except EOFError:
            sys.stderr.write("Error: the server went away before the command ended\n")
            return 1


def answers(folder: Path) -> bool:
    """Whether a server listens."""
    try:
        _connect(folder).close()
    except NoServer:
        return False
    return True


def vars_of(request: Request) -> dict[str, Any]:
    """The request as JSON carries it."""
    return {name: getattr(request, name) for name in Request.__slots__}


def _connect(folder: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(folder) as address:
            connection.connect(address)
    except OSError:
        connection.close()
        raise NoServer from None
    return connection


@contextlib.contextmanager
def _short(folder: Path) -> Any:
    """An address of the socket that fits, however long the path of the folder is."""
    path = str(folder / NAME)
    if len(path.encode()) <= _LONGEST_ADDRESS:
        yield path
        return
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)


def _send(stream: Any, letter: bytes, payload: bytes) -> None:
    stream.write(letter + len(payload).to_bytes(4, "big") + payload)
    stream.flush()


def _receive(stream: Any) -> tuple[bytes, bytes]:
    head = stream.read(5)
    if len(head) < 5:
        raise EOFError
    length = int.from_bytes(head[1:], "big")
    payload = stream.read(length)
    if len(payload) < length:
        raise EOFError
    return head[:1], payload


def _columns() -> int:
    import shutil

    return shutil.get_terminal_size().columns


# -- the side of the server


@asynccontextmanager
async def listening(folder: Path, run: Run) -> AsyncGenerator[None]:
    """Execute the commands that arrive on the control socket while the context is open."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await _serve(reader, writer, run)
        finally:
            tasks.discard(task)

    (folder / NAME).unlink(missing_ok=True)
    with _short(folder) as address:
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        previous = os.umask(0o177)
        try:
            bound.bind(address)
        finally:
            os.umask(previous)
    server = await asyncio.start_unix_server(serve, sock=bound)
    try:
        yield
    finally:
        server.close()
        (folder / NAME).unlink(missing_ok=True)
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, run: Run) -> None:
    try:
        letter, payload = await _next(reader)
        if letter != b"J":
            return
        request = Request(**json.loads(payload))
        terminal = RemoteTerminal(reader, writer, request)
        code = await _until_gone(run(request, terminal), terminal)
        if code is not None:
            terminal.message(b"X", str(code).encode())
            await writer.drain()
    except (EOFError, ConnectionError):
        pass  # the person has gone; the command was ended with the connection
    finally:
        writer.close()


async def _until_gone(command: Awaitable[int], terminal: RemoteTerminal) -> int | None:
    """The exit code of a command, None when the person went away first (the command is cancelled then)."""
    running = asyncio.ensure_future(command)
    listening = asyncio.ensure_future(terminal.listen())
    try:
        await asyncio.wait([running, listening], return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            return None
        return running.result()
    finally:
        for task in (running, listening):
            task.cancel()
        await asyncio.gather(running, listening, return_exceptions=True)


class RemoteTerminal:
    """The terminal of the person at the other end of the socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        self.interactive = request.interactive
        self.columns = request.columns
        self._reader = reader
        self._writer = writer
        self._input: asyncio.Queue[bytes] = asyncio.Queue()
        writer.transport.set_write_buffer_limits(_HIGHEST)

    def message(self, letter: bytes, payload: bytes) -> None:
        """Send a message."""
        self._writer.write(letter + len(payload).to_bytes(4, "big") + payload)

    async def listen(self) -> None:
        """Take what the person sends, until the connection ends."""
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                letter, payload = await _next(self._reader)
                if letter == b"I":
                    self._input.put_nowait(payload)

    def put(self, text: str) -> None:
        self.message(b"O", text.encode() + b"\n")

    def say(self, text: str) -> None:
        clear = "\x1b[K" if self.interactive else ""
        self.message(b"E", f"{clear}{text}\n".encode())

    def status(self, text: str) -> None:
        self.message(b"E", status_line(text, self.columns).encode())

    async def write(self, data: bytes) -> None:
        self.message(b"O", data)
        await self._writer.drain()

    async def flush(self) -> None:
        await self._writer.drain()

    async def read(self) -> AsyncIterator[bytes]:
        while True:
            self.message(b"R", b"")
            piece = await self._input.get()
            if not piece:
                return
            yield piece

    async def ask(self, question: str, *, secret: bool = False) -> str:
        self.message(b"Q", json.dumps({"question": question, "secret": secret}).encode())
        return (await self._input.get()).decode()


async def _next(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    try:
        head = await reader.readexactly(5)
        return head[:1], await reader.readexactly(int.from_bytes(head[1:], "big"))
    except asyncio.IncompleteReadError:
        raise EOFError from None
