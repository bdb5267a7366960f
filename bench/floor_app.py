"""The floor: a bare ASGI application that keeps bytes in synced files and JSON in SQLite with full sync.

No users, no permissions, no revisions, no errors: nothing in one Python process that keeps its word gets below it.
With FLOOR_PEER it sends what it got to another one of its kind.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import apsw

FOLDER = Path(os.environ.get("FLOOR_FOLDER", "."))
PEER = os.environ.get("FLOOR_PEER", "")
PIECE = 256 * 1024
LISTED = 100

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Floor:
    """The application."""

    def __init__(self) -> None:
        self._db = apsw.Connection(str(FOLDER / "floor.sqlite"))
        self._db.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE IF NOT EXISTS docs (id TEXT PRIMARY KEY, body TEXT) WITHOUT ROWID")
        self._db.execute("CREATE TABLE IF NOT EXISTS files (name TEXT PRIMARY KEY, body TEXT) WITHOUT ROWID")
        self._folder = os.open(FOLDER, os.O_RDONLY)
        self._http: aiohttp.ClientSession | None = None
        self._sending: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        _, what, name = scope["path"].split("/", 2)
        status, body = await getattr(self, f"{scope['method'].lower()}_{what}")(name, receive)
        headers = [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def put_file(self, name: str, receive: Receive) -> tuple[int, bytes]:
        """Keep a file."""
        path = FOLDER / f"{name}.file"
        part = path.with_suffix(".part")
        size = 0
        with part.open("wb") as file:
            more = True
            while more:
                message = await receive()
                size += file.write(message.get("body", b""))
                more = message.get("more_body", False)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
        os.fsync(self._folder)
        body = json.dumps({"name": name, "size": size})
        self._db.execute("INSERT OR REPLACE INTO files VALUES (?, ?)", (name, body))
        if PEER:
            task = asyncio.create_task(self._pass_on(name, path))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        return 201, body.encode()

    async def get_file(self, name: str, receive: Receive) -> tuple[int, bytes]:
        """The content of a file."""
        path = FOLDER / f"{name}.file"
        return (200, path.read_bytes()) if path.exists() else (404, b"")

    async def get_meta(self, name: str, receive: Receive) -> tuple[int, bytes]:
        """What is known of a file."""
        return self._row("SELECT body FROM files WHERE name = ?", name)

    async def get_list(self, name: str, receive: Receive) -> tuple[int, bytes]:
        """The first files."""
        rows = self._db.execute("SELECT body FROM files ORDER BY name LIMIT ?", (LISTED,))
        return 200, b"[" + ",".join(row[0] for row in rows).encode() + b"]"

    async def get_doc(self, name: str, receive: Receive) -> tuple[int, bytes]:
        """A document."""
        return self._row("SELECT body FROM docs WHERE id = ?", name)

    async def put_doc(self, name: str, receive: Receive) -> tuple[int, bytes]:
        """Keep a document."""
        body = json.loads((await receive())["body"])
        self._db.execute("INSERT OR REPLACE INTO docs VALUES (?, ?)", (name, json.dumps(body)))
        return 201, b"{}"

    def _row(self, statement: str, key: str) -> tuple[int, bytes]:
        row = self._db.execute(statement, (key,)).fetchone()
        return (200, row[0].encode()) if row else (404, b"")

    async def _pass_on(self, name: str, path: Path) -> None:
        self._http = self._http or aiohttp.ClientSession()
        async with self._http.put(f"{PEER}/file/{name}", data=pieces(path)) as response:
            await response.read()


async def pieces(path: Path) -> AsyncIterator[bytes]:
    """The content of a file, piece by piece."""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


app = Floor() if "FLOOR_FOLDER" in os.environ else None
