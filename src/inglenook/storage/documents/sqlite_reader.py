"""Reading one instance from SQLite: the `Reader` of the contract, over a connection inside a transaction."""

# ruff: noqa: S608 - what is put into the SQL are the constants and fixed clauses of this file, never a value

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from inglenook.kernel.errors import DocumentNotFound
from inglenook.kernel.revisions import RevisionTree, normalise
from inglenook.storage.documents.contract import (
    Content,
    DoctypeStatus,
    Document,
    FeedEntry,
    Index,
    IndexEntry,
    JournalEntry,
    Record,
)

Row = tuple[Any, ...]

# Bodies are stored as text, for people with `sqlite3`, and read as the same bytes without decoding them twice.
DOCUMENT = "id, rev, CAST(body AS BLOB), deleted, seq"
DOCTYPE = "doctype = (SELECT number FROM doctypes WHERE name = ?)"
ATTENDED = "(SELECT number FROM indexes WHERE name = ? AND unattended IS NULL)"
RECORD = "kind, records.id, records.seq, CAST(body AS BLOB)"


class SqliteReader:
    """A consistent view of one instance (see the contract for the meaning of each method)."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._execute = connection.execute

    def _row(self, sql: str, values: tuple[Any, ...]) -> Row | None:
        return self._execute(sql, values).fetchone()

    # -- documents

    def get(self, doctype: str, id: str) -> Document | None:
        row = self._row(f"SELECT {DOCUMENT} FROM documents WHERE {DOCTYPE} AND id = ? AND deleted = 0", (doctype, id))
        return None if row is None else Document(doctype, id, row[1], row[2], seq=row[4])

    def find(self, doctype: str, id: str) -> Document:
        found = self.winner(doctype, id)
        if found is not None and not found.deleted:
            return found
        if found is not None:
            raise DocumentNotFound("deleted")
        raise DocumentNotFound("missing" if self.has_doctype(doctype) else "wrong_doctype")

    def winner(self, doctype: str, id: str) -> Document | None:
        row = self._row(f"SELECT {DOCUMENT} FROM documents WHERE {DOCTYPE} AND id = ?", (doctype, id))
        return None if row is None else _document(doctype, row)

    def get_many(self, doctype: str, ids: Sequence[str]) -> list[Document | None]:
        number = self._row("SELECT number FROM doctypes WHERE name = ?", (doctype,))
        if number is None:
            return [None] * len(ids)
        execute, sql = self._execute, f"SELECT {DOCUMENT} FROM documents WHERE doctype = {number[0]:d} AND id = ?"
        rows = [execute(sql, (id,)).fetchone() for id in ids]
        return [None if row is None else _document(doctype, row) for row in rows]

    def tree(self, doctype: str, id: str) -> RevisionTree | None:
        row = self._row(f"SELECT tree FROM documents WHERE {DOCTYPE} AND id = ?", (doctype, id))
        return None if row is None else RevisionTree.decode(row[0])

    def revision(self, doctype: str, id: str, rev: str) -> Document | None:
        row = self._row(f"SELECT {DOCUMENT}, number, leaves FROM documents WHERE {DOCTYPE} AND id = ?", (doctype, id))
        if row is None:
            return None
        rev = normalise(rev)
        if row[1] == rev:
            return _document(doctype, row)
        if row[6] == 1:
            return None
        leaf = self._row("SELECT CAST(body AS BLOB), deleted FROM leaves WHERE document = ? AND rev = ?", (row[5], rev))
        return None if leaf is None else Document(doctype, id, rev, leaf[0], deleted=bool(leaf[1]))

    def all_docs(
        self,
        doctype: str,
        *,
        start: str = "",
        end: str | None = None,
        inclusive_end: bool = True,
        descending: bool = False,
        skip: int = 0,
        limit: int = 100,
    ) -> list[Document]:
        where = f"{DOCTYPE} AND deleted = 0"
        values: list[Any] = [doctype]
        if start:
            where += " AND id <= ?" if descending else " AND id >= ?"
            values.append(start)
        if end is not None:
            where += f" AND id {'>' if descending else '<'}{'=' if inclusive_end else ''} ?"
            values.append(end)
        order = "DESC" if descending else "ASC"
        rows = self._execute(
            f"SELECT {DOCUMENT} FROM documents WHERE {where} ORDER BY id {order} LIMIT ? OFFSET ?",
            (*values, limit, skip),
        )
        return [_document(doctype, row) for row in rows]

    def rank(self, doctype: str, id: str) -> int:
        row = self._row(f"SELECT count(*) FROM documents WHERE {DOCTYPE} AND id < ? AND deleted = 0", (doctype, id))
        return row[0] if row else 0

    def doctypes(self) -> list[str]:
        return [name for (name,) in self._execute("SELECT name FROM doctypes ORDER BY name")]

    def has_doctype(self, doctype: str) -> bool:
        return self._row("SELECT 1 FROM doctypes WHERE name = ?", (doctype,)) is not None

    def status(self, doctype: str) -> DoctypeStatus:
        row = self._row("SELECT live, deleted, last_seq FROM doctypes WHERE name = ?", (doctype,))
        return DoctypeStatus(*(row or (0, 0, 0)))

    def changes(self, doctype: str, *, since: int = 0, limit: int = 100, descending: bool = False) -> list[FeedEntry]:
        where, order = (">= 0", "DESC") if descending else ("> ?", "ASC")
        values = (doctype, limit) if descending else (doctype, since, limit)
        rows = self._execute(
            f"SELECT seq, id, rev, deleted FROM documents WHERE {DOCTYPE} AND seq {where} ORDER BY seq {order} LIMIT ?",
            values,
        )
        return [FeedEntry(seq, id, rev, bool(deleted)) for seq, id, rev, deleted in rows]

    def pending(self, doctype: str, since: int) -> int:
        row = self._row(f"SELECT count(*) FROM documents WHERE {DOCTYPE} AND seq > ?", (doctype, since))
        return row[0] if row else 0

    # -- journal

    def last_seq(self) -> int:
        row = self._row("SELECT value FROM meta WHERE name = 'seq'", ())
        return row[0] if row else 0

    def journal(self, *, since: int, limit: int = 100) -> list[JournalEntry]:
        rows = self._execute(
            "SELECT seq, doctype, id, rev, verb, origin, CAST(last_body AS BLOB) FROM journal WHERE seq > ?"
            " ORDER BY seq LIMIT ?",
            (since, limit),
        )
        return [JournalEntry(*row) for row in rows]

    def checkpoint(self, reader: str) -> int:
        row = self._row("SELECT seq FROM checkpoints WHERE reader = ?", (reader,))
        return row[0] if row else 0

    def checkpoints(self) -> dict[str, int]:
        rows: list[Any] = self._execute("SELECT reader, seq FROM checkpoints ORDER BY reader").fetchall()
        return dict(rows)

    # -- local documents

    def local(self, doctype: str, name: str) -> Document | None:
        row = self._row(f"SELECT rev, CAST(body AS BLOB) FROM locals WHERE {DOCTYPE} AND name = ?", (doctype, name))
        return None if row is None else Document(doctype, f"_local/{name}", row[0], row[1])

    # -- indexes

    def index(
        self,
        index: Index | str,
        *,
        start: bytes = b"",
        end: bytes | None = None,
        after: tuple[bytes, str] | None = None,
        descending: bool = False,
        skip: int = 0,
        limit: int = 100,
    ) -> list[IndexEntry]:
        where, values = _range(_name(index), start, end)
        page, more = _page(after, descending, skip, limit)
        rows = self._execute(f"SELECT key, id FROM index_entries WHERE {where}{page}", (*values, *more))
        return [IndexEntry(key, id) for key, id in rows] or self._nothing_in(index)

    def index_docs(
        self,
        index: Index | str,
        *,
        start: bytes = b"",
        end: bytes | None = None,
        after: tuple[bytes, str] | None = None,
        descending: bool = False,
        skip: int = 0,
        limit: int = 100,
    ) -> list[tuple[bytes, Document]]:
        doctype = self._attended(index)[1] if isinstance(index, str) else index.doctype
        where, values = _range(_name(index), start, end)
        page, more = _page(after, descending, skip, limit)
        order = "DESC" if descending else "ASC"
        # The page is cut before the join: skipped entries cost no documents.
        rows = self._execute(
            "SELECT found.key, found.id, rev, CAST(body AS BLOB), seq FROM"
            f" (SELECT key, id, document FROM index_entries WHERE {where}{page}) AS found"
            " CROSS JOIN documents ON documents.number = found.document"
            f" ORDER BY found.key {order}, found.id {order}",
            (*values, *more),
        )
        found = [(key, Document(doctype, id, rev, raw, seq=seq)) for key, id, rev, raw, seq in rows]
        return found or self._nothing_in(index)

    def index_count(self, index: Index | str, *, start: bytes = b"", end: bytes | None = None) -> int:
        return self._index_aggregate(index, "entries", "count(*)", start, end)

    def index_sum(self, index: Index | str, *, start: bytes = b"", end: bytes | None = None) -> int:
        return self._index_aggregate(index, "total", "coalesce(sum(amount), 0)", start, end)

    def _index_aggregate(self, index: Index | str, kept: str, formula: str, start: bytes, end: bytes | None) -> int:
        number, _ = self._attended(index)
        if not start and end is None:
            row = self._row(f"SELECT {kept} FROM indexes WHERE number = ?", (number,))
        else:
            where, values = _range(_name(index), start, end)
            row = self._row(f"SELECT {formula} FROM index_entries WHERE {where}", tuple(values))
        return row[0] if row else 0

    def _nothing_in(self, index: Index | str) -> list[Any]:
        """An empty page, once it is sure that the index is maintained. Raises KeyError when it is not."""
        self._attended(index)
        return []

    def _attended(self, index: Index | str) -> tuple[int, str]:
        """The number of an index and its doctype. Raises KeyError when nobody maintains it."""
        name = _name(index)
        row = self._row("SELECT number, doctype FROM indexes WHERE name = ? AND unattended IS NULL", (name,))
        if row is None:
            raise KeyError(name)
        return row[0], row[1]

    # -- records

    def record(self, kind: str, id: str) -> Record | None:
        row = self._row(f"SELECT {RECORD} FROM records WHERE kind = ? AND id = ?", (kind, id))
        return None if row is None else Record(*row)

    def records(self, kind: str, *, start: str = "", end: str | None = None, limit: int = 100) -> list[Record]:
        bound, values = ("", (kind, start, limit)) if end is None else (" AND id < ?", (kind, start, end, limit))
        rows = self._execute(
            f"SELECT {RECORD} FROM records WHERE kind = ? AND id >= ?{bound} ORDER BY id LIMIT ?",
            values,
        )
        return [Record(*row) for row in rows]

    def record_feed(self, kind: str, key: str, *, since: int = 0, limit: int = 100) -> list[Record]:
        rows = self._execute(
            "SELECT records.kind, records.id, records.seq, CAST(body AS BLOB) FROM record_keys CROSS JOIN records"
            " ON records.number = record_keys.record WHERE record_keys.kind = ? AND key = ? AND record_keys.seq > ?"
            " ORDER BY record_keys.seq LIMIT ?",
            (kind, key, since, limit),
        )
        return [Record(*row) for row in rows]

    def records_due(self, kind: str, until: float, *, limit: int = 100) -> list[Record]:
        rows = self._execute(
            f"SELECT {RECORD} FROM records WHERE kind = ? AND due <= ? ORDER BY due LIMIT ?",
            (kind, until, limit),
        )
        return [Record(*row) for row in rows]

    def next_due(self, kind: str) -> float | None:
        row = self._row("SELECT min(due) FROM records WHERE kind = ? AND due IS NOT NULL", (kind,))
        return row[0] if row else None

    # -- contents

    def content(self, doctype: str, id: str) -> Content | None:
        row = self._row(
            "SELECT sha256, md5, size FROM holders CROSS JOIN contents ON contents.number = holders.content"
            " WHERE doctype = ? AND id = ?",
            (doctype, id),
        )
        return None if row is None else Content(*row)

    def content_bytes(self, sha256: str) -> bytes | None:
        row = self._row("SELECT bytes FROM contents WHERE sha256 = ?", (sha256,))
        return None if row is None else row[0]

    def known_content(self, sha256: str) -> Content | None:
        row = self._row("SELECT sha256, md5, size FROM contents WHERE sha256 = ?", (sha256,))
        return None if row is None else Content(*row)

    def is_garbage(self, sha256: str) -> bool:
        return self._row("SELECT 1 FROM garbage WHERE sha256 = ?", (sha256,)) is not None

    def oldest_garbage(self) -> float | None:
        row = self._row("SELECT min(since) FROM garbage", ())
        return None if row is None else row[0]


def _document(doctype: str, row: Row) -> Document:
    return Document(doctype, row[0], row[1], row[2], deleted=bool(row[3]), seq=row[4])


def _name(index: Index | str) -> str:
    return index if isinstance(index, str) else index.name


def _range(name: str, start: bytes, end: bytes | None) -> tuple[str, list[Any]]:
    if end is None:
        return f"number = {ATTENDED} AND key >= ?", [name, start]
    return f"number = {ATTENDED} AND key >= ? AND key < ?", [name, start, end]


def _page(after: tuple[bytes, str] | None, descending: bool, skip: int, limit: int) -> tuple[str, list[Any]]:
    clause, values = "", list[Any]()
    if after is not None:
        clause = f" AND (key, id) {'<' if descending else '>'} (?, ?)"
        values = [*after]
    order = "DESC" if descending else "ASC"
    return f"{clause} ORDER BY key {order}, id {order} LIMIT ? OFFSET ?", [*values, limit, skip]
