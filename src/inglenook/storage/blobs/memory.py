"""Blobs in memory, for a simulation: no disk, no threads, and gone with the process."""

from __future__ import annotations

from collections.abc import AsyncIterator

from inglenook.environment import Clock
from inglenook.kernel.errors import NotFound
from inglenook.storage.blobs.local import PIECE
from inglenook.storage.documents.contract import Content


class MemoryBlobStores:
    """The blobs of all instances, for as long as this object lives."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stores: dict[str, MemoryBlobs] = {}

    def of(self, name: str) -> MemoryBlobs:
        """The blobs of an instance, named by its database prefix."""
        return self._stores.setdefault(name, MemoryBlobs(self._clock))

    def present(self, name: str, sha256: str) -> bool:
        """Whether the bytes are there (the `blob_present` of `SqliteStores`)."""
        return self.of(name).keep(sha256)


class MemoryBlobs:
    """The blobs of one instance (see `BlobStore` of the contract)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._blobs: dict[str, tuple[bytes, float]] = {}

    async def begin(self) -> MemoryUpload:
        return MemoryUpload(self)

    async def exists(self, sha256: str) -> bool:
        return sha256 in self._blobs

    async def read(self, sha256: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        data = self._bytes(sha256)
        stop = len(data) if end is None else min(end, len(data))
        for at in range(start, stop, PIECE):
            yield data[at : min(at + PIECE, stop)]

    async def size(self, sha256: str) -> int:
        return len(self._bytes(sha256))

    async def delete(self, sha256: str, *, untouched_since: float) -> bool:
        if sha256 not in self._blobs or self._blobs[sha256][1] > untouched_since:
            return False
        del self._blobs[sha256]
        return True

    async def list(self) -> AsyncIterator[str]:
        for sha256 in sorted(self._blobs):
            yield sha256

    async def sweep(self, *, before: float) -> int:
        return 0

    async def destroy(self) -> None:
        self._blobs.clear()

    def put(self, sha256: str, data: bytes) -> None:
        """Keep bytes, or note that they were put again."""
        self._blobs[sha256] = (data, self._clock.now().timestamp())

    def keep(self, sha256: str) -> bool:
        """Whether the bytes are there; if so, they count as put just now."""
        found = self._blobs.get(sha256)
        if found is not None:
            self.put(sha256, found[0])
        return found is not None

    def _bytes(self, sha256: str) -> bytes:
        if sha256 not in self._blobs:
            raise NotFound("The content is not here")
        return self._blobs[sha256][0]


class MemoryUpload:
    """A content on its way into memory."""

    def __init__(self, blobs: MemoryBlobs) -> None:
        self._blobs = blobs
        self._data = bytearray()

    async def write(self, data: bytes) -> None:
        self._data += data

    async def finish(self, content: Content) -> None:
        self._blobs.put(content.sha256, bytes(self._data))

    async def abort(self) -> None:
        self._data.clear()
