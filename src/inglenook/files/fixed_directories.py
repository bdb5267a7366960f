"""The directories with an id of their own, and the first tree of a new instance (spec/02 §2).

Every instance has a root and a trash. The others are made when something first needs them: `Inbox of sharings`,
`No longer shared` in it, and `Drives`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from inglenook.environment import Randomness
from inglenook.files import tree
from inglenook.files.create_directory import NewDirectory, directory_body
from inglenook.files.documents import (
    FILES,
    NO_LONGER_SHARED_ID,
    ROOT_ID,
    SHARED_DRIVES_ID,
    SHARED_WITH_ME_ID,
    TRASH_ID,
    TRASH_NAME,
    Item,
)
from inglenook.files.stamps import Stamp
from inglenook.files.store import create_item, name_taken
from inglenook.files.trash import restore_into, trash
from inglenook.files.tree import Lineage
from inglenook.storage.documents.contract import Body, Writer

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

FixedDirectory = Literal["shared-with-me", "no-longer-shared", "shared-drives"]

IDS: dict[FixedDirectory, str] = {
    "shared-with-me": SHARED_WITH_ME_ID,
    "no-longer-shared": NO_LONGER_SHARED_ID,
    "shared-drives": SHARED_DRIVES_ID,
}
NAMES: dict[FixedDirectory, dict[str, str]] = {
    "shared-with-me": {
        "en": "Inbox of sharings",
        "fr": "Partages reçus",
        "es": "Compartido conmigo",
        "de": "Posteingang der Freigaben",
    },
    "no-longer-shared": {
        "en": "No longer shared",
        "fr": "Retirés des partages",
        "es": "Ya no se comparte",
        "de": "Nicht mehr geteilt",
    },
    "shared-drives": {"en": "Drives", "ru": "Диски", "vi": "Ổ đĩa được chia sẻ"},
}
ADMINISTRATIVE = {"en": "Administrative", "fr": "Administratif", "es": "Administrativo", "de": "Verwaltung"}
PHOTOS = {"en": "Photos", "fr": "Photos", "es": "Fotos", "de": "Fotos"}
ADMINISTRATIVE_REFERENCE = {"id": "io.cozy.apps/administrative", "type": "io.cozy.apps"}


def ensure_shared_with_me(tx: Writer, instance: Instance) -> Item:
    """`Inbox of sharings`, where received sharings arrive. Raises Conflict when a file has its place."""
    return ensure_fixed_directory(tx, instance, "shared-with-me")


def ensure_no_longer_shared(tx: Writer, instance: Instance) -> Item:
    """`No longer shared`. Raises Conflict when something else has its place."""
    return ensure_fixed_directory(tx, instance, "no-longer-shared")


def ensure_shared_drives(tx: Writer, instance: Instance) -> Item:
    """`Drives`. Raises Conflict when a file has its place."""
    return ensure_fixed_directory(tx, instance, "shared-drives")


def ensure_fixed_directory(tx: Writer, instance: Instance, which: FixedDirectory) -> Item:
    """A directory with a fixed id, made when it is missing.

    Found in the trash, the first two come back empty (each of their children is put in the trash by itself), the
    drives stay there. Where another directory has this path, that one is used; for `no-longer-shared` this raises
    Conflict."""
    stamp = Stamp(instance.env.clock.timestamp(), instance.url())
    id, name = IDS[which], translated(NAMES[which], instance.locale)
    item = tree.get(tx, id)
    if item is not None:
        if which == "shared-drives" or not Lineage(tx).in_trash(item):
            return item
        parent = tree.find_directory(tx, _parent_of(tx, which))
        return _restored_empty(tx, item, parent, stamp, instance.env.random)
    parent_id = _parent_of(tx, which)
    there = tree.child(tx, parent_id, name)
    if there is not None:
        if which == "no-longer-shared" or not there.is_directory:
            raise name_taken(there)
        return there
    return create_item(tx, id, directory_body(NewDirectory(name, parent_id), stamp))


def create_first_tree(tx: Writer, locale: str, stamp: Stamp, *, administrative: bool, photos: bool) -> None:
    """The root, the trash and the first directories of a new instance."""
    root = root_body(stamp.now)
    if not administrative:
        root["referenced_by"] = [ADMINISTRATIVE_REFERENCE]
    tx.put(FILES, ROOT_ID, root)
    tx.put(FILES, TRASH_ID, trash_body(stamp.now))
    if administrative:
        new = NewDirectory(translated(ADMINISTRATIVE, locale), references=[ADMINISTRATIVE_REFERENCE])
        create_item(tx, tx.new_id(), directory_body(new, stamp))
    if photos:
        create_item(tx, tx.new_id(), directory_body(NewDirectory(translated(PHOTOS, locale)), stamp))


def root_body(now: str) -> Body:
    """The body of the root."""
    return {"type": "directory", "created_at": now, "updated_at": now}


def trash_body(now: str) -> Body:
    """The body of the trash."""
    return {"type": "directory", "name": TRASH_NAME, "dir_id": ROOT_ID, "created_at": now, "updated_at": now}


async def on_created(instance: Instance) -> None:
    """Give a new instance its first tree (for `Instances.on_created`)."""
    settings = instance.context_settings
    stamp = Stamp(instance.env.clock.timestamp(), instance.url())
    await instance.store.write(
        lambda tx: create_first_tree(
            tx,
            instance.locale,
            stamp,
            administrative=settings.get("init_administrative_folder") is not False,
            photos=settings.get("init_photos_folder") is not False,
        )
    )


def translated(names: dict[str, str], locale: str) -> str:
    """A name in a language, else in English."""
    return names.get(locale) or names["en"]


def _parent_of(tx: Writer, which: FixedDirectory) -> str:
    if which != "no-longer-shared":
        return ROOT_ID
    shared_with_me = tree.get(tx, SHARED_WITH_ME_ID)
    if shared_with_me is None or Lineage(tx).in_trash(shared_with_me):
        return ROOT_ID
    return SHARED_WITH_ME_ID


def _restored_empty(tx: Writer, item: Item, parent: Item, stamp: Stamp, random: Randomness) -> Item:
    restored = restore_into(tx, item, parent, stamp, random)
    for inside in list(tree.children(tx, restored.id)):
        trash(tx, inside, stamp, random)
    return restored
