"""The folder of a sharing on a recipient: found, made, and what becomes of it at the end (spec/05 §16.2, §16.5).

Its id is the value of the rule, its name and place belong to the recipient. It carries a reference to the sharing.
"""

from __future__ import annotations

from inglenook.files import tree
from inglenook.files.create_directory import NewDirectory, directory_body
from inglenook.files.documents import SHARED_WITH_ME_ID, Item
from inglenook.files.fixed_directories import ensure_fixed_directory, translated
from inglenook.files.indexes import REFERENCES, reference_prefix
from inglenook.files.references import add_references, remove_references
from inglenook.files.stamps import Stamp
from inglenook.files.store import create_item, delete_item, update_item
from inglenook.files.tree import Lineage
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import Conflict, NotFound
from inglenook.sharing import documents, shortcuts
from inglenook.sharing.documents import DOCTYPE, Sharing
from inglenook.sharing.shortcuts import ILLEGAL, NAME_BYTES
from inglenook.storage.documents.contract import Reader, Writer

NO_FOLDER = "This folder was not found"
CREATED_SUFFIXES = 18
REVOKED_SUFFIXES = 98
REVOKED_SUFFIX = {
    "en": "cancelled sharing",
    "fr": "partage annulé",
    "es": "uso compartido cancelado",
    "de": "Freigabe beendet",
}


def find_sharing_folder(view: Reader, sharing: Sharing) -> Item | None:
    """The folder of a sharing, wherever its user has put it; None when there is none (or it is one file alone)."""
    rule = sharing.files_rule()
    if rule is None or rule.mime:
        return None
    if rule.selector != "referenced_by":
        item = tree.get(view, rule.values[0])
        if item is not None and item.is_directory:
            return item
    referring = first_reference(view, sharing)
    return referring if referring is not None and referring.is_directory else None


def ensure_sharing_folder(tx: Writer, instance: Instance, sharing: Sharing) -> Item:
    """The folder of a sharing, made when it is missing; the shortcut of the invitation makes room for it.

    Raises NotFound for a sharing that has no folder (one file, or no files at all), Conflict when no name is free."""
    rule = sharing.files_rule()
    if rule is None or rule.mime:
        raise NotFound(NO_FOLDER)
    found = find_sharing_folder(tx, sharing)
    if found is not None:
        return found
    parent = place_of_single_file(tx, instance, sharing)
    stamp = Stamp(instance.env.clock.timestamp(), instance.url())
    id = rule.values[0].rpartition("/")[2]
    same_id = tree.get(tx, id)
    if same_id is not None and same_id.is_directory:
        return add_references(tx, same_id, [sharing.reference], stamp)
    if same_id is not None:
        raise Conflict("file already exists")
    name = free_name(tx, parent, clean_title(rule.title), CREATED_SUFFIXES)
    new = NewDirectory(
        name, parent, tags=[f"from-sharing-{sharing.id}"], references=[{"id": sharing.id, "type": DOCTYPE}]
    )
    return create_item(tx, id, directory_body(new, stamp))


def place_of_single_file(tx: Writer, instance: Instance, sharing: Sharing) -> str:
    """The id of the folder where the first thing received shall be put: that of the shortcut, which is destroyed,
    else the inbox of sharings."""
    current = documents.load(tx, sharing.id)
    if not current.shortcut_id:
        referring = first_reference(tx, current)
        if referring is not None and referring.klass == "shortcut":
            current.shortcut_id = referring.id
    place = shortcuts.remove(tx, current)
    documents.save(tx, current)
    parent = tree.get(tx, place) if place else None
    if parent is not None and parent.is_directory and not Lineage(tx).in_trash(parent):
        return parent.id
    return ensure_fixed_directory(tx, instance, "shared-with-me").id


def keep_after_end(tx: Writer, sharing: Sharing, stamp: Stamp, locale: str) -> None:
    """A recipient's folder when the sharing has ended: it stays with its files, without the reference, and its name
    says so. What is in the trash, or a single file, is not renamed."""
    for item in referring_items(tx, sharing):
        if item.klass == "shortcut":
            delete_item(tx, item)
            continue
        freed = remove_references(tx, item, [sharing.reference], stamp)
        is_root = freed.is_directory and (found := sharing.root_rule()) is not None and not found.mime
        if not is_root or Lineage(tx).in_trash(freed) or freed.id == SHARED_WITH_ME_ID:
            continue
        name = free_name(tx, freed.dir_id, f"{freed.name} ({translated(REVOKED_SUFFIX, locale)})", REVOKED_SUFFIXES)
        update_item(tx, freed, {**freed.body, "name": name})


def add_root_reference(tx: Writer, sharing: Sharing, stamp: Stamp) -> None:
    """On the owner, let the shared folder point to its sharing (spec/04 §5, step 5); a single file only for a drive."""
    item = root_item(tx, sharing)
    if item is not None and (item.is_directory or sharing.drive):
        add_references(tx, item, [sharing.reference], stamp)


def remove_root_reference(tx: Writer, sharing: Sharing, stamp: Stamp) -> None:
    """On the owner, let nothing point to a sharing any more."""
    for item in referring_items(tx, sharing):
        remove_references(tx, item, [sharing.reference], stamp)


def root_item(view: Reader, sharing: Sharing) -> Item | None:
    """What the sharing is about: the folder or file that its first files rule names by id."""
    rule = sharing.root_rule()
    return tree.get(view, rule.values[0]) if rule is not None and rule.values else None


def first_reference(view: Reader, sharing: Sharing) -> Item | None:
    """The first file or folder that points to a sharing."""
    return next(iter(referring_items(view, sharing, limit=1)), None)


def referring_items(view: Reader, sharing: Sharing, limit: int = 100) -> list[Item]:
    """The files and folders that point to a sharing."""
    prefix = reference_prefix(DOCTYPE, sharing.id)
    found = view.index_docs(REFERENCES, start=prefix, end=prefix + b"\x00", limit=limit)
    return [Item.of(document) for _, document in found]


def clean_title(title: str) -> str:
    """A title as the name of a folder."""
    clean = ILLEGAL.sub("-", title).strip(" ") if "/" in title or not title.isprintable() else title
    clean = clean.encode()[:NAME_BYTES].decode("utf-8", "ignore")
    return clean if clean.strip(".") else "-"


def free_name(tx: Writer, dir_id: str, name: str, last: int) -> str:
    """The name, with a number behind it when it is taken. Raises Conflict after the last number."""
    for tried in (name, *(f"{name} ({number})" for number in range(2, last + 1))):
        if not tree.taken(tx, dir_id, tried):
            return tried
    raise Conflict("file already exists")
