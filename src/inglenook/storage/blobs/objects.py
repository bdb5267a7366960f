"""Blobs in an object store (S3 and its kin), for any number of processes (docs/decisions/0010).

An object store cannot rename, and nobody knows the name of a content before its last byte has come in. So the bytes are
an object of their own, and what names them is an empty object beside them:

    <instance>/data/<id>                                     the bytes
    <instance>/blobs/<sha256>/<id>.<size>.<moment>.<nonce>    they have this SHA-256, and were put or named then
    <instance>/blobs/<sha256>/<id>.leaving                   the collector is removing them
    <instance>/uploads/<moment>.<id>                         somebody is sending them

Nothing is ever changed, only added and removed, and an object store shows at once what was added. Who names bytes again
first adds a stamp, then looks whether they are leaving; the collector first marks them as leaving, then looks for a new
stamp. So one of the two sees the other, and bytes that a document names are never removed.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import MemoryStore, ObjectStore, S3Store

from inglenook.environment import Environment
from inglenook.kernel.errors import NotFound, Unavailable
from inglenook.storage.documents.contract import Content

if TYPE_CHECKING:
    from obstore.store import S3Config

PIECE = 256 * 1024  # bytes given at a time by `read`
PART = 8 * 1024 * 1024  # bytes sent at a time
PARTS_AT_ONCE = 2  # of one upload, in memory
PAGE = 1000  # objects listed or removed at a time
SHA256 = re.compile(r"[0-9a-f]{64}")
LEAVING = "leaving"


class ObjectBlobStores:
    """The blobs of all instances in a bucket.

    `url` is `s3://bucket/prefix?endpoint=…&region=…&access_key_id=…&secret_access_key=…` (what is not given comes from
    the usual variables `AWS_…`), or `memory://` for tests."""

    def __init__(self, url: str, env: Environment) -> None:
        self._objects, self._prefix = _open(url)
        self._bucket = urlsplit(url).netloc
        self._env = env

    def of(self, name: str) -> ObjectBlobs:
        """The blobs of an instance, named by its database prefix."""
        if not name or name[0] == "." or "/" in name or "\0" in name:
            raise ValueError(f"Not a name of a store: {name!r}")
        return ObjectBlobs(self._objects, f"{self._prefix}{name}/", self._env)

    def present(self, name: str, sha256: str) -> bool:
        """Whether the bytes are there; if so, they count as put just now (the `blob_present` of `PostgresStores`).

        Waits for the object store: not for the event loop."""
        return self.of(name).keep(sha256)

    async def try_out(self) -> str:
        """Write, read and remove a small object; gives the name of the place. Raises Unavailable, NotFound."""
        path = f"{self._prefix}probe/{self._env.random.document_id()}"
        with _storage_errors():
            await obstore.put_async(self._objects, path, b"probe")
            await (await obstore.get_async(self._objects, path)).bytes_async()
            await obstore.delete_async(self._objects, path)
        return f"{self._bucket}/{self._prefix}".rstrip("/")


@dataclass(frozen=True, slots=True)
class Stamp:
    """One moment at which bytes were put or named; `place` is the object that says so, `moment` in microseconds."""

    place: str
    id: str
    size: int
    moment: int


@dataclass(frozen=True, slots=True)
class Found:
    """What the object store says of a SHA-256."""

    stamps: tuple[Stamp, ...]
    leaving: frozenset[str]

    @property
    def staying(self) -> list[Stamp]:
        """The stamps of bytes that nobody is removing."""
        return [stamp for stamp in self.stamps if stamp.id not in self.leaving]


class ObjectBlobs:
    """The blobs of one instance (see `BlobStore` of the contract)."""

    def __init__(self, objects: ObjectStore, root: str, env: Environment) -> None:
        self._objects = objects
        self._root = root
        self._env = env

    async def begin(self) -> ObjectUpload:
        id = self._env.random.document_id()
        marker = f"{self._root}uploads/{self._now()}.{id}"
        with _storage_errors():
            await obstore.put_async(self._objects, marker, b"")
        return ObjectUpload(self, self._objects, id, self.data(id), marker)

    async def exists(self, sha256: str) -> bool:
        return bool((await self._find(sha256)).staying)

    async def read(self, sha256: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        stamp = await self._one(sha256)
        stop = stamp.size if end is None else min(end, stamp.size)
        if start >= stop:
            return
        with _storage_errors():
            answer = await obstore.get_async(self._objects, self.data(stamp.id), options={"range": (start, stop)})
            async for chunk in answer.stream(min_chunk_size=PIECE):
                view = memoryview(chunk)
                for at in range(0, len(view), PIECE):
                    yield bytes(view[at : at + PIECE])

    async def size(self, sha256: str) -> int:
        return (await self._one(sha256)).size

    async def delete(self, sha256: str, *, untouched_since: float) -> bool:
        found = await self._find(sha256)
        if not found.stamps or any(stamp.moment > _microseconds(untouched_since) for stamp in found.stamps):
            return False
        places = {stamp.place for stamp in found.stamps}
        ids = {stamp.id for stamp in found.stamps}
        marks = [f"{self._blob(sha256)}{id}.{LEAVING}" for id in ids]
        with _storage_errors():
            for mark in marks:
                await obstore.put_async(self._objects, mark, b"")
            again = await self._find(sha256)
            if any(stamp.place not in places for stamp in again.stamps):
                await self._remove(marks)
                return False
            await self._remove([*(self.data(id) for id in ids), *places])
            await self._remove(marks)  # last: until here they tell who names the bytes again that they are going
        return True

    async def list(self) -> AsyncIterator[str]:
        last = ""
        async for path in self._paths("blobs/"):
            sha256 = path.removeprefix(f"{self._root}blobs/").partition("/")[0]
            if sha256 != last:
                yield sha256
            last = sha256

    async def sweep(self, *, before: float) -> int:
        left: dict[str, str] = {}
        async for path in self._paths("uploads/"):
            moment, _, id = path.rpartition("/")[2].partition(".")
            if int(moment) < _microseconds(before):
                left[id] = path
        if not left:
            return 0
        named = {stamp.id async for path in self._paths("blobs/") if (stamp := _stamp(path)) is not None}
        orphans = [id for id in left if id not in named]
        await self._remove(self.data(id) for id in orphans)
        await self._remove(left.values())
        return len(orphans)

    async def destroy(self) -> None:
        paths = [path async for path in self._paths("")]
        await self._remove(paths)

    def keep(self, sha256: str) -> bool:
        """Whether the bytes are there; if so, they count as put just now. Waits: not for the event loop."""
        if SHA256.fullmatch(sha256) is None:
            return False
        with _storage_errors():
            found = _found(obstore.list(self._objects, self._blob(sha256), chunk_size=PAGE))
            for stamp in found.staying[-1:]:
                renewed = self.stamp(sha256, stamp.id, stamp.size)
                obstore.put(self._objects, renewed, b"")
                again = _found(obstore.list(self._objects, self._blob(sha256), chunk_size=PAGE))
                if any(other.place == stamp.place for other in again.staying):
                    return True
                _delete(self._objects, [renewed])
        return False

    # -- for uploads

    async def touch(self, sha256: str) -> bool:
        """`keep` on the event loop."""
        with _storage_errors():
            found = await self._find(sha256)
            for stamp in found.staying[-1:]:
                renewed = self.stamp(sha256, stamp.id, stamp.size)
                await obstore.put_async(self._objects, renewed, b"")
                again = await self._find(sha256)
                if any(other.place == stamp.place for other in again.staying):
                    return True
                await self._remove([renewed])
        return False

    def stamp(self, sha256: str, id: str, size: int) -> str:
        """The object that says: these bytes have this SHA-256, and were put or named now."""
        return f"{self._blob(sha256)}{id}.{size}.{self._now()}.{self._env.random.bytes(4).hex()}"

    def data(self, id: str) -> str:
        """The object with the bytes."""
        return f"{self._root}data/{id}"

    # -- objects

    def _blob(self, sha256: str) -> str:
        return f"{self._root}blobs/{sha256}/"

    def _now(self) -> int:
        return _microseconds(self._env.clock.now().timestamp())

    async def _one(self, sha256: str) -> Stamp:
        staying = (await self._find(sha256)).staying
        if not staying:
            raise NotFound("The content is not here")
        return staying[-1]

    async def _find(self, sha256: str) -> Found:
        if SHA256.fullmatch(sha256) is None:
            return Found((), frozenset())
        paths = [path async for path in self._paths(f"blobs/{sha256}/")]
        return _sorted_out(paths)

    async def _paths(self, below: str) -> AsyncIterator[str]:
        with _storage_errors():
            async for page in obstore.list(self._objects, self._root + below, chunk_size=PAGE):
                for meta in page:
                    yield meta["path"]

    async def _remove(self, paths: Iterable[str]) -> None:
        all_paths = [*paths]
        with _storage_errors():
            for at in range(0, len(all_paths), PAGE):
                await obstore.delete_async(self._objects, all_paths[at : at + PAGE])


class ObjectUpload:
    """A content on its way in. Its object is seen by nobody before it is whole; its name is given to it at the end."""

    def __init__(self, blobs: ObjectBlobs, objects: ObjectStore, id: str, path: str, marker: str) -> None:
        self._blobs = blobs
        self._objects = objects
        self._id = id
        self._path = path
        self._marker = marker
        self._over = False
        self._writer = obstore.open_writer_async(objects, path, buffer_size=PART, max_concurrency=PARTS_AT_ONCE)

    async def write(self, data: bytes) -> None:
        with _storage_errors():
            await self._writer.write(data)

    async def finish(self, content: Content) -> None:
        if await self._blobs.touch(content.sha256):
            await self.abort()
            return
        with _storage_errors():
            await self._writer.close()
            stamp = self._blobs.stamp(content.sha256, self._id, content.size)
            await obstore.put_async(self._objects, stamp, b"")
            self._over = True
            await obstore.delete_async(self._objects, self._marker)

    async def abort(self) -> None:
        if self._over:
            return
        self._over = True
        with _storage_errors():
            if not await self._writer.closed():
                await self._writer.close()  # what was begun in parts ends only so
            await obstore.delete_async(self._objects, [self._path, self._marker])


def _open(url: str) -> tuple[ObjectStore, str]:
    parts = urlsplit(url)
    if parts.scheme == "memory":
        return MemoryStore(), ""
    options = dict(parse_qsl(parts.query))
    endpoint = options.get("endpoint", "")
    config = cast("S3Config", options)
    with _storage_errors():
        store = S3Store(parts.netloc, config=config, client_options={"allow_http": endpoint.startswith("http://")})
    folder = unquote(parts.path).strip("/")
    return store, f"{folder}/" if folder else ""


def _stamp(path: str) -> Stamp | None:
    id, _, rest = path.rpartition("/")[2].partition(".")
    if rest == LEAVING:
        return None
    size, moment, _ = rest.split(".")
    return Stamp(path, id, int(size), int(moment))


def _found(pages: Iterable[Any]) -> Found:
    return _sorted_out(meta["path"] for page in pages for meta in page)


def _sorted_out(paths: Iterable[str]) -> Found:
    stamps: list[Stamp] = []
    leaving: set[str] = set()
    for path in paths:
        stamp = _stamp(path)
        if stamp is None:
            leaving.add(path.rpartition("/")[2].partition(".")[0])
        else:
            stamps.append(stamp)
    return Found(tuple(sorted(stamps, key=lambda stamp: stamp.moment)), frozenset(leaving))


def _delete(objects: ObjectStore, paths: list[str]) -> None:
    obstore.delete(objects, paths)


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)


@contextmanager
def _storage_errors() -> Generator[None]:
    """Tell the caller of a store what a fault of the object store means. Raises NotFound, Unavailable."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound("The content is not here") from error
    except (BaseError, OSError) as error:
        raise Unavailable(f"The object store is out of reach: {error}") from error
