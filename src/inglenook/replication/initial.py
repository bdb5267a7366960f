"""The first copy, as a recipient sees it: how many files have come, and when it has ended (spec/05 §8.3)."""

from __future__ import annotations

from datetime import datetime

from inglenook.sharing import documents
from inglenook.storage.announcements import announce
from inglenook.storage.documents.contract import Writer

KIND = "sharing-initial"
EVENTS = "io.cozy.sharings.initial_sync"


def count_received(tx: Writer, sharing_id: str, now: datetime) -> None:
    """Count one more file; when all that were announced are there, the first copy has ended."""
    sharing = documents.get(tx, sharing_id)
    if sharing is None or not sharing.initial_number_of_files_to_sync:
        return
    record = tx.record(KIND, sharing_id)
    count = (record.body["count"] if record else 0) + 1
    if count >= sharing.initial_number_of_files_to_sync:
        end_initial_sync(tx, sharing_id, now)
    else:
        tx.put_record(KIND, sharing_id, {"count": count})
        announce(tx, now, "UPDATED", EVENTS, sharing_id, {"count": count})


def end_initial_sync(tx: Writer, sharing_id: str, now: datetime) -> None:
    """The first copy has ended; nothing happens the second time."""
    sharing = documents.get(tx, sharing_id)
    tx.delete_record(KIND, sharing_id)
    if sharing is None or not (sharing.initial_number_of_files_to_sync or sharing.initial_sync):
        return
    sharing.initial_number_of_files_to_sync = 0
    sharing.initial_sync = False
    documents.save(tx, sharing)
    announce(tx, now, "DELETED", EVENTS, sharing_id)
