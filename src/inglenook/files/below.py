"""What follows for the directories below a directory whose path has changed: each gets a new revision (spec/02 §12.2).

The first ones get theirs in the transaction of the change, so that a client sees them at once. The others of a large
tree follow behind it, a slice at a time, so that nobody waits for them: paths are computed, and right all the while. A
record tells which directory is meant, and up to which sequence what is below it is older than the change.
"""

from __future__ import annotations

from itertools import islice

import msgspec

from inglenook.files import tree
from inglenook.files.documents import FILES, Item
from inglenook.identity.instance import Instance
from inglenook.storage.documents.contract import JournalEntry, Reader, Writer

AT_ONCE = 500  # directories in the transaction of the change
SLICE = 100  # in each of those behind it

_CHANGED = "files/changed-path"  # records, by the id of the directory


class _Change(msgspec.Struct, frozen=True):
    """A change whose directories below are not all done: those written at `seq` or before have the old revision."""

    seq: int
    origin: str


def touch_directories_below(tx: Writer, item: Item) -> None:
    """Give each directory below a directory a new revision, as its path changes: the first at once, the others later
    by `touch_the_rest`."""
    if not item.is_directory:
        return
    change = _Change(tx.last_seq(), tx.origin)
    below = tree.directories_below(tx, item.id)
    for directory in islice(below, AT_ONCE):
        tx.put(FILES, directory.id, directory.body, rev=directory.rev)
    if next(below, None) is not None:
        tx.put_record(_CHANGED, item.id, msgspec.to_builtins(change))


def has_rest(view: Reader, entry: JournalEntry) -> bool:
    """Whether a change in the journal is of a directory whose directories below are not all done."""
    return entry.doctype == FILES and view.record(_CHANGED, entry.id) is not None


async def touch_the_rest(instance: Instance, entries: list[JournalEntry]) -> None:
    """Do what the changes of some directories have left."""
    store = instance.store
    for id in dict.fromkeys(entry.id for entry in entries):
        record = await store.read(lambda view, id=id: view.record(_CHANGED, id))
        if record is None:
            continue
        change = msgspec.convert(record.body, _Change)
        ids = await store.scan(lambda view, id=id: [item.id for item in tree.directories_below(view, id)])
        for at in range(0, len(ids), SLICE):
            some = ids[at : at + SLICE]
            await store.write(lambda tx, some=some, change=change: _touch(tx, some, change))
        await store.write(lambda tx, id=id, change=change: _end(tx, id, change))


def _touch(tx: Writer, ids: list[str], change: _Change) -> None:
    before, tx.origin = tx.origin, change.origin
    for document in tx.get_many(FILES, ids):
        if document is not None and not document.deleted and document.seq <= change.seq:
            tx.put(FILES, document.id, document.body, rev=document.rev)
    tx.origin = before


def _end(tx: Writer, id: str, change: _Change) -> None:
    record = tx.record(_CHANGED, id)
    if record is not None and msgspec.convert(record.body, _Change) == change:
        tx.delete_record(_CHANGED, id)
