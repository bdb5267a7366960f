"""Cutting contents where they say so themselves, so that an edit moves few of the cuts (FastCDC; spec/11 §3)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import NamedTuple

from pyfastcdc import FastCDC

SMALLEST = 64 * 1024
AVERAGE = 256 * 1024
LARGEST = 1024 * 1024

AT_ONCE = 2 * LARGEST
"""Bytes that are cut before others have their turn."""


class Chunk(NamedTuple):
    """A piece of a content: where it begins, its length in bytes, its SHA-256 in hexadecimal."""

    offset: int
    length: int
    sha256: str


async def chunks_of(content: AsyncIterator[bytes]) -> list[Chunk]:
    """All chunks of a content, in their order."""
    cutter = FastCDC(avg_size=AVERAGE, min_size=SMALLEST, max_size=LARGEST)
    found: list[Chunk] = []
    held = bytearray()
    offset = 0

    def cut(*, last: bool) -> None:
        """Cut what is held; the last piece stays, unless the content ends there: more bytes could belong to it."""
        nonlocal offset
        with memoryview(held) as view:
            pieces = [(chunk.offset, chunk.length) for chunk in cutter.cut_buf(view)]
            if not last:
                pieces.pop()
            for start, length in pieces:
                digest = hashlib.sha256(view[start : start + length]).hexdigest()
                found.append(Chunk(offset + start, length, digest))
        done = sum(length for _, length in pieces)
        del held[:done]
        offset += done

    async for piece in content:
        held += piece
        if len(held) >= AT_ONCE + LARGEST:
            cut(last=False)
            await asyncio.sleep(0)
    if held:
        cut(last=True)
    return found
