"""The tables of all instances in one PostgreSQL database, and how a connection to it is set up (docs/decisions/0010).

Each primary key begins with the number of the instance, so that a sharded PostgreSQL can spread instances over
machines. Texts compare by their bytes. Bodies are of the type `json`, which keeps the text as it was written, so that
people may look at them with `psql`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors
from psycopg.adapt import Buffer, Dumper, Loader
from psycopg.pq import Format
from psycopg.types.array import ListBinaryDumper
from psycopg.types.bool import BoolBinaryDumper
from psycopg.types.numeric import FloatBinaryDumper, Int8BinaryDumper
from psycopg.types.string import BytesBinaryDumper

from inglenook.kernel.errors import OutOfSpace, TooLarge, Unavailable

Connection = psycopg.Connection[tuple[Any, ...]]

SCHEMA_VERSION = 1  # kept in the table `inglenook`
MAKING = 0x1E61E_0001  # the advisory lock under which the tables are made
CONNECT_SECONDS = 10
LONGEST_KEY = 1200  # bytes of an index key that are kept as they are; a B-tree of PostgreSQL takes some 2,700

TABLES = """
CREATE TABLE inglenook (version INTEGER NOT NULL);

-- `seq` is the instance's sequence; whoever writes locks the row. `epoch` moves when an index comes or goes, or a
-- doctype goes: what other processes remember of them is over then.
CREATE TABLE instances (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name TEXT COLLATE "C" NOT NULL UNIQUE,
    seq BIGINT NOT NULL DEFAULT 0, epoch BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE doctypes (
    instance BIGINT NOT NULL, name TEXT COLLATE "C" NOT NULL,
    live BIGINT NOT NULL DEFAULT 0, deleted BIGINT NOT NULL DEFAULT 0, last_seq BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (instance, name)
) WITH (fillfactor = 50);

-- The winning revision of each document. `leaves` counts the ends of its revision tree.
CREATE TABLE documents (
    instance BIGINT NOT NULL, doctype TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL,
    rev TEXT COLLATE "C" NOT NULL, deleted BOOLEAN NOT NULL, seq BIGINT NOT NULL, leaves BIGINT NOT NULL,
    tree BYTEA NOT NULL, body JSON NOT NULL,
    PRIMARY KEY (instance, doctype, id)
);
CREATE UNIQUE INDEX documents_by_seq ON documents (instance, doctype, seq);

-- The other leaves of the documents that have several.
CREATE TABLE leaves (
    instance BIGINT NOT NULL, doctype TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL,
    rev TEXT COLLATE "C" NOT NULL, deleted BOOLEAN NOT NULL, body JSON NOT NULL,
    PRIMARY KEY (instance, doctype, id, rev)
);

CREATE TABLE locals (
    instance BIGINT NOT NULL, doctype TEXT COLLATE "C" NOT NULL, name TEXT COLLATE "C" NOT NULL,
    rev TEXT COLLATE "C" NOT NULL, body JSON NOT NULL,
    PRIMARY KEY (instance, doctype, name)
);

CREATE TABLE journal (
    instance BIGINT NOT NULL, seq BIGINT NOT NULL, doctype TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL,
    rev TEXT COLLATE "C" NOT NULL, verb TEXT COLLATE "C" NOT NULL, origin TEXT COLLATE "C" NOT NULL, last_body JSON,
    PRIMARY KEY (instance, seq)
);
CREATE TABLE checkpoints (
    instance BIGINT NOT NULL, reader TEXT COLLATE "C" NOT NULL, seq BIGINT NOT NULL, PRIMARY KEY (instance, reader)
);

-- `unattended` is the sequence since which nobody maintains an index (NULL: it is in step).
CREATE TABLE indexes (
    instance BIGINT NOT NULL, number BIGINT NOT NULL, name TEXT COLLATE "C" NOT NULL, doctype TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL, entries BIGINT NOT NULL DEFAULT 0, total BIGINT NOT NULL DEFAULT 0, unattended BIGINT,
    PRIMARY KEY (instance, number), UNIQUE (instance, name)
) WITH (fillfactor = 50);
CREATE TABLE index_entries (
    instance BIGINT NOT NULL, number BIGINT NOT NULL, key BYTEA NOT NULL, id TEXT COLLATE "C" NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (instance, number, key, id)
);
CREATE INDEX index_entries_by_document ON index_entries (instance, id, number);

CREATE TABLE records (
    instance BIGINT NOT NULL, kind TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL, due DOUBLE PRECISION, body JSON NOT NULL,
    PRIMARY KEY (instance, kind, id)
);
CREATE INDEX records_by_due ON records (instance, kind, due) WHERE due IS NOT NULL;
CREATE TABLE record_keys (
    instance BIGINT NOT NULL, kind TEXT COLLATE "C" NOT NULL, key TEXT COLLATE "C" NOT NULL, seq BIGINT NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (instance, kind, key, seq)
);
CREATE INDEX record_keys_by_record ON record_keys (instance, kind, id);

-- `bytes` is NULL for a content that lives in the blob store.
CREATE TABLE contents (
    instance BIGINT NOT NULL, sha256 TEXT COLLATE "C" NOT NULL, md5 TEXT COLLATE "C" NOT NULL, size BIGINT NOT NULL,
    bytes BYTEA,
    PRIMARY KEY (instance, sha256)
);
ALTER TABLE contents ALTER COLUMN bytes SET STORAGE EXTERNAL;
CREATE TABLE holders (
    instance BIGINT NOT NULL, doctype TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (instance, doctype, id)
);
CREATE INDEX holders_by_content ON holders (instance, sha256);
CREATE TABLE garbage (
    instance BIGINT NOT NULL, sha256 TEXT COLLATE "C" NOT NULL, since DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (instance, sha256)
);
CREATE INDEX garbage_by_age ON garbage (instance, since);

-- Which process works for what, until when (storage.leases, without Redis).
CREATE TABLE leases (
    name TEXT COLLATE "C" PRIMARY KEY, holder TEXT COLLATE "C" NOT NULL, until TIMESTAMPTZ NOT NULL
);
-- Values that end by themselves (storage.bus, without Redis).
CREATE TABLE short_lived (key TEXT COLLATE "C" PRIMARY KEY, value JSON NOT NULL, until TIMESTAMPTZ NOT NULL);
CREATE INDEX short_lived_by_end ON short_lived (until);
"""

OF_AN_INSTANCE = (
    "doctypes", "documents", "leaves", "locals", "journal", "checkpoints", "indexes", "index_entries", "records",
    "record_keys", "contents", "holders", "garbage",
)  # fmt: skip
"""The tables whose rows belong to one instance."""


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON text on its way into a column of the type `json`."""

    raw: bytes


class _JsonDumper(Dumper):
    oid = 114
    format = Format.BINARY

    def dump(self, obj: Any) -> Buffer:
        return obj.raw


class _JsonLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


# PostgreSQL has no text with a zero byte, and our ids may have one. U+0000 is stored as U+0001 U+0001 and U+0001 as
# U+0001 U+0002, which keeps the order of the bytes.


class _TextDumper(Dumper):
    oid = 25
    format = Format.BINARY

    def dump(self, obj: str) -> Buffer:
        data = obj.encode()
        if b"\0" in data or b"\1" in data:
            data = data.replace(b"\1", b"\1\2").replace(b"\0", b"\1\1")
        return data


class _TextLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> str:
        text = str(data, "utf-8")
        if "\1" in text:
            text = text.replace("\1\1", "\0").replace("\1\2", "\1")
        return text


def connect(url: str) -> Connection:
    """A connection on which every statement is a transaction of its own, unless one is begun. Raises Unavailable."""
    try:
        connection = psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_SECONDS)
        with connection.cursor() as cursor:
            # Every statement here is a look-up by an index, also before PostgreSQL has counted the rows.
            cursor.execute("SET enable_seqscan = off; SET jit = off; SET timezone = 'UTC'")
    except psycopg.Error as error:
        raise storage_error(error) from error
    adapters = connection.adapters  # all values travel in their binary form
    adapters.register_dumper(str, _TextDumper)
    adapters.register_dumper(int, Int8BinaryDumper)
    adapters.register_dumper(float, FloatBinaryDumper)
    adapters.register_dumper(bool, BoolBinaryDumper)
    adapters.register_dumper(bytes, BytesBinaryDumper)
    adapters.register_dumper(list, ListBinaryDumper)
    adapters.register_dumper(Json, _JsonDumper)
    adapters.register_loader("text", _TextLoader)
    adapters.register_loader("json", _JsonLoader)
    return connection


def make_tables(connection: Connection) -> None:
    """Make the tables when they are missing. Raises Unavailable for tables of a newer version."""
    try:
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (MAKING,))
            cursor.execute("SELECT to_regclass('inglenook') IS NOT NULL")
            there = cursor.fetchone()
            if there is not None and not there[0]:
                cursor.execute(TABLES)
                cursor.execute("INSERT INTO inglenook VALUES (%s)", (SCHEMA_VERSION,))
            cursor.execute("SELECT version FROM inglenook")
            row = cursor.fetchone()
    except psycopg.Error as error:
        raise storage_error(error) from error
    if row is None or row[0] != SCHEMA_VERSION:
        found = row[0] if row else "none"
        raise Unavailable(f"The database has the format {found}, this version knows {SCHEMA_VERSION}")


def storage_error(error: psycopg.Error) -> Exception:
    """What an error of PostgreSQL means to the caller of a store: a full disk, a database out of reach, a value that
    is too large, else our fault."""
    match error:
        case errors.DiskFull() | errors.InsufficientResources():
            return OutOfSpace("The disk is full")
        case errors.ProgramLimitExceeded():
            return TooLarge("The value is too large")
        case errors.SerializationFailure() | errors.DeadlockDetected() | errors.ReadOnlySqlTransaction():
            return Unavailable("The storage is out of reach: " + " ".join(str(error).split()))
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return Unavailable("The storage is out of reach: " + " ".join(str(error).split()))
        case _:
            return error


def cut(key: bytes) -> bytes:
    """An index key as it is stored: of a very long one the beginning, and a hash of all of it."""
    if len(key) <= LONGEST_KEY + 32:
        return key
    return key[:LONGEST_KEY] + hashlib.sha256(key).digest()


def bounds(start: bytes, end: bytes | None) -> tuple[bytes, bytes | None]:
    """A range of index keys as they are stored. Of very long ones it takes in all that begin like them."""
    low = start if len(start) <= LONGEST_KEY + 32 else start[:LONGEST_KEY]
    high = end if end is None or len(end) <= LONGEST_KEY + 32 else end[:LONGEST_KEY] + b"\xff" * 33
    return low, high
