"""Changing what a file or directory says of itself, its name and its place (spec/02 §16.1).

`Patch` is the body of a PATCH, checked; `modify` applies it in a transaction. Moves to the trash and destruction,
which a PATCH can ask for too, are in `trash` and `destroy`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from inglenook.files import tree
from inglenook.files.below import touch_directories_below
from inglenook.files.create_directory import refuse_trashed_parent
from inglenook.files.dates import nanoseconds, older
from inglenook.files.documents import NO_LONGER_SHARED_ID, SHARED_DRIVES_ID, SHARED_WITH_ME_ID, Item, set_or_drop
from inglenook.files.stamps import Stamp, touched
from inglenook.files.store import is_fixed, update_item
from inglenook.files.tree import Lineage
from inglenook.kernel.errors import BadRequest, InvalidParameter, NotFound
from inglenook.kernel.mime import class_of_mime, mime_of_name
from inglenook.kernel.names import check_name, split_extension
from inglenook.storage.documents.contract import Body, Writer

MALFORMED = "JSON input is malformed or is missing mandatory fields"
IN_TRASH = "File or directory is already in the trash"


class CozyMetadataPatch(msgspec.Struct, frozen=True):
    """The one member of `cozyMetadata` that a client may change."""

    favorite: bool | None = None


class Patch(msgspec.Struct, frozen=True):
    """The attributes of a PATCH that have an effect; None means not given. Others are ignored."""

    name: str | None = None
    dir_id: str | None = None
    tags: list[str] | None = None
    updated_at: str | None = None
    executable: bool | None = None
    encrypted: bool | None = None
    klass: str | None = msgspec.field(name="class", default=None)
    metadata: dict[str, Any] | None = None
    cozy_metadata: CozyMetadataPatch | None = msgspec.field(name="cozyMetadata", default=None)
    permanent_delete: bool | None = None
    move_to_trash: bool | None = None


def parse_patch(attributes: object, relationships: object) -> Patch:
    """The patch of a JSON:API object; the `parent` relationship wins over `dir_id`.

    Raises BadRequest for a value of the wrong type or a parent without an object, InvalidParameter for an empty
    `dir_id` or a date that cannot be read."""
    try:
        patch = msgspec.convert(attributes if attributes is not None else {}, Patch)
    except msgspec.ValidationError as error:
        raise BadRequest(MALFORMED) from error
    if isinstance(relationships, dict) and relationships.get("parent") is not None:
        parent = relationships["parent"]
        data = parent.get("data") if isinstance(parent, dict) else None
        if not isinstance(data, dict) or not isinstance(data.get("id"), str):
            raise BadRequest(MALFORMED)
        patch = msgspec.structs.replace(patch, dir_id=data["id"])
    if patch.dir_id == "":
        raise InvalidParameter("Invalid directory: the id is empty", parameter="dir_id")
    if patch.updated_at:
        moment = nanoseconds(patch.updated_at)
        if moment is None:
            raise BadRequest(MALFORMED)
        if moment < 0:
            patch = msgspec.structs.replace(patch, updated_at=None)
    return patch


def modify(tx: Writer, item: Item, patch: Patch, stamp: Stamp) -> Item:
    """Apply a patch that neither trashes nor destroys. An effective change of a directory's name or place makes a
    new revision of every directory below it (spec/02 §12.2).

    Raises BadRequest (the root or the trash, a trashed item that would change place), InvalidParameter (name, date,
    depth), NotFound (the new parent), PreconditionFailed (a directory into itself), Conflict (name taken)."""
    refuse_fixed(item)
    body = patched_body(item, patch, stamp)
    lineage = Lineage(tx)
    if body["dir_id"] != item.dir_id:
        if item.trashed or lineage.in_trash(item):
            raise BadRequest(IN_TRASH)
        _check_new_parent(lineage, item, str(body["dir_id"]))
    if body["name"] != item.name:
        check_name(str(body["name"]))
    if body["dir_id"] != item.dir_id or body["name"] != item.name:
        written = update_item(tx, item, body)
        touch_directories_below(tx, item)
        return written
    return update_item(tx, item, body)


def patched_body(item: Item, patch: Patch, stamp: Stamp) -> Body:
    """The body that a patch makes of an item. Raises InvalidParameter for a date older than the creation."""
    cozy = touched(item, stamp)
    if patch.cozy_metadata is not None and patch.cozy_metadata.favorite is not None:
        set_or_drop(cozy, "favorite", patch.cozy_metadata.favorite)
    body: Body = {
        **item.body,
        "name": item.name if patch.name is None else patch.name,
        "dir_id": item.dir_id if patch.dir_id is None else patch.dir_id,
        "updated_at": patch.updated_at or item.updated_at,
        "cozyMetadata": cozy,
    }
    if older(str(body["updated_at"]), item.created_at):
        raise InvalidParameter("Invalid time given", parameter="UpdatedAt")
    if patch.tags is not None:
        set_or_drop(body, "tags", clean_tags(patch.tags))
    if patch.metadata is not None:
        set_or_drop(body, "metadata", dict(patch.metadata))
    if item.is_file:
        if patch.executable is not None:
            body["executable"] = patch.executable
        if patch.encrypted is not None:
            body["encrypted"] = patch.encrypted
        name = str(body["name"])
        if patch.klass is not None or split_extension(name)[1] != split_extension(item.name)[1]:
            body["mime"] = mime_of_name(name)
            body["class"] = class_of_mime(str(body["mime"]))
    return body


def clean_tags(tags: list[str]) -> list[str]:
    """Tags trimmed, none empty, each once, in their order (spec/02 §1.1)."""
    return list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))


def refuse_fixed(item: Item) -> None:
    """Refuse to change the root and the trash. Raises BadRequest."""
    if is_fixed(item.id):
        raise BadRequest("The root directory and the trash cannot be changed")


def refuse_system(item: Item) -> None:
    """Refuse to destroy a directory that the server itself needs. Raises BadRequest."""
    if is_fixed(item.id) or item.id in (SHARED_WITH_ME_ID, NO_LONGER_SHARED_ID, SHARED_DRIVES_ID):
        raise BadRequest("This directory belongs to the server and cannot be destroyed")


def _check_new_parent(lineage: Lineage, item: Item, dir_id: str) -> None:
    parent = lineage.directory(dir_id)
    if parent is None:
        raise tree.missing() if item.is_directory else NotFound("Parent directory with given DirID does not exist")
    refuse_trashed_parent(lineage, dir_id)
