"""Files on their way to one member, side by side, small ones past large ones (spec/05 §10).

A file that is refused is written down and stops no other. The changes of one file go one after the other: what
changes while it is on its way is read again when it has arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from urllib.parse import quote

from inglenook.kernel.errors import NotFound, UpstreamFailed
from inglenook.peers.peers import TRANSFER, Limits
from inglenook.replication import outbox
from inglenook.replication.line import OF_THE_SERVER, Line, Refused, decoded
from inglenook.replication.outbox import FileToSend
from inglenook.replication.progress import OnTheWay, Progress
from inglenook.replication.send_chunks import send_in_chunks
from inglenook.sharing.documents import Sharing
from inglenook.storage.contents import INLINE_BYTES
from inglenook.storage.documents.contract import Content

AT_ONCE = 16
LARGE = 4 * 1024 * 1024
LARGE_AT_ONCE = 2
SMALL_TRANSFER = 60.0
SLOWEST = 16 * 1024
"""Bytes in a second that a small transfer must make beyond its first minute."""


class Uploads:
    """The uploads of one run, in the plain protocol."""

    def __init__(self, line: Line, progress: Progress, on_the_way: OnTheWay) -> None:
        self._line = line
        self._progress = progress
        self._on_the_way = on_the_way
        self._small = asyncio.Semaphore(AT_ONCE)
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    def start(self, sharing: Sharing, file: FileToSend, *, in_chunks: bool = False) -> None:
        """Let a file go beside the others; in pieces, when the member's server has asked for that."""
        progress = self._progress
        key = f"{outbox.FILES}/{file.id}"
        if key in progress.open:
            progress.again.add(key)
            return
        progress.open[key] = file.seq
        self._on_the_way.start(self._until_still(sharing, file, key, in_chunks=in_chunks))

    async def _until_still(self, sharing: Sharing, file: FileToSend, key: str, *, in_chunks: bool) -> None:
        progress = self._progress
        try:
            while True:
                lane = self._large if file.content is not None and file.content.size > LARGE else self._small
                async with lane:
                    await self._line.about_one(self._send(file, in_chunks=in_chunks))
                if key not in progress.again:
                    break
                progress.again.discard(key)
                again = await read_one(self._line, sharing, key)
                if not again.files:
                    break
                file = again.files[0]
            self._line.state.moved_on = True
        except Refused as refusal:
            await self._line.write_down(key, refusal.detail, refusal.status)
            progress.again.discard(key)
        except UpstreamFailed as trouble:
            if not isinstance(trouble, OF_THE_SERVER):
                progress.suspect(key, file.rev, trouble.detail)
            raise
        progress.suspects.pop(key, None)
        del progress.open[key]

    async def _send(self, file: FileToSend, *, in_chunks: bool) -> None:
        if not (in_chunks and await self._in_chunks(file)):
            await self._upload(file)

    async def _in_chunks(self, file: FileToSend) -> bool:
        """Send a file in pieces; False when it has to go as a whole. Raises UpstreamFailed."""
        try:
            taken = await send_in_chunks(self._line, file)
        except (Refused, NotFound):  # NotFound: the content was replaced, and its newer state is next in the feed
            return False
        if taken:
            await self._line.taken(f"{outbox.FILES}/{file.id}")
        return taken

    async def _upload(self, file: FileToSend) -> None:
        """Metadata, then content if it is wanted. Raises Refused, UpstreamFailed."""
        line = self._line
        sender = quote(line.instance.domain, safe="")
        path = f"/io.cozy.files/{quote(str(file.document['_id']), safe='')}/metadata?from={sender}"
        response = await line.call("PUT", path, file.document)
        if response.status == 204:
            await line.taken(f"{outbox.FILES}/{file.id}")
            return
        answer = decoded(response)
        upload_key = answer.get("key") if isinstance(answer, dict) else None
        if not isinstance(upload_key, str) or file.content is None:
            raise Refused.by(response)
        body = await self._body_of(file.content)
        if body is None:
            return
        await line.send(
            "PUT",
            f"/io.cozy.files/{quote(upload_key, safe='')}?from={sender}",
            body,
            {"Content-Type": file.mime or "application/octet-stream"},
            timeout=limits_of(file.content.size),
            refresh=False,
        )
        self._progress.note_brought(f"{outbox.FILES}/{file.id}", line.instance.env.clock.monotonic())
        await line.taken(f"{outbox.FILES}/{file.id}")

    async def _body_of(self, content: Content) -> bytes | Callable[[], AsyncIterator[bytes]] | None:
        """The bytes of a content; None when it was replaced in the meantime: the newer state is next in the feed."""
        instance = self._line.instance
        if content.size > INLINE_BYTES:
            return lambda: instance.contents.read(content)
        return await instance.store.read(lambda view: view.content_bytes(content.sha256))


def limits_of(size: int) -> Limits:
    """How long the transfer of a content may take: a small one has a bound, since it holds up the small exchanges."""
    return TRANSFER if size > LARGE else Limits(total=SMALL_TRANSFER + size / SLOWEST)


def key_of(sharing: Sharing, index: int) -> bytes:
    """The key of identifiers of a member; empty when there is none."""
    credentials = sharing.credentials_for(index)
    return credentials.xor_key if credentials else b""


async def read_one(line: Line, sharing: Sharing, id: str) -> outbox.Page:
    """One document as it is now; `id` is that of its tracking record."""
    key = key_of(sharing, line.index)
    return await line.instance.store.read(lambda view: outbox.read_one(view, sharing, line.index, key, id))
