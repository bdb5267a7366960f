"""Large contents inside a zip archive: deflate without compression, so that their place and size are known beforehand.

The entries of an export are of method deflate (spec/12 §2). A content of a file is written as *stored* blocks
(RFC 1951 §3.2.4): 5 bytes before each 65,535. Most large files are compressed already; and any byte of a part can be
found without making the bytes before it, which downloads with ranges need (docs/decisions/0013).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

BLOCK = 65_535
HEADER = 5

Read = Callable[[int], AsyncIterator[bytes]]
"""Gives the bytes of a content from an offset on."""


def framed_size(size: int) -> int:
    """The number of bytes that a content of `size` bytes takes in an archive."""
    return size + HEADER * blocks(size)


def blocks(size: int) -> int:
    """How many blocks a content has: at least one."""
    return max(1, -(-size // BLOCK))


async def framed(read: Read, size: int, start: int, end: int) -> AsyncIterator[bytes]:
    """Bytes start..end (end excluded) of the framed form of a content of `size` bytes.

    `read` is asked once, for the content from the first block that is needed. Raises what it raises, and EOFError
    when it gives less than it should."""
    first = min(start // (BLOCK + HEADER), blocks(size) - 1)
    at = first * (BLOCK + HEADER)
    source = _Rechunked(read(first * BLOCK))
    for number in range(first, blocks(size)):
        length = min(BLOCK, size - number * BLOCK)
        block = _header(length, last=number == blocks(size) - 1) + await source.take(length)
        piece = block[max(start - at, 0) : end - at]
        if piece:
            yield piece
        at += len(block)
        if at >= end:
            return


def _header(length: int, *, last: bool) -> bytes:
    return bytes([1 if last else 0]) + length.to_bytes(2, "little") + (length ^ 0xFFFF).to_bytes(2, "little")


class _Rechunked:
    """A stream of pieces of any size, taken in pieces of a wanted size."""

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        self._source = source
        self._held = bytearray()

    async def take(self, count: int) -> bytes:
        while len(self._held) < count:
            piece = await anext(self._source, None)
            if piece is None:
                raise EOFError("The content is shorter than it should be")
            self._held += piece
        taken = bytes(self._held[:count])
        del self._held[:count]
        return taken
