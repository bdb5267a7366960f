"""Where what is on its way lies on the disk: parts of exports, archives that are checked, remarks of imports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

_PIECE = 256 * 1024


def folder(instance: Instance) -> Path:
    """The folder; what a crash has left in it is thrown away at the next start."""
    return instance.env.config.data / "spool"


async def pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    """The rest of a file, piece by piece."""
    while piece := await asyncio.to_thread(file.read, _PIECE):
        yield piece


async def threaded(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Pieces that are made in a thread."""
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece
