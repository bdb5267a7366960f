"""The bodies of `_index` and `_find`, read and checked with the error names of clients (spec/01 §8.1, §8.2, §9.8)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from inglenook.kernel import selectors
from inglenook.kernel.errors import BadDocument, Unavailable
from inglenook.storage.documents.contract import Body

DESIGN = "_design/"
DEFAULT_LIMIT = 100
MAXIMUM_LIMIT = 1000

_INDEX_KEYS = frozenset({"index", "ddoc", "name", "type", "w", "partitioned"})
_DEFINITION_KEYS = frozenset({"fields", "partial_filter_selector"})
_FIND_KEYS = frozenset(
    {
        "selector", "limit", "skip", "sort", "fields", "use_index", "bookmark", "execution_stats", "conflicts",
        "update", "stable", "stale", "r", "partition", "allow_fallback",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class IndexRequest:
    """An index to make. `fields` have their directions; `definition` is kept as received, `partial` is its normalised
    filter, `{}` without one.

    `named` tells whether the client chose the name."""

    ddoc: str
    name: str
    named: bool
    fields: dict[str, str]
    partial: dict[str, Any]
    definition: dict[str, Any]

    @classmethod
    def read(cls, body: Body) -> IndexRequest:
        """Raises BadDocument, Unavailable for a type of index that is not offered."""
        definition = _required(body, "index")
        _only(body, _INDEX_KEYS)
        if not isinstance(definition, dict):
            raise BadDocument("invalid_index", "The definition of an index is an object.")
        definition = cast("dict[str, Any]", definition)
        if body.get("type", "json") == "text":
            raise Unavailable("Text indexes are not offered", title="required")
        if body.get("type", "json") not in ("json", "special"):
            raise BadDocument("invalid_index", "The type of an index is `json`.")
        fields = sort_fields(_required(definition, "fields"))
        if not fields:
            raise BadDocument("invalid_fields", "An index has at least one field.")
        _only(definition, _DEFINITION_KEYS)
        digest = hashlib.sha1(msgspec.json.encode(definition), usedforsecurity=False).hexdigest()
        ddoc, name = _name(body, "ddoc", digest), _name(body, "name", digest)
        filter = definition.get("partial_filter_selector", {})
        return cls(
            ddoc=ddoc if ddoc.startswith(DESIGN) else DESIGN + ddoc,
            name=name,
            named="name" in body,
            fields=dict(fields),
            partial=selectors.normalise(filter) if filter != {} else {},
            definition=definition,
        )


@dataclass(frozen=True, slots=True)
class Query:
    """A query. `selector` is normalised; `fields` empty: whole documents; `use_index` names a design document (with
    its prefix) and maybe a view in it; `descending` is the one direction of `sort`."""

    selector: dict[str, Any]
    limit: int = DEFAULT_LIMIT
    skip: int = 0
    sort: tuple[str, ...] = ()
    descending: bool = False
    fields: tuple[str, ...] = ()
    use_index: tuple[str, ...] = ()
    bookmark: str = ""
    execution_stats: bool = False
    conflicts: bool = False

    @classmethod
    def read(cls, body: Body) -> Query:
        """The query in a body. Raises BadDocument."""
        selector = _required(body, "selector")
        if not isinstance(selector, dict):
            raise BadDocument("invalid_selector_json", f"Selector must be a JSON object, not: {_shown(selector)}")
        _only(body, _FIND_KEYS)
        sort = sort_fields([] if body.get("sort") is None else body["sort"])
        return cls(
            selector=selectors.normalise(selector),
            limit=_limit(body.get("limit")),
            skip=_count(body.get("skip", 0)),
            sort=tuple(path for path, _ in sort),
            descending=bool(sort) and sort[0][1] == "desc",
            fields=_fields(body.get("fields")),
            use_index=_use_index(body.get("use_index")),
            bookmark=_text(body.get("bookmark")),
            execution_stats=_flag(body, "execution_stats"),
            conflicts=_flag(body, "conflicts"),
        )


def sort_fields(value: object) -> list[tuple[str, str]]:
    """Fields with their direction, all the same. Raises BadDocument."""
    if not isinstance(value, list):
        raise BadDocument("invalid_sort_json", "The sort is a list of fields.")
    found: list[tuple[str, str]] = []
    for item in cast("list[object]", value):
        if isinstance(item, str):
            path, direction = item, "asc"
        elif isinstance(item, dict) and len(cast("dict[str, Any]", item)) == 1:
            ((path, direction),) = cast("dict[str, Any]", item).items()
        else:
            raise BadDocument("invalid_sort_field", f"Invalid sort field: {msgspec.json.encode(item).decode()}")
        if direction not in ("asc", "desc"):
            raise BadDocument("invalid_sort_dir", f"Invalid sort direction: {msgspec.json.encode(direction).decode()}")
        if not path:
            raise BadDocument("invalid_sort_field", "Invalid sort field: the empty name")
        selectors.steps(path)
        found.append((path, cast("str", direction)))
    if len({direction for _, direction in found}) > 1:
        raise BadDocument("unsupported_mixed_sort", "Sorts currently only support a single direction for all fields.")
    return found


def _required(body: Body, name: str) -> Any:
    if name not in body:
        raise BadDocument("missing_required_key", f"Missing required key: {name}")
    return body[name]


def _only(body: Body, known: Collection[str]) -> None:
    for name in body:
        if name not in known:
            raise BadDocument("invalid_key", f"Invalid key {name} for this request.")


def _name(body: Body, key: str, default: str) -> str:
    value = body.get(key)
    if value is None or value == "auto_generate":
        return default
    if not isinstance(value, str):
        raise BadDocument("invalid_index_name", f"Invalid index name: {msgspec.json.encode(value).decode()}")
    if value in ("", DESIGN):
        raise BadDocument("invalid_empty_string", "Index name must not be empty.")
    return value


def _limit(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return DEFAULT_LIMIT
    limit = _count(value)
    return DEFAULT_LIMIT if limit > MAXIMUM_LIMIT else limit


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        text = msgspec.json.encode(value).decode()
        raise BadDocument("invalid_non_neg_integer", f"{text} is not an integer greater than or equal to zero")
    return min(value, 2**62)


def _flag(body: Body, name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise BadDocument("invalid_boolean", f"Invalid boolean value: {msgspec.json.encode(value).decode()}")
    return value


def _fields(value: object) -> tuple[str, ...]:
    if value is None or value == "all_fields":
        return ()
    if not isinstance(value, list):
        raise BadDocument("invalid_fields", f"Fields must be an array of strings, not: {_shown(value)}")
    for item in cast("list[object]", value):
        if not isinstance(item, str):
            raise BadDocument("invalid_field", f"Fields must be strings, not: {_shown(item)}")
    return tuple(cast("list[str]", value))


def _use_index(value: object) -> tuple[str, ...]:
    parts: list[object]
    if value is None or value in ("", [], {}):
        return ()
    if isinstance(value, str):
        ddoc, slash, name = value.removeprefix(DESIGN).partition("/")
        parts = [ddoc, name] if slash else [ddoc]
    elif isinstance(value, list):
        parts = cast("list[object]", value)
    else:
        parts = []
    if not 1 <= len(parts) <= 2 or not all(isinstance(part, str) and part for part in parts):
        raise BadDocument("invalid_index_name", f"Invalid index name: {_shown(value)}")
    ddoc, *rest = cast("list[str]", parts)
    return (ddoc if ddoc.startswith(DESIGN) else DESIGN + ddoc, *rest)


def _text(value: object) -> str:
    if value is None or value == "nil":
        return ""
    if not isinstance(value, str):
        raise BadDocument("invalid_bookmark", f"Invalid bookmark value: {_shown(value)}")
    return value


def _shown(value: object) -> str:
    return msgspec.json.encode(value).decode()
