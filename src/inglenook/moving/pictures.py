"""The picture of the owner in archives (spec/12 §11): an entry beside the data, which other servers skip.

The reference leaves it out. Where an instance has a picture already, that one stays.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from inglenook.identity.instance import SETTINGS
from inglenook.identity.public_routes import AVATAR, MAX_AVATAR, PICTURES
from inglenook.moving import spool
from inglenook.storage.documents.contract import Content, Document, Reader, Writer

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance
    from inglenook.moving.units import Parts
    from inglenook.moving.zip_reading import Entry, ZipReader

PLACE = "My Cozy/avatar."


def of(view: Reader) -> tuple[Document, Content] | None:
    """The picture of an instance, None when it has none."""
    document, content = view.get(SETTINGS, AVATAR), view.content(SETTINGS, AVATAR)
    return None if document is None or content is None else (document, content)


def entry_name(document: Document) -> str:
    """The name of the entry of a picture, which tells its type."""
    return PLACE + str(document.body.get("mime", "image/png")).partition("/")[2]


async def keep(former: Instance, draft: Instance) -> None:
    """Take the picture of an instance over into its new data."""
    found = await former.store.read(of)
    if found is None:
        return
    document, content = found
    received = await draft.contents.receive(former.contents.read(content))

    def write(tx: Writer) -> None:
        tx.put(SETTINGS, AVATAR, document.body)
        received.hold(tx, SETTINGS, AVATAR)

    await draft.store.write(write)


async def take(instance: Instance, parts: Parts) -> None:
    """Take the picture of an archive in, for an instance that has none. Raises BadArchive."""
    found = await asyncio.to_thread(_find, parts)
    if found is None or await instance.store.read(of) is not None:
        return
    reader, entry, mime = found
    received = await instance.contents.receive(spool.threaded(reader.pieces(entry)), max_bytes=MAX_AVATAR)
    body = {"mime": mime, "updated_at": instance.env.clock.timestamp()}

    def write(tx: Writer) -> None:
        tx.put(SETTINGS, AVATAR, body)
        received.hold(tx, SETTINGS, AVATAR)

    await instance.store.write(write)


def _find(parts: Parts) -> tuple[ZipReader, Entry, str] | None:
    for reader, entry in parts.first():
        mime = f"image/{entry.name.removeprefix(PLACE)}"
        if entry.name.startswith(PLACE) and mime in PICTURES and 0 < entry.size <= MAX_AVATAR:
            return reader, entry, mime
    return None
