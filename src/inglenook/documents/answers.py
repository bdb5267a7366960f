"""What the routes of `/data` share: bounded bodies, answers in pieces, revalidation (spec/01 §1.5, spec/11 §8)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, TypeVar

from litestar import Request

from inglenook import wire
from inglenook.documents import bodies
from inglenook.kernel.errors import DocumentTooLarge, TooLarge
from inglenook.storage.documents.contract import MAX_DOCUMENT_BYTES, Body
from inglenook.wire import Answer

T = TypeVar("T")
HttpRequest = Request[Any, Any, Any]

SINGLE_LIMIT = 3 * MAX_DOCUMENT_BYTES  # bytes of a body with one document: escapes may make it larger than stored
_ASIDE_FROM = 256 * 1024  # bytes; larger bodies are decoded off the event loop
_WHOLE_UP_TO = 256 * 1024  # bytes; larger answers are sent in pieces


async def document_body(request: HttpRequest, id: str = "") -> Body:
    """The document in the body of a request, its keys sorted. Raises BadRequest, BadDocument, DocumentTooLarge."""
    try:
        raw = await wire.read_body(request, SINGLE_LIMIT)
    except TooLarge:
        raise DocumentTooLarge(id) from None
    return await aside(bodies.decode_document, raw)


async def bulk_body(request: HttpRequest) -> bytes:
    """The body of a request with many documents. Raises TooLarge."""
    return await wire.read_body(request, bodies.MAX_BODY_BYTES)


async def aside(decode: Callable[[bytes], T], raw: bytes) -> T:
    """Decode a body, off the event loop when it is large."""
    return decode(raw) if len(raw) < _ASIDE_FROM else await asyncio.to_thread(decode, raw)


async def in_pieces(chunks: AsyncGenerator[bytes, None]) -> Answer:
    """A JSON answer that comes in pieces: sent whole when it is small. What fails before that is an error answer."""
    first: list[bytes] = []
    size = 0
    async for chunk in chunks:
        first.append(chunk)
        size += len(chunk)
        if size > _WHOLE_UP_TO:
            return wire.streamed(_rest(b"".join(first), chunks), media_type=wire.JSON)
    return wire.plain_json(b"".join(first))


async def _rest(first: bytes, chunks: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(chunks):
        yield first
        async for chunk in chunks:
            yield chunk


def revalidated(request: HttpRequest, rev: str, body: bytes, *, variant: str = "") -> Answer:
    """A document with its `ETag`, or 304 when the caller has that revision (spec/11 §8).

    `variant` tells apart the forms in which one revision is shown, empty for the usual one."""
    tag = f'"{rev}{variant}"'
    if wire.lists_tag(request.headers.get("if-none-match", ""), tag):
        return Answer(status=304, headers={"etag": tag})
    return wire.plain_json(body, headers={"etag": tag})


def revalidated_by_content(request: HttpRequest, body: bytes) -> Answer:
    """As `revalidated`, of an answer that is no single revision: its `ETag` is made from its bytes."""
    return revalidated(request, hashlib.blake2b(body, digest_size=16).hexdigest(), body)
