"""Keeping the indexes of an instance in step with its documents, in SQLite (see `index_upkeep`).

The file remembers which indexes it holds; how their keys are made is code, given when the store opens or by
`define_index`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from inglenook.storage.documents.contract import Body, Index
from inglenook.storage.documents.index_upkeep import PAGE, Attended, Known, entries_of, sums_of

_SINCE_NOW = "UPDATE indexes SET unattended = coalesce((SELECT last_seq FROM doctypes WHERE name = doctype), 0)"


class IndexKeeper:
    """The indexes that this process knows, and the writing of their entries. All methods run inside a transaction.

    `known` is replaced, never changed, so that a transaction that fails can put the former one back. `moved` tells that
    other processes have something to notice."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._execute = connection.execute
        self.known = Known()
        self.moved = False

    def open(self, indexes: Sequence[Index]) -> None:
        """Attend the given indexes; note of all others that they are left alone from now on."""
        self.known = Known()
        given = {index.name for index in indexes}
        for (name,) in self._execute("SELECT name FROM indexes WHERE unattended IS NULL").fetchall():
            if name not in given:
                self._execute(f"{_SINCE_NOW} WHERE name = ?", (name,))
                self.moved = True
        for index in indexes:
            self.define(index)

    def look_again(self) -> None:
        """Another process has changed something: keep what is still as this process knows it."""
        sql = "SELECT number, name, doctype, version FROM indexes WHERE unattended IS NULL"
        rows: list[Any] = self._execute(sql).fetchall()
        self.known = self.known.looked_again(rows)

    def attended(self) -> list[Index]:
        """All indexes that this process maintains."""
        return [attended.index for attended in self.known.mine]

    def define(self, index: Index) -> None:
        """Attend an index: make it, build it anew when its definition changed, or catch up."""
        row = self._row(index.name)
        if row is not None and (row[1], row[2]) != (index.doctype, index.version):
            self.drop(index.name)
            row = None
        if row is None:
            number: int = self._execute(
                "INSERT INTO indexes (name, doctype, version, unattended) VALUES (?, ?, ?, 0) RETURNING number",
                (index.name, index.doctype, index.version),
            ).get
            unattended: int | None = 0
        else:
            number, unattended = row[0], row[3]
        if unattended is not None:
            self._catch_up(Attended(number, index), unattended)
            self._execute("UPDATE indexes SET unattended = NULL WHERE number = ?", (number,))
            self.moved = True
        self.known = self.known.placed(index.doctype, number, Attended(number, index))

    def drop(self, name: str) -> None:
        """Forget an index and its entries; nothing happens when it is not there."""
        row = self._row(name)
        if row is None:
            return
        number, doctype = row[0], row[1]
        self._execute("DELETE FROM index_entries WHERE number = ?", (number,))
        self._execute("DELETE FROM indexes WHERE number = ?", (number,))
        self.known = self.known.placed(doctype, number, None)
        self.moved = True

    def leave_strange(self, doctype: str) -> None:
        """A document of this doctype is about to be written: the indexes that only others know fall behind."""
        numbers = self.known.strange.get(doctype)
        if not numbers:
            return
        for number in numbers:
            self._execute(f"{_SINCE_NOW} WHERE number = ? AND unattended IS NULL", (number,))
        self.known = self.known.without_strange(doctype)
        self.moved = True

    def update(self, indexes: Sequence[Attended], document: int, id: str, body: Body | None) -> None:
        """Write the entries of one document; `body` is None when it is in no index any more.

        What is written is the difference to what is there, so an update that moves no key costs no write."""
        wanted = entries_of(indexes, id, body, bytes)
        mine = {attended.number for attended in indexes}
        present = {
            (number, key): amount
            for number, key, amount in self._execute(
                "SELECT number, key, amount FROM index_entries WHERE document = ?", (document,)
            )
            if number in mine
        }
        if wanted == present:
            return
        for (number, key), amount in present.items():
            if wanted.get((number, key)) != amount:
                self._execute("DELETE FROM index_entries WHERE number = ? AND key = ? AND id = ?", (number, key, id))
        for (number, key), amount in wanted.items():
            if present.get((number, key)) != amount:
                self._execute("INSERT INTO index_entries VALUES (?, ?, ?, ?, ?)", (number, key, id, document, amount))
        for number, entries, total in sums_of(present, wanted):
            self._execute(
                "UPDATE indexes SET entries = entries + ?, total = total + ? WHERE number = ?", (entries, total, number)
            )

    def forget_doctype(self, doctype: str) -> None:
        """Empty the indexes of a doctype whose documents are gone."""
        self._execute(
            "DELETE FROM index_entries WHERE number IN (SELECT number FROM indexes WHERE doctype = ?)", (doctype,)
        )
        self._execute("UPDATE indexes SET entries = 0, total = 0 WHERE doctype = ?", (doctype,))

    def _row(self, name: str) -> tuple[int, str, int, int | None] | None:
        sql = "SELECT number, doctype, version, unattended FROM indexes WHERE name = ?"
        found: list[Any] = self._execute(sql, (name,)).fetchall()
        return found[0] if found else None

    def _catch_up(self, attended: Attended, since: int) -> None:
        """Bring an index in step with the documents changed after `since`."""
        decode = msgspec.json.decode
        while True:
            page: list[tuple[Any, ...]] = self._execute(
                "SELECT number, id, deleted, seq, CAST(body AS BLOB) FROM documents"
                " WHERE doctype = (SELECT number FROM doctypes WHERE name = ?) AND seq > ? ORDER BY seq LIMIT ?",
                (attended.index.doctype, since, PAGE),
            ).fetchall()
            for document, id, deleted, seq, raw in page:
                self.update((attended,), document, id, None if deleted else decode(raw))
                since = seq
            if len(page) < PAGE:
                return
