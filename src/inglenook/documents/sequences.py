"""Sequences of a changes feed as clients see them: `<N>-<check>` (spec/01 §2.8).

`N` is the instance's sequence number; the rest is a check sum, so that a text that no feed ever gave is refused
instead of silently skipping changes.
"""

from __future__ import annotations

import zlib

from inglenook.kernel.errors import BadDocument

NOW = "now"


def encode(seq: int) -> str:
    """The text of a sequence."""
    return f"{seq}-i{zlib.crc32(b'sequence %d' % seq):08x}"


def decode(text: str) -> int | None:
    """The number of a sequence given as `since`; 0 for an empty value or `0`, None for `now`.

    Raises BadDocument for what no feed ever gave."""
    if text in ("", "0", '""', '"0"'):
        return 0
    text = text.strip('"')  # database clients send it as a JSON string as well
    if text == NOW:
        return None
    number, dash, _ = text.partition("-")
    if dash and number.isascii() and number.isdigit() and len(number) < 19 and encode(int(number)) == text:
        return int(number)
    raise BadDocument("bad_request", "Malformed sequence supplied in 'since' parameter.")
