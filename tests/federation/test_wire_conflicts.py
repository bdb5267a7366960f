"""Conflicts on the wire, seen from both ends: who wins, and which revision results (spec/05 §5, §17)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from .conftest import Town
from .fake_peer import Body, Deal, FakePeer, Reply, history, make_id, revision, xor
from .people import Person, folder_rule, md5
from .processes import eventually

LOW = "0" * 31 + "1"
HIGH = "f" * 32


@dataclass
class Side:
    """A real person who shares a folder with a strict peer; `owner` tells which of them is the owner."""

    person: Person
    peer: FakePeer
    deal: Deal
    root: str
    owner: bool

    def theirs(self, id: str) -> str:
        """The peer's id of something of the person's."""
        return xor(id, self.deal.key)

    def shared(self, name: str, content: bytes = b"base") -> str:
        """A file that both sides have; gives the person's id. Its only revision is `revision(1, name)`."""
        self.peer.send_file(self.deal, self.peer.file(self.deal, name, content), content)
        return xor(make_id(self.deal.id, name), self.deal.key)

    def silence(self) -> Callable[[], None]:
        """From now on the peer has no time for what the person changes; gives what ends this."""
        ends = [
            self.peer.on("PUT", f"{self.deal.id}/.*metadata$", busy),
            self.peer.on("POST", f"{self.deal.id}/_bulk_docs$", busy),
            self.peer.on("POST", f"{self.deal.id}/_revs_diff$", busy),
        ]

        def end() -> None:
            for stop in ends:
                stop()

        return end

    def announced(self, rev: str) -> Body:
        """The document with this revision, as the peer has got it in the end."""

        def found() -> Body | None:
            return next((k.document for k in list(self.deal.kept.values()) if k.rev == rev), None)

        document = eventually(found, f"{rev} is announced", 60)
        assert document is not None
        return document


def busy(_: object) -> Reply:
    """A server that has no time."""
    return Reply(503, {"error": "not now"})


@pytest.fixture(scope="module", params=["recipient", "owner"])
def side(request: pytest.FixtureRequest, town: Town) -> Iterator[Side]:
    """Bob as the recipient of a peer's folder, then alice as the owner of one."""
    peer = FakePeer(f"carol4-{request.param}").start()
    if request.param == "recipient":
        deal = peer.invite(town.bob, "Conflicts")
        yield Side(town.bob, peer, deal, deal.inbound_root, owner=False)
    else:
        alice = town.alice
        root = alice.mkdir("Conflicts")
        contact = alice.contact(peer.name, peer.email, peer.url)
        deal = peer.join(alice, alice.share("Conflicts", [folder_rule("Conflicts", root)], [contact]))
        peer.awaits("DELETE", "/initial$")
        yield Side(alice, peer, deal, root, owner=True)
    peer.stop()
    assert peer.faults == [], peer.faults


def test_a_change_of_a_later_generation_wins_and_keeps_its_revision(side: Side) -> None:
    id = side.shared("later.txt")
    end = side.silence()
    side.person.change(id, name="mine.txt")
    mine = side.person.rev(id)
    received = side.peer.file(side.deal, "theirs.txt", b"base", revision(1, "later.txt"), "2-" + LOW, "3-" + LOW)
    answer = side.peer.announce(side.deal, {**received, "_id": id})
    assert (answer.status_code, answer.content) == (204, b"")
    assert side.person.rev(id) == "3-" + LOW
    assert side.person.show(id)["attributes"]["name"] == "theirs.txt"
    end()
    # the local revision became an ancestor of the one that won
    side.person.change(id, tags=["seen"])
    document = side.announced(side.person.rev(id))
    assert document["_revisions"]["ids"][1:] == [LOW, mine.partition("-")[2], revision(1, "later.txt")[2:]]


def test_a_change_of_an_earlier_generation_loses_and_nothing_happens(side: Side) -> None:
    id = side.shared("earlier.txt")
    end = side.silence()
    side.person.change(id, name="one.txt")
    side.person.change(id, name="two.txt")
    mine = side.person.rev(id)
    received = side.peer.file(side.deal, "theirs.txt", b"base", revision(1, "earlier.txt"), "2-" + HIGH)
    assert side.peer.announce(side.deal, {**received, "_id": id}).status_code == 204
    assert side.person.rev(id) == mine
    assert side.person.show(id)["attributes"]["name"] == "two.txt"
    end()
    assert side.announced(mine)["name"] == "two.txt"


def test_of_the_same_generation_the_lower_hash_loses(side: Side) -> None:
    id = side.shared("lower.txt")
    end = side.silence()
    side.person.change(id, name="stays.txt")
    mine = side.person.rev(id)
    received = side.peer.file(side.deal, "loses.txt", b"base", revision(1, "lower.txt"), "2-" + LOW)
    assert side.peer.announce(side.deal, {**received, "_id": id}).status_code == 204
    assert (side.person.rev(id), side.person.show(id)["attributes"]["name"]) == (mine, "stays.txt")
    end()
    side.announced(mine)


def test_of_the_same_generation_the_higher_hash_wins_with_one_more_revision(side: Side) -> None:
    id = side.shared("higher.txt")
    end = side.silence()
    side.person.change(id, name="overwritten.txt")
    mine = side.person.rev(id)
    received = side.peer.file(side.deal, "wins.txt", b"base", revision(1, "higher.txt"), "2-" + HIGH, tags=["red"])
    assert side.peer.announce(side.deal, {**received, "_id": id}).status_code == 204
    fresh = side.person.rev(id)
    assert fresh.startswith("3-")
    assert fresh != "3-" + HIGH
    shown = side.person.show(id)["attributes"]
    assert (shown["name"], shown["tags"]) == ("wins.txt", ["red"])
    end()
    told = side.announced(fresh)
    assert told["_revisions"] == history(revision(1, "higher.txt"), mine, fresh)["_revisions"]
    assert told["name"] == "wins.txt"


@pytest.mark.parametrize(("hash", "wins"), [(LOW, False), (HIGH, True)])
def test_a_folder_changed_on_both_sides(side: Side, hash: str, wins: bool) -> None:
    folder = side.peer.folder(side.deal, f"Folder {hash[0]}")
    id = folder["_id"]
    side.peer.send_bulk(side.deal, folder)
    end = side.silence()
    side.person.change(id, name=f"Mine {hash[0]}")
    mine = side.person.rev(id)
    changed = {**folder, "name": f"Theirs {hash[0]}", **history(folder["_rev"], f"2-{hash}")}
    assert side.peer.send_bulk(side.deal, changed).json() == []
    name = side.person.show(id)["attributes"]["name"]
    end()
    if wins:
        assert name == f"Theirs {hash[0]}"
        assert side.person.rev(id).startswith("3-")
    else:
        assert (name, side.person.rev(id)) == (f"Mine {hash[0]}", mine)
    side.announced(side.person.rev(id))


def test_contents_that_win_leave_the_local_one_in_a_copy(side: Side) -> None:
    id = side.shared("content wins.txt")
    end = side.silence()
    side.person.overwrite(id, b"of the person")
    mine = side.person.rev(id)
    received = side.peer.file(
        side.deal, "content wins.txt", b"of the peer", revision(1, "content wins.txt"), "2-" + HIGH
    )
    side.peer.send_file(side.deal, {**received, "_id": id}, b"of the peer")
    copy = xor(id, bytes(int(digit, 16) for digit in mine[2:]))
    assert side.person.read(id) == b"of the peer"
    assert side.person.rev(id).startswith("3-"), "equal generations: one more revision"
    assert (side.person.read(copy), side.person.rev(copy)) == (b"of the person", mine)
    assert side.person.show(copy)["attributes"]["name"] == "content wins (2).txt"
    end()
    told = side.announced(mine)
    assert told["_id"] == side.theirs(copy)
    assert told["_revisions"] == {"start": 2, "ids": [mine[2:]]}
    side.announced(side.person.rev(id))


def test_contents_that_lose_are_kept_in_a_copy(side: Side) -> None:
    id = side.shared("content loses.txt")
    end = side.silence()
    side.person.overwrite(id, b"first of the person")
    side.person.overwrite(id, b"second of the person")
    mine = side.person.rev(id)
    lost = "2-" + HIGH
    received = side.peer.file(side.deal, "content loses.txt", b"of the peer", revision(1, "content loses.txt"), lost)
    side.peer.send_file(side.deal, {**received, "_id": id}, b"of the peer")
    copy = xor(id, bytes(15 for _ in range(32)))
    assert (side.person.read(id), side.person.rev(id)) == (b"second of the person", mine)
    assert (side.person.read(copy), side.person.rev(copy)) == (b"of the peer", lost)
    # the peer makes the same copy, and announces it: that is an echo
    twin = side.peer.file(side.deal, "content loses (2).txt", b"of the peer", lost)
    answer = side.peer.send(side.deal, "PUT", f"/io.cozy.files/{copy}/metadata", {**twin, "_id": copy})
    assert answer.status_code == 204
    assert side.person.rev(copy) == lost
    end()
    side.announced(mine)


def test_a_content_whose_revision_is_a_descendant_is_no_conflict(side: Side) -> None:
    id = side.shared("next.txt")
    received = side.peer.file(side.deal, "next.txt", b"second", revision(1, "next.txt"), revision(2, "next.txt"))
    side.peer.send_file(side.deal, {**received, "_id": id}, b"second")
    assert (side.person.read(id), side.person.rev(id)) == (b"second", revision(2, "next.txt"))
    assert not [path for path in side.person.tree(side.root) if path.startswith("next (")]


def test_two_files_of_one_name_the_one_of_the_owner_keeps_it(side: Side) -> None:
    end = side.silence()
    own = side.person.upload("twice.txt", b"of the person", side.root)
    document = side.peer.file(side.deal, "twice.txt", b"of the peer")
    side.peer.send_file(side.deal, document, b"of the peer")
    names = [side.person.show(id)["attributes"]["name"] for id in (own, document["_id"])]
    end()
    if side.owner:
        assert names == ["twice.txt", "twice (2).txt"]
        renamed = side.person.rev(document["_id"])
        assert renamed.startswith("2-")
        told = side.announced(renamed)
        assert told["_revisions"] == history(document["_rev"], renamed)["_revisions"]
        assert told["name"] == "twice (2).txt"
    else:
        assert names == ["twice (2).txt", "twice.txt"]
        assert side.person.rev(document["_id"]) == document["_rev"]
        assert side.announced(side.person.rev(own))["name"] == "twice (2).txt"


def test_two_folders_of_one_name_the_one_of_the_owner_keeps_it(side: Side) -> None:
    end = side.silence()
    own = side.person.mkdir("Twice.d", side.root)
    folder = side.peer.folder(side.deal, "Twice.d")
    assert side.peer.send_bulk(side.deal, folder).status_code == 200
    names = [side.person.show(id)["attributes"]["name"] for id in (own, folder["_id"])]
    end()
    assert names == (["Twice.d", "Twice.d (2)"] if side.owner else ["Twice.d (2)", "Twice.d"])


def test_numbers_in_names_are_counted_on(side: Side) -> None:
    end = side.silence()
    for name, free in (("x (2).txt", "x (3).txt"), ("a.tar.gz", "a.tar (2).gz"), ("none", "none (2)")):
        own = side.person.upload(name, b"of the person", side.root)
        document = side.peer.file(side.deal, name, b"of the peer " + name.encode())
        side.peer.send_file(side.deal, document, b"of the peer " + name.encode())
        loser = document["_id"] if side.owner else own
        assert side.person.show(loser)["attributes"]["name"] == free
    end()


def test_a_move_and_a_new_content_with_two_revisions_arrive_as_one(side: Side) -> None:
    folder = side.peer.folder(side.deal, "Place of both")
    side.peer.send_bulk(side.deal, folder)
    id = side.shared("both.txt")
    first = revision(1, "both.txt")
    received = side.peer.file(
        side.deal, "both moved.txt", b"new", first, revision(2, "both"), dir_id=folder["_id"], id=make_id("x")
    )
    side.peer.send_file(side.deal, {**received, "_id": id}, b"new")
    assert side.person.tree(side.root)["Place of both/both moved.txt"] == ("file", "3", md5(b"new"))
    assert "both.txt" not in side.person.tree(side.root)


def test_an_echo_of_any_known_revision_is_answered_with_204(side: Side) -> None:
    id = side.shared("echo.txt")
    revs = [revision(1, "echo.txt"), revision(2, "echo"), revision(3, "echo")]
    for upto in (2, 3):
        document = {**side.peer.file(side.deal, f"echo {upto}.txt", b"base", *revs[:upto]), "_id": id}
        assert side.peer.announce(side.deal, document).status_code == 204
    old = {**side.peer.file(side.deal, "echo.txt", b"another content", *revs[:2]), "_id": id}
    assert side.peer.announce(side.deal, old).status_code == 204
    assert side.person.rev(id) == revs[2]
    asked = {f"io.cozy.files/{id}": [revs[0], revs[2], "4-" + LOW]}
    assert side.peer.send(side.deal, "POST", "/_revs_diff", asked).json() == {
        f"io.cozy.files/{id}": {"missing": ["4-" + LOW]}
    }
