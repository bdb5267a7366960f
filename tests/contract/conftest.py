"""A server's storage on each backend: `place` knows how to open it, `store` is one instance, open and empty."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from tests import services

from inglenook.environment import Environment
from inglenook.storage.blobs.contract import BlobStore
from inglenook.storage.contents import Contents
from inglenook.storage.documents.contract import DocumentStore, DocumentStores, Hook, Index

from .backends import BACKENDS, OBJECTS_URL, POSTGRES_URL, Backend, SteppedClock, environment


class Place:
    """Where a server keeps its data: it can be closed and opened again, as a restart does."""

    def __init__(self, backend: Backend, folder: Path, env: Environment) -> None:
        self.backend = backend
        self.folder = folder
        self.env = env
        self.all_blobs = backend.blobs(folder, env)
        self.stores: DocumentStores = backend.documents(folder, env, self.all_blobs)

    @property
    def clock(self) -> SteppedClock:
        assert isinstance(self.env.clock, SteppedClock)
        return self.env.clock

    @property
    def blobs(self) -> BlobStore:
        return self.all_blobs.of("alice")

    async def open(self, *, indexes: Sequence[Index] = (), hooks: Sequence[Hook] = ()) -> DocumentStore:
        return await self.stores.open("alice", indexes=indexes, hooks=hooks)

    async def reopen(self, *, indexes: Sequence[Index] = (), hooks: Sequence[Hook] = ()) -> DocumentStore:
        """Close everything and open it as a new process would."""
        await self.stores.close()
        if self.backend.durable:
            self.stores = self.backend.documents(self.folder, self.env, self.all_blobs)
        return await self.open(indexes=indexes, hooks=hooks)

    def contents(self, store: DocumentStore) -> Contents:
        return Contents(store, self.blobs, self.env)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def TEST_POSTGRES_URL() -> Iterator[str]:
    """A PostgreSQL server; the processes that tests start find it by the variable of this name."""
    with services.postgres() as url:
        os.environ[POSTGRES_URL] = url
        yield url
        del os.environ[POSTGRES_URL]


@pytest.fixture(scope="session")
def TEST_OBJECTS_URL() -> Iterator[str]:
    """An S3 server."""
    with services.object_store() as url:
        os.environ[OBJECTS_URL] = url
        yield url
        del os.environ[OBJECTS_URL]


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis server."""
    with services.redis() as url:
        yield url


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Backend:
    chosen = BACKENDS[request.param]
    for server in chosen.needs:
        request.getfixturevalue(server)
    return chosen


@pytest.fixture
async def place(backend: Backend, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Place]:
    place = Place(backend, tmp_path, environment())
    yield place
    await place.stores.close()


@pytest.fixture
async def store(place: Place) -> DocumentStore:
    return await place.open()
