"""Wake-ups, short-lived values and leases over PostgreSQL, for several processes without Redis.

Wake-ups travel by NOTIFY, on a connection of their own and after the commit: a transaction that notifies would queue
behind all others at its commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import msgspec
import psycopg
import structlog

from inglenook.kernel.errors import Unavailable
from inglenook.storage.bus import Bus
from inglenook.storage.documents.postgres_schema import Connection, Json, make_tables, storage_error
from inglenook.storage.documents.postgres_threads import ConnectionThreads

T = TypeVar("T")

CHANNEL = "inglenook"
PRESENT = "present:"  # the lease by which a process says that it wants to work
LONGEST_PAYLOAD = 7000  # bytes; PostgreSQL takes 7,999
LAST_SECONDS = 2.0  # for the last wake-ups to leave
REST_SECONDS = 0.5  # before PostgreSQL is tried again

log = structlog.get_logger("inglenook.storage")


class PostgresRelay:
    """Brings the wake-ups of a bus to the other processes, and theirs to it."""

    def __init__(self, url: str, bus: Bus, me: str) -> None:
        self._url = url
        self._bus = bus
        self._me = me
        self._waiting: dict[str, int] = {}
        self._sending = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin; returns when the wake-ups of others arrive."""
        listening = asyncio.Event()
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._listen(listening))]
        self._bus.relay = self._pass_on
        await listening.wait()

    async def stop(self) -> None:
        """Send what waits, then end."""
        self._bus.relay = None
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await self._idle.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _pass_on(self, topic: str, number: int) -> None:
        self._waiting[topic] = max(number, self._waiting.get(topic, 0))
        self._sending.set()
        self._idle.clear()

    async def _send(self) -> None:
        while True:
            with suppress(psycopg.Error):
                async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
                    while True:
                        await self._sending.wait()
                        while self._waiting:
                            message = self._message()
                            await connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, message))
                        self._sending.clear()
                        self._idle.set()
            log.warning("wake-ups wait for PostgreSQL")
            await asyncio.sleep(REST_SECONDS)

    def _message(self) -> str:
        """Some of the wake-ups that wait, as many as one message takes. What is lost with it is found by looking
        around."""
        batch: dict[str, int] = {}
        size = 0
        while self._waiting and size < LONGEST_PAYLOAD - 500:
            topic, number = self._waiting.popitem()
            batch[topic] = number
            size += len(topic) + 25
        return msgspec.json.encode([self._me, batch]).decode()

    async def _listen(self, listening: asyncio.Event) -> None:
        while True:
            with suppress(psycopg.Error):
                async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
                    await connection.execute("LISTEN inglenook")
                    listening.set()
                    self._bus.hear_everything()
                    async for notice in connection.notifies():
                        self._hear(notice.payload)
            log.warning("no wake-ups from PostgreSQL")
            await asyncio.sleep(REST_SECONDS)

    def _hear(self, payload: str) -> None:
        sender, topics = msgspec.json.decode(payload, type=tuple[str, dict[str, int]])
        if sender != self._me:
            for topic, number in topics.items():
                self._bus.hear(topic, number)


class PostgresTables:
    """Threads that work on the tables of leases and short-lived values."""

    def __init__(self, url: str) -> None:
        self._threads = ConnectionThreads(url, 2, "tables")

    async def start(self) -> None:
        """Make the tables when they are missing. Raises Unavailable."""
        await self.run(make_tables)

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.to_thread(self._threads.close)

    async def run(self, job: Callable[[Connection], T]) -> T:
        """Run statements, each a transaction of its own. Raises Unavailable."""

        def work() -> T:
            with _storage_errors():
                return self._threads.begun(job)

        return await asyncio.get_running_loop().run_in_executor(self._threads.executor, work)


class PostgresValues:
    """`ShortLived` values in PostgreSQL."""

    def __init__(self, tables: PostgresTables) -> None:
        self._tables = tables

    async def put(self, key: str, value: Any, ttl: float) -> None:
        raw = Json(msgspec.json.encode(value))

        def store(connection: Connection) -> None:
            connection.execute("DELETE FROM short_lived WHERE until < now()")
            connection.execute(
                "INSERT INTO short_lived VALUES (%s, %s, now() + make_interval(secs => %s))"
                " ON CONFLICT (key) DO UPDATE SET value = excluded.value, until = excluded.until",
                (key, raw, float(ttl)),
            )

        await self._tables.run(store)

    async def get(self, key: str) -> Any:
        sql = "SELECT value FROM short_lived WHERE key = %s AND until > now()"
        return _decoded(await self._tables.run(lambda c: c.execute(sql, (key,), binary=True).fetchone()))

    async def take(self, key: str) -> Any:
        sql = "DELETE FROM short_lived WHERE key = %s AND until > now() RETURNING value"
        return _decoded(await self._tables.run(lambda c: c.execute(sql, (key,), binary=True).fetchone()))

    async def delete(self, key: str) -> None:
        await self._tables.run(lambda c: c.execute("DELETE FROM short_lived WHERE key = %s", (key,)))


class PostgresLeases:
    """The `LeaseTable` of `storage.leases` in PostgreSQL."""

    def __init__(self, tables: PostgresTables) -> None:
        self._tables = tables

    async def enter(self, holder: str, seconds: float) -> int:
        def count(connection: Connection) -> int:
            connection.execute(
                "INSERT INTO leases VALUES (%s, %s, now() + make_interval(secs => %s))"
                " ON CONFLICT (name) DO UPDATE SET until = excluded.until",
                (PRESENT + holder, holder, float(seconds)),
            )
            connection.execute("DELETE FROM leases WHERE starts_with(name, %s) AND until < now()", (PRESENT,))
            sql = "SELECT count(*) FROM leases WHERE starts_with(name, %s)"
            row = connection.execute(sql, (PRESENT,), binary=True).fetchone()
            return row[0] if row else 0

        return await self._tables.run(count)

    async def leave(self, holder: str) -> None:
        await self._tables.run(lambda c: c.execute("DELETE FROM leases WHERE holder = %s", (holder,)))

    async def take(self, names: Sequence[str], holder: str, seconds: float, *, most: int | None = None) -> set[str]:
        sql = (
            "INSERT INTO leases SELECT name, %s, now() + make_interval(secs => %s) FROM unnest(%s::text[]) AS name"
            " WHERE NOT EXISTS (SELECT 1 FROM leases AS other WHERE other.name = name.name AND other.holder <> %s"
            " AND other.until >= now()) ORDER BY name LIMIT %s"
            " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until"
            " WHERE leases.holder = excluded.holder OR leases.until < now() RETURNING name"
        )
        values = (holder, float(seconds), sorted(names), holder, len(names) if most is None else most)
        rows = await self._tables.run(lambda c: c.execute(sql, values, binary=True).fetchall())
        return {name for (name,) in rows}

    async def give_back(self, names: Sequence[str], holder: str) -> None:
        sql = "DELETE FROM leases WHERE name = ANY(%s::text[]) AND holder = %s"
        await self._tables.run(lambda c: c.execute(sql, (list(names), holder)))


def _decoded(row: tuple[Any, ...] | None) -> Any:
    return None if row is None else msgspec.json.decode(row[0])


@contextmanager
def _storage_errors() -> Generator[None]:
    try:
        yield
    except psycopg.Error as error:
        cause = storage_error(error)
        raise cause if isinstance(cause, Unavailable) else error from error
