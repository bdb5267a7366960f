"""Document stores on SQLite: one folder per instance, `<folder>/<name>/documents.sqlite` (docs/decisions/0001)."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import apsw

from inglenook.environment import Environment
from inglenook.kernel.errors import Unavailable
from inglenook.storage.blobs.local import LocalBlobStores
from inglenook.storage.bus import Bus
from inglenook.storage.documents.contract import Hook, Index
from inglenook.storage.documents.freed import give_back
from inglenook.storage.documents.sqlite_copy import put_in_place
from inglenook.storage.documents.sqlite_schema import MEMORY, connect_reader, connect_writer
from inglenook.storage.documents.sqlite_store import SqliteStore, StoreOptions
from inglenook.storage.documents.sqlite_writer import JOURNAL_KEPT
from inglenook.storage.documents.turn import wait_for_turn

FILE = "documents.sqlite"
THREADS = 6  # for commits, scans, opening and closing, of all instances together
MOST_AWAKE = 200  # stores with open connections; each costs some five file descriptors
IDLE_SECONDS = 30.0  # then they are closed: opening them again takes two milliseconds
SWEEP_SECONDS = 10.0
MAKING = ".making"  # locked by the process that makes a store
REMOVED = ".removed-"  # prefix of the folders on their way out

BlobPresent = Callable[[str, str], bool]
"""Whether the blob store of an instance (its name) has a SHA-256, which is thereby saved from the collector."""


class SqliteStores:
    """The stores of all instances below a folder (see `DocumentStores` of the contract).

    `folder` None keeps everything in memory, for as long as this object lives (closing a store loses nothing).
    With `threads` False, or in memory, everything runs on the event loop and nothing depends on threads or timers,
    as a simulation needs it. `blob_present` is asked when a document shall name a content that no other document
    names; by default the local blobs in the same folder are. `bus` carries the news of commits, to other processes as
    well when it has a relay; `among_others` says that there are such processes.
    """

    def __init__(
        self,
        folder: Path | None,
        env: Environment,
        *,
        threads: bool = True,
        blob_present: BlobPresent | None = None,
        bus: Bus | None = None,
        among_others: bool = False,
        most_awake: int = MOST_AWAKE,
        journal_kept: int = JOURNAL_KEPT,
    ) -> None:
        self._folder = folder
        self._env = env
        self._pool = ThreadPoolExecutor(THREADS, "storage") if threads and folder is not None else None
        self._blob_present = blob_present or _present_below(folder, env)
        self._bus = bus or Bus()
        self._among_others = among_others
        self._most_awake = most_awake
        self._journal_kept = journal_kept
        self._stores: dict[str, SqliteStore] = {}
        self._opening: dict[str, asyncio.Task[SqliteStore]] = {}
        self._memories: dict[str, apsw.Connection] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._sleeping: set[asyncio.Task[None]] = set()
        if folder is not None and folder.is_dir():
            for left in folder.glob(f"{REMOVED}*"):
                shutil.rmtree(left, ignore_errors=True)

    async def open(self, name: str, *, indexes: Sequence[Index] = (), hooks: Sequence[Hook] = ()) -> SqliteStore:
        """Open (make, if needed) the store of an instance. Raises Unavailable and OutOfSpace."""
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
        """Whether there is a store of that name."""
        if self._folder is None:
            return name in self._memories
        return (self._folder / _checked(name) / FILE).exists()

    @asynccontextmanager
    async def making(self, name: str) -> AsyncGenerator[None]:
        """The turn to make a store anew, of all stores of the folder. Raises Unavailable when it does not come."""
        if self._folder is None:
            yield
            return
        fd = _lock_file(self._folder)
        try:
            await wait_for_turn(lambda: _locked(fd))
            yield
        finally:
            os.close(fd)

    async def destroy(self, name: str) -> None:
        """Delete a store with everything in its folder; nothing happens when it is not there."""
        if name in self._opening:
            await asyncio.wait([self._opening[name]])
        store = self._stores.pop(name, None)
        if store is not None:
            await store.close()
        memory = self._memories.pop(name, None)
        if memory is not None:
            memory.close()
        if self._folder is None:
            return
        await self._run(_remove_folder, self._folder, _checked(name))

    async def install(self, name: str, source: str) -> None:
        """Make a store, which must not be there, from the file of a backup."""
        if self._folder is None:
            raise Unavailable("A store in memory is not made from a file")
        path = self._folder / _checked(name) / FILE
        await self._run(_make_folder, path.parent)
        await self._run(put_in_place, source, str(path))

    async def close(self) -> None:
        """Close all that is open."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        if self._opening:
            await asyncio.wait(list(self._opening.values()))
        if self._sleeping:
            await asyncio.wait(list(self._sleeping))
        stores, self._stores = list(self._stores.values()), {}
        await asyncio.gather(*(store.close() for store in stores))
        if self._pool is not None:
            self._pool.shutdown(wait=False)

    def names(self) -> list[str]:
        """The names of the stores that exist."""
        if self._folder is None:
            return sorted(self._memories)
        return sorted(path.parent.name for path in self._folder.glob(f"[!.]*/{FILE}"))

    @property
    def awake(self) -> int:
        """How many stores have open connections."""
        return sum(store.awake for store in self._stores.values())

    async def _open(self, name: str, indexes: Sequence[Index], hooks: Sequence[Hook]) -> SqliteStore:
        blob_present = self._blob_present
        options = StoreOptions(
            env=self._env,
            pool=self._pool,
            indexes=indexes,
            hooks=hooks,
            blob_present=lambda sha256: blob_present(name, sha256),
            bus=self._bus,
            woken=self._woken,
            journal_kept=self._journal_kept,
            among_others=self._among_others,
        )
        if self._folder is None:
            memory = self._memories.get(name)
            if memory is None:
                memory = self._memories[name] = connect_writer(MEMORY)
            store = SqliteStore(name, None, options, memory)
        else:
            path = self._folder / _checked(name) / FILE
            if not path.exists():
                await self._run(_make_folder, path.parent)
            store = SqliteStore(name, path, options)
        await store.prepare()
        self._stores[name] = store
        return store

    async def _run(self, job: Callable[..., None], *values: object) -> None:
        if self._pool is None:
            job(*values)
        else:
            await asyncio.get_running_loop().run_in_executor(self._pool, job, *values)

    # -- stores that nobody uses

    def _woken(self, store: SqliteStore) -> None:
        if self._pool is None:
            return
        awake = [other for other in self._stores.values() if other.awake and other is not store and not other.busy]
        if len(awake) >= self._most_awake:
            self._put_to_sleep(min(awake, key=lambda other: other.last_used))
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        awake = [store for store in self._stores.values() if store.awake]
        idle = [store for store in awake if loop.time() - store.last_used > IDLE_SECONDS]
        if idle:
            self._put_to_sleep(*idle)
        self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep) if awake else None

    def _put_to_sleep(self, *stores: SqliteStore) -> None:
        task = asyncio.get_running_loop().create_task(self._send_to_sleep(stores))
        self._sleeping.add(task)
        task.add_done_callback(self._sleeping.discard)

    async def _send_to_sleep(self, stores: Sequence[SqliteStore]) -> None:
        await asyncio.gather(*(store.sleep() for store in stores))
        if not any(store.busy for store in self._stores.values()):
            await self._run(give_back)


def _lock_file(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / MAKING, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"The storage is out of reach: {error}") from error


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _checked(name: str) -> str:
    """A name that is safe as the name of a folder. Raises ValueError."""
    if not name or name[0] == "." or "/" in name or "\0" in name:
        raise ValueError(f"Not a name of a store: {name!r}")
    return name


def _present_below(folder: Path | None, env: Environment) -> BlobPresent:
    if folder is None:
        return lambda name, sha256: False
    blobs = LocalBlobStores(folder, env.clock)
    return lambda name, sha256: blobs.of(name).keep(sha256)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in (folder, folder.parent):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
    except OSError as error:
        raise Unavailable(f"The storage is out of reach: {error}") from error


def _remove_folder(parent: Path, name: str) -> None:
    """Rename, then remove: what a crash leaves half removed is no store any more."""
    gone = parent / f"{REMOVED}{name}"
    try:
        shutil.rmtree(gone, ignore_errors=True)
        (parent / name).rename(gone)
    except FileNotFoundError:
        return
    with suppress(apsw.Error):  # the disk may be full, or the file damaged
        connection = connect_reader(str(gone / FILE))
        connection.execute("PRAGMA query_only = OFF; DELETE FROM meta")  # other processes that have it open meet "gone"
        connection.close()
    shutil.rmtree(gone, ignore_errors=True)
