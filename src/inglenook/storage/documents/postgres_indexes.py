"""Keeping the indexes of an instance in step with its documents, in PostgreSQL (see `index_upkeep`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

import msgspec

from inglenook.storage.documents.contract import Body, Index
from inglenook.storage.documents.index_upkeep import PAGE, Attended, Entries, Known, entries_of, sums_of
from inglenook.storage.documents.postgres_schema import Connection, cut


class IndexKeeper:
    """The indexes of an instance, and the writing of their entries. All methods run inside a transaction.

    `moved` tells that other processes have something to notice."""

    def __init__(self, connection: Connection, number: int, known: Known) -> None:
        self._cursor = connection.cursor(binary=True)
        self._number = number
        self.known = known
        self.moved = False

    def open(self, indexes: Sequence[Index]) -> None:
        """Attend the given indexes; note of all others that they are left alone from now on."""
        self.known = Known()
        left = self._run(
            "UPDATE indexes SET unattended = coalesce((SELECT last_seq FROM doctypes WHERE doctypes.instance ="
            " indexes.instance AND doctypes.name = indexes.doctype), 0)"
            " WHERE instance = %s AND unattended IS NULL AND NOT name = ANY(%s::text[])",
            [index.name for index in indexes],
        )
        self.moved |= left > 0
        for index in indexes:
            self.define(index)

    def look_again(self) -> None:
        """Another process has changed something: keep what is still as this process knows it."""
        sql = "SELECT number, name, doctype, version FROM indexes WHERE instance = %s AND unattended IS NULL"
        self.known = self.known.looked_again([(row[0], row[1], row[2], row[3]) for row in self._rows(sql)])

    def attended(self) -> list[Index]:
        """All indexes that this process maintains."""
        return [attended.index for attended in self.known.mine]

    def define(self, index: Index) -> None:
        """Attend an index: make it, build it anew when its definition changed, or catch up."""
        row = self._find(index.name)
        if row is not None and (row[1], row[2]) != (index.doctype, index.version):
            self.drop(index.name)
            row = None
        unattended: int | None = 0
        if row is None:
            number: int = self._rows(
                "INSERT INTO indexes (instance, number, name, doctype, version, unattended)"
                " SELECT %s, coalesce(max(number), 0) + 1, %s, %s, %s, 0 FROM indexes WHERE instance = %s"
                " RETURNING number",
                index.name, index.doctype, index.version, self._number,
            )[0][0]  # fmt: skip
        else:
            number, unattended = row[0], row[3]
        if unattended is not None:
            self._catch_up(Attended(number, index), unattended)
            self._run("UPDATE indexes SET unattended = NULL WHERE instance = %s AND number = %s", number)
            self.moved = True
        self.known = self.known.placed(index.doctype, number, Attended(number, index))

    def drop(self, name: str) -> None:
        """Forget an index and its entries; nothing happens when it is not there."""
        row = self._find(name)
        if row is None:
            return
        number, doctype = row[0], row[1]
        self._run("DELETE FROM index_entries WHERE instance = %s AND number = %s", number)
        self._run("DELETE FROM indexes WHERE instance = %s AND number = %s", number)
        self.known = self.known.placed(doctype, number, None)
        self.moved = True

    def leave_strange(self, doctype: str) -> None:
        """A document of this doctype is about to be written: the indexes that only others know fall behind."""
        numbers = self.known.strange.get(doctype)
        if not numbers:
            return
        self._run(
            "UPDATE indexes SET unattended = coalesce((SELECT last_seq FROM doctypes WHERE doctypes.instance ="
            " indexes.instance AND doctypes.name = indexes.doctype), 0)"
            " WHERE instance = %s AND number = ANY(%s::bigint[]) AND unattended IS NULL",
            list(numbers),
        )
        self.known = self.known.without_strange(doctype)
        self.moved = True

    def update(self, indexes: Sequence[Attended], id: str, body: Body | None, *, fresh: bool = False) -> None:
        """Write the entries of one document; `body` is None when it is in no index any more, `fresh` a document that
        was never there.

        What is written is the difference to what is there, so an update that moves no key costs no write."""
        wanted = entries_of(indexes, id, body, cut)
        present: Entries = {}
        if not fresh:
            sql = "SELECT number, key, amount FROM index_entries WHERE instance = %s AND id = %s AND number = ANY(%s)"
            rows = self._rows(sql, id, [attended.number for attended in indexes])
            present = {(number, key): amount for number, key, amount in rows}
        if wanted == present:
            return
        gone = [place for place in present if place not in wanted]
        come = [(*place, amount) for place, amount in wanted.items() if present.get(place) != amount]
        if gone:
            self._run(
                "DELETE FROM index_entries USING unnest(%s::bigint[], %s::bytea[]) AS gone (number, key)"
                " WHERE instance = %s AND id = %s AND index_entries.number = gone.number"
                " AND index_entries.key = gone.key",
                [number for number, _ in gone], [key for _, key in gone], self._number, id, first=False,
            )  # fmt: skip
        if come:
            self._run(
                "INSERT INTO index_entries (instance, number, key, id, amount)"
                " SELECT %s, number, key, %s, amount FROM unnest(%s::bigint[], %s::bytea[], %s::bigint[])"
                " AS come (number, key, amount)"
                " ON CONFLICT (instance, number, key, id) DO UPDATE SET amount = excluded.amount",
                id, [number for number, _, _ in come], [key for _, key, _ in come], [amount for *_, amount in come],
            )  # fmt: skip
        sums = sums_of(present, wanted)
        if sums:
            self._run(
                "UPDATE indexes SET entries = entries + come, total = total + amount"
                " FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS sums (which, come, amount)"
                " WHERE instance = %s AND number = which",
                [number for number, _, _ in sums], [come for _, come, _ in sums], [total for *_, total in sums],
                self._number, first=False,
            )  # fmt: skip

    def forget_doctype(self, doctype: str) -> None:
        """Empty the indexes of a doctype whose documents are gone."""
        self._run(
            "DELETE FROM index_entries WHERE instance = %s AND number IN"
            " (SELECT number FROM indexes WHERE instance = %s AND doctype = %s)",
            self._number, doctype,
        )  # fmt: skip
        self._run("UPDATE indexes SET entries = 0, total = 0 WHERE instance = %s AND doctype = %s", doctype)

    def _find(self, name: str) -> tuple[Any, ...] | None:
        sql = "SELECT number, doctype, version, unattended FROM indexes WHERE instance = %s AND name = %s"
        found = self._rows(sql, name)
        return found[0] if found else None

    def _catch_up(self, attended: Attended, since: int) -> None:
        """Bring an index in step with the documents changed after `since`."""
        decode = msgspec.json.decode
        while True:
            page = self._rows(
                "SELECT id, deleted, seq, body FROM documents WHERE instance = %s AND doctype = %s AND seq > %s"
                " ORDER BY seq LIMIT %s",
                attended.index.doctype, since, PAGE,
            )  # fmt: skip
            for id, deleted, seq, raw in page:
                self.update((attended,), id, None if deleted else decode(raw))
                since = seq
            if len(page) < PAGE:
                return

    def _run(self, sql: LiteralString, *values: Any, first: bool = True) -> int:
        return self._cursor.execute(sql, (self._number, *values) if first else values).rowcount

    def _rows(self, sql: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
        return self._cursor.execute(sql, (self._number, *values)).fetchall()
