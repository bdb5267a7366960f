"""Real clients of the ecosystem, in Node. Their packages are installed once by npm, next to this file."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from tests.clients.pouch import FOLDER, Pouch
from tests.servers import Person, RunningServer


@pytest.fixture(scope="session")
def packages() -> None:
    """The npm packages of the clients."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    if not (FOLDER / "node_modules" / "pouchdb-core").exists():
        made = subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"],
            cwd=FOLDER, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        if made.returncode:
            pytest.skip(f"the packages of the clients cannot be installed: {made.stderr[-300:]}")


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


@pytest.fixture(scope="module")
def pouch(packages: None, alice: Person) -> Iterator[Pouch]:
    """PouchDB with alice's rights on the doctypes of tests."""
    pouch = Pouch(alice, "io.cozy.tests.*")
    yield pouch
    pouch.close()
