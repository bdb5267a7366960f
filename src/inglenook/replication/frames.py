"""What travels in a batch between two servers of this make (spec/11 §2).

An *offer* is JSON lines, one for each document, and so is its answer. A *push* is a row of frames: four bytes with
the length of a head (big-endian), the head in JSON, then as many bytes of content as the head says. Its answer is
JSON lines again, one for each frame, in the same order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, Literal

import msgspec

from inglenook.kernel.errors import BadRequest, DomainError, TooLarge
from inglenook.wire import status_of, title_of

MAX_BATCH_BYTES = 16 * 1024 * 1024
"""The longest offer or push that is taken in."""

MAX_BATCH_ITEMS = 1000
"""Documents of an offer or a push, at most."""

MAX_HEAD = 8_500_000
"""Bytes of a frame's head: a document and a little."""

OFFER = "application/x-ndjson"
PUSH = "application/vnd.inglenook.batch"

PIECE = 128 * 1024
"""Bytes of a push that are sent at a time, at least."""

Answer = Literal["known", "want_metadata", "want_content", "want_chunks", "blocked_by", "error"]
Result = Literal["done", "want_content", "error"]


class Offered(msgspec.Struct, omit_defaults=True):
    """One document that could be sent, in the identifiers of the receiver."""

    doctype: str
    id: str = msgspec.field(name="_id")
    revisions: dict[str, Any] = msgspec.field(name="_revisions")
    dir_id: str = ""
    sha256: str = ""
    size: int = 0


class Failure(msgspec.Struct):
    """Why a document was not taken, in the words of the plain protocol (spec/05 §12.0)."""

    status: int
    title: str
    detail: str


class OfferAnswer(msgspec.Struct, omit_defaults=True):
    """What is wanted of an offered document; `parent` is the folder that it is `blocked_by`."""

    id: str = msgspec.field(name="_id")
    answer: Answer
    parent: str = ""


class Head(msgspec.Struct, omit_defaults=True):
    """The head of a frame. `content` is the number of bytes that follow; None: none, since they are held already
    (then `sha256` names them) or belong to no file."""

    doctype: str
    document: dict[str, Any]
    sha256: str = ""
    content: int | None = None


class PushResult(msgspec.Struct, omit_defaults=True):
    """What became of a pushed document."""

    id: str = msgspec.field(name="_id")
    result: Result
    error: Failure | None = None


class ChunkList(msgspec.Struct):
    """Of what a large content consists: the length and the SHA-256 of each piece, in their order (spec/11 §3).

    `sha256` names the whole, `document` is the file's."""

    document: dict[str, Any]
    sha256: str
    chunks: list[tuple[int, str]]


class Lacking(msgspec.Struct):
    """The pieces that the receiver does not have, by their places in the list; the others are in its content `base`."""

    base: str
    lacking: list[int]


class Assembly(ChunkList):
    """The head of what brings these pieces; their bytes follow it in their order."""

    base: str
    lacking: list[int]


def failure_of(error: DomainError) -> Failure:
    """A failure as it is told."""
    return Failure(status_of(error), title_of(error), error.detail)


def lines(items: Iterable[msgspec.Struct]) -> bytes:
    """JSON lines."""
    return msgspec.json.Encoder().encode_lines(items)


def frame(head: Head) -> bytes:
    """A frame without its content."""
    encoded = msgspec.json.encode(head)
    return len(encoded).to_bytes(4, "big") + encoded


class FrameReader:
    """Reads frames from a body as it arrives; at most a head and a small content are in memory.

    Raises BadRequest for what is no frame, TooLarge beyond the limits."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._held = bytearray()
        self._at = 0
        self._total = 0
        self._items = 0

    async def head(self) -> Head | None:
        """The next head, None at the end. The content before it must have been read."""
        if not await self._fill(4):
            if len(self._held) > self._at:
                raise BadRequest("The batch ends within a frame")
            return None
        self._items += 1
        if self._items > MAX_BATCH_ITEMS:
            raise TooLarge(f"A batch has at most {MAX_BATCH_ITEMS} documents")
        length = int.from_bytes(self._take(4), "big")
        if length > MAX_HEAD:
            raise TooLarge("The head of a frame is too long")
        encoded = await self.read(length)
        try:
            return msgspec.json.decode(encoded, type=Head)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest("The head of a frame cannot be read") from error

    async def read(self, length: int) -> bytes:
        """Exactly so many bytes."""
        if not await self._fill(length):
            raise BadRequest("The batch ends within a frame")
        return self._take(length)

    async def stream(self, length: int) -> AsyncIterator[bytes]:
        """Exactly so many bytes, piece by piece."""
        while length > 0:
            if not await self._fill(1):
                raise BadRequest("The batch ends within a frame")
            piece = self._take(min(length, len(self._held) - self._at))
            length -= len(piece)
            yield piece

    def _take(self, length: int) -> bytes:
        start, self._at = self._at, self._at + length
        return bytes(memoryview(self._held)[start : self._at])

    async def _fill(self, length: int) -> bool:
        """Have so many bytes at hand; False when the body ends before."""
        if len(self._held) - self._at >= length:
            return True
        if self._at:
            del self._held[: self._at]
            self._at = 0
        while len(self._held) < length:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                return False
            self._total += len(chunk)
            if self._total > MAX_BATCH_BYTES:
                raise TooLarge(f"A batch has at most {MAX_BATCH_BYTES} bytes")
            self._held += chunk
        return True
