"""Documents that refer to files, and clients that leave directories out (spec/02 §19, spec/01 §11)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from inglenook.files import tree
from inglenook.files.documents import FILES, Item, set_or_drop, text
from inglenook.files.indexes import (
    LEFT_OUT,
    REFERENCES,
    REFERENCES_BY_DATE,
    after,
    reference_date_key,
    reference_prefix,
)
from inglenook.files.stamps import Stamp, touched
from inglenook.files.store import update_item
from inglenook.kernel.errors import InvalidAttribute
from inglenook.kernel.jsonapi import Reference
from inglenook.storage.documents.contract import Body, Index, Reader, Writer

# -- changing


def check_references(references: Iterable[Reference]) -> None:
    """Refuse references without id or type. Raises InvalidAttribute."""
    for reference in references:
        for member in ("id", "type"):
            if not getattr(reference, member):
                raise InvalidAttribute("A reference needs an id and a type", pointer=f"/data/{member}")


def add_references(tx: Writer, item: Item, references: Iterable[Reference], stamp: Stamp) -> Item:
    """Add references to a file or directory, each once."""
    return _rewrite(tx, item, "referenced_by", _with(item.references, references), stamp)


def remove_references(tx: Writer, item: Item, references: Iterable[Reference], stamp: Stamp) -> Item:
    """Take references off a file or directory; those it does not have are ignored."""
    return _rewrite(tx, item, "referenced_by", _without(item.references, references), stamp)


def leave_out(tx: Writer, item: Item, clients: Iterable[Reference], stamp: Stamp) -> Item:
    """Leave a directory out on clients, each once."""
    return _rewrite(tx, item, "not_synchronized_on", _with(item.not_synchronized_on, clients), stamp)


def take_in(tx: Writer, item: Item, clients: Iterable[Reference], stamp: Stamp) -> Item:
    """Synchronize a directory on clients again."""
    return _rewrite(tx, item, "not_synchronized_on", _without(item.not_synchronized_on, clients), stamp)


def with_legacy_form(reference: Reference) -> list[Reference]:
    """A reference, and the form in which old clients stored it: with its id still percent-encoded."""
    if "/" not in reference.id:
        return [reference]
    return [reference, Reference(reference.type, quote(reference.id, safe=""))]


def _with(present: list[dict[str, str]], added: Iterable[Reference]) -> list[dict[str, str]]:
    result = list(present)
    for reference in added:
        entry = {"id": reference.id, "type": reference.type}
        if entry not in result:
            result.append(entry)
    return result


def _without(present: list[dict[str, str]], removed: Iterable[Reference]) -> list[dict[str, str]]:
    gone = [{"id": reference.id, "type": reference.type} for reference in removed]
    return [entry for entry in present if entry not in gone]


def _rewrite(tx: Writer, item: Item, member: str, entries: list[dict[str, str]], stamp: Stamp) -> Item:
    body: Body = {**item.body, "cozyMetadata": touched(item, stamp)}
    set_or_drop(body, member, entries)
    return update_item(tx, item, body)


# -- listing


@dataclass(frozen=True, slots=True)
class Order:
    """How the items that carry a reference are listed: by which index, which way, and whether keys end with a date."""

    index: Index
    descending: bool = False
    dated: bool = False


ORDERS = {
    "": Order(REFERENCES),
    "id": Order(REFERENCES),
    "-id": Order(REFERENCES, descending=True),
    "datetime": Order(REFERENCES_BY_DATE, dated=True),
    "-datetime": Order(REFERENCES_BY_DATE, descending=True, dated=True),
}
LEFT_OUT_ORDER = Order(LEFT_OUT)


@dataclass(frozen=True, slots=True)
class ReferringPage:
    """A page of the items that carry a reference, how many there are in all, and the first one of the next page as
    the wire's cursor names it: its key and id (None: this is the last page)."""

    items: Sequence[Item]
    total: int
    next: tuple[list[str], str] | None


def referring(
    view: Reader,
    reference: Reference,
    order: Order,
    *,
    limit: int,
    skip: int = 0,
    start: tuple[list[str], str] | None = None,
) -> ReferringPage:
    """A page of the items that carry a reference, from `start` (a cursor) or behind the first `skip` ones."""
    prefix = reference_prefix(reference.type, reference.id)
    end = after(prefix)
    found: list[Item] = []
    position: tuple[bytes, str] | None = None
    if start is not None:
        key, id = start
        position = (_key(reference, order, key[2] if len(key) > 2 else ""), id)
        first = tree.get(view, id)
        if first is not None and _carries(first, reference, order):
            found.append(first)
        skip = 0
    rows = view.index_docs(
        order.index,
        start=prefix,
        end=end,
        after=position,
        descending=order.descending,
        skip=skip,
        limit=limit + 1 - len(found),
    )
    found += [Item.of(document) for _, document in rows]
    total = view.index_count(order.index, start=prefix, end=end)
    following = found[limit] if len(found) > limit else None
    cursor = None if following is None else (_wire_key(reference, order, following), following.id)
    return ReferringPage(found[:limit], total, cursor)


def count_referenced(view: Reader, doctype: str, id: str) -> int:
    """How many files and directories carry a reference to a document."""
    prefix = reference_prefix(doctype, id)
    return view.index_count(REFERENCES, start=prefix, end=after(prefix))


def find_all(view: Reader, ids: Iterable[str]) -> list[Item]:
    """Files and directories by their ids, each once. Raises NotFound when one is missing, BadDocument as
    `tree.find`."""
    found: list[Item] = []
    wanted = list(dict.fromkeys(ids))
    for id in wanted:
        tree.check_id(id)
    for document in view.get_many(FILES, wanted):
        if document is None or document.deleted:
            raise tree.missing()
        found.append(Item.of(document))
    return found


def _date(item: Item) -> str:
    return text(item.metadata.get("datetime"))


def _key(reference: Reference, order: Order, date: str) -> bytes:
    if order.dated:
        return reference_date_key(reference.type, reference.id, date)
    return reference_prefix(reference.type, reference.id)


def _wire_key(reference: Reference, order: Order, item: Item) -> list[str]:
    return [reference.type, reference.id, *([_date(item)] if order.dated else [])]


def _carries(item: Item, reference: Reference, order: Order) -> bool:
    entries = item.not_synchronized_on if order.index is LEFT_OUT else item.references
    return {"id": reference.id, "type": reference.type} in entries
