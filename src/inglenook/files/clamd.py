"""Asking clamd, the daemon of ClamAV, about a content: its command INSTREAM over TCP or a Unix socket.

Source: `man clamd`, section COMMANDS.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

LONGEST_ANSWER = 4096
PIECE = 256 * 1024


class ScanFailed(Exception):
    """The daemon is out of reach, or gives no answer that can be understood."""


async def scan(address: str, pieces: AsyncIterator[bytes], seconds: float) -> str:
    """The name of the virus in a content, empty when it is clean.

    `address` is `host:port` (`tcp://` before it or not) or `unix:/path`. Raises ScanFailed, and what `pieces`
    raises."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await _connect(address)
            try:
                return _virus(await _ask(reader, writer, pieces))
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError as error:
        raise ScanFailed(f"clamd at {address} has not answered within {seconds:g} s") from error
    except (OSError, ValueError, asyncio.LimitOverrunError) as error:
        raise ScanFailed(f"clamd at {address}: {error}") from error


async def _connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.startswith("unix:"):
        return await asyncio.open_unix_connection(address.removeprefix("unix:"), limit=LONGEST_ANSWER)
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), int(port), limit=LONGEST_ANSWER)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pieces: AsyncIterator[bytes]) -> str:
    writer.write(b"zINSTREAM\0")
    try:
        async for piece in pieces:
            for start in range(0, len(piece), PIECE):
                part = piece[start : start + PIECE]
                writer.write(len(part).to_bytes(4, "big") + part)
                await writer.drain()
        writer.write((0).to_bytes(4, "big"))
        await writer.drain()
    except ConnectionError:
        pass  # it says why before it hangs up: the content is larger than it takes
    try:
        answer = await reader.readuntil(b"\0")
    except asyncio.IncompleteReadError as error:
        answer = error.partial
    return answer.rstrip(b"\0\n").decode("utf-8", "replace")


def _virus(answer: str) -> str:
    verdict = answer.partition(": ")[2]
    if verdict == "OK":
        return ""
    if verdict.endswith(" FOUND"):
        return verdict.removesuffix(" FOUND")
    raise ScanFailed(f"clamd answers: {answer or 'nothing'}")
