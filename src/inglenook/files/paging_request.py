"""The page of a list that a request asks for: `page[limit]`, `page[cursor]`, `page[skip]` (spec/02 §8.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from inglenook.files.present import Paging
from inglenook.kernel.errors import BadRequest

CHILDREN_LIMIT = 30
REFERENCES_LIMIT = 100
MOST_REFERENCES = 1000


def read_paging(query: Mapping[str, str], default: int, most: int | None = None) -> Paging:
    """The asked page; `most` lowers a larger limit, and 0 is as none. Raises BadRequest for what cannot be read."""
    limit = _number(query.get("page[limit]", ""), "page limit is not a number", default) or default
    if limit < 0:
        raise BadRequest("page limit is not a number")
    if most is not None:
        limit = min(limit, most)
    if text := query.get("page[cursor]"):
        return Paging(limit, cursor=_cursor(text))
    if text := query.get("page[skip]"):
        skip = _number(text, "page skip is not a number", 0)
        if skip < 0:
            raise BadRequest("page skip is not a number")
        return Paging(limit, skip, uses_skip=True)
    return Paging(limit)


def child_position(paging: Paging) -> tuple[str, str] | None:
    """The (`type`, `name`) where a page of children starts; None: not by a cursor. Raises BadRequest."""
    if paging.cursor is None:
        return None
    key = paging.cursor[0]
    if len(key) != 3 or not all(isinstance(part, str) for part in key):
        raise BadRequest(f"bad json cursor {msgspec.json.encode(key).decode()}")
    return key[1], key[2]


def reference_position(paging: Paging) -> tuple[list[str], str] | None:
    """The cursor of a list of references; None: not by a cursor. Raises BadRequest."""
    if paging.cursor is None:
        return None
    key, id = paging.cursor
    if len(key) not in (2, 3) or not all(isinstance(part, str) for part in key):
        raise BadRequest(f"bad json cursor {msgspec.json.encode(key).decode()}")
    return [str(part) for part in key], id


def _cursor(text: str) -> tuple[list[Any], str]:
    try:
        value: Any = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BadRequest(f"bad json cursor {text}") from error
    if not isinstance(value, list):
        raise BadRequest(f"bad json cursor {text}")
    if len(value) != 2:
        raise BadRequest(f"bad cursor length {text}")
    key, id = value
    if not isinstance(id, str):
        raise BadRequest(f"bad cursor id {text}")
    if not isinstance(key, list):
        raise BadRequest(f"bad json cursor {text}")
    return key, id


def _number(text: str, problem: str, default: int) -> int:
    if not text:
        return default
    digits = text.removeprefix("-").removeprefix("+")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 9):
        raise BadRequest(problem)
    return int(text)
