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
                again = await read_again(self._line, sharing, progress, key)
                if not again:
                    break
                file = again[0]
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
        except (Refused, NotFound):  # NotFound: of a content that is gone, which shows as well when it goes as a whole
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
        try:
            await line.send(
                "PUT",
                f"/io.cozy.files/{quote(upload_key, safe='')}?from={sender}",
                await self._body_of(file.content),
                {"Content-Type": file.mime or "application/octet-stream"},
                timeout=limits_of(file.content.size),
                refresh=False,
            )
        except NotFound:
            await note_gone(line, file)
            return
        self._progress.note_brought(f"{outbox.FILES}/{file.id}", line.instance.env.clock.monotonic())
        await line.taken(f"{outbox.FILES}/{file.id}")

    async def _body_of(self, content: Content) -> bytes | Callable[[], AsyncIterator[bytes]]:
        """The bytes of a content. Raises NotFound, here or when they are read."""
        contents = self._line.instance.contents
        if content.size > INLINE_BYTES:
            return lambda: contents.read(content)
        return b"".join([piece async for piece in contents.read(content)])


async def note_gone(line: Line, file: FileToSend) -> None:
    """The bytes of a file are not there. When it has got others meanwhile, its newer state is next in the feed; else
    they are damaged, and the file is written down until it is put right."""
    current = await line.instance.store.read(lambda view: view.content(outbox.FILES, file.id))
    if current is not None and current == file.content:
        await line.write_down(f"{outbox.FILES}/{file.id}", "its content is damaged on this server")


def limits_of(size: int) -> Limits:
    """How long the transfer of a content may take: a small one has a bound, since it holds up the small exchanges."""
    return TRANSFER if size > LARGE else Limits(total=SMALL_TRANSFER + size / SLOWEST)


def key_of(sharing: Sharing, index: int) -> bytes:
    """The key of identifiers of a member; empty when there is none."""
    credentials = sharing.credentials_for(index)
    return credentials.xor_key if credentials else b""


async def read_again(line: Line, sharing: Sharing, progress: Progress, key: str) -> list[FileToSend]:
    """A file that has changed while it was on its way, as it is now; nothing when it has not, or is to be sent no more.
    It counts as on its way until this is known, so that the checkpoint does not pass its change."""
    found: list[FileToSend] = []
    while key in progress.again:
        progress.again.discard(key)
        found = (await read_one(line, sharing, key)).files
    return found


async def read_one(line: Line, sharing: Sharing, id: str) -> outbox.Page:
    """One document as it is now; `id` is that of its tracking record."""
    key = key_of(sharing, line.index)
    return await line.instance.store.read(lambda view: outbox.read_one(view, sharing, line.index, key, id))
