"""Archives of apps (tar, tar.gz) that come from anywhere: unpacked with bounds, and nothing in them but plain files.

The archive is inflated on its way in, into a temporary file without a name and with a limit on its size, and read from
there. What would make a reader of archives misbehave is refused: links, devices, sparse files, paths that lead out,
headers of absurd sizes.
"""

from __future__ import annotations

import asyncio
import hashlib
import tarfile
import tempfile
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any, cast

from inglenook.apps import manifest
from inglenook.kernel.errors import BadRequest, NotFound, TooLarge

MAX_ARCHIVE = 256 * 1024 * 1024
MAX_UNPACKED = 1024 * 1024 * 1024 + 64 * 1024 * 1024  # bytes; the files of an app, and the headers
MAX_ENTRIES = 40_000
MAX_READ = 4 * 1024 * 1024  # bytes read at once; a header is never that large
MAX_PATH = 1024  # characters
PIECE = 256 * 1024

_BROKEN = "The archive cannot be read"
_FAULTS = (tarfile.TarError, zlib.error, EOFError, ValueError, OverflowError, RecursionError, KeyError, IndexError)


class Archive:
    """An inflated archive. `manifest` is the content of its manifest, whose folder is the root of the app."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.root = ""
        self.manifest = b""

    def find_manifest(self) -> None:
        """Look for the manifest nearest to the top. Raises NotFound, BadRequest."""
        best: list[str] | None = None
        for path, member, tar in self._entries():
            *folders, name = path.split("/")
            if name == manifest.NAME and (best is None or len(folders) < len(best)):
                best = folders
                self.manifest = _read(_content(tar, member), manifest.MAX_BYTES + 1)
        if best is None:
            raise NotFound(f"There is no {manifest.NAME} in the archive")
        self.root = "".join(folder + "/" for folder in best)

    async def files(self) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        """The files of the app: path from its root, and content, to be read before the next file is asked for."""
        entries = self._entries()
        while (entry := await asyncio.to_thread(next, entries, None)) is not None:
            path, member, tar = entry
            if path.startswith(self.root):
                yield "/" + path.removeprefix(self.root), _pieces(tar, member)

    def _entries(self) -> Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]:
        """The plain files of the archive. Raises BadRequest for anything else, TooLarge."""
        self._file.seek(0)
        try:
            with tarfile.TarFile(fileobj=cast("IO[bytes]", _Bounded(self._file)), mode="r") as tar:
                number = 0
                while (member := tar.next()) is not None:
                    number += 1
                    tar.members = []  # pyright: ignore[reportAttributeAccessIssue] -- or it keeps them all
                    if number > MAX_ENTRIES:
                        raise TooLarge(f"The archive has more than {MAX_ENTRIES} entries")
                    if member.size < 0:
                        raise BadRequest(_BROKEN)
                    if member.isdir():
                        continue
                    if not member.isreg() or member.issparse():
                        raise BadRequest("The archive has something in it that is no plain file")
                    yield checked_path(member.name), member, tar
        except _FAULTS as error:
            raise BadRequest(_BROKEN) from error


def checked_path(path: str) -> str:
    """A relative path with slashes, without `.` in it. Raises BadRequest for one that leads out or is no text."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    bad = path.startswith("/") or ".." in parts or not parts or len(path) > MAX_PATH
    if bad or "\\" in path or any(character < " " or "\ud800" <= character <= "\udfff" for character in path):
        raise BadRequest("A file of the app has an impossible path")
    return "/".join(parts)


@asynccontextmanager
async def unpacked(chunks: AsyncIterator[bytes], folder: Path, *, expected_sha256: str = "") -> AsyncGenerator[Archive]:
    """Take in an archive, inflated, for as long as the context lasts; `folder` is where the temporary file lives.

    Raises BadRequest (no archive, or another than expected), TooLarge, NotFound (no manifest in it)."""
    with tempfile.TemporaryFile(dir=folder) as file:
        inflater = _Inflater(file)
        digest = hashlib.sha256()
        async for chunk in chunks:
            digest.update(chunk)
            await asyncio.to_thread(inflater.feed, chunk)
        inflater.end()
        if expected_sha256 and digest.hexdigest() != expected_sha256:
            raise BadRequest("The archive is not the one that was asked for: its SHA-256 differs")
        archive = Archive(file)
        await asyncio.to_thread(archive.find_manifest)
        yield archive


class _Inflater:
    """Writes what is in a stream, compressed by gzip or not, never more than the limit."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._inflating: Any = None
        self._start = b""
        self._began = False
        self._received = 0
        self._written = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next piece. Raises TooLarge, BadRequest."""
        self._received += len(chunk)
        if self._received > MAX_ARCHIVE:
            raise TooLarge(f"The archive is larger than {MAX_ARCHIVE} bytes")
        if not self._began:
            self._start += chunk
            if len(self._start) < 2:
                return
            self._began = True
            chunk = self._start
            if chunk.startswith(b"\x1f\x8b"):
                self._inflating = zlib.decompressobj(31)
        if self._inflating is None:
            self._write(chunk)
        else:
            self._inflate(chunk)

    def end(self) -> None:
        """The stream is at its end. Raises BadRequest when the archive is not."""
        if not self._began or (self._inflating is not None and not self._inflating.eof):
            raise BadRequest(_BROKEN)
        self._file.flush()

    def _inflate(self, data: bytes) -> None:
        try:
            while data and not self._inflating.eof:
                self._write(self._inflating.decompress(data, PIECE))
                data = self._inflating.unconsumed_tail
                if self._inflating.eof and self._inflating.unused_data.startswith(b"\x1f\x8b"):
                    data = self._inflating.unused_data
                    self._inflating = zlib.decompressobj(31)
            while not self._inflating.eof and (more := self._inflating.decompress(b"", PIECE)):
                self._write(more)
        except zlib.error as error:
            raise BadRequest(_BROKEN) from error

    def _write(self, data: bytes) -> None:
        self._written += len(data)
        if self._written > MAX_UNPACKED:
            raise TooLarge("What is in the archive is too large")
        self._file.write(data)


class _Bounded:
    """A file that gives no more at once than an honest archive needs."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, count: int = -1) -> bytes:
        if not 0 <= count <= MAX_READ:
            raise ValueError("a header of an impossible size")
        return self._file.read(count)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    assert content is not None, "only plain files are read"
    return content


async def _pieces(tar: tarfile.TarFile, member: tarfile.TarInfo) -> AsyncIterator[bytes]:
    content = _content(tar, member)
    while piece := await asyncio.to_thread(_read, content, PIECE):
        yield piece


def _read(content: IO[bytes], count: int) -> bytes:
    try:
        return content.read(count)
    except _FAULTS as error:
        raise BadRequest(_BROKEN) from error
