"""Documents as a server must keep them: a model in memory, from the words of the specification (spec/01 §2).

A document is a forest of revisions; the model knows each one's parent, and whether it is a tombstone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Revision:
    """One revision: its parent (None: a root), whether it deletes, its body without underscore members."""

    parent: str | None
    deleted: bool
    body: dict[str, Any]
    known: bool = True  # False: an ancestor of which nothing but the name is known


@dataclass
class History:
    """The revisions of one document."""

    revisions: dict[str, Revision] = field(default_factory=dict[str, Revision])

    def leaves(self) -> list[str]:
        """The ends of all branches, the winner first."""
        parents = {revision.parent for revision in self.revisions.values()}
        return sorted((rev for rev in self.revisions if rev not in parents), key=self._rank, reverse=True)

    @property
    def winner(self) -> str | None:
        """What is read without naming a revision; it may be a tombstone."""
        return next(iter(self.leaves()), None)

    @property
    def live(self) -> bool:
        """Whether the document is there."""
        return self.winner is not None and not self.revisions[self.winner].deleted

    def path(self, rev: str) -> list[str]:
        """A revision and its ancestors, newest first."""
        path: list[str] = []
        at: str | None = rev
        while at is not None:
            path.append(at)
            at = self.revisions[at].parent
        return path

    def add(self, rev: str, parent: str | None, body: dict[str, Any], *, deleted: bool) -> None:
        """A revision made by the server."""
        assert rev not in self.revisions, f"{rev} was made twice"
        assert generation(rev) == (1 if parent is None else generation(parent) + 1)
        self.revisions[rev] = Revision(parent, deleted, body)

    def graft(self, path: list[str], body: dict[str, Any], *, deleted: bool) -> None:
        """A revision made elsewhere; its path comes newest first. A known one changes nothing."""
        if path[0] in self.revisions:
            return
        for at, rev in enumerate(path):
            if rev in self.revisions:
                break
            parent = path[at + 1] if at + 1 < len(path) else None
            self.revisions[rev] = Revision(parent, deleted, body) if at == 0 else Revision(parent, False, {}, False)

    def parent_for(self, rev: str | None, *, deletes: bool) -> tuple[bool, str | None]:
        """Whether an interactive write may happen, and on which revision (spec/01 §2.4)."""
        if rev is None:
            return not self.live and not (deletes and self.winner is not None), self.winner
        open_leaves = [leaf for leaf in self.leaves() if not self.revisions[leaf].deleted]
        return self.live and rev in open_leaves, rev

    def _rank(self, rev: str) -> tuple[bool, int, str]:
        return not self.revisions[rev].deleted, generation(rev), rev.partition("-")[2]


def generation(rev: str) -> int:
    """The number before the dash."""
    return int(rev.partition("-")[0])
