"""Real clients of the ecosystem, in Node."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.clients import packages
from tests.clients.node import Node
from tests.servers import Person, RunningServer


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    """The npm packages of the clients."""
    packages.install()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The whole application on a free port."""
    running = RunningServer(tmp_path_factory.mktemp("data")).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def alice(server: RunningServer) -> Person:
    """Somebody who uses the clients."""
    return server.add("alice", passphrase="cozy")


@pytest.fixture(scope="module", params=["7", "9"])
def pouch(request: pytest.FixtureRequest, alice: Person) -> Iterator[Node]:
    """PouchDB, in both versions that are in use, with alice's rights on the doctypes of tests."""
    pouch = Node("pouch.mjs", alice, alice.token("io.cozy.tests.*"), request.param)
    yield pouch
    pouch.close()


@pytest.fixture(scope="module")
def cozy(alice: Person) -> Iterator[Node]:
    """cozy-client with alice's rights on files and on the doctypes of tests."""
    node = Node("cozy.mjs", alice, alice.token("io.cozy.files", "io.cozy.tests", "io.cozy.tests.*", "io.cozy.settings"))
    yield node
    node.close()
