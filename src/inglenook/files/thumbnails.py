"""Small pictures of pictures and of PDF files: made from the content, kept beside it (spec/02 §15.9, §21).

A thumbnail is a content held under `io.cozy.files.thumbnails` and `<file id>/<format>`; what cannot be read has an
empty one, which says not to try again. `background.FileWork` makes those of new contents, and a request for a missing
one asks for it (`wish`); nobody waits.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import pack
from weakref import WeakKeyDictionary

import structlog

from inglenook.files import rendering
from inglenook.files.documents import FILES, Item
from inglenook.files.present import THUMBNAIL_FORMATS, has_thumbnails
from inglenook.files.scratch import scratch_folder
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import DomainError
from inglenook.storage.announcements import announce
from inglenook.storage.contents import Received
from inglenook.storage.documents.contract import Change, Content, Reader, Writer

THUMBNAILS = "io.cozy.files.thumbnails"
MOST_BYTES = 100 * 1024 * 1024
MOST_PHOTOSHOP_BYTES = 5 * 1024 * 1024
PHOTOSHOP = "image/vnd.adobe.photoshop"

log = structlog.get_logger("inglenook.files")


@dataclass(frozen=True, slots=True)
class Format:
    """The box that a thumbnail fits in, in pixels, its JPEG quality, and whether small pictures are enlarged."""

    width: int
    height: int
    quality: int
    enlarge: bool = False


FORMATS = {
    "tiny": Format(96, 96, 99, enlarge=True),
    "small": Format(640, 480, 82),
    "medium": Format(1280, 720, 82),
    "large": Format(1920, 1080, 82),
}
OF_PDF = ("tiny",)
"""The formats that a new PDF gets; the others are made when somebody asks for them."""

_places: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()
_under_way: dict[tuple[str, str], asyncio.Event] = {}
_wishes: dict[tuple[str, str, str], asyncio.Task[None]] = {}


def thumbnail(view: Reader, file_id: str, format: str) -> Content | None:
    """The thumbnail of a file, empty when none can be made; None when none was made yet."""
    return view.content(THUMBNAILS, f"{file_id}/{format}")


def can_have(item: Item) -> bool:
    """Whether thumbnails can be made of a file."""
    if not item.is_file or not has_thumbnails(item) or item.trashed:
        return False
    return item.size < (MOST_PHOTOSHOP_BYTES if item.mime == PHOTOSHOP else MOST_BYTES)


def missing(view: Reader, item: Item) -> list[str]:
    """The formats that a file should have and has not."""
    if not can_have(item):
        return []
    wanted = OF_PDF if item.klass == "pdf" else THUMBNAIL_FORMATS
    return [format for format in wanted if thumbnail(view, item.id, format) is None]


def wish(instance: Instance, item: Item, format: str) -> None:
    """Ask for a thumbnail that is missing; of a picture all formats are made."""
    formats = [format] if item.klass == "pdf" else list(THUMBNAIL_FORMATS)
    key = (instance.prefix, item.id, format)
    if key not in _wishes:
        task = asyncio.get_running_loop().create_task(_granted(instance, item, formats), name=f"thumbnails {item.id}")
        _wishes[key] = task
        task.add_done_callback(lambda _: _wishes.pop(key, None) and None)


async def _granted(instance: Instance, item: Item, formats: Sequence[str]) -> None:
    try:
        await make_thumbnails(instance, item, formats)
    except (DomainError, OSError, rendering.Interrupted) as error:
        log.warning("a thumbnail was not made", instance=instance.domain, file=item.id, cause=str(error))


async def make_thumbnails(instance: Instance, item: Item, formats: Sequence[str]) -> None:
    """Make those of some thumbnails that a file has not; an empty one where the content cannot be read.

    Who asks while the same file is being drawn waits for that. Nothing is kept when the file has changed meanwhile.
    Raises OSError (no room for the copy that is read), `rendering.Interrupted` when the server stops."""
    key = (instance.prefix, item.id)
    while (other := _under_way.get(key)) is not None:
        await other.wait()
    ready = _under_way[key] = asyncio.Event()
    try:
        await _make(instance, item, formats)
    finally:
        del _under_way[key]
        ready.set()


async def _make(instance: Instance, item: Item, formats: Sequence[str]) -> None:
    def read(view: Reader) -> tuple[Content | None, list[str]]:
        lacking = [format for format in formats if thumbnail(view, item.id, format) is None]
        return view.content(FILES, item.id), lacking

    content, lacking = await instance.store.read(read)
    if content is None or not lacking:
        return
    async with _places.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(2 * rendering.AT_ONCE)):
        made = await _draw(instance, item, content, lacking)
    received = {format: await instance.contents.receive(_once(made.get(format, b""))) for format in lacking}

    now = instance.env.clock.now()

    def write(tx: Writer) -> None:
        if tx.content(FILES, item.id) == content:
            keep_thumbnails(tx, item.id, received)
            for format in made:
                announce(tx, now, "CREATED", THUMBNAILS, item.id, {"format": format})

    await instance.store.write(write)


async def _draw(instance: Instance, item: Item, content: Content, formats: Sequence[str]) -> dict[str, bytes]:
    """The JPEG bytes of each format, drawn from a copy on disk; empty when the content cannot be read."""
    with scratch_folder(instance.env, "thumbnails-") as folder:
        await copy_to(instance, content, folder / "source")
        largest_first = [format for format in reversed(THUMBNAIL_FORMATS) if format in formats]
        boxes = [_box(format, folder) for format in largest_first]
        order = rendering.Order(str(folder / "source"), item.klass == "pdf", boxes)
        try:
            await rendering.run(order)
        except rendering.Unreadable as error:
            log.info("no thumbnails", instance=instance.domain, file=item.id, cause=str(error))
            return {}
        return {format: await asyncio.to_thread((folder / format).read_bytes) for format in formats}


def _box(format: str, folder: Path) -> rendering.Box:
    shape = FORMATS[format]
    return rendering.Box(shape.width, shape.height, shape.quality, shape.enlarge, str(folder / format))


async def copy_to(instance: Instance, content: Content, target: Path) -> None:
    """Write a content into a file of the disk, piece by piece."""
    with target.open("wb") as copy:
        async for piece in instance.contents.read(content):
            await asyncio.to_thread(copy.write, piece)


def keep_thumbnails(tx: Writer, file_id: str, received: dict[str, Received]) -> None:
    """Keep the thumbnails of a file."""
    for format, content in received.items():
        content.hold(tx, THUMBNAILS, f"{file_id}/{format}")


def forget_old(tx: Writer, change: Change) -> None:
    """Forget the thumbnails of a file whose content has changed or gone (a hook of the document store)."""
    old, new = change.old, change.new
    if new.doctype != FILES or old is None or old.body.get("class") not in ("image", "pdf"):
        return
    if new.deleted or any(new.body.get(member) != old.body.get(member) for member in ("md5sum", "class")):
        for format in THUMBNAIL_FORMATS:
            tx.release(THUMBNAILS, f"{new.id}/{format}")


def placeholder(format: str) -> bytes:
    """A PNG to show where a thumbnail is not there yet: a light grey rectangle of a quarter of its box."""
    box = FORMATS[format]
    width, height = box.width // 4, box.height // 4
    rows = (b"\0" + b"\xee" * width) * height
    header = pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
