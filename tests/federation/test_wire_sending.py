"""What a real owner sends to a strict recipient of another make, change by change (spec/05 §6, §9-§11, §19-§21)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import Town
from .fake_peer import Body, Call, Deal, FakePeer, Reply, history, revision, xor
from .people import ROOT, Person, folder_rule
from .processes import eventually

ALBUMS = "io.cozy.photos.albums"
TITLES = iter(f"Sending {number}" for number in range(1000))


class Desk:
    """Alice, the strict peer, and a folder that they share from now on."""

    def __init__(self, alice: Person, peer: FakePeer) -> None:
        self.alice, self.peer = alice, peer
        title = next(TITLES)
        self.root = alice.mkdir(title)
        self.deal = share(alice, peer, title, [folder_rule(title, self.root)])

    def theirs(self, id: str) -> str:
        """The peer's id."""
        return xor(id, self.deal.key)

    def has(self, id: str) -> Body | None:
        """The document of alice's that the peer has."""
        kept = self.deal.kept.get(self.theirs(id))
        return kept.document if kept else None

    def bulks(self) -> list[list[Body]]:
        """The files in each bulk so far, without empty ones."""
        calls = self.peer.got("POST", f"{self.deal.id}/_bulk_docs$")
        return [call.json["io.cozy.files"] for call in calls if call.json.get("io.cozy.files")]

    def told_removals(self) -> set[str]:
        """The peer's ids of what he was told to remove."""
        return {document["_id"] for bulk in self.bulks() for document in bulk if document.get("_deleted")}

    def gone(self, *ids: str) -> None:
        """Wait until the peer was told of removals."""
        eventually(lambda: {self.theirs(id) for id in ids} <= self.deal.removed, "the removals")

    def arrived(self, id: str) -> Body:
        """Wait until the peer has what alice has."""
        rev = self.alice.rev(id)
        eventually(lambda: (self.has(id) or {}).get("_rev") == rev, f"{id} {rev} arrives")
        found = self.has(id)
        assert found is not None
        return found


def share(alice: Person, peer: FakePeer, title: str, rules: list[Body], *, verb: str = "ALL") -> Deal:
    """Share with the peer, and wait for the end of the first copy."""
    contact = alice.contact(peer.name, peer.email, peer.url)
    sharing = alice.share(title, rules, [contact])
    deal = peer.join(alice, sharing, verb=verb)
    if any(rule["doctype"] == "io.cozy.files" for rule in rules):
        peer.awaits("DELETE", f"{sharing}/initial$")
    return deal


@pytest.fixture(scope="module")
def peer() -> Iterator[FakePeer]:
    """A server of another make that takes part in all sharings of these tests."""
    peer = FakePeer("alice2").start()
    yield peer
    peer.stop()
    assert peer.faults == [], peer.faults


@pytest.fixture(scope="module")
def desk(town: Town, peer: FakePeer) -> Desk:
    """The shared folder; each test uses names of its own."""
    return Desk(town.alice, peer)


def test_a_file_that_is_moved_out_is_told_as_removed(desk: Desk) -> None:
    id = desk.alice.upload("out.txt", b"out", desk.root)
    desk.arrived(id)
    desk.alice.change(id, dir_id=ROOT, name="out of the sharing.txt")
    desk.gone(id)
    told = desk.bulks()[-1][0]
    assert told == {
        "_id": desk.theirs(id),
        **history(desk.alice.rev(id)),
        "_revisions": told["_revisions"],
        "_deleted": True,
    }
    assert told["_revisions"] == {"start": 2, "ids": [told["_rev"][2:]]}
    calls = len(desk.peer.calls)
    desk.alice.overwrite(id, b"private by now")
    marker = desk.alice.upload("marker out.txt", b"marker", desk.root)
    desk.arrived(marker)
    later = desk.peer.calls[calls:]
    assert not [call for call in later if desk.theirs(id) in call.path or desk.theirs(id).encode() in call.raw]


def test_a_folder_that_is_moved_out_goes_with_everything_in_it(desk: Desk) -> None:
    folder = desk.alice.mkdir("Out", desk.root)
    inner = desk.alice.mkdir("Inner", folder)
    file = desk.alice.upload("leaf.txt", b"leaf", inner)
    desk.arrived(file)
    desk.alice.change(folder, dir_id=ROOT, name="Out of the sharing")
    desk.gone(folder, inner, file)
    assert desk.bulks()[-1][0]["_id"] == desk.theirs(folder), "the folder first"


def test_a_trashed_folder_is_told_with_the_revisions_of_the_trashing(desk: Desk) -> None:
    folder = desk.alice.mkdir("To trash", desk.root)
    file = desk.alice.upload("in it.txt", b"in it", folder)
    desk.arrived(file)
    desk.alice.trash(folder)
    desk.gone(folder, file)
    told = {document["_id"]: document for document in desk.bulks()[-1]}
    for id in (folder, file):
        assert told[desk.theirs(id)]["_rev"] == desk.alice.rev(id)
        assert len(told[desk.theirs(id)]["_revisions"]["ids"]) == 1


def test_what_is_restored_is_announced_with_its_history(desk: Desk) -> None:
    id = desk.alice.upload("phoenix.txt", b"phoenix", desk.root)
    first = desk.arrived(id)["_rev"]
    desk.alice.trash(id)
    desk.gone(id)
    desk.alice.restore(id)
    back = desk.arrived(id)
    assert len(back["_revisions"]["ids"]) == 3
    assert back["_revisions"]["ids"][-1] == first[2:]


def test_a_folder_that_comes_in_is_sent_before_what_is_in_it(desk: Desk) -> None:
    folder = desk.alice.mkdir("Comes in")
    inner = desk.alice.mkdir("Deeper", folder)
    file = desk.alice.upload("deep.txt", b"deep", inner)
    desk.alice.change(folder, dir_id=desk.root)
    assert desk.arrived(file)["dir_id"] == desk.theirs(inner)
    assert desk.arrived(inner)["dir_id"] == desk.theirs(folder)
    assert "dir_id" not in desk.arrived(folder)


def test_removals_beside_other_changes_are_asked_about_as_well(desk: Desk) -> None:
    gone = desk.alice.mkdir("Gone in a mixed batch", desk.root)
    kept = desk.alice.mkdir("Kept in a mixed batch", desk.root)
    desk.arrived(gone)
    desk.arrived(kept)
    ends = [
        desk.peer.on("POST", f"{desk.deal.id}/_bulk_docs$", lambda _: Reply(503)),
        desk.peer.on("POST", f"{desk.deal.id}/_revs_diff$", lambda _: Reply(503)),
    ]
    desk.alice.trash(gone)
    desk.alice.change(kept, name="Kept and renamed")
    for end in ends:
        end()
    desk.gone(gone)
    desk.arrived(kept)


def test_the_mark_of_a_favorite_is_nobody_elses_matter(desk: Desk) -> None:
    id = desk.alice.upload("favorite.txt", b"favorite", desk.root)
    desk.alice.change(id, cozyMetadata={"favorite": True})
    assert desk.alice.show(id)["attributes"]["cozyMetadata"]["favorite"] is True
    sent = desk.arrived(id)
    assert sent["cozyMetadata"]["createdOn"] == f"{desk.alice.url}/"
    assert "favorite" not in sent["cozyMetadata"]


def test_the_shared_folder_itself_may_be_renamed_and_moved(desk: Desk) -> None:
    elsewhere = desk.alice.mkdir("Elsewhere")
    desk.alice.change(desk.root, name="Another name of the root", dir_id=elsewhere)
    told = desk.peer.awaits("PUT", f"{desk.deal.id}/metadata$")
    assert told.json == {"description": "Another name of the root"}
    after = desk.alice.upload("after the move.txt", b"after", desk.root)
    desk.arrived(after)
    assert desk.has(desk.root) is None
    assert desk.theirs(desk.root) not in desk.deal.removed


def test_one_refused_document_blocks_no_other_and_says_why(desk: Desk) -> None:
    alice, peer = desk.alice, desk.peer

    def refuse(call: Call) -> Reply:
        if call.json["name"] == "refused.txt":
            detail = {"status": "400", "title": "Bad Request", "detail": "Operation aborted", "source": {}}
            return Reply(400, {"errors": [detail]}, "application/vnd.api+json")
        return peer.usual(call)

    end = peer.on("PUT", f"{desk.deal.id}/io.cozy.files/.*/metadata$", refuse)
    refused = alice.upload("refused.txt", b"refused", desk.root)
    others = [alice.upload(f"beside {n}.txt", b"%d" % n, desk.root) for n in range(5)]
    for other in others:
        desk.arrived(other)
    assert desk.has(refused) is None

    def shown() -> Any:
        member = alice.do("GET", f"/sharings/{desk.deal.id}/status")["data"]["attributes"]["members"][1]
        return "Operation aborted" in str(member) and member["pending"]["documents"] == 1

    eventually(shown, "the reason is shown, and nothing else waits")
    end()
    desk.arrived(refused)


def test_a_removal_that_the_member_has_no_part_in_is_over(desk: Desk) -> None:
    """He has the file by another sharing, and tells so by aborting (§14): it is sent once more by itself."""
    file = desk.alice.upload("also in another sharing.txt", b"also", desk.root)
    desk.arrived(file)

    def abort(call: Call) -> Reply:
        if any(document.get("_deleted") for document in call.json.get("io.cozy.files", ())):
            detail = {"status": "400", "title": "Bad Request", "detail": "Operation aborted", "source": {}}
            return Reply(400, {"errors": [detail]}, "application/vnd.api+json")
        return desk.peer.usual(call)

    def told() -> int:
        calls = desk.peer.got("POST", f"{desk.deal.id}/_bulk_docs$")
        return sum(any(document.get("_deleted") for document in call.json["io.cozy.files"]) for call in calls)

    before = told()
    end = desk.peer.on("POST", f"{desk.deal.id}/_bulk_docs$", abort)
    desk.alice.trash(file)

    def over() -> bool:
        status = desk.alice.do("GET", f"/sharings/{desk.deal.id}/status")["data"]["attributes"]
        return told() >= before + 2 and status["members"][1]["pending"]["documents"] == 0

    eventually(over, "nothing waits")
    end()


def test_a_removal_that_crosses_a_change_is_told_to_the_one_who_removed(desk: Desk) -> None:
    """The change may arrive behind the acknowledgement of the removal, as if somebody had kept the folder."""
    alice, peer, deal = desk.alice, desk.peer, desk.deal
    folder = alice.mkdir("Crossing", desk.root)
    inside = alice.mkdir("Inside", folder)
    for id in (folder, inside):
        desk.arrived(id)

    def remove(*ids: str) -> None:
        removals = ({"_id": id, **history(revision(2, "gone", id)), "_deleted": True} for id in ids)
        assert peer.send_bulk(deal, *removals).status_code == 200

    def cross(call: Call) -> Reply:
        if any(document.get("name") == "Crossed" for document in call.json.get("io.cozy.files", ())):
            remove(inside, folder)
        return peer.usual(call)

    end = peer.on("POST", f"{deal.id}/_bulk_docs$", cross)
    alice.change(folder, name="Crossed")
    eventually(lambda: desk.theirs(folder) in desk.told_removals(), "the removal is told")
    end()
    assert alice.at(f"/{alice.show(desk.root)['attributes']['name']}/Crossed") is None


def test_a_removal_is_not_told_to_the_one_who_removed(desk: Desk) -> None:
    folder = desk.alice.mkdir("Removed by the other", desk.root)
    desk.arrived(folder)

    def over() -> bool:
        status = desk.alice.do("GET", f"/sharings/{desk.deal.id}/status")["data"]["attributes"]
        return status["members"][1]["pending"]["documents"] == 0

    eventually(over, "nothing waits")
    removal = {"_id": folder, **history(revision(2, "gone", folder)), "_deleted": True}
    assert desk.peer.send_bulk(desk.deal, removal).status_code == 200
    desk.arrived(desk.alice.mkdir("After it", desk.root))
    assert desk.theirs(folder) not in desk.told_removals()


def test_a_folder_that_is_refused_in_the_first_copy_stops_nothing_else(town: Town, peer: FakePeer) -> None:
    alice = town.alice
    title = next(TITLES)
    root = alice.mkdir(title)
    refused, good = alice.mkdir("Refused at first", root), alice.mkdir("Good", root)
    files = [alice.upload("inside.txt", b"inside", good), alice.upload("beside.txt", b"beside", root)]

    def refuse(call: Call) -> Reply:
        if any(document["name"] == "Refused at first" for document in call.json.get("io.cozy.files", ())):
            return Reply(
                500, {"errors": [{"status": "500", "title": "Unqualified error", "detail": "no", "source": {}}]}
            )
        return peer.usual(call)

    end = peer.on("POST", "/_bulk_docs$", refuse)
    deal = share(alice, peer, title, [folder_rule(title, root)])
    eventually(lambda: {xor(id, deal.key) for id in [good, *files]} <= set(deal.kept), "everything else")
    assert xor(refused, deal.key) not in deal.kept
    end()
    eventually(lambda: xor(refused, deal.key) in deal.kept, "what was refused at first")


def test_a_file_that_is_trashed_at_once_is_removed_when_it_can_be(desk: Desk) -> None:
    """A server of another make notes aside of a new file that it is shared; a removal must not come before (§23)."""
    from time import monotonic

    file = desk.alice.upload("for a moment.txt", b"moment", desk.root)
    desk.arrived(file)
    brought = monotonic()
    desk.alice.trash(file)
    desk.gone(file)
    assert monotonic() - brought > 1.0


def test_a_recipient_without_room_gets_the_rest_when_it_asks(desk: Desk) -> None:
    full: Body = {"status": "413", "title": "Request Entity Too Large", "detail": "The file is too big", "source": {}}
    path = rf"{desk.deal.id}/io\.cozy\.files/[^/]+$"
    end = desk.peer.on("PUT", path, lambda _: Reply(413, {"errors": [full]}, "application/vnd.api+json"))
    large = desk.alice.upload("too large.bin", b"x" * 5000, desk.root)
    folder = desk.alice.mkdir("Folders go on", desk.root)
    desk.arrived(folder)
    # after some tries the next one is far away
    desk.peer.awaits("PUT", rf"{desk.deal.id}/io\.cozy\.files/[^/]+$", len(desk.peer.got("PUT", path)) + 3)
    assert desk.has(large) is None
    end()
    assert desk.peer.send(desk.deal, "POST", "/reupload").status_code == 204
    desk.arrived(large)


def test_an_error_of_the_server_is_no_reason_to_renew_the_tokens(desk: Desk) -> None:
    renewals = len(desk.peer.got("POST", "/auth/access_token$"))
    broken = [Reply(500, {"errors": []}), Reply(503)]

    def fail_twice(call: Call) -> Reply:
        return broken.pop() if broken else desk.peer.usual(call)

    end = desk.peer.on("PUT", f"{desk.deal.id}/io.cozy.files/.*/metadata$", fail_twice)
    desk.arrived(desk.alice.upload("after errors.txt", b"after errors", desk.root))
    end()
    assert len(desk.peer.got("POST", "/auth/access_token$")) == renewals


# -- other rules


def test_a_file_shared_by_itself(town: Town, peer: FakePeer) -> None:
    alice = town.alice
    id = alice.upload("alone sent.txt", b"alone")
    deal = share(alice, peer, "alone sent.txt", [folder_rule("alone sent.txt", id)])
    assert deal.rules[0]["mime"] == "text/plain", "told in the request"
    assert deal.files_announced == 1
    kept = eventually(lambda: deal.kept.get(xor(id, deal.key)), "the file")
    assert (kept.content, "dir_id" in kept.document) == (b"alone", False)
    alice.change(id, dir_id=alice.mkdir("Place of the single file"), name="alone elsewhere.txt")
    eventually(lambda: deal.named("alone elsewhere.txt"), "the new name; it is shared wherever it lies")
    alice.trash(id)
    eventually(lambda: xor(id, deal.key) in deal.removed, "the removal")


def test_an_album_sends_what_refers_to_it(town: Town, peer: FakePeer) -> None:
    alice = town.alice
    album = alice.create(ALBUMS, {"name": "Winter"})
    photo = alice.upload("snow.jpg", b"snow", kind="image/jpeg")
    references = {"data": [{"id": album, "type": ALBUMS}]}
    alice.do("POST", f"/files/{photo}/relationships/referenced_by", body=references)
    rules = [
        folder_rule("Winter", album, doctype=ALBUMS),
        folder_rule("photos", f"{ALBUMS}/{album}", selector="referenced_by"),
    ]
    deal = share(alice, peer, "Winter", rules)
    there = xor(album, deal.key)
    assert deal.rules[1]["values"] == [f"{ALBUMS}/{there}"]
    kept = eventually(lambda: deal.kept.get(xor(photo, deal.key)), "the photo")
    assert kept.document["referenced_by"] == [{"id": there, "type": ALBUMS}]
    assert eventually(lambda: deal.kept.get(there), "the album").document["name"] == "Winter"
    # the recipient renames it: the owner's photo stays where it is
    before = alice.show(photo)["attributes"]["dir_id"]
    renamed = {**kept.document, **history(kept.rev, revision(9, "snow")), "_id": photo, "name": "more snow.jpg"}
    renamed["referenced_by"] = [{"id": album, "type": ALBUMS}]
    assert peer.announce(deal, renamed).status_code == 204
    shown = alice.show(photo)["attributes"]
    assert (shown["name"], shown["dir_id"]) == ("more snow.jpg", before)
    alice.do("DELETE", f"/files/{photo}/relationships/referenced_by", body=references)
    eventually(lambda: xor(photo, deal.key) in deal.removed, "the removal")
    # the recipient takes a photo out: it stays with the owner, without the reference
    second = alice.upload("ice.jpg", b"ice", kind="image/jpeg")
    alice.do("POST", f"/files/{second}/relationships/referenced_by", body=references)
    eventually(lambda: deal.kept.get(xor(second, deal.key)), "the second photo")
    peer.send_bulk(deal, {"_id": second, **history(revision(9, "ice")), "_deleted": True})
    copy = alice.at("/ice.jpg")
    assert copy is not None
    assert copy["id"] != second
    assert not (copy["relationships"].get("referenced_by") or {}).get("data")


def test_a_removal_ends_a_sharing_whose_rule_says_so(town: Town, peer: FakePeer) -> None:
    alice = town.alice
    title = next(TITLES)
    root = alice.mkdir(title)
    file = alice.upload("last.txt", b"last", root)
    deal = share(alice, peer, title, [{**folder_rule(title, root), "remove": "revoke"}])
    alice.trash(file)
    peer.awaits("DELETE", f"/sharings/{deal.id}$")
    assert not deal.removed, "nothing is sent instead"
    assert "active" not in alice.sharing(deal.id) or alice.sharing(deal.id)["active"] is False


def test_updates_that_a_rule_does_not_name_are_not_sent(town: Town, peer: FakePeer) -> None:
    alice = town.alice
    title = next(TITLES)
    root = alice.mkdir(title)
    deal = share(alice, peer, title, [{**folder_rule(title, root), "update": "none"}])
    file = alice.upload("as it was.txt", b"as it was", root)
    eventually(lambda: deal.named("as it was.txt"), "what is new is sent")
    alice.change(file, name="renamed in vain.txt")
    alice.upload("also new.txt", b"new", root)
    eventually(lambda: deal.named("also new.txt"), "what is new is sent")
    assert deal.named("renamed in vain.txt") is None


def test_documents_that_a_field_chooses(town: Town, peer: FakePeer) -> None:
    alice = town.alice
    there = alice.create("io.cozy.tests", {"circle": "of the field", "v": 1})
    other = alice.create("io.cozy.tests", {"circle": "other", "v": 1})
    rule = folder_rule("Field", "of the field", doctype="io.cozy.tests", selector="circle")
    deal = share(alice, peer, "Field", [rule])
    assert deal.rules[0]["values"] == ["of the field"], "values of a field are not rewritten"
    eventually(lambda: deal.kept.get(xor(there, deal.key)), "the document")
    deal.initial = False
    later = alice.create("io.cozy.tests", {"circle": "of the field", "v": 2})
    kept = eventually(lambda: deal.kept.get(xor(later, deal.key)), "a new one")
    assert kept.document == {"_id": xor(later, deal.key), **history(kept.rev), "circle": "of the field", "v": 2}
    assert xor(other, deal.key) not in deal.kept
    # both change it: the higher revision wins on both sides, and the other one stays a conflict
    low = "2-" + "0" * 32
    mine = alice.update("io.cozy.tests", later, v=3)
    forged = {"_id": later, **history(kept.rev, low), "circle": "of the field", "v": "peer"}
    assert peer.send_bulk(deal, forged, doctype="io.cozy.tests").json() == []
    assert alice.do("GET", f"/data/io.cozy.tests/{later}")["_rev"] == mine
    eventually(lambda: deal.kept[xor(later, deal.key)].rev == mine, "the winner is sent")
    deal.sent.discard((xor(later, deal.key), low))  # of a member only the last revision is remembered
    assert peer.send_bulk(deal, {"_id": later, **history(kept.rev, mine, revision(3, "end")), "_deleted": True},
                          doctype="io.cozy.tests").json() == []  # fmt: skip
    assert alice.do("GET", f"/data/io.cozy.tests/{later}")["_rev"] == low, "a leaf that lives wins"


def test_contacts_travel_whole(town: Town, peer: FakePeer) -> None:
    alice = town.alice
    id = alice.create("io.cozy.contacts", {"fullname": "Bob", "email": [{"address": "bob@example.org"}]})
    deal = share(alice, peer, "A contact", [folder_rule("A contact", id, doctype="io.cozy.contacts")])
    kept = eventually(lambda: deal.kept.get(xor(id, deal.key)), "the contact")
    mine = alice.document("io.cozy.contacts", id)
    assert mine is not None
    assert {k: v for k, v in kept.document.items() if k[0] != "_"} == {k: v for k, v in mine.items() if k[0] != "_"}
    changed = {**kept.document, "_id": id, **history(kept.rev, revision(2, "bob")), "note": "seen"}
    assert peer.send_bulk(deal, changed, doctype="io.cozy.contacts").json() == []
    assert alice.document("io.cozy.contacts", id)["note"] == "seen"  # type: ignore[index]


def test_a_password_that_leaves_its_organization_is_told_as_removed(town: Town, peer: FakePeer) -> None:
    alice, ciphers = town.alice, "com.bitwarden.ciphers"
    family, work = "f" * 32, "a" * 32
    id = alice.create(ciphers, {"name": "door", "organization_id": family})
    rule = folder_rule("Family", family, doctype=ciphers, selector="organization_id")
    deal = share(alice, peer, "Family", [rule])
    theirs = xor(id, deal.key)
    assert deal.rules[0]["values"] == [xor(family, deal.key)]
    kept = eventually(lambda: deal.kept.get(theirs), "the password")
    assert kept.document["organization_id"] == xor(family, deal.key)
    deal.initial = False
    alice.update(ciphers, id, name="front door")
    eventually(lambda: deal.kept[theirs].document["name"] == "front door", "a change")
    alice.update(ciphers, id, organization_id=work)
    eventually(lambda: theirs in deal.removed, "the removal")
    alice.update(ciphers, id, name="nobody else's matter")
    rev = alice.update(ciphers, id, organization_id=family)
    back = eventually(lambda: deal.kept.get(theirs), "it is there again")
    assert back.rev == rev
    told = [call.raw for call in peer.got("POST", f"{deal.id}/_bulk_docs$")]
    assert not any(xor(work, deal.key).encode() in body for body in told)


def test_large_documents_go_in_requests_of_bounded_size(town: Town, peer: FakePeer) -> None:
    alice = town.alice
    ids = [alice.create("io.cozy.tests", {"circle": "large", "text": "x" * 900_000}) for _ in range(24)]
    deal = share(alice, peer, "Large", [folder_rule("Large", "large", doctype="io.cozy.tests", selector="circle")])
    eventually(lambda: {xor(id, deal.key) for id in ids} <= deal.kept.keys(), "all documents")
    sizes = [len(call.raw) for call in peer.got("POST", f"{deal.id}/_bulk_docs$")]
    assert max(sizes) < 12_000_000
    assert len(sizes) >= 3
