"""The store of one instance on SQLite: its connections, which sleep when nobody uses them, and its line of writers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import apsw

from inglenook.environment import Environment
from inglenook.kernel.errors import Unavailable
from inglenook.storage.bus import Bus, topic_of
from inglenook.storage.documents.contract import Hook, Index, Reader, Writer
from inglenook.storage.documents.sqlite_copy import sync
from inglenook.storage.documents.sqlite_line import commit_together
from inglenook.storage.documents.sqlite_reader import SqliteReader
from inglenook.storage.documents.sqlite_schema import MEMORY, connect_reader, connect_writer, storage_error
from inglenook.storage.documents.sqlite_writer import JOURNAL_KEPT, WriteSession
from inglenook.storage.documents.turnstile import Turnstile
from inglenook.storage.documents.write_line import WriteLine

T = TypeVar("T")
Closable = apsw.Connection | WriteSession


@dataclass(frozen=True)
class StoreOptions:
    """What a store is opened with. Without `pool` nothing runs in threads; `among_others`: not only this process
    writes."""

    env: Environment
    pool: Executor | None
    indexes: Sequence[Index]
    hooks: Sequence[Hook]
    blob_present: Callable[[str], bool]
    bus: Bus
    woken: Callable[[SqliteStore], None]
    journal_kept: int = JOURNAL_KEPT
    among_others: bool = False


class SqliteStore:
    """One instance, open (see `DocumentStore` of the contract).

    The store stays the same object while its connections come and go: `sleep` closes them, the next use opens
    them again."""

    def __init__(
        self, name: str, path: Path | None, options: StoreOptions, memory: apsw.Connection | None = None
    ) -> None:
        self.name = name
        self.last_used = 0.0
        self._path = MEMORY if path is None else str(path)
        self._options = options
        self._memory = memory
        self._session: WriteSession | None = None
        self._reading: apsw.Connection | None = None
        self._view: SqliteReader | None = None
        self._scanning: list[apsw.Connection] = []
        self._scans = 0
        self._scan_done = asyncio.Event()
        self._closed = False
        self._told = 0
        self._indexes = options.indexes
        self._subscribers: dict[object, Callable[[int], None]] = {}
        self._line = WriteLine(lambda changes: commit_together(self._writing(), changes), options.pool, self._committed)
        self._deafen = options.bus.listen(topic_of(name), self._tell)

    # -- the contract

    async def read(self, query: Callable[[Reader], T]) -> T:
        view = self._view
        if view is None:
            view = self._wake()
        self.last_used = asyncio.get_running_loop().time()
        return _within_snapshot(self._reading, view, query)

    async def scan(self, query: Callable[[Reader], T]) -> T:
        pool = self._options.pool
        if pool is None or self._memory is not None:
            return await self.read(query)
        self._wake()
        self.last_used = asyncio.get_running_loop().time()
        self._scans += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, self._scan, query)
        finally:
            self._scans -= 1
            self._scan_done.set()

    async def write(self, change: Callable[[Writer], T]) -> T:
        self._wake()
        self.last_used = asyncio.get_running_loop().time()
        return await self._line.write(change)

    def subscribe(self, callback: Callable[[int], None]) -> Callable[[], None]:
        key = object()
        self._subscribers[key] = callback

        def end() -> None:
            self._subscribers.pop(key, None)

        return end

    async def backup(self, target: str) -> None:
        await self._in_pool(self._backup, target)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._deafen()
        await self._line.idle()
        while self._scans:
            self._scan_done.clear()
            await self._scan_done.wait()
        self._view = None  # here, where reads run: none is in the middle of its work now, and none begins
        await self._in_pool(_close_all, self._take_connections())

    # -- for the stores

    @property
    def closed(self) -> bool:
        """Whether this object is of no use any more."""
        return self._closed

    @property
    def awake(self) -> bool:
        """Whether connections are open."""
        return self._view is not None

    @property
    def busy(self) -> bool:
        """Whether something is being written or scanned."""
        return self._line.busy or self._scans > 0

    @property
    def commits(self) -> int:
        """How many commits the line of writers has made."""
        return self._line.commits

    async def prepare(self) -> None:
        """Make the file if needed, and bring its indexes in step. Raises Unavailable and OutOfSpace."""
        await self._in_pool(self._writing)

    async def sleep(self) -> None:
        """Close the connections until the next use; nothing happens when the store is busy or in memory."""
        if self.busy or self._memory is not None or not self.awake:
            return
        self._view = None
        await self._in_pool(_close_all, self._take_connections())

    # -- connections

    def _wake(self) -> SqliteReader:
        if self._closed:
            raise Unavailable("The storage of this instance is closed")
        if self._view is None:
            self._reading = self._memory or connect_reader(self._path)
            self._view = SqliteReader(self._reading)
            self._options.woken(self)
        return self._view

    def _writing(self) -> WriteSession:
        """The writing session, used by one thread at a time: the job of the line of writers."""
        if self._session is not None:
            return self._session
        options = self._options
        connection = self._memory or connect_writer(self._path)
        turnstile = Turnstile(os.path.dirname(self._path)) if options.among_others else None
        session = WriteSession(
            connection, options.env, options.hooks, options.blob_present, options.journal_kept, turnstile
        )
        try:
            session.begin()
            session.indexes.open(self._indexes)
            session.commit()
        except BaseException as error:
            session.abandon()
            if self._memory is None:
                session.close()
            if isinstance(error, apsw.Error):
                raise storage_error(error) from error
            raise
        self._session = session
        return session

    def _scan(self, query: Callable[[Reader], T]) -> T:
        connection = self._scanning.pop() if self._scanning else connect_reader(self._path)
        try:
            return _within_snapshot(connection, SqliteReader(connection), query)
        finally:
            if self._scanning or self._closed:
                connection.close()
            else:
                self._scanning.append(connection)

    def _backup(self, target: str) -> None:
        part = f"{target}.part"
        Path(part).unlink(missing_ok=True)
        source = self._memory or connect_reader(self._path)
        try:
            copy = apsw.Connection(part)
            with copy.backup("main", source, "main") as backup:
                backup.step()  # all at once: a snapshot, which writers do not disturb
            copy.execute("PRAGMA journal_mode = DELETE")
            copy.close()
            sync(part)
            os.replace(part, target)
            sync(os.path.dirname(target) or ".")
        except apsw.Error as error:
            raise storage_error(error) from error
        finally:
            Path(part).unlink(missing_ok=True)
            if source is not self._memory:
                source.close()

    def _take_connections(self) -> list[Closable]:
        connections: list[Closable] = [*self._scanning]
        self._scanning.clear()
        if self._session is not None:
            self._indexes = self._session.indexes.attended()
        if self._memory is None:
            if self._reading is not None:
                connections.append(self._reading)
            if self._session is not None:
                connections.append(self._session)
        self._reading = self._session = None
        return connections

    async def _in_pool(self, job: Callable[..., object], *values: object) -> None:
        if self._options.pool is None:
            job(*values)
        else:
            await asyncio.get_running_loop().run_in_executor(self._options.pool, job, *values)

    def _committed(self, seq: int) -> None:
        self._options.bus.wake(topic_of(self.name), seq)

    def _tell(self, seq: int) -> None:
        """Tell the subscribers that the instance has moved (0: it may have), in this process or in another."""
        self._told = seq = max(self._told, seq)
        loop = asyncio.get_running_loop()
        for callback in self._subscribers.values():
            loop.call_soon(callback, seq)


def _within_snapshot(connection: apsw.Connection | None, view: SqliteReader, query: Callable[[Reader], T]) -> T:
    assert connection is not None
    try:
        connection.execute("BEGIN")
        try:
            return query(view)
        finally:
            connection.execute("COMMIT")
    except apsw.Error as error:
        raise storage_error(error) from error


def _close_all(connections: list[Closable]) -> None:
    for connection in connections:
        connection.close()
