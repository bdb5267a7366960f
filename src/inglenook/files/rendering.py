"""Orders to the processes that read pictures and PDF files (`rendering_process`): two of them, kept while there is
work, ended with the server.

`carry_out` blocks: it runs in the threads of `run`, each of which has a process of its own.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import msgspec

AT_ONCE = 2
MOST_ORDERS = 200  # of one process; whatever the libraries leak goes with it


class Box(msgspec.Struct, frozen=True):
    """A thumbnail to be made: the box in pixels that it fits in, its JPEG quality, whether a small picture is
    enlarged, and the file to write."""

    width: int
    height: int
    quality: int
    enlarge: bool
    target: str


class Order(msgspec.Struct, frozen=True):
    """What is to be done with the file at `source`: thumbnails of it (the largest first), or a PDF of one of its
    pages (1 is the first) written to `target`."""

    source: str
    is_pdf: bool
    boxes: list[Box] = []
    page: int = 0
    target: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """What became of an order; `reason` tells why it was not done."""

    done: bool
    reason: str = ""


class Unreadable(Exception):
    """The content cannot be read, or not in the time and memory that it may take: trying again is of no use."""


class Interrupted(Exception):
    """The server stops: nothing is known of the content."""


_threads = ThreadPoolExecutor(AT_ONCE, "rendering")
_own = threading.local()
_running: set[subprocess.Popen[bytes]] = set()
_ended: set[subprocess.Popen[bytes]] = set()


async def run(order: Order) -> None:
    """Carry out an order beside the event loop. Raises Unreadable, Interrupted."""
    await asyncio.get_running_loop().run_in_executor(_threads, carry_out, order)


def carry_out(order: Order) -> None:
    """Carry out an order. Raises Unreadable, Interrupted."""
    process = _process()
    assert process.stdin is not None
    assert process.stdout is not None
    line = b""
    with suppress(OSError):
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
    if not line:
        _end(process)
        if process in _ended:
            _ended.discard(process)
            raise Interrupted
        raise Unreadable("it takes too long or too much memory")
    outcome = msgspec.json.decode(line, type=Outcome)
    if not outcome.done:
        raise Unreadable(outcome.reason)


def end_all() -> None:
    """End all processes; the orders under way raise Interrupted. Later orders start new ones."""
    for process in list(_running):
        _ended.add(process)
        process.kill()


def _process() -> subprocess.Popen[bytes]:
    """The process of this thread, started when there is none."""
    process: subprocess.Popen[bytes] | None = getattr(_own, "process", None)
    if process is not None and (process.poll() is not None or _own.orders >= MOST_ORDERS):
        _end(process)
        _ended.discard(process)
        process = None
    if process is None:
        command = [sys.executable, "-m", "inglenook.files.rendering_process"]
        process = subprocess.Popen(  # noqa: S603  (our own module)
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        _running.add(process)
        _own.process, _own.orders = process, 0
    _own.orders += 1
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    """Take leave of a process."""
    _running.discard(process)
    _own.process = None
    process.kill()
    with suppress(OSError):
        process.communicate()
