"""Fields that a browser or a script sends: a form, or the same as a JSON object."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import msgspec
from litestar import Request

from inglenook.kernel.errors import BadRequest, UnsupportedMediaType
from inglenook.kernel.jsonapi import MALFORMED
from inglenook.wire import JSON, read_body

_LIMIT = 256 * 1024  # bytes
_MOST_FIELDS = 200


async def read_fields(request: Request[Any, Any, Any]) -> dict[str, str]:
    """The fields of a body as texts, the first of each name. JSON booleans are `true` and `false`, null is left out.

    Raises BadRequest, TooLarge, UnsupportedMediaType."""
    kind = content_type(request)
    if kind == JSON or kind.endswith("+json"):
        return {name: _text(value) for name, value in (await read_object(request)).items() if value is not None}
    if kind == "multipart/form-data":
        await _check_length(request)
        form = await request.form()
        return {name: value for name, value in form.items() if isinstance(value, str)}
    if kind not in ("", "application/x-www-form-urlencoded"):
        raise UnsupportedMediaType(f"A form was expected, not {kind}")
    body = await read_body(request, _LIMIT)
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError as error:
        raise BadRequest("The form cannot be read") from error
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return fields


async def read_object(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """A body that is a JSON object. Raises BadRequest for any other, TooLarge."""
    try:
        value = msgspec.json.decode(await read_body(request, _LIMIT))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(MALFORMED) from error
    if not isinstance(value, dict):
        raise BadRequest(MALFORMED)
    return value


def content_type(request: Request[Any, Any, Any]) -> str:
    """The media type of the body, without parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_true(text: str) -> bool:
    """Whether a field says yes: `true`, `1`, `on` or `t`, in any case."""
    return text.strip().lower() in ("true", "1", "t", "on", "yes")


def only_json(request: Request[Any, Any, Any]) -> bool:
    """Whether `Accept` is exactly `application/json`: the way a script asks a page for data."""
    return request.headers.get("accept", "").strip() == JSON


async def _check_length(request: Request[Any, Any, Any]) -> None:
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > _LIMIT:
        raise BadRequest("The form is too large or of unknown length")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
