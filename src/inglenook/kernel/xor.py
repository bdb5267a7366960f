"""Identifiers as another member sees them (spec/05 §4).

Each pair of owner and recipient has a key of 16 nibbles. `xor_id` rewrites the hexadecimal digits of an id with it and
is its own inverse, so the same key serves in both directions.
"""

from __future__ import annotations

import base64
import binascii
from itertools import cycle
from typing import cast

from inglenook.kernel.errors import BadDocument, BadRequest

KEY_LENGTH = 16


def make_key(random8: bytes) -> bytes:
    """The key of 8 random bytes: the low, then the high nibble of each."""
    return bytes(nibble for byte in random8 for nibble in (byte & 15, byte >> 4))


def key_to_json(key: bytes) -> str:
    """The form of a key in JSON: padded base64 of its 16 values."""
    return base64.b64encode(key).decode()


def key_from_json(value: object) -> bytes:
    """Read a key: base64, or a list of numbers. Raises BadRequest unless it is some values from 0 to 15."""
    try:
        if isinstance(value, str):
            key = base64.b64decode(value, validate=True)
        else:
            key = bytes(cast("list[int]", value)) if isinstance(value, list) else b""
    except (binascii.Error, TypeError, ValueError) as error:
        raise BadRequest("The XOR key cannot be read") from error
    if not key or max(key) > 15:
        raise BadRequest("The XOR key cannot be read")
    return key


def xor_id(id: str, key: bytes) -> str:
    """The id with its hexadecimal digits rewritten; other characters stay, and count for the position too.

    Digits come out in lower case. An empty key changes nothing."""
    if not key:
        return id
    data = id.encode("utf-8", "surrogatepass")
    return bytes([_TABLES[nibble][byte] for byte, nibble in zip(data, cycle(key))]).decode("utf-8", "surrogatepass")


def conflict_id(id: str, rev: str) -> str:
    """The id of the copy made of the losing revision of a document (spec/05 §4.4).

    It commutes with `xor_id`, so both sides find the ids of one copy without asking. Raises BadDocument when the
    hash of the revision is not hexadecimal."""
    _, _, digest = rev.partition("-")
    try:
        return xor_id(id, bytes(int(digit, 16) for digit in digest))
    except ValueError as error:
        raise BadDocument("bad_request", "Invalid rev format") from error


def _table(nibble: int) -> bytes:
    table = bytearray(range(256))
    for value in range(16):
        for digit in f"{value:x}{value:X}".encode():
            table[digit] = ord(f"{value ^ nibble:x}")
    return bytes(table)


_TABLES = [_table(nibble) for nibble in range(16)]
