"""Fetching an export from another server: its document, then its parts, whole (spec/12 §7, §8, §11, §13).

Addresses come from people and from other servers; `peers` judges each of them. What is fetched has a ceiling. A
download that breaks off is taken up again where it stopped.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

import structlog

from inglenook.files.quota import quota_of
from inglenook.kernel.errors import BadRequest, OutOfSpace, PreconditionFailed, TooLarge, UpstreamFailed
from inglenook.moving import exports
from inglenook.moving.checking import ROOM_LEFT
from inglenook.peers.errors import PeerGarbage
from inglenook.peers.peers import TRANSFER

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance
    from inglenook.peers.transport import PeerStream

MOST_MANIFEST = 1024 * 1024
MOST_PARTS = 10_000
PATIENCE = 24 * 3600.0
"""Seconds during which a download is tried again."""

_FIRST_REST = 1.0
_LONGEST_REST = 300.0
_LOOK_AT_DISK_EVERY = 256 * 1024 * 1024

log = structlog.get_logger("inglenook.moving")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the other server says of an export: its parts (cursor of each, the first empty) and sizes in bytes
    (`files_size` -1 when it is not told)."""

    address: str
    cursors: list[str]
    total_size: int
    files_size: int


async def manifest(instance: Instance, link: str) -> Manifest:
    """The document of an export, by its link or by its own address.

    Raises PreconditionFailed (`url`) when it is no link, cannot be fetched or is not done."""
    try:
        address = exports.manifest_address(link)
        answer = await instance.peers.request(
            "GET", address, headers={"Accept": "application/vnd.api+json"}, timeout=30.0, max_body=MOST_MANIFEST
        )
        attributes: Any = answer.json()["data"]["attributes"] if answer.status == 200 else None
    except (UpstreamFailed, BadRequest) as error:
        raise _no_export(error.detail) from error
    except (KeyError, TypeError) as error:
        raise _no_export("The other server does not tell of an export") from error
    if not isinstance(attributes, dict):
        raise _no_export(f"The other server answered {answer.status}")
    if attributes.get("state") != exports.DONE:
        raise _no_export("The export is not done")
    cursors = attributes.get("parts_cursors") or []
    if not isinstance(cursors, list) or len(cursors) > MOST_PARTS or not all(isinstance(one, str) for one in cursors):
        raise _no_export("The other server does not tell of the parts of the export")
    return Manifest(
        address, ["", *cursors], _number(attributes.get("total_size"), 0), _number(attributes.get("files_size"), -1)
    )


def check_quota(instance: Instance, told: Manifest) -> None:
    """Refuse what cannot fit. Raises TooLarge."""
    quota = quota_of(instance)
    if quota and max(told.total_size, told.files_size) > quota:
        raise TooLarge("The export is too big and exceeds the disk quota")


async def parts(instance: Instance, told: Manifest, folder: Path, progress: Callable[[int], None]) -> list[Path]:
    """Fetch all parts into a folder, which may have some already; `progress` is told the bytes that are there.

    Raises UpstreamFailed, TooLarge, OutOfSpace."""
    await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
    quota = quota_of(instance)
    ceiling = 2 * quota + 2 * told.total_size + ROOM_LEFT if quota else 1 << 62
    paths: list[Path] = []
    done = 0
    for number, cursor in enumerate(told.cursors):
        path = folder / f"part{number:05d}.zip"
        url = exports.data_address(told.address) + (f"?cursor={quote(cursor, safe='')}" if cursor else "")
        if not await asyncio.to_thread(path.exists):
            partial = path.with_suffix(".partial")
            await _Download(instance, url, partial, ceiling - done, lambda size, d=done: progress(d + size)).run()
            await asyncio.to_thread(partial.replace, path)
        paths.append(path)
        done += (await asyncio.to_thread(path.stat)).st_size
        progress(done)
    return paths


class _Download:
    """One part on its way to a file."""

    def __init__(self, instance: Instance, url: str, path: Path, most: int, progress: Callable[[int], None]) -> None:
        self._instance = instance
        self._url = url
        self._path = path
        self._most = most
        self._progress = progress
        self._etag = ""
        self._size = 0
        self._looked_at = 0

    async def run(self) -> None:
        clock, random = self._instance.env.clock, self._instance.env.random
        began, rest = clock.monotonic(), _FIRST_REST
        file = await asyncio.to_thread(self._path.open, "wb")
        try:
            while True:
                before = self._size
                try:
                    if await self._try(file):
                        return
                except UpstreamFailed as error:
                    rest = _FIRST_REST if self._size > before else min(rest * 2, _LONGEST_REST)
                    if clock.monotonic() - began + rest > PATIENCE or self._is_final(error):
                        raise
                    log.info("a download is taken up again", cause=error.detail, at=self._size, rest=rest)
                await asyncio.sleep(rest * (0.75 + 0.5 * random.uniform()))
        finally:
            await asyncio.to_thread(file.close)

    def _is_final(self, error: UpstreamFailed) -> bool:
        return isinstance(error, _Refused)

    async def _try(self, file: IO[bytes]) -> bool:
        """Fetch what is missing; True when all is there."""
        headers = {"Accept-Encoding": "identity"}
        if self._size and self._etag:
            headers |= {"Range": f"bytes={self._size}-", "If-Range": self._etag}
        async with self._instance.peers.stream("GET", self._url, headers=headers, timeout=TRANSFER) as stream:
            if stream.status == 206 and stream.headers.get("Content-Range", "").startswith(f"bytes {self._size}-"):
                pass
            elif stream.status == 200:
                await asyncio.to_thread(_empty, file)
                self._size = self._looked_at = 0
                self._etag = stream.headers.get("ETag", "")
            elif stream.status >= 500 or stream.status in (408, 425, 429):
                raise UpstreamFailed(f"The other server answered {stream.status}")
            else:
                raise _Refused(f"The other server answered {stream.status}")
            announced = self._announced(stream)
            async for piece in stream.chunks():
                await self._take(file, piece)
        if announced is not None and self._size < announced:
            raise PeerGarbage("The answer of the other server was cut")
        return True

    def _announced(self, stream: PeerStream) -> int | None:
        length = stream.headers.get("Content-Length", "")
        return self._size + int(length) if length.isascii() and length.isdigit() else None

    async def _take(self, file: IO[bytes], piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._most:
            raise TooLarge("The export is too big and exceeds the disk quota")
        if self._size >= self._looked_at:
            free = (await asyncio.to_thread(shutil.disk_usage, self._path.parent)).free
            if free < ROOM_LEFT + _LOOK_AT_DISK_EVERY:
                raise OutOfSpace("There is no room left for the export")
            self._looked_at = self._size + _LOOK_AT_DISK_EVERY
        await asyncio.to_thread(file.write, piece)
        self._progress(self._size)


class _Refused(UpstreamFailed):
    """The other server will not give the part, however often it is asked."""


def _empty(file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate()


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _no_export(detail: str) -> PreconditionFailed:
    return PreconditionFailed(detail, parameter="url")
