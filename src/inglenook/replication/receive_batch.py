"""Batches received from a member's server of the same make: what is wanted of an offer, and a push as it arrives.

A batch is another transport for the applications of the plain protocol (spec/11 §2, spec/05 §13–§15): each document
goes through the same functions, each in a savepoint of its own, many in one transaction. One that fails says so in
its own line of the answer, and stops no other.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from inglenook.files import tree
from inglenook.files.documents import FILES
from inglenook.files.quota import check_room, quota_of
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest, DomainError, InvalidParameter, PreconditionFailed, TooLarge
from inglenook.kernel.revisions import wire_to_chain
from inglenook.peers import extensions
from inglenook.replication.exchange import Exchange, Received, md5_of, read_document, read_file
from inglenook.replication.fetching import apply_folders, with_parents
from inglenook.replication.frames import (
    MAX_BATCH_BYTES,
    FrameReader,
    Head,
    OfferAnswer,
    Offered,
    PushResult,
    failure_of,
    lines,
)
from inglenook.replication.receive_chunks import worth_chunks
from inglenook.replication.receive_documents import apply_documents
from inglenook.replication.receive_files import apply_content, apply_metadata
from inglenook.sharing import tracking
from inglenook.storage.contents import INLINE_BYTES, PIECE
from inglenook.storage.contents import Received as Bytes
from inglenook.storage.documents.contract import Content, Reader, Writer

GROUP = 32
"""Documents applied in one go: enough to share a commit, few enough not to keep other writers waiting."""

GROUP_BYTES = 4 * 1024 * 1024
LOOK = 50
"""Offered documents looked at before others have their turn."""


class ContentMissing(DomainError):
    """The content of a pushed file did not come along, and is not held here (any more)."""


# -- offers


async def answer_offer(instance: Instance, ex: Exchange, offered: Sequence[Offered]) -> list[OfferAnswer]:
    """What is wanted of each offered document, in their order."""
    answers: list[OfferAnswer] = []
    coming = {item.id for item in offered}
    for start in range(0, len(offered), LOOK):
        part = offered[start : start + LOOK]
        answers += await instance.store.read(lambda view, p=part: [wanted(view, ex, item, coming) for item in p])
        await asyncio.sleep(0)
    return answers


def wanted(view: Reader, ex: Exchange, item: Offered, coming: set[str]) -> OfferAnswer:
    """What is wanted of one document. `known` is said only where applying it would change nothing."""
    chain = wire_to_chain(item.revisions)
    rev = chain[-1]
    shared = tracking.load(view, item.doctype, item.id)
    known = shared.live(ex.sharing.id) and shared.knows(rev)
    if item.doctype != FILES:
        return OfferAnswer(item.id, "known" if known else "want_metadata")
    here = tree.get(view, item.id)
    if known and here is not None and (here.rev != rev or not ex.sharing.owner):
        return OfferAnswer(item.id, "known")
    if here is None and item.dir_id and item.dir_id not in coming and tree.get(view, item.dir_id) is None:
        return OfferAnswer(item.id, "blocked_by", item.dir_id)
    if not item.sha256 or known:
        return OfferAnswer(item.id, "want_metadata")
    if held(view, item.sha256, item.size) is not None:
        return OfferAnswer(item.id, "want_metadata")
    speaks_chunks = "chunks" in extensions.spoken(ex.instance.env.config)
    if speaks_chunks and worth_chunks(view, ex, item.id, item.size):
        return OfferAnswer(item.id, "want_chunks")
    return OfferAnswer(item.id, "want_content")


def held(view: Reader, sha256: str, size: int) -> Content | None:
    """A content that this instance holds."""
    content = view.known_content(sha256)
    return content if content is not None and content.size == size else None


# -- pushes


Arrived = tuple[Bytes | None, DomainError | None]
"""A content, and what was wrong with it: one of them, or neither."""


@dataclass(slots=True)
class Pushed:
    """A document as it was pushed. `arriving` gives what came with it, once that is safely stored, or what was wrong
    with it; `content` and `error` have it then. `sha256` names a content that is held already."""

    id: str
    doctype: str
    received: Received
    arriving: asyncio.Task[Arrived] | None = None
    content: Bytes | None = None
    sha256: str = ""
    error: DomainError | None = None

    async def arrive(self) -> None:
        """Wait for the content."""
        if self.arriving is not None:
            self.content, failed = await self.arriving
            self.error = self.error or failed

    @property
    def is_file(self) -> bool:
        """Whether it has, or needs, a content."""
        return self.doctype == FILES and not self.received.deleted and self.received.body.get("type") != "directory"


async def take_push(instance: Instance, ex: Exchange, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Apply a push while it arrives; gives the lines of the answer. What has arrived when it breaks off is applied.

    Raises BadRequest for what is no push, TooLarge; once the answer has begun, it ends there instead."""
    reader = FrameReader(chunks)
    group: list[Pushed] = []
    size = 0
    begun = False
    applying: asyncio.Task[bytes] | None = None
    try:
        while (head := await reader.head()) is not None:
            pushed = await _read(instance, reader, head)
            if group and _is_full(group, size, pushed):
                if applying is not None:
                    begun = True
                    yield await applying
                applying = asyncio.create_task(apply_group(instance, ex, group))
                group, size = [], 0
            group.append(pushed)
            size += head.content or 0
    except (BadRequest, TooLarge):
        if not begun:
            if applying is not None:
                await applying
            await apply_group(instance, ex, group)
            raise
    if applying is not None:
        yield await applying
    yield await apply_group(instance, ex, group)


def _is_full(group: list[Pushed], size: int, following: Pushed) -> bool:
    """Whether a group ends here. Folders and removals stay together: they may exchange their names."""
    if not group[-1].is_file and not following.is_file:
        return False
    return len(group) >= GROUP or size >= GROUP_BYTES


async def _read(instance: Instance, reader: FrameReader, head: Head) -> Pushed:
    """One document with its content; what is wrong with it is kept for its line of the answer. A content that is in
    memory as a whole is stored while the next ones are read."""
    id = head.document.get("_id")
    pushed = Pushed(id if isinstance(id, str) else "", head.doctype, Received("", [""]), sha256=head.sha256)
    announced: Received | None = None
    try:
        announced = read_file(head.document) if head.doctype == FILES else read_document(head.document)
        pushed.received = announced
    except (BadRequest, InvalidParameter) as wrong:
        pushed.error = wrong
    if head.content is None:
        return pushed
    if not 0 <= head.content <= MAX_BATCH_BYTES:
        raise TooLarge(f"A batch has at most {MAX_BATCH_BYTES} bytes")
    if INLINE_BYTES < head.content <= PIECE:
        data = await reader.read(head.content)
        pushed.arriving = asyncio.create_task(_store(instance, data, announced))
        return pushed
    if head.content <= INLINE_BYTES:
        content = small(await reader.read(head.content))
    else:
        content = await instance.contents.receive(reader.stream(head.content))
    pushed.content, failed = await _checked(instance, content, announced)
    pushed.error = pushed.error or failed
    return pushed


async def _store(instance: Instance, data: bytes, announced: Received | None) -> Arrived:
    async def whole() -> AsyncIterator[bytes]:
        yield data

    try:
        content = await instance.contents.receive(whole())
    except DomainError as error:
        return None, error
    return await _checked(instance, content, announced)


async def _checked(instance: Instance, content: Bytes, announced: Received | None) -> Arrived:
    """A content that is what its document announces."""
    if announced is None:
        await instance.contents.discard(content)
        return None, None
    try:
        if content.content.md5 != md5_of(announced):
            raise InvalidParameter("Invalid hash", parameter="md5sum")
        if str(content.size) != announced.text("size"):
            raise PreconditionFailed("Content length does not match", parameter="Content-Length")
    except (InvalidParameter, PreconditionFailed) as error:
        await instance.contents.discard(content)
        return None, error
    return content, None


def small(data: bytes) -> Bytes:
    """A content that stays in memory until it is in the database."""
    md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    return Bytes(Content(hashlib.sha256(data).hexdigest(), md5, len(data)), data)


async def apply_group(instance: Instance, ex: Exchange, group: Sequence[Pushed]) -> bytes:
    """Apply documents in their order, as soon as their contents are there; gives their lines of the answer."""
    await asyncio.gather(*(pushed.arrive() for pushed in group))
    errors: list[DomainError | None] = [pushed.error for pushed in group]
    runs: list[asyncio.Task[None]] = []
    at = 0
    while at < len(group):
        end = at + 1
        if group[at].doctype == FILES and not group[at].is_file:
            while end < len(group) and group[end].doctype == FILES and not group[end].is_file:
                end += 1
        runs.append(asyncio.create_task(_apply_run(instance, ex, group[at:end], errors, at)))
        at = end
    # each begins, and so takes its place in the line of writers, in this order
    await asyncio.gather(*runs)
    return lines(_result(pushed, error) for pushed, error in zip(group, errors, strict=True))


async def _apply_run(
    instance: Instance, ex: Exchange, run: Sequence[Pushed], errors: list[DomainError | None], at: int
) -> None:
    """Apply one document, or folders and removals that follow each other; their errors are put where they belong."""
    if run[0].is_file or run[0].doctype != FILES:
        if errors[at] is None:
            errors[at] = await _apply_one(instance, ex, run[0])
        return
    good = [pushed.received for pushed, error in zip(run, errors[at:], strict=False) if error is None]
    try:
        failed = await apply_folders(instance, ex, good) if good else {}
    except DomainError as error:
        failed = {received.id: error for received in good}
    for i, pushed in enumerate(run):
        errors[at + i] = errors[at + i] or failed.get(pushed.id)


async def _apply_one(instance: Instance, ex: Exchange, pushed: Pushed) -> DomainError | None:
    try:
        if pushed.is_file:
            if not await with_parents(instance, ex, lambda tx, ex: apply_file(tx, ex, pushed)) and pushed.content:
                await instance.contents.discard(pushed.content)
        else:
            await instance.store.write(lambda tx: apply_documents(tx, ex.now_in(tx), pushed.doctype, [pushed.received]))
    except DomainError as error:
        if pushed.content is not None:
            await instance.contents.discard(pushed.content)
        return error
    return None


def apply_file(tx: Writer, ex: Exchange, pushed: Pushed) -> bool:
    """A file with its content, or with the name of one that is held (spec/05 §15.1–§15.3); whether a file names the
    content now.

    Raises as the steps of the plain protocol; ContentMissing when the content is needed and is not held."""
    received = pushed.received
    if apply_metadata(tx, ex, received):
        return False
    size = int(received.text("size") or "0")
    content = pushed.content
    if content is None:
        known = held(tx, pushed.sha256, size) if pushed.sha256 else None
        if known is None or known.md5 != md5_of(received):
            raise ContentMissing("The content is needed")
        content = Bytes(known, None)
    check_room(tx, quota_of(ex.instance), size)
    return apply_content(tx, ex, received, content)


def _result(pushed: Pushed, error: DomainError | None) -> PushResult:
    if error is None:
        return PushResult(pushed.id, "done")
    if isinstance(error, ContentMissing):
        return PushResult(pushed.id, "want_content")
    return PushResult(pushed.id, "error", failure_of(error))
