"""Blobs on a local disk: `<folder>/<name>/blobs/ab/cdef...`, each named by its SHA-256.

What comes in is written to a temporary file, synced, renamed, and its folder synced, so that a blob that can be
seen is whole and survives a power cut. The time of a file says when it was last put or named; the collector leaves
alone what is younger than it expects, and a lock of the folder keeps the two from crossing.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from inglenook.environment import Clock
from inglenook.kernel.errors import DomainError, NotFound, OutOfSpace, Unavailable
from inglenook.storage.documents.contract import Content

PIECE = 1024 * 1024  # bytes given at a time by `read`
WRITE_BACK = 32 * 1024 * 1024  # bytes after which the disk is told to begin, so that the sync at the end is short
SHA256 = re.compile(r"[0-9a-f]{64}")
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class LocalBlobStores:
    """The blobs of all instances below a folder."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self._folder = folder
        self._clock = clock or Clock()

    def of(self, name: str) -> LocalBlobs:
        """The blobs of an instance, named by its database prefix."""
        if not name or name[0] == "." or "/" in name or "\0" in name:
            raise ValueError(f"Not a name of a store: {name!r}")
        return LocalBlobs(self._folder / name / "blobs", self._clock)


class LocalBlobs:
    """The blobs of one instance (see `BlobStore` of the contract)."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock

    async def begin(self) -> LocalUpload:
        with _storage_errors():
            return LocalUpload(self, await asyncio.to_thread(self._open_temporary))

    async def exists(self, sha256: str) -> bool:
        return await asyncio.to_thread(self._path(sha256).exists)

    async def read(self, sha256: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        with _storage_errors():
            fd = await asyncio.to_thread(_open_to_read, self._path(sha256))
            try:
                at = start
                while end is None or at < end:
                    wanted = PIECE if end is None else min(PIECE, end - at)
                    # What the system holds in memory is copied at once: a thread would take longer than that.
                    piece = _read_held(fd, wanted, at) or await asyncio.to_thread(os.pread, fd, wanted, at)
                    if not piece:
                        return
                    at += len(piece)
                    yield piece
            finally:
                os.close(fd)

    async def size(self, sha256: str) -> int:
        with _storage_errors():
            return (await asyncio.to_thread(self._path(sha256).stat)).st_size

    async def delete(self, sha256: str, *, untouched_since: float) -> bool:
        with _storage_errors():
            return await asyncio.to_thread(self._delete, sha256, untouched_since)

    async def list(self) -> AsyncIterator[str]:
        for folder in await asyncio.to_thread(_names, self._folder):
            if len(folder) != 2:
                continue
            for name in await asyncio.to_thread(_names, self._folder / folder):
                if SHA256.fullmatch(folder + name):
                    yield folder + name

    async def sweep(self, *, before: float) -> int:
        return await asyncio.to_thread(self._sweep, before)

    async def destroy(self) -> None:
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def keep(self, sha256: str) -> bool:
        """Whether the bytes are there; if so, they count as put just now, and a collector that is about to remove
        them leaves them. Blocks for some microseconds: for the writer of a document that will name them."""
        path = self._path(sha256)
        with self._locked(fcntl.LOCK_SH):
            return self._touch(path)

    # -- in threads

    def _path(self, sha256: str) -> Path:
        if not SHA256.fullmatch(sha256):
            raise NotFound("The content is not here")
        return self._folder / sha256[:2] / sha256[2:]

    def _open_temporary(self) -> tuple[int, Path]:
        folder = self._folder / "tmp"
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _sync_folder(self._folder.parent)
        fd, path = tempfile.mkstemp(dir=folder)
        return fd, Path(path)

    def publish(self, fd: int, temporary: Path, content: Content) -> None:
        """Make a written file durable and visible. Closes `fd`, and leaves nothing behind when it fails."""
        path = self._path(content.sha256)
        try:
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            path.parent.mkdir(exist_ok=True)
            with self._locked(fcntl.LOCK_SH):
                if not self._touch(path):
                    now = self._clock.now().timestamp()
                    os.utime(temporary, (now, now))
                    temporary.rename(path)
            _sync_folder(path.parent)
            _sync_folder(self._folder)
        finally:
            temporary.unlink(missing_ok=True)

    def _touch(self, path: Path) -> bool:
        now = self._clock.now().timestamp()
        try:
            os.utime(path, (now, now))
        except FileNotFoundError:
            return False
        return True

    def _delete(self, sha256: str, untouched_since: float) -> bool:
        path = self._path(sha256)
        with self._locked(fcntl.LOCK_EX):
            try:
                if path.stat().st_mtime > untouched_since:
                    return False
                path.unlink()
            except FileNotFoundError:
                return False
        return True

    def _sweep(self, before: float) -> int:
        swept = 0
        for name in _names(self._folder / "tmp"):
            path = self._folder / "tmp" / name
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()
                    swept += 1
        return swept

    @contextmanager
    def _locked(self, mode: int) -> Generator[None]:
        """Shared: blobs are put or named. Exclusive: one is removed. Holds between processes as well."""
        try:
            fd = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # no blob was ever put
            yield
            return
        try:
            fcntl.flock(fd, mode)
            yield
        finally:
            os.close(fd)


class LocalUpload:
    """A content on its way to the disk."""

    def __init__(self, blobs: LocalBlobs, opened: tuple[int, Path]) -> None:
        self._blobs = blobs
        self._fd, self._path = opened
        self._written = 0
        self._begun = 0  # up to where the disk was told to begin
        self._open = True
        self._running: asyncio.Future[None] | None = None

    async def write(self, data: bytes) -> None:
        with _storage_errors():
            await self._in_thread(self._write, data)

    async def finish(self, content: Content) -> None:
        self._open = False
        with _storage_errors():
            await self._in_thread(self._blobs.publish, self._fd, self._path, content)

    async def abort(self) -> None:
        if not self._open:
            return
        self._open = False
        if self._running is not None:  # whoever waited for it was cancelled; the file must not be closed under it
            await asyncio.wait([self._running])
        os.close(self._fd)
        await asyncio.to_thread(self._path.unlink, missing_ok=True)

    def _write(self, data: bytes) -> None:
        _write_all(self._fd, data)
        self._written += len(data)
        if self._written - self._begun >= WRITE_BACK:
            # of what is not on the disk yet this drops nothing from memory: it starts its way there (posix_fadvise(2))
            os.posix_fadvise(self._fd, self._begun, self._written - self._begun, os.POSIX_FADV_DONTNEED)
            self._begun = self._written

    async def _in_thread(self, job: Callable[..., None], *values: object) -> None:
        self._running = asyncio.get_running_loop().run_in_executor(None, job, *values)
        await asyncio.shield(self._running)
        self._running = None


@contextmanager
def _storage_errors() -> Generator[None]:
    """Say in the words of the domain what the disk said."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound("The content is not here") from error
    except OSError as error:
        raise _meaning(error) from error


def _meaning(error: OSError) -> DomainError:
    if error.errno in FULL:
        return OutOfSpace("The disk is full")
    return Unavailable(f"The storage is out of reach: {error.strerror}")


def _open_to_read(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _read_held(fd: int, wanted: int, at: int) -> bytes:
    """The bytes at a place of a file that are in memory; none when the disk would have to be asked."""
    room = bytearray(wanted)
    try:
        return bytes(memoryview(room)[: os.preadv(fd, [room], at, os.RWF_NOWAIT)])
    except OSError:  # EAGAIN, or a file system that does not tell
        return b""


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
