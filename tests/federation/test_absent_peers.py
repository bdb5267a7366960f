"""Members that are away, hang, or have no room: nobody else waits for them (design, idea 4; spec/05 §12.5, §12.6)."""

from __future__ import annotations

import threading
import time

import pytest

from .conftest import NewPerson, Town
from .fake_peer import Call, FakePeer, Reply
from .people import folder_rule, share_folder
from .processes import eventually


@pytest.fixture
def hanging() -> FakePeer:
    """A peer that takes requests and, once `hang` is called, never answers."""
    return FakePeer("carol4").start()


def test_a_member_that_hangs_keeps_nobody_waiting(town: Town, hanging: FakePeer) -> None:
    alice, bob = town.alice, town.bob
    root = alice.mkdir("With a hanging member")
    contacts = [alice.contact(p.name, p.email, p.url) for p in (bob, hanging)]
    id = alice.share("With a hanging member", [folder_rule("With a hanging member", root)], contacts)
    bob.accept(bob.invitation("With a hanging member"))
    deal = hanging.join(alice, id)
    hanging.awaits("DELETE", "/initial$")
    end = threading.Event()

    def hang(call: Call) -> Reply:
        end.wait(60)
        return Reply(503)

    stops = [hanging.on(method, "/sharings/", hang) for method in ("POST", "PUT")]
    place = eventually(lambda: bob.at("/Inbox of sharings/With a hanging member"), "bob's folder")["id"]
    slowest = 0.0
    for n in range(40):
        started = time.monotonic()
        alice.upload(f"{n}.txt", f"{n}".encode(), root)
        alice.children(root)
        slowest = max(slowest, time.monotonic() - started)
    assert slowest < 3, "this measures gross mistakes only: a request that waits for the peer would take 10 s"
    eventually(lambda: bob.tree(place) == alice.tree(root), "bob has everything")
    assert not deal.named("39.txt")
    for stop in stops:
        stop()
    end.set()
    alice.server.ask("peers", "retry", hanging.domain)
    eventually(lambda: all(deal.named(f"{n}.txt") for n in range(40)), "and the peer, when it answers again", 60)
    hanging.stop()


def test_a_call_of_the_absent_peer_is_the_sign_that_it_is_back(town: Town, hanging: FakePeer) -> None:
    alice = town.alice
    root = alice.mkdir("Back soon")
    contact = alice.contact(hanging.name, hanging.email, hanging.url)
    deal = hanging.join(alice, alice.share("Back soon", [folder_rule("Back soon", root)], [contact]))
    hanging.awaits("DELETE", "/initial$")
    ends = [hanging.on(method, "/sharings/", lambda _: Reply(503)) for method in ("POST", "PUT")]
    alice.upload("late.txt", b"late", root)

    def tries() -> int:
        return len([call for call in hanging.calls if call.method in ("POST", "PUT") and "/sharings/" in call.path])

    before = tries()
    eventually(lambda: tries() >= before + 3, "the sender has failed some times, and waits longer")
    for end in ends:
        end()
    started = time.monotonic()
    assert hanging.send(deal, "POST", "/_bulk_docs", {}).status_code == 200
    eventually(lambda: deal.named("late.txt"), "the file, at once")
    assert time.monotonic() - started < 10
    hanging.stop()


def test_no_room_at_a_member_until_there_is(new_person: NewPerson, town: Town) -> None:
    alice, carol = town.alice, town.carol
    bob = new_person("bob", quota="1000000")
    shared = share_folder(alice, "No room", [bob, carol])
    here = shared.place(alice)
    alice.upload("large.bin", b"x" * 2_000_000, here, "application/octet-stream")
    alice.upload("small.txt", b"small", here)
    alice.upload("folder.txt", b"inner", alice.mkdir("Folder", here))
    eventually(lambda: set(bob.tree(shared.place(bob))) == {"small.txt", "Folder", "Folder/folder.txt"}, "the others")
    eventually(lambda: "large.bin" in carol.tree(shared.place(carol)), "everything at another member's")

    def told() -> str:
        return alice.server.ask("sharings", "show", shared.id, "--domain", alice.domain)

    eventually(lambda: "quota" in told(), "the operator can see why")
    started = time.monotonic()
    bob.server.ask("instances", "set-disk-quota", bob.domain, "10000000")
    shared.agree("large.bin", "small.txt", "Folder", "Folder/folder.txt", seconds=90)
    assert time.monotonic() - started < 20, "bob's server says that there is room"


def test_room_in_the_trash_is_told_when_it_is_emptied(new_person: NewPerson, town: Town) -> None:
    alice = town.alice
    bob = new_person("bob", quota="1000000")
    ballast = bob.upload("ballast.bin", b"x" * 700_000, kind="application/octet-stream")
    shared = share_folder(alice, "Full trash", [bob])
    alice.upload("large.bin", b"y" * 600_000, shared.place(alice), "application/octet-stream")
    alice.upload("small.txt", b"small", shared.place(alice))
    eventually(lambda: set(bob.tree(shared.place(bob))) == {"small.txt"}, "what there is room for")
    bob.trash(ballast)
    started = time.monotonic()
    bob.do("DELETE", "/files/trash")
    shared.agree("large.bin", "small.txt", seconds=90)
    assert time.monotonic() - started < 20, "bob's server says that there is room"


def test_a_server_that_is_back_calls_the_others_although_it_has_nothing_to_send(
    new_person: NewPerson, hanging: FakePeer
) -> None:
    alice = new_person("alice")
    root = alice.mkdir("Nothing new")
    contact = alice.contact(hanging.name, hanging.email, hanging.url)
    hanging.join(alice, alice.share("Nothing new", [folder_rule("Nothing new", root)], [contact]))
    hanging.awaits("DELETE", "/initial$")
    before = len(hanging.got("POST", "/_revs_diff$"))
    alice.server.kill()
    alice.server.start()
    assert hanging.awaits("POST", "/_revs_diff$", before + 1).json == {}
    hanging.stop()
