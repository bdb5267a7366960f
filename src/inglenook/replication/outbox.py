"""What waits for a member: changes of the sharing's feed, as they will be sent (spec/05 §9, §10, §11).

Reading only. One page of the feed is turned into items: removals, folders and documents for the bulk, files for
the uploader. What the member is known to have already is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from inglenook.files import tree
from inglenook.files.documents import Item
from inglenook.kernel.rules import SharingRule
from inglenook.replication.transform import FILES, Body, outgoing, removal
from inglenook.sharing import tracking
from inglenook.sharing.documents import Sharing
from inglenook.sharing.tracking import Shared
from inglenook.storage.documents.contract import Content, Reader, Record

LONGEST_HISTORY = 200
BEHIND_FOLDERS = 1_000_000
MOST_LEAVES = 20  # of a document in conflict
PAGE_BYTES = 8 * 1024 * 1024
"""Bytes of documents after which a page ends: they are in memory, and in one request."""


@dataclass(frozen=True, slots=True)
class Change:
    """One changed document. `seq` is its place in the feed, `rev` the revision that is sent."""

    doctype: str
    id: str
    seq: int
    rev: str
    document: Body
    depth: int = 0
    removed: bool = False


@dataclass(frozen=True, slots=True)
class FileToSend:
    """A file whose metadata, and content if wanted, is sent. `created` is true for one that has never been sent."""

    id: str
    seq: int
    rev: str
    document: Body
    mime: str
    content: Content | None
    created: bool


@dataclass(slots=True)
class Page:
    """A page of the feed. `last` is the sequence up to which it reaches, `more` whether the feed goes on, `newest` the
    instance's sequence when it was read, `size` the bytes of its documents that are no files."""

    last: int
    more: bool
    bulk: list[Change] = field(default_factory=list[Change])
    removals: list[Change] = field(default_factory=list[Change])
    files: list[FileToSend] = field(default_factory=list[FileToSend])
    revoked: bool = False
    newest: int = 0
    size: int = 0


def read_page(
    view: Reader, sharing: Sharing, index: int, key: bytes, since: int, limit: int, until: int | None = None
) -> Page:
    """The next changes of a sharing for a member, of those up to a sequence (None: all)."""
    found = view.record_feed(tracking.SHARED, sharing.id, since=since, limit=limit)
    records = [record for record in found if until is None or record.seq <= until]
    more = len(records) == limit
    page = Page(records[-1].seq if records else since, more, newest=view.last_seq())
    lineage = tree.Lineage(view)
    for record in records:
        add(view, lineage, sharing, index, key, record, page)
        if page.size > PAGE_BYTES:
            page.last, page.more = record.seq, True
            break
    return page


def read_one(view: Reader, sharing: Sharing, index: int, key: bytes, id: str) -> Page:
    """One document that could not be sent before; `id` is that of its tracking record."""
    page = Page(0, more=False)
    record = view.record(tracking.SHARED, id)
    if record is not None:
        add(view, tree.Lineage(view), sharing, index, key, record, page)
    return page


def add(
    view: Reader, lineage: tree.Lineage, sharing: Sharing, index: int, key: bytes, record: Record, page: Page
) -> None:
    """Put one tracking record where it belongs in a page."""
    shared = tracking.read(record)
    info = shared.infos.get(sharing.id)
    if info is None or info["rule"] >= len(sharing.rules):
        return
    rule = sharing.rules[info["rule"]]
    if info.get("removed") and rule.remove == "revoke":
        page.revoked = True
        return
    if shared.doctype == FILES:
        add_file(view, lineage, shared, rule, index, key, record.seq, page, info)
    else:
        add_document(view, shared, rule, index, key, record.seq, page, info)


def add_document(
    view: Reader, shared: Shared, rule: SharingRule, index: int, key: bytes, seq: int, page: Page, info: dict[str, Any]
) -> None:
    """A document that is not a file: the winner is sent, with its history; so are the other leaves of one in conflict,
    of which the other side must know, that it has the same winner (spec/05 §23)."""
    winner = view.winner(shared.doctype, shared.id)
    history = view.tree(shared.doctype, shared.id)
    if winner is None or history is None:
        return
    for leaf in history.leaves()[:MOST_LEAVES]:
        if has_it(info, index, key, leaf.rev):
            continue
        stored = winner if leaf.rev == winner.rev else view.revision(shared.doctype, shared.id, leaf.rev)
        chain = history.path(leaf.rev)[-LONGEST_HISTORY:]
        gone = leaf.deleted or (stored is winner and bool(info.get("removed")))
        if gone:
            document = removal(shared.id, chain, key)
        elif stored is not None:
            document = outgoing(shared.doctype, shared.id, chain, stored.body, rule, key)
            page.size += len(stored.raw)
        else:
            continue
        page.bulk.append(Change(shared.doctype, shared.id, seq, leaf.rev, document, removed=gone))


def add_file(
    view: Reader,
    lineage: tree.Lineage,
    shared: Shared,
    rule: SharingRule,
    index: int,
    key: bytes,
    seq: int,
    page: Page,
    info: dict[str, Any],
) -> None:
    """A file or folder, or its removal."""
    if info.get("removed"):
        rev = shared.leaf
        crossed = tracking.membership(index, key) in info.get("crossed", ())
        if not info.get("settled") and (crossed or not has_it(info, index, key, rev)):
            depth = 0 if is_folder(view, shared.id) else 1
            page.removals.append(
                Change(FILES, shared.id, seq, rev, removal(shared.id, [rev], key), depth, removed=True)
            )
        return
    document = view.get(FILES, shared.id)
    if document is None or has_it(info, index, key, document.rev):
        return
    item = Item.of(document)
    history = view.tree(FILES, shared.id)
    chain = (history.path(document.rev) if history else [document.rev])[-LONGEST_HISTORY:]
    sent = outgoing(FILES, item.id, chain, item.body, rule, key)
    if item.is_directory:
        page.bulk.append(Change(FILES, item.id, seq, item.rev, sent, len(lineage.ancestors(item))))
    elif not item.trashed:
        content = view.content(FILES, item.id)
        page.files.append(FileToSend(item.id, seq, item.rev, sent, item.mime, content, len(chain) == 1))


def is_folder(view: Reader, id: str) -> bool:
    """Whether a removed item is (was) a folder; one that is gone for good counts as a file."""
    item = tree.get(view, id)
    return item is not None and item.is_directory


def has_it(info: dict[str, Any], index: int, key: bytes, rev: str) -> bool:
    """Whether a member is known to have a revision, because it came from there."""
    known = info.get("known")
    return bool(known) and known.get(tracking.membership(index, key)) == rev


def folders_first(view: Reader, sharing: Sharing, key: bytes) -> list[Change]:
    """All folders of a sharing, parents before children: what a first copy begins with (spec/05 §21.1)."""
    found: list[Change] = []
    since = 0
    lineage = tree.Lineage(view)
    while records := view.record_feed(tracking.SHARED, sharing.id, since=since, limit=500):
        for record in records:
            if not record.id.startswith(FILES + "/"):
                continue
            shared = tracking.read(record)
            info = shared.infos[sharing.id]
            if info.get("removed") or info.get("binary") or info["rule"] >= len(sharing.rules):
                continue
            page = Page(0, more=False)
            add_file(view, lineage, shared, sharing.rules[info["rule"]], -1, key, record.seq, page, info)
            found.extend(page.bulk)
        since = records[-1].seq
    found.sort(key=lambda item: item.depth)
    return found


def folder_with_those_above(view: Reader, sharing: Sharing, key: bytes, id: str) -> list[Change]:
    """A folder of a sharing and the folders above it that are in it too, as they are sent."""
    page = Page(0, more=False)
    lineage = tree.Lineage(view)
    folder = tree.get(view, id)
    for item in [folder, *lineage.ancestors(folder)] if folder is not None else ():
        record = view.record(tracking.SHARED, f"{FILES}/{item.id}")
        if record is not None and item.is_directory:
            add(view, lineage, sharing, -1, key, record, page)
    return page.bulk


def listed(file: FileToSend) -> Change:
    """A file as it is told of in a bulk, behind all folders."""
    return Change(FILES, file.id, file.seq, file.rev, file.document, depth=BEHIND_FOLDERS)


def in_order(items: Sequence[Change]) -> list[Change]:
    """Folders by depth, then files, removals at the end, of folders before those of files (spec/05 §11)."""
    return sorted(items, key=lambda item: (item.removed, item.depth))


def by_doctype(items: Sequence[Change]) -> dict[str, list[Body]]:
    """The body of a bulk."""
    grouped: dict[str, list[Body]] = {}
    for item in items:
        grouped.setdefault(item.doctype, []).append(item.document)
    return grouped
