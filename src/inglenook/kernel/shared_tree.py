"""The tree of revisions that the tracking of a shared document remembers (spec/05 §5.2-5.3).

Unlike `revisions.RevisionTree` it says what has been *seen*, by whatever way, and its *main branch* (the first branch
at each node) leads to the revision that is sent. At most 100 revisions deep; it never leaves the instance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

MAX_DEPTH = 100


def generation(rev: str) -> int:
    """The number before the first dash, 0 when it cannot be read."""
    number = rev.partition("-")[0]
    return int(number) if number.isascii() and number.isdigit() else 0


class Node:
    """A revision and those that came after it; the first branch is the main one."""

    __slots__ = ("branches", "rev")

    def __init__(self, rev: str, branches: list[Node] | None = None) -> None:
        self.rev = rev
        self.branches = branches if branches is not None else []


class SharedTree:
    """The revisions known of one shared document."""

    __slots__ = ("root",)

    def __init__(self, rev: str) -> None:
        self.root = Node(rev)

    @classmethod
    def of_chain(cls, chain: Sequence[str]) -> SharedTree:
        """The tree of one chain, oldest revision first; only its last 100 are kept."""
        first, *others = chain[-MAX_DEPTH:]
        tree = cls(first)
        node = tree.root
        for rev in others:
            node = _append(node, rev)
        return tree

    # -- reading

    def generation(self) -> int:
        """The highest generation."""
        return max(generation(node.rev) for node, _ in self._walk())

    def find(self, rev: str) -> tuple[Node, int] | None:
        """The node of a revision and its depth (the root has 1), main branches first."""
        return next(((node, depth) for node, depth in self._walk() if node.rev == rev), None)

    def has(self, rev: str) -> bool:
        """Whether the revision is known."""
        return self.find(rev) is not None

    def main_branch(self) -> list[str]:
        """The revisions from the root along the first branches, oldest first."""
        node = self.root
        revs = [node.rev]
        while node.branches:
            node = node.branches[0]
            revs.append(node.rev)
        return revs

    def leaf(self) -> str:
        """The end of the main branch: the revision that is sent."""
        return self.main_branch()[-1]

    # -- growing

    def add(self, rev: str) -> Node:
        """Put a revision that is not known yet on the main branch, without knowing its parent; gives its node."""
        found = self.find(rev)
        node = found[0] if found else self.root
        while node.rev != rev:
            if generation(rev) < generation(node.rev):
                node.branches = [Node(node.rev, node.branches)]
                node.rev = rev
            elif node.branches:
                node = node.branches[0]
            else:
                node = _append(node, rev)
        return node

    def insert_after(self, rev: str, parent: str) -> None:
        """Put a revision that is not known yet behind its parent, which is added when it is not known either."""
        if self.has(rev):
            return
        found = self.find(parent)
        node = found[0] if found else self.add(parent)
        if rev != parent:
            self._prune(_append(node, rev))

    def insert_chain(self, chain: Sequence[str]) -> None:
        """Put a chain behind the oldest of its revisions that is known, else on the main branch.

        Behind a node that has branches already, a new revision becomes a side branch and those after it go on along
        the main branch, so that the leaf of the main branch stays the newest revision."""
        chain = chain[-MAX_DEPTH:]
        known = {node.rev: node for node, _ in self._walk()}
        start = next((index for index, rev in enumerate(chain) if rev in known), 0)
        if not chain:
            return
        node = known.get(chain[start]) or self.add(chain[start])
        for rev in chain[start + 1 :]:
            if rev in known:
                node = known[rev]
            else:
                known[rev] = _append(node, rev)
                node = node.branches[0]
        self._prune(node)

    def promote(self, rev: str) -> None:
        """Make the branch of a known revision the main one: it is what is to be sent."""
        found = self.find(rev)
        if found is not None:
            path = self._path(found[0])
            for node, child in pairwise(path):
                node.branches.remove(child)
                node.branches.insert(0, child)

    # -- forms

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SharedTree:
        """Read the stored form: `{"rev": …, "branches": [node, …]}`, without `branches` for a leaf."""
        tree = cls(value["rev"])
        todo: list[tuple[Node, Mapping[str, Any]]] = [(tree.root, value)]
        while todo:
            node, stored = todo.pop()
            todo.extend((_append(node, branch["rev"]), branch) for branch in stored.get("branches") or ())
        return tree

    def to_json(self) -> dict[str, Any]:
        """The stored form."""
        built: dict[str, Any] = {"rev": self.root.rev}
        todo = [(self.root, built)]
        while todo:
            node, form = todo.pop()
            if node.branches:
                form["branches"] = [{"rev": branch.rev} for branch in node.branches]
                todo.extend(zip(node.branches, form["branches"], strict=True))
        return built

    # -- private parts

    def _walk(self) -> Iterator[tuple[Node, int]]:
        """Every node with its depth, in depth, first branches first."""
        todo = [(self.root, 1)]
        while todo:
            node, depth = todo.pop()
            yield node, depth
            todo.extend((branch, depth + 1) for branch in reversed(node.branches))

    def _path(self, target: Node) -> list[Node]:
        """The nodes from the root to `target`."""
        path: list[Node] = []
        for node, depth in self._walk():
            del path[depth - 1 :]
            path.append(node)
            if node is target:
                break
        return path

    def _prune(self, target: Node) -> None:
        """Forget the oldest nodes above `target` that are no forks, until it is at most 100 deep."""
        path = self._path(target)
        excess = len(path) - MAX_DEPTH
        fork: Node | None = None
        for node in path[:-1]:
            if excess <= 0:
                return
            if len(node.branches) > 1:
                fork = node
                continue
            if fork is None:
                self.root = node.branches[0]
            else:
                fork.branches[fork.branches.index(node)] = node.branches[0]
            excess -= 1


def fill_gap(tree: SharedTree, chain: Sequence[str], history: Sequence[str]) -> list[str]:
    """The chain with what lies between the tree and its start, as far as the history of the document knows it.

    `history` runs from the oldest revision to the newest, like the chain."""
    above, below = generation(chain[0]), tree.generation()
    return [*(rev for rev in history if below < generation(rev) < above), *chain]


def _append(node: Node, rev: str) -> Node:
    child = Node(rev)
    node.branches.append(child)
    return child
