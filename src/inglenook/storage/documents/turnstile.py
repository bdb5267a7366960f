"""The line of the processes that write one SQLite file: one at a time, and none is passed over.

SQLite lets a process that finds the file locked try again after a pause, so that one which writes all the time could
keep the others out for ever. Here whoever wants to write first takes the gate and, inside it, waits for the floor;
whoever comes back meanwhile finds the gate taken.
"""

from __future__ import annotations

import fcntl
import os


class Turnstile:
    """One process's way into the line; `folder` is that of the file. Used by one thread at a time."""

    def __init__(self, folder: str) -> None:
        self._gate = _open(os.path.join(folder, "gate.lock"))
        self._floor = _open(os.path.join(folder, "floor.lock"))
        self._inside = False

    def enter(self) -> None:
        """Wait for one's turn."""
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._floor, fcntl.LOCK_EX)
        finally:
            fcntl.flock(self._gate, fcntl.LOCK_UN)
        self._inside = True

    def leave(self) -> None:
        """Let the next one in; nothing happens when one is not inside."""
        if self._inside:
            self._inside = False
            fcntl.flock(self._floor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the files."""
        for descriptor in (self._gate, self._floor):
            os.close(descriptor)


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
