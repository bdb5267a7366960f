"""The order of JSON values, as byte strings that compare the same way (spec/01 §9.3).

`sort_key` gives each value a key such that comparing keys as bytes compares values: null, false, true, numbers,
strings, arrays, objects; strings by the root collation of Unicode at three levels (letters, then accents, then
case). Keys are prefix-safe: those of a tuple are written one after the other. Two strings that are equal but for
their normal form have the same key.

The string order is a compact form of the CLDR root collation: white space, punctuation, symbols, currencies,
digits, then letters by script. Within a script other than Latin, letters go by their code points.
"""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

NULL, FALSE, TRUE, NUMBER, STRING, ARRAY, OBJECT = b"\x10", b"\x20", b"\x21", b"\x30", b"\x40", b"\x50", b"\x60"
END = b"\x00"
LEVEL = b"\x01"

_SYMBOLS = "\t\n\x0b\x0c\r _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~"
_FIRST = 0x02
_OTHER_SYMBOL = 0x35
_DOLLAR = 0x36
_CURRENCY = 0x37
_DIGIT = 0x38
_LETTER = 0x48
_SCRIPT = 0xC0
_LAST = 0xFE

_PLAIN, _UPPER, _EXPANDED = 0x02, 0x03, 0x04
_EXPANSIONS = {"œ": "oe", "Œ": "OE", "æ": "ae", "Æ": "AE", "ß": "ss", "ẞ": "SS", "ø": "o\u0338", "Ø": "O\u0338"}

_ASCII_PRIMARY = bytearray(256)
_ASCII_TERTIARY = bytearray(256)
for _i, _c in enumerate(_SYMBOLS):
    _ASCII_PRIMARY[ord(_c)] = _FIRST + _i
_ASCII_PRIMARY[ord("$")] = _DOLLAR
for _i in range(10):
    _ASCII_PRIMARY[ord("0") + _i] = _DIGIT + _i
for _i in range(26):
    _ASCII_PRIMARY[ord("a") + _i] = _ASCII_PRIMARY[ord("A") + _i] = _LETTER + 3 * _i
for _i in range(256):
    _ASCII_TERTIARY[_i] = _UPPER if 65 <= _i <= 90 else _PLAIN
_PRIMARY_TABLE, _TERTIARY_TABLE = bytes(_ASCII_PRIMARY), bytes(_ASCII_TERTIARY)
_IGNORED = bytes(i for i in range(128) if not _ASCII_PRIMARY[i])
_TRAIL = bytes([_PLAIN])


def sort_key(value: Any) -> bytes:
    """The key of a JSON value. Numbers are compared as doubles."""
    if isinstance(value, str):
        return STRING + string_key(value)
    if value is None:
        return NULL
    if value is True:
        return TRUE
    if value is False:
        return FALSE
    if isinstance(value, int | float):
        return NUMBER + _number_key(value)
    if isinstance(value, list | tuple):
        return ARRAY + b"".join(map(sort_key, value)) + END
    return OBJECT + b"".join(sort_key(str(k)) + sort_key(v) for k, v in value.items()) + END


def sort_key_tuple(values: Iterable[Any]) -> bytes:
    """The key of several values that are compared one after the other."""
    return b"".join(map(sort_key, values))


def compare(one: Any, other: Any) -> int:
    """-1, 0 or 1, as one value goes before, with or after the other."""
    a, b = sort_key(one), sort_key(other)
    return (a > b) - (a < b)


def raw_key(*parts: str) -> bytes:
    """A key of strings that are compared by their UTF-8 bytes, one after the other."""
    return b"".join(part.encode("utf-8", "surrogatepass").replace(b"\0", b"\0\xff") + b"\0\0" for part in parts)


@lru_cache(maxsize=4096)
def string_key(text: str) -> bytes:
    """The key of a string at three levels, closed by a zero byte."""
    if text.isascii():
        plain = text.encode()
        primary = plain.translate(_PRIMARY_TABLE, _IGNORED)
        tertiary = plain.translate(_TERTIARY_TABLE, _IGNORED).rstrip(_TRAIL)
        return primary + LEVEL + LEVEL + tertiary + END
    primary, secondary, tertiary = bytearray(), bytearray(), bytearray()
    for char in unicodedata.normalize("NFD", text):
        expanded = _EXPANSIONS.get(char)
        for single in expanded or char:
            _add(single, primary, secondary, tertiary, _EXPANDED if expanded else 0)
    levels = (bytes(primary), bytes(secondary).rstrip(_TRAIL), bytes(tertiary).rstrip(_TRAIL))
    return LEVEL.join(levels) + END


def _add(char: str, primary: bytearray, secondary: bytearray, tertiary: bytearray, mark: int) -> None:
    code = ord(char)
    if code < 128:
        weight = _ASCII_PRIMARY[code]
        if weight:
            primary.append(weight)
            secondary.append(_PLAIN)
            tertiary.append(mark or _ASCII_TERTIARY[code])
        return
    category = unicodedata.category(char)
    if category[0] == "M":
        secondary += _code(code)
        return
    if code in (0xFFFF, 0x10FFFF):
        primary.append(_LAST)
        primary += _code(code)
    elif category == "Nd":
        primary.append(_DIGIT + unicodedata.digit(char, 0))
    elif category == "Sc":
        primary.append(_CURRENCY)
        primary += _code(code)
    elif category[0] in "ZPS":
        primary.append(_OTHER_SYMBOL)
        primary += _code(code)
    elif category in ("Cc", "Cf"):
        return
    else:
        lower = char.lower()
        primary.append(_SCRIPT)
        primary += _code(ord(lower) if len(lower) == 1 else code)
        mark = mark or (_UPPER if lower != char else _PLAIN)
    secondary.append(_PLAIN)
    tertiary.append(mark or _PLAIN)


def _code(code: int) -> bytes:
    return bytes((0x80 | code >> 14, 0x80 | code >> 7 & 0x7F, 0x80 | code & 0x7F))


def _number_key(value: float) -> bytes:
    try:
        bits = struct.unpack(">Q", struct.pack(">d", float(value) + 0.0))[0]
    except OverflowError:
        bits = struct.unpack(">Q", struct.pack(">d", float("inf") if value > 0 else float("-inf")))[0]
    return struct.pack(">Q", bits ^ (0xFFFFFFFFFFFFFFFF if bits >> 63 else 1 << 63))
