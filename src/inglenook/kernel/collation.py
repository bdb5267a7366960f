"""The order of JSON values in queries and indexes (spec/01 §9.3): that of CouchDB, whose strings are ordered by ICU.

`sort_key` turns a value into bytes that order as the value does; keys can be joined, and the whole then orders like
the tuple of values. Strings follow the Unicode collation algorithm (https://www.unicode.org/reports/tr10/) with the
root order of CLDR at tertiary strength: first what the characters are, then accents, then case. Exact for ASCII, for
accented Latin and for what the specification lists; letters of other scripts come script by script in the order of
their code points. Equal keys mean equal strings: composed and decomposed forms, and characters without any weight.
"""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, cast

# -- keys of values

_NULL, _FALSE, _TRUE, _NUMBER, _STRING, _ARRAY, _OBJECT = (bytes([tag]) for tag in (16, 32, 33, 48, 64, 80, 96))
_END = b"\x00"  # below everything that may follow
_LEVEL = b"\x01"  # between the levels of a string, below every weight
_DOUBLE = struct.Struct(">d").pack
_BITS = struct.Struct(">Q")


def sort_key(value: Any) -> bytes:
    """The key of a JSON value: null < false < true < numbers < strings < arrays < objects."""
    kind = type(value)
    if kind is str:
        return _STRING + _string_key(value)
    if value is None:
        return _NULL
    if kind is bool:
        return _TRUE if value else _FALSE
    if kind is int or kind is float:
        return _NUMBER + _number_key(value)
    return _deep_key(value)


def sort_key_tuple(values: Iterable[Any]) -> bytes:
    """The key of several values, as that of an index over several fields."""
    return b"".join(map(sort_key, values))


def raw_key(*parts: str) -> bytes:
    """A key that orders texts by their bytes, part after part.

    The key of fewer parts is a prefix of those with more."""
    return b"".join([part.encode("utf-8", "surrogatepass").replace(b"\x00", b"\x00\xff") + _END for part in parts])


def prefix_end(key: bytes) -> bytes:
    """An upper bound for all longer keys that start with the parts of this one (for `raw_key` and `sort_key`)."""
    return key + b"\xff"


def compare(one: Any, other: Any) -> int:
    """-1, 0 or 1, as `one` is below, equal to or above `other`."""
    mine, yours = sort_key(one), sort_key(other)
    return (mine > yours) - (mine < yours)


def _number_key(value: float) -> bytes:
    try:
        bits = _BITS.unpack(_DOUBLE(value + 0.0))[0]  # adding zero makes -0.0 plain
    except OverflowError:
        bits = _BITS.unpack(_DOUBLE(float("inf") if value > 0 else float("-inf")))[0]
    return _BITS.pack(bits ^ 0xFFFFFFFFFFFFFFFF if bits >> 63 else bits | 0x8000000000000000)


def _deep_key(root: object) -> bytes:
    """The key of an array or object, without calling itself: documents may be nested deeply."""
    out: list[bytes] = []
    stack: list[object] = [root]
    while stack:
        value = stack.pop()
        if type(value) is bytes:
            out.append(value)
        elif isinstance(value, dict):
            members = cast("dict[str, object]", value)
            out.append(_OBJECT)
            stack.append(_END)
            for name, member in reversed(members.items()):
                stack.append(member)
                stack.append(_STRING + _string_key(name))
        elif isinstance(value, list | tuple):
            out.append(_ARRAY)
            stack.append(_END)
            stack.extend(reversed(cast("Sequence[object]", value)))
        elif value is None or isinstance(value, str | bool | int | float):
            out.append(sort_key(value))
        else:
            raise TypeError(f"not a JSON value: {type(value).__name__}")
    return b"".join(out)


# -- strings: what a character is (one byte each, or a lead byte and three of the code point), in ascending order

_SPACES = "\t\n\v\f\r"
_PUNCTUATION = "_-,;:!?.'\"()[]{}@*/\\&#%"
_SYMBOLS = "`^+<=>|~"

_LOWEST = b"\x02"  # U+FFFE
_OTHER_SPACE = 0x08
_SPACE = 0x09
_OTHER_PUNCTUATION = 0x23
_OTHER_SYMBOL = 0x2C  # emoji among them
_DOLLAR = 0x2E
_OTHER_CURRENCY = 0x2F
_DIGIT = 0x30
_LETTER = 0x40  # three places for each letter from a to z
_OTHER_LATIN = 0x92
_OTHER_LETTER = 0xA0
_HAN = 0xB0
_UNKNOWN = 0xC0
_HIGHEST = b"\xfe"  # U+FFFF

_ASCII: dict[str, int] = {
    **{char: 0x03 + place for place, char in enumerate(_SPACES)},
    " ": _SPACE,
    **{char: 0x0C + place for place, char in enumerate(_PUNCTUATION)},
    **{char: 0x24 + place for place, char in enumerate(_SYMBOLS)},
    "$": _DOLLAR,
    **{str(digit): _DIGIT + digit for digit in range(10)},
    **{chr(ord("a") + place): _LETTER + 3 * place for place in range(26)},
}
_AFTER_LETTER = {"ð": "d", "ə": "e", "ı": "i", "ĸ": "q", "ŋ": "n", "ʒ": "z", "þ": "z"}
_LIGATURES = {"æ": "ae", "œ": "oe", "ß": "ss", "ĳ": "ij"}
_WITH_STROKE = {"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ŧ": "t", "ƀ": "b", "ɨ": "i", "ƶ": "z"}

# accents, in the order of their weights
_COMMON = 0x05
_STROKE, _LIGATURE = "\u0335", "\u0020"
_ACCENTS = "\u0301\u0300\u0306\u0302\u030c\u030a\u0308\u030b\u0303\u0307" + _STROKE + "\u0327\u0328\u0304" + _LIGATURE
_ACCENT_WEIGHTS = {accent: bytes([0x06 + place]) for place, accent in enumerate(_ACCENTS)}
_OTHER_ACCENT = 0x30

# case
_COMPATIBLE, _UPPER, _COMPATIBLE_UPPER = 0x06, 0x07, 0x08

_IGNORED = bytes(code for code in range(128) if chr(code).lower() not in _ASCII)
_PRIMARIES = bytes(_ASCII.get(chr(code).lower(), 0) if code < 128 else 0 for code in range(256))
_CASES = bytes(_UPPER if ord("A") <= code <= ord("Z") else _COMMON for code in range(256))

_Weights = tuple[bytes, bytes, bytes]


def _string_key(text: str) -> bytes:
    if text.isascii():
        data = text.encode("ascii")
        primary = data.translate(_PRIMARIES, _IGNORED)
        if text.islower():
            return primary + b"\x01\x01\x00"
        return primary + b"\x01\x01" + data.translate(_CASES, _IGNORED).rstrip(b"\x05") + _END
    text = unicodedata.normalize("NFD", text).replace("и\u0306", "й").replace("И\u0306", "Й")  # a letter of its own
    weights = [_weights(char) for char in text]
    primary = b"".join([weight[0] for weight in weights])
    accents = b"".join([weight[1] for weight in weights]).rstrip(b"\x05")
    cases = b"".join([weight[2] for weight in weights]).rstrip(b"\x05")
    return primary + _LEVEL + accents + _LEVEL + cases + _END


@lru_cache(maxsize=8192)
def _weights(char: str) -> _Weights:
    """What a character is, its accents and its case, for a character that has no canonical decomposition."""
    lower = char.lower()
    if len(lower) == 1 and lower != char:
        primary, accents, cases = _weights(lower)
        if cases[:1] == bytes([_COMPATIBLE]):
            return primary, accents, bytes([_COMPATIBLE_UPPER]) + cases[1:]
        return primary, accents, bytes([_UPPER]) * len(cases)
    if char in _ASCII:
        return bytes([_ASCII[char]]), b"\x05", b"\x05"
    if char in _LIGATURES:
        first, second = (bytes([_ASCII[letter]]) for letter in _LIGATURES[char])
        return first + second, b"\x05" + _ACCENT_WEIGHTS[_LIGATURE] + b"\x05", b"\x05\x05\x05"
    if char in _WITH_STROKE:
        return bytes([_ASCII[_WITH_STROKE[char]]]), b"\x05" + _ACCENT_WEIGHTS[_STROKE], b"\x05\x05"
    if char in _AFTER_LETTER:
        return bytes([_ASCII[_AFTER_LETTER[char]] + (2 if char == "þ" else 1)]), b"\x05", b"\x05"
    plain = _plain(char)
    if plain != char:
        parts = [_weights(part) for part in unicodedata.normalize("NFD", plain)]
        case = bytes([_COMPATIBLE]) + _code(char)
        return b"".join([p[0] for p in parts]), b"".join([p[1] for p in parts]), case
    return _weights_by_category(char)


def _weights_by_category(char: str) -> _Weights:
    category = unicodedata.category(char)
    if char == "\uffff":
        return _HIGHEST, b"\x05", b"\x05"
    if char == "\ufffe":
        return _LOWEST, b"\x05", b"\x05"
    if category in ("Cc", "Cf") and char != "\x85":
        return b"", b"", b""
    if category[0] == "M":
        if "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef":
            return b"", b"", b""
        return b"", _ACCENT_WEIGHTS.get(char) or bytes([_OTHER_ACCENT]) + _code(char), b"\x05"
    if category == "Nd":
        digit = bytes([_DIGIT + unicodedata.digit(char)])
        return digit, b"\x05" + bytes([_OTHER_ACCENT]) + _code(char), b"\x05\x05"
    return bytes([_lead(char, category)]) + _code(char), b"\x05", b"\x05"


def _lead(char: str, category: str) -> int:
    if category[0] == "Z" or char == "\x85":
        return _OTHER_SPACE
    if category[0] == "P":
        return _OTHER_PUNCTUATION
    if category == "Sc":
        return _OTHER_CURRENCY
    if category[0] in "SN":
        return _OTHER_SYMBOL
    if category in ("Cn", "Co", "Cs"):
        return _UNKNOWN
    if char < "\u0370" or "\u1d00" <= char <= "\u1eff" or "\ua720" <= char <= "\ua7ff":
        return _OTHER_LATIN
    if "\u3400" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff" or char >= "\U00020000":
        return _HAN
    return _OTHER_LETTER


def _plain(char: str) -> str:
    """The characters of which this one is a variant: full-width, superscript, katakana for hiragana, final sigma."""
    if char == "й":
        return char
    if "\u30a1" <= char <= "\u30f6":
        return chr(ord(char) - 0x60)
    if char == "ς":
        return "σ"
    return unicodedata.normalize("NFKD", char)


def _code(char: str) -> bytes:
    return ord(char).to_bytes(3, "big")
