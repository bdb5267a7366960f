"""Shortcuts to sharings that wait for an answer: small `.url` files in the inbox (spec/04 §8, spec/07 §9)."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from inglenook.files import tree
from inglenook.files.documents import FILES, SHORTCUT_MIME, Item
from inglenook.files.fixed_directories import ensure_fixed_directory
from inglenook.files.store import create_item, delete_item, update_item
from inglenook.files.tree import Lineage
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest, Conflict, InvalidParameter
from inglenook.kernel.mime import class_of_mime
from inglenook.kernel.names import check_name
from inglenook.sharing import documents
from inglenook.sharing.documents import DOCTYPE, Sharing
from inglenook.storage.documents.contract import Body, Content, Index, Reader, Writer

NEW = "new"
SEEN = "seen"
HEADER = "[InternetShortcut]"
LAST_SUFFIX = 99
NAME_BYTES = 200
ILLEGAL = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')


def _status_keys(doc_id: str, body: Body) -> list[bytes]:
    metadata = body.get("metadata")
    sharing = metadata.get("sharing") if isinstance(metadata, dict) else None
    status = sharing.get("status") if isinstance(sharing, dict) else None
    return [status.encode()] if isinstance(status, str) and status else []


BY_STATUS = Index("files.by-sharing-status", FILES, _status_keys)


# -- the text


def text_of(url: str) -> bytes:
    """The content of a shortcut."""
    return f"{HEADER}\r\nURL={url}\r\n".encode()


def url_of(content: bytes) -> str:
    """The address in the content of a shortcut, empty when it names none (spec/07 §9).

    Raises BadRequest when it is no shortcut."""
    lines = content.decode("utf-8", "replace").split("\n")
    if lines[0].rstrip("\r") != HEADER or len(lines) < 2:
        raise BadRequest("The file is not in the expected format")
    found = [line.removeprefix("URL=").strip() for line in lines[1:] if line.startswith("URL=")]
    return found[-1] if found else ""


def check_url(url: str) -> str:
    """An address that may be put in a shortcut. Raises InvalidParameter for one that no browser should follow."""
    if not re.fullmatch(r"https?://[^\s\x00-\x1f\x7f]+", url) or len(url) > 4000:
        raise InvalidParameter("The URL is invalid", parameter="url")
    return url


# -- the file


def place(tx: Writer, instance: Instance, sharing: Sharing, url: str, status: str) -> Item:
    """Make the shortcut of a sharing, or bring the one it has up to date; `sharing.shortcut_id` is set, the caller
    saves it. Raises Conflict when a hundred of that name are there."""
    data, now = text_of(url), instance.env.clock.timestamp()
    content = Content(
        sha256=hashlib.sha256(data).hexdigest(),
        md5=base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode(),
        size=len(data),
    )
    old = existing(tx, sharing)
    if old is not None:
        body: Body = {
            **old.body,
            "metadata": _metadata(sharing, status),
            "size": str(content.size),
            "md5sum": content.md5,
            "updated_at": now,
            "cozyMetadata": {**old.cozy_metadata, "updatedAt": now},
        }
        item = update_item(tx, old, body)
    else:
        folder = ensure_fixed_directory(tx, instance, "shared-drives" if sharing.drive else "shared-with-me")
        item = create_item(tx, tx.new_id(), _new_body(tx, sharing, status, content, folder, now))
    tx.hold(FILES, item.id, content, data)
    sharing.shortcut_id = item.id
    return item


def existing(view: Reader, sharing: Sharing) -> Item | None:
    """The live shortcut of a sharing, None when there is none or it is in the trash."""
    item = tree.get(view, sharing.shortcut_id) if sharing.shortcut_id else None
    if item is None or item.klass != "shortcut" or item.trashed or Lineage(view).in_trash(item):
        return None
    return item


def secrets_of(view: Reader, sharing: Sharing) -> dict[str, str]:
    """What the address in the shortcut of a sharing carries of the invitation: its state, or a preview code."""
    item = existing(view, sharing)
    content = view.content(FILES, item.id) if item is not None else None
    data = view.content_bytes(content.sha256) if content is not None else None
    query = parse_qs(urlsplit(url_of(data)).query) if data is not None else {}
    return {name: query[name][0] for name in ("state", "sharecode") if query.get(name)}


def remove(tx: Writer, sharing: Sharing) -> str:
    """Destroy the shortcut of a sharing; gives the id of its folder, empty when there was no shortcut. The caller
    saves the sharing, whose `shortcut_id` is cleared."""
    item = existing(tx, sharing)
    sharing.shortcut_id = ""
    if item is None:
        return ""
    delete_item(tx, item)
    return item.dir_id


def mark_seen(tx: Writer, file_id: str, now: str) -> Item:
    """Note that somebody has looked at a shortcut (spec/04 §8). Raises NotFound."""
    item = tree.find(tx, file_id)
    sharing = item.metadata.get("sharing")
    if not isinstance(sharing, dict) or sharing.get("status") == SEEN:
        return item
    metadata = {**item.metadata, "sharing": {**sharing, "status": SEEN}}
    cozy = {**item.cozy_metadata, "updatedAt": now}
    return update_item(tx, item, {**item.body, "metadata": metadata, "cozyMetadata": cozy})


def count_new(view: Reader) -> int:
    """How many shortcuts nobody has looked at (`GET /sharings/news`)."""
    return view.index_count(BY_STATUS, start=NEW.encode(), end=NEW.encode() + b"\0")


def name_for(sharing: Sharing) -> str:
    """The name of the file: the description, or for a drive its title, made fit to be a name."""
    title = sharing.rules[0].title if sharing.rules else ""
    wanted = title if sharing.drive else sharing.description or title
    if not sharing.drive:
        try:
            check_name(f"{wanted}.url")
        except InvalidParameter:
            pass
        else:
            if len(wanted.encode()) <= NAME_BYTES:
                return f"{wanted}.url"
    clean = ILLEGAL.sub("-", wanted).strip() or "-"
    return f"{clean.encode()[:NAME_BYTES].decode('utf-8', 'ignore')}.url"


def _new_body(tx: Writer, sharing: Sharing, status: str, content: Content, folder: Item, now: str) -> dict[str, Any]:
    return {
        "type": "file",
        "name": _free_name(tx, folder.id, name_for(sharing)),
        "dir_id": folder.id,
        "created_at": now,
        "updated_at": now,
        "size": str(content.size),
        "md5sum": content.md5,
        "mime": SHORTCUT_MIME,
        "class": "shortcut",
        "executable": False,
        "trashed": False,
        "encrypted": False,
        "metadata": _metadata(sharing, status),
        "referenced_by": [{"id": sharing.id, "type": DOCTYPE}],
        "cozyMetadata": {
            "doctypeVersion": "1",
            "metadataVersion": 1,
            "createdAt": now,
            "updatedAt": now,
            "createdOn": sharing.members[0].instance if sharing.members else "",
        },
    }


def _metadata(sharing: Sharing, status: str) -> dict[str, Any]:
    rule = sharing.rules[0]
    target: dict[str, Any] = {
        "_type": rule.doctype,
        "cozyMetadata": {"instance": documents.origin_of(sharing.members[0].instance) if sharing.members else ""},
        "mime": rule.mime,
    }
    if sharing.drive:
        target["_type"] = FILES
        target["drive_root_type"] = sharing.drive_root_type or "directory"
        del target["mime"]
        if sharing.drive_root_type == "file" and rule.mime:
            target["mime"], target["class"] = rule.mime, class_of_mime(rule.mime)
    return {"extractor_version": 2, "sharing": {"status": status}, "target": target}


def _free_name(tx: Writer, dir_id: str, name: str) -> str:
    """The name, with a number behind the extension when it is taken (spec/04 trap 24)."""
    for tried in (name, *(f"{name} ({number})" for number in range(2, LAST_SUFFIX + 1))):
        if not tree.taken(tx, dir_id, tried):
            return tried
    raise Conflict("file already exists")
