"""The two ends of a command: results on standard output, words for people on standard error, questions (spec/10 §3).

A command writes to a `Terminal` and does not know whether it runs in the process that the person started or inside
the server, at the other end of the control socket.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import IO, Any, Protocol

PIECE = 256 * 1024
"""Bytes of one piece of a stream."""


class Terminal(Protocol):
    """Where a command reads and writes. `interactive`: a person is there to answer. `columns` is the width."""

    interactive: bool
    columns: int

    def put(self, text: str) -> None:
        """Write a line of results."""
        ...

    def say(self, text: str) -> None:
        """Write a line for people."""
        ...

    def status(self, text: str) -> None:
        """Tell a person how far things are, in a line that the next one replaces."""
        ...

    async def write(self, data: bytes) -> None:
        """Write bytes of results; waits while the other end is slower."""
        ...

    async def flush(self) -> None:
        """Wait until what was written is on its way."""
        ...

    def read(self) -> AsyncIterator[bytes]:
        """The standard input, piece by piece."""
        ...

    async def ask(self, question: str, *, secret: bool = False) -> str:
        """Put a question to a person; the answer without its end of line, empty at the end of the input."""
        ...


class LocalTerminal:
    """The terminal of this very process."""

    def __init__(self) -> None:
        self.interactive = sys.stdin.isatty() and sys.stderr.isatty()
        self.columns = _columns()

    def put(self, text: str) -> None:
        sys.stdout.write(text + "\n")

    def say(self, text: str) -> None:
        clear = "\x1b[K" if self.interactive else ""
        sys.stderr.write(f"{clear}{text}\n")
        sys.stderr.flush()

    def status(self, text: str) -> None:
        sys.stderr.write(status_line(text, self.columns))
        sys.stderr.flush()

    async def write(self, data: bytes) -> None:
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdout.buffer.write, data)

    async def flush(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()

    async def read(self) -> AsyncIterator[bytes]:
        while piece := await asyncio.to_thread(_read_some, sys.stdin.buffer):
            yield piece

    async def ask(self, question: str, *, secret: bool = False) -> str:
        return await asyncio.to_thread(answer_of, question, secret=secret)


def status_line(text: str, columns: int) -> str:
    """A line that is written over the last one of its kind; what is said next begins in its place."""
    return f"\r\x1b[K{text[: columns - 1]}\r"


def answer_of(question: str, *, secret: bool) -> str:
    """Put a question on standard error and read a line; `secret` hides it."""
    if secret and sys.stdin.isatty():
        import getpass

        return getpass.getpass(question, stream=sys.stderr)
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().rstrip("\r\n")


def _columns() -> int:
    import shutil

    return shutil.get_terminal_size().columns


def _read_some(source: IO[Any]) -> bytes:
    return source.read1(PIECE)  # pyright: ignore[reportAttributeAccessIssue]
