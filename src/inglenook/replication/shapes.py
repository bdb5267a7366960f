"""The shape of documents that a member's server sends: what has another one is refused at the door (spec/05 §12.4).

`null` stands for an absent member; members that are not named here are taken as they come.
"""

from __future__ import annotations

import re
from typing import Any

from inglenook.files import dates
from inglenook.kernel.mime import check_mime

Body = dict[str, Any]

LONGEST_ID = 1024
FILE_ID = re.compile(r"[0-9A-Za-z._~-]{1,200}")
HEXADECIMAL = re.compile(r"\d+-[0-9a-fA-F]{1,64}")

TYPES: dict[str, type] = {
    "_rev": str,
    "_revisions": dict,
    "name": str,
    "size": str,
    "md5sum": str,
    "mime": str,
    "class": str,
    "dir_id": str,
    "tags": list,
    "metadata": dict,
    "cozyMetadata": dict,
    "referenced_by": list,
    "executable": bool,
    "trashed": bool,
    "created_at": str,
    "updated_at": str,
}
STAMPS = ("createdAt", "updatedAt", "uploadedAt", "createdOn", "uploadedOn", "createdByApp")


def is_id(id: object) -> bool:
    """Whether a document may have this id; one that starts with an underscore is never one of a document."""
    return isinstance(id, str) and 0 < len(id) <= LONGEST_ID and not id.startswith("_") and id.isprintable()


def is_file_id(id: str) -> bool:
    """Whether a file or folder may have this id: it stands in URLs as one step of the path."""
    return FILE_ID.fullmatch(id) is not None and id not in (".", "..")


def are_hexadecimal(revs: list[str]) -> bool:
    """Whether ids of conflict copies can be made of these revisions (spec/05 §4.4)."""
    return all(HEXADECIMAL.fullmatch(rev) for rev in revs)


def media_type(mime: str) -> str:
    """A media type without its parameters, which are no part of what a file is."""
    return mime.partition(";")[0].strip()


def wrong_member(document: Body) -> str:
    """The first member of a file or folder that has a wrong type or an impossible value, empty when all is well.

    Raises InvalidParameter for a media type that is none."""
    for name, kind in TYPES.items():
        value = document.get(name)
        if value is not None and not isinstance(value, kind):
            return name
    size = document.get("size")
    if size is not None and not (size.isascii() and size.isdigit() and len(size) < 20):
        return "size"
    for name in ("created_at", "updated_at"):
        if document.get(name) and dates.nanoseconds(document[name]) is None:
            return name
    if not all(isinstance(tag, str) for tag in document.get("tags") or ()):
        return "tags"
    stamps = document.get("cozyMetadata") or {}
    if not all(isinstance(stamps.get(name), str | None) for name in STAMPS):
        return "cozyMetadata"
    if mime := document.get("mime"):
        check_mime(media_type(mime))
    return ""
