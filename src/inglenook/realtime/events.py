"""From the journal and the announcements of an instance to the events of its listeners (spec/07 §2.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from inglenook.files.documents import FILES
from inglenook.files.tree import with_path
from inglenook.storage.announcements import announcements
from inglenook.storage.documents.contract import JournalEntry, Reader

PAGE = 100
"""Entries looked at in one reading."""

SECRETS = {
    "io.cozy.sharings": ("credentials",),
    "io.cozy.permissions": ("codes", "shortcodes", "password"),
    "io.cozy.oauth.clients": ("client_secret", "registration_access_token", "notification_device_token"),
    "io.cozy.sessions": ("code",),
    "io.cozy.settings": ("security_stamp", "public_key", "private_key", "key", "two_factor_secret"),
}
"""Members of documents that no event has: credentials, states and tokens never leave by this way (spec/00)."""

Wanted = Callable[[str, str], bool]
"""Whether somebody listens to a doctype and an id."""


class Event(msgspec.Struct, frozen=True):
    """What a listener is told; `doc` has its `_id`, and `_rev` when it is a document."""

    verb: str
    doctype: str
    id: str
    doc: dict[str, Any]

    def frame(self) -> str:
        """The text of the websocket frame."""
        payload = {"type": self.doctype, "id": self.id, "doc": self.doc}
        return msgspec.json.encode({"event": self.verb, "payload": payload}).decode()


def events_after(view: Reader, since: int, wanted: Wanted) -> tuple[list[Event], int]:
    """The wanted events of the next page after a sequence, and the sequence to go on from.

    The page is the last one when that sequence is the one given."""
    entries = view.journal(since=since, limit=PAGE)
    notices = announcements(view, since, PAGE)
    ends = [page[-1] for page in ([e.seq for e in entries], [seq for seq, _ in notices]) if len(page) == PAGE]
    end = min(ends) if ends else max([since, *(e.seq for e in entries), *(seq for seq, _ in notices)])
    found: list[tuple[int, Event]] = []
    for place, entry in enumerate(entries):
        if entry.seq <= end and wanted(entry.doctype, entry.id):
            doc = _document(view, entry, entries[place:])
            found.append((entry.seq, Event(_verb(entry, doc), entry.doctype, entry.id, doc)))
    for seq, notice in notices:
        if seq <= end and wanted(notice.doctype, notice.id):
            doc = {**notice.doc, "_id": notice.id}
            found.append((seq, Event(notice.verb, notice.doctype, notice.id, doc)))
    found.sort(key=lambda pair: pair[0])
    return [event for _, event in found], end


def _verb(entry: JournalEntry, doc: dict[str, Any]) -> str:
    """What is told of a write. Documents and folders that another member has made are told as changed ones, as the
    apps know it; files are told as new (spec/05 §13-15)."""
    received = entry.verb == "CREATED" and bool(entry.origin)
    return "UPDATED" if received and doc.get("type") != "file" else entry.verb


def _document(view: Reader, entry: JournalEntry, later: list[JournalEntry]) -> dict[str, Any]:
    """The document of an event: as it is now, or its last content when it is gone by now."""
    raw, rev = entry.last_body, entry.rev
    if entry.verb != "DELETED":
        winner = view.get(entry.doctype, entry.id)
        if winner is not None:
            raw, rev = winner.raw, winner.rev
        else:
            ends = (end for end in later if (end.doctype, end.id) == (entry.doctype, entry.id))
            raw = next((end.last_body for end in ends if end.last_body), None)
    body: dict[str, Any] = msgspec.json.decode(raw) if raw else {}
    if entry.doctype == FILES:
        body = with_path(view, entry.id, body)
    for name in SECRETS.get(entry.doctype, ()):
        body.pop(name, None)
    return {"_id": entry.id, "_rev": rev, **body}
