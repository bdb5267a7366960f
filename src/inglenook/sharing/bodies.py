"""Reading the plain JSON bodies that servers send each other (spec/04); those of JSON:API are read by the kernel."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from inglenook.kernel.errors import BadRequest
from inglenook.kernel.jsonapi import MALFORMED

T = TypeVar("T")


def decode(body: bytes, kind: type[T], detail: str = MALFORMED) -> T:
    """A body as a value of this type. Raises BadRequest with `detail`, whatever is wrong with it."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(detail) from error
