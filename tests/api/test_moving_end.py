"""The end of a move is told to its source until that has heard of it (spec/12 §13)."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from tests.servers import Person, RunningServer

from inglenook.moving import import_job
from inglenook.moving.import_job import MoveFrom


class Source:
    """A server that gives the answers of a list, one after the other."""

    def __init__(self, *answers: int) -> None:
        heard = self.heard = list[str]()
        left = list(answers)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                heard.append(f"{self.path} {self.headers['Authorization']}")
                self.send_response(left.pop(0))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def stop(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def alice(server: RunningServer) -> Iterator[Person]:
    """Somebody who has moved here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_job, "FIRST_REST", 0.01)
        patch.setattr(import_job, "TRIES", 3)
        yield server.add("endalice", passphrase="cozy")


@pytest.mark.parametrize(
    ("answers", "asked", "agreed"),
    [((204,), 1, True), ((503, 500, 204), 3, True), ((403,), 1, False), ((500, 500, 500), 3, False)],
)
def test_the_source_is_told_again_while_it_cannot_hear(
    alice: Person, answers: tuple[int, ...], asked: int, agreed: bool
) -> None:
    source = Source(*answers)
    try:
        told = MoveFrom(source.url, "the token")
        heard = alice.server.do(lambda _: import_job.tell_until_heard(alice.instance, told, "finalize"))
    finally:
        source.stop()
    assert heard is agreed
    assert source.heard == ["/move/finalize?subdomain=nested Bearer the token"] * asked
