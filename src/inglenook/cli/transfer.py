"""Files and folders on their way between the local disk and an instance, piece by piece.

What is the same on both sides already (by size and MD5) is left alone, so that a transfer that broke off is taken
up again by the same command.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from inglenook.cli.invocation import CommandFailed, Invocation
from inglenook.cli.sizes import show_size
from inglenook.cli.terminal import PIECE
from inglenook.environment import rfc3339
from inglenook.files import tree
from inglenook.files.authorship import server_stamp
from inglenook.files.create_directory import ensure_path
from inglenook.files.documents import FILES, Item
from inglenook.files.extraction import HEAD_BYTES, extract, is_read
from inglenook.files.quota import check_room, quota_of
from inglenook.files.settings import version_limits
from inglenook.files.upload import (
    NOTHING_FOUND,
    Sent,
    create_file,
    new_file_body,
    overwrite_file,
    overwritten_body,
)
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import DomainError
from inglenook.kernel.mime import class_of_mime, mime_of_name
from inglenook.kernel.names import check_name
from inglenook.storage.documents.contract import Writer


@dataclass
class Tally:
    """What a transfer did so far; tells a person who watches."""

    call: Invocation
    files: int = 0
    size: int = 0
    same: int = 0

    def moved(self, name: str, size: int) -> None:
        """One more file."""
        self.files += 1
        self.size += size
        if self.call.terminal.interactive:
            self.call.terminal.status(f"{self.files} files, {show_size(self.size)}  {name}")

    def summary(self) -> str:
        """What was done, in words."""
        done = "1 file" if self.files == 1 else f"{self.files} files"
        same = f", {self.same} were the same already" if self.same else ""
        return f"{done}, {show_size(self.size)}{same}"


# -- into the instance


async def put_tree(instance: Instance, source: Path, target: str, tally: Tally) -> None:
    """Copy a local file or folder to a path of the instance. Raises CommandFailed, DomainError, OSError."""
    waiting = [(source, target)]
    stamp = server_stamp(instance)
    while waiting:
        local, path = waiting.pop()
        names = await asyncio.to_thread(_names_in, local)
        if names is None:
            await put_file(instance, local, path, tally)
            continue
        await instance.store.write(lambda tx, path=path: ensure_path(tx, path, stamp))
        waiting += [(local / name, f"{path.rstrip('/')}/{name}") for name in reversed(names)]


async def put_file(instance: Instance, source: Path, target: str, tally: Tally) -> None:
    """Copy a local file to a path of the instance, unless it is there already."""
    there = await instance.store.read(lambda view: tree.at_path(view, target))
    if there is not None and there.is_file and await asyncio.to_thread(_is_same, source, there):
        tally.same += 1
        return
    file, modified = await asyncio.to_thread(_open, source)
    with file:
        item = await put_stream(instance, _pieces_of(file), target, modified=modified)
    tally.moved(target, item.size)


async def put_stream(instance: Instance, pieces: AsyncIterator[bytes], target: str, *, modified: str = "") -> Item:
    """Write a stream of bytes to a path of the instance; what was there becomes a version.

    `modified` is RFC 3339, now by default. Raises CommandFailed, DomainError."""
    folder, _, name = target.rpartition("/")
    check_name(name)
    mime = mime_of_name(name)
    sent = Sent(mime=mime, klass=class_of_mime(mime), created_at=modified, updated_at=modified)
    stamp = server_stamp(instance)
    head = bytearray()

    async def watched() -> AsyncIterator[bytes]:
        async for piece in pieces:
            if len(head) < HEAD_BYTES:
                head.extend(piece[: HEAD_BYTES - len(head)])
            yield piece

    received = await instance.contents.receive(watched())
    found = NOTHING_FOUND
    if is_read(mime):
        found = await extract(mime, bytes(head), modified or stamp.now, instance.url())
    quota, limits, id = quota_of(instance), version_limits(instance), instance.env.random.file_id()

    def write(tx: Writer) -> Item:
        check_room(tx, quota, received.size)
        parent = ensure_path(tx, folder or "/", stamp)
        there = tree.child(tx, parent.id, name)
        if there is None:
            return create_file(tx, id, new_file_body(name, parent.id, sent, stamp), received, found=found)
        if there.is_directory:
            raise CommandFailed(f"{target} is a folder")
        body = overwritten_body(there, sent, stamp)
        return overwrite_file(tx, there, body, received, limits=limits, now=stamp.now, found=found)

    try:
        return await instance.store.write(write)
    except (DomainError, CommandFailed):
        await instance.contents.discard(received)
        raise


# -- out of it


async def get_tree(instance: Instance, source: Item, target: Path, tally: Tally) -> None:
    """Copy a file or folder of the instance to the local disk. Raises OSError, NotFound."""
    waiting = [(source, target)]
    while waiting:
        item, local = waiting.pop()
        if item.is_file:
            await get_file(instance, item, local, tally)
            continue
        await asyncio.to_thread(local.mkdir, parents=True, exist_ok=True)
        below = await instance.store.scan(lambda view, id=item.id: list(tree.children(view, id)))
        waiting += [(child, local / child.name) for child in sorted(below, key=lambda child: child.name, reverse=True)]


async def get_file(instance: Instance, source: Item, target: Path, tally: Tally) -> None:
    """Copy a file of the instance to the local disk, whole or not at all, unless it is there already."""
    if await asyncio.to_thread(_is_same, target, source):
        tally.same += 1
        return
    partial = target.with_name(f".{target.name}.part")
    file = await asyncio.to_thread(partial.open, "wb")
    try:
        with file:
            async for piece in pieces_of(instance, source):
                await asyncio.to_thread(file.write, piece)
        await asyncio.to_thread(partial.replace, target)
    finally:
        await asyncio.to_thread(partial.unlink, missing_ok=True)
    tally.moved(str(target), source.size)


async def pieces_of(instance: Instance, file: Item) -> AsyncIterator[bytes]:
    """The content of a file, piece by piece. Raises CommandFailed when the file names no content."""
    content = await instance.store.read(lambda view: view.content(FILES, file.id))
    if content is None:
        raise CommandFailed(f"The content of {file.name} is missing")
    async for piece in instance.contents.read(content):
        yield piece


# -- the local disk, for threads


def _names_in(path: Path) -> list[str] | None:
    """The names in a folder, sorted; None for a file."""
    return sorted(os.listdir(path)) if path.is_dir() else None


def _open(path: Path) -> tuple[BinaryIO, str]:
    """A file to read, and when it was last changed (RFC 3339)."""
    file = path.open("rb")
    return file, rfc3339(datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC))


def _is_same(path: Path, item: Item) -> bool:
    """Whether a local file has the content of a file of an instance."""
    if not path.is_file() or path.stat().st_size != item.size:
        return False
    with path.open("rb") as file:
        return base64.b64encode(hashlib.file_digest(file, "md5").digest()).decode() == item.md5sum


async def _pieces_of(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, PIECE):
        yield piece
