"""Document stores on PostgreSQL: all instances in one database, for any number of processes (docs/decisions/0010)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import structlog

from inglenook.environment import Environment
from inglenook.kernel.errors import Unavailable
from inglenook.storage.bus import Bus
from inglenook.storage.documents.contract import Hook, Index
from inglenook.storage.documents.postgres_backup import read_copy
from inglenook.storage.documents.postgres_schema import Connection, connect, make_tables, storage_error
from inglenook.storage.documents.postgres_store import PostgresStore, Threads
from inglenook.storage.documents.postgres_threads import ConnectionThreads
from inglenook.storage.documents.postgres_writer import JOURNAL_KEPT, Writing, remove_instance
from inglenook.storage.documents.turn import wait_for_turn

READERS = 6  # connections of a process for reads,
SCANNERS = 2  # for scans and backups,
WRITERS = 6  # and for commits
MAKING = 7101  # the seed of the numbers of advisory locks of those who make a store
LOOK_SECONDS = 20.0  # how late a commit of another process is noticed when its wake-up was lost

log = structlog.get_logger("inglenook.storage")

BlobPresent = Callable[[str, str], bool]
"""Whether the blob store of an instance (its name) has a SHA-256, which is thereby saved from the collector."""


class PostgresStores:
    """The stores of all instances in a database (see `DocumentStores` of the contract).

    `url` is a connection string of libpq; the tables are made at the first use. `bus` carries the news of commits to
    the other processes, `blob_present` is asked when a document shall name a content that no other document names."""

    def __init__(
        self,
        url: str,
        env: Environment,
        bus: Bus,
        *,
        blob_present: BlobPresent,
        journal_kept: int = JOURNAL_KEPT,
    ) -> None:
        self._url = url
        self._env = env
        self._bus = bus
        self._blob_present = blob_present
        self._journal_kept = journal_kept
        self._threads = Threads(
            ConnectionThreads(url, READERS, "read"),
            ConnectionThreads(url, SCANNERS, "scan"),
            ConnectionThreads(url, WRITERS, "write"),
        )
        self._stores: dict[str, PostgresStore] = {}
        self._opening: dict[str, asyncio.Task[PostgresStore]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._made = False

    async def open(self, name: str, *, indexes: Sequence[Index] = (), hooks: Sequence[Hook] = ()) -> PostgresStore:
        """Open (make, if needed) the store of an instance. Raises Unavailable and OutOfSpace."""
        if not name:
            raise ValueError(f"Not a name of a store: {name!r}")
        store = self._stores.get(name)
        if store is not None and not store.closed:
            return store
        opening = self._opening.get(name)
        if opening is None:
            opening = asyncio.get_running_loop().create_task(self._open(name, indexes, hooks))
            self._opening[name] = opening
            opening.add_done_callback(lambda _: self._opening.pop(name, None))
        return await asyncio.shield(opening)

    def exists(self, name: str) -> bool:
        """Whether there is a store of that name. Waits for the database."""
        return self._threads.writing.executor.submit(self._exists, name).result()

    @asynccontextmanager
    async def making(self, name: str) -> AsyncGenerator[None]:
        """The turn to make a store anew, on a connection of its own. Raises Unavailable when it does not come."""
        connection = await asyncio.to_thread(connect, self._url)
        try:
            await wait_for_turn(lambda: _locked(connection, name))
            yield
        finally:
            connection.close()

    async def destroy(self, name: str) -> None:
        """Delete a store with everything in it; nothing happens when it is not there."""
        if name in self._opening:
            await asyncio.wait([self._opening[name]])
        await self.forget(name)
        await self._run(remove_instance, name)

    async def install(self, name: str, source: str) -> None:
        """Make a store, which must not be there, from the file of a backup. Raises Unavailable and OutOfSpace."""

        def enter(connection: Connection) -> None:
            with connection.transaction():
                number = _enter(connection, name)
                read_copy(connection, number, source)

        await self._run(enter)

    async def forget(self, name: str) -> None:
        """Close a store that another process has destroyed, or is to be opened anew."""
        store = self._stores.pop(name, None)
        if store is not None:
            await store.close()

    async def close(self) -> None:
        """Close all that is open."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
            self._looking = None
        if self._opening:
            await asyncio.wait(list(self._opening.values()))
        stores, self._stores = list(self._stores.values()), {}
        await asyncio.gather(*(store.close() for store in stores))
        for threads in (self._threads.reading, self._threads.scanning, self._threads.writing):
            await asyncio.to_thread(threads.close)

    async def names(self) -> list[str]:
        """The names of the stores that exist."""

        def read(connection: Connection) -> list[str]:
            rows = connection.execute("SELECT name FROM instances ORDER BY name", binary=True)
            return [name for (name,) in rows.fetchall()]

        return await self._run(read)

    async def _open(self, name: str, indexes: Sequence[Index], hooks: Sequence[Hook]) -> PostgresStore:
        number = await self._run(_enter, name)
        blob_present = self._blob_present
        writing = Writing(
            number, self._env, tuple(hooks), lambda sha256: blob_present(name, sha256), self._journal_kept
        )
        store = PostgresStore(name, writing, self._threads, self._bus)
        try:
            await store.prepare(indexes)
        except BaseException:
            await store.close()
            raise
        self._stores[name] = store
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look_around())
        return store

    async def _run(self, job: Callable[..., Any], *values: object) -> Any:
        def run() -> Any:
            try:
                return job(self._ready(), *values)
            except psycopg.Error as error:
                raise storage_error(error) from error

        return await asyncio.get_running_loop().run_in_executor(self._threads.writing.executor, run)

    def _exists(self, name: str) -> bool:
        try:
            rows = self._ready().execute("SELECT 1 FROM instances WHERE name = %s", (name,))
            return rows.fetchone() is not None
        except psycopg.Error as error:
            raise storage_error(error) from error

    def _ready(self) -> Connection:
        """This thread's connection, to a database that has the tables."""
        connection = self._threads.writing.begun(_ask)
        if not self._made:
            make_tables(connection)
            self._made = True
        return connection

    # -- lost wake-ups

    async def _look_around(self) -> None:
        """See what has moved without telling us: the bus may lose a message, and then nothing else would come."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            watched = {store.number: store for store in self._stores.values() if store.watched}
            if not watched:
                continue
            try:
                moved: list[tuple[int, int]] = await self._run(_sequences, list(watched))
            except Unavailable as error:
                log.warning("the database is out of reach", cause=str(error))
                continue
            for number, seq in moved:
                if seq > watched[number].told:
                    watched[number].moved(seq)


def _ask(connection: Connection) -> Connection:
    connection.execute("SELECT 1")
    return connection


def _locked(connection: Connection, name: str) -> bool:
    try:
        row = connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, %s))", (name, MAKING)).fetchone()
    except psycopg.Error as error:
        raise storage_error(error) from error
    return row is not None and bool(row[0])


def _enter(connection: Connection, name: str) -> int:
    """The number of an instance, which is entered when it is not there."""
    with connection.transaction(), connection.cursor(binary=True) as cursor:
        cursor.execute("INSERT INTO instances (name) VALUES (%s) ON CONFLICT (name) DO NOTHING", (name,))
        row = cursor.execute("SELECT number FROM instances WHERE name = %s", (name,)).fetchone()
    assert row is not None
    return row[0]


def _sequences(connection: Connection, numbers: list[int]) -> list[tuple[int, int]]:
    sql = "SELECT number, seq FROM instances WHERE number = ANY(%s::bigint[])"
    return [(number, seq) for number, seq in connection.execute(sql, (numbers,), binary=True).fetchall()]
