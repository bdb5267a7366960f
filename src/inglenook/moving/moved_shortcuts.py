"""Shortcuts to an address that somebody has left: they lead to the new one (spec/12 §11, "addresses").

A shortcut may be shared, and its revisions known elsewhere: it comes in as it was, and is changed afterwards like any
file, with a revision of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog

from inglenook.files import tree
from inglenook.files.documents import FILES, members
from inglenook.files.extraction import shortcut_url
from inglenook.files.store import update_item
from inglenook.kernel.errors import DomainError

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance
    from inglenook.storage.contents import Received
    from inglenook.storage.documents.contract import Body, Writer

LARGEST = 16 * 1024  # bytes; a shortcut is a few lines
MOST = 10_000
"""Shortcuts that are changed in one import."""

log = structlog.get_logger("inglenook.moving")


def rewritten(content: bytes, source: str, here: Instance) -> bytes | None:
    """A shortcut that leads to an instance (its origin is `source`) or to an app of it, with the address of the
    instance here; None for one that leads elsewhere."""
    url = shortcut_url(content)
    try:
        parts, former = urlsplit(url), urlsplit(source).netloc
    except ValueError:
        return None
    if parts.scheme not in ("http", "https"):
        return None
    if parts.netloc == former:
        host = here.domain
    elif slug := _slug(parts.netloc, former):
        host = here.app_host(slug)
    else:
        return None
    moved = parts._replace(scheme=here.env.config.scheme, netloc=host).geturl()
    return content.replace(url.encode(), moved.encode(), 1)


async def rewrite(instance: Instance, shortcuts: list[tuple[str, bytes]]) -> None:
    """Give shortcuts their new content."""
    for id, content in shortcuts:
        received = await instance.contents.receive(_whole(content))

        def change(tx: Writer, id: str = id, received: Received = received) -> None:
            item = tree.find(tx, id)
            body = _leading_here(item.body, instance) | {"size": str(received.size), "md5sum": received.content.md5}
            update_item(tx, item, body)
            received.hold(tx, FILES, id)

        try:
            await instance.store.write(change)
        except DomainError as error:
            await instance.contents.discard(received)
            log.info("a shortcut keeps its former address", instance=instance.domain, file=id, cause=error.detail)


def _leading_here(body: Body, here: Instance) -> Body:
    """The body of a shortcut whose target, as it is told to clients, is the instance here."""
    metadata, target = members(body.get("metadata")), members(members(body.get("metadata")).get("target"))
    told = members(target.get("cozyMetadata"))
    if "instance" not in told:
        return body
    target = {**target, "cozyMetadata": {**told, "instance": here.domain}}
    return {**body, "metadata": {**metadata, "target": target}}


def _slug(host: str, former: str) -> str:
    """The app of a host of the former instance, nested or flat; empty for any other host."""
    label, dot, rest = host.partition(".")
    if dot and rest == former:
        return label
    own, hyphen, slug = label.partition("-")
    return slug if hyphen and dot and f"{own}.{rest}" == former else ""


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    yield content
