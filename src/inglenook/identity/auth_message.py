"""Signed values of cookies and two-factor tokens: the "auth message" of spec/03 §3.

    8 bytes big-endian Unix time ‖ value ‖ HMAC-SHA256(key, name ‖ extra ‖ time ‖ value)

written in base64url without padding, at most 256 characters. The time is informative; nothing here expires by it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

MAX_LENGTH = 256  # characters
_MAC = 32
_TIME = 8


def sign(key: bytes, name: str, value: bytes, now: int, extra: bytes = b"") -> str:
    """The text that carries `value` under a name; `now` is in seconds of Unix time."""
    time = now.to_bytes(_TIME, "big")
    mac = hmac.digest(key, name.encode() + extra + time + value, hashlib.sha256)
    return base64.urlsafe_b64encode(time + value + mac).rstrip(b"=").decode()


def verify(key: bytes, name: str, text: str, extra: bytes = b"") -> bytes | None:
    """The value of a message signed for that name by that key, None for anything else."""
    if not text or len(text) > MAX_LENGTH or not text.isascii():
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(raw) < _TIME + _MAC:
        return None
    signed, mac = raw[:-_MAC], raw[-_MAC:]
    if not hmac.compare_digest(mac, hmac.digest(key, name.encode() + extra + signed, hashlib.sha256)):
        return None
    return signed[_TIME:]
