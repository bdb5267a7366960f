"""The commit of a batch of changes in PostgreSQL: each in a savepoint of its own, all in one transaction that has
locked the instance."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from inglenook.storage.documents.postgres_schema import storage_error
from inglenook.storage.documents.postgres_writer import Memory, PostgresWriter, WriteSession
from inglenook.storage.documents.write_line import AnyChange, Committed, Outcome

BATCH = 60  # changes per commit; a transaction with more than 64 savepoints slows down all readers of PostgreSQL


def commit_together(session: WriteSession, changes: list[AnyChange], remember: Callable[[Memory], None]) -> Committed:
    """Run changes in one transaction that was begun, and commit it.

    When the connection is lost or the disk is full, all that ran so far fail with that cause; the changes after them
    did not run and have no outcome."""
    outcomes: list[Outcome] = []
    try:
        for change in changes:
            outcomes.append(_run(session, change, alone=len(changes) == 1))
            if session.connection.closed:
                lost = outcomes[-1].error
                return Committed([Outcome(error=outcome.error or lost) for outcome in outcomes])
        if session.connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS:
            remember(session.commit())
    except psycopg.Error as error:
        cause = storage_error(error)
        failed = [outcome.error for outcome in outcomes] + [None] * (len(changes) - len(outcomes))
        return Committed([Outcome(error=own or cause) for own in failed])
    return Committed(outcomes, session.seq if session.moved else None)


def _run(session: WriteSession, change: AnyChange, *, alone: bool) -> Outcome:
    """Run one change; when it fails, put everything back to where it was before."""
    execute = session.connection.execute
    before = (session.seq, session.indexes.known, session.indexes.moved, session.doctypes)
    if not alone:
        execute("SAVEPOINT change")
    writer = PostgresWriter(session)
    try:
        result = change(writer)
    except BaseException as error:  # noqa: BLE001 - it is raised again where the write is awaited
        if not session.connection.closed:
            if alone:
                session.abandon()
            else:
                execute("ROLLBACK TO change; RELEASE change")
        session.seq, session.indexes.known, session.indexes.moved, session.doctypes = before
        return Outcome(error=_as_caller_sees_it(error))
    finally:
        writer.end()
    if not alone:
        execute("RELEASE change")
    return Outcome(result, actions=writer.actions)


def _as_caller_sees_it(error: BaseException) -> BaseException:
    if isinstance(error, psycopg.Error):
        cause = storage_error(error)
        cause.__cause__ = None if cause is error else error
        return cause
    if isinstance(error, StopIteration):  # a future cannot carry it
        return RuntimeError(f"A change raised StopIteration: {error}")
    return error
