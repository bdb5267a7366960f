"""What a permit allows on files and directories (spec/02 §10, spec/03 §10.4)."""

from __future__ import annotations

from inglenook.files.documents import FILES, Item
from inglenook.files.tree import Lineage
from inglenook.kernel.permissions import FileFacts, Permit


def require(permit: Permit, verb: str, item: Item, lineage: Lineage) -> None:
    """Check a verb on an item at the place that its body names. Raises Forbidden.

    An item that does not exist yet has an empty id."""
    permit.require_file(verb, facts(item), lambda: [facts(directory) for directory in lineage.ancestors(item)])


def require_whole_type(permit: Permit, verb: str) -> None:
    """Check a verb on all files and directories. Raises Forbidden."""
    permit.require_type(verb, FILES)


def facts(item: Item) -> FileFacts:
    """What permissions look at in an item."""
    return FileFacts(
        id=item.id,
        dir_id=item.dir_id,
        type=str(item.body.get("type", "")),
        name=item.name,
        mime=item.mime,
        class_=item.klass,
        tags=tuple(item.tags),
        referenced_by=tuple((reference["type"], reference["id"]) for reference in item.references),
    )
