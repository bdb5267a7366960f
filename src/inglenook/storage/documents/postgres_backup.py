"""A copy of one instance out of PostgreSQL, and into it: the file of the embedded store (`documents.sqlite`), made in
one snapshot.

So a person can look into a backup with `sqlite3`, and an instance can move between servers with and without PostgreSQL.
The indexes are not copied: they are built when the copy is opened.
"""

# ruff: noqa: S608 - what is put into the SQL are the constants of this file, never a value

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any, LiteralString

import apsw
import psycopg

from inglenook.storage.documents import sqlite_schema
from inglenook.storage.documents.postgres_schema import Connection, Json, storage_error
from inglenook.storage.documents.postgres_threads import ConnectionThreads
from inglenook.storage.documents.sqlite_copy import sync

PAGE = 100  # rows in memory at a time

_DOCTYPE = "(SELECT number FROM doctypes WHERE name = ?)"
_DOCUMENT = f"(SELECT number FROM documents WHERE doctype = {_DOCTYPE} AND id = ?)"
_RECORD = "(SELECT number FROM records WHERE kind = ? AND id = ?)"
_CONTENT = "(SELECT number FROM contents WHERE sha256 = ?)"

COPIES: tuple[tuple[LiteralString, str], ...] = (
    ("seq FROM instances WHERE number = %s", "UPDATE meta SET value = ? WHERE name = 'seq'"),
    ("name, live, deleted, last_seq FROM doctypes WHERE instance = %s",
     "INSERT INTO doctypes (name, live, deleted, last_seq) VALUES (?, ?, ?, ?)"),
    ("doctype, id, rev, deleted, seq, leaves, tree, body FROM documents WHERE instance = %s",
     "INSERT INTO documents (doctype, id, rev, deleted, seq, leaves, tree, body)"
     f" VALUES ({_DOCTYPE}, ?, ?, ?, ?, ?, ?, CAST(? AS TEXT))"),
    ("doctype, id, rev, deleted, body FROM leaves WHERE instance = %s",
     f"INSERT INTO leaves VALUES ({_DOCUMENT}, ?, ?, CAST(? AS TEXT))"),
    ("doctype, name, rev, body FROM locals WHERE instance = %s",
     f"INSERT INTO locals VALUES ({_DOCTYPE}, ?, ?, CAST(? AS TEXT))"),
    ("seq, doctype, id, rev, verb, origin, last_body FROM journal WHERE instance = %s",
     "INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, CAST(? AS TEXT))"),
    ("reader, seq FROM checkpoints WHERE instance = %s", "INSERT INTO checkpoints VALUES (?, ?)"),
    ("kind, id, seq, due, body FROM records WHERE instance = %s",
     "INSERT INTO records (kind, id, seq, due, body) VALUES (?, ?, ?, ?, CAST(? AS TEXT))"),
    ("kind, key, seq, kind, id FROM record_keys WHERE instance = %s",
     f"INSERT INTO record_keys VALUES (?, ?, ?, {_RECORD})"),
    ("sha256, md5, size, bytes FROM contents WHERE instance = %s",
     "INSERT INTO contents (sha256, md5, size, bytes) VALUES (?, ?, ?, ?)"),
    ("doctype, id, sha256 FROM holders WHERE instance = %s", f"INSERT INTO holders VALUES (?, ?, {_CONTENT})"),
    ("sha256, since FROM garbage WHERE instance = %s", "INSERT INTO garbage VALUES (?, ?)"),
)  # fmt: skip
"""What is read of each table, and the statement that writes a row of it. In this order, because rows name others."""


_JOIN = "JOIN doctypes ON doctypes.number = {0}.doctype"
_OWNER = "JOIN documents ON documents.number = leaves.document JOIN doctypes ON doctypes.number = documents.doctype"
RETURNS: tuple[tuple[str, LiteralString], ...] = (
    ("name, live, deleted, last_seq FROM doctypes", "doctypes (instance, name, live, deleted, last_seq)"),
    ("name, id, rev, documents.deleted <> 0, seq, leaves, tree, CAST(body AS BLOB) FROM documents"
     f" {_JOIN.format('documents')}",
     "documents (instance, doctype, id, rev, deleted, seq, leaves, tree, body)"),
    (f"name, id, leaves.rev, leaves.deleted <> 0, CAST(leaves.body AS BLOB) FROM leaves {_OWNER}",
     "leaves (instance, doctype, id, rev, deleted, body)"),
    (f"doctypes.name, locals.name, rev, CAST(body AS BLOB) FROM locals {_JOIN.format('locals')}",
     "locals (instance, doctype, name, rev, body)"),
    ("seq, doctype, id, rev, verb, origin, CAST(last_body AS BLOB) FROM journal",
     "journal (instance, seq, doctype, id, rev, verb, origin, last_body)"),
    ("reader, seq FROM checkpoints", "checkpoints (instance, reader, seq)"),
    ("kind, id, seq, due, CAST(body AS BLOB) FROM records", "records (instance, kind, id, seq, due, body)"),
    ("record_keys.kind, key, record_keys.seq, records.id FROM record_keys"
     " JOIN records ON records.number = record_keys.record", "record_keys (instance, kind, key, seq, id)"),
    ("sha256, md5, size, bytes FROM contents", "contents (instance, sha256, md5, size, bytes)"),
    ("holders.doctype, id, sha256 FROM holders JOIN contents ON contents.number = holders.content",
     "holders (instance, doctype, id, sha256)"),
    ("sha256, since FROM garbage", "garbage (instance, sha256, since)"),
)  # fmt: skip
"""What is read of each table of the file, and the columns that take it. Bodies are the last of their columns."""
_BODIES = ("body)", "last_body)")


def read_copy(connection: Connection, number: int, source: str) -> None:
    """Fill an instance that has nothing from the file of a backup, inside a transaction. Raises psycopg.Error."""
    try:
        copy = apsw.Connection(source, flags=apsw.SQLITE_OPEN_READONLY)
        try:
            with connection.cursor(binary=True) as cursor:
                for columns, table in RETURNS:
                    places = ", ".join(["%s"] * (table.count(",") + 1))
                    insert: LiteralString = f"INSERT INTO {table} VALUES ({places})"  # pyright: ignore
                    rows = copy.execute(f"SELECT {columns}")
                    while page := list(itertools.islice(rows, PAGE)):
                        cursor.executemany(insert, [_values(number, row, table) for row in page])
                seq = copy.execute("SELECT value FROM meta WHERE name = 'seq'").get
                cursor.execute("UPDATE instances SET seq = %s, epoch = epoch + 1 WHERE number = %s", (seq, number))
        finally:
            copy.close()
    except apsw.Error as error:
        raise sqlite_schema.storage_error(error) from error


def _values(number: int, row: Any, table: str) -> tuple[Any, ...]:
    values = list(row)
    if table.endswith(_BODIES) and values[-1] is not None:
        values[-1] = Json(values[-1])
    if " deleted," in table and not table.startswith("doctypes"):
        at = table.split(", ").index("deleted") - 1
        values[at] = bool(values[at])
    return (number, *values)


def write_copy(threads: ConnectionThreads, number: int, target: str) -> None:
    """Write the copy beside `target`, sync it, and put it in place. Raises Unavailable, OutOfSpace."""
    part = f"{target}.part"
    Path(part).unlink(missing_ok=True)
    try:
        copy = sqlite_schema.connect_writer(part)
        try:
            copy.execute("PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF")
            with copy:
                _copy_rows(threads.connection(), number, copy)
        finally:
            copy.close()
        sync(part)
        os.replace(part, target)
        sync(os.path.dirname(target) or ".")
    except apsw.Error as error:
        raise sqlite_schema.storage_error(error) from error
    except psycopg.Error as error:
        raise storage_error(error) from error
    finally:
        Path(part).unlink(missing_ok=True)


def _copy_rows(connection: Connection, number: int, copy: apsw.Connection) -> None:
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        for columns, insert in COPIES:
            with connection.cursor("copied", binary=True) as rows:
                rows.itersize = PAGE
                rows.execute(f"SELECT {columns}", (number,))
                values: list[tuple[Any, ...]]
                while values := rows.fetchmany(PAGE):
                    copy.executemany(insert, values)
    finally:
        if not connection.closed:
            connection.execute("ROLLBACK")
