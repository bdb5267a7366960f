"""A server that fails at certain documents, whichever way it fails, gets all others (spec/00, spec/05 §22; spec/11)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import Town
from .fake_peer import Call, Deal, FakePeer, Reply
from .people import Person, folder_rule
from .processes import eventually

FAILURES = {
    "not a word": Reply(200, cut=True),
    "half an answer": Reply(200, raw=b'{"ke', headers={"Content-Length": "100"}, cut=True),
    "502": Reply(502, raw=b"<html>Bad Gateway"),
    "503": Reply(503, raw=b"<html>Service Unavailable"),
    "503 with patience": Reply(503, raw=b"busy", headers={"Retry-After": "1"}),
    "429": Reply(429, {"error": "slow down"}, headers={"Retry-After": "1"}),
    "504": Reply(504, raw=b""),
    "500": Reply(500, {"errors": []}),
    "a loop": Reply(307, headers={"Location": "/sharings/loop/metadata"}),
}
TITLES = iter(f"Failing {number}" for number in range(1000))


@pytest.fixture
def frail() -> Iterator[FakePeer]:
    """A recipient whose server fails at some documents."""
    peer = FakePeer("carol4").start()
    yield peer
    peer.stop()


def share(alice: Person, peer: FakePeer) -> tuple[str, Deal]:
    """A folder of alice's that the peer has joined."""
    title = next(TITLES)
    root = alice.mkdir(title)
    contact = alice.contact(peer.name, peer.email, peer.url)
    deal = peer.join(alice, alice.share(title, [folder_rule(title, root)], [contact]))
    peer.awaits("DELETE", f"{deal.id}/initial$")
    return root, deal


def is_bad(document: Any) -> bool:
    """Whether this is one that the peer fails at."""
    return isinstance(document, dict) and str(document.get("name", "")).startswith("bad")


def waiting(alice: Person, deal: Deal) -> int:
    """How many documents wait for the peer, as alice is told."""
    members = alice.do("GET", f"/sharings/{deal.id}/status")["data"]["attributes"]["members"]
    return members[1]["pending"]["documents"]


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("count", [1, 5])
def test_files_at_which_a_server_fails_stop_no_others(town: Town, frail: FakePeer, failure: Reply, count: int) -> None:
    alice = town.alice
    root, deal = share(alice, frail)

    def answer(call: Call) -> Reply:
        return failure if is_bad(call.json_or_none()) else frail.usual(call)

    end = frail.on("PUT", "/metadata$", answer)
    bad = [f"bad {number}.txt" for number in range(count)]
    good = [f"good {number}.txt" for number in range(80)]
    for name in [*bad, *good]:
        alice.upload(name, name.encode(), root)
    eventually(lambda: all(deal.named(name) for name in good), "all others arrive", 40)
    eventually(lambda: waiting(alice, deal) == count, "what waits is told")
    assert not any(deal.named(name) for name in bad)
    end()
    eventually(lambda: all(deal.named(name) for name in bad), "the others follow by themselves", 60)


@pytest.mark.parametrize("kind", ["not a word", "502"])
def test_a_folder_at_which_a_server_fails_stops_no_others(town: Town, frail: FakePeer, kind: str) -> None:
    alice = town.alice
    root, deal = share(alice, frail)

    def answer(call: Call) -> Reply:
        listed = (call.json_or_none() or {}).get("io.cozy.files", ())
        return FAILURES[kind] if any(map(is_bad, listed)) else frail.usual(call)

    end = frail.on("POST", "/_bulk_docs$", answer)
    alice.mkdir("bad", root)
    for number in range(10):
        alice.mkdir(f"good {number}", root)
    alice.upload("good.txt", b"good", root)
    names = [*(f"good {number}" for number in range(10)), "good.txt"]
    eventually(lambda: all(deal.named(name) for name in names), "all others arrive", 40)
    eventually(lambda: waiting(alice, deal) == 1, "what waits is told")
    end()
    eventually(lambda: deal.named("bad"), "the other follows by itself", 60)


def test_the_end_of_a_first_copy_that_cannot_be_told_holds_up_nothing(town: Town, frail: FakePeer) -> None:
    alice = town.alice
    frail.on("DELETE", "/initial$", lambda call: FAILURES["not a word"])
    root, deal = share(alice, frail)
    alice.upload("after.txt", b"after", root)
    eventually(lambda: deal.named("after.txt"), "what comes after the first copy")
    eventually(lambda: frail.got("POST", f"{deal.id}/_revs_diff$"), "the copy is over")


def test_a_server_whose_batches_are_always_cut_gets_everything_in_the_plain_protocol(
    town: Town, frail: FakePeer
) -> None:
    alice = town.alice
    boast = {"Inglenook-Extensions": "batch=1, chunks=1"}

    def boasting(call: Call) -> Reply:
        reply = frail.usual(call)
        reply.headers.update(boast)
        return reply

    for method in ("POST", "PUT", "DELETE"):
        frail.on(method, "/sharings/", boasting)
    frail.on(
        "POST", "/_batch/", lambda call: Reply(200, raw=b'{"res', headers={"Content-Length": "90", **boast}, cut=True)
    )
    root, deal = share(alice, frail)
    for number in range(5):
        alice.upload(f"{number}.txt", b"%d" % number, root)
    eventually(lambda: all(deal.named(f"{number}.txt") for number in range(5)), "everything arrives", 60)
