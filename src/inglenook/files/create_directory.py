"""Creating directories, by name and by path (spec/02 §13.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inglenook.files import tree
from inglenook.files.documents import ROOT_ID, TRASH_ID, Item, set_or_drop
from inglenook.files.stamps import Stamp, fresh
from inglenook.files.store import create_item
from inglenook.files.tree import Lineage
from inglenook.kernel.errors import NotFound
from inglenook.kernel.names import check_name
from inglenook.storage.documents.contract import Body, Reader, Writer


@dataclass(frozen=True, slots=True)
class NewDirectory:
    """A directory to be made; empty dates mean now."""

    name: str
    dir_id: str = ROOT_ID
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    references: Sequence[Mapping[str, str]] = ()
    created_at: str = ""
    updated_at: str = ""


def directory_body(new: NewDirectory, stamp: Stamp, *, with_origin: bool = True) -> Body:
    """The body of a new directory."""
    body: Body = {
        "type": "directory",
        "name": new.name,
        "dir_id": new.dir_id,
        "created_at": new.created_at or stamp.now,
        "updated_at": new.updated_at or stamp.now,
        "cozyMetadata": fresh(stamp, with_origin=with_origin),
    }
    set_or_drop(body, "tags", list(new.tags))
    set_or_drop(body, "metadata", dict(new.metadata))
    set_or_drop(body, "referenced_by", [dict(reference) for reference in new.references])
    return body


def create_directory(tx: Writer, new: NewDirectory, stamp: Stamp, *, id: str = "", with_origin: bool = True) -> Item:
    """Make a directory, with an id of its own unless one is given.

    Raises InvalidParameter (name, depth), NotFound (no such parent, or in the trash), Conflict (name taken)."""
    check_name(new.name)
    refuse_trashed_parent(Lineage(tx), new.dir_id)
    return create_item(tx, id or tx.new_id(), directory_body(new, stamp, with_origin=with_origin))


def create_at_path(tx: Writer, path: str, tags: Sequence[str], stamp: Stamp) -> Item:
    """Make the directory of an absolute, clean path, whose parent exists.

    Raises NotFound (no parent, or the root), Conflict (something is there), as `create_directory`."""
    parent_path, _, name = path.rpartition("/")
    if not name:
        raise tree.missing()
    parent = tree.by_path(tx, parent_path or "/")
    if not parent.is_directory:
        raise tree.missing()
    return create_directory(tx, NewDirectory(name, parent.id, tags=tags), stamp, with_origin=False)


def ensure_path(tx: Writer, path: str, stamp: Stamp) -> Item:
    """The directory of an absolute, clean path, made with all that is missing above it.

    Raises NotFound when a file is in the way, InvalidParameter for a bad name."""
    current = tree.find(tx, ROOT_ID)
    for name in path.split("/"):
        if not name:
            continue
        below = tree.child(tx, current.id, name)
        if below is None:
            below = create_directory(tx, NewDirectory(name, current.id), stamp, with_origin=False)
        elif not below.is_directory:
            raise tree.missing()
        current = below
    return current


def nearest(view: Reader, path: str) -> tuple[Item, Sequence[str]]:
    """The deepest existing directory on an absolute, clean path, and the names that are missing below it.

    Raises NotFound when a file is in the way."""
    names = [name for name in path.split("/") if name]
    current = tree.find(view, ROOT_ID)
    for position, name in enumerate(names):
        below = tree.child(view, current.id, name)
        if below is None:
            return current, names[position:]
        if not below.is_directory:
            raise tree.missing()
        current = below
    return current, ()


def refuse_trashed_parent(lineage: Lineage, dir_id: str) -> None:
    """Refuse the trash and what is below it as a place for something new (spec/02 §26.6)."""
    if any(directory.id == TRASH_ID for directory in lineage.up_from(dir_id)):
        raise NotFound("Parent directory is in the trash")
