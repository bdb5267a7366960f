"""Which index answers a query, and which range of it (spec/01 §9.5).

Works on the normalised selector and the definitions alone; nothing is read. A *condition* is one operator on one
field that must hold for every document found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from inglenook.documents.mango.definitions import Definition, value_key
from inglenook.documents.mango.requests import Query
from inglenook.documents.presenting import COMPUTED
from inglenook.kernel.errors import BadDocument

NO_INDEX = "no matching index found, create an index"
NO_SORT_INDEX = "No index exists for this sort, try indexing by the sort fields."

_RANGE_OPERATORS = ("$eq", "$lt", "$lte", "$gt", "$gte", "$beginsWith")
_LAST_CHARACTER = "\uffff"


@dataclass(frozen=True, slots=True)
class Condition:
    """`field` `operator` `value`, on every document found."""

    field: str
    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class Plan:
    """How a query is answered: entries with start <= key < end of an index, upwards or downwards.

    `exact` tells that every entry of the range matches, so that documents need not be looked at. `warning` is what
    the client is told about its `use_index`, empty for nothing."""

    definition: Definition
    start: bytes
    end: bytes
    descending: bool
    exact: bool
    warning: str = ""

    @property
    def empty(self) -> bool:
        """Whether the conditions contradict each other."""
        return self.start >= self.end


def plan(query: Query, definitions: Sequence[Definition]) -> Plan:
    """The plan for a query over the indexes of a doctype.

    Raises BadDocument: `no_usable_index` for a sort that none has, `no_index` when all documents would be read."""
    conditions = list(conditions_of(query.selector))
    named = [definition for definition in definitions if _is_named(definition, query.use_index)]
    usable = [
        definition
        for definition in definitions
        if (not definition.partial or definition in named) and _is_usable(definition, query, conditions)
    ]
    if not usable:
        raise _refusal(query, conditions)
    wanted = [definition for definition in usable if definition in named]
    warning = "" if wanted or not query.use_index else _not_used(query.use_index)
    fields = {condition.field for condition in conditions if condition.operator in _RANGE_OPERATORS}
    chosen = min(wanted or usable, key=lambda definition: _preference(definition, fields))
    start, end, used = key_range(chosen, conditions)
    exact = used == len(conditions) and _is_conjunction(query.selector) and query.selector != {"$or": []}
    return Plan(chosen, start, end, query.descending, exact, warning)


# -- what a selector requires


def conditions_of(selector: dict[str, Any]) -> Iterator[Condition]:
    """The conditions that hold for all documents found: those of the top-level conjunction."""
    for name, value in selector.items():
        if name == "$and":
            for part in cast("list[dict[str, Any]]", value):
                yield from conditions_of(part)
        elif not name.startswith("$"):
            for operator, argument in cast("dict[str, Any]", value).items():
                yield Condition(name, operator, argument)


def requires(selector: dict[str, Any], field: str) -> bool:
    """Whether a document found surely has the field: by a condition, or by one in every branch of an `$or`."""
    for name, value in selector.items():
        match name:
            case "$and":
                if any(requires(part, field) for part in cast("list[dict[str, Any]]", value)):
                    return True
            case "$or":
                parts = cast("list[dict[str, Any]]", value)
                if parts and all(requires(part, field) for part in parts):
                    return True
            case _:
                if name == field and value != {"$exists": False}:
                    return True
    return False


def _is_conjunction(selector: dict[str, Any]) -> bool:
    return all(
        all(_is_conjunction(part) for part in cast("list[dict[str, Any]]", value))
        if name == "$and"
        else name[:1] != "$"
        for name, value in selector.items()
    )


# -- choosing


def _is_named(definition: Definition, use_index: tuple[str, ...]) -> bool:
    # clients write the conditions of a partial index into the name of its design document, paths with a slash included
    return "/".join(use_index) == definition.ddoc or use_index == (definition.ddoc, definition.name)


def _is_usable(definition: Definition, query: Query, conditions: Sequence[Condition]) -> bool:
    for field in definition.fields:
        if field not in ("_id", "_rev") and field not in query.sort and not requires(query.selector, field):
            return False
    fixed = {condition.field for condition in conditions if condition.operator == "$eq"}
    return _serves_sort(definition.fields, query.sort, fixed)


def _serves_sort(fields: tuple[str, ...], sort: tuple[str, ...], fixed: set[str]) -> bool:
    """Whether the sort is a run of the fields, after some leading ones with a fixed value."""
    for skipped in range(len(fields)):
        if fields[skipped : skipped + len(sort)] == sort:
            return True
        if fields[skipped] not in fixed:
            return False
    return not sort


def _preference(definition: Definition, fields: set[str]) -> tuple[int, int, str, str]:
    covered = 0
    for field in definition.fields:
        if field not in fields:
            break
        covered += 1
    return len(fields) - covered, len(definition.fields), definition.ddoc, definition.name


def _refusal(query: Query, conditions: Sequence[Condition]) -> BadDocument:
    by_id = query.sort == ("_id",) and any(
        condition.field == "_id" and condition.operator in _RANGE_OPERATORS for condition in conditions
    )
    if query.sort and not by_id:
        return BadDocument("no_usable_index", NO_SORT_INDEX)
    return BadDocument("no_index", NO_INDEX)


def _not_used(use_index: tuple[str, ...]) -> str:
    if len(use_index) == 2:
        return f"{use_index[0]}, {use_index[1]} was not used because it is not a valid index for this query."
    return f"{use_index[0]} was not used because it does not contain a valid index for this query."


# -- the range


def key_range(definition: Definition, conditions: Sequence[Condition]) -> tuple[bytes, bytes, int]:
    """The first key and the key behind the last one that the conditions on the leading fields allow.

    Also gives how many of the conditions the range expresses exactly."""
    prefix, used = b"", 0
    computed = COMPUTED.get(definition.doctype, {})
    for field in definition.fields:
        if field in computed:
            break
        mine = [condition for condition in conditions if condition.field == field]
        if field == "_rev" or not mine:
            break
        low, high = b"", behind(b"")
        equal: bytes | None = None
        for condition in mine:
            key = value_key(field, condition.value)
            match condition.operator:
                case "$eq":
                    low, high, equal = max(low, key), min(high, behind(key)), key
                case "$gt":
                    low = max(low, behind(key))
                case "$gte":
                    low = max(low, key)
                case "$lt":
                    high = min(high, key)
                case "$lte":
                    high = min(high, behind(key))
                case "$beginsWith":
                    low = max(low, key)
                    high = min(high, behind(value_key(field, str(condition.value) + _LAST_CHARACTER)))
                    used -= 1
                case _:
                    used -= 1
            used += 1
        if low >= high:
            return prefix, prefix, used
        if equal is None:
            return prefix + low, prefix + high if high != behind(b"") else behind(prefix), used
        prefix += equal
    return prefix, behind(prefix), used


def behind(prefix: bytes) -> bytes:
    """The first key behind all that start with a prefix."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else b"\xff" * 8
