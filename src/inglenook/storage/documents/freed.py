"""Memory that closed connections have freed goes back to the system: the C library would keep it for this process."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Give freed memory back, where the C library can (glibc); takes some milliseconds."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
