"""Large contents that are mostly here already: an older version, and the pieces that it lacks (spec/11 §3).

The sender tells of what pieces a content consists; what is lacking of it comes in one request, and the content is put
together while that arrives. When the request breaks off, what was put together so far is kept for a while, so that the
next one goes on there.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from inglenook.files.documents import FILES
from inglenook.files.quota import check_room, quota_of
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest, DomainError, InvalidParameter, NotFound, TooLarge
from inglenook.replication import chunking
from inglenook.replication.chunking import Chunk
from inglenook.replication.exchange import Exchange, md5_of, read_file
from inglenook.replication.fetching import with_parents
from inglenook.replication.frames import MAX_HEAD, Assembly, ChunkList, Lacking, PushResult, failure_of
from inglenook.replication.receive_files import apply_content, apply_metadata
from inglenook.sharing import tracking
from inglenook.storage.documents.contract import Content, Reader, Writer

SMALLEST = 1024 * 1024
"""Bytes from which on a content is worth it."""

KEPT = 3600.0
"""Seconds for which the beginning of a content is kept after its request has broken off."""

PATIENCE = 5.0
"""Seconds that a list of pieces waits for a request about the same content to end."""

REMEMBERED = 16
"""Contents whose pieces are remembered, in each process."""

Piece = tuple[Content, int]
"""Where a piece lies: in which content, from which byte on."""


class Beginning(msgspec.Struct):
    """The beginning of a content whose request broke off: its own name, and how many pieces it has."""

    content: Content
    pieces: int


_assembling: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
_pieces: OrderedDict[str, list[Chunk]] = OrderedDict()


def worth_chunks(view: Reader, ex: Exchange, id: str, size: int) -> bool:
    """Whether a file has a version here that is worth looking at for pieces of a content of this size."""
    content = base_of(view, ex, id)
    return content is not None and min(content.size, size) >= SMALLEST


def base_of(view: Reader, ex: Exchange, id: str) -> Content | None:
    """The content of a file of the sharing; of any other file a member must learn nothing."""
    shared = tracking.load(view, FILES, id)
    return view.content(FILES, id) if shared.live(ex.sharing.id) else None


async def lacking(instance: Instance, ex: Exchange, listed: ChunkList) -> Lacking:
    """Which pieces of a content are not here. Raises BadRequest, NotFound when there is no older version."""
    received = read_file(listed.document)
    base = await instance.store.read(lambda view: base_of(view, ex, received.id))
    if base is None:
        raise NotFound("There is no older version of this file")
    with suppress(TimeoutError):  # one that has just broken off leaves its beginning
        async with asyncio.timeout(PATIENCE), _lock(instance, ex, listed):
            pass
    here = await _here(instance, base, await _beginning(instance, ex, listed), listed.chunks)
    found = [i for i, (_, sha256) in enumerate(listed.chunks) if sha256 not in here]
    return Lacking(base.sha256, found)


async def assemble(instance: Instance, ex: Exchange, body: Body) -> PushResult:
    """Put a content together from what is here and what comes, and apply its file (spec/05 §15).

    Raises BadRequest for a request that cannot be read, or that breaks off."""
    length = int.from_bytes(await body.read(4), "big")
    if length > MAX_HEAD:
        raise TooLarge("The head is too long")
    try:
        told = msgspec.json.decode(await body.read(length), type=Assembly)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest("The head cannot be read") from error
    received = read_file(told.document)
    size = int(received.text("size") or "0")
    if size != sum(length for length, _ in told.chunks) or any(length < 0 for length, _ in told.chunks):
        raise InvalidParameter("Content length does not match", parameter="Content-Length")
    await instance.store.read(lambda view: check_room(view, quota_of(instance), size))
    base = await instance.store.read(lambda view: base_of(view, ex, received.id))
    if base is None or base.sha256 != told.base:
        raise NotFound("There is no older version of this file")
    here = await _here(instance, base, await _beginning(instance, ex, told), told.chunks)
    lacking = set(told.lacking)
    if any(i not in lacking and sha256 not in here for i, (_, sha256) in enumerate(told.chunks)):
        raise NotFound("A piece that should be here is not")
    pieces = Assembling(instance, body, told, here, lacking)
    async with _lock(instance, ex, told):
        content = await instance.contents.receive(pieces.bytes(), max_bytes=size)
        if pieces.broken is not None:
            await _keep(instance, ex, told, Beginning(content.content, pieces.done))
    try:
        if pieces.broken is not None:
            raise pieces.broken
        if content.content.sha256 != told.sha256 or content.content.md5 != md5_of(received):
            raise InvalidParameter("Invalid hash", parameter="md5sum")

        def apply(tx: Writer, ex: Exchange) -> bool:
            if apply_metadata(tx, ex, received):
                return False
            check_room(tx, quota_of(instance), size)
            return apply_content(tx, ex, received, content)

        if not await with_parents(instance, ex, apply):
            await instance.contents.discard(content)
    except DomainError as error:
        await instance.contents.discard(content)
        if error is pieces.broken:
            raise
        return PushResult(received.id, "error", failure_of(error))
    return PushResult(received.id, "done")


class Assembling:
    """A content on its way: `done` pieces of it were put together; `broken` is why no more came."""

    def __init__(
        self, instance: Instance, body: Body, told: Assembly, here: Mapping[str, Piece], lacking: set[int]
    ) -> None:
        self._instance = instance
        self._body = body
        self._told = told
        self._here = here
        self._lacking = lacking
        self.done = 0
        self.broken: BadRequest | None = None

    async def bytes(self) -> AsyncIterator[bytes]:
        """The content; it ends at the last whole piece when the request breaks off."""
        for i, (length, sha256) in enumerate(self._told.chunks):
            if i in self._lacking:
                try:
                    data = await self._body.read(length)
                    if hashlib.sha256(data).hexdigest() != sha256:
                        raise BadRequest("A piece is not what it was said to be")
                except BadRequest as broken:
                    self.broken = broken
                    return
                yield data
            else:
                content, offset = self._here[sha256]
                async for data in self._instance.contents.read(content, offset, offset + length):
                    yield data
            self.done += 1


class Body:
    """A request's body, read in pieces of known lengths."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._held = bytearray()

    async def read(self, length: int) -> bytes:
        """Exactly so many bytes, at most those of a piece or a head. Raises BadRequest."""
        if length > max(MAX_HEAD, chunking.LARGEST):
            raise BadRequest("A piece is too long")
        while len(self._held) < length:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                raise BadRequest("The body ends too early")
            self._held += chunk
        data = bytes(memoryview(self._held)[:length])
        del self._held[:length]
        return data


async def _here(
    instance: Instance, base: Content, beginning: Beginning | None, listed: list[tuple[int, str]]
) -> dict[str, Piece]:
    """Where the pieces lie that are here: in an older version, or in what came before."""
    found: dict[str, Piece] = {chunk.sha256: (base, chunk.offset) for chunk in await _chunks(instance, base)}
    if beginning is not None:
        offset = 0
        for length, sha256 in listed[: beginning.pieces]:
            found.setdefault(sha256, (beginning.content, offset))
            offset += length
    return found


async def _chunks(instance: Instance, content: Content) -> list[Chunk]:
    name = f"{instance.prefix}/{content.sha256}"
    found = _pieces.get(name)
    if found is None:
        found = _pieces[name] = await chunking.chunks_of(instance.contents.read(content))
    _pieces.move_to_end(name)
    while len(_pieces) > REMEMBERED:
        _pieces.popitem(last=False)
    return found


# -- what was put together before a request broke off


def _slot(instance: Instance, ex: Exchange, told: ChunkList) -> str:
    return f"beginning/{instance.prefix}/{ex.sharing.id}/{ex.index}/{told.sha256}"


def _lock(instance: Instance, ex: Exchange, told: ChunkList) -> asyncio.Lock:
    return _assembling.setdefault(_slot(instance, ex, told), asyncio.Lock())


async def _beginning(instance: Instance, ex: Exchange, told: ChunkList) -> Beginning | None:
    kept: Any = await instance.ephemeral.get(_slot(instance, ex, told))
    if not kept:
        return None
    beginning = msgspec.convert(kept, Beginning)
    length = sum(length for length, _ in told.chunks[: beginning.pieces])
    return beginning if length == beginning.content.size else None


async def _keep(instance: Instance, ex: Exchange, told: ChunkList, beginning: Beginning) -> None:
    if beginning.content.size >= SMALLEST:
        await instance.ephemeral.put(_slot(instance, ex, told), msgspec.to_builtins(beginning), KEPT)
