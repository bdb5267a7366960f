"""How a passphrase is hashed, in the browser and again on the server (spec/03 §3).

The browser sends base64 of PBKDF2 values, salted by the domain; the server keeps scrypt of that text. Both are
slow on purpose and run in a small pool of threads, never on the event loop: its size bounds the memory (32 MiB
for each scrypt) and leaves the other cores to everybody else.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

DEFAULT_ITERATIONS = 650_000
MIN_ITERATIONS = 50_000
MAX_ITERATIONS = 5_000_000

SALT_BYTES = 16
_N, _R, _P, _KEY_BYTES = 32_768, 8, 1, 32
_MAX_MEMORY = 256 * 1024 * 1024  # bytes; a stored hash that asks for more is refused

_pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="passphrase")


def salt_of(domain: str) -> str:
    """The salt of the browser's hash: `me@` and the domain without its port."""
    return "me@" + domain.partition(":")[0]


async def client_hash(passphrase: str, salt: str, iterations: int = DEFAULT_ITERATIONS) -> str:
    """What a browser sends in place of a clear passphrase: 44 characters of base64."""
    return await _aside(lambda: _client_hash(passphrase, salt, iterations))


async def master_key(passphrase: str, salt: str, iterations: int = DEFAULT_ITERATIONS) -> bytes:
    """The 32 bytes that the vault's keys are encrypted with."""
    return await _aside(
        lambda: hashlib.pbkdf2_hmac("sha256", passphrase.encode(), salt.encode(), max(iterations, 1), _KEY_BYTES)
    )


async def server_hash(received: str, salt: bytes) -> str:
    """The text kept for a received passphrase, `scrypt$32768$8$1$<salt hex>$<key hex>`; `salt` has 16 bytes."""
    return await _aside(lambda: _format(received, salt))


async def check(stored: str, received: str) -> bool:
    """Whether a received passphrase is the one of a stored text; False for a text that cannot be read."""
    return await _aside(lambda: _check(stored, received))


def needs_renewal(stored: str) -> bool:
    """Whether a stored text was made with other parameters than today's."""
    return not stored.startswith(f"scrypt${_N}${_R}${_P}$")


def looks_hashed(value: str) -> bool:
    """Whether a value has the form that browsers send: base64 of 32 bytes."""
    if len(value) != 44 or not value.endswith("="):
        return False
    try:
        return len(base64.b64decode(value, validate=True)) == 32
    except (binascii.Error, ValueError):
        return False


async def _aside(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_pool, work)


def _client_hash(passphrase: str, salt: str, iterations: int) -> str:
    password = passphrase.encode()
    master = hashlib.pbkdf2_hmac("sha256", password, salt.encode(), max(iterations, 1), _KEY_BYTES)
    return base64.b64encode(hashlib.pbkdf2_hmac("sha256", master, password, 1, _KEY_BYTES)).decode()


def _format(received: str, salt: bytes) -> str:
    key = hashlib.scrypt(received.encode(), salt=salt, n=_N, r=_R, p=_P, dklen=_KEY_BYTES, maxmem=_MAX_MEMORY)
    return f"scrypt${_N}${_R}${_P}${salt.hex()}${key.hex()}"


def _check(stored: str, received: str) -> bool:
    kind, _, rest = stored.partition("$")
    fields = rest.split("$")
    if kind != "scrypt" or len(fields) != 5:
        return False
    try:
        n, r, p = (int(field) for field in fields[:3])
        salt, key = bytes.fromhex(fields[3]), bytes.fromhex(fields[4])
        got = hashlib.scrypt(received.encode(), salt=salt, n=n, r=r, p=p, dklen=len(key), maxmem=_MAX_MEMORY)
    except ValueError:
        return False
    return hmac.compare_digest(got, key)
