"""A real server for each module, and alice on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.servers import Person, RunningServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The whole application on a free port."""
    running = RunningServer(tmp_path_factory.mktemp("data")).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def alice(server: RunningServer) -> Person:
    """An instance that is onboarded, with the passphrase `cozy`."""
    return server.add("alice", passphrase="cozy")
