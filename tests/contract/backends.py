"""The backends that the contract is proved for. A new one (PostgreSQL) is one more entry of `BACKENDS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from inglenook.environment import Clock, Config, Environment
from inglenook.storage.blobs.contract import BlobStores
from inglenook.storage.blobs.local import LocalBlobStores
from inglenook.storage.blobs.memory import MemoryBlobStores
from inglenook.storage.documents.contract import DocumentStores
from inglenook.storage.documents.sqlite import SqliteStores


class SteppedClock(Clock):
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    def step(self, seconds: float) -> None:
        """Let time pass."""
        self.moment += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Backend:
    """One way to store: `documents` and `blobs` below a folder, or what stands for it. `durable` says that a new
    process finds what an older one wrote."""

    name: str
    documents: Callable[[Path, Environment, BlobStores], DocumentStores]
    blobs: Callable[[Path, Environment], BlobStores]
    durable: bool


def memory_documents(_: Path, env: Environment, blobs: BlobStores) -> DocumentStores:
    assert isinstance(blobs, MemoryBlobStores)
    return SqliteStores(None, env, blob_present=blobs.present)


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend(
            "sqlite",
            documents=lambda folder, env, _: SqliteStores(folder, env),
            blobs=lambda folder, env: LocalBlobStores(folder, env.clock),
            durable=True,
        ),
        Backend(
            "sqlite-without-threads",
            documents=lambda folder, env, _: SqliteStores(folder, env, threads=False),
            blobs=lambda folder, env: LocalBlobStores(folder, env.clock),
            durable=True,
        ),
        Backend(
            "sqlite-in-memory",
            documents=memory_documents,
            blobs=lambda _, env: MemoryBlobStores(env.clock),
            durable=False,
        ),
    )
}


def environment() -> Environment:
    """An environment with a clock that stands still."""
    return Environment(Config(), clock=SteppedClock())
