"""Destroying what has been in the trash for long, where the context says so (spec/02 §21)."""

from __future__ import annotations

import math

from inglenook.files import tree
from inglenook.files.dates import seconds_between
from inglenook.files.destroy import destroy
from inglenook.files.documents import TRASH_ID, Item, text
from inglenook.files.settings import seconds_in_trash
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import DocumentConflict
from inglenook.storage.documents.contract import Reader

MOST = 1000  # of one run


async def clean_old_trashed(instance: Instance) -> int:
    """Destroy what was put in the trash too long ago; gives how many items went, with all that was in them.

    The moment is `cozyMetadata.trashedAt`; what has none (an old document) counts from its `updated_at`."""
    seconds = seconds_in_trash(instance)
    if seconds is None:
        return 0
    now, gone = instance.env.clock.timestamp(), 0
    for item in await instance.store.scan(lambda view: _older(view, now, seconds)):
        try:
            await destroy(instance.store, item)
        except DocumentConflict:
            continue  # somebody has just brought it back
        gone += 1
    return gone


def _older(view: Reader, now: str, seconds: float) -> list[Item]:
    found: list[Item] = []
    for item in tree.children(view, TRASH_ID):
        age = seconds_between(text(item.cozy_metadata.get("trashedAt")) or item.updated_at, now)
        if seconds < age < math.inf:  # infinite: a date that nobody can read
            found.append(item)
            if len(found) == MOST:
                break
    return found
