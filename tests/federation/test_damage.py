"""A disk that has lost something, a content or the data of an instance: nothing else waits for it."""

from __future__ import annotations

import hashlib
from typing import Any

from inglenook.identity.registry_documents import prefix_of

from .conftest import NewPerson
from .fake_peer import FakePeer, Reply
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


def test_it_stops_nothing_else(new_person: NewPerson, peer: FakePeer) -> None:
    alice = new_person("alice")
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


def test_a_store_that_cannot_be_opened_keeps_no_other_instance_waiting(new_person: NewPerson, peer: FakePeer) -> None:
    alice = new_person("alice")
    bob = Person(alice.server, "bob").move_in()
    root = bob.mkdir("Beside")
    contact = bob.contact(peer.name, peer.email, peer.url)
    deal = peer.join(bob, bob.share("Beside", [folder_rule("Beside", root)], [contact]))
    peer.awaits("DELETE", "/initial$")
    back = [peer.on(method, "/sharings/", lambda call: Reply(503)) for method in ("PUT", "POST")]
    bob.upload("waiting.txt", b"waiting", root)
    bob.server.kill()
    for path in bob.server.folder.glob(f"data/**/{prefix_of(alice.domain)}/documents.sqlite*"):
        path.write_bytes(b"this is no database, and never was one" * 1000)
    for end in back:
        end()
    bob.server.start()
    eventually(lambda: deal.named("waiting.txt"), "what was waiting goes, though nobody has asked for the instance", 60)


def needs_attention(person: Person, sharing: str) -> dict[str, Any]:
    """The state of the member of whom there is something to look at."""
    members = person.do("GET", f"/sharings/{sharing}/status")["data"]["attributes"]["members"]
    return next((member for member in members if member["state"] == "needs_attention"), {})
