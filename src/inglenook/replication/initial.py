"""The first copy, as a recipient sees it: how many files have come, and when it has ended (spec/05 §8.3)."""

from __future__ import annotations

from inglenook.identity.instance import Instance
from inglenook.sharing import documents, folder
from inglenook.storage.announcements import announce
from inglenook.storage.documents.contract import Writer

KIND = "sharing-initial"


def count_received(tx: Writer, instance: Instance, sharing_id: str) -> None:
    """Count one more file, and tell the listeners; when all that were announced are there, the first copy has ended."""
    sharing = documents.get(tx, sharing_id)
    if sharing is None or not sharing.initial_number_of_files_to_sync:
        return
    record = tx.record(KIND, sharing_id)
    count = (record.body["count"] if record else 0) + 1
    if count >= sharing.initial_number_of_files_to_sync:
        end_initial_sync(tx, instance, sharing_id)
    else:
        tx.put_record(KIND, sharing_id, {"count": count})
        now = instance.env.clock.now()
        announce(tx, now, "UPDATED", documents.INITIAL_SYNC, sharing_id, {"count": count})


def end_initial_sync(tx: Writer, instance: Instance, sharing_id: str) -> None:
    """The first copy has ended: the folder is there, also when nothing has come. Nothing happens the second time."""
    sharing = documents.get(tx, sharing_id)
    tx.delete_record(KIND, sharing_id)
    if sharing is None or not (sharing.initial_number_of_files_to_sync or sharing.initial_sync):
        return
    sharing.initial_number_of_files_to_sync = 0
    sharing.initial_sync = False
    documents.save(tx, sharing)
    announce(tx, instance.env.clock.now(), "DELETED", documents.INITIAL_SYNC, sharing_id)
    rule = sharing.files_rule()
    if rule is not None and not rule.mime and sharing.active and not sharing.drive:
        folder.ensure_sharing_folder(tx, instance, sharing)
