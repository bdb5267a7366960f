"""A database that is away for a while: what was waiting goes on when it is back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests import services
from tests.federation.fake_peer import FakePeer, Reply
from tests.federation.people import Person, folder_rule
from tests.federation.processes import Server, eventually

NAME = "outage"


@pytest.fixture
def alice(tmp_path: Path, postgres: str, objects: str) -> Iterator[Person]:
    """Alice, on a database of her own."""
    command(postgres, f"CREATE DATABASE {NAME}")
    environ = {
        "INGLENOOK_DATABASE_URL": postgres.replace("///postgres?", f"///{NAME}?"),
        "INGLENOOK_BLOBS_URL": services.objects_url(objects, tmp_path),
    }
    server = Server(tmp_path / "alice", environ).start()
    yield Person(server, "alice").move_in()
    server.kill()
    assert '"level":"error"' not in server.log


@pytest.fixture
def peer() -> Iterator[FakePeer]:
    """A member."""
    peer = FakePeer("bob5").start()
    yield peer
    peer.stop()


def command(postgres: str, sql: str) -> None:
    """A command of the database's operator."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(sql)  # type: ignore[arg-type]


def test_steps_and_files_go_on(alice: Person, peer: FakePeer, postgres: str) -> None:
    root = alice.mkdir("Outage")
    contact = alice.contact(peer.name, peer.email, peer.url)
    deal = peer.join(alice, alice.share("Outage", [folder_rule("Outage", root)], [contact]))
    peer.awaits("DELETE", "/initial$")
    back = [peer.on(method, "/sharings/", lambda call: Reply(503)) for method in ("PUT", "POST")]
    carol = alice.contact("carol", "carol@example.com")
    relationships = {"recipients": {"data": [{"id": carol, "type": "io.cozy.contacts"}]}}
    alice.do("POST", f"/sharings/{deal.id}/recipients", body={"data": {"relationships": relationships}})
    alice.upload("waiting.txt", b"waiting", root)
    peer.awaits("PUT", "/recipients$")

    command(postgres, f"ALTER DATABASE {NAME} ALLOW_CONNECTIONS false")
    command(postgres, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{NAME}'")
    eventually(lambda: alice.server.log.count('"work_failed"') >= 2, "work falls into the outage")
    command(postgres, f"ALTER DATABASE {NAME} ALLOW_CONNECTIONS true")
    told = len(peer.got("PUT", "/recipients$"))
    for end in back:
        end()
    eventually(lambda: len(peer.got("PUT", "/recipients$")) > told, "the list of members comes", 60)
    eventually(lambda: deal.named("waiting.txt"), "the file comes", 60)
    alice.upload("after.txt", b"after", root)
    eventually(lambda: deal.named("after.txt"), "what is written afterwards comes", 60)
