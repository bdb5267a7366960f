"""JSON:API documents: building what is sent, reading what is received (spec/01 §15, https://jsonapi.org/format/1.0).

Builders are pure and give plain dictionaries; `wire.jsonapi` turns them into answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from inglenook.kernel.errors import BadRequest

MALFORMED = "JSON input is malformed or is missing mandatory fields"

Object = dict[str, Any]


# -- what is sent


def resource(
    type: str,
    id: str,
    attributes: Mapping[str, Any] | None,
    rev: str | None = None,
    links: Mapping[str, Any] | None = None,
    relationships: Mapping[str, Any] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Object:
    """A resource object. `_id` and `_rev` are taken out of the attributes; `meta` is always there, with the
    revision when there is one; `links` and `relationships` only when given."""
    built: Object = {"type": type, "id": id}
    if attributes is not None:
        built["attributes"] = {name: value for name, value in attributes.items() if name not in ("_id", "_rev")}
    built["meta"] = {**({"rev": rev} if rev else {}), **(meta or {})}
    if links is not None:
        built["links"] = links
    if relationships is not None:
        built["relationships"] = relationships
    return built


def relationship(data: object, links: Mapping[str, Any] | None = None, meta: Mapping[str, Any] | None = None) -> Object:
    """A member of `relationships`: `data` is always written, `null` too."""
    built: Object = {}
    if links is not None:
        built["links"] = links
    if meta is not None:
        built["meta"] = meta
    built["data"] = data
    return built


def document(
    data: object,
    included: Sequence[Object] | None = None,
    links: Mapping[str, Any] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Object:
    """A top-level document around one resource object, or a list of them; empty `included` are left out."""
    built: Object = {"data": data}
    if links is not None:
        built["links"] = links
    if meta is not None:
        built["meta"] = meta
    if included:
        built["included"] = included
    return built


def listing(
    items: Sequence[Object],
    *,
    count: int | None = None,
    links: Mapping[str, Any] | None = None,
    included: Sequence[Object] | None = None,
) -> Object:
    """A top-level document around a list, with `meta.count`: the number of items unless `count` says the total."""
    return document(list(items), included, links, {"count": len(items) if count is None else count})


def error_object(
    status: int,
    title: str,
    detail: str = "",
    *,
    parameter: str | None = None,
    pointer: str | None = None,
    code: str | None = None,
    related: str | None = None,
) -> Object:
    """One element of `errors`: `status` is written as text, `source` is always there (spec/01 §15.3)."""
    source: Object = {}
    if parameter:
        source["parameter"] = parameter
    if pointer:
        source["pointer"] = pointer
    built: Object = {"status": str(status), "title": title}
    if code:
        built["code"] = code
    built["detail"] = detail
    built["source"] = source
    if related:
        built["links"] = {"related": related}
    return built


# -- what is received


class Reference(msgspec.Struct, frozen=True):
    """A resource identifier. Members of another name are not looked at; absent ones are empty."""

    type: str = ""
    id: str = ""


class Received(NamedTuple):
    """A received resource object. What the sender left out is empty."""

    type: str
    id: str
    rev: str
    attributes: Object
    relationships: Object


class _Meta(msgspec.Struct):
    rev: str | None = None


class _Data(msgspec.Struct):
    type: str | None = None
    id: str | None = None
    meta: _Meta | None = None
    attributes: Object | None = None
    relationships: Object | None = None


class _One(msgspec.Struct):
    data: _Data


class _References(msgspec.Struct):
    data: list[Reference] | Reference


_ONE = msgspec.json.Decoder(_One)
_REFERENCES = msgspec.json.Decoder(_References)


def parse_document(body: bytes) -> Received:
    """Read `{"data": {type, id, attributes, relationships, meta: {rev}}}`.

    Raises BadRequest when it is no JSON, has no `data` object, or a member has another type."""
    data = _decode(_ONE, body).data
    rev = data.meta.rev if data.meta else None
    return Received(data.type or "", data.id or "", rev or "", data.attributes or {}, data.relationships or {})


def parse_attributes(body: bytes) -> Object:
    """Read the attributes of a document that must have some. Raises BadRequest as `parse_document`."""
    attributes = _decode(_ONE, body).data.attributes
    if attributes is None:
        raise BadRequest(MALFORMED)
    return attributes


def parse_references(body: bytes) -> list[Reference]:
    """Read `{"data": [{type, id}, …]}`, or a single one in `data`. Raises BadRequest."""
    data = _decode(_REFERENCES, body).data
    return [data] if isinstance(data, Reference) else data


def _decode(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadRequest(MALFORMED) from error
