"""Keeping the indexes of an instance in step with its documents (docs/decisions/0003).

The file remembers which indexes it holds; how their keys are made is code, given when the store opens or by
`define_index`. An index that nobody gave yet is *unattended*: it is not maintained and cannot be read, and the
file notes since which sequence, so that giving it again costs only the documents changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apsw
import msgspec

from inglenook.storage.documents.contract import Body, Index

PAGE = 500  # documents per step of a rebuild
DESIGN_DOCUMENT = "_design/"  # never in an index (spec/01 §9.5)


@dataclass(frozen=True, slots=True)
class Attended:
    """An index in step, with its number in the file."""

    number: int
    index: Index


class IndexKeeper:
    """The indexes that are attended, and the writing of their entries. All methods run inside a transaction.

    `state` is replaced, never changed, so that a transaction that fails can put the former one back."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._execute = connection.execute
        self.state: Mapping[str, tuple[Attended, ...]] = {}  # by doctype

    def open(self, indexes: Sequence[Index]) -> None:
        """Attend the given indexes; note of all others that they are left alone from now on."""
        self.state = {}
        given = {index.name for index in indexes}
        for (name,) in self._execute("SELECT name FROM indexes WHERE unattended IS NULL").fetchall():
            if name not in given:
                self._execute(
                    "UPDATE indexes SET unattended = coalesce((SELECT last_seq FROM doctypes WHERE name = doctype), 0)"
                    " WHERE name = ?",
                    (name,),
                )
        for index in indexes:
            self.define(index)

    def attended(self) -> list[Index]:
        """All indexes that are attended."""
        return [attended.index for group in self.state.values() for attended in group]

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
        others = tuple(attended for attended in self.state.get(index.doctype, ()) if attended.number != number)
        self.state = {**self.state, index.doctype: (*others, Attended(number, index))}

    def drop(self, name: str) -> None:
        """Forget an index and its entries; nothing happens when it is not there."""
        row = self._row(name)
        if row is None:
            return
        number, doctype = row[0], row[1]
        self._execute("DELETE FROM index_entries WHERE number = ?", (number,))
        self._execute("DELETE FROM indexes WHERE number = ?", (number,))
        left = tuple(attended for attended in self.state.get(doctype, ()) if attended.number != number)
        self.state = {**self.state, doctype: left}

    def update(self, indexes: Sequence[Attended], document: int, id: str, body: Body | None) -> None:
        """Write the entries of one document; `body` is None when it is in no index any more.

        What is written is the difference to what is there, so an update that moves no key costs no write."""
        wanted: dict[tuple[int, bytes], int] = {}
        if body is not None and not id.startswith(DESIGN_DOCUMENT):
            for attended in indexes:
                number, index = attended.number, attended.index
                amount = index.amount(body) if index.amount else 0
                for key in index.keys(id, body):
                    wanted[number, key] = amount
        mine = {attended.number for attended in indexes}
        present: dict[tuple[int, bytes], int] = {
            (number, key): amount
            for number, key, amount in self._execute(
                "SELECT number, key, amount FROM index_entries WHERE document = ?", (document,)
            )
            if number in mine
        }
        if wanted == present:
            return
        moved: dict[int, list[int]] = {}
        for (number, key), amount in present.items():
            if wanted.get((number, key)) != amount:
                self._execute("DELETE FROM index_entries WHERE number = ? AND key = ? AND id = ?", (number, key, id))
                change = moved.setdefault(number, [0, 0])
                change[0] -= 1
                change[1] -= amount
        for (number, key), amount in wanted.items():
            if present.get((number, key)) != amount:
                self._execute("INSERT INTO index_entries VALUES (?, ?, ?, ?, ?)", (number, key, id, document, amount))
                change = moved.setdefault(number, [0, 0])
                change[0] += 1
                change[1] += amount
        for number, (entries, total) in moved.items():
            if entries or total:
                self._execute(
                    "UPDATE indexes SET entries = entries + ?, total = total + ? WHERE number = ?",
                    (entries, total, number),
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
