"""`kill -9` in the middle of writes: what was acknowledged is there, and nothing is half there."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from inglenook.storage.contents import Contents
from inglenook.storage.documents.contract import DocumentStore

from .backends import BACKENDS, environment
from .crashing_writer import BY_NUMBER, DOCTYPE, body_of, content_of

pytestmark = pytest.mark.anyio
ROUNDS = 4


def write_until_killed(backend: str, folder: Path, first: int, acknowledged: int) -> list[int]:
    """Run the writer and kill it after that many acknowledgements; gives all that it has acknowledged."""
    command = [sys.executable, "-m", f"{__package__}.crashing_writer", backend, str(folder), str(first)]
    root = Path(__file__).parents[len(str(__package__).split("."))]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, env=environ)
    assert process.stdout is not None
    numbers: list[int] = []
    for line in process.stdout:
        numbers.append(int(line))
        if len(numbers) == acknowledged:
            process.kill()
    process.wait()
    assert process.returncode == -9
    return numbers


async def check(store: DocumentStore, contents: Contents, acknowledged: set[int]) -> None:
    """All that was acknowledged is there; of the rest, each write is there as a whole or not at all."""
    docs = await store.scan(lambda view: view.all_docs(DOCTYPE, end="9" * 9, limit=10**6))
    found = {doc.id: doc for doc in docs}
    written = {int(id[:8]) for id in found}
    assert acknowledged <= written
    assert found.keys() == {f"{number:08}{side}" for number in written for side in "ab"}
    assert all(doc.body == body_of(int(id[:8])) for id, doc in found.items())
    counter = await store.read(lambda view: view.find(DOCTYPE, "counter"))
    assert counter.body == {"writes": len(written)}
    assert counter.rev.startswith(f"{len(written)}-")
    records = await store.scan(lambda view: view.record_feed("crash", "all", limit=10**6))
    assert {int(record.id) for record in records} == written
    keys = await store.scan(lambda view: [entry.key for entry in view.index(BY_NUMBER, limit=10**6)])
    assert keys == [b"%08d" % number for number in sorted(written) for _ in "ab"]
    entries = await store.scan(lambda view: view.journal(since=0, limit=10**6))
    assert len(entries) == 3 * len(written)
    assert [entry.seq for entry in entries] == sorted({entry.seq for entry in entries})
    status = await store.read(lambda view: view.status(DOCTYPE))
    assert (status.live, status.deleted) == (2 * len(written) + 1, 0)
    assert status.last_seq == entries[-1].seq
    for number in written:
        content = await store.read(lambda view, number=number: view.content(DOCTYPE, f"{number:08}a"))
        assert (content is None) == (number % 5 != 0)
        if content is not None:
            assert b"".join([piece async for piece in contents.read(content)]) == content_of(number)


@pytest.mark.parametrize("backend", [name for name, backend in BACKENDS.items() if backend.durable])
async def test_a_killed_server_has_lost_nothing_it_acknowledged(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    for server in BACKENDS[backend].needs:
        request.getfixturevalue(server)
    chance, acknowledged, first = random.Random(backend), set[int](), 0
    for _ in range(ROUNDS):
        numbers = await asyncio.to_thread(write_until_killed, backend, tmp_path, first, chance.randrange(1, 300))
        acknowledged |= set(numbers)
        first = max(acknowledged) + 1000
        env = environment()
        blobs = BACKENDS[backend].blobs(tmp_path, env)
        stores = BACKENDS[backend].documents(tmp_path, env, blobs)
        store = await stores.open("alice", indexes=[BY_NUMBER])
        await check(store, Contents(store, blobs.of("alice"), env), acknowledged)
        await stores.close()
    if BACKENDS[backend].on_disk:
        with sqlite3.connect(tmp_path / "alice" / "documents.sqlite") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
