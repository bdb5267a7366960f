"""Names that wait: what had to give its name to something that was received, where nobody is told of that.

On a recipient a received document keeps its name, and what has that name there is renamed (spec/05 §17.3). Who may
write tells the owner of the new name. Who may only read tells nobody: what was renamed would keep the new name for
ever, also when the other one has the name for a moment only. So it is remembered which name it had, and when that
becomes free, it has it again. What its user renames or moves waits no longer.

A record (`wanted-name`, `<folder>/<id>`) remembers the name; the hook notes a folder (`freed-name`) where one has
become free. Who looks after these notes is `replication.names`.
"""

from __future__ import annotations

import msgspec

from inglenook.files.documents import FILES
from inglenook.storage.documents.contract import Change, Reader, Writer

WANTED = "wanted-name"
FREED = "freed-name"
MOST_WAITING = 1000  # in one folder


class Wanted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The name that an item had before it was renamed to `instead`; `given` when it came from the sharing's owner."""

    name: str
    instead: str
    sharing: str
    given: bool = False


def wait(tx: Writer, dir_id: str, id: str, wanted: Wanted) -> None:
    """Remember the name that something shall have again."""
    tx.put_record(WANTED, f"{dir_id}/{id}", msgspec.to_builtins(wanted))


def waited_for(view: Reader, dir_id: str, id: str) -> Wanted | None:
    """The name that something waits for."""
    record = view.record(WANTED, f"{dir_id}/{id}")
    return msgspec.json.decode(record.raw, type=Wanted) if record is not None else None


def waiting_in(view: Reader, dir_id: str) -> dict[str, Wanted]:
    """What waits for a name in a folder, by id; what came from an owner first."""
    found = view.records(WANTED, start=f"{dir_id}/", end=f"{dir_id}0", limit=MOST_WAITING)
    waiting = [(record.id.rpartition("/")[2], msgspec.json.decode(record.raw, type=Wanted)) for record in found]
    return dict(sorted(waiting, key=lambda pair: not pair[1].given))


def done(tx: Writer, dir_id: str, id: str) -> None:
    """Something waits no longer."""
    tx.delete_record(WANTED, f"{dir_id}/{id}")


def freed(view: Reader) -> list[str]:
    """Some folders where a name has become free while something waits there."""
    return [record.id for record in view.records(FREED, limit=100)]


def looked(tx: Writer, dir_id: str) -> None:
    """A folder has been looked through."""
    tx.delete_record(FREED, dir_id)


def forget(tx: Writer, sharing: str) -> None:
    """Nothing waits any more because of a sharing, which has ended."""
    start = ""
    while page := tx.records(WANTED, start=start, limit=500):
        for record in page:
            if msgspec.json.decode(record.raw, type=Wanted).sharing == sharing:
                tx.delete_record(WANTED, record.id)
        start = page[-1].id + "\0"


def follow(tx: Writer, change: Change) -> None:
    """The store's hook: note where a name becomes free while something waits in that folder."""
    new, old = change.new, change.old
    if new.doctype != FILES or old is None:
        return
    dir_id = old.body.get("dir_id")
    if not new.deleted and (new.body.get("dir_id"), new.body.get("name")) == (dir_id, old.body.get("name")):
        return
    if tx.records(WANTED, start=f"{dir_id}/", end=f"{dir_id}0", limit=1):
        done(tx, str(dir_id), new.id)
        tx.put_record(FREED, str(dir_id), {})
