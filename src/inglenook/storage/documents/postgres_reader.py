"""Reading one instance from PostgreSQL: the `Reader` of the contract, over a connection inside a transaction."""

# ruff: noqa: S608 - what is put into the SQL are the constants and fixed clauses of this file, never a value

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

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
from inglenook.storage.documents.postgres_schema import Connection, bounds, cut

Row = tuple[Any, ...]

DOCUMENT = "id, rev, body, deleted, seq"
OF_DOCTYPE = "instance = %s AND doctype = %s"
RECORD = "kind, id, seq, body"


class PostgresReader:
    """A consistent view of one instance (see the contract for the meaning of each method).

    `number` is that of the instance in the database."""

    def __init__(self, connection: Connection, number: int) -> None:
        self._number = number
        self._cursor = connection.cursor(binary=True)

    def _rows(self, sql: LiteralString, values: Sequence[Any]) -> list[Row]:
        return self._cursor.execute(sql, values).fetchall()

    def _row(self, sql: LiteralString, values: Sequence[Any]) -> Row | None:
        return self._cursor.execute(sql, values).fetchone()

    # -- documents

    def get(self, doctype: str, id: str) -> Document | None:
        found = self.winner(doctype, id)
        return None if found is None or found.deleted else found

    def find(self, doctype: str, id: str) -> Document:
        found = self.winner(doctype, id)
        if found is not None and not found.deleted:
            return found
        if found is not None:
            raise DocumentNotFound("deleted")
        raise DocumentNotFound("missing" if self.has_doctype(doctype) else "wrong_doctype")

    def winner(self, doctype: str, id: str) -> Document | None:
        row = self._row(f"SELECT {DOCUMENT} FROM documents WHERE {OF_DOCTYPE} AND id = %s", (self._number, doctype, id))
        return None if row is None else _document(doctype, row)

    def get_many(self, doctype: str, ids: Sequence[str]) -> list[Document | None]:
        rows = self._rows(
            f"SELECT {DOCUMENT} FROM documents WHERE {OF_DOCTYPE} AND id = ANY(%s::text[])",
            (self._number, doctype, list(ids)),
        )
        found = {row[0]: _document(doctype, row) for row in rows}
        return [found.get(id) for id in ids]

    def tree(self, doctype: str, id: str) -> RevisionTree | None:
        row = self._row(f"SELECT tree FROM documents WHERE {OF_DOCTYPE} AND id = %s", (self._number, doctype, id))
        return None if row is None else RevisionTree.decode(row[0])

    def revision(self, doctype: str, id: str, rev: str) -> Document | None:
        place = (self._number, doctype, id)
        row = self._row(f"SELECT {DOCUMENT}, leaves FROM documents WHERE {OF_DOCTYPE} AND id = %s", place)
        if row is None:
            return None
        rev = normalise(rev)
        if row[1] == rev:
            return _document(doctype, row)
        if row[5] == 1:
            return None
        leaf = self._row(f"SELECT body, deleted FROM leaves WHERE {OF_DOCTYPE} AND id = %s AND rev = %s", (*place, rev))
        return None if leaf is None else Document(doctype, id, rev, leaf[0], deleted=leaf[1])

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
        where = f"{OF_DOCTYPE} AND NOT deleted"
        values: list[Any] = [self._number, doctype]
        if start:
            where += " AND id <= %s" if descending else " AND id >= %s"
            values.append(start)
        if end is not None:
            where += f" AND id {'>' if descending else '<'}{'=' if inclusive_end else ''} %s"
            values.append(end)
        order = "DESC" if descending else "ASC"
        rows = self._rows(
            f"SELECT {DOCUMENT} FROM documents WHERE {where} ORDER BY id {order} LIMIT %s OFFSET %s",
            (*values, limit, skip),
        )
        return [_document(doctype, row) for row in rows]

    def rank(self, doctype: str, id: str) -> int:
        return self._count("documents", f"{OF_DOCTYPE} AND id < %s AND NOT deleted", (self._number, doctype, id))

    def doctypes(self) -> list[str]:
        rows = self._rows("SELECT name FROM doctypes WHERE instance = %s ORDER BY name", (self._number,))
        return [name for (name,) in rows]

    def has_doctype(self, doctype: str) -> bool:
        sql = "SELECT 1 FROM doctypes WHERE instance = %s AND name = %s"
        return self._row(sql, (self._number, doctype)) is not None

    def status(self, doctype: str) -> DoctypeStatus:
        sql = "SELECT live, deleted, last_seq FROM doctypes WHERE instance = %s AND name = %s"
        return DoctypeStatus(*(self._row(sql, (self._number, doctype)) or (0, 0, 0)))

    def changes(self, doctype: str, *, since: int = 0, limit: int = 100, descending: bool = False) -> list[FeedEntry]:
        order = "DESC" if descending else "ASC"
        rows = self._rows(
            f"SELECT seq, id, rev, deleted FROM documents WHERE {OF_DOCTYPE} AND seq > %s"
            f" ORDER BY seq {order} LIMIT %s",
            (self._number, doctype, -1 if descending else since, limit),
        )
        return [FeedEntry(*row) for row in rows]

    def pending(self, doctype: str, since: int) -> int:
        return self._count("documents", f"{OF_DOCTYPE} AND seq > %s", (self._number, doctype, since))

    # -- journal

    def last_seq(self) -> int:
        row = self._row("SELECT seq FROM instances WHERE number = %s", (self._number,))
        return row[0] if row else 0

    def journal(self, *, since: int, limit: int = 100) -> list[JournalEntry]:
        rows = self._rows(
            "SELECT seq, doctype, id, rev, verb, origin, last_body FROM journal WHERE instance = %s AND seq > %s"
            " ORDER BY seq LIMIT %s",
            (self._number, since, limit),
        )
        return [JournalEntry(*row) for row in rows]

    def checkpoint(self, reader: str) -> int:
        row = self._row("SELECT seq FROM checkpoints WHERE instance = %s AND reader = %s", (self._number, reader))
        return row[0] if row else 0

    def checkpoints(self) -> dict[str, int]:
        rows: list[Any] = self._rows(
            "SELECT reader, seq FROM checkpoints WHERE instance = %s ORDER BY reader", (self._number,)
        )
        return dict(rows)

    # -- local documents

    def local(self, doctype: str, name: str) -> Document | None:
        row = self._row(f"SELECT rev, body FROM locals WHERE {OF_DOCTYPE} AND name = %s", (self._number, doctype, name))
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
        number, _ = self._attended(index)
        where, values = self._range(number, start, end)
        page, more = _page(after, descending, skip, limit)
        rows = self._rows(f"SELECT key, id FROM index_entries WHERE {where}{page}", (*values, *more))
        return [IndexEntry(key, id) for key, id in rows]

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
        number, doctype = self._attended(index)
        where, values = self._range(number, start, end)
        page, more = _page(after, descending, skip, limit)
        order = "DESC" if descending else "ASC"
        # The page is cut before the join: skipped entries cost no documents.
        rows = self._rows(
            "SELECT found.key, found.id, rev, body, seq FROM"
            f" (SELECT key, id FROM index_entries WHERE {where}{page}) AS found"
            f" JOIN documents ON {OF_DOCTYPE} AND documents.id = found.id"
            f" ORDER BY found.key {order}, found.id {order}",
            (*values, *more, self._number, doctype),
        )
        return [(key, Document(doctype, id, rev, raw, seq=seq)) for key, id, rev, raw, seq in rows]

    def index_count(self, index: Index | str, *, start: bytes = b"", end: bytes | None = None) -> int:
        return self._index_aggregate(index, "entries", "count(*)", start, end)

    def index_sum(self, index: Index | str, *, start: bytes = b"", end: bytes | None = None) -> int:
        return self._index_aggregate(index, "total", "coalesce(sum(amount), 0)::bigint", start, end)

    def _index_aggregate(
        self, index: Index | str, kept: LiteralString, formula: LiteralString, start: bytes, end: bytes | None
    ) -> int:
        number, _ = self._attended(index)
        if not start and end is None:
            sql = f"SELECT {kept} FROM indexes WHERE instance = %s AND number = %s"
            row = self._row(sql, (self._number, number))
        else:
            where, values = self._range(number, start, end)
            row = self._row(f"SELECT {formula} FROM index_entries WHERE {where}", values)
        return row[0] if row else 0

    def _attended(self, index: Index | str) -> tuple[int, str]:
        """The number of an index and its doctype. Raises KeyError when nobody maintains it."""
        name = index if isinstance(index, str) else index.name
        row = self._row(
            "SELECT number, doctype FROM indexes WHERE instance = %s AND name = %s AND unattended IS NULL",
            (self._number, name),
        )
        if row is None:
            raise KeyError(name)
        return row[0], row[1]

    def _range(self, number: int, start: bytes, end: bytes | None) -> tuple[LiteralString, list[Any]]:
        low, high = bounds(start, end)
        if high is None:
            return "instance = %s AND number = %s AND key >= %s", [self._number, number, low]
        return "instance = %s AND number = %s AND key >= %s AND key < %s", [self._number, number, low, high]

    # -- records

    def record(self, kind: str, id: str) -> Record | None:
        row = self._row(
            f"SELECT {RECORD} FROM records WHERE instance = %s AND kind = %s AND id = %s", (self._number, kind, id)
        )
        return None if row is None else Record(*row)

    def records(self, kind: str, *, start: str = "", end: str | None = None, limit: int = 100) -> list[Record]:
        bound, values = ("", (start, limit)) if end is None else (" AND id < %s", (start, end, limit))
        rows = self._rows(
            f"SELECT {RECORD} FROM records WHERE instance = %s AND kind = %s AND id >= %s{bound} ORDER BY id LIMIT %s",
            (self._number, kind, *values),
        )
        return [Record(*row) for row in rows]

    def record_feed(self, kind: str, key: str, *, since: int = 0, limit: int = 100) -> list[Record]:
        rows = self._rows(
            "SELECT records.kind, records.id, records.seq, body FROM (SELECT instance, kind, id, seq FROM record_keys"
            " WHERE instance = %s AND kind = %s AND key = %s AND seq > %s ORDER BY seq LIMIT %s) AS found"
            " JOIN records ON records.instance = found.instance AND records.kind = found.kind"
            " AND records.id = found.id ORDER BY found.seq",
            (self._number, kind, key, since, limit),
        )
        return [Record(*row) for row in rows]

    def records_due(self, kind: str, until: float, *, limit: int = 100) -> list[Record]:
        rows = self._rows(
            f"SELECT {RECORD} FROM records WHERE instance = %s AND kind = %s AND due <= %s ORDER BY due LIMIT %s",
            (self._number, kind, float(until), limit),
        )
        return [Record(*row) for row in rows]

    def next_due(self, kind: str) -> float | None:
        row = self._row(
            "SELECT min(due) FROM records WHERE instance = %s AND kind = %s AND due IS NOT NULL", (self._number, kind)
        )
        return row[0] if row else None

    # -- contents

    def content(self, doctype: str, id: str) -> Content | None:
        row = self._row(
            "SELECT sha256, md5, size FROM holders JOIN contents USING (instance, sha256)"
            " WHERE holders.instance = %s AND doctype = %s AND id = %s",
            (self._number, doctype, id),
        )
        return None if row is None else Content(*row)

    def content_bytes(self, sha256: str) -> bytes | None:
        row = self._row("SELECT bytes FROM contents WHERE instance = %s AND sha256 = %s", (self._number, sha256))
        return None if row is None else row[0]

    def known_content(self, sha256: str) -> Content | None:
        row = self._row(
            "SELECT sha256, md5, size FROM contents WHERE instance = %s AND sha256 = %s", (self._number, sha256)
        )
        return None if row is None else Content(*row)

    def is_garbage(self, sha256: str) -> bool:
        sql = "SELECT 1 FROM garbage WHERE instance = %s AND sha256 = %s"
        return self._row(sql, (self._number, sha256)) is not None

    def oldest_garbage(self) -> float | None:
        row = self._row("SELECT min(since) FROM garbage WHERE instance = %s", (self._number,))
        return None if row is None else row[0]

    def _count(self, table: LiteralString, where: LiteralString, values: Sequence[Any]) -> int:
        row = self._row(f"SELECT count(*) FROM {table} WHERE {where}", values)
        return row[0] if row else 0


def _document(doctype: str, row: Row) -> Document:
    return Document(doctype, row[0], row[1], row[2], deleted=row[3], seq=row[4])


def _page(after: tuple[bytes, str] | None, descending: bool, skip: int, limit: int) -> tuple[LiteralString, list[Any]]:
    clause: LiteralString = ""
    values = list[Any]()
    if after is not None:
        clause = f" AND (key, id) {'<' if descending else '>'} (%s, %s)"
        values = [cut(after[0]), after[1]]
    order = "DESC" if descending else "ASC"
    return f"{clause} ORDER BY key {order}, id {order} LIMIT %s OFFSET %s", [*values, limit, skip]
