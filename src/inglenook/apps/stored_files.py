"""The files of installed apps: contents that are held under the name of the app, never files on the disk.

Each installation or update stores a *generation* of files in small transactions, beside the one in use; a single
transaction then makes the new one current. A crash in between leaves a generation that nothing names as current,
and a note of it, by which the next opening of the instance removes it.

Holders have a doctype that no document can have, and the id `<slug>/<generation>/<form><path>`.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inglenook.apps.sources import MAX_FILES, Package
from inglenook.kernel.errors import TooLarge
from inglenook.kernel.mime import DEFAULT, mime_of_name
from inglenook.storage.contents import Received
from inglenook.storage.documents.contract import Content, Reader, Writer

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

HOLDERS = "io.cozy.apps/files"
"""No name of a doctype (it has a slash), so nobody can drop the holders through the data API."""

CURRENT = "app-current"
"""Records: slug to the generation in use."""
BATCHES = "app-files"
"""Records: `<slug>/<generation>/<number>` to the ids of some holders of it."""
STAGED = "app-staged"
"""Records: `<slug>/<generation>` of a generation that is being stored."""

MAX_FILE = 256 * 1024 * 1024
MAX_TOTAL = 1024 * 1024 * 1024
MAX_COMPRESSED = 16 * 1024 * 1024  # bytes; larger texts are sent as they are
_COMPRESS_FROM = 1024
_BATCH_FILES = 100
_BATCH_BYTES = 4 * 1024 * 1024
_PAGE = 50

PLAIN = "plain"
GZIP = "gzip"


@dataclass(frozen=True, slots=True)
class Found:
    """A stored file: its content and, when it was worth it, the same compressed."""

    content: Content
    gzip: Content | None


def announce(tx: Writer, instance: Instance, slug: str) -> str:
    """Name a new generation that is going to be stored, so that it is removed if that never ends."""
    generation = instance.env.random.bytes(8).hex()
    tx.put_record(STAGED, f"{slug}/{generation}", {})
    return generation


async def stage(instance: Instance, slug: str, generation: str, package: Package) -> str:
    """Store the files of a package as an announced generation; gives the SHA-256 over all files.

    Nothing is left of it when this fails. Raises TooLarge, and what the package raises."""
    name = f"{slug}/{generation}"
    batch = _Batch(instance, name)
    digest = hashlib.sha256()
    seen: dict[str, str] = {}
    total = 0
    try:
        async for file in package.files():
            received = await instance.contents.receive(file.chunks, max_bytes=MAX_FILE)
            seen[file.path] = received.content.sha256
            total += received.size
            await batch.add(f"{name}/{PLAIN}{file.path}", received)
            if total > MAX_TOTAL or len(seen) > MAX_FILES:
                raise TooLarge("The app is too large")
            if _COMPRESS_FROM <= received.size <= MAX_COMPRESSED and _is_text(file.path):
                pressed = await instance.contents.receive(_gzip(instance, received))
                await batch.add(f"{name}/{GZIP}{file.path}", pressed)
        await batch.write()
    except BaseException:
        await batch.abandon()
        await drop(instance, slug, generation)
        raise
    for path in sorted(seen):
        digest.update(f"{path}\0{seen[path]}\n".encode())
    return digest.hexdigest()


def make_current(tx: Writer, slug: str, generation: str) -> str:
    """Serve a stored generation from now on; gives the name of the former one, empty when there was none."""
    former = current(tx, slug)
    tx.put_record(CURRENT, slug, generation)
    tx.delete_record(STAGED, f"{slug}/{generation}")
    if former:
        tx.put_record(STAGED, f"{slug}/{former}", {})  # to be removed, also after a crash
    return former


def forget_current(tx: Writer, slug: str) -> str:
    """Serve no files of an app any more; gives the name of the generation to drop, empty when there was none."""
    former = current(tx, slug)
    tx.delete_record(CURRENT, slug)
    if former:
        tx.put_record(STAGED, f"{slug}/{former}", {})
    return former


def current(view: Reader, slug: str) -> str:
    """The generation in use, empty when there is none."""
    record = view.record(CURRENT, slug)
    return str(record.body) if record is not None else ""


def look_up(view: Reader, slug: str, path: str) -> Found | None:
    """A file in use by its path (`/index.html`), None when there is none."""
    generation = current(view, slug)
    content = view.content(HOLDERS, f"{slug}/{generation}/{PLAIN}{path}") if generation else None
    if content is None:
        return None
    return Found(content, view.content(HOLDERS, f"{slug}/{generation}/{GZIP}{path}"))


def paths_after(view: Reader, slug: str, after: str, limit: int = 20) -> tuple[list[str], str]:
    """Some paths of the files in use, and where to go on (empty: at the end)."""
    generation = current(view, slug)
    if not generation:
        return [], ""
    prefix = f"{slug}/{generation}/"
    found = view.records(BATCHES, start=after or prefix, end=f"{slug}/{generation}0", limit=limit)
    paths = [
        id.removeprefix(prefix + PLAIN) for record in found for id in _ids(record.body) if id.startswith(prefix + PLAIN)
    ]
    return paths, found[-1].id + "\0" if len(found) == limit else ""


async def drop(instance: Instance, slug: str, generation: str) -> None:
    """Let go of all files of a generation, in short transactions."""
    name = f"{slug}/{generation}"

    def release_some(tx: Writer) -> bool:
        found = tx.records(BATCHES, start=f"{name}/", end=f"{name}0", limit=_PAGE)
        for record in found:
            for id in _ids(record.body):
                tx.release(HOLDERS, id)
            tx.delete_record(BATCHES, record.id)
        if len(found) < _PAGE:
            tx.delete_record(STAGED, name)
        return len(found) == _PAGE

    while await instance.store.write(release_some):
        pass


async def drop_abandoned(instance: Instance) -> None:
    """Remove the generations that a crash left behind. Nothing may be storing one meanwhile."""
    while found := await instance.store.read(lambda view: view.records(STAGED, limit=_PAGE)):
        for record in found:
            slug, _, generation = record.id.partition("/")
            await drop(instance, slug, generation)


class _Batch:
    """Received files that wait to be held together."""

    def __init__(self, instance: Instance, name: str) -> None:
        self._instance = instance
        self._name = name
        self._waiting: list[tuple[str, Received]] = []
        self._bytes = 0
        self._number = 0

    async def add(self, id: str, received: Received) -> None:
        self._waiting.append((id, received))
        self._bytes += len(received.data or b"")
        if len(self._waiting) >= _BATCH_FILES or self._bytes >= _BATCH_BYTES:
            await self.write()

    async def write(self) -> None:
        waiting, number = self._waiting, self._number
        if not waiting:
            return

        def hold(tx: Writer) -> None:
            tx.put_record(BATCHES, f"{self._name}/{number:06d}", [id for id, _ in waiting])
            for id, received in waiting:
                received.hold(tx, HOLDERS, id)

        await self._instance.store.write(hold)
        self._waiting, self._bytes, self._number = [], 0, number + 1

    async def abandon(self) -> None:
        for _, received in self._waiting:
            await self._instance.contents.discard(received)
        self._waiting = []


async def _gzip(instance: Instance, received: Received) -> AsyncIterator[bytes]:
    press = zlib.compressobj(6, zlib.DEFLATED, 31)
    if received.data is not None:
        yield press.compress(received.data) + press.flush()
        return
    async for chunk in instance.contents.read(received.content):
        yield press.compress(chunk)
    yield press.flush()


def mime_of(path: str) -> str:
    """The Content-Type of a file of an app."""
    name = path.rpartition("/")[2]
    mime = _WEB_TYPES.get(name.rpartition(".")[2].lower()) or mime_of_name(name)
    return f"{mime}; charset=utf-8" if mime.startswith("text/") or mime == "application/json" else mime


_WEB_TYPES = {
    "eot": "application/vnd.ms-fontobject", "ico": "image/x-icon", "map": "application/json", "otf": "font/otf",
    "ttf": "font/ttf", "webapp": "application/json", "webmanifest": "application/manifest+json",
    "woff": "font/woff", "woff2": "font/woff2",
}  # fmt: skip


def _is_text(path: str) -> bool:
    mime = mime_of(path).partition(";")[0]
    return mime != DEFAULT and (
        mime.startswith("text/")
        or mime.endswith(("json", "xml", "javascript"))
        or mime in ("application/wasm", "font/ttf", "font/otf")
    )


def _ids(body: object) -> list[str]:
    return [str(id) for id in body] if isinstance(body, list) else []
