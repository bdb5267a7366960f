"""What a process of a server of several has from the one that started it."""

from __future__ import annotations

from typing import NamedTuple


class Inherited(NamedTuple):
    """Descriptors that a worker is born with."""

    hub: int
    """Its connection to the first process (`storage.hub`)."""
    lock: int
    """The lock of the data folder, which is free when the last process has ended."""
    listener: int
    """The socket that gives it requests (`web.listener`)."""
