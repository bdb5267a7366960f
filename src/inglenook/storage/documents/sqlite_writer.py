"""Writing one instance in SQLite: the `Writer` of the contract, inside a transaction of the single line of writers.

A `WriteSession` belongs to the writing connection and lives as long; a `SqliteWriter` is made for each change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import apsw
import msgspec

from inglenook.environment import Environment
from inglenook.kernel.errors import DocumentNotFound, Unavailable
from inglenook.kernel.revisions import RevisionTree, normalise
from inglenook.storage.documents.body_text import encode_body
from inglenook.storage.documents.contract import (
    REVISION_LIMIT,
    Change,
    Content,
    Document,
    Hook,
    Index,
    Record,
    Verb,
)
from inglenook.storage.documents.leaf import add_leaf, next_local_rev
from inglenook.storage.documents.sqlite_contents import SqliteContents
from inglenook.storage.documents.sqlite_indexes import IndexKeeper
from inglenook.storage.documents.sqlite_reader import SqliteReader
from inglenook.storage.documents.turnstile import Turnstile

JOURNAL_KEPT = 10_000  # entries that stay although every reader is done with them
JOURNAL_TRIM_EVERY = 1_000  # sequence numbers between two trims

_STATE = "SELECT value, coalesce((SELECT value FROM meta WHERE name = 'epoch'), 0) FROM meta WHERE name = 'seq'"


class WriteSession:
    """What the writing connection keeps between transactions.

    `seq` is the instance's sequence within the current transaction."""

    def __init__(
        self,
        connection: apsw.Connection,
        env: Environment,
        hooks: Sequence[Hook],
        blob_present: Callable[[str], bool],
        journal_kept: int = JOURNAL_KEPT,
        turnstile: Turnstile | None = None,
    ) -> None:
        self.connection = connection
        self.env = env
        self.hooks = tuple(hooks)
        self.indexes = IndexKeeper(connection)
        self.contents = SqliteContents(connection, env.clock, blob_present, self.take_seq)
        self.doctypes: dict[str, int] = {}
        self.seq = 0
        self._stored_seq = 0
        self._epoch = -1
        self._journal_kept = journal_kept
        self._turnstile = turnstile

    def take_seq(self) -> int:
        """The next sequence number of the instance."""
        self.seq += 1
        return self.seq

    def begin(self) -> None:
        """Start a transaction; other processes are locked out until it ends.

        Raises Unavailable when another process has destroyed the store."""
        if self._turnstile is not None:
            self._turnstile.enter()
        self.connection.execute("BEGIN IMMEDIATE")
        self.doctypes.clear()
        row: tuple[int, int] | None = self.connection.execute(_STATE).fetchone()
        if row is None:
            self.abandon()
            raise Unavailable("The storage of this instance is gone")
        self.seq = self._stored_seq = row[0]
        self.indexes.moved = False
        if row[1] != self._epoch:
            self.indexes.look_again()
            self._epoch = row[1]

    def commit(self) -> bool:
        """Make everything durable; True when the sequence has moved."""
        moved = self.seq != self._stored_seq
        if moved:
            self.connection.execute("UPDATE meta SET value = ? WHERE name = 'seq'", (self.seq,))
            if self.seq // JOURNAL_TRIM_EVERY != self._stored_seq // JOURNAL_TRIM_EVERY:
                self._trim_journal()
        if self.indexes.moved:
            self.connection.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (self._epoch + 1,))
        self.connection.execute("COMMIT")
        self._epoch += self.indexes.moved
        self.abandon()
        return moved

    def abandon(self) -> None:
        """Undo the transaction, if it was not committed and SQLite has not undone it by itself; let others write."""
        try:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
        finally:
            if self._turnstile is not None:
                self._turnstile.leave()

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()
        if self._turnstile is not None:
            self._turnstile.close()

    def _trim_journal(self) -> None:
        self.connection.execute(
            "DELETE FROM journal WHERE seq <= (SELECT seq FROM journal ORDER BY seq DESC LIMIT 1 OFFSET ?)"
            " AND seq <= (SELECT coalesce(min(seq), 9223372036854775807) FROM checkpoints)",
            (self._journal_kept,),
        )


class _Stored(NamedTuple):
    """A document's row before a write."""

    number: int
    rev: str
    deleted: bool
    leaves: int
    seq: int
    raw: bytes


class SqliteWriter(SqliteReader):
    """A transaction (see the contract for the meaning of each method)."""

    def __init__(self, session: WriteSession) -> None:
        super().__init__(session.connection)
        self.origin = ""
        self.actions: list[Callable[[], None]] = []
        self._session = session

    def end(self) -> None:
        """Make the writer useless: whoever kept it must not write outside of the transaction."""
        del self._execute, self._session

    def new_id(self) -> str:
        return self._session.env.random.document_id()

    def last_seq(self) -> int:
        return self._session.seq

    def after_commit(self, action: Callable[[], None]) -> None:
        self.actions.append(action)

    # -- documents

    def put(
        self, doctype: str, id: str, body: Mapping[str, Any], *, rev: str | None = None, deleted: bool = False
    ) -> Document:
        raw, fresh = encode_body(id, body)
        number = self._doctype_number(doctype)
        stored, tree = self._stored(number, id)
        winner, dead = (None, False) if stored is None else (stored.rev, stored.deleted)
        written = add_leaf(tree, winner, fresh, rev, dead=dead, deleted=deleted)
        document = Document(doctype, id, written, raw, deleted=deleted, body=fresh)
        self._store(document, number or self._make_doctype(doctype), stored, tree)
        return document

    def delete(self, doctype: str, id: str, rev: str, body: Mapping[str, Any] | None = None) -> Document:
        return self.put(doctype, id, body or {}, rev=rev, deleted=True)

    def graft(
        self, doctype: str, id: str, chain: Sequence[str], body: Mapping[str, Any], *, deleted: bool = False
    ) -> bool:
        raw, fresh = encode_body(id, body)
        number = self._doctype_number(doctype)
        stored, tree = self._stored(number, id)
        if not tree.insert(chain, deleted):
            return False
        document = Document(doctype, id, normalise(chain[-1]), raw, deleted=deleted, body=fresh)
        self._store(document, number or self._make_doctype(doctype), stored, tree)
        return True

    def _stored(self, doctype: int | None, id: str) -> tuple[_Stored | None, RevisionTree]:
        if doctype is None:
            return None, RevisionTree()
        row = self._row(
            "SELECT number, rev, deleted, leaves, seq, CAST(body AS BLOB), tree FROM documents"
            " WHERE doctype = ? AND id = ?",
            (doctype, id),
        )
        if row is None:
            return None, RevisionTree()
        return _Stored(row[0], row[1], bool(row[2]), row[3], row[4], row[5]), RevisionTree.decode(row[6])

    def _store(self, written: Document, doctype: int, stored: _Stored | None, tree: RevisionTree) -> None:
        """Put a new leaf in its place, count it, note it in the journal, and run what is part of the write."""
        session = self._session
        seq = session.take_seq()
        session.indexes.leave_strange(written.doctype)
        tree.stem(REVISION_LIMIT)
        leaves = tree.leaves()
        if len(leaves) == 1 and (stored is None or stored.leaves == 1):
            winner = written
        else:
            winner = self._place_leaves(written, stored, tree)
        winner.seq = seq
        row = (winner.rev, winner.deleted, seq, len(leaves), tree.encode(), winner.raw)
        if stored is None:
            number: int = self._execute(
                "INSERT INTO documents (doctype, id, rev, deleted, seq, leaves, tree, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, CAST(? AS TEXT)) RETURNING number",
                (doctype, winner.id, *row),
            ).get
        else:
            number = stored.number
            self._execute(
                "UPDATE documents SET rev = ?, deleted = ?, seq = ?, leaves = ?, tree = ?, body = CAST(? AS TEXT)"
                " WHERE number = ?",
                (*row, number),
            )
        was_live = stored is not None and not stored.deleted
        self._execute(
            "UPDATE doctypes SET live = live + ?, deleted = deleted + ?, last_seq = ? WHERE number = ?",
            (
                (not winner.deleted) - was_live,
                winner.deleted - (stored is not None and stored.deleted),
                seq,
                doctype,
            ),
        )
        verb: Verb = "DELETED" if winner.deleted else "UPDATED" if was_live else "CREATED"
        self._execute(
            "INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, CAST(? AS TEXT))",
            (
                seq,
                winner.doctype,
                winner.id,
                written.rev,
                verb,
                self.origin,
                stored.raw if stored is not None and was_live and winner.deleted else None,
            ),
        )
        indexes = session.indexes.known.attended.get(winner.doctype)
        same = stored is not None and was_live and not winner.deleted and stored.raw == winner.raw
        if indexes and not same and (stored is None or stored.rev != winner.rev):
            session.indexes.update(indexes, number, winner.id, None if winner.deleted else winner.body)
        if session.hooks:
            old = None
            if stored is not None and was_live:
                old = Document(winner.doctype, winner.id, stored.rev, stored.raw, seq=stored.seq)
            change = Change(verb, old, winner, written.rev)
            for hook in session.hooks:
                hook(self, change)

    def _place_leaves(self, written: Document, stored: _Stored | None, tree: RevisionTree) -> Document:
        """Move bodies between the winner's place and that of the other leaves; gives the winner."""
        if stored is None:
            return written
        leaves = {leaf.rev: leaf.deleted for leaf in tree.leaves()}
        number, first = stored.number, tree.winner()
        for (rev,) in self._execute("SELECT rev FROM leaves WHERE document = ?", (number,)).fetchall():
            if rev not in leaves:
                self._execute("DELETE FROM leaves WHERE document = ? AND rev = ?", (number, rev))
        insert = "INSERT INTO leaves VALUES (?, ?, ?, CAST(? AS TEXT))"
        if stored.rev in leaves and stored.rev != first.rev:
            self._execute(insert, (number, stored.rev, stored.deleted, stored.raw))
        if written.rev == first.rev:
            return written
        self._execute(insert, (number, written.rev, written.deleted, written.raw))
        raw = stored.raw
        if stored.rev != first.rev:
            raw = self._execute(
                "DELETE FROM leaves WHERE document = ? AND rev = ? RETURNING CAST(body AS BLOB)", (number, first.rev)
            ).get
        return Document(written.doctype, written.id, first.rev, raw, deleted=first.deleted)

    # -- doctypes

    def create_doctype(self, doctype: str) -> bool:
        if self._doctype_number(doctype) is not None:
            return False
        self._make_doctype(doctype)
        return True

    def drop_doctype(self, doctype: str) -> bool:
        number = self._doctype_number(doctype)
        if number is None:
            return False
        self._session.indexes.forget_doctype(doctype)
        self._session.contents.release_all(doctype)
        self._execute(
            "DELETE FROM leaves WHERE document IN (SELECT number FROM documents WHERE doctype = ?)", (number,)
        )
        self._execute("DELETE FROM documents WHERE doctype = ?", (number,))
        self._execute("DELETE FROM locals WHERE doctype = ?", (number,))
        self._execute("DELETE FROM doctypes WHERE number = ?", (number,))
        del self._session.doctypes[doctype]
        return True

    def _doctype_number(self, doctype: str) -> int | None:
        known = self._session.doctypes
        number = known.get(doctype)
        if number is None:
            number = self._execute("SELECT number FROM doctypes WHERE name = ?", (doctype,)).get
            if number is not None:
                known[doctype] = number
        return number

    def _make_doctype(self, doctype: str) -> int:
        number: int = self._execute("INSERT INTO doctypes (name) VALUES (?) RETURNING number", (doctype,)).get
        self._session.doctypes[doctype] = number
        return number

    # -- local documents and checkpoints

    def put_local(self, doctype: str, name: str, body: Mapping[str, Any] | None, rev: str | None = None) -> str:
        number = self._doctype_number(doctype)
        if number is None:
            raise DocumentNotFound("Database does not exist.")
        written = next_local_rev(rev)
        if body is None:
            self._execute("DELETE FROM locals WHERE doctype = ? AND name = ?", (number, name))
            return "0-0"
        raw, _ = encode_body(f"_local/{name}", body, local=True)
        self._execute(
            "INSERT INTO locals VALUES (?, ?, ?, CAST(? AS TEXT))"
            " ON CONFLICT DO UPDATE SET rev = excluded.rev, body = excluded.body",
            (number, name, written, raw),
        )
        return written

    def set_checkpoint(self, reader: str, seq: int | None) -> None:
        if seq is None:
            self._execute("DELETE FROM checkpoints WHERE reader = ?", (reader,))
        else:
            self._execute(
                "INSERT INTO checkpoints VALUES (?, ?)"
                " ON CONFLICT DO UPDATE SET seq = excluded.seq WHERE excluded.seq > seq",
                (reader, seq),
            )

    # -- records

    def put_record(
        self, kind: str, id: str, body: Any, *, keys: Iterable[str] = (), due: float | None = None
    ) -> Record:
        seq = self._session.take_seq()
        raw = msgspec.json.encode(body)
        number = self._execute("SELECT number FROM records WHERE kind = ? AND id = ?", (kind, id)).get
        if number is None:
            number = self._execute(
                "INSERT INTO records (kind, id, seq, due, body) VALUES (?, ?, ?, ?, CAST(? AS TEXT)) RETURNING number",
                (kind, id, seq, due, raw),
            ).get
        else:
            self._execute(
                "UPDATE records SET seq = ?, due = ?, body = CAST(? AS TEXT) WHERE number = ?", (seq, due, raw, number)
            )
            self._execute("DELETE FROM record_keys WHERE record = ?", (number,))
        for key in set(keys):
            self._execute("INSERT INTO record_keys VALUES (?, ?, ?, ?)", (kind, key, seq, number))
        return Record(kind, id, seq, raw)

    def delete_record(self, kind: str, id: str) -> None:
        number = self._execute("DELETE FROM records WHERE kind = ? AND id = ? RETURNING number", (kind, id)).get
        if number is not None:
            self._execute("DELETE FROM record_keys WHERE record = ?", (number,))

    # -- contents

    def hold(self, doctype: str, id: str, content: Content, data: bytes | None = None) -> None:
        self._session.contents.hold(doctype, id, content, data)

    def release(self, doctype: str, id: str) -> None:
        self._session.contents.release(doctype, id)

    def garbage(self, *, before: float, limit: int = 100) -> list[str]:
        return self._session.contents.garbage(before, limit)

    def forget_garbage(self, sha256: str) -> bool:
        return self._session.contents.forget_garbage(sha256)

    def disown(self, sha256: str) -> None:
        self._session.contents.disown(sha256)

    # -- indexes

    def define_index(self, index: Index) -> None:
        self._session.indexes.define(index)

    def drop_index(self, name: str) -> None:
        self._session.indexes.drop(name)
