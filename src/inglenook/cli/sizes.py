"""Sizes as people write and read them."""

from __future__ import annotations

import re

from inglenook.cli.invocation import CommandFailed

_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4, "P": 1000**5}
_BINARY = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}


def read_size(text: str) -> int:
    """Bytes of `10GB`, `1.5 GiB`, `500`; -1 stays -1. Raises CommandFailed with code 2."""
    if text.strip() == "-1":
        return -1
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGTP]?)(I?)B?", text.strip().upper())
    if match is None:
        raise CommandFailed(f"{text} is not a size; write for example 10GB, or -1 for no limit", 2)
    number, unit, binary = match.groups()
    return int(float(number) * (_BINARY if binary else _UNITS)[unit])


def show_size(size: int) -> str:
    """Bytes for people, in powers of 1000: `10 GB`, `1.5 MB`."""
    for unit in ("PB", "TB", "GB", "MB", "kB"):
        scale = _UNITS[unit[0].upper()]
        if size >= scale:
            value = size / scale
            return f"{value:.1f}".removesuffix(".0") + " " + unit
    return f"{size} B"
