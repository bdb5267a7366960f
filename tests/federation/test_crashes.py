"""Servers that are killed at any moment: both sides end alike, and nothing that was acknowledged is lost."""

from __future__ import annotations

import hashlib
import random
import threading
from dataclasses import dataclass, field

import httpx
import pytest

from .conftest import NewPerson
from .people import TRASH, Person, Shared, md5, share_folder
from .processes import eventually


@dataclass
class Promises:
    """What servers have acknowledged: contents by their md5 (somewhere in a live file or as an old version), and the
    last content that was acknowledged for each file that only one person writes."""

    contents: set[str] = field(default_factory=set[str])
    last: dict[str, str] = field(default_factory=dict[str, str])

    def kept_by(self, person: Person, place: str) -> None:
        """Every promise is kept at somebody's."""
        tree = person.tree(place)
        files = {path: entry[2] for path, entry in tree.items() if entry[0] == "file"}
        for name, content in self.last.items():
            assert files.get(name) == content, f"{name} at {person.name}'s"
        missing = self.contents - set(files.values())
        assert not missing, f"{len(missing)} contents are lost at {person.name}'s"


def pair(new_person: NewPerson, title: str) -> Shared:
    """Alice and bob with a shared folder."""
    return share_folder(new_person("alice"), title, [new_person("bob")])


def restart(person: Person) -> None:
    """Kill a server and start it again."""
    person.server.kill()
    person.server.start()


def bytes_of(seed: str, size: int) -> bytes:
    """A content that is the same for the same seed."""
    return random.Random(seed).randbytes(size)


LARGE = 30_000_000


@pytest.mark.parametrize("victim", ["sender", "receiver"])
def test_killed_in_the_middle_of_a_large_file(new_person: NewPerson, victim: str) -> None:
    shared = pair(new_person, "Large")
    alice, bob = shared.members
    content = bytes_of(victim, LARGE)
    alice.upload("large.bin", content, shared.place(alice))
    alice.upload("small.txt", b"small", shared.place(alice))
    for delay in (0.0, 0.05, 0.2):
        threading.Event().wait(delay)
        restart(alice if victim == "sender" else bob)
    shared.agree("large.bin", "small.txt", seconds=60)
    there = bob.find(shared.place(bob), "large.bin")
    assert hashlib.sha256(bob.read(there)).digest() == hashlib.sha256(content).digest()


@pytest.mark.parametrize("seed", ["one", "two"])
def test_killed_at_random_in_a_storm_of_changes(new_person: NewPerson, seed: str) -> None:
    shared = pair(new_person, "Storm")
    alice, bob = shared.members
    chance = random.Random(seed)
    promises = Promises()
    stop = threading.Event()
    writers = [
        threading.Thread(target=write, args=(person, shared.place(person), f"{seed}/{person.name}", promises, stop))
        for person in shared.members
    ]
    for writer in writers:
        writer.start()
    try:
        for _ in range(5):
            stop.wait(chance.uniform(0.1, 0.8))
            restart(chance.choice([alice, bob]))
    finally:
        stop.set()
        for writer in writers:
            writer.join(30)
    shared.agree(seconds=60)
    for person in shared.members:
        promises.kept_by(person, shared.place(person))
        assert person.server.errors == []


def write(person: Person, place: str, seed: str, promises: Promises, stop: threading.Event) -> None:
    """Make files, and change them, until it is enough; what fails because the server is gone was not promised."""
    chance = random.Random(seed)
    connection = Person(person.server, person.name, person.token)
    ids: dict[str, str] = {}
    n = 0
    while not stop.is_set():
        n += 1
        content = f"{seed} {n}".encode()
        again = bool(ids) and chance.random() < 0.4
        name = chance.choice(sorted(ids)) if again else f"{person.name} {n}.txt"
        try:
            if again:
                promises.last.pop(name, None)
                connection.overwrite(ids[name], content)
            else:
                ids[name] = connection.upload(name, content, place)
        except httpx.TransportError:
            ids.pop(name, None)
            stop.wait(0.05)
            continue
        promises.last[name] = md5(content)


def test_killed_during_a_first_copy_of_many_files(new_person: NewPerson) -> None:
    alice, bob = new_person("alice"), new_person("bob")
    root = alice.mkdir("Many")
    for n in range(20):
        folder = alice.mkdir(f"folder {n}", root)
        for m in range(15):
            alice.upload(f"{m}.txt", f"{n}/{m}".encode(), folder)
    contact = alice.contact(bob.name, bob.email, bob.url)
    rule = {
        "title": "Many",
        "doctype": "io.cozy.files",
        "values": [root],
        "add": "sync",
        "update": "sync",
        "remove": "sync",
    }
    id = alice.share("Many", [rule], [contact])
    bob.accept(bob.invitation("Many"))
    place = eventually(lambda: bob.at("/Inbox of sharings/Many"), "the first folder")["id"]
    restart(bob)
    restart(alice)
    shared = Shared(id, "Many", alice, [alice, bob], {"alice": root, "bob": place})
    tree = shared.agree(seconds=60)
    assert len(tree) == 20 + 20 * 15
    eventually(lambda: "initial_sync" not in bob.sharing(id), "the end of the first copy is told")


def test_what_happened_while_a_server_was_down_arrives_when_it_is_back(new_person: NewPerson) -> None:
    shared = pair(new_person, "Down")
    alice, bob = shared.members
    here = shared.place(alice)
    kept, gone = alice.upload("kept.txt", b"one", here), alice.upload("gone.txt", b"gone", here)
    shared.agree("kept.txt", "gone.txt")
    bob.server.kill()
    alice.overwrite(kept, b"two")
    alice.trash(gone)
    alice.upload("new.txt", b"new", alice.mkdir("New", here))
    assert alice.tree(here)["New/new.txt"][0] == "file", "alice's own server does not wait for bob's"
    alice.server.kill()
    bob.server.start()
    there = shared.place(bob)
    bob.upload("by bob.txt", b"bob", there)
    bob.change(bob.find(there, "gone.txt"), name="renamed by bob.txt")
    alice.server.start()
    shared.agree(seconds=40)
    tree = bob.tree(there)
    assert {"New", "New/new.txt", "kept.txt", "by bob.txt"} <= set(tree)
    assert tree["kept.txt"][2] == md5(b"two")


def test_the_same_document_changed_on_both_sides_while_apart(new_person: NewPerson) -> None:
    alice, bob = new_person("alice"), new_person("bob")
    mine = alice.create("io.cozy.contacts", {"fullname": "Ada"})
    other = alice.create("io.cozy.contacts", {"fullname": "Grace"})
    contact = alice.contact(bob.name, bob.email, bob.url)
    ways = {"title": "People", "doctype": "io.cozy.contacts", "add": "sync", "update": "sync", "remove": "sync"}
    id = alice.share("People", [{**ways, "values": [mine, other]}], [contact])
    bob.accept(bob.invitation("People"))
    values = eventually(lambda: (s := bob.sharing(id)).get("active") and s["rules"][0]["values"], "the sharing")
    eventually(lambda: all(bob.document("io.cozy.contacts", value) for value in values), "both contacts")
    bob.server.kill()
    alice.update("io.cozy.contacts", mine, fullname="Ada by alice")
    alice.update("io.cozy.contacts", other, fullname="Grace by alice")
    alice.server.kill()
    bob.server.start()
    bob.update("io.cozy.contacts", values[0], fullname="Ada by bob")
    bob.delete("io.cozy.contacts", values[1])
    alice.server.start()

    def alike() -> bool:
        pairs = [
            (alice.document("io.cozy.contacts", a), bob.document("io.cozy.contacts", b))
            for a, b in zip((mine, other), values, strict=True)
        ]
        return all(a and b and a["_rev"] == b["_rev"] and a["fullname"] == b["fullname"] for a, b in pairs)

    eventually(alike, "the same winners; the change wins over the deletion")


def test_the_same_file_changed_on_both_sides_while_apart_makes_one_copy(new_person: NewPerson) -> None:
    shared = pair(new_person, "Apart")
    alice, bob = shared.members
    here, there = shared.place(alice), shared.place(bob)
    mine = alice.upload("report.txt", b"base", here)
    left = alice.upload("left.txt", b"left", here)
    shared.agree("report.txt", "left.txt")
    theirs = {name: bob.find(there, name) for name in ("report.txt", "left.txt")}
    bob.server.kill()
    alice.overwrite(mine, b"by alice")
    alice.trash(left)
    alice.server.kill()
    bob.server.start()
    bob.overwrite(theirs["report.txt"], b"by bob")
    bob.overwrite(theirs["left.txt"], b"changed while it was trashed")
    alice.server.start()

    def settled() -> bool:
        mine, theirs = alice.tree(here), bob.tree(there)
        files = {entry[2] for path, entry in mine.items() if path.startswith("report")}
        return mine == theirs and len(mine) >= 2 and files == {md5(b"by alice"), md5(b"by bob")}

    eventually(settled, "report.txt and its copy on both sides", 40)
    everywhere = {entry[2] for person in (alice, bob) for entry in in_trash_and_folder(person, shared)}
    assert md5(b"changed while it was trashed") in everywhere, "nothing that was acknowledged is lost"


def in_trash_and_folder(person: Person, shared: Shared) -> list[tuple[str, ...]]:
    """All files of the shared folder and of the trash."""
    trees = [*person.tree(shared.place(person)).values(), *person.tree(TRASH).values()]
    return [entry for entry in trees if entry[0] == "file"]
