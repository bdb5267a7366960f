"""The parts of an export as they are kept and read: any range of bytes, made when it is asked for (spec/12 §11)."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import msgspec

from inglenook.kernel.errors import NotFound
from inglenook.moving.framing import framed, framed_size
from inglenook.moving.zip_writing import PLACE
from inglenook.storage.documents.contract import Content, Reader, Writer

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance
    from inglenook.storage.contents import Contents

PARTS = "export-parts"
"""Records: export id to its parts."""
HOLDERS = "io.cozy.exports/contents"
"""Holders of the contents of exports: no name of a doctype, so that nobody can drop them."""

HELD = "export-held"
"""Records: `<export id>/<number>` to the SHA-256 of some large contents that it holds."""

_PLACES = 128


class Part(msgspec.Struct, frozen=True):
    """A part: its cursor (empty for the first), its size in bytes, its skeleton and its map."""

    cursor: str
    size: int
    skeleton: Content
    places: Content

    @property
    def etag(self) -> str:
        """The entity tag: the same bytes have the same one."""
        named = hashlib.sha256(f"{self.skeleton.sha256}{self.places.sha256}".encode())
        return f'"{named.hexdigest()[:32]}"'


def keep(tx: Writer, export_id: str, parts: list[Part]) -> None:
    """Write down the parts of an export."""
    tx.put_record(PARTS, export_id, {"parts": msgspec.to_builtins(parts)})


def parts_of(view: Reader, export_id: str) -> list[Part]:
    """The parts of an export, in their order; none when they are gone."""
    record = view.record(PARTS, export_id)
    return [] if record is None else msgspec.convert(record.body["parts"], list[Part])


def holder(export_id: str, what: str) -> str:
    """Under which id an export holds a content: one of the parts' own, or a large content by its SHA-256."""
    return f"{export_id}/{what}"


async def read(contents: Contents, part: Part, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
    """Bytes start..end (end excluded, None: to the end) of a part.

    Raises NotFound when a content is gone; not before the first piece."""
    stop = part.size if end is None else min(end, part.size)
    at = start
    skeleton_at = 0  # of the skeleton, what is before the next large content
    part_at = 0
    first = await _first_place(contents, part, start)
    if first > 0:
        [(offset, skeleton_at, size, _)] = await _places(contents, part, first - 1, 1)
        part_at = offset + framed_size(size)
    async for offset, skeleton_end, size, sha256 in _places_from(contents, part, first):
        async for piece in _skeleton(contents, part, skeleton_at, part_at, at, min(stop, offset)):
            at += len(piece)
            yield piece
        after = offset + framed_size(size)
        if at < stop and at < after:
            content = Content(sha256.hex(), "", size)
            wanted = framed(
                lambda begin, c=content: contents.read(c, begin), size, at - offset, min(stop, after) - offset
            )
            async for piece in wanted:
                at += len(piece)
                yield piece
        if at >= stop:
            return
        skeleton_at, part_at = skeleton_end, after
    async for piece in _skeleton(contents, part, skeleton_at, part_at, at, stop):
        yield piece


def hold(tx: Writer, export_id: str, number: int, contents: list[Content]) -> set[str]:
    """Hold a batch of large contents, whose number is told; gives the SHA-256 of those that are gone."""
    missing: set[str] = set()
    for content in contents:
        try:
            tx.hold(HOLDERS, holder(export_id, content.sha256), content)
        except NotFound:
            missing.add(content.sha256)
    tx.put_record(HELD, f"{export_id}/{number:08d}", [content.sha256 for content in contents])
    return missing


async def forget(instance: Instance, export_id: str) -> None:
    """Let go of everything that an export keeps; harmless when it is done again."""

    def release(tx: Writer) -> bool:
        page = tx.records(HELD, start=f"{export_id}/", end=f"{export_id}0", limit=1)
        for record in page:
            for sha256 in record.body:
                tx.release(HOLDERS, holder(export_id, sha256))
            tx.delete_record(HELD, record.id)
        return bool(page)

    def end(tx: Writer) -> None:
        for number in range(len(parts_of(tx, export_id))):
            tx.release(HOLDERS, holder(export_id, f"{number}/skeleton"))
            tx.release(HOLDERS, holder(export_id, f"{number}/map"))
        tx.delete_record(PARTS, export_id)

    while await instance.store.write(release):
        pass
    await instance.store.write(end)


async def _skeleton(
    contents: Contents, part: Part, skeleton_at: int, part_at: int, start: int, end: int
) -> AsyncIterator[bytes]:
    """Bytes of the part from a stretch of the skeleton that begins at `part_at` in the part."""
    if start >= end:
        return
    begin = skeleton_at + start - part_at
    async for piece in contents.read(part.skeleton, begin, begin + end - start):
        yield piece


async def _first_place(contents: Contents, part: Part, start: int) -> int:
    """The number of the first large content that ends behind an offset of the part."""
    low, high = 0, part.places.size // PLACE.size
    while low < high:
        middle = (low + high) // 2
        [(offset, _, size, _)] = await _places(contents, part, middle, 1)
        if offset + framed_size(size) <= start:
            low = middle + 1
        else:
            high = middle
    return low


async def _places_from(contents: Contents, part: Part, first: int) -> AsyncIterator[tuple[int, int, int, bytes]]:
    count = part.places.size // PLACE.size
    while first < count:
        for place in await _places(contents, part, first, _PLACES):
            yield place
        first += _PLACES


async def _places(contents: Contents, part: Part, first: int, count: int) -> list[tuple[int, int, int, bytes]]:
    start = first * PLACE.size
    pieces = [piece async for piece in contents.read(part.places, start, start + count * PLACE.size)]
    return list(PLACE.iter_unpack(b"".join(pieces)))
