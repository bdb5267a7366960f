"""Making the thumbnails that pictures lack, wherever they went (the job `thumbnailck`, spec/02 §21)."""

from __future__ import annotations

import structlog

from inglenook.files import tree
from inglenook.files.documents import FILES, Item, members
from inglenook.files.extraction import extract_head, is_read
from inglenook.files.store import update_item
from inglenook.files.thumbnails import make_thumbnails, missing
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import DomainError
from inglenook.storage.documents.contract import Document, Reader, Writer

PAGE = 200

log = structlog.get_logger("inglenook.files")


async def check_thumbnails(instance: Instance, message: object) -> int:
    """Make what is missing; gives for how many files something was. With `with_metadata` the metadata of pictures are
    read again from their contents and **replace** those of the documents."""
    with_metadata = members(message).get("with_metadata") is True
    last, mended = "", 0
    while True:
        page = await instance.store.read(lambda view, last=last: _after(view, last))
        for item in (Item.of(document) for document in page):
            if item.klass not in ("image", "pdf"):
                continue
            try:
                mended += await _mend(instance, item, with_metadata=with_metadata)
            except DomainError as error:
                log.warning("a file was not mended", instance=instance.domain, file=item.id, cause=str(error))
        if len(page) < PAGE:
            return mended
        last = page[-1].id


async def _mend(instance: Instance, item: Item, *, with_metadata: bool) -> bool:
    formats = await instance.store.read(lambda view: missing(view, item))
    if formats:
        await make_thumbnails(instance, item, formats)
    if not (with_metadata and item.klass == "image" and is_read(item.mime)):
        return bool(formats)
    content = await instance.store.read(lambda view: view.content(FILES, item.id))
    found = None if content is None else await extract_head(instance, content, item.mime, item.created_at)
    if found is None or not found.metadata or dict(found.metadata) == item.metadata:
        return bool(formats)
    metadata = dict(found.metadata)

    def write(tx: Writer) -> None:
        current = tree.find_file(tx, item.id)
        if current.md5sum == item.md5sum:
            update_item(tx, current, {**current.body, "metadata": metadata})

    await instance.store.write(write)
    return True


def _after(view: Reader, last: str) -> list[Document]:
    return view.all_docs(FILES, start=last, skip=1 if last else 0, limit=PAGE)
