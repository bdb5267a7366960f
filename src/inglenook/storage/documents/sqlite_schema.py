"""The tables of an instance's SQLite file, and how a connection to it is set up.

One file holds everything of one instance; people may open it with `sqlite3`. Bodies are JSON text, so that its
JSON functions work on them.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import apsw

from inglenook.kernel.errors import DomainError, OutOfSpace, Unavailable

SCHEMA_VERSION = 1  # kept in `PRAGMA user_version`
MEMORY = ":memory:"
BUSY_MILLISECONDS = 10_000  # how long a writer of another process is waited for

TABLES = """
-- `seq` is the sequence of the last write; `epoch` moves when other processes have to look at the indexes again.
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('seq', 0), ('epoch', 0);

CREATE TABLE doctypes (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
    live INTEGER NOT NULL DEFAULT 0, deleted INTEGER NOT NULL DEFAULT 0, last_seq INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The winning revision of each document. `leaves` counts the ends of its revision tree.
CREATE TABLE documents (
    number INTEGER PRIMARY KEY, doctype INTEGER NOT NULL, id TEXT NOT NULL, rev TEXT NOT NULL,
    deleted INTEGER NOT NULL, seq INTEGER NOT NULL, leaves INTEGER NOT NULL, tree BLOB NOT NULL, body TEXT NOT NULL
) STRICT;
-- `deleted` is there for counts and for skipping tombstones without touching the rows.
CREATE UNIQUE INDEX documents_by_id ON documents (doctype, id, deleted);
CREATE UNIQUE INDEX documents_by_seq ON documents (doctype, seq);

-- The other leaves of the documents that have several.
CREATE TABLE leaves (document INTEGER NOT NULL, rev TEXT NOT NULL, deleted INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
CREATE UNIQUE INDEX leaves_by_rev ON leaves (document, rev);

CREATE TABLE locals (
    doctype INTEGER NOT NULL, name TEXT NOT NULL, rev TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (doctype, name)
) STRICT;

CREATE TABLE journal (
    seq INTEGER PRIMARY KEY, doctype TEXT NOT NULL, id TEXT NOT NULL, rev TEXT NOT NULL, verb TEXT NOT NULL,
    origin TEXT NOT NULL, last_body TEXT
) STRICT;
CREATE TABLE checkpoints (reader TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- `unattended` is the sequence since which nobody maintains an index (NULL: it is in step).
CREATE TABLE indexes (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, doctype TEXT NOT NULL, version INTEGER NOT NULL,
    entries INTEGER NOT NULL DEFAULT 0, total INTEGER NOT NULL DEFAULT 0, unattended INTEGER
) STRICT;
CREATE TABLE index_entries (
    number INTEGER NOT NULL, key BLOB NOT NULL, id TEXT NOT NULL, document INTEGER NOT NULL, amount INTEGER NOT NULL,
    PRIMARY KEY (number, key, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_entries_by_document ON index_entries (document, number, amount);

CREATE TABLE records (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, seq INTEGER NOT NULL, due REAL, body TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX records_by_id ON records (kind, id);
CREATE INDEX records_by_due ON records (kind, due) WHERE due IS NOT NULL;
CREATE TABLE record_keys (
    kind TEXT NOT NULL, key TEXT NOT NULL, seq INTEGER NOT NULL, record INTEGER NOT NULL,
    PRIMARY KEY (kind, key, seq, record)
) STRICT, WITHOUT ROWID;
CREATE INDEX record_keys_by_record ON record_keys (record);

-- `bytes` is NULL for a content that lives in the blob store.
CREATE TABLE contents (
    number INTEGER PRIMARY KEY, sha256 TEXT NOT NULL UNIQUE, md5 TEXT NOT NULL, size INTEGER NOT NULL, bytes BLOB
) STRICT;
CREATE TABLE holders (
    doctype TEXT NOT NULL, id TEXT NOT NULL, content INTEGER NOT NULL, PRIMARY KEY (doctype, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX holders_by_content ON holders (content);
CREATE TABLE garbage (sha256 TEXT PRIMARY KEY, since REAL NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX garbage_by_age ON garbage (since);
"""


def connect_writer(path: str) -> apsw.Connection:
    """The connection that writes; makes the file and its tables when they are missing.

    Raises Unavailable (or OutOfSpace) when the file cannot be opened, or was written by a newer version."""
    try:
        connection = apsw.Connection(path)
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        if path != MEMORY:
            _log_ahead(connection, path)
        connection.execute(
            "PRAGMA synchronous = FULL; PRAGMA cache_size = -4000; PRAGMA temp_store = MEMORY;"
            "PRAGMA journal_size_limit = 16777216"
        )
        _bring_up_to_date(connection)
    except apsw.Error as error:
        raise storage_error(error) from error
    return connection


def _log_ahead(connection: apsw.Connection, path: str) -> None:
    """Have the file written through a log, which is one process's turn: the others would not wait but fail."""
    turn = os.open(Path(path).parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        os.close(turn)


def connect_reader(path: str) -> apsw.Connection:
    """A connection that only reads. Raises as `connect_writer`."""
    try:
        connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        connection.execute("PRAGMA query_only = ON; PRAGMA cache_size = -2000; PRAGMA temp_store = MEMORY")
    except apsw.Error as error:
        raise storage_error(error) from error
    return connection


def storage_error(error: apsw.Error) -> Exception:
    """What an error of SQLite means to the caller of a store: a full disk, a store out of reach, else our fault."""
    if isinstance(error, apsw.FullError):
        return OutOfSpace("The disk is full")
    if isinstance(error, (apsw.IOError, apsw.CantOpenError, apsw.BusyError, apsw.LockedError, apsw.ReadOnlyError)):
        return Unavailable(f"The storage is out of reach: {error}")
    if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
        return Unavailable(f"The storage is damaged: {error}")
    if isinstance(error, apsw.TooBigError):
        return DomainError("The value is too large")
    return error


def _bring_up_to_date(connection: apsw.Connection) -> None:
    if _version(connection) == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = _version(connection)  # another process may have been faster
        if found > SCHEMA_VERSION:
            raise Unavailable(f"The storage has the format {found}, this version knows {SCHEMA_VERSION}")
        if found == 0:
            connection.execute(TABLES)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _version(connection: apsw.Connection) -> int:
    return int(connection.pragma("user_version"))
