"""Contents of one instance: receiving bytes, naming them, reading them, and removing what nothing names any more.

A content is addressed by its SHA-256 and also knows its MD5, which the wire needs (spec/02 §1.3). A small one lives
in the database, in the same transaction as the document that names it; a larger one is streamed to the blob store
and durable there before the transaction begins. A file is never in memory.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Thread

from inglenook.environment import Environment
from inglenook.kernel.errors import NotFound, PreconditionFailed, TooLarge
from inglenook.storage.blobs.contract import BlobStore, Upload
from inglenook.storage.documents.contract import Content, DocumentStore, Reader, Writer

INLINE_BYTES = 64 * 1024  # up to this size a content lives in the database (measured, docs/decisions/0001)
PIECE = 1024 * 1024  # bytes hashed and written at a time
PIECES_AHEAD = 3  # of each lane
READ_PIECE = 256 * 1024  # bytes given at a time
GRACE_SECONDS = 3600.0  # between the last use of a blob and its removal
PAGE = 100


@dataclass(frozen=True, slots=True)
class Received:
    """A content that is durable (or small enough to be in `data`) and that no document names yet.

    Either name it in a transaction by `hold`, or give it to `Contents.discard`."""

    content: Content
    data: bytes | None = field(repr=False)

    @property
    def size(self) -> int:
        """The size in bytes."""
        return self.content.size

    def hold(self, tx: Writer, doctype: str, id: str) -> None:
        """Make a document name this content, in place of the one it named."""
        tx.hold(doctype, id, self.content, self.data)


class Contents:
    """The contents of one instance. With `threads` False all is done on the event loop (for a simulation)."""

    def __init__(self, store: DocumentStore, blobs: BlobStore, env: Environment, *, threads: bool = True) -> None:
        self._store = store
        self._blobs = blobs
        self._env = env
        self._threads = threads

    async def receive(
        self, chunks: AsyncIterator[bytes], *, max_bytes: int | None = None, expected_size: int | None = None
    ) -> Received:
        """Take in a stream of bytes; nothing is left of it when this fails.

        Raises TooLarge beyond `max_bytes` (what the quota leaves), PreconditionFailed (`Content-Length`) when the
        size is not `expected_size` (spec/02 §11), OutOfSpace, and what `chunks` raises."""
        limit = None if max_bytes is None else max(max_bytes, 0)
        size = 0
        waiting: list[bytes] = []  # less than a piece, or what may still stay inline
        held = 0
        stream: _Stream | None = None
        try:
            async for chunk in chunks:
                size += len(chunk)
                if expected_size is not None and size > expected_size:
                    raise _wrong_length()
                if limit is not None and size > limit:
                    raise TooLarge("The file is too big and exceeds the disk quota")
                waiting.append(chunk)
                held += len(chunk)
                if stream is None and size > INLINE_BYTES:
                    stream = _Stream(await self._blobs.begin(), threads=self._threads)
                if stream is not None and held >= PIECE:
                    await stream.feed(b"".join(waiting))
                    waiting, held = [], 0
            if expected_size is not None and size != expected_size:
                raise _wrong_length()
            if stream is None:
                return _small(b"".join(waiting))
            await stream.feed(b"".join(waiting))
            return Received(await stream.finish(), None)
        except BaseException:
            if stream is not None:
                await stream.abort()
            raise

    async def discard(self, received: Received) -> None:
        """Give up a received content that no document came to name."""
        if received.data is None:
            sha256 = received.content.sha256
            await self._store.write(lambda tx: tx.disown(sha256))

    async def read(self, content: Content, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Stream bytes start..end (end excluded, None: to the end), in pieces of at most 1 MiB.

        Raises NotFound (at the first piece) when the bytes are gone."""
        stop = content.size if end is None else min(end, content.size)
        data = await self._store.read(lambda view: view.content_bytes(content.sha256))
        if data is None:
            async for piece in self._blobs.read(content.sha256, start, stop):
                yield piece
            return
        for at in range(start, stop, READ_PIECE):
            yield data[at : min(at + READ_PIECE, stop)]

    async def collect(self) -> int:
        """Remove the blobs that nothing has named for an hour, and what interrupted uploads left; gives how many.

        The store is not written when there are none."""
        before = self._env.clock.now().timestamp() - GRACE_SECONDS
        removed = await self.sweep()
        oldest = await self._store.read(lambda view: view.oldest_garbage())
        while oldest is not None and oldest < before:
            listed, forgotten = await self._store.write(lambda tx: _forget_page(tx, before))
            for sha256 in forgotten:
                # A blob that was put again meanwhile is younger, and stays.
                removed += await self._blobs.delete(sha256, untouched_since=before)
            if listed < PAGE:
                break
        return removed

    async def sweep(self) -> int:
        """Remove what interrupted uploads left an hour ago; gives how much. Does not use the store."""
        return await self._blobs.sweep(before=self._env.clock.now().timestamp() - GRACE_SECONDS)

    async def next_collection(self) -> float | None:
        """From when on `collect` will have something to do (seconds of Unix time), as things are now; None: never."""
        oldest = await self._store.read(lambda view: view.oldest_garbage())
        return None if oldest is None else oldest + GRACE_SECONDS

    async def reconcile(self) -> int:
        """Find blobs that no document names and that nobody knows as garbage (a crash between an upload and its
        transaction), so that `collect` removes them; gives how many. Walks through all blobs."""
        found = 0
        page: list[str] = []
        async for sha256 in self._blobs.list():
            page.append(sha256)
            if len(page) == PAGE:
                found += await self._disown_unknown(page)
                page = []
        return found + await self._disown_unknown(page)

    async def strangers(self) -> AsyncIterator[str]:
        """The blobs that no document names and that nobody knows as garbage: `reconcile` would find them."""
        async for sha256 in self._blobs.list():
            if await self._store.read(lambda view, sha256=sha256: _is_strange(view, sha256)):
                yield sha256

    async def disown(self, sha256: str) -> None:
        """Have the collector remove a blob, unless a document comes to name it within the hour."""
        await self._store.write(lambda tx: tx.disown(sha256))

    async def is_whole(self, content: Content) -> bool:
        """Whether the stored bytes are what their name says; reads all of them."""
        digest = hashlib.sha256()
        try:
            async for piece in self.read(content):
                digest.update(piece)
        except NotFound:
            return False
        return digest.hexdigest() == content.sha256

    async def put_right(self, content: Content, source: Contents) -> bool:
        """Fetch the bytes of a content, which are damaged or gone here, from another instance; False when that has not
        got them either, and then nothing is changed."""
        if not await source.is_whole(content):
            return False
        await self._blobs.delete(content.sha256, untouched_since=math.inf)
        await self.receive(source.read(content))
        return True

    async def _disown_unknown(self, blobs: list[str]) -> int:
        if not blobs:
            return 0
        unknown = await self._store.read(lambda view: [blob for blob in blobs if _is_strange(view, blob)])
        if unknown:
            await self._store.write(lambda tx: [tx.disown(blob) for blob in unknown])
        return len(unknown)


class _Stream:
    """Hashes and writes a stream on three lanes side by side, while more is received. Some pieces are in memory at a
    time, however long the stream is."""

    def __init__(self, upload: Upload, *, threads: bool) -> None:
        self._upload = upload
        self._threads = threads
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._size = 0
        self._first = b""
        self._lanes: list[_Lane | _HashLane] = []

    async def feed(self, piece: bytes) -> None:
        """Take the next piece, when there is room for it. Raises what failed on a lane."""
        self._size += len(piece)
        if not self._lanes:
            if not self._first:
                self._first = piece
                return
            self._open_lanes()
            await self._feed_lanes(self._first)
        await self._feed_lanes(piece)

    async def finish(self) -> Content:
        """Make all durable; gives its name."""
        if self._lanes:
            for lane in self._lanes:
                await lane.finish()
        else:
            await asyncio.gather(self._hash_first(), self._upload.write(self._first))
        content = Content(self._sha256.hexdigest(), _base64(self._md5.digest()), self._size)
        await self._upload.finish(content)
        return content

    async def abort(self) -> None:
        """Leave nothing behind."""
        for lane in self._lanes:
            await lane.abort()
        await self._upload.abort()

    async def _feed_lanes(self, piece: bytes) -> None:
        for lane in self._lanes:
            await lane.feed(piece)

    def _open_lanes(self) -> None:
        for update in (self._md5.update, self._sha256.update):
            self._lanes.append(_HashLane(update) if self._threads else _Lane(_at_once(update)))
        self._lanes.append(_Lane(self._upload.write))

    async def _hash_first(self) -> None:
        """A stream of one piece needs no lanes."""
        if self._threads:
            await asyncio.to_thread(self._update, self._first)
        else:
            self._update(self._first)

    def _update(self, piece: bytes) -> None:
        self._md5.update(piece)
        self._sha256.update(piece)


class _HashLane:
    """Hashes pieces in a thread of its own, a few pieces behind the one who feeds it.

    OpenSSL lets go of the interpreter while it hashes. A thread that takes piece after piece from a queue does so
    without asking the event loop in between: that is a third faster than a task for each piece (docs/performance.md).
    """

    def __init__(self, update: Callable[[bytes], None]) -> None:
        self._update = update
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(PIECES_AHEAD)
        self._pieces: SimpleQueue[bytes | None] = SimpleQueue()
        self._ended = self._loop.create_future()
        Thread(target=self._run, name="hash", daemon=True).start()

    async def feed(self, piece: bytes) -> None:
        await self._room.acquire()
        self._pieces.put(piece)

    async def finish(self) -> None:
        self._pieces.put(None)
        await self._ended

    async def abort(self) -> None:
        self._pieces.put(None)

    def _run(self) -> None:
        with suppress(RuntimeError):  # the event loop has ended, and nobody waits any more
            while (piece := self._pieces.get()) is not None:
                self._update(piece)
                self._loop.call_soon_threadsafe(self._room.release)
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


class _Lane:
    """Does one kind of work on pieces, in their order, a few pieces behind the one who feeds it."""

    def __init__(self, work: Callable[[bytes], Awaitable[None]]) -> None:
        self._work = work
        self._room = asyncio.Semaphore(PIECES_AHEAD)
        self._last: asyncio.Task[None] | None = None
        self._steps: set[asyncio.Task[None]] = set()

    async def feed(self, piece: bytes) -> None:
        await self._room.acquire()
        if self._last is not None and self._last.done():
            self._last.result()
        self._last = asyncio.create_task(self._step(self._last, piece))
        self._steps.add(self._last)
        self._last.add_done_callback(self._steps.discard)

    async def finish(self) -> None:
        if self._last is not None:
            await self._last

    async def abort(self) -> None:
        for step in self._steps:  # all of them: one that did not begin yet does not cancel the one before it
            step.cancel()
        await asyncio.gather(*self._steps, return_exceptions=True)

    async def _step(self, before: asyncio.Task[None] | None, piece: bytes) -> None:
        try:
            if before is not None:
                await before
            await self._work(piece)
        finally:
            self._room.release()


def _at_once(work: Callable[[bytes], None]) -> Callable[[bytes], Awaitable[None]]:
    async def step(piece: bytes) -> None:
        work(piece)

    return step


def _small(data: bytes) -> Received:
    digest = hashlib.md5(data, usedforsecurity=False).digest()
    return Received(Content(hashlib.sha256(data).hexdigest(), _base64(digest), len(data)), data)


def _forget_page(tx: Writer, before: float) -> tuple[int, list[str]]:
    page = tx.garbage(before=before, limit=PAGE)
    return len(page), [sha256 for sha256 in page if tx.forget_garbage(sha256)]


def _is_strange(view: Reader, sha256: str) -> bool:
    return view.known_content(sha256) is None and not view.is_garbage(sha256)


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _wrong_length() -> PreconditionFailed:
    return PreconditionFailed("Content length does not match", parameter="Content-Length")
