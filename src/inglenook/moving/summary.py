"""What became of an import: counts for each doctype, and what could not be taken as it was (spec/12 §11).

The document tells of the first remarks. All of them are its content: one JSON object on each line.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, Literal, cast

import msgspec

from inglenook.moving import spool
from inglenook.sharing import moved_notice
from inglenook.storage.contents import Received
from inglenook.storage.documents.contract import Writer

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

IMPORTS = moved_notice.IMPORTS
MOST_TOLD = 1000
LONGEST_PATH = 4096  # characters

Result = Literal["done", "done_with_warnings", "failed"]


class Remark(msgspec.Struct, frozen=True):
    """Something that was not taken as it was, and why."""

    doctype: str
    id: str
    path: str
    reason: str


class RemarksFile:
    """All remarks of an import, on the disk while it is made."""

    def __init__(self, folder: Path) -> None:
        self._file: IO[bytes] = cast("IO[bytes]", TemporaryFile(dir=folder))  # noqa: SIM115 -- closed by `close`

    def add(self, remark: Remark) -> None:
        """Write one down."""
        self._file.write(msgspec.json.encode(remark) + b"\n")

    async def received(self, instance: Instance) -> Received:
        """All of them, as a content of an instance."""
        self._file.seek(0)
        return await instance.contents.receive(spool.pieces(self._file))

    def close(self) -> None:
        """Forget them."""
        self._file.close()


class Summary(msgspec.Struct, kw_only=True):
    """The summary of an import. `remarks` are the first ones; `remarks_count` counts all, and `all_remarks` has them.
    `notices` are the members of sharings who are to be told the new address, with how far that is."""

    source: str = ""
    started_at: str = ""
    finished_at: str = ""
    state: str = "running"
    found: dict[str, int] = {}
    imported: dict[str, int] = {}
    skipped: dict[str, int] = {}
    failed: dict[str, int] = {}
    remarks: list[Remark] = []
    remarks_count: int = 0
    apps_not_installed: list[str] = []
    files_size: int = 0
    error: str = ""
    notices: list[moved_notice.Notice] = []
    all_remarks: RemarksFile | None = None

    def count(self, what: Literal["found", "imported", "skipped", "failed"], doctype: str) -> None:
        """Count one document."""
        counts: dict[str, int] = getattr(self, what)
        counts[doctype] = counts.get(doctype, 0) + 1

    def remark(self, doctype: str, id: str, reason: str, *, path: str = "", lost: bool = False) -> None:
        """Tell of something that was changed, or (`lost`) could not be taken in; `path` is that of a file."""
        self.remarks_count += 1
        if lost:
            self.count("failed", doctype)
        remark = Remark(doctype, id[:512], path[:LONGEST_PATH], reason)
        if len(self.remarks) < MOST_TOLD:
            self.remarks.append(remark)
        if self.all_remarks is not None:
            self.all_remarks.add(remark)

    @property
    def result(self) -> Result:
        """How an import that was made ended."""
        return "done_with_warnings" if self.remarks_count or self.apps_not_installed else "done"

    def body(self) -> dict[str, Any]:
        """The document of the import."""
        counts = {
            doctype: {
                "found": found,
                "imported": self.imported.get(doctype, 0),
                "skipped": self.skipped.get(doctype, 0),
                "failed": self.failed.get(doctype, 0),
            }
            for doctype, found in sorted(self.found.items())
        }
        return {
            "source": self.source,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "state": self.state,
            "doctypes": counts,
            "files_size": self.files_size,
            "failures": msgspec.to_builtins(self.remarks),
            "failures_count": self.remarks_count,
            "apps_not_installed": self.apps_not_installed,
            **({"sharings": msgspec.to_builtins(self.notices)} if self.notices else {}),
            **({"error": self.error} if self.error else {}),
        }


def keep(tx: Writer, id: str, summary: Summary, remarks: Received | None = None) -> None:
    """Write the document of an import, and all remarks as its content."""
    old = tx.get(IMPORTS, id)
    tx.put(IMPORTS, id, summary.body(), rev=old.rev if old else None)
    if remarks is not None:
        remarks.hold(tx, IMPORTS, id)


def keep_apps(tx: Writer, id: str, summary: Summary) -> None:
    """Add to the document of an import which apps could not be installed: it may have changed meanwhile."""
    document = tx.get(IMPORTS, id)
    if document is not None:
        apps = {"apps_not_installed": summary.apps_not_installed, "state": summary.result}
        tx.put(IMPORTS, id, {**document.body, **apps}, rev=document.rev)


async def keep_failed(instance: Instance, id: str, source: str, started_at: str, error: str) -> None:
    """Write down that an import has failed: nothing was changed."""
    ended = instance.env.clock.timestamp()
    summary = Summary(source=source, started_at=started_at, finished_at=ended, state="failed", error=error)
    await instance.store.write(lambda tx: keep(tx, id, summary))
