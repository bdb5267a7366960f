"""What an operator can have put right in all files of an instance: media types and thumbnails (spec/03 §16)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from inglenook.files import thumbnails
from inglenook.files.documents import FILES, Item
from inglenook.files.store import update_item
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import DocumentConflict
from inglenook.kernel.mime import DEFAULT, class_of_mime, mime_of_name
from inglenook.storage.documents.contract import Reader, Writer

PAGE = 200


async def mend_media_types(instance: Instance) -> int:
    """Give files whose media type is the one of unknown contents that of their name, and all the class that goes
    with their type; gives how many were mended."""
    mended = 0
    async for item in _files(instance):
        mime = item.mime if item.mime not in ("", DEFAULT) else mime_of_name(item.name)
        klass = class_of_mime(mime)
        if (mime, klass) != (item.mime, item.klass):
            mended += await instance.store.write(partial(_retype, item=item, mime=mime, klass=klass))
    return mended


async def make_missing_thumbnails(instance: Instance) -> int:
    """Make the thumbnails that files should have and have not; gives the number of these files."""
    count = 0
    async for item in _files(instance):
        lacking = await instance.store.read(partial(thumbnails.missing, item=item))
        if lacking:
            await thumbnails.make_thumbnails(instance, item, lacking)
            count += 1
    return count


def _retype(tx: Writer, *, item: Item, mime: str, klass: str) -> bool:
    try:
        update_item(tx, item, {**item.body, "mime": mime, "class": klass})
    except DocumentConflict:  # somebody changes it right now, and gives it a type
        return False
    return True


async def _files(instance: Instance) -> AsyncIterator[Item]:
    start = ""
    while True:

        def read(view: Reader, start: str = start) -> list[Item]:
            return [Item.of(document) for document in view.all_docs(FILES, start=start, limit=PAGE)]

        page = await instance.store.scan(read)
        for item in page:
            if item.is_file:
                yield item
        if len(page) < PAGE:
            return
        start = page[-1].id + "\x00"
