"""Threads with a connection to PostgreSQL each: what asks the database runs in them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psycopg

from inglenook.kernel.errors import Unavailable
from inglenook.storage.documents.postgres_schema import Connection, connect

T = TypeVar("T")


class ConnectionThreads:
    """A pool of threads; `connection` gives each thread its own connection, made at the first use.

    A connection that was lost (PostgreSQL was restarted) is replaced at its next use."""

    def __init__(self, url: str, threads: int, name: str) -> None:
        self.executor = ThreadPoolExecutor(threads, name)
        self._url = url
        self._own = threading.local()
        self._all: list[Connection] = []
        self._closed = False

    def connection(self) -> Connection:
        """The connection of this thread. Raises Unavailable."""
        connection: Connection | None = getattr(self._own, "connection", None)
        if connection is None or connection.closed:
            if self._closed:
                raise Unavailable("The storage is closed")
            self._all = [other for other in self._all if not other.closed]
            connection = self._own.connection = connect(self._url)
            self._all.append(connection)
        return connection

    def begun(self, begin: Callable[[Connection], T]) -> T:
        """Do the first thing of a transaction, once more on a fresh connection when this thread's was lost."""
        connection = self.connection()
        try:
            return begin(connection)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            if not connection.closed:
                raise
            return begin(self.connection())

    def close(self) -> None:
        """Close all connections when what runs has ended."""
        self._closed = True
        self.executor.shutdown(wait=True)
        for connection in self._all:
            connection.close()
