"""Small pictures of pictures: made from the content, kept beside it (spec/02 §15.9, §21).

A thumbnail is a content held under `io.cozy.files.thumbnails` and `<file id>/<format>`; a picture that cannot be
read has an empty one, which says not to try again. They are made in a thread, two at a time, from a copy on disk.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
import zlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from struct import pack

from PIL import Image, ImageOps

from inglenook.files.documents import FILES, Item
from inglenook.files.present import THUMBNAIL_FORMATS
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import NotFound
from inglenook.storage.contents import Received
from inglenook.storage.documents.contract import Change, Content, Reader, Writer

THUMBNAILS = "io.cozy.files.thumbnails"
MOST_BYTES = 100 * 1024 * 1024
MOST_PHOTOSHOP_BYTES = 5 * 1024 * 1024
PHOTOSHOP = "image/vnd.adobe.photoshop"


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

_workers = ThreadPoolExecutor(2, "thumbnails")
_under_way: dict[tuple[str, str], asyncio.Task[bool]] = {}


def thumbnail(view: Reader, file_id: str, format: str) -> Content | None:
    """The thumbnail of a file, empty when none can be made; None when none was made yet."""
    return view.content(THUMBNAILS, f"{file_id}/{format}")


def can_have(item: Item) -> bool:
    """Whether thumbnails can be made of a file."""
    if item.klass != "image" or item.trashed:
        return False
    return item.size < (MOST_PHOTOSHOP_BYTES if item.mime == PHOTOSHOP else MOST_BYTES)


async def make_thumbnails(instance: Instance, item: Item) -> bool:
    """Make all thumbnails of a file that can have them; False when the picture cannot be read.

    Those who ask at the same time wait for the same work. Nothing is kept when the file has changed meanwhile.
    Raises NotFound when the storage has lost the content."""
    key = (instance.prefix, item.id)
    task = _under_way.get(key)
    if task is None:
        task = asyncio.get_running_loop().create_task(_make(instance, item), name=f"thumbnails of {item.id}")
        _under_way[key] = task
        task.add_done_callback(lambda _: _under_way.pop(key, None))
    return await asyncio.shield(task)


async def _make(instance: Instance, item: Item) -> bool:
    content = await instance.store.read(lambda view: view.content(FILES, item.id))
    if content is None:
        raise NotFound("file does not exist")
    with tempfile.NamedTemporaryFile(prefix="thumbnail-") as copy:
        async for piece in instance.contents.read(content):
            await asyncio.to_thread(copy.write, piece)
        await asyncio.to_thread(copy.flush)
        made = await asyncio.get_running_loop().run_in_executor(_workers, render_all, Path(copy.name))
    received = {format: await instance.contents.receive(_once(made.get(format, b""))) for format in THUMBNAIL_FORMATS}

    def write(tx: Writer) -> None:
        if tx.content(FILES, item.id) == content:
            keep_thumbnails(tx, item.id, received)

    await instance.store.write(write)
    return bool(made)


def keep_thumbnails(tx: Writer, file_id: str, received: dict[str, Received]) -> None:
    """Keep the thumbnails of a file."""
    for format, content in received.items():
        content.hold(tx, THUMBNAILS, f"{file_id}/{format}")


def forget_old(tx: Writer, change: Change) -> None:
    """Forget the thumbnails of a file whose content has changed or gone (a hook of the document store)."""
    old, new = change.old, change.new
    if new.doctype != FILES or old is None or old.body.get("class") != "image":
        return
    if new.deleted or new.body.get("md5sum") != old.body.get("md5sum"):
        for format in THUMBNAIL_FORMATS:
            tx.release(THUMBNAILS, f"{new.id}/{format}")


def render_all(path: Path) -> dict[str, bytes]:
    """The JPEG bytes of each format, each made from the next larger one; empty when the picture cannot be read."""
    try:
        with Image.open(path) as opened:
            opened.draft("RGB", (FORMATS["large"].width, FORMATS["large"].height))
            picture = _upright_on_white(opened)
    except (OSError, ValueError, SyntaxError, TypeError, EOFError, zlib.error, Image.DecompressionBombError):
        return {}
    made: dict[str, bytes] = {}
    original = picture.size
    for name in reversed(THUMBNAIL_FORMATS):
        size = fitted_size(original, FORMATS[name])
        picture = picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)
        sink = io.BytesIO()
        picture.save(sink, "JPEG", quality=FORMATS[name].quality)
        made[name] = sink.getvalue()
    return made


def fitted_size(size: tuple[int, int], box: Format) -> tuple[int, int]:
    """The size of a picture in a box, in pixels."""
    width, height = size
    scale = min(box.width / width, box.height / height)
    if scale >= 1 and not box.enlarge:
        return size
    return max(1, round(width * scale)), max(1, round(height * scale))


def placeholder(format: str) -> bytes:
    """A PNG to show where a thumbnail is not there yet: a light grey rectangle of a quarter of its box."""
    box = FORMATS[format]
    width, height = box.width // 4, box.height // 4
    rows = (b"\0" + b"\xee" * width) * height
    header = pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _upright_on_white(opened: Image.Image) -> Image.Image:
    picture = ImageOps.exif_transpose(opened)
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        white.alpha_composite(layer)
        return white.convert("RGB")
    return picture.convert("RGB")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
