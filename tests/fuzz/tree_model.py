"""A tree of files and folders in memory, with the rules of spec/02 written down as plainly as they can be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

ROOT = "io.cozy.files.root-dir"
TRASH = "io.cozy.files.trash-dir"
UNKNOWN = "unknown-"
"""What the id of a folder starts with that the server has made by itself, until it is looked up."""


@dataclass
class Node:
    """A file (with a content) or a folder (without). `old` are its kept contents, oldest first; `tagged` says whether
    it has tags, and for each old content whether that one had."""

    id: str
    name: str
    dir_id: str
    content: bytes | None = None
    old: list[bytes] = field(default_factory=list[bytes])
    tagged: bool = False
    restore_path: str = ""
    references: set[str] = field(default_factory=set[str])

    @property
    def is_file(self) -> bool:
        return self.content is not None


class Tree:
    """The nodes by their ids, the root and the trash among them."""

    def __init__(self) -> None:
        self.nodes = {ROOT: Node(ROOT, "", ""), TRASH: Node(TRASH, ".cozy_trash", ROOT)}

    # -- looking

    def above(self, id: str) -> Iterator[Node]:
        """The folders above a node, its parent first."""
        while dir_id := self.nodes[id].dir_id:
            yield self.nodes[dir_id]
            id = dir_id

    def path(self, id: str) -> str:
        names = [self.nodes[id].name, *(node.name for node in self.above(id))]
        return "/".join(reversed(names)) or "/"

    def in_trash(self, id: str) -> bool:
        return any(node.id == TRASH for node in self.above(id))

    def is_home(self, id: str) -> bool:
        """Whether new things can be put into a folder."""
        return id in self.nodes and not self.nodes[id].is_file and id != TRASH and not self.in_trash(id)

    def children(self, id: str) -> dict[str, Node]:
        return {node.name: node for node in self.nodes.values() if node.dir_id == id}

    def below(self, id: str) -> set[str]:
        return {other for other in self.nodes if any(node.id == id for node in self.above(other))}

    def usage(self) -> tuple[int, int]:
        """Bytes of the current contents, and of the old ones."""
        files = [node for node in self.nodes.values() if node.content is not None]
        return sum(len(node.content or b"") for node in files), sum(len(old) for node in files for old in node.old)

    # -- what would be answered

    def creation(self, dir_id: str, name: str) -> int:
        if not self.is_home(dir_id):
            return 404
        return 409 if name in self.children(dir_id) else 201

    def change(self, id: str, name: str, dir_id: str) -> int:
        node = self.nodes[id]
        if dir_id != node.dir_id:
            if self.in_trash(id):
                return 400
            if dir_id not in self.nodes or self.nodes[dir_id].is_file or self.in_trash(dir_id):
                return 404
            if dir_id == id or dir_id in self.below(id):
                return 412
        there = self.children(dir_id).get(name)
        return 409 if there is not None and there.id != id else 200

    # -- what happens

    def overwrite(self, id: str, content: bytes) -> None:
        """The old content is kept when it differs, and is the first one or was tagged: all happens within minutes."""
        node = self.nodes[id]
        assert node.content is not None
        if content != node.content and (not node.old or node.tagged):
            node.old.append(node.content)
        node.content, node.tagged = content, False

    def trash(self, id: str, name: str) -> None:
        node = self.nodes[id]
        node.restore_path = self.path(node.dir_id)
        node.dir_id, node.name = TRASH, name

    def home_of(self, id: str) -> str:
        """The path where a trashed node belongs."""
        node = self.nodes[id]
        if node.restore_path:
            return node.restore_path
        between = [folder for folder in self.above(id) if folder.id not in (ROOT, TRASH)]
        if not between or not between[-1].restore_path:
            return "/"
        names = [without_mark(between[-1].name), *(folder.name for folder in reversed(between[:-1]))]
        return between[-1].restore_path.rstrip("/") + "/" + "/".join(names)

    def ensure(self, path: str) -> str:
        """The id of a folder, made with all that is missing above it; the root when that cannot be."""
        current, missing = ROOT, [name for name in path.split("/") if name]
        while missing and (child := self.children(current).get(missing[0])) is not None:
            if child.is_file or child.id == TRASH:
                return ROOT
            current, missing = child.id, missing[1:]
        for name in missing:
            id = f"{UNKNOWN}{len(self.nodes)}-{name}"
            self.nodes[id] = Node(id, name, current)
            current = id
        return current

    def restore(self, id: str, dir_id: str, name: str) -> None:
        node = self.nodes[id]
        node.dir_id, node.name, node.restore_path = dir_id, name, ""

    def learn(self, unknown: str, id: str) -> None:
        """The id of a folder that was made by the server."""
        node = self.nodes.pop(unknown)
        node.id = id
        self.nodes[id] = node
        for child in self.nodes.values():
            if child.dir_id == unknown:
                child.dir_id = id

    def destroy(self, id: str) -> None:
        for other in [*self.below(id), id]:
            del self.nodes[other]


def without_mark(name: str) -> str:
    """A name without the number that marks a conflict."""
    marked = re.fullmatch(r"(.+) \(\d+\)", name, re.DOTALL)
    return marked[1] if marked and marked[1] not in (".", "..") else name


def is_marked(name: str, wanted: str) -> bool:
    """Whether a name is the wanted one with nine digits behind it."""
    return re.fullmatch(re.escape(wanted) + r" \(\d{9}\)", name) is not None
