"""Who may only read: nothing of his goes out, and what the owner sends is there, whatever he did to his copy
(spec/05 §1, §6.4, §23)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import Town
from .fake_peer import Body, Call, FakePeer, Reply, history, make_id, revision, xor
from .peers import Visit
from .people import md5
from .processes import eventually


@pytest.fixture(scope="module")
def visit(town: Town) -> Iterator[Visit]:
    """A folder of the peer's that bob may only read."""
    peer = FakePeer("carol4").start()
    rule = peer.rule("Only to read", make_id("carol4", "root"), add="push", update="push", remove="push")
    yield Visit(town.bob, peer, peer.invite(town.bob, "Only to read", rules=[rule]))
    sent = [str(call) for call in peer.calls if call.method in ("POST", "PUT") and "/answer" not in call.path]
    assert sent == [], "a reader sends nothing"
    peer.stop()
    assert peer.faults == [], peer.faults


def test_a_name_of_the_owner_comes_over_later_names_of_the_reader(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    document = peer.file(deal, "plan.txt", b"plan")
    peer.send_file(deal, document, b"plan")
    for name in ("mine.txt", "still mine.txt"):
        bob.change(document["_id"], name=name)
    renamed = peer.file(deal, "of the owner.txt", b"plan", document["_rev"], revision(2, "plan"))
    assert peer.announce(deal, {**renamed, "_id": document["_id"]}).status_code == 204
    assert bob.show(document["_id"])["attributes"]["name"] == "of the owner.txt"
    again = peer.file(deal, "again.txt", b"plan", document["_rev"], revision(2, "plan"), revision(3, "plan"))
    assert peer.announce(deal, {**again, "_id": document["_id"]}).status_code == 204
    assert bob.show(document["_id"])["attributes"]["name"] == "again.txt"


def test_a_content_of_the_owner_leaves_that_of_the_reader_beside_it(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    document = peer.file(deal, "text.txt", b"first")
    peer.send_file(deal, document, b"first")
    for content in (b"scribbled", b"scribbled more"):
        bob.overwrite(document["_id"], content)
    second = peer.file(deal, "text.txt", b"second", document["_rev"], revision(2, "text"))
    peer.send_file(deal, {**second, "_id": document["_id"]}, b"second")
    assert bob.read(document["_id"]) == b"second"
    assert visit.tree()["text (2).txt"] == ("file", "14", md5(b"scribbled more"))
    third = peer.file(deal, "text.txt", b"third", document["_rev"], revision(2, "text"), revision(3, "text"))
    peer.send_file(deal, {**third, "_id": document["_id"]}, b"third")
    assert bob.read(document["_id"]) == b"third"
    assert "text (3).txt" not in visit.tree(), "there was nothing of the reader's own to keep"


def test_a_name_that_was_taken_for_a_moment_comes_back(visit: Visit) -> None:
    """Two files of the owner exchange their names, and the first word of it that arrives makes them meet."""
    peer, deal, bob = visit.peer, visit.deal, visit.person
    one, other = peer.file(deal, "left.txt", b"one"), peer.file(deal, "right.txt", b"other")
    peer.send_file(deal, one, b"one")
    peer.send_file(deal, other, b"other")

    def renamed(document: Body, name: str, *revs: str) -> Body:
        return {**document, "name": name, **history(document["_rev"], *revs)}

    left, passing = revision(2, "left"), revision(2, "passing")
    assert peer.announce(deal, renamed(other, "left.txt", left)).status_code == 204
    assert bob.show(one["_id"])["attributes"]["name"] == "left (2).txt"
    assert peer.announce(deal, renamed(other, "right.txt", left, revision(3, "right"))).status_code == 204
    eventually(lambda: bob.show(one["_id"])["attributes"]["name"] == "left.txt", "the name is free again")
    peer.send_file(deal, {**one, **history(one["_rev"], passing), "md5sum": md5(b"new"), "size": "3"}, b"new")
    tree = visit.tree()
    assert tree["left.txt"] == ("file", "3", md5(b"new"))
    assert "left (2).txt" not in tree, "there was nothing of the reader's own to keep"


def test_a_name_that_the_reader_has_chosen_meanwhile_stays(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    one, other = peer.file(deal, "up.txt", b"one"), peer.file(deal, "up.txt", b"other", id=make_id("up again"))
    watched = peer.file(deal, "watched.txt", b"watched")
    for document, content in ((one, b"one"), (watched, b"watched"), (other, b"other")):
        peer.send_file(deal, document, content)
    assert bob.show(one["_id"])["attributes"]["name"] == "up (2).txt"
    taking = {**watched, "name": "up.txt", **history(watched["_rev"], revision(2, "watched"))}
    assert peer.announce(deal, taking).status_code == 204
    assert bob.show(other["_id"])["attributes"]["name"] == "up (3).txt"
    bob.change(one["_id"], name="mine alone.txt")
    freeing = {**watched, "name": "away.txt", **history(watched["_rev"], *(revision(n, "watched") for n in (2, 3)))}
    assert peer.announce(deal, freeing).status_code == 204
    eventually(lambda: bob.show(other["_id"])["attributes"]["name"] == "up.txt", "the name is free again")
    assert bob.show(one["_id"])["attributes"]["name"] == "mine alone.txt"


def test_what_the_reader_has_removed_is_there_again_when_the_owner_changes_it(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    folder = peer.folder(deal, "Removed by bob")
    peer.send_bulk(deal, folder)
    document = peer.file(deal, "in it.txt", b"first", dir_id=folder["_id"])
    peer.send_file(deal, document, b"first")
    bob.trash(folder["_id"])

    def tell(call: Call) -> Reply:
        assert call.path.endswith(folder["_id"])
        return Reply(200, {name: value for name, value in folder.items() if name != "_revisions"})

    end = peer.on("GET", f"{deal.id}/io.cozy.files/", tell)
    changed = {**document, **history(document["_rev"], revision(2, "in it")), "md5sum": md5(b"second"), "size": "6"}
    peer.send_file(deal, changed, b"second")
    new = peer.file(deal, "also in it.txt", b"new", dir_id=folder["_id"])
    peer.send_file(deal, new, b"new")
    end()
    tree = visit.tree()
    assert tree["Removed by bob/in it.txt"] == ("file", "6", md5(b"second"))
    assert tree["Removed by bob/also in it.txt"] == ("file", "3", md5(b"new"))


DOCTYPE = "io.cozy.tests"


@pytest.fixture
def notes(town: Town, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A document of the peer's that bob may only read."""
    peer, title = FakePeer("carol5").start(), request.node.name
    rule = peer.rule(title, make_id(title, "note"), add="push", update="push", remove="push")
    yield Visit(town.bob, peer, peer.invite(town.bob, title, rules=[{**rule, "doctype": DOCTYPE}]))
    peer.stop()
    assert peer.faults == [], peer.faults


def test_a_document_is_as_the_owner_has_it_whatever_the_reader_wrote_or_deleted(notes: Visit) -> None:
    peer, deal, bob = notes.peer, notes.deal, notes.person
    hidden = xor(deal.rules[0]["values"][0], deal.key)
    revs = [revision(number, "note") for number in range(1, 6)]

    def send(count: int, **members: Any) -> Body | None:
        told = {"_id": hidden, **history(*revs[:count]), **members}
        assert peer.send_bulk(deal, told, doctype=DOCTYPE).json() == []
        return bob.document(DOCTYPE, hidden)

    send(1, text="first")
    for text in ("scribbled", "scribbled more", "and more"):
        bob.update(DOCTYPE, hidden, text=text)
    kept = send(2, text="second")
    assert kept is not None
    assert (kept["text"], kept["_rev"]) == ("second", revs[1])
    bob.delete(DOCTYPE, hidden)
    kept = send(3, text="third")
    assert kept is not None
    assert (kept["text"], kept["_rev"]) == ("third", revs[2])
    bob.update(DOCTYPE, hidden, text="mine")
    assert send(4, _deleted=True) is None, "the owner has deleted it"


def test_documents_that_are_in_conflict_at_the_owners_are_so_at_the_readers(notes: Visit) -> None:
    peer, deal, bob = notes.peer, notes.deal, notes.person
    hidden = xor(deal.rules[0]["values"][0], deal.key)
    first, (lower, higher) = revision(1, "note"), sorted((revision(2, "one"), revision(2, "other")))

    def send(*revs: str, **members: Any) -> str:
        told = {"_id": hidden, **history(*revs), **members}
        assert peer.send_bulk(deal, told, doctype=DOCTYPE).json() == []
        kept = bob.document(DOCTYPE, hidden)
        return kept["_rev"] if kept is not None else ""

    assert send(first, text="first") == first
    assert send(first, higher, text="higher") == higher
    assert send(first, lower, text="lower") == higher
    assert send(first, higher, revision(3, "end"), _deleted=True) == lower, "the other leaf of the owner comes forward"
