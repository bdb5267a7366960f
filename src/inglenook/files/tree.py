"""Reading the tree of files and directories: look-ups by id, name and path, lists, ancestors (spec/02 §3, §8.1, §22).

Pure functions over a `Reader`. A directory's path is not stored: `Lineage` computes it from the ancestors and
remembers them for as long as one request or transaction looks at one state of the tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from inglenook.files.documents import FILES, ROOT_ID, TRASH_ID, Item
from inglenook.files.indexes import (
    CHILDREN,
    NAMES,
    REFERENCES,
    after,
    child_key,
    children_prefix,
    name_key,
    reference_prefix,
)
from inglenook.kernel.errors import BadDocument, NotFound
from inglenook.storage.documents.contract import Body, Document, Reader

MAX_DEPTH = 512
WALK_PAGE = 500


# -- one item


def get(view: Reader, id: str) -> Item | None:
    """A file or directory by its id."""
    document = view.get(FILES, id)
    return None if document is None else Item.of(document)


def find(view: Reader, id: str) -> Item:
    """A file or directory by its id. Raises NotFound, BadDocument for an id that no document can have."""
    check_id(id)
    item = get(view, id)
    if item is None:
        raise missing()
    return item


def find_file(view: Reader, id: str) -> Item:
    """A file by its id. Raises NotFound, also for a directory."""
    item = find(view, id)
    if not item.is_file:
        raise missing()
    return item


def find_directory(view: Reader, id: str) -> Item:
    """A directory by its id. Raises NotFound, also for a file."""
    item = find(view, id)
    if not item.is_directory:
        raise missing()
    return item


def child(view: Reader, dir_id: str, name: str) -> Item | None:
    """The child of a directory with exactly this name, byte for byte."""
    key = name_key(dir_id, name)
    for _, document in view.index_docs(NAMES, start=key, end=key + b"\0", limit=1):
        return Item.of(document)
    return None


def taken(view: Reader, dir_id: str, name: str) -> bool:
    """Whether a file or directory of this name is in a directory."""
    key = name_key(dir_id, name)
    return bool(view.index(NAMES, start=key, end=key + b"\0", limit=1))


def count_named(view: Reader, dir_id: str, name: str) -> int:
    """How many children of a directory have exactly this name; more than one is a fault."""
    key = name_key(dir_id, name)
    return view.index_count(NAMES, start=key, end=key + b"\0")


def by_path(view: Reader, path: str) -> Item:
    """What is at an absolute path, as cleaned by `kernel.names.clean_path`. Raises NotFound."""
    item = at_path(view, path)
    if item is None:
        raise missing()
    return item


def at_path(view: Reader, path: str) -> Item | None:
    """What is at an absolute, clean path."""
    *above, last = [name for name in path.split("/") if name] or [""]
    if not last:
        return get(view, ROOT_ID)
    parent = ROOT_ID  # what has children is a directory: the names on the way are looked up, not read
    for name in above:
        key = name_key(parent, name)
        found = view.index(NAMES, start=key, end=key + b"\0", limit=1)
        if not found:
            return None
        parent = found[0].id
    return child(view, parent, last)


def check_id(id: str) -> None:
    """Refuse the ids that the document store keeps for itself (spec/02 §1.3). Raises BadDocument."""
    if id.startswith("_"):
        raise BadDocument("bad_id", f"Unsuported couchdb operation {id}")


def missing() -> NotFound:
    """The error for a file or directory that is not there."""
    return NotFound("file does not exist")


# -- where an item lies


class Lineage:
    """The ancestors and paths of items in one state of the tree, each directory read once.

    Use one within a request's read or within a transaction, and `forget` after moving a directory.
    """

    __slots__ = ("_known", "_view")

    def __init__(self, view: Reader) -> None:
        self._view = view
        self._known: dict[str, Item | None] = {}

    def directory(self, id: str) -> Item | None:
        """A directory by its id, None when there is none."""
        if id not in self._known:
            item = get(self._view, id)
            self._known[id] = item if item is not None and item.is_directory else None
        return self._known[id]

    def learn(self, directory: Item) -> None:
        """Remember a directory that was read or written anyway."""
        self._known[directory.id] = directory

    def forget(self) -> None:
        """Know nothing any more: the tree has changed."""
        self._known.clear()

    def ancestors(self, item: Item) -> list[Item]:
        """The directories above an item, its parent first, the root last. An orphan's list ends before the root."""
        return self.up_from(item.dir_id)

    def up_from(self, dir_id: str) -> list[Item]:
        """A directory and those above it, up to the root."""
        found: list[Item] = []
        while dir_id and len(found) <= MAX_DEPTH:
            directory = self.directory(dir_id)
            if directory is None:
                break
            found.append(directory)
            dir_id = directory.dir_id
        return found

    def path(self, item: Item) -> str | None:
        """The absolute path of a file or directory; None for an orphan (an ancestor is missing, or a cycle)."""
        if item.id == ROOT_ID:
            return "/"
        above = self.ancestors(item)
        if not above or above[-1].id != ROOT_ID:
            return None
        return "".join("/" + step.name for step in reversed(above[:-1])) + "/" + item.name

    def path_of(self, dir_id: str) -> str | None:
        """The absolute path of a directory by its id; None when it is missing or an orphan."""
        directory = self.directory(dir_id)
        return None if directory is None else self.path(directory)

    def in_trash(self, item: Item) -> bool:
        """Whether an item lies below the trash, at any depth (the trash itself does not)."""
        return self.below(item, TRASH_ID)

    def below(self, item: Item, dir_id: str) -> bool:
        """Whether a directory is one of the ancestors of an item."""
        return any(directory.id == dir_id for directory in self.ancestors(item))

    def with_path(self, item: Item) -> Body:
        """The body of an item as the outside sees it: with its `path`, when it is a directory."""
        if not item.is_directory:
            return item.body
        path = self.path(item)
        return item.body if path is None else {**item.body, "path": path}

    def with_any_path(self, item: Item) -> Body:
        """The body of an item with its `path`, whether it is a file or a directory (spec/02 §8)."""
        path = self.path(item)
        return item.body if path is None else {**item.body, "path": path}


def path_of(view: Reader, item: Item) -> str:
    """The absolute path of an item. Raises NotFound for an orphan."""
    path = Lineage(view).path(item)
    if path is None:
        raise missing()
    return path


def present(view: Reader, document: Document) -> Body:
    """`with_path` for a stored document (the presenter of `documents.presenting`)."""
    return with_path(view, document.id, document.body)


def with_path(view: Reader, id: str, body: Body) -> Body:
    """A raw body of `io.cozy.files` with the `path` that a directory shows (spec/01 §14, spec/02 §10).

    For the ways out of the server that know documents, not files: `/data`, realtime, replication of devices."""
    return Lineage(view).with_path(Item(id, "", body))


# -- what lies in a directory


@dataclass(frozen=True, slots=True)
class ChildrenPage:
    """A page of a directory: its children, the total number, and the first child of the next page (None: the last)."""

    children: list[Item]
    total: int
    next: Item | None


def children_page(
    view: Reader, dir_id: str, *, limit: int, skip: int = 0, start: tuple[str, str] | None = None
) -> ChildrenPage:
    """Children in the order of the wire: directories first, then names by collation (spec/02 §8.1).

    `start` is the (`type`, `name`) where the page begins; else `skip` children are left out."""
    prefix = children_prefix(dir_id)
    end = after(prefix)
    begin = prefix if start is None else child_key(dir_id, *start)
    found = view.index_docs(CHILDREN, start=begin, end=end, skip=0 if start else skip, limit=limit + 1)
    children = [Item.of(document) for _, document in found]
    total = view.index_count(CHILDREN, start=prefix, end=end)
    return ChildrenPage(children[:limit], total, children[limit] if len(children) > limit else None)


def children(view: Reader, dir_id: str, kind: str = "") -> Iterator[Item]:
    """All children of a directory (of one `type`), read page by page."""
    prefix = children_prefix(dir_id, kind)
    last: tuple[bytes, str] | None = None
    while True:
        page = view.index_docs(CHILDREN, start=prefix, end=after(prefix), after=last, limit=WALK_PAGE)
        for _, document in page:
            yield Item.of(document)
        if len(page) < WALK_PAGE:
            return
        key, document = page[-1]
        last = (key, document.id)


def walk(view: Reader, dir_id: str) -> Iterator[Item]:
    """Everything below a directory, each directory before what is in it."""
    waiting = [dir_id]
    while waiting:
        for item in children(view, waiting.pop()):
            if item.is_directory:
                waiting.append(item.id)
            yield item


def directories_below(view: Reader, dir_id: str) -> Iterator[Item]:
    """The directories below a directory, each before what is in it."""
    waiting = [dir_id]
    while waiting:
        for item in children(view, waiting.pop(), "directory"):
            waiting.append(item.id)
            yield item


def has_children(view: Reader, dir_id: str) -> bool:
    """Whether anything is in a directory."""
    prefix = children_prefix(dir_id)
    return bool(view.index(CHILDREN, start=prefix, end=after(prefix), limit=1))


def referencing(view: Reader, doctype: str, id: str) -> Iterator[Item]:
    """All files and directories that carry a reference to a document, by id."""
    prefix = reference_prefix(doctype, id)
    last: tuple[bytes, str] | None = None
    while True:
        page = view.index_docs(REFERENCES, start=prefix, end=after(prefix), after=last, limit=WALK_PAGE)
        for _, document in page:
            yield Item.of(document)
        if len(page) < WALK_PAGE:
            return
        key, document = page[-1]
        last = (key, document.id)
