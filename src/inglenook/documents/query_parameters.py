"""The query parameters and bodies of lists and feeds, read into the options of the services (spec/01 §6.1, §7.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from inglenook.documents import all_docs, bodies, changes, sequences
from inglenook.documents.all_docs import Range
from inglenook.documents.changes import Patience
from inglenook.kernel.errors import BadDocument, BadRequest
from inglenook.storage.documents.contract import Body

_FEED_PARAMETERS = frozenset(
    {"feed", "style", "since", "limit", "include_docs", "descending", "seq_interval", "timeout", "heartbeat", "_nonce"}
)
_HIGHEST = "\U0010ffff" * 8  # behind every id

Query = Mapping[str, str]


# -- _all_docs


def list_options(query: Query, body: Body) -> all_docs.Options:
    """The options of a plain `_all_docs`: those of the query string, and those of the body of a `POST`.

    Raises BadDocument."""
    values: dict[str, Any] = dict(body)
    for name, text in query.items():
        values[name] = _json(text) if name in _JSON_PARAMETERS else text
    keys = values.get("keys")
    if keys is not None and not isinstance(keys, list):
        raise BadDocument("bad_request", "`keys` body member must be an array.")
    return all_docs.Options(
        range=_range(values),
        keys=cast("list[Any] | None", keys),
        include_docs=_flag(values, "include_docs"),
        conflicts=_flag(values, "conflicts"),
        update_seq=_flag(values, "update_seq"),
    )


def filtered_range(query: Query) -> Range:
    """The range of a filtered `_all_docs`: keys are raw strings, bad numbers count as absent (spec/01 §6.1)."""
    limit, skip = _number_or_zero(query.get("limit")), _number_or_zero(query.get("skip"))
    descending = query.get("descending") == "true"
    low, high = _bounds(query.get("startkey", _ABSENT), query.get("endkey", _ABSENT), descending=descending)
    return Range(low, high, descending, skip, limit or None)


_JSON_PARAMETERS = frozenset({"key", "keys", "startkey", "start_key", "endkey", "end_key"})


def _range(values: Mapping[str, Any]) -> Range:
    descending = _flag(values, "descending")
    limit = _count(values, "limit")
    skip = _count(values, "skip") or 0
    if "key" in values:
        low, high = _bounds(values["key"], values["key"], descending=False)
        if not isinstance(values["key"], str):
            limit = 0
        return Range(low, high, descending, skip, limit)
    start = values.get("startkey", values.get("start_key", values.get("startkey_docid", _ABSENT)))
    end = values.get("endkey", values.get("end_key", _ABSENT))
    low, high = _bounds(start, end, descending=descending, inclusive=_flag(values, "inclusive_end", default=True))
    return Range(low, high, descending, skip, limit)


_ABSENT = object()


def _bounds(start: Any, end: Any, *, descending: bool, inclusive: bool = True) -> tuple[str, str | None]:
    """The lower bound and the bound behind the upper one, of keys given in the order of reading.

    Values that are not strings stand before all ids (null, numbers) or behind them (arrays, objects)."""
    first, last = (end, start) if descending else (start, end)
    low = "" if first is _ABSENT or _is_before(first) else first if isinstance(first, str) else _HIGHEST
    high = None if last is _ABSENT or _is_behind(last) else last if isinstance(last, str) else ""
    if descending:
        if isinstance(last, str):
            high = last + "\0"
        if isinstance(first, str) and not inclusive:
            low += "\0"
    elif isinstance(last, str) and inclusive:
        high = last + "\0"
    return low, high


def _is_before(key: object) -> bool:
    return key is None or isinstance(key, bool | int | float)


def _is_behind(key: object) -> bool:
    return isinstance(key, list | dict)


# -- _normal_docs


def normal_limit(text: str | None) -> int:
    """The `limit` of `_normal_docs`: bad or too large counts as absent."""
    number = _number(text)
    return all_docs.NORMAL_LIMIT if number is None or not 0 <= number <= all_docs.NORMAL_MAXIMUM else number


def normal_skip(text: str | None) -> int:
    """The `skip` of `_normal_docs`: bad counts as 0."""
    return _number_or_zero(text)


def truth(text: str | None) -> bool:
    """A boolean as `_normal_docs` reads it."""
    return text in ("1", "t", "T", "true", "TRUE", "True")


# -- _changes


def feed_options(query: Query, *, posted: bool) -> tuple[changes.Options, bool]:
    """The options of a feed without its filter, and whether it waits. Raises BadRequest, BadDocument."""
    for name in query:
        if name not in _FEED_PARAMETERS and not (posted and name == "filter"):
            raise BadRequest(f"Unsupported query parameter '{name}'")
    feed, style = query.get("feed", ""), query.get("style", "")
    if feed not in ("", "normal", "longpoll"):
        raise BadRequest(f"Unsuported feed value '{feed}'")
    if style not in ("", "main_only", "all_docs"):
        raise BadRequest(f"Unsuported style value '{style}'")
    filter = query.get("filter", "")
    if filter not in ("", "_doc_ids", "_selector", "_design"):
        raise BadRequest(f"Unsuported filter value '{filter}'")
    options = changes.Options(
        limit=_integer(query, "limit"),
        seq_interval=_integer(query, "seq_interval"),
        since=sequences.decode(query.get("since", "")),
        descending=query.get("descending") == "true",
        all_leaves=style == "all_docs",
        include_docs=query.get("include_docs") == "true",
    )
    return options, feed == "longpoll"


def patience(query: Query) -> Patience:
    """How long a long poll waits: `timeout` and `heartbeat` are milliseconds, `heartbeat=true` is a minute."""
    timeout, beat = _number(query.get("timeout")), _number(query.get("heartbeat"))
    heartbeat = 60.0 if query.get("heartbeat") == "true" else None
    if beat is not None and beat > 0:
        heartbeat = max(1.0, beat / 1000)
    seconds = changes.LONG_POLL_SECONDS if heartbeat is None else changes.LONG_POLL_MAXIMUM
    if timeout is not None and timeout >= 0:
        seconds = timeout / 1000
    return Patience(min(seconds, changes.LONG_POLL_MAXIMUM), heartbeat)


def feed_filter(name: str, raw: bytes) -> changes.Filter | None:
    """The filter of a posted feed, from its body; without one the body is ignored. Raises BadRequest, BadDocument."""
    if not name:
        return None
    body = bodies.decode(raw)
    members = cast("Body", body) if isinstance(body, dict) else {}
    if name == "_design":
        return changes.Designs()
    if name == "_doc_ids":
        ids = members.get("doc_ids")
        if not isinstance(ids, list) or not all(isinstance(id, str) for id in cast("list[object]", ids)):
            raise BadDocument("bad_request", "`doc_ids` filter parameter is not a list of doc ids.")
        return changes.ByIds(frozenset(cast("list[str]", ids)))
    selector = members.get("selector")
    if not isinstance(selector, dict):
        raise BadDocument("bad_request", "Selector error: expected a JSON object")
    fields = members.get("fields") or []
    if not isinstance(fields, list) or not all(isinstance(field, str) for field in cast("list[object]", fields)):
        raise BadDocument("bad_request", "Selector error: fields must be JSON array")
    try:
        return changes.BySelector.of(cast("Body", selector), cast("list[str]", fields))
    except BadDocument as error:  # a feed has one name for all of them
        raise BadDocument("bad_request", error.detail) from None


# -- values


def _json(text: str) -> Any:
    return bodies.decode_strictly(text.encode("utf-8", "surrogatepass"))


def _flag(values: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    value = values.get(name, default)
    if isinstance(value, bool):
        return value
    if value not in ("true", "false"):
        raise BadDocument("query_parse_error", f'Invalid boolean value: "{value}"')
    return value == "true"


def _count(values: Mapping[str, Any], name: str) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    number = value if isinstance(value, int) and not isinstance(value, bool) else _number(str(value))
    if number is None:
        raise BadDocument("query_parse_error", f'Invalid value for integer: "{value}"')
    if number < 0:
        raise BadDocument("query_parse_error", f'Invalid value for positive integer: "{value}"')
    return number


def _integer(query: Query, name: str) -> int:
    text = query.get(name, "")
    number = _number(text) if text else 0
    if number is None or number < 0:
        raise BadRequest(f"Invalid {name} value '{text}'")
    return number


def _number_or_zero(text: str | None) -> int:
    number = _number(text)
    return 0 if number is None or number < 0 else number


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    digits = text.removeprefix("-").removeprefix("+")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 16 else None
