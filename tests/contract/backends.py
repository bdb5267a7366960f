"""The backends that the contract is proved for."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.services import objects_url, schema_url

from inglenook.environment import Clock, Config, Environment
from inglenook.storage.blobs.contract import BlobStores
from inglenook.storage.blobs.local import LocalBlobStores
from inglenook.storage.blobs.memory import MemoryBlobStores
from inglenook.storage.blobs.objects import ObjectBlobStores
from inglenook.storage.bus import Bus
from inglenook.storage.documents.contract import DocumentStores
from inglenook.storage.documents.postgres import PostgresStores
from inglenook.storage.documents.sqlite import SqliteStores

POSTGRES_URL = "TEST_POSTGRES_URL"
OBJECTS_URL = "TEST_OBJECTS_URL"


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
    process finds what an older one wrote, `on_disk` that it is in that folder;
    `needs` are the servers that must run, by the variables of their URLs."""

    name: str
    documents: Callable[[Path, Environment, BlobStores], DocumentStores]
    blobs: Callable[[Path, Environment], BlobStores]
    durable: bool
    on_disk: bool = False
    needs: tuple[str, ...] = ()


def memory_documents(_: Path, env: Environment, blobs: BlobStores) -> DocumentStores:
    assert isinstance(blobs, MemoryBlobStores)
    return SqliteStores(None, env, blob_present=blobs.present)


def postgres_documents(folder: Path, env: Environment, blobs: BlobStores) -> DocumentStores:
    assert isinstance(blobs, LocalBlobStores)
    url = schema_url(os.environ[POSTGRES_URL], folder)
    return PostgresStores(url, env, Bus(), blob_present=lambda name, sha256: blobs.of(name).keep(sha256))


def postgres_and_objects(folder: Path, env: Environment, blobs: BlobStores) -> DocumentStores:
    assert isinstance(blobs, ObjectBlobStores)
    url = schema_url(os.environ[POSTGRES_URL], folder)
    return PostgresStores(url, env, Bus(), blob_present=blobs.present)


def sqlite_and_objects(_: Path, env: Environment, blobs: BlobStores) -> DocumentStores:
    assert isinstance(blobs, ObjectBlobStores)
    return SqliteStores(None, env, blob_present=blobs.present)


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend(
            "sqlite",
            documents=lambda folder, env, _: SqliteStores(folder, env),
            blobs=lambda folder, env: LocalBlobStores(folder, env.clock),
            durable=True,
            on_disk=True,
        ),
        Backend(
            "sqlite-without-threads",
            documents=lambda folder, env, _: SqliteStores(folder, env, threads=False),
            blobs=lambda folder, env: LocalBlobStores(folder, env.clock),
            durable=True,
            on_disk=True,
        ),
        Backend(
            "sqlite-in-memory",
            documents=memory_documents,
            blobs=lambda _, env: MemoryBlobStores(env.clock),
            durable=False,
        ),
        Backend(
            "postgres",
            documents=postgres_documents,
            blobs=lambda folder, env: LocalBlobStores(folder, env.clock),
            durable=True,
            needs=(POSTGRES_URL,),
        ),
        Backend(
            "postgres-and-s3",
            documents=postgres_and_objects,
            blobs=lambda folder, env: ObjectBlobStores(objects_url(os.environ[OBJECTS_URL], folder), env),
            durable=True,
            needs=(POSTGRES_URL, OBJECTS_URL),
        ),
        Backend(
            "sqlite-and-objects-in-memory",
            documents=sqlite_and_objects,
            blobs=lambda _, env: ObjectBlobStores("memory://", env),
            durable=False,
        ),
    )
}


def environment() -> Environment:
    """An environment with a clock that stands still."""
    return Environment(Config(), clock=SteppedClock())
