"""A farm of processes, with or without Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests import services
from tests.federation.people import Person

from .farm import Farm


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server."""
    with services.postgres() as url:
        yield url


@pytest.fixture(scope="session")
def redis() -> Iterator[str]:
    """A Redis server."""
    with services.redis() as url:
        yield url


@pytest.fixture(scope="session")
def objects() -> Iterator[str]:
    """An S3 server."""
    with services.object_store() as url:
        yield url


@pytest.fixture(scope="module", params=["redis", "postgres"])
def farm(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres: str, objects: str
) -> Iterator[Farm]:
    """Two processes for the web and two that work in the background; they wake each other over Redis or PostgreSQL."""
    tmp_path = tmp_path_factory.mktemp("farm")
    environ = {
        "INGLENOOK_DATABASE_URL": services.schema_url(postgres, tmp_path),
        "INGLENOOK_BLOBS_URL": services.objects_url(objects, tmp_path),
    }
    if request.param == "redis":
        environ["INGLENOOK_BUS_URL"] = request.getfixturevalue("redis")
    farm = Farm(tmp_path, environ)
    try:
        yield farm.start()
    finally:
        farm.stop()


@pytest.fixture(scope="module")
def alice(farm: Farm) -> Person:
    """Alice, who lives on the farm."""
    return Person(farm, "alice").move_in()  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def bob(farm: Farm) -> Person:
    """Bob, who lives there too."""
    return Person(farm, "bob").move_in()  # type: ignore[arg-type]
