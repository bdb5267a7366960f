"""Requests of the API for each CPU second of the server's processes, with 16 connections.

By CPU, not by the clock: a busy machine, or the client beside the server, changes little of it.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.figures import FLOOR, OURS, Figure, Say, Size
from bench.floor import floor_server
from bench.inglenook_pair import two_servers
from bench.load import Wire, requests_during
from bench.usage import observed
from inglenook.demo.person import Person

CHILDREN = 500
CONTENT = os.urandom(10_000)
DOCUMENT = {
    "title": "A document",
    "tags": ["red", "blue"],
    "count": 3,
    "text": "as long as documents are",
}
DOCTYPE = "io.cozy.contacts"
GOALS = {
    "read a document": "4000",
    "write a document": "1500",
    "metadata of a file": "3500",
    "list 100 of 500 children": "600",
    "download 10 KB": "3000",
    "upload 10 KB": "700",
}

Works = dict[str, Callable[[int], Wire]]


async def measure(size: Size, folder: Path, say: Say) -> list[Figure]:
    """One figure for each kind of request."""
    say(FLOOR)
    floors = await floor(size, folder / FLOOR)
    say(OURS)
    ours = await inglenook(size, folder / OURS)
    return [
        Figure(work, "req / CPU s", {OURS: ours[work], FLOOR: floors[work]}, goal, more_is_better=True)
        for work, goal in GOALS.items()
    ]


async def inglenook(size: Size, folder: Path) -> dict[str, float]:
    """One server."""
    async with two_servers(folder) as pair:
        await pair.bob.server.stop()
        works = await our_works(pair.alice)
        return await rates(size, pair.alice.url, works, pair.alice.server.pid)


async def our_works(alice: Person) -> Works:
    """Fill an instance, and give the requests."""
    headers = alice.headers("application/octet-stream")
    json_headers = {**headers, "Content-Type": "application/json", "Accept": "application/json"}
    listed, filled = await alice.make_folder("Listed"), await alice.make_folder("Filled")
    for start in range(0, CHILDREN, 10):
        numbers = range(start, min(start + 10, CHILDREN))
        await asyncio.gather(*(alice.write(f"file-{n:04d}.bin", CONTENT, listed) for n in numbers))
    file = await alice.write("one.bin", CONTENT, filled)
    body = json.dumps(DOCUMENT).encode()
    made: dict[str, Any] = await alice.call("POST", f"/data/{DOCTYPE}/", body=body, kind="application/json")
    return {
        "read a document": lambda _: Wire("GET", f"/data/{DOCTYPE}/{made['id']}", json_headers),
        "write a document": lambda _: Wire("POST", f"/data/{DOCTYPE}/", json_headers, body),
        "metadata of a file": lambda _: Wire("GET", f"/files/{file}", headers),
        "list 100 of 500 children": lambda _: Wire("GET", f"/files/{listed}?page[limit]=100", headers),
        "download 10 KB": lambda _: Wire("GET", f"/files/download/{file}", headers),
        "upload 10 KB": lambda n: Wire("POST", f"/files/{filled}?Type=file&Name=n{n}", headers, CONTENT),
    }


async def floor(size: Size, folder: Path) -> dict[str, float]:
    """One bare server."""
    async with floor_server(folder) as server:
        body = json.dumps(DOCUMENT).encode()
        works: Works = {
            "upload 10 KB": lambda n: Wire("PUT", f"/file/n{n}", {}, CONTENT),
            "write a document": lambda n: Wire("PUT", f"/doc/d{n}", {}, body),
            "read a document": lambda _: Wire("GET", "/doc/d1", {}),
            "metadata of a file": lambda _: Wire("GET", "/meta/n1", {}),
            "list 100 of 500 children": lambda _: Wire("GET", "/list/all", {}),
            "download 10 KB": lambda _: Wire("GET", "/file/n1", {}),
        }
        return await rates(size, server.origin, works, server.pid)


async def rates(size: Size, url: str, works: Works, pid: int) -> dict[str, float]:
    """Requests for each CPU second, by kind."""
    found: dict[str, float] = {}
    for work, make in works.items():
        warm = await requests_during(0.3, size.connections, url, make)
        async with observed(pid) as usage:
            done = await requests_during(size.seconds, size.connections, url, lambda n, w=warm, m=make: m(n + w + 16))
        found[work] = done / usage.cpu
    return found
