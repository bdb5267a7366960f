"""Requests of the API for each CPU second of the server's processes, with 16 connections, and how long they take.

By CPU, not by the clock: a busy machine, or the client beside the server, changes little of it.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.figures import FLOOR, OURS, Figure, Say, Size, percentile
from bench.floor import floor_server
from bench.inglenook_pair import two_servers
from bench.load import Wire, one_request, requests_during
from bench.usage import observed
from inglenook.demo.person import Person
from inglenook.files.documents import ROOT_ID as ROOT

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
    "write 1,000 documents in one request": "",
    "_find by an index, 25 of 100,000": "1500",
    "_changes, the last 50 of 100,000": "2000",
    "metadata of a file": "3500",
    "metadata by a path of 20 folders": "",
    "list 100 of 500 children": "600",
    "download 10 KB": "3000",
    "upload 10 KB": "700",
}
MANY = 100_000  # documents behind the index and the feed
DEPTH = 20

Works = dict[str, Callable[[int], Wire]]


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests for each CPU second of the server, and the time that 99 of 100 do not exceed, in milliseconds."""

    per_cpu: float
    p99: float


async def measure(size: Size, folder: Path, say: Say) -> list[Figure]:
    """One figure for each kind of request."""
    say(FLOOR)
    floors = await floor(size, folder / FLOOR)
    say(OURS)
    ours, large = await inglenook(size, folder / OURS)
    figures: list[Figure] = []
    for work, goal in GOALS.items():
        both = {OURS: ours[work]} | ({FLOOR: floors[work]} if work in floors else {})
        values = {name: rate.per_cpu for name, rate in both.items()}
        figures.append(Figure(work, "req / CPU s", values, goal, more_is_better=True))
        figures.append(Figure(f"{work}: p99", "ms", {name: rate.p99 for name, rate in both.items()}))
    return figures + large


async def inglenook(size: Size, folder: Path) -> tuple[dict[str, Rate], list[Figure]]:
    """One server."""
    async with two_servers(folder) as pair:
        await pair.bob.server.stop()
        works = await our_works(pair.alice)
        found = await rates(size, pair.alice.url, works, pair.alice.server.pid)
        return found, await large_download(size, folder, pair.alice)


async def large_download(size: Size, folder: Path, alice: Person) -> list[Figure]:
    """A large file, downloaded: time, CPU and growth of memory of the server."""
    path = folder / "large.bin"
    with path.open("wb") as file:
        block = os.urandom(1 << 20)
        for _ in range(size.large >> 20):
            file.write(block)
    id = await alice.upload(path, ROOT, lambda _: None)
    wire = Wire("GET", f"/files/download/{id}", alice.headers("application/octet-stream"))
    async with observed(alice.server.pid) as usage:
        took = await one_request(alice.url, wire)
    name = f"download {size.large >> 20} MiB"
    return [
        Figure(name, "s", {OURS: took}),
        Figure(f"{name}: CPU", "s", {OURS: usage.cpu}),
        Figure(f"{name}: growth of memory", "MB", {OURS: usage.growth / 1e6}),
    ]


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
    deep = await _make_path(alice)
    query = {"selector": {"kind": "k7", "n": {"$gt": 50_000}}, "limit": 25, "use_index": "by_kind_and_n"}
    find = json.dumps(query).encode()
    bulk = json.dumps({"docs": [DOCUMENT] * 1000}).encode()
    made: dict[str, Any] = await alice.call("POST", f"/data/{DOCTYPE}/", body=body, kind="application/json")
    since = await _fill(alice)
    return {  # first what looks at the documents as they are now
        "_find by an index, 25 of 100,000": lambda _: Wire("POST", f"/data/{DOCTYPE}/_find", json_headers, find),
        "_changes, the last 50 of 100,000": lambda _: Wire(
            "GET", f"/data/{DOCTYPE}/_changes?include_docs=true&since={since}", json_headers
        ),
        "read a document": lambda _: Wire("GET", f"/data/{DOCTYPE}/{made['id']}", json_headers),
        "write a document": lambda _: Wire("POST", f"/data/{DOCTYPE}/", json_headers, body),
        "write 1,000 documents in one request": lambda _: Wire(
            "POST", f"/data/{DOCTYPE}/_bulk_docs", json_headers, bulk
        ),
        "metadata of a file": lambda _: Wire("GET", f"/files/{file}", headers),
        "metadata by a path of 20 folders": lambda _: Wire("GET", f"/files/metadata?Path={deep}", headers),
        "list 100 of 500 children": lambda _: Wire("GET", f"/files/{listed}?page[limit]=100", headers),
        "download 10 KB": lambda _: Wire("GET", f"/files/download/{file}", headers),
        "upload 10 KB": lambda n: Wire("POST", f"/files/{filled}?Type=file&Name=n{n}", headers, CONTENT),
    }


async def _make_path(alice: Person) -> str:
    """A file below many folders; gives its path."""
    parent, path = ROOT, ""
    for level in range(DEPTH):
        parent = await alice.make_folder(f"level-{level}", parent)
        path += f"/level-{level}"
    await alice.write("deep.bin", CONTENT, parent)
    return path + "/deep.bin"


async def _fill(alice: Person) -> str:
    """Many documents with an index; gives the sequence behind which the last 50 are."""
    index = {"index": {"fields": ["kind", "n"]}, "ddoc": "by_kind_and_n"}
    await alice.call("POST", f"/data/{DOCTYPE}/_index", body=json.dumps(index).encode(), kind="application/json")
    before = ""
    for start in range(0, MANY, 1000):
        if start == MANY - 1000:
            newest = await alice.call("GET", f"/data/{DOCTYPE}/_changes?limit=1&descending=true")
            before = newest["last_seq"]
        documents = [{**DOCUMENT, "kind": f"k{n % 20}", "n": n} for n in range(start, start + 1000)]
        body = json.dumps({"docs": documents}).encode()
        await alice.call("POST", f"/data/{DOCTYPE}/_bulk_docs", body=body, kind="application/json")
    feed = await alice.call("GET", f"/data/{DOCTYPE}/_changes?limit=950&since={before}")
    return feed["last_seq"]


async def floor(size: Size, folder: Path) -> dict[str, Rate]:
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


async def rates(size: Size, url: str, works: Works, pid: int) -> dict[str, Rate]:
    """What each kind of request costs."""
    found: dict[str, Rate] = {}
    for work, make in works.items():
        warm = len(await requests_during(0.3, size.connections, url, make))
        async with observed(pid) as usage:
            took = await requests_during(size.seconds, size.connections, url, lambda n, w=warm, m=make: m(n + w + 16))
        found[work] = Rate(len(took) / max(usage.cpu, 0.01), 1000 * percentile(took, 0.99))
    return found
