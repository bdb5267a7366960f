"""A real server for each module, and alice on it."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

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


@pytest.fixture
def website() -> Iterator[dict[str, tuple[int, bytes]]]:
    """A web server on this machine; the answers by path, and under "" its origin."""
    answers: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path, (404, b""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    answers[""] = f"http://127.0.0.1:{web.server_port}"
    Thread(target=web.serve_forever, daemon=True).start()
    yield answers
    web.shutdown()
    web.server_close()


@pytest.fixture
def shopper(tmp_path: Path, website: dict[str, Any]) -> Iterator[Person]:
    """Somebody whose context names two registries, of which the first one knows nothing."""
    registries = [f"{website['']}/empty", f"{website['']}/"]
    server = RunningServer(tmp_path / "data", contexts={"default": {"registries": registries}}).start()
    yield server.add("alice", passphrase="cozy")
    server.stop()
