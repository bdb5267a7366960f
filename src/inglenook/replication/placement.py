"""Where a received file or folder goes: its parent, and what happens when its name is taken (spec/05 §14.3, §16, §17).

A sender says where a document lies by `dir_id`; nothing can be placed outside of the sharing folder, whatever it
says (spec/05 §14.1).
"""

from __future__ import annotations

from inglenook.files import tree
from inglenook.files.documents import FILES, TRASH_ID, Item
from inglenook.files.store import create_item
from inglenook.kernel.errors import Conflict
from inglenook.kernel.names import check_name, conflict_name
from inglenook.replication.dissociate import give_up_id
from inglenook.replication.exchange import Body, Exchange, ParentMissing, Received, Safety, next_revision
from inglenook.replication.names import rename_local
from inglenook.sharing import folder, tracking
from inglenook.storage.documents.contract import Reader, Writer


def parent_of(tx: Writer, ex: Exchange, received: Received, *, may_be_trashed: bool = False) -> str:
    """The id of the folder that a received document goes into; the sharing folder when it names none.

    Raises ParentMissing (only the sender knows the folder), Safety (outside of the sharing), Conflict (the
    folder is in the trash here, and that is no place for this document)."""
    dir_id = received.text("dir_id")
    if not dir_id:
        return folder.ensure_sharing_folder(tx, ex.instance, ex.sharing).id
    place = tree.get(tx, dir_id)
    if place is None:
        raise ParentMissing(dir_id)
    if not is_inside(tx, ex, place):
        if not was_inside(tx, ex, place):
            raise Safety
        if ex.one_way:  # the owner still has it
            raise ParentMissing(dir_id)
        if not may_be_trashed:
            raise Conflict("Parent directory is in the trash")
    return dir_id


def is_inside(view: Reader, ex: Exchange, place: Item) -> bool:
    """Whether a folder is the sharing folder or lies below it."""
    root = folder.find_sharing_folder(view, ex.sharing)
    above = [place, *tree.Lineage(view).ancestors(place)]
    return place.is_directory and root is not None and any(step.id == root.id for step in above)


def is_there(view: Reader, ex: Exchange, id: str) -> bool:
    """Whether a folder need not be asked for: it is here, and no reader has taken it out of the sharing."""
    item = tree.get(view, id)
    return item is not None and not (ex.one_way and was_inside(view, ex, item))


def was_inside(view: Reader, ex: Exchange, place: Item) -> bool:
    """Whether a folder in the trash was in this sharing, or lies in one that was; a reader may have put it anywhere."""
    above = [place, *tree.Lineage(view).ancestors(place)]
    if not place.is_directory or place.id == TRASH_ID or is_inside(view, ex, place):
        return False
    if not ex.one_way and not any(step.id == TRASH_ID for step in above):
        return False
    return any(ex.sharing.id in tracking.load(view, FILES, step.id).infos for step in above)


def settle_name(
    tx: Writer, ex: Exchange, dir_id: str, name: str, id: str, chain: list[str] | None
) -> tuple[str, list[str] | None]:
    """Make room for a received name: the owner's document keeps it, whatever the revisions (spec/05 §17.3).

    Gives the name to write, and the history: one revision longer when the name is not the one received."""
    there = tree.child(tx, dir_id, name)
    if there is None or there.id == id:
        return name, chain
    free = conflict_name(name, is_file=there.is_file, taken=lambda other: tree.taken(tx, dir_id, other))
    if ex.sharing.owner:
        return free, next_revision(chain, ex.random) if chain else None
    rename_local(tx, ex, there, free)
    return name, chain


def recreate_folder(tx: Writer, ex: Exchange, id: str, found: Body) -> None:
    """Make a folder that was missing here from what the sender tells of it (spec/05 §14.3): a local creation."""
    if is_there(tx, ex, id):
        return
    if (trashed := tree.get(tx, id)) is not None:
        give_up_id(tx, trashed)
    received = Received(id, [], found)
    check_name(received.text("name"))
    dir_id = parent_of(tx, ex, received)
    before, tx.origin = tx.origin, ""
    name, _ = settle_name(tx, ex, dir_id, received.text("name"), id, None)
    create_item(tx, id, folder_body(found, dir_id, name, ex.now))
    tx.origin = before


FOLDER_FIELDS = ("tags", "created_at", "updated_at")
FOLDER_METADATA = (
    "doctypeVersion",
    "metadataVersion",
    "createdAt",
    "createdByApp",
    "createdByAppVersion",
    "createdOn",
    "updatedAt",
    "trashedAt",
    "trashedBy",
    "sourceAccount",
    "sourceAccountIdentifier",
)
CERTIFIED = ("carbonCopy", "electronicSafe")


def folder_body(received: Body, dir_id: str, name: str, now: str, local: Body | None = None) -> Body:
    """The body of a folder with the fields that are taken from the sender (spec/05 §14.4), the others as they are."""
    kept = {k: v for k, v in (local or {}).items() if k not in (*FOLDER_FIELDS, "metadata", "cozyMetadata")}
    body: Body = {**kept, "type": "directory", "name": name, "dir_id": dir_id}
    body.update({k: received[k] for k in FOLDER_FIELDS if received.get(k)})
    date(body, now, local)
    if received.get("encrypted") is True:
        body["encrypted"] = True
    if metadata := uncertified(received.get("metadata")):
        body["metadata"] = metadata
    sent = received.get("cozyMetadata")
    if isinstance(sent, dict):
        body["cozyMetadata"] = {k: sent[k] for k in FOLDER_METADATA if sent.get(k) is not None}
    if "cozyMetadata" in body or local:
        body["cozyMetadata"] = with_own_favorite(body.get("cozyMetadata", {}), local)
    return body


def date(body: Body, now: str, local: Body | None) -> None:
    """Give a body the dates that the sender has left out: those that are known here, or one like the other, or now."""
    known = local or {}
    created = body.get("created_at") or known.get("created_at")
    updated = body.get("updated_at") or known.get("updated_at")
    body["created_at"] = created or updated or now
    body["updated_at"] = updated or created or now


def with_own_favorite(stamps: Body, local: Body | None) -> Body:
    """`cozyMetadata` as it was received, but for what is a matter of each person: the mark of a favorite."""
    mine = (local or {}).get("cozyMetadata") or {}
    kept = {name: value for name, value in stamps.items() if name != "favorite"}
    return {**kept, "favorite": mine["favorite"]} if "favorite" in mine else kept


def uncertified(metadata: object) -> Body:
    """A map of metadata without the keys that only a certified source may set (spec/05 §18)."""
    if not isinstance(metadata, dict):
        return {}
    return {k: v for k, v in metadata.items() if k not in CERTIFIED}
