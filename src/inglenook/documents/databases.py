"""Databases: which doctypes an instance has, their status, their end (spec/01 §1.1, §4)."""

from __future__ import annotations

from typing import Any

from inglenook.documents import all_docs, attachments, sequences
from inglenook.documents.all_docs import Range, require_database
from inglenook.documents.mango import definitions
from inglenook.kernel import doctypes
from inglenook.kernel.errors import DocumentNotFound
from inglenook.storage.documents.contract import Reader, Writer

START_TIME = "0"  # kept for replicators, which compare it; a database never loses what it has acknowledged


def readable_doctypes(view: Reader) -> list[str]:
    """The doctypes that have a database and are shown through `/data`, in the order of their database names."""
    found = [name for name in view.doctypes() if doctypes.is_name(name) and name not in doctypes.UNREADABLE]
    return sorted(found, key=database_name)


def database_name(doctype: str) -> str:
    """The doctype as it is part of the name of its database."""
    return doctype.lower().replace(".", "-").replace(":", "-")


def status(view: Reader, prefix: str, doctype: str) -> dict[str, Any]:
    """The status of a database (spec/01 §4.3). Raises DocumentNotFound."""
    require_database(view, doctype)
    counts = view.status(doctype)
    return {
        "db_name": f"{prefix}/{database_name(doctype)}",
        "update_seq": sequences.encode(counts.last_seq),
        "doc_count": all_docs.count(view, doctype, Range()),
        "doc_del_count": counts.deleted,
        "sizes": {"file": 0, "external": 0, "active": 0},
        "purge_seq": "0-0",
        "other": {"data_size": 0},
        "disk_size": 0,
        "data_size": 0,
        "disk_format_version": 8,
        "compact_running": False,
        "instance_start_time": START_TIME,
    }


def drop(tx: Writer, doctype: str) -> None:
    """Remove a database with its documents and indexes. Raises DocumentNotFound."""
    if not tx.has_doctype(doctype):
        raise DocumentNotFound("Database does not exist.")
    for definition in definitions.of_doctype(tx, doctype):
        tx.drop_index(definition.index.name)
    attachments.forget_all(tx, doctype)
    tx.drop_doctype(doctype)
