"""The setup of a sharing on its owner: what was there before is tracked, once (spec/05 §8.2 step 3).

New changes are tracked from the moment the first member is ready (`sharing.tracking`), so that indexing may go on
beside them in small transactions: a document that is tracked already is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from inglenook.identity.instance import Instance
from inglenook.sharing import documents, tracking
from inglenook.sharing.documents import Sharing
from inglenook.storage.documents.contract import Reader, Writer

KIND = "sharing-setup"
STEP = 500


async def set_up(instance: Instance, sharing: Sharing) -> None:
    """Track everything that the rules of a sharing take in; nothing happens the second time, or once it has ended."""
    if await instance.store.read(lambda view: view.record(KIND, sharing.id) is not None):
        return
    rules = tracking.tracked_rules(sharing.id, documents.to_body(sharing))

    def candidates(view: Reader) -> list[tuple[int, str]]:
        return [(i, id) for i, rule in enumerate(rules) for id in tracking.matching(view, rule)]

    found = await instance.store.scan(candidates)
    for i, group in groupby(found, key=lambda pair: pair[0]):
        ids = [id for _, id in group]
        for start in range(0, len(ids), STEP):
            batch = ids[start : start + STEP]
            await instance.store.write(lambda tx, i=i, batch=batch: _track(tx, sharing.id, rules[i], batch))

    def finish(tx: Writer) -> None:
        if _goes_on(tx, sharing.id):
            tx.put_record(KIND, sharing.id, {"done": True})

    await instance.store.write(finish)


def _track(tx: Writer, sharing_id: str, rule: tracking.TrackedRule, ids: Sequence[str]) -> None:
    if _goes_on(tx, sharing_id):  # nothing is left of a sharing that ends meanwhile
        tracking.index_documents(tx, [rule], ids)


def _goes_on(tx: Writer, sharing_id: str) -> bool:
    current = documents.get(tx, sharing_id)
    return current is not None and current.active
