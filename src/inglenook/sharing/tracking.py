"""Tracking: what is shared, with which revisions, kept in the very transaction of each write (spec/05 §3.1, §7).

One record per shared document (kind `shared`, id `<doctype>/<id>`): the tree of the revisions that this side
knows, and for each sharing an *info*. The record is in the feed of each of its sharings, so that the sender of a
member reads what changed there and nothing else. `track` is the store's hook; the rules it judges by are records
too, written when a sharing document changes (`rules_of`), so that a write without sharings costs one look-up.

An info is `{"rule": i}` plus, only when true, `removed`, `binary`, `dissociated`, and `settled` (on a recipient: since
when the owner knows of the removal), plus `crossed` (on the owner: the members who have removed it while a change of it
was on its way to them, and are told of the removal all the same), plus `given` and `leaves` (where one may only read:
the revision of a file that stands for the owner's state, the leaves of another document that came from the owner), and
`known`: for each membership the last revision that this member is known to have, so that nothing is sent back to where
it came from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from inglenook.files import tree
from inglenook.files.documents import Item
from inglenook.kernel.rules import by_id, references, selects
from inglenook.kernel.shared_tree import SharedTree
from inglenook.sharing import wanted_names
from inglenook.storage.documents.contract import Change, Document, Reader, Record, Writer

FILES = "io.cozy.files"
SHARINGS = "io.cozy.sharings"
CIPHERS = "com.bitwarden.ciphers"
ORGANIZATION = "organization_id"
SHARED = "shared"
ROOT_DIR = "io.cozy.files.root-dir"
TRASH_DIR = "io.cozy.files.trash-dir"

Info = dict[str, Any]


class TrackedRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """One rule of an active sharing, as far as tracking needs it. `rule` is its index in the local rules."""

    sharing: str
    rule: int
    doctype: str
    selector: str
    values: tuple[str, ...]
    updates: bool
    removals: bool


@dataclass(slots=True)
class Shared:
    """The tracking record of one document, loaded for a change."""

    doctype: str
    id: str
    revisions: SharedTree | None
    infos: dict[str, Info]

    def live(self, sharing: str) -> bool:
        """Whether the document is in this sharing now."""
        info = self.infos.get(sharing)
        return info is not None and not info.get("removed")

    def belongs_to_others(self, sharing: str) -> bool:
        """Whether the document is in other sharings, and was never in this one: who may write here cannot reach it."""
        return sharing not in self.infos and any(not info.get("removed") for info in self.infos.values())

    def knows(self, rev: str) -> bool:
        """Whether this revision is anywhere in the tree."""
        return self.revisions is not None and self.revisions.has(rev)

    @property
    def leaf(self) -> str:
        """The revision that is sent: the leaf of the main branch."""
        return self.revisions.leaf() if self.revisions else ""


def load(view: Reader, doctype: str, id: str) -> Shared:
    """The tracking record of a document; an empty one when it is not tracked."""
    record = view.record(SHARED, f"{doctype}/{id}")
    return read(record) if record else Shared(doctype, id, None, {})


def read(record: Record) -> Shared:
    """A tracking record as it is read from a feed."""
    doctype, _, id = record.id.partition("/")
    body = record.body
    return Shared(doctype, id, SharedTree.from_json(body["revisions"]), body["infos"])


def save(tx: Writer, shared: Shared) -> None:
    """Store a tracking record, or remove it when no sharing is left in it."""
    key = f"{shared.doctype}/{shared.id}"
    if not shared.infos or shared.revisions is None:
        tx.delete_record(SHARED, key)
        return
    body = {"revisions": shared.revisions.to_json(), "infos": shared.infos}
    tx.put_record(SHARED, key, body, keys=shared.infos)


def learn(tx: Writer, shared: Shared, rev: str) -> None:
    """Add a revision to the tree, with the ancestors that the store remembers (spec/05 §5.3)."""
    known = tx.tree(shared.doctype, shared.id)
    path = known.path(rev) if known and known.has(rev) else [rev]
    if shared.revisions is None:
        shared.revisions = SharedTree.of_chain(path[-100:])
    else:
        shared.revisions.insert_chain(path[-100:])
        shared.revisions.promote(rev)


# -- the rules in force


def rules_kind(doctype: str) -> str:
    """The kind of the records that hold the rules of one doctype."""
    return f"tracking-rules:{doctype}"


def rules_of(view: Reader, doctype: str) -> list[TrackedRule]:
    """The rules by which documents of this doctype are tracked now, of all sharings."""
    found: list[TrackedRule] = []
    start = ""
    while page := view.records(rules_kind(doctype), start=start, limit=500):
        for record in page:
            found.extend(msgspec.json.decode(record.raw, type=list[TrackedRule]))
        if len(page) < 500:
            break
        start = page[-1].id + "\0"
    return found


def is_tracking(sharing: Mapping[str, Any]) -> bool:
    """Whether the documents of a sharing are tracked: it is active, and on the owner somebody has accepted."""
    if not sharing.get("active") or sharing.get("drive"):
        return False
    if not sharing.get("owner"):
        return True
    return any(m.get("status") == "ready" for m in sharing["members"][1:])


def tracked_rules(id: str, sharing: Mapping[str, Any]) -> list[TrackedRule]:
    """The rules of a sharing, as tracking uses them; local rules are left out (spec/05 §6.2)."""
    return [
        TrackedRule(
            sharing=id,
            rule=i,
            doctype=rule["doctype"],
            selector=rule.get("selector") or "",
            values=tuple(rule["values"]),
            updates=rule.get("update") in ("sync", "push"),
            removals=rule.get("remove") in ("sync", "push", "revoke"),
        )
        for i, rule in enumerate(sharing["rules"])
        if not rule.get("local")
    ]


def follow_sharing(tx: Writer, change: Change) -> None:
    """Keep the rules in force in step with a sharing document that has changed."""
    id = change.new.id
    before = {r.doctype for r in tracked_rules(id, change.old.body)} if change.old else set[str]()
    rules = tracked_rules(id, change.new.body) if not change.new.deleted and is_tracking(change.new.body) else []
    for doctype in before | {r.doctype for r in rules}:
        mine = [r for r in rules if r.doctype == doctype]
        kind = rules_kind(doctype)
        old = tx.record(kind, id)
        raw = msgspec.json.encode(mine)
        if not mine:
            tx.delete_record(kind, id)
        elif old is None or old.raw != raw:
            tx.put_record(kind, id, msgspec.to_builtins(mine))


# -- the hook


def track(tx: Writer, change: Change) -> None:
    """The store's hook: bring the tracking record of a written document up to date."""
    doctype = change.new.doctype
    if doctype == SHARINGS:
        follow_sharing(tx, change)
        return
    rules = rules_of(tx, doctype)
    if not rules:
        return
    if doctype == FILES:
        track_file(tx, change, rules)
    else:
        track_document(tx, change, rules)


def track_document(tx: Writer, change: Change, rules: Sequence[TrackedRule]) -> None:
    """A document that is not a file (spec/05 §7; but for passwords, never "no longer shared" but by deletion)."""
    new = change.new
    shared = load(tx, new.doctype, new.id)
    touched = False
    for rule in rules:
        if not wanted(tx, rule, change):
            continue
        if new.deleted or has_left_organization(rule, change):
            if shared.live(rule.sharing):
                shared.infos[rule.sharing] = {"rule": shared.infos[rule.sharing]["rule"], "removed": True}
                touched = True
        elif selects(rule, new.id, new.body) or (change.old is not None and selects(rule, new.id, change.old.body)):
            touched |= not shared.live(rule.sharing) or not (shared.knows(new.rev) and shared.knows(change.written))
            shared.infos[rule.sharing] = {**carried(shared, rule.sharing), "rule": rule_index(shared, rule)}
    if touched:
        finish(tx, shared, change.written, new.rev)


def has_left_organization(rule: TrackedRule, change: Change) -> bool:
    """Whether a password was taken out of the organization that is shared (spec/05 §7.1)."""
    new, old = change.new, change.old
    if new.doctype != CIPHERS or rule.selector != ORGANIZATION or old is None or selects(rule, new.id, new.body):
        return False
    return old.body.get(ORGANIZATION) != new.body.get(ORGANIZATION)


def track_file(tx: Writer, change: Change, rules: Sequence[TrackedRule]) -> None:
    """A file or folder; when a folder goes in or out, all that is below it goes with it."""
    new, old = change.new, change.old
    shared = load(tx, FILES, new.id)
    is_file = not new.deleted and new.body.get("type") == "file"
    here = {} if new.deleted else memberships(tx, new, rules)
    touched = False
    for rule in rules:
        if not wanted(tx, rule, change):
            continue
        sid = rule.sharing
        if sid in here:
            if here[sid] is not rule:
                continue
            if shared.live(sid) and shared.knows(new.rev):
                continue
            info: Info = {**carried(shared, sid), "rule": rule_index(shared, rule)}
            shared.infos[sid] = {**info, "binary": True} if is_file else info
            touched = True
        elif shared.live(sid):
            shared.infos[sid] = {"rule": shared.infos[sid]["rule"], "removed": True}
            touched = True
        elif sid in shared.infos and is_trashed(change) and not shared.infos[sid].get("settled"):
            touched = True  # it went with its folder; its removal is told with the revision that it has in the trash
    if touched:
        finish(tx, shared, new.rev)
    if old is not None and not new.deleted and not is_file and new.body.get("dir_id") != old.body.get("dir_id"):
        move_below(tx, new.id, old.body.get("dir_id"), new.body.get("dir_id"), rules)


def is_trashed(change: Change) -> bool:
    """Whether a change puts a file in the trash."""
    if change.old is None or change.new.deleted:
        return False
    return bool(change.new.body.get("trashed")) and not change.old.body.get("trashed")


def finish(tx: Writer, shared: Shared, *revs: str) -> None:
    """Learn what was written (and the winner, when that is another revision), note who has it already, save."""
    for rev in revs:
        if not shared.knows(rev):
            learn(tx, shared, rev)
    sharing, member, received = origin(tx)
    if received in revs and sharing in shared.infos:
        shared.infos[sharing].setdefault("known", {})[member] = received
    save(tx, shared)


def move_below(tx: Writer, folder: str, before: str | None, after: str | None, rules: Sequence[TrackedRule]) -> None:
    """A folder has changed its place: everything below it has left some sharings and entered others."""
    by_root = roots(rules)
    if not by_root:
        return
    left = {r.sharing: r for i in ancestors(tx, before) for r in by_root.get(i, ())}
    entered = {r.sharing: r for i in ancestors(tx, after) for r in by_root.get(i, ())}
    lost = [r for sid, r in left.items() if sid not in entered and r.updates]
    gained = [r for sid, r in entered.items() if sid not in left]
    if not lost and not gained:
        return
    for document in tree.walk(tx, folder):
        shared = load(tx, FILES, document.id)
        is_file = document.body.get("type") == "file"
        touched = False
        for rule in lost:
            if shared.live(rule.sharing):
                shared.infos[rule.sharing] = {"rule": shared.infos[rule.sharing]["rule"], "removed": True}
                touched = True
        for rule in gained:
            if not shared.live(rule.sharing) and not (is_file and document.body.get("trashed")):
                info: Info = {"rule": rule_index(shared, rule)}
                shared.infos[rule.sharing] = {**info, "binary": True} if is_file else info
                touched = True
        if touched:
            finish(tx, shared, document.rev)


def wanted(tx: Writer, rule: TrackedRule, change: Change) -> bool:
    """Whether this rule follows this kind of change (spec/05 §6.3); what a member of it sent is always followed."""
    if origin(tx)[0] == rule.sharing or change.verb == "CREATED":
        return True
    return rule.removals if change.verb == "DELETED" else rule.updates


def carried(shared: Shared, sharing: str) -> Info:
    """What stays of an info when the document changes: who has which revision, and what came from the owner."""
    info = shared.infos.get(sharing, {})
    return {name: info[name] for name in ("known", "leaves") if info.get(name)}


def rule_index(shared: Shared, rule: TrackedRule) -> int:
    """The index of the rule that the document came in by, which stays."""
    info = shared.infos.get(rule.sharing)
    return info["rule"] if info else rule.rule


def origin(tx: Writer) -> tuple[str, str, str]:
    """Sharing, membership and revision of the change being applied; empty strings for a local change."""
    sharing, _, rest = tx.origin.partition(" ")
    member, _, rev = rest.partition(" ")
    return sharing, member, rev


def came_from(sharing: str, member: str, rev: str) -> str:
    """The `origin` of a transaction that applies a revision received from a member (see `membership`)."""
    return f"{sharing} {member} {rev}"


def membership(index: int, key: bytes) -> str:
    """Names a member for as long as the membership lasts: who is invited again has the same index, but a new key of
    identifiers, and nothing of what was with him before."""
    return f"{index}-{hashlib.blake2b(key, digest_size=6).hexdigest()}"


# -- matching


def memberships(view: Reader, file: Document | Item, rules: Sequence[TrackedRule]) -> dict[str, TrackedRule]:
    """The sharings that a live file or folder is in, each with the first rule that takes it in.

    What is in the trash is in none. The root folder of a sharing is not tracked (spec/05 §7 step 4a).
    """
    body = file.body
    is_file = body.get("type") == "file"
    if body.get("trashed"):
        return {}
    found: dict[str, TrackedRule] = {}
    above = ancestors(view, body.get("dir_id")) if any(by_id(r) for r in rules) else []
    if TRASH_DIR in above:
        return {}
    referenced = references(body) if is_file else set[str]()
    for rule in rules:
        if by_id(rule):
            chosen = any(i in rule.values for i in above) or (is_file and file.id in rule.values)
            if not is_file and file.id in rule.values:
                chosen = False
        elif rule.selector == "referenced_by":
            chosen = not referenced.isdisjoint(rule.values)
        else:
            chosen = is_file and selects(rule, file.id, body)
        if chosen:
            found.setdefault(rule.sharing, rule)
    return found


def ancestors(view: Reader, dir_id: str | None) -> list[str]:
    """The ids of a folder and of all folders above it, up to the root."""
    found: list[str] = []
    while dir_id and dir_id not in found:
        found.append(dir_id)
        if dir_id in (ROOT_DIR, TRASH_DIR):
            break
        folder = view.get(FILES, dir_id)
        dir_id = folder.body.get("dir_id") if folder else None
    return found


def roots(rules: Iterable[TrackedRule]) -> dict[str, list[TrackedRule]]:
    """The rules by the id of the folder that they share."""
    found: dict[str, list[TrackedRule]] = {}
    for rule in rules:
        if by_id(rule):
            for value in rule.values:
                found.setdefault(value, []).append(rule)
    return found


# -- the first indexing of a sharing (spec/05 §8.2 step 3)


def matching(view: Reader, rule: TrackedRule) -> Iterator[str]:
    """The ids of all documents that a rule takes in, parents before children; the root folder itself is left out."""
    if rule.doctype == FILES and by_id(rule):
        for value in rule.values:
            document = view.get(FILES, value)
            if document is None:
                continue
            if document.body.get("type") == "file":
                yield value
            else:
                yield from (item.id for item in tree.walk(view, value))
    elif rule.doctype == FILES and rule.selector == "referenced_by":
        for value in rule.values:
            doctype, _, id = value.partition("/")
            yield from (item.id for item in tree.referencing(view, doctype, id))
    elif by_id(rule):
        yield from rule.values
    else:
        start = ""
        while page := view.all_docs(rule.doctype, start=start, limit=50):  # whole documents, which may be large
            yield from (d.id for d in page if selects(rule, d.id, d.body))
            start = page[-1].id + "\0"


def index_documents(tx: Writer, rules: Sequence[TrackedRule], ids: Sequence[str]) -> int:
    """Track documents that were there before their sharing began; gives how many were added."""
    added = 0
    for rule in rules:
        for id in ids:
            document = tx.get(rule.doctype, id)
            if document is None:
                continue
            if rule.doctype == FILES:
                if memberships(tx, document, [rule]).get(rule.sharing) is None:
                    continue
            elif not selects(rule, id, document.body):
                continue
            shared = load(tx, rule.doctype, id)
            if shared.live(rule.sharing):
                continue
            info: Info = {"rule": rule.rule}
            is_file = rule.doctype == FILES and document.body.get("type") == "file"
            shared.infos[rule.sharing] = {**info, "binary": True} if is_file else info
            learn(tx, shared, document.rev)
            save(tx, shared)
            added += 1
    return added


# -- the end


def forget_sharing(tx: Writer, sharing: str) -> None:
    """Take a sharing out of all tracking records, with its checkpoints and retries (spec/05 §19)."""
    while page := tx.record_feed(SHARED, sharing, limit=500):
        for record in page:
            shared = read(record)
            shared.infos.pop(sharing, None)
            save(tx, shared)
    tx.delete_record("sharing-setup", sharing)
    tx.delete_record("sharing-initial", sharing)
    wanted_names.forget(tx, sharing)
    while page := tx.records("sharing-link", start=f"{sharing}/", end=f"{sharing}0", limit=500):
        for record in page:
            forget_member(tx, sharing, int(record.id.rpartition("/")[2]))


def forget_member(tx: Writer, sharing: str, index: int) -> None:
    """Forget how far a member was, and what waited for it."""
    tx.set_checkpoint(checkpoint_of(sharing, index), None)
    kind = retry_kind(sharing, index)
    while page := tx.records(kind, limit=500):
        for record in page:
            tx.delete_record(kind, record.id)
    tx.delete_record("sharing-link", f"{sharing}/{index}")


def checkpoint_of(sharing: str, index: int) -> str:
    """The name of the checkpoint of what is sent to a member (spec/05 §3.2)."""
    return f"sharing-{sharing}-{index}/replicator"


def retry_kind(sharing: str, index: int) -> str:
    """The kind of the records of documents that a member has not taken yet."""
    return f"sharing-retry:{sharing}/{index}"


def shared_documents(view: Reader, sharing: str) -> Iterator[tuple[str, str]]:
    """Doctype and id of what is in a sharing now (the `shared_docs` of spec/04 §15)."""
    since = 0
    while page := view.record_feed(SHARED, sharing, since=since, limit=500):
        for record in page:
            shared = read(record)
            if shared.live(sharing):
                yield shared.doctype, shared.id
        since = page[-1].seq
