"""Who changes something and when: `cozyMetadata` of files and directories (spec/02 §7, spec/01 §13)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inglenook.files.documents import Item, items, text


@dataclass(frozen=True, slots=True)
class Stamp:
    """What `cozyMetadata` remembers of one change.

    `now` is RFC 3339; `origin` the URL of the instance with its final slash; `slug` the app or known client that
    calls, empty for the others; `version` and `client` (`{id, kind, name}`) are there for OAuth clients only;
    `actor` is who trashes (`{kind, displayName?, domain?}`), None when it has no name.
    """

    now: str
    origin: str
    slug: str = ""
    version: str = ""
    client: dict[str, str] | None = None
    actor: dict[str, str] | None = None
    source_account: str = ""
    source_account_identifier: str = ""


def fresh(stamp: Stamp, *, with_origin: bool = True) -> dict[str, Any]:
    """The `cozyMetadata` of a new directory; directories made by `Path` say neither where nor by whom."""
    made: dict[str, Any] = {
        "doctypeVersion": "1",
        "metadataVersion": 1,
        "createdAt": stamp.now,
        "updatedAt": stamp.now,
    }
    if not with_origin:
        return made
    made["createdOn"] = stamp.origin
    if stamp.slug:
        made["createdByApp"] = stamp.slug
        if stamp.version:
            made["createdByAppVersion"] = stamp.version
        made["updatedByApps"] = [_app_entry(stamp)]
    if stamp.source_account:
        made["sourceAccount"] = stamp.source_account
    if stamp.source_account_identifier:
        made["sourceAccountIdentifier"] = stamp.source_account_identifier
    return made


def fresh_upload(stamp: Stamp) -> dict[str, Any]:
    """The `cozyMetadata` of a new file."""
    return with_upload(fresh(stamp), stamp)


def touched(item: Item, stamp: Stamp) -> dict[str, Any]:
    """The `cozyMetadata` of an item after a write by the API."""
    made = item.cozy_metadata or _adopted(item, stamp)
    made["updatedAt"] = stamp.now
    if stamp.slug:
        entries = [entry for entry in items(made.get("updatedByApps")) if not _same_app(entry, stamp)]
        made["updatedByApps"] = [*entries, _app_entry(stamp)]
    return made


def overwritten(item: Item, stamp: Stamp) -> dict[str, Any]:
    """The `cozyMetadata` of a file whose content is replaced."""
    made = touched(item, stamp)
    if stamp.source_account and not made.get("sourceAccount"):
        if stamp.slug and not made.get("createdByApp"):
            made["createdByApp"] = stamp.slug
        made["sourceAccount"] = stamp.source_account
    if stamp.source_account_identifier and not made.get("sourceAccountIdentifier"):
        made["sourceAccountIdentifier"] = stamp.source_account_identifier
    return with_upload(made, stamp)


def with_upload(made: dict[str, Any], stamp: Stamp) -> dict[str, Any]:
    """Say in a `cozyMetadata` that its content is uploaded now (changes and returns it)."""
    made["uploadedAt"] = stamp.now
    made["uploadedOn"] = stamp.origin
    made.pop("uploadedBy", None)
    if stamp.slug:
        uploaded_by: dict[str, Any] = {"slug": stamp.slug}
        if stamp.version:
            uploaded_by["version"] = stamp.version
        if stamp.client is not None:
            uploaded_by["oauthClient"] = dict(stamp.client)
        made["uploadedBy"] = uploaded_by
    return made


def with_trash(made: dict[str, Any], stamp: Stamp) -> dict[str, Any]:
    """Say in a `cozyMetadata` that its item is sent to the trash now (changes and returns it)."""
    made["trashedAt"] = stamp.now
    made.pop("trashedBy", None)
    if stamp.actor is not None:
        made["trashedBy"] = dict(stamp.actor)
    return made


def _adopted(item: Item, stamp: Stamp) -> dict[str, Any]:
    """A first `cozyMetadata` for an old document without one."""
    made: dict[str, Any] = {
        "doctypeVersion": "1",
        "metadataVersion": 1,
        "createdAt": item.created_at or stamp.now,
        "createdOn": stamp.origin,
    }
    if item.is_file:
        made["uploadedAt"] = item.created_at or stamp.now
    return made


def _app_entry(stamp: Stamp) -> dict[str, Any]:
    entry: dict[str, Any] = {"slug": stamp.slug, "date": stamp.now}
    if stamp.version:
        entry["version"] = stamp.version
    entry["instance"] = stamp.origin
    return entry


def _same_app(entry: object, stamp: Stamp) -> bool:
    return (
        isinstance(entry, dict)
        and text(entry.get("slug")) == stamp.slug
        and text(entry.get("instance")) in ("", stamp.origin)
    )
