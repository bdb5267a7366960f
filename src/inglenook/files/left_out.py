"""Directories that a client leaves out, as its changes feed hides them (spec/02 §14.8, spec/01 §7.1)."""

from __future__ import annotations

from inglenook.files.documents import CLIENTS, Item
from inglenook.files.tree import Lineage
from inglenook.storage.documents.contract import Document, Reader


def is_left_out(lineage: Lineage, client_id: str, item: Item) -> bool:
    """Whether a client leaves an item out: itself, or a directory above it."""
    reference = {"id": client_id, "type": CLIENTS}
    return any(reference in directory.not_synchronized_on for directory in [item, *lineage.ancestors(item)])


def hidden(view: Reader, client_id: str, document: Document) -> bool:
    """`is_left_out` for a stored document (for `documents.changes`)."""
    return is_left_out(Lineage(view), client_id, Item.of(document))
