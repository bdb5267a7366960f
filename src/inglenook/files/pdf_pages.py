"""One page of a PDF as a PDF of its own, for downloads and archives (spec/02 §15.1, §15.7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import BinaryIO

from inglenook.files import rendering
from inglenook.files.documents import Item
from inglenook.files.scratch import scratch_folder
from inglenook.files.thumbnails import copy_to
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import InvalidParameter, Unavailable
from inglenook.kernel.names import split_extension
from inglenook.storage.documents.contract import Content

PDF = "application/pdf"
PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Page:
    """A page that was taken out: its size in bytes, and the open file with it, which nothing names any more."""

    size: int
    file: BinaryIO

    async def pieces(self) -> AsyncIterator[bytes]:
        """Its bytes, once."""
        with self.file:
            while piece := await asyncio.to_thread(self.file.read, PIECE):
                yield piece


def asked_page(value: str, item: Item) -> int:
    """The page that a query names; 0: none. Raises InvalidParameter (no number, or the file is no PDF)."""
    if not value:
        return 0
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise InvalidParameter(f"Page is not a number: {value}", parameter="Page")
    if not is_pdf(item):
        raise InvalidParameter("The file is not a PDF", parameter="Page")
    if int(value) == 0:
        raise InvalidParameter("The first page is 1", parameter="Page")
    return int(value)


def is_pdf(item: Item) -> bool:
    """Whether a file can have pages."""
    return item.is_file and item.mime == PDF


def page_name(name: str, page: int) -> str:
    """The name of a page in an archive: `report (3).pdf`."""
    base, extension = split_extension(name)
    return f"{base} ({page}){extension}"


async def take_page(instance: Instance, content: Content, page: int) -> Page:
    """Take a page (1 is the first) out of the content of a PDF.

    Raises InvalidParameter (no such page, or the file cannot be read), NotFound (the content is lost), Unavailable
    (the server stops)."""
    with scratch_folder(instance.env, "page-") as folder:
        await copy_to(instance, content, folder / "source")
        order = rendering.Order(str(folder / "source"), is_pdf=True, page=page, target=str(folder / "page"))
        try:
            await rendering.run(order)
        except rendering.Unreadable as error:
            raise InvalidParameter(f"The page cannot be taken out: {error}", parameter="Page") from error
        except rendering.Interrupted as error:
            raise Unavailable("The server stops") from error
        return Page((folder / "page").stat().st_size, (folder / "page").open("rb"))
