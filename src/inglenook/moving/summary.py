"""What became of an import: counts for each doctype, and what could not be taken as it was (spec/12 §11)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from inglenook.storage.documents.contract import Writer

IMPORTS = "io.cozy.imports"
MOST_TOLD = 1000

Result = Literal["done", "done_with_warnings", "failed"]


class Remark(msgspec.Struct, frozen=True):
    """Something that was not taken as it was, and why."""

    doctype: str
    id: str
    reason: str


class Summary(msgspec.Struct, kw_only=True):
    """The summary of an import. `remarks` are the first ones; `remarks_count` counts all. A remark of `faults` is of
    something that could not be taken in at all."""

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

    def count(self, what: Literal["found", "imported", "skipped", "failed"], doctype: str) -> None:
        """Count one document."""
        counts: dict[str, int] = getattr(self, what)
        counts[doctype] = counts.get(doctype, 0) + 1

    def remark(self, doctype: str, id: str, reason: str, *, lost: bool = False) -> None:
        """Tell of something that was changed, or (`lost`) could not be taken in."""
        self.remarks_count += 1
        if lost:
            self.count("failed", doctype)
        if len(self.remarks) < MOST_TOLD:
            self.remarks.append(Remark(doctype, id[:512], reason))

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
            **({"error": self.error} if self.error else {}),
        }


def keep(tx: Writer, id: str, summary: Summary) -> None:
    """Write the document of an import."""
    old = tx.get(IMPORTS, id)
    tx.put(IMPORTS, id, summary.body(), rev=old.rev if old else None)
