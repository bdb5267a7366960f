"""A full disk refuses what does not fit, changes nothing, and is usable again when there is room."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from inglenook.kernel.errors import OutOfSpace
from inglenook.storage.documents.contract import Writer
from inglenook.storage.documents.sqlite import SqliteStores
from inglenook.storage.documents.sqlite_store import SqliteStore

from .backends import environment

TODO = "io.cozy.todos"
NAMESPACE = ["unshare", "--mount", "--user", "--map-root-user"]


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    probe = [*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="this system does not let us mount a small disk")
def test_a_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    root = Path(__file__).parents[len(str(__package__).split("."))]
    command = [*NAMESPACE, sys.executable, "-m", f"{__package__}.filling_disk", str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "ok"), done.stderr


@pytest.mark.anyio
@pytest.mark.parametrize("threads", [True, False])
async def test_a_file_that_may_not_grow_refuses_only_what_does_not_fit(tmp_path: Path, threads: bool) -> None:
    stores = SqliteStores(tmp_path, environment(), threads=threads)
    store = await stores.open("alice")
    assert isinstance(store, SqliteStore)
    await store.write(lambda tx: tx.put(TODO, "before", {}))

    def limit_pages(tx: Writer, room: int) -> None:
        execute = tx._execute  # type: ignore[attr-defined]
        execute(f"PRAGMA max_page_count = {execute('PRAGMA page_count').get + room}")

    await store.write(lambda tx: limit_pages(tx, 2))
    with pytest.raises(OutOfSpace):
        await store.write(lambda tx: tx.put(TODO, "large", {"text": "x" * 1_000_000}))
    await store.write(lambda tx: tx.put(TODO, "small", {}))
    await store.write(lambda tx: limit_pages(tx, 1000))
    await store.write(lambda tx: tx.put(TODO, "large", {"text": "x" * 1_000_000}))
    found = await store.read(lambda view: [doc.id for doc in view.all_docs(TODO)])
    assert found == ["before", "large", "small"]
    assert [entry.id for entry in await store.read(lambda view: view.journal(since=0))] == ["before", "small", "large"]
    await stores.close()
