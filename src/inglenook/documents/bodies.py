"""Documents as clients send them: JSON of a body, the members that start with an underscore, their validation.

A single document (`POST`, `PUT`) is stored with its keys sorted, recursively and in the order of their bytes; a
document of `_bulk_docs` as it was sent (spec/01 §1.7, §2.2). Both come out of here as `Incoming`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import msgspec

from inglenook.kernel import revisions
from inglenook.kernel.errors import BadDocument, BadRequest, DocumentTooLarge
from inglenook.storage.documents.body_text import check_depth
from inglenook.storage.documents.contract import MAX_DOCUMENT_BYTES, MAX_DOCUMENT_DEPTH, Body

MAX_BODY_BYTES = 64 * 1024 * 1024  # of a request with many documents

_IGNORED = frozenset({"_conflicts", "_deleted_conflicts", "_revs_info", "_local_seq"})


@dataclass(frozen=True, slots=True)
class Incoming:
    """A document as it was sent: what its underscore members say, and its body without them.

    `chain` comes from `_revisions`, oldest first; `rev` from `_rev`, as sent.
    """

    id: str | None
    rev: str | None
    chain: list[str] | None
    deleted: bool
    body: Body
    attachments: Body | None = None  # as sent


# -- JSON


def decode(raw: bytes) -> Any:
    """The first JSON value of a body; what follows it is ignored (spec/01 §1.7).

    Raises BadRequest with the reason when there is none."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _first_value(raw)
    except RecursionError:
        raise _too_deep() from None


def decode_object(raw: bytes) -> Body:
    """The JSON object of a body. Raises BadRequest for any other value, BadDocument for `null`."""
    value = decode(raw)
    if value is None:
        raise BadDocument("bad_request", "Document must be a JSON object")
    if not isinstance(value, dict):
        raise BadRequest("request body is not a JSON object")
    return cast("Body", value)


def decode_document(raw: bytes) -> Body:
    """The JSON object of a single document, its keys sorted by their bytes, whole numbers without a fraction.

    Raises as `decode_object`, and BadRequest for a document nested too deep."""
    return cast("Body", sorted_keys(decode_object(raw)))


def decode_strictly(raw: bytes) -> Any:
    """The JSON value that a body is, nothing behind it. Raises BadDocument in the words of the store."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadDocument("bad_request", "invalid UTF-8 JSON") from None


def _first_value(raw: bytes) -> Any:
    try:
        text = raw.decode()
        value, _ = json.JSONDecoder(parse_constant=_no_constant).raw_decode(text.lstrip(" \t\r\n"))
        json.dumps(value, ensure_ascii=False).encode()  # no half of a surrogate pair
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise BadRequest(f"invalid JSON: {error}" if raw.strip() else "EOF") from None
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def sorted_keys(value: Any, depth: int = MAX_DOCUMENT_DEPTH) -> Any:
    """A JSON value with the keys of its objects in the order of their bytes. Raises BadRequest when nested too deep."""
    if isinstance(value, dict):
        if depth == 0:
            raise _too_deep()
        members = cast("dict[str, Any]", value)
        ordered: dict[str, Any] = {}
        for name in sorted(members):  # the order of code points is that of UTF-8 bytes
            ordered[name] = sorted_keys(members[name], depth - 1)
        return ordered
    if isinstance(value, list):
        if depth == 0:
            raise _too_deep()
        items: list[Any] = []
        for item in cast("list[Any]", value):  # a comprehension would double the depth of calls
            items.append(sorted_keys(item, depth - 1))  # noqa: PERF401
        return items
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    return value


# -- documents


def read_document(raw: bytes | msgspec.Raw) -> Incoming:
    """A document of `_bulk_docs`, in the order sent. Raises BadDocument, DocumentTooLarge."""
    text = bytes(raw)
    value = decode_strictly(text)
    if not isinstance(value, dict):
        raise BadDocument("bad_request", "Document must be a JSON object")
    check_depth(text, value)
    document = split(cast("Body", value))
    if len(text) > MAX_DOCUMENT_BYTES:
        check_size(document.id or "", document.body)
    return document


def split(document: Mapping[str, Any]) -> Incoming:
    """Part the underscore members of a document from its body. Raises BadDocument (spec/01 §1.7)."""
    id: str | None = None
    rev: str | None = None
    chain: list[str] | None = None
    attachments: Body | None = None
    deleted = False
    marked = [name for name in document if name[:1] == "_"]
    for name in marked:
        value = document[name]
        if name == "_id":
            id = check_id(value)
        elif name == "_rev":
            if not isinstance(value, str):
                raise BadDocument("bad_request", "Invalid rev format")
            revisions.parse(value)
            rev = value
        elif name == "_deleted":
            if not isinstance(value, bool):
                raise BadDocument("doc_validation", "_deleted must be a boolean")
            deleted = value
        elif name == "_attachments":
            if not isinstance(value, dict):
                raise BadDocument("doc_validation", "Attachments property must be an object.")
            attachments = cast("Body", value)
        elif name == "_revisions":
            chain = revisions.wire_to_chain(value)
        elif name not in _IGNORED:
            raise BadDocument("doc_validation", f"Bad special document member: {name}")
    body = {name: value for name, value in document.items() if name[:1] != "_"} if marked else dict(document)
    return Incoming(id, rev, chain, deleted, body, attachments)


def check_id(value: object) -> str:
    """A document id as it may be stored. Raises BadDocument `illegal_docid` (spec/01 §2.1)."""
    if not isinstance(value, str):
        raise BadDocument("illegal_docid", "Document id must be a string")
    if not value:
        raise BadDocument("illegal_docid", "Document id must not be empty")
    if value.startswith("_") and not (value.startswith("_design/") and len(value) > len("_design/")):
        raise BadDocument("illegal_docid", "Only reserved document ids may start with underscore.")
    return value


def check_size(id: str, body: Body) -> None:
    """Raises DocumentTooLarge for a body over the limit of the store."""
    if len(msgspec.json.encode(body)) > MAX_DOCUMENT_BYTES:
        raise DocumentTooLarge(id)


def _too_deep() -> BadRequest:
    return BadRequest("exceeded max depth")
