"""The contract of a blob store: bytes too large for the database, addressed by SHA-256 within one instance.

Bytes reach the disk before the document that names them: `Upload.finish` returns when they are durable. What no
document comes to name is removed by the collector some time later (`storage.contents`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from inglenook.storage.documents.contract import Content


class Upload(Protocol):
    """A content on its way in. Nothing is visible before `finish`; `abort` leaves nothing behind."""

    async def write(self, data: bytes) -> None:
        """Append bytes. Raises OutOfSpace when the disk is full."""
        ...

    async def finish(self, content: Content) -> None:
        """Make what was written durable and visible under `content.sha256` (kept once if it is there already)."""
        ...

    async def abort(self) -> None:
        """Throw away what was written; may be called after `finish`, and then does nothing."""
        ...


class BlobStore(Protocol):
    """The blobs of one instance."""

    async def begin(self) -> Upload:
        """Start receiving a content."""
        ...

    async def exists(self, sha256: str) -> bool:
        """Whether the bytes are there."""
        ...

    def read(self, sha256: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Stream bytes start..end (end excluded, None: to the end), in pieces of at most 1 MiB.

        Raises NotFound (at the first piece) when the bytes are not there."""
        ...

    async def size(self, sha256: str) -> int:
        """The stored size in bytes. Raises NotFound."""
        ...

    async def delete(self, sha256: str, *, untouched_since: float) -> bool:
        """Remove bytes, unless they were put or put again after that moment (seconds of Unix time)."""
        ...

    def list(self) -> AsyncIterator[str]:
        """The SHA-256 of all blobs."""
        ...

    async def sweep(self, *, before: float) -> int:
        """Remove what interrupted uploads left before a moment; gives how many."""
        ...

    async def destroy(self) -> None:
        """Remove everything of this instance."""
        ...


class BlobStores(Protocol):
    """Where the blobs of all instances live."""

    def of(self, name: str) -> BlobStore:
        """The blob store of an instance, named by its database prefix."""
        ...
