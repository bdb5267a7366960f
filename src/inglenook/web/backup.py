"""A consistent copy of everything while the server runs (`inglenook backup`, spec/10 §3).

The copy is a data folder: `registry/documents.sqlite`, for each instance `<prefix>/documents.sqlite` and
`<prefix>/blobs/`, kept mails, and `backup.json`, which says what it is. Each database is one snapshot, whatever it is
kept in; the contents that it names are copied after it. They cannot go meanwhile: what nothing names any more stays for
an hour, and the collector leaves an instance alone while it is being copied.

A copy into the folder of a former one brings that one up to date: contents that are there already are not copied again.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import structlog

import inglenook
from inglenook.identity.instance import Instance
from inglenook.identity.registry_documents import REGISTRY
from inglenook.kernel.errors import Conflict, NotFound
from inglenook.storage.blobs.contract import BlobStore
from inglenook.storage.blobs.local import LocalBlobStores
from inglenook.storage.documents.contract import Content
from inglenook.storage.documents.sqlite import FILE
from inglenook.storage.documents.sqlite_copy import large_contents
from inglenook.web.collector import spare
from inglenook.web.runtime import Runtime

MANIFEST = "backup.json"
MAILS = "mails"
FORMAT = 1

log = structlog.get_logger("inglenook.server")


class Saved(msgspec.Struct):
    """What a backup has of one instance; `damaged` are contents whose bytes are not what their name says, or gone."""

    domain: str
    prefix: str
    contents: int
    bytes: int
    damaged: list[str] = []


class Manifest(msgspec.Struct):
    """What `backup.json` says. A backup that has not come to its end has no `finished_at`."""

    format: int
    version: str
    started_at: str
    finished_at: str | None = None
    instances: list[Saved] = []


async def back_up(runtime: Runtime, folder: Path, say: Callable[[str], None]) -> Manifest:
    """Copy everything into a folder that is empty, or has a former backup. Raises Conflict, Unavailable, OSError."""
    clock = runtime.env.clock
    former = await asyncio.to_thread(_prepare, folder, runtime.folder)
    manifest = Manifest(FORMAT, inglenook.__version__, clock.timestamp())
    if former is None:
        await asyncio.to_thread(write_manifest, folder, manifest)
    saved: dict[str, Saved] = {}
    while True:
        await runtime.instances.registry.backup(str(_database(folder, REGISTRY)))
        present = [doc for doc in await runtime.instances.documents() if not doc.deleting]
        missing = [doc for doc in present if doc.prefix not in saved]
        gone = saved.keys() - {doc.prefix for doc in present}
        for prefix in gone:
            del saved[prefix]
        for doc in missing:
            try:
                instance = await runtime.instances.get(doc.domain)
                saved[doc.prefix] = await _save(runtime, instance, folder)
            except NotFound:
                continue  # removed meanwhile; the registry is copied again
            say(f"{doc.domain}: {saved[doc.prefix].contents} large contents, {saved[doc.prefix].bytes} bytes")
        if not missing and not gone:
            break
    await asyncio.to_thread(_finish, folder, runtime.folder, set(saved))
    manifest.instances = sorted(saved.values(), key=lambda one: one.domain)
    manifest.finished_at = clock.timestamp()
    await asyncio.to_thread(write_manifest, folder, manifest)
    return manifest


def read_manifest(folder: Path) -> Manifest | None:
    """What a folder says of itself as a backup, None when it is none."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
        return None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Say of a folder that it is a backup, in one step."""
    part = folder / f"{MANIFEST}.part"
    with part.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / MANIFEST)


async def _save(runtime: Runtime, instance: Instance, folder: Path) -> Saved:
    """Copy one instance: its database, then the contents that it names there."""
    database = await asyncio.to_thread(_database, folder, instance.prefix)
    target = LocalBlobStores(folder).of(instance.prefix)
    source = runtime.blobs.of(instance.doc.store_name)
    saved = Saved(instance.domain, instance.prefix, 0, 0)
    async with spare(instance):
        await instance.store.backup(str(database))
        named: set[str] = set()
        async for content in contents_of(database):
            named.add(content.sha256)
            if not await _is_there(target, content) and not await copy_content(source, target, content):
                saved.damaged.append(content.sha256)
                log.warning("a content is damaged", instance=instance.domain, sha256=content.sha256)
                continue
            saved.contents += 1
            saved.bytes += content.size
    async for sha256 in target.list():
        if sha256 not in named:
            await target.delete(sha256, untouched_since=float("inf"))
    return saved


async def contents_of(database: Path) -> AsyncIterator[Content]:
    """The contents that the database of a backup names and that are kept beside it."""
    after = ""
    while page := await asyncio.to_thread(large_contents, str(database), after):
        for content in page:
            yield content
        after = page[-1].sha256


async def copy_content(source: BlobStore, target: BlobStore, content: Content) -> bool:
    """Copy bytes from one store to another; False when they are not there, or not what their name says."""
    digest, upload = hashlib.sha256(), await target.begin()
    try:
        async for piece in source.read(content.sha256):
            await asyncio.to_thread(digest.update, piece)
            await upload.write(piece)
        if digest.hexdigest() != content.sha256:
            return False
        await upload.finish(content)
    except NotFound:
        return False
    finally:
        await upload.abort()
    return True


async def _is_there(blobs: BlobStore, content: Content) -> bool:
    try:
        return await blobs.size(content.sha256) == content.size
    except NotFound:
        return False


def _prepare(folder: Path, data: Path) -> Manifest | None:
    """Make the folder ready; gives what it said of itself before. Raises Conflict."""
    if folder.resolve() == data.resolve() or data.resolve() in folder.resolve().parents:
        raise Conflict("A backup does not go into the data folder itself")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    former = read_manifest(folder)
    if former is None and any(folder.iterdir()):
        raise Conflict(f"{folder} is neither empty nor a backup")
    return former


def _database(folder: Path, name: str) -> Path:
    (folder / name).mkdir(mode=0o700, exist_ok=True)
    return folder / name / FILE


def _finish(folder: Path, data: Path, prefixes: set[str]) -> None:
    """Copy the kept mails, and remove what a former backup had of instances that are gone."""
    for left in folder.iterdir():
        if left.is_dir() and left.name not in {REGISTRY, MAILS, *prefixes}:
            shutil.rmtree(left)
    shutil.rmtree(folder / MAILS, ignore_errors=True)
    if (data / MAILS).is_dir():
        shutil.copytree(data / MAILS, folder / MAILS, ignore_dangling_symlinks=True)
