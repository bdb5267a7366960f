"""Taking in the body of an upload: its declared size, its MD5, the room that is left (spec/02 §11, §13.2).

The content goes to the store piece by piece; of pictures and the like the beginning is kept for `extraction`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from litestar import Request

from inglenook import wire
from inglenook.files.extraction import HEAD_BYTES
from inglenook.files.quota import quota_of, room
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest, DomainError, InvalidParameter, PreconditionFailed
from inglenook.storage.contents import Received

T = TypeVar("T")
HttpRequest = Request[Any, Any, Any]

MOST_DRAINED = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Declared:
    """What a request says of its body: its size in bytes (None: unknown) and its MD5 in base64 (empty: not told)."""

    size: int | None
    md5: str


def declared(request: HttpRequest) -> Declared:
    """Read size and MD5 from a request. Raises InvalidParameter for a malformed Content-MD5."""
    size: int | None = wire.declared_length(request)
    if size == -1:
        size = None
        sent = request.query_params.get("Size", "")
        if "transfer-encoding" not in request.headers and "content-length" not in request.headers:
            size = 0 if request.scope.get("http_version", "1.1").startswith("1") else None
        elif sent.isascii() and sent.isdigit():
            size = int(sent)
    return Declared(size, check_md5(request.headers.get("content-md5", "")))


def check_md5(value: str) -> str:
    """A Content-MD5 as it is stored: 24 characters of base64. Raises InvalidParameter."""
    if not value:
        return ""
    with suppress(binascii.Error, ValueError):
        if 22 <= len(value) <= 24:
            digest = base64.b64decode(value, validate=True)
            if len(digest) == 16:
                return base64.b64encode(digest).decode()
    raise InvalidParameter("Given Content-MD5 is invalid", parameter="Content-MD5")


class Intake:
    """One body on its way in. `head` holds its first bytes when they are wanted."""

    def __init__(self, instance: Instance, request: HttpRequest, expected: Declared, *, wants_head: bool) -> None:
        self.head = bytearray()
        self._instance = instance
        self._request = request
        self._expected = expected
        self._wants_head = wants_head

    async def receive(self) -> Received:
        """Take in the content and check it.

        Raises TooLarge (no room), PreconditionFailed (another size or MD5 than declared), BadRequest (broken off)."""
        chunks = wire.body_chunks(self._request)
        if self._wants_head:
            chunks = self._keeping_head(chunks)
        contents = self._instance.contents
        received = await contents.receive(chunks, max_bytes=await self._room(), expected_size=self._expected.size)
        if self._expected.md5 and received.content.md5 != self._expected.md5:
            await contents.discard(received)
            raise PreconditionFailed("Invalid hash", parameter="Content-MD5")
        return received

    async def _room(self) -> int | None:
        quota = quota_of(self._instance)
        return await self._instance.store.read(lambda view: room(view, quota)) if quota else None

    async def _keeping_head(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            if len(self.head) < HEAD_BYTES:
                self.head += chunk[: HEAD_BYTES - len(self.head)]
            yield chunk


async def before_body(request: HttpRequest, checks: Awaitable[T]) -> T:
    """Run the checks that come before the body is read. When they refuse, the rest of a small body is read away, so
    that a client that is still sending sees the refusal."""
    try:
        return await checks
    except DomainError:
        await _drain(request)
        raise


async def _drain(request: HttpRequest) -> None:
    if wire.declared_length(request) > MOST_DRAINED:
        return
    size = 0
    with suppress(BadRequest):
        async for chunk in wire.body_chunks(request):
            size += len(chunk)
            if size > MOST_DRAINED:
                return
