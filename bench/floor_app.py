"""The floor: a bare ASGI application: SQLite in full sync for JSON and small files, synced files for large ones.

No users, no permissions, no revisions, no errors: nothing in one Python process that keeps its word gets below it.
With FLOOR_PEER it sends what it got to another one of its kind.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import apsw

FOLDER = Path(os.environ.get("FLOOR_FOLDER", "."))
PEER = os.environ.get("FLOOR_PEER", "")
PIECE = 256 * 1024
LISTED = 100
SMALL = 64 * 1024

Row = tuple[Any, ...]

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Floor:
    """The application."""

    def __init__(self) -> None:
        self._db = apsw.Connection(str(FOLDER / "floor.sqlite"))
        self._db.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE IF NOT EXISTS docs (id TEXT PRIMARY KEY, body TEXT) WITHOUT ROWID")
        self._db.execute("CREATE TABLE IF NOT EXISTS files (name TEXT PRIMARY KEY, body TEXT, content BLOB)")
        self._reader = apsw.Connection(str(FOLDER / "floor.sqlite"))
        self._folder = os.open(FOLDER, os.O_RDONLY)
        self._http: aiohttp.ClientSession | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._line: list[tuple[str, Row, asyncio.Future[None]]] = []
        self._committing: asyncio.Task[None] | None = None
        self._writer = ThreadPoolExecutor(1)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        _, what, name = scope["path"].split("/", 2)
        status, body = await getattr(self, f"{scope['method'].lower()}_{what}")(name, receive)
        headers = [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def put_file(self, name: str, receive: Receive) -> tuple[int, bytes]:
        """Keep a file: a small one in the database, a large one in a file of its own."""
        head, more = b"", True
        while more and len(head) <= SMALL:
            message = await receive()
            head += message.get("body", b"")
            more = message.get("more_body", False)
        path = FOLDER / f"{name}.file"
        content = None if more else head
        size = await self._stream(head, receive, path) if more else len(head)
        body = json.dumps({"name": name, "size": size})
        await self._write("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", (name, body, content))
        if PEER:
            task = asyncio.create_task(self._pass_on(name, path if content is None else content))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        return 201, body.encode()

    async def get_file(self, name: str, receive: Receive) -> tuple[int, bytes]:
        """The content of a small file."""
        row = self._reader.execute("SELECT content FROM files WHERE name = ?", (name,)).fetchone()
        return (200, row[0]) if row else (404, b"")

    async def get_meta(self, name: str, receive: Receive) -> tuple[int, bytes]:
        """What is known of a file."""
        return self._row("SELECT body FROM files WHERE name = ?", name)

    async def get_list(self, name: str, receive: Receive) -> tuple[int, bytes]:
        """The first files."""
        rows = self._reader.execute("SELECT body FROM files ORDER BY name LIMIT ?", (LISTED,))
        return 200, b"[" + ",".join(row[0] for row in rows).encode() + b"]"

    async def get_doc(self, name: str, receive: Receive) -> tuple[int, bytes]:
        """A document."""
        return self._row("SELECT body FROM docs WHERE id = ?", name)

    async def put_doc(self, name: str, receive: Receive) -> tuple[int, bytes]:
        """Keep a document."""
        body = json.loads((await receive())["body"])
        await self._write("INSERT OR REPLACE INTO docs VALUES (?, ?)", (name, json.dumps(body)))
        return 201, b"{}"

    def _row(self, statement: str, key: str) -> tuple[int, bytes]:
        row = self._reader.execute(statement, (key,)).fetchone()
        return (200, row[0].encode()) if row else (404, b"")

    # -- one commit for all that wait

    async def _write(self, statement: str, row: Row) -> None:
        done = asyncio.get_running_loop().create_future()
        self._line.append((statement, row, done))
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all())
        await done

    async def _commit_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._line:
            waiting, self._line = self._line, []
            await loop.run_in_executor(self._writer, self._commit, waiting)
            for _, _, done in waiting:
                done.set_result(None)
        self._committing = None

    def _commit(self, waiting: list[tuple[str, Row, asyncio.Future[None]]]) -> None:
        with self._db:
            for statement, row, _ in waiting:
                self._db.execute(statement, row)

    # -- large files

    async def _stream(self, head: bytes, receive: Receive, path: Path) -> int:
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            size, more = file.write(head), True
            while more:
                message = await receive()
                size += file.write(message.get("body", b""))
                more = message.get("more_body", False)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
        os.fsync(self._folder)
        return size

    async def _pass_on(self, name: str, what: Path | bytes) -> None:
        self._http = self._http or aiohttp.ClientSession()
        data = pieces(what) if isinstance(what, Path) else what
        async with self._http.put(f"{PEER}/file/{name}", data=data) as response:
            await response.read()


async def pieces(path: Path) -> AsyncIterator[bytes]:
    """The content of a file, piece by piece."""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


app = Floor() if "FLOOR_FOLDER" in os.environ else None
