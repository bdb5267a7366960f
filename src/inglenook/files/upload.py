"""Writing a received content as a new file or over an existing one (spec/02 §13.2, §13.3).

The content is on the disk before these transactions run (`storage.contents`); they make the document name it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from inglenook.files.create_directory import refuse_trashed_parent
from inglenook.files.dates import older
from inglenook.files.documents import FILES, Item, set_or_drop
from inglenook.files.settings import VersionLimits
from inglenook.files.stamps import Stamp, fresh_upload, overwritten
from inglenook.files.store import create_item, update_item
from inglenook.files.tree import Lineage
from inglenook.files.versions import keep_previous
from inglenook.kernel.errors import NotFound
from inglenook.storage.documents.contract import Body, Content, Writer


class Holdable(Protocol):
    """A content that a document can be made to name (`storage.contents.Received`)."""

    @property
    def content(self) -> Content:
        """Its digests and size."""
        ...

    def hold(self, tx: Writer, doctype: str, id: str) -> None:
        """Make a document name it."""
        ...


@dataclass(frozen=True, slots=True)
class Sent:
    """What a request says about the content it carries; an empty date means now."""

    mime: str
    klass: str
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    executable: bool = False
    encrypted: bool = False
    created_at: str = ""
    updated_at: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What the content itself says (`extraction`): metadata that wins over the sent one, and its own date."""

    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    date: str = ""


NOTHING_FOUND = Found()


def new_file_body(name: str, dir_id: str, sent: Sent, stamp: Stamp) -> Body:
    """The body of a new file, but for its content and what is found in it."""
    body: Body = {
        "type": "file",
        "name": name,
        "dir_id": dir_id,
        "created_at": sent.created_at or stamp.now,
        "updated_at": sent.updated_at or stamp.now,
        "size": "0",
        "md5sum": "",
        "mime": sent.mime,
        "class": sent.klass,
        "executable": sent.executable,
        "trashed": False,
        "encrypted": sent.encrypted,
        "cozyMetadata": fresh_upload(stamp),
    }
    set_or_drop(body, "tags", list(sent.tags))
    set_or_drop(body, "metadata", dict(sent.metadata))
    return body


def overwritten_body(item: Item, sent: Sent, stamp: Stamp) -> Body:
    """The body of a file whose content is replaced: what is not sent again is lost (spec/02 §13.3)."""
    body: Body = {
        **item.body,
        "updated_at": sent.updated_at or stamp.now,
        "mime": sent.mime,
        "class": sent.klass,
        "executable": sent.executable,
        "encrypted": sent.encrypted,
        "cozyMetadata": overwritten(item, stamp),
    }
    set_or_drop(body, "tags", list(sent.tags))
    set_or_drop(body, "metadata", dict(sent.metadata))
    body.pop("antivirus_scan", None)
    return body


def with_content(body: Body, content: Content, found: Found) -> Body:
    """A body that describes a content, with what was found in it (changes and returns it)."""
    body["size"] = str(content.size)
    body["md5sum"] = content.md5
    if found.metadata:
        body["metadata"] = merged(body.get("metadata") or {}, found.metadata)
    if found.date:
        if found.date[:4] > "1990":
            body["created_at"] = found.date
        if older(str(body["updated_at"]), found.date):
            body["updated_at"] = found.date
    return body


def merged(sent: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Sent metadata with the found ones over it, but for a `target` that was sent (spec/02 §6)."""
    return {**sent, **{key: value for key, value in found.items() if key != "target" or "target" not in sent}}


def create_file(tx: Writer, id: str, body: Body, received: Holdable, *, found: Found = NOTHING_FOUND) -> Item:
    """Write a new file with its content. Raises NotFound (no such parent, or in the trash), Conflict (name taken)."""
    refuse_trashed_parent(Lineage(tx), str(body["dir_id"]))
    item = create_item(tx, id, with_content(body, received.content, found))
    received.hold(tx, FILES, id)
    return item


def overwrite_file(
    tx: Writer,
    item: Item,
    body: Body,
    received: Holdable,
    *,
    limits: VersionLimits,
    now: str,
    found: Found = NOTHING_FOUND,
) -> Item:
    """Replace the content of a file; the old one becomes a version or is dropped (spec/02 §17.1).

    `body` is made by `overwritten_body` from the same `item`. Raises DocumentConflict when the file has changed
    meanwhile, NotFound when it is in the trash."""
    if item.trashed:
        raise NotFound("Parent directory is in the trash")
    if received.content.md5 == item.md5sum and "antivirus_scan" in item.body:
        body["antivirus_scan"] = item.body["antivirus_scan"]
    keep_previous(tx, item, received.content.md5, limits, now)
    written = update_item(tx, item, with_content(body, received.content, found))
    received.hold(tx, FILES, item.id)
    return written
