"""Changes on their way to a member's server of the same make, in batches (spec/11 §2).

An offer asks what is wanted, a push brings it; a few small changes are pushed at once, since that is quicker than to
ask. Large contents go by themselves (`replication.uploads`), so that no batch waits for one. The answer to a push has
a line for each document: one that is refused is written down and stops no other.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import msgspec

from inglenook.kernel.errors import NotFound, UpstreamFailed
from inglenook.kernel.xor import xor_id
from inglenook.peers.errors import PeerGarbage
from inglenook.peers.peers import TRANSFER, PeerResponse
from inglenook.peers.transport import Body
from inglenook.replication import frames, outbox, send_chunks
from inglenook.replication.frames import Head, OfferAnswer, Offered, PushResult
from inglenook.replication.line import Line, Refused
from inglenook.replication.outbox import Change, FileToSend
from inglenook.replication.progress import OnTheWay, Progress
from inglenook.replication.uploads import LARGE, Uploads, key_of, note_gone, read_again
from inglenook.sharing import tracking
from inglenook.sharing.documents import Sharing
from inglenook.storage.documents.contract import Content, Writer

EXTENSION = "batch"
AT_ONCE = 2
"""Batches of files on their way to one member at the same time."""

PUSH_BYTES = 1024 * 1024
"""Bytes of contents in one push, unless it has but a few items."""

FEW = 8

MOST_CUTS = 3
"""Batches in a row that fail beside a server that answers otherwise, until the plain protocol takes their place."""

MOST_PUSH_BYTES = 8 * 1024 * 1024
"""Bytes of contents in one push of a few items, unless a single one is larger."""

UNASKED = 16
"""So many documents are pushed without an offer, when their contents are small as well."""

UNASKED_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Item:
    """A document in a batch: one of the bulk, or a file. `key` is the id of its tracking record. `bare` means that
    the member's server holds the content."""

    key: str
    seq: int
    change: Change | None = None
    file: FileToSend | None = None
    bare: bool = False

    @property
    def content(self) -> Content | None:
        """What has to travel."""
        return self.file.content if self.file is not None and not self.bare else None

    @property
    def size(self) -> int:
        """Bytes of the content that has to travel."""
        content = self.content
        return content.size if content is not None else 0

    @property
    def rev(self) -> str:
        """The revision that is sent."""
        source = self.file or self.change
        return source.rev if source is not None else ""

    @property
    def removed(self) -> bool:
        """Whether a removal is told."""
        return self.change is not None and self.change.removed


@dataclass(frozen=True, slots=True)
class Alone:
    """A file that goes by itself, in pieces when that is wanted."""

    file: FileToSend
    in_chunks: bool = False


def items_of(changes: Sequence[Change], files: Sequence[FileToSend], removals: Sequence[Change] = ()) -> list[Item]:
    """A batch in the order in which it is applied: folders by depth, documents, files, removals."""
    return [
        *(Item(f"{c.doctype}/{c.id}", c.seq, change=c) for c in outbox.in_order(changes)),
        *(Item(f"{outbox.FILES}/{f.id}", f.seq, file=f) for f in files),
        *(Item(f"{c.doctype}/{c.id}", c.seq, change=c) for c in outbox.in_order(removals)),
    ]


T = TypeVar("T", bound=msgspec.Struct)


class Batches:
    """The batches of one run."""

    def __init__(self, line: Line, progress: Progress, on_the_way: OnTheWay, uploads: Uploads) -> None:
        self._line = line
        self._progress = progress
        self._on_the_way = on_the_way
        self._uploads = uploads
        self._refused = False
        self.running = 0

    @property
    def possible(self) -> bool:
        """Whether the member's server takes batches."""
        peers = self._line.instance.peers
        return not self._refused and self._line.connected and peers.speaks(self._line.link.instance, EXTENSION)

    def start(self, sharing: Sharing, files: Sequence[FileToSend], changes: Sequence[Change] = ()) -> None:
        """Let files go beside what else is on its way, the changes of one file one after the other; and changes that
        are read once more later."""
        progress = self._progress
        items: list[Item] = []
        keys: set[str] = set()  # a document in conflict comes with several leaves
        for item in items_of(changes, files):
            if item.key in progress.open and item.key not in keys:
                if item.file is not None:
                    progress.again.add(item.key)
            else:
                progress.open[item.key] = item.seq
                keys.add(item.key)
                items.append(item)
        if items:
            self.running += 1
            self._on_the_way.start(self._until_still(sharing, items))

    async def _until_still(self, sharing: Sharing, items: list[Item]) -> None:
        progress = self._progress
        try:
            while items:
                try:
                    left = await self.send(sharing, items)
                except Refused:
                    left = [Alone(item.file) for item in items if item.file is not None]
                    brought: list[Item] = []
                else:
                    alone = {id(one.file) for one in left}
                    brought = [item for item in items if id(item.file) not in alone]
                    early = [item for item in brought if item.seq > progress.cursor]
                    progress.sent.update({item.key: item.rev for item in early})
                keys = {item.key for item in brought}
                changed: dict[str, list[FileToSend]] = {}
                while again := keys & progress.again:
                    for key in again:
                        changed[key] = await read_again(self._line, sharing, progress, key)
                for item in items:
                    progress.open.pop(item.key, None)
                for one in left:
                    self._uploads.start(sharing, one.file, in_chunks=one.in_chunks)
                items = items_of((), [file for files in changed.values() for file in files])
                progress.open.update({item.key: item.seq for item in items})
        finally:
            self.running -= 1

    async def send(self, sharing: Sharing, items: Sequence[Item]) -> list[Alone]:
        """Send a batch; gives the files that have to go by themselves. What single documents are refused for is
        written down. Raises UpstreamFailed; Refused when the batch as a whole is not taken."""
        alone: list[Alone] = []
        if len(items) > UNASKED or sum(item.size for item in items) > UNASKED_BYTES:
            items, alone = await self._asked(sharing, items)
        for part in parts(items):
            needed = [replace(item, bare=False) for item in await self._push(sharing, part)]
            alone += [Alone(item.file) for item in needed if item.file is not None and item.size > LARGE]
            for rest in parts([item for item in needed if item.size <= LARGE]):
                await self._push(sharing, rest)
        return alone

    async def _asked(self, sharing: Sharing, items: Sequence[Item]) -> tuple[list[Item], list[Alone]]:
        """Offer a batch; gives what is wanted of it, and what has to go by itself."""
        line = self._line
        asked = [item for item in items if not item.removed]
        async with self._whole():
            response = await self._post("offer", frames.lines(offered(item) for item in asked), frames.OFFER)
            answers = decoded_lines(response, OfferAnswer, len(asked))
        given = {id(item): answer for item, answer in zip(asked, answers, strict=True)}
        wanted: list[Item] = []
        known: list[str] = []
        alone: list[Alone] = []
        above: dict[str, Item] = {}
        for item in items:
            answer = given.get(id(item))
            if answer is not None and answer.answer == "known":
                known.append(item.key)
                continue
            if answer is not None and answer.answer == "blocked_by":
                for folder in await self._folders_above(sharing, answer.parent):
                    above.setdefault(folder.key, folder)
            if answer is not None and answer.answer == "want_metadata":
                item = replace(item, bare=True)
            pieces = answer is not None and answer.answer == "want_chunks"
            in_chunks = pieces and item.file is not None and send_chunks.is_possible(line, item.file)
            if item.file is not None and (item.size > LARGE or in_chunks):
                alone.append(Alone(item.file, in_chunks))
            else:
                wanted.append(item)
        if known:
            await line.taken(*known)
        present = {item.key for item in wanted}
        return [*(folder for key, folder in above.items() if key not in present), *wanted], alone

    async def _folders_above(self, sharing: Sharing, id: str) -> list[Item]:
        """A folder that the member's server lacks, and those above it; `id` is in its identifiers."""
        key, store = key_of(sharing, self._line.index), self._line.instance.store
        local = xor_id(id, key)
        return items_of(await store.read(lambda view: outbox.folder_with_those_above(view, sharing, key, local)), ())

    async def _push(self, sharing: Sharing, items: Sequence[Item]) -> list[Item]:
        """One push; gives the items whose contents turned out to be needed."""
        line = self._line
        sent: list[Item] = []
        gone: list[Item] = []
        body: Body = partial(self._frames, items, sent, gone)
        try:
            if sum(item.size for item in items) <= UNASKED_BYTES:
                body = b"".join([piece async for piece in self._frames(items, sent, gone)])
            async with self._whole():
                response = await self._post("push", body, frames.PUSH)
                results = decoded_lines(response, PushResult, len(sent))
        except NotFound:  # in the middle of the content that was sent last
            broken = sent[-1]
            await self._note_gone([broken])
            rest = [item for item in items if item is not broken]
            return await self._push(sharing, rest) if rest else []
        line.cuts = 0
        await self._note_gone(gone)
        done: list[Item] = []
        wanting: list[Item] = []
        for item, result in zip(sent, results, strict=True):
            if result.result == "done":
                done.append(item)
            elif result.result == "want_content" and item.bare:
                wanting.append(item)
            else:
                error = result.error
                why = f"refused with {error.status}: {error.detail}" if error else "its content was not taken"
                await line.write_down(item.key, why, error.status if error else 0)
        if done:
            await line.taken(*(item.key for item in done))
        changes = [item.change for item in done if item.change is not None and item.removed]
        removed = [change for change in changes if change.doctype == outbox.FILES]
        if removed and not sharing.owner:
            await line.instance.store.write(lambda tx: settle_removals(tx, line.sharing_id, removed, line.now))
        return wanting

    async def _note_gone(self, items: Sequence[Item]) -> None:
        for item in items:
            if item.file is not None:
                await note_gone(self._line, item.file)

    async def _frames(self, items: Sequence[Item], sent: list[Item], gone: list[Item]) -> AsyncIterator[bytes]:
        """The body of a push; `sent` becomes what is in it. Contents are read when it is their turn, so that little is
        in memory; what has none any more is left out (`gone`). Raises NotFound for a content that ends too early."""
        sent.clear()
        gone.clear()
        held: list[bytes] = []
        size = 0
        for item in items:
            source = self._line.instance.contents.read(item.content) if item.content is not None else None
            try:
                first = await anext(source, b"") if source is not None else b""
            except NotFound:
                gone.append(item)
                continue
            sent.append(item)
            left = item.size - len(first)
            held += (frames.frame(head_of(item)), first)
            size += len(held[-2]) + len(first)
            if size >= frames.PIECE or item.size > len(first):
                yield b"".join(held)
                held, size = [], 0
            if source is not None:
                async for piece in source:
                    left -= len(piece)
                    yield piece
            if left:
                raise NotFound("The content is damaged")
        if held:
            yield b"".join(held)

    @asynccontextmanager
    async def _whole(self) -> AsyncGenerator[None]:
        """An exchange that is of use as a whole alone. A server that cuts it again and again, and answers otherwise, is
        one that cannot do batches: it gets what there is in the plain protocol. Raises UpstreamFailed, Refused."""
        try:
            yield
        except UpstreamFailed as trouble:
            self._line.cuts += 1
            if self._line.cuts < MOST_CUTS or not await self._line.answers_otherwise(trouble):
                raise
            self._refused = True
            raise Refused(trouble.detail) from trouble

    async def _post(self, what: str, body: Body, kind: str) -> PeerResponse:
        try:
            return await self._line.send("POST", f"/_batch/{what}", body, {"Content-Type": kind}, timeout=TRANSFER)
        except Refused as refusal:
            if refusal.status == 404:
                self._line.instance.peers.forget_extensions(self._line.link.instance)
            self._refused = True
            raise


def parts(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Items in pushes of bounded size: small enough that what is newer soon goes past, large enough that files of
    some size share requests and transactions too."""
    part: list[Item] = []
    size = 0
    for item in items:
        most = MOST_PUSH_BYTES if len(part) < FEW else PUSH_BYTES
        if part and (size + item.size > most or len(part) >= frames.MAX_BATCH_ITEMS):
            yield part
            part, size = [], 0
        part.append(item)
        size += item.size
    if part:
        yield part


def document_of(item: Item) -> tuple[str, outbox.Body]:
    """Doctype and document, as they travel."""
    if item.file is not None:
        return outbox.FILES, item.file.document
    assert item.change is not None
    return item.change.doctype, item.change.document


def offered(item: Item) -> Offered:
    """An item as it is offered."""
    doctype, document = document_of(item)
    content = item.content
    return Offered(
        doctype,
        document["_id"],
        document["_revisions"],
        document.get("dir_id") or "",
        content.sha256 if content is not None else "",
        item.size,
    )


def head_of(item: Item) -> Head:
    """The head of an item's frame."""
    doctype, document = document_of(item)
    sha256 = item.file.content.sha256 if item.file is not None and item.file.content is not None else ""
    return Head(doctype, document, sha256, item.content.size if item.content is not None else None)


def decoded_lines(response: PeerResponse, kind: type[T], count: int) -> list[T]:
    """The lines of an answer. Raises PeerGarbage when they are not those that were asked for."""
    try:
        found = msgspec.json.Decoder(kind).decode_lines(response.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PeerGarbage("The other server answered a batch with something else") from error
    if len(found) != count:
        raise PeerGarbage("The other server answered only part of a batch")
    return found


def settle_removals(tx: Writer, sharing_id: str, removed: Sequence[Change], now: float) -> None:
    """The owner knows what this side has removed, from `now` (Unix time) on: if it comes again, somebody else has kept
    it."""
    for change in removed:
        shared = tracking.load(tx, change.doctype, change.id)
        info = shared.infos.get(sharing_id)
        if info is not None and info.get("removed") and shared.leaf == change.rev:
            info["settled"] = now
            tracking.save(tx, shared)
