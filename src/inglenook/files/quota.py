"""How much an instance may store, and how much it does (spec/02 §11)."""

from __future__ import annotations

from dataclasses import dataclass

from inglenook.files import tree
from inglenook.files.documents import ROOT_ID, TRASH_ID
from inglenook.files.indexes import USAGE, VERSION_USAGE, after, usage_prefix
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import TooLarge
from inglenook.storage.documents.contract import Reader

MOST_DIRECTORIES = 10_000


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """Bytes of the current contents (the trash included) and of the old versions."""

    files: int
    versions: int

    @property
    def total(self) -> int:
        """What counts in the quota."""
        return self.files + self.versions


def disk_usage(view: Reader) -> DiskUsage:
    """What an instance stores."""
    return DiskUsage(view.index_sum(USAGE), view.index_sum(VERSION_USAGE))


def size_below(view: Reader, dir_id: str) -> int:
    """Bytes of the files below a directory, without versions; at most 10,000 of its directories are counted."""
    if dir_id == ROOT_ID:
        return disk_usage(view).files
    total = _size_in(view, dir_id)
    for counted, directory in enumerate(tree.directories_below(view, dir_id)):
        if counted >= MOST_DIRECTORIES:
            break
        total += _size_in(view, directory.id)
    return total


def trash_size(view: Reader) -> int:
    """Bytes of the files in the trash."""
    return size_below(view, TRASH_ID)


def quota_of(instance: Instance) -> int:
    """The bytes that an instance may store; 0: no limit."""
    quota = instance.doc.disk_quota
    return int(quota) if quota.isascii() and quota.isdigit() else 0


def check_room(view: Reader, quota: int, size: int) -> None:
    """Refuse a content for which there is no room left. Raises TooLarge."""
    if quota and size > quota - disk_usage(view).total:
        raise over_quota()


def room(view: Reader, quota: int) -> int | None:
    """The bytes that may still be stored; None: no limit."""
    return max(quota - disk_usage(view).total, 0) if quota else None


def over_quota() -> TooLarge:
    """The error for what does not fit in the quota."""
    return TooLarge("The file is too big and exceeds the disk quota")


def _size_in(view: Reader, dir_id: str) -> int:
    prefix = usage_prefix(dir_id)
    return view.index_sum(USAGE, start=prefix, end=after(prefix))
