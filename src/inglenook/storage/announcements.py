"""What is told to the listeners of an instance without being a document: notices of an app, a thumbnail that was
made, how far a first copy is (spec/07 §2.3, §2.6).

An announcement is a record that lives for a minute: it takes its place in the sequence of the instance between the
writes of documents, every process sees it, and it is gone with the transaction that announced it when that fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from inglenook.storage.documents.contract import Reader, Writer

KIND = "announcement"
FEED = "all"
LIFE = timedelta(minutes=1)
SWEPT = 20
"""Old announcements that a new one takes away, at most."""


class Announcement(msgspec.Struct, frozen=True):
    """`verb` is CREATED, UPDATED, DELETED or NOTIFIED; `doc` holds what is told, without `_id`."""

    verb: str
    doctype: str
    id: str
    doc: dict[str, Any]


def announce(tx: Writer, now: datetime, verb: str, doctype: str, id: str, doc: Mapping[str, Any] | None = None) -> None:
    """Tell whoever listens to a doctype or to this id, once the transaction is committed."""
    for old in tx.records_due(KIND, now.timestamp(), limit=SWEPT):
        tx.delete_record(KIND, old.id)
    body = msgspec.to_builtins(Announcement(verb, doctype, id, dict(doc or {})))
    tx.put_record(KIND, tx.new_id(), body, keys=[FEED], due=(now + LIFE).timestamp())


def announcements(view: Reader, since: int, limit: int) -> list[tuple[int, Announcement]]:
    """What was announced after a sequence, oldest first, each with its own sequence."""
    records = view.record_feed(KIND, FEED, since=since, limit=limit)
    return [(record.seq, msgspec.json.decode(record.raw, type=Announcement)) for record in records]
