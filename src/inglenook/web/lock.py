"""The lock of a data folder: one process at a time owns it (spec/10 §3).

The kernel drops the lock with the process that held it, however it ended; the file is only there to say who.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Purpose = Literal["server", "command"]


@dataclass(frozen=True, slots=True)
class Holder:
    """Who owns a data folder now."""

    pid: int
    purpose: Purpose


class DataFolderTaken(Exception):
    """Another process owns the data folder."""

    def __init__(self, folder: Path, holder: Holder) -> None:
        super().__init__(f"The data folder {folder} is in use by the {holder.purpose} with pid {holder.pid}")
        self.holder = holder


class DataLock:
    """The right to use a data folder, from `acquire` to `release`."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        self.folder = folder
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, folder: Path, purpose: Purpose) -> DataLock:
        """Take the folder, made when it is missing. Raises DataFolderTaken, OSError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataFolderTaken(folder, _read(descriptor)) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {purpose}\n".encode(), 0)
        return cls(folder, descriptor)

    @property
    def descriptor(self) -> int:
        """The open file that is locked; a process that inherits it holds the folder as well."""
        return self._descriptor

    def release(self) -> None:
        """Give the folder back; may be called again."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1


def _read(descriptor: int) -> Holder:
    try:
        pid, _, purpose = os.pread(descriptor, 100, 0).decode().strip().partition(" ")
    finally:
        os.close(descriptor)
    return Holder(int(pid) if pid.isdigit() else 0, "command" if purpose == "command" else "server")
