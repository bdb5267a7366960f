"""A content whose bytes are gone from the disk: nothing else waits for it, and it goes when it is put right."""

from __future__ import annotations

import hashlib
from typing import Any

from .conftest import NewPerson, Town
from .fake_peer import FakePeer
from .peers import peer
from .people import Person, folder_rule
from .processes import eventually

__all__ = ["peer"]

GONE, WHOLE = b"gone" * 50_000, b"whole" * 50_000


def damage(person: Person, content: bytes) -> None:
    """Take the bytes of a content from the disk."""
    name = hashlib.sha256(content).hexdigest()
    [path] = person.server.folder.glob(f"data/**/blobs/{name[:2]}/{name[2:]}")
    path.unlink()


def test_it_stops_nothing_else(town: Town, peer: FakePeer) -> None:
    alice = town.alice
    root = alice.mkdir("Damaged")
    file = alice.upload("a.bin", GONE, root)
    for n in range(3):
        alice.upload(f"b{n}.bin", WHOLE + b"%d" % n, root)
    damage(alice, GONE)
    contact = alice.contact(peer.name, peer.email, peer.url)
    id = alice.share("Damaged", [folder_rule("Damaged", root)], [contact])
    deal = peer.join(alice, id)
    eventually(lambda: all(deal.named(f"b{n}.bin") for n in range(3)), "the others come", 30)
    alice.upload("c.txt", b"c", root)
    eventually(lambda: deal.named("c.txt"), "what is new comes", 30)
    status = eventually(lambda: needs_attention(alice, id), "the person is told", 90)
    assert status["pending"]["documents"] == 1
    assert not deal.named("a.bin")
    alice.overwrite(file, GONE + b"anew")
    eventually(lambda: deal.named("a.bin"), "it comes when it is whole", 30)


def test_it_stops_nothing_else_in_batches(new_person: NewPerson) -> None:
    alice, bob = new_person("alice", extensions="all"), new_person("bob", extensions="all")
    root = alice.mkdir("Damaged")
    file = alice.upload("a.bin", GONE, root)
    for n in range(3):
        alice.upload(f"b{n}.bin", WHOLE + b"%d" % n, root)
    damage(alice, GONE)
    contact = alice.contact("bob", bob.email, bob.url)
    id = alice.share("Damaged", [folder_rule("Damaged", root)], [contact])
    bob.accept(bob.invitation("Damaged"))
    eventually(lambda: bob.at("/Inbox of sharings/Damaged"), "bob's folder")
    place = (bob.at("/Inbox of sharings/Damaged") or {})["id"]
    eventually(lambda: set(bob.children(place)) == {"b0.bin", "b1.bin", "b2.bin"}, "the others come", 30)
    status = eventually(lambda: needs_attention(alice, id), "the person is told", 90)
    assert status["pending"]["documents"] == 1
    alice.overwrite(file, GONE + b"anew")
    eventually(lambda: "a.bin" in bob.children(place), "it comes when it is whole", 30)


def needs_attention(person: Person, sharing: str) -> dict[str, Any]:
    """The state of the member of whom there is something to look at."""
    members = person.do("GET", f"/sharings/{sharing}/status")["data"]["attributes"]["members"]
    return next((member for member in members if member["state"] == "needs_attention"), {})
