"""The store of one instance on PostgreSQL: snapshots in threads, a line of writers, and wake-ups by the bus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import psycopg

from inglenook.kernel.errors import Unavailable
from inglenook.storage.bus import Bus, topic_of
from inglenook.storage.documents.contract import Index, Reader, Writer
from inglenook.storage.documents.postgres_backup import write_copy
from inglenook.storage.documents.postgres_line import BATCH, commit_together
from inglenook.storage.documents.postgres_reader import PostgresReader
from inglenook.storage.documents.postgres_schema import Connection, storage_error
from inglenook.storage.documents.postgres_threads import ConnectionThreads
from inglenook.storage.documents.postgres_writer import Memory, WriteSession, Writing
from inglenook.storage.documents.write_line import AnyChange, Committed, WriteLine

T = TypeVar("T")


@dataclass(frozen=True)
class Threads:
    """Where the statements of all stores of a process run: short reads do not wait behind scans or commits."""

    reading: ConnectionThreads
    scanning: ConnectionThreads
    writing: ConnectionThreads


class PostgresStore:
    """One instance, open (see `DocumentStore` of the contract)."""

    def __init__(self, name: str, writing: Writing, threads: Threads, bus: Bus) -> None:
        self.name = name
        self.number = writing.number
        self.told = 0
        self._writing = writing
        self._threads = threads
        self._bus = bus
        self._memory = Memory()
        self._closed = False
        self._reads = 0
        self._read_done = asyncio.Event()
        self._subscribers: dict[object, Callable[[int], None]] = {}
        self._line = WriteLine(self._commit, threads.writing.executor, self._committed, batch=BATCH)
        self._deafen = bus.listen(topic_of(name), self.moved)

    # -- the contract

    async def read(self, query: Callable[[Reader], T]) -> T:
        return await self._in_snapshot(self._threads.reading, query)

    async def scan(self, query: Callable[[Reader], T]) -> T:
        return await self._in_snapshot(self._threads.scanning, query)

    async def write(self, change: Callable[[Writer], T]) -> T:
        self._check_open()
        return await self._line.write(change)

    def subscribe(self, callback: Callable[[int], None]) -> Callable[[], None]:
        key = object()
        self._subscribers[key] = callback

        def end() -> None:
            self._subscribers.pop(key, None)

        return end

    async def backup(self, target: str) -> None:
        """Write a consistent copy into a file: that of the embedded store, which can be opened as such."""
        self._check_open()
        threads, loop = self._threads.scanning, asyncio.get_running_loop()
        await loop.run_in_executor(threads.executor, lambda: write_copy(threads, self.number, target))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._deafen()
        await self._line.idle()
        while self._reads:
            self._read_done.clear()
            await self._read_done.wait()

    # -- for the stores

    @property
    def closed(self) -> bool:
        """Whether this object is of no use any more."""
        return self._closed

    @property
    def watched(self) -> bool:
        """Whether somebody wants to be told of commits."""
        return bool(self._subscribers)

    @property
    def commits(self) -> int:
        """How many commits the line of writers has made."""
        return self._line.commits

    async def prepare(self, indexes: Sequence[Index]) -> None:
        """Bring the indexes in step. Raises Unavailable and OutOfSpace."""
        await asyncio.get_running_loop().run_in_executor(self._threads.writing.executor, self._open_indexes, indexes)

    def moved(self, seq: int) -> None:
        """Tell the subscribers that the instance has moved (0: it may have), in this process or in another."""
        self.told = max(self.told, seq)
        loop = asyncio.get_running_loop()
        for callback in self._subscribers.values():
            loop.call_soon(callback, self.told)

    # -- in the threads

    def _commit(self, changes: list[AnyChange]) -> Committed:
        session = self._begin()
        try:
            return commit_together(session, changes, self._remember)
        finally:
            session.abandon()

    def _open_indexes(self, indexes: Sequence[Index]) -> None:
        session = self._begin()
        try:
            session.indexes.open(indexes)
            self._remember(session.commit())
        except psycopg.Error as error:
            raise storage_error(error) from error
        finally:
            session.abandon()

    def _begin(self) -> WriteSession:
        def begin(connection: Connection) -> WriteSession:
            session = WriteSession(connection, self._writing, self._memory)
            try:
                session.begin()
            except BaseException:
                session.abandon()
                raise
            return session

        try:
            return self._threads.writing.begun(begin)
        except psycopg.Error as error:
            raise storage_error(error) from error

    def _remember(self, memory: Memory) -> None:
        self._memory = memory

    async def _in_snapshot(self, threads: ConnectionThreads, query: Callable[[Reader], T]) -> T:
        self._check_open()
        self._reads += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                threads.executor, _within_snapshot, threads, self.number, query
            )
        finally:
            self._reads -= 1
            self._read_done.set()

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("The storage of this instance is closed")

    def _committed(self, seq: int) -> None:
        self._bus.wake(topic_of(self.name), seq)


def _within_snapshot(threads: ConnectionThreads, number: int, query: Callable[[Reader], T]) -> T:
    def begin(connection: Connection) -> Connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return connection

    try:
        connection = threads.begun(begin)
        try:
            return query(PostgresReader(connection, number))
        finally:
            if not connection.closed:
                connection.execute("COMMIT")
    except psycopg.Error as error:
        raise storage_error(error) from error
