"""A server that floods another one with requests is asked for patience; who is asked, gives it (spec/11 §7)."""

from __future__ import annotations

import select
import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from tests import backend

from .conftest import Town
from .fake_peer import FakePeer, Reply
from .peers import Visit, peer, visit
from .people import folder_rule
from .processes import eventually

__all__ = ["peer", "visit"]

HELD = 64
"""Requests of one member that each process of a server takes at a time."""


def hold_open(visit: Visit) -> socket.socket:
    """A request whose body never ends."""
    parts = urlsplit(visit.deal.other)
    line = socket.create_connection(("127.0.0.1", parts.port or 80))
    line.sendall(
        f"POST /sharings/{visit.deal.id}/_bulk_docs HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 1000\r\n"
        f"Authorization: Bearer {visit.deal.theirs}\r\nContent-Type: application/json\r\n\r\n{{".encode()
    )
    return line


def waiting(lines: list[socket.socket]) -> list[socket.socket]:
    """Those of the held requests that have no answer yet."""
    answered, _, _ = select.select(lines, [], [], 0)
    return [line for line in lines if line not in answered]


def status(visit: Visit) -> int:
    """What a request of the same member is answered."""
    answer = visit.peer.send(visit.deal, "POST", "/_revs_diff", {})
    assert answer.status_code == 200 or answer.headers["retry-after"] == "1"
    return answer.status_code


@pytest.mark.timeout(180)
def test_one_that_has_too_many_requests_open_is_asked_for_patience(visit: Visit) -> None:
    visit.peer.send_file(visit.deal, visit.peer.file(visit.deal, "before.txt", b"before"), b"before")
    with ExitStack() as lines:
        places = HELD * backend.chosen.processes
        held = [lines.enter_context(hold_open(visit)) for _ in range(places)]

        def full() -> bool:
            if len(waiting(held)) == places and status(visit) == 429:
                return True
            # an answered request may have had the last place when a held one came, which was refused then and is gone;
            # and a process may have got more of them than another one
            if len(waiting(held)) < places:
                held.append(lines.enter_context(hold_open(visit)))
            return False

        eventually(full, "the limit")
        assert visit.person.read(visit.person.find(visit.place, "before.txt")) == b"before", "its user notices nothing"
    eventually(lambda: status(visit) == 200, "the limit has gone with the requests")


def test_one_that_is_asked_for_patience_waits_as_long(town: Town, peer: FakePeer) -> None:
    alice = town.alice
    root = alice.mkdir("Patience")
    contact = alice.contact(peer.name, peer.email, peer.url)
    deal = peer.join(alice, alice.share("Patience", [folder_rule("Patience", root)], [contact]))
    peer.awaits("DELETE", "/initial$")
    busy = peer.on(
        "PUT", "/metadata$", lambda _: Reply(429, {"error": "Too Many Requests"}, headers={"Retry-After": "2"})
    )
    alice.upload("later.txt", b"later", root)
    peer.awaits("PUT", "/metadata$")
    busy()
    asked = len(peer.got("PUT", "/metadata$"))
    eventually(lambda: deal.named("later.txt"), "the file, after a while")
    assert len(peer.got("PUT", "/metadata$")) == asked + 1, "nothing was asked in between"
