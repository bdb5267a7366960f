"""Which revision a write makes, whatever the database (spec/01 §2.4, §2.11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inglenook.kernel.errors import BadDocument, DocumentConflict
from inglenook.kernel.revisions import RevisionTree, next_rev, normalise


def add_leaf(
    tree: RevisionTree, winner: str | None, body: Mapping[str, Any], rev: str | None, *, dead: bool, deleted: bool
) -> str:
    """Add to a document's tree what is written interactively; gives the new revision.

    `winner` is the winning revision before (None: the document was never there), `dead` says that it is a tombstone.
    Raises DocumentConflict, BadDocument (a malformed `rev`)."""
    parent: str | None = None
    if rev is not None:
        parent = normalise(rev)
        leaf = None if winner is None or dead else tree.leaf(parent)
        if leaf is None or leaf.deleted:
            raise DocumentConflict
    elif winner is not None:
        if not dead or deleted:
            raise DocumentConflict
        parent = winner
    written = next_rev(parent, body, deleted=deleted)
    tree.insert([written] if parent is None else [parent, written], deleted)
    return written


def next_local_rev(rev: str | None) -> str:
    """The revision of a local document that follows another one. Raises BadDocument."""
    zero, _, count = (rev or "0-0").partition("-")
    if zero != "0" or not count.isascii() or not count.isdigit() or len(count) > 16:
        raise BadDocument("bad_request", "Invalid rev format")
    return f"0-{int(count) + 1}"
