"""A copy of one instance out of PostgreSQL: the file of the embedded store (`documents.sqlite`), made in one snapshot.

So a person can look into a backup with `sqlite3`, and an instance can go back to a server without PostgreSQL. The
indexes are not copied: they are built when the copy is opened.
"""

# ruff: noqa: S608 - what is put into the SQL are the constants of this file, never a value

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, LiteralString

import apsw
import psycopg

from inglenook.storage.documents import sqlite_schema
from inglenook.storage.documents.postgres_schema import Connection, storage_error
from inglenook.storage.documents.postgres_threads import ConnectionThreads

PAGE = 500  # rows in memory at a time

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
        _sync(part)
        os.replace(part, target)
        _sync(os.path.dirname(target) or ".")
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


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
