"""The commit of a batch of changes in SQLite: each in a savepoint of its own, all in one transaction."""

from __future__ import annotations

import apsw

from inglenook.storage.documents.sqlite_schema import storage_error
from inglenook.storage.documents.sqlite_writer import SqliteWriter, WriteSession
from inglenook.storage.documents.write_line import AnyChange, Committed, Outcome


def commit_together(session: WriteSession, changes: list[AnyChange]) -> Committed:
    """Run changes in one transaction and commit them.

    When SQLite gives the whole transaction up (a full disk, a fault of the disk), all that ran so far fail with
    that cause; the changes after them did not run and have no outcome."""
    outcomes: list[Outcome] = []
    indexes = session.indexes.known
    try:
        session.begin()
        indexes = session.indexes.known
        for change in changes:
            outcomes.append(_run(session, change, alone=len(changes) == 1))
            if not session.connection.in_transaction:
                lost = outcomes[-1].error
                session.indexes.known = indexes
                return Committed([Outcome(error=outcome.error or lost) for outcome in outcomes])
        moved = session.commit()
    except apsw.Error as error:
        session.indexes.known = indexes
        cause = storage_error(error)
        failed = [outcome.error for outcome in outcomes] + [None] * (len(changes) - len(outcomes))
        return Committed([Outcome(error=own or cause) for own in failed])
    finally:
        session.abandon()
    return Committed(outcomes, session.seq if moved else None)


def _run(session: WriteSession, change: AnyChange, *, alone: bool) -> Outcome:
    """Run one change; when it fails, put everything back to where it was before."""
    execute = session.connection.execute
    before = (session.seq, session.indexes.known, session.indexes.moved)
    if not alone:
        execute("SAVEPOINT change")
    writer = SqliteWriter(session)
    try:
        result = change(writer)
    except BaseException as error:  # noqa: BLE001 - it is raised again where the write is awaited
        if alone:
            session.abandon()
        elif session.connection.in_transaction:
            execute("ROLLBACK TO change")
            execute("RELEASE change")
        session.seq, session.indexes.known, session.indexes.moved = before
        session.doctypes.clear()
        return Outcome(error=_as_caller_sees_it(error))
    finally:
        writer.end()
    if not alone:
        execute("RELEASE change")
    return Outcome(result, actions=writer.actions)


def _as_caller_sees_it(error: BaseException) -> BaseException:
    if isinstance(error, apsw.Error):
        cause = storage_error(error)
        cause.__cause__ = None if cause is error else error
        return cause
    if isinstance(error, StopIteration):  # a future cannot carry it
        return RuntimeError(f"A change raised StopIteration: {error}")
    return error
