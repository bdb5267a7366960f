"""Writing one instance in PostgreSQL: the `Writer` of the contract, inside a transaction that has locked the instance.

A `WriteSession` is made for each transaction; a `PostgresWriter` for each change in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString, NamedTuple

import msgspec
import psycopg

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
from inglenook.storage.documents.index_upkeep import Known
from inglenook.storage.documents.leaf import add_leaf, next_local_rev
from inglenook.storage.documents.postgres_contents import PostgresContents
from inglenook.storage.documents.postgres_indexes import IndexKeeper
from inglenook.storage.documents.postgres_reader import PostgresReader
from inglenook.storage.documents.postgres_schema import OF_AN_INSTANCE, Connection, Json

JOURNAL_KEPT = 10_000  # entries that stay although every reader is done with them
JOURNAL_TRIM_EVERY = 1_000  # sequence numbers between two trims


@dataclass(frozen=True)
class Writing:
    """What the writes of a store are made with; `number` is that of the instance in the database."""

    number: int
    env: Environment
    hooks: tuple[Hook, ...]
    blob_present: Callable[[str], bool]
    journal_kept: int = JOURNAL_KEPT


@dataclass(frozen=True)
class Memory:
    """What a process remembers from one transaction to the next; true as long as the instance's epoch is the same."""

    epoch: int = -1
    known: Known = field(default_factory=Known)
    doctypes: frozenset[str] = frozenset()


class WriteSession:
    """A transaction, from `begin` to `commit` or `abandon`.

    `seq` is the instance's sequence within it."""

    def __init__(self, connection: Connection, writing: Writing, memory: Memory) -> None:
        self.connection = connection
        self.writing = writing
        self.indexes = IndexKeeper(connection, writing.number, memory.known)
        self.contents = PostgresContents(
            connection, writing.number, writing.env.clock, writing.blob_present, self.take_seq
        )
        self.doctypes = memory.doctypes
        self.seq = 0
        self._epoch = memory.epoch
        self._stored_seq = 0
        self._cursor = connection.cursor(binary=True)

    def take_seq(self) -> int:
        """The next sequence number of the instance."""
        self.seq += 1
        return self.seq

    def begin(self) -> None:
        """Start a transaction and lock the instance: all other writers of it, in any process, wait until it ends.

        Raises Unavailable when the instance is not there any more."""
        with self.connection.pipeline():
            self._cursor.execute("BEGIN")
            self._cursor.execute(
                "SELECT seq, epoch FROM instances WHERE number = %s FOR UPDATE", (self.writing.number,)
            )
            row = self._cursor.fetchone()
        if row is None:
            raise Unavailable("The storage of this instance is gone")
        self.seq = self._stored_seq = row[0]
        if row[1] != self._epoch:
            self.indexes.look_again()
            self.doctypes = frozenset()
            self._epoch = row[1]

    def commit(self) -> Memory:
        """Make everything durable; gives what may be remembered."""
        self._epoch += self.indexes.moved
        if self.moved and self.seq // JOURNAL_TRIM_EVERY != self._stored_seq // JOURNAL_TRIM_EVERY:
            self._trim_journal()
        with self.connection.pipeline():
            if self.moved or self.indexes.moved:
                self._cursor.execute(
                    "UPDATE instances SET seq = %s, epoch = %s WHERE number = %s",
                    (self.seq, self._epoch, self.writing.number),
                )
            self._cursor.execute("COMMIT")
        return Memory(self._epoch, self.indexes.known, self.doctypes)

    def abandon(self) -> None:
        """Undo the transaction, as far as it is still there."""
        idle = psycopg.pq.TransactionStatus.IDLE
        if not self.connection.closed and self.connection.info.transaction_status != idle:
            self.connection.rollback()

    @property
    def moved(self) -> bool:
        """Whether the sequence has moved."""
        return self.seq != self._stored_seq

    def _trim_journal(self) -> None:
        number = self.writing.number
        self._cursor.execute(
            "DELETE FROM journal WHERE instance = %s AND seq <="
            " (SELECT seq FROM journal WHERE instance = %s ORDER BY seq DESC LIMIT 1 OFFSET %s)"
            " AND seq <= (SELECT coalesce(min(seq), 9223372036854775807) FROM checkpoints WHERE instance = %s)",
            (number, number, self.writing.journal_kept, number),
        )


class _Stored(NamedTuple):
    """A document's row before a write."""

    rev: str
    deleted: bool
    leaves: int
    seq: int
    raw: bytes


class PostgresWriter(PostgresReader):
    """A transaction (see the contract for the meaning of each method)."""

    def __init__(self, session: WriteSession) -> None:
        super().__init__(session.connection, session.writing.number)
        self.origin = ""
        self.actions: list[Callable[[], None]] = []
        self._session = session

    def end(self) -> None:
        """Make the writer useless: whoever kept it must not write outside of the transaction."""
        del self._cursor, self._session

    def new_id(self) -> str:
        return self._session.writing.env.random.document_id()

    def last_seq(self) -> int:
        return self._session.seq

    def after_commit(self, action: Callable[[], None]) -> None:
        self.actions.append(action)

    # -- documents

    def put(
        self, doctype: str, id: str, body: Mapping[str, Any], *, rev: str | None = None, deleted: bool = False
    ) -> Document:
        raw, fresh = encode_body(id, body)
        stored, tree = self._stored(doctype, id)
        winner, dead = (None, False) if stored is None else (stored.rev, stored.deleted)
        written = add_leaf(tree, winner, fresh, rev, dead=dead, deleted=deleted)
        document = Document(doctype, id, written, raw, deleted=deleted, body=fresh)
        self._store(document, stored, tree)
        return document

    def delete(self, doctype: str, id: str, rev: str, body: Mapping[str, Any] | None = None) -> Document:
        return self.put(doctype, id, body or {}, rev=rev, deleted=True)

    def graft(
        self, doctype: str, id: str, chain: Sequence[str], body: Mapping[str, Any], *, deleted: bool = False
    ) -> bool:
        raw, fresh = encode_body(id, body)
        stored, tree = self._stored(doctype, id)
        if not tree.insert(chain, deleted):
            return False
        document = Document(doctype, id, normalise(chain[-1]), raw, deleted=deleted, body=fresh)
        self._store(document, stored, tree)
        return True

    def _stored(self, doctype: str, id: str) -> tuple[_Stored | None, RevisionTree]:
        row = self._row(
            "SELECT rev, deleted, leaves, seq, body, tree FROM documents"
            " WHERE instance = %s AND doctype = %s AND id = %s",
            (self._number, doctype, id),
        )
        if row is None:
            return None, RevisionTree()
        return _Stored(*row[:5]), RevisionTree.decode(row[5])

    def _store(self, written: Document, stored: _Stored | None, tree: RevisionTree) -> None:
        """Put a new leaf in its place, count it, note it in the journal, and run what is part of the write."""
        session = self._session
        seq = session.take_seq()
        doctype = written.doctype
        self.create_doctype(doctype)
        session.indexes.leave_strange(doctype)
        tree.stem(REVISION_LIMIT)
        leaves = tree.leaves()
        if len(leaves) == 1 and (stored is None or stored.leaves == 1):
            winner = written
        else:
            winner = self._place_leaves(written, stored, tree)
        winner.seq = seq
        was_live = stored is not None and not stored.deleted
        verb: Verb = "DELETED" if winner.deleted else "UPDATED" if was_live else "CREATED"
        last_body = stored.raw if stored is not None and was_live and winner.deleted else None
        number = self._number
        self._run(
            "WITH document AS (INSERT INTO documents (instance, doctype, id, rev, deleted, seq, leaves, tree, body)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (instance, doctype, id) DO UPDATE SET"
            " rev = excluded.rev, deleted = excluded.deleted, seq = excluded.seq, leaves = excluded.leaves,"
            " tree = excluded.tree, body = excluded.body),"
            " counted AS (UPDATE doctypes SET live = live + %s, deleted = deleted + %s, last_seq = %s"
            " WHERE instance = %s AND name = %s)"
            " INSERT INTO journal VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (number, doctype, winner.id, winner.rev, winner.deleted, seq, len(leaves), tree.encode(), Json(winner.raw),
             (not winner.deleted) - was_live, winner.deleted - (stored is not None and stored.deleted), seq,
             number, doctype,
             number, seq, doctype, winner.id, written.rev, verb, self.origin,
             None if last_body is None else Json(last_body)),
        )  # fmt: skip
        indexes = session.indexes.known.attended.get(doctype)
        same = stored is not None and was_live and not winner.deleted and stored.raw == winner.raw
        if indexes and not same and (stored is None or stored.rev != winner.rev):
            body = None if winner.deleted else winner.body
            session.indexes.update(indexes, winner.id, body, fresh=stored is None)
        if session.writing.hooks:
            old = None
            if stored is not None and was_live:
                old = Document(doctype, winner.id, stored.rev, stored.raw, seq=stored.seq)
            change = Change(verb, old, winner, written.rev)
            for hook in session.writing.hooks:
                hook(self, change)

    def _place_leaves(self, written: Document, stored: _Stored | None, tree: RevisionTree) -> Document:
        """Move bodies between the winner's place and that of the other leaves; gives the winner."""
        if stored is None:
            return written
        leaves = [leaf.rev for leaf in tree.leaves()]
        first = tree.winner()
        place = (self._number, written.doctype, written.id)
        of_document = "instance = %s AND doctype = %s AND id = %s"
        self._run(f"DELETE FROM leaves WHERE {of_document} AND NOT rev = ANY(%s::text[])", (*place, leaves))  # noqa: S608
        insert = "INSERT INTO leaves VALUES (%s, %s, %s, %s, %s, %s)"
        if stored.rev in leaves and stored.rev != first.rev:
            self._run(insert, (*place, stored.rev, stored.deleted, Json(stored.raw)))
        if written.rev == first.rev:
            return written
        self._run(insert, (*place, written.rev, written.deleted, Json(written.raw)))
        raw = stored.raw
        if stored.rev != first.rev:
            sql = f"DELETE FROM leaves WHERE {of_document} AND rev = %s RETURNING body"  # noqa: S608
            raw = self._rows(sql, (*place, first.rev))[0][0]
        return Document(written.doctype, written.id, first.rev, raw, deleted=first.deleted)

    # -- doctypes

    def has_doctype(self, doctype: str) -> bool:
        session = self._session
        if doctype in session.doctypes:
            return True
        if not super().has_doctype(doctype):
            return False
        session.doctypes |= {doctype}
        return True

    def create_doctype(self, doctype: str) -> bool:
        if self.has_doctype(doctype):
            return False
        self._run("INSERT INTO doctypes (instance, name) VALUES (%s, %s)", (self._number, doctype))
        self._session.doctypes |= {doctype}
        return True

    def drop_doctype(self, doctype: str) -> bool:
        session = self._session
        if not self.has_doctype(doctype):
            return False
        session.indexes.forget_doctype(doctype)
        session.contents.release_all(doctype)
        for table in ("leaves", "documents", "locals"):
            self._run(f"DELETE FROM {table} WHERE instance = %s AND doctype = %s", (self._number, doctype))  # noqa: S608
        self._run("DELETE FROM doctypes WHERE instance = %s AND name = %s", (self._number, doctype))
        session.doctypes -= {doctype}
        session.indexes.moved = True  # other processes remember the doctype
        return True

    # -- local documents and checkpoints

    def put_local(self, doctype: str, name: str, body: Mapping[str, Any] | None, rev: str | None = None) -> str:
        if not self.has_doctype(doctype):
            raise DocumentNotFound("Database does not exist.")
        written = next_local_rev(rev)
        place = (self._number, doctype, name)
        if body is None:
            self._run("DELETE FROM locals WHERE instance = %s AND doctype = %s AND name = %s", place)
            return "0-0"
        raw, _ = encode_body(f"_local/{name}", body, local=True)
        self._run(
            "INSERT INTO locals VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (instance, doctype, name) DO UPDATE SET rev = excluded.rev, body = excluded.body",
            (*place, written, Json(raw)),
        )
        return written

    def set_checkpoint(self, reader: str, seq: int | None) -> None:
        if seq is None:
            self._run("DELETE FROM checkpoints WHERE instance = %s AND reader = %s", (self._number, reader))
        else:
            self._run(
                "INSERT INTO checkpoints VALUES (%s, %s, %s) ON CONFLICT (instance, reader)"
                " DO UPDATE SET seq = excluded.seq WHERE excluded.seq > checkpoints.seq",
                (self._number, reader, seq),
            )

    # -- records

    def put_record(
        self, kind: str, id: str, body: Any, *, keys: Iterable[str] = (), due: float | None = None
    ) -> Record:
        seq = self._session.take_seq()
        raw = msgspec.json.encode(body)
        place, distinct = (self._number, kind, id), sorted(set(keys))
        self._run(
            "INSERT INTO records VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (instance, kind, id)"
            " DO UPDATE SET seq = excluded.seq, due = excluded.due, body = excluded.body",
            (*place, seq, None if due is None else float(due), Json(raw)),
        )
        self._run("DELETE FROM record_keys WHERE instance = %s AND kind = %s AND id = %s", place)
        if distinct:
            self._run(
                "INSERT INTO record_keys (instance, kind, id, seq, key) SELECT %s, %s, %s, %s, unnest(%s::text[])",
                (*place, seq, distinct),
            )
        return Record(kind, id, seq, raw)

    def delete_record(self, kind: str, id: str) -> None:
        place = (self._number, kind, id)
        self._run(
            "WITH keys AS (DELETE FROM record_keys WHERE instance = %s AND kind = %s AND id = %s)"
            " DELETE FROM records WHERE instance = %s AND kind = %s AND id = %s",
            (*place, *place),
        )

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

    def _run(self, sql: LiteralString, values: Sequence[Any]) -> None:
        self._cursor.execute(sql, values)


def remove_instance(connection: Connection, name: str) -> None:
    """Delete everything of an instance; nothing happens when it is not there."""
    with connection.transaction(), connection.cursor() as cursor:
        gone = cursor.execute("DELETE FROM instances WHERE name = %s RETURNING number", (name,)).fetchall()
        for (number,) in gone:
            for table in OF_AN_INSTANCE:
                cursor.execute(f"DELETE FROM {table} WHERE instance = %s", (number,))  # noqa: S608
