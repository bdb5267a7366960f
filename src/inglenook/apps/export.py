"""The files of an installed app as one compressed archive, made while it is sent (spec/03 §12.3, download)."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from inglenook.apps import stored_files

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance


async def archive(instance: Instance, slug: str) -> AsyncIterator[bytes]:
    """The archive, piece by piece (tar, PAX headers, gzip)."""
    press = zlib.compressobj(6, zlib.DEFLATED, 31)
    async for piece in _tar(instance, slug):
        if pressed := press.compress(piece):
            yield pressed
    yield press.flush()


async def _tar(instance: Instance, slug: str) -> AsyncIterator[bytes]:
    after = ""
    while True:
        paths, after = await instance.store.read(lambda view, at=after: stored_files.paths_after(view, slug, at))
        for path in paths:
            found = await instance.store.read(lambda view, path=path: stored_files.look_up(view, slug, path))
            if found is None:  # updated meanwhile
                continue
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size = found.content.size
            yield entry.tobuf(tarfile.PAX_FORMAT)
            async for chunk in instance.contents.read(found.content):
                yield chunk
            yield b"\0" * (-entry.size % tarfile.BLOCKSIZE)
        if not after:
            break
    yield b"\0" * (2 * tarfile.BLOCKSIZE)
