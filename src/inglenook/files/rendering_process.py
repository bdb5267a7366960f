"""The process that reads pictures and PDF files for the server: what is inside them comes from strangers.

`python -m inglenook.files.rendering_process` reads one order per line from its standard input and answers each with
one line (see `rendering`). A picture that takes too long or too much memory ends this process and not the server,
which starts another one. It knows nothing of instances: it is given files to read and files to write.
"""

from __future__ import annotations

import io
import os
import resource
import signal
import sys
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import pi_heif
import pypdfium2 as pdfium
from PIL import Image, ImageCms, ImageOps

from inglenook.files.rendering import Box, Order, Outcome

MOST_SECONDS = 30
MOST_MEMORY = 2 * 1024 * 1024 * 1024  # bytes of address space (spec/02 §21)
NICENESS = 10
MOST_PIXELS = 250_000_000

UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    MemoryError,
    zlib.error,
    Image.DecompressionBombError,
    ImageCms.PyCMSError,
    pdfium.PdfiumError,
)
"""What libraries raise for a file that they cannot read."""


def main() -> None:
    """Do the orders of standard input until it ends."""
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal; the server tells us by closing the input
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    pi_heif.register_heif_opener()
    encoder, decoder = msgspec.json.Encoder(), msgspec.json.Decoder(Order)
    for line in sys.stdin.buffer:
        order = decoder.decode(line)
        signal.alarm(MOST_SECONDS)  # nobody handles it: it ends the process
        outcome = carry_out(order)
        signal.alarm(0)
        sys.stdout.buffer.write(encoder.encode(outcome) + b"\n")
        sys.stdout.buffer.flush()


def carry_out(order: Order) -> Outcome:
    """Do one order."""
    try:
        if order.page:
            extract_page(Path(order.source), order.page, Path(order.target))
        elif order.is_pdf:
            draw_pdf(Path(order.source), order.boxes)
        else:
            draw_picture(Path(order.source), order.boxes)
    except UNREADABLE as error:
        return Outcome(False, str(error) or type(error).__name__)
    return Outcome(True)


def draw_picture(source: Path, boxes: Sequence[Box]) -> None:
    """The first frame of a picture in each box, each made from the one before."""
    with Image.open(source) as opened:
        largest = boxes[0]
        opened.draft("RGB", (largest.width, largest.height))
        picture = upright_on_white(opened)
    original = picture.size
    for box in boxes:
        size = fitted_size(original, box)
        if size != picture.size:
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        picture.save(box.target, "JPEG", quality=box.quality)


def draw_pdf(source: Path, boxes: Sequence[Box]) -> None:
    """The first page of a PDF in each box."""
    with pdfium.PdfDocument(source) as document:
        page = document[0]
        width, height = page.get_size()
        for box in boxes:
            scale = min(box.width / width, box.height / height)
            picture = page.render(scale=scale).to_pil().convert("RGB")
            picture.thumbnail((box.width, box.height))
            picture.save(box.target, "JPEG", quality=box.quality)


def extract_page(source: Path, page: int, target: Path) -> None:
    """A PDF that has only one page of another one. Raises IndexError when there is no such page."""
    with pdfium.PdfDocument(source) as document, pdfium.PdfDocument.new() as alone:
        if not 0 < page <= len(document):
            raise IndexError(f"There is no page {page}")
        alone.import_pages(document, [page - 1])
        alone.save(target)


def fitted_size(size: tuple[int, int], box: Box) -> tuple[int, int]:
    """The size of a picture in a box, in pixels."""
    width, height = size
    scale = min(box.width / width, box.height / height)
    if scale >= 1 and not box.enlarge:
        return size
    return max(1, round(width * scale)), max(1, round(height * scale))


def upright_on_white(opened: Image.Image) -> Image.Image:
    """A picture as people see it: turned as its EXIF says, in sRGB, without transparency."""
    picture = ImageOps.exif_transpose(opened)
    profile = picture.info.get("icc_profile")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        white.alpha_composite(layer)
        return white.convert("RGB")
    if profile and picture.mode in ("RGB", "CMYK", "L"):
        with suppress(ImageCms.PyCMSError, OSError, ValueError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            turned = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if turned is not None:
                turned.info.pop("icc_profile", None)
                return turned
    return picture.convert("RGB")


if __name__ == "__main__":
    main()
