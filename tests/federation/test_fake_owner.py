"""A strict owner of another make, and a real recipient: bob."""

from __future__ import annotations

from .conftest import NewPerson, Town
from .fake_peer import FakePeer, Reply, history, revision, xor
from .peers import Visit, peer, visit
from .people import INBOX, md5
from .processes import eventually

__all__ = ["peer", "visit"]


def test_the_first_copy_is_taken_and_nothing_of_it_comes_back(town: Town, peer: FakePeer) -> None:
    bob = town.bob
    deal = peer.invite(bob, "First copy", files=2)
    assert bob.sharing(deal.id)["initial_sync"] is True
    sub = peer.folder(deal, "Sub")
    deep, one = peer.file(deal, "deep.txt", b"deep", dir_id=sub["_id"]), peer.file(deal, "one.txt", b"first")
    assert peer.send_bulk(deal, sub, deep, one).json() == []
    place = xor(deal.root, deal.key)
    assert bob.tree(place) == {"Sub": ("directory",)}, "files in a bulk are left to the uploader"
    assert bob.at(f"{INBOX}/First copy")["id"] == place  # type: ignore[index]
    assert bob.at(f"{INBOX}/First copy.url") is None, "the folder takes the place of the shortcut"
    peer.send_file(deal, one, b"first")
    assert bob.sharing(deal.id)["initial_number_of_files_to_sync"] == 2
    peer.send_file(deal, deep, b"deep")
    ended = bob.sharing(deal.id)
    assert "initial_sync" not in ended, "the last file ends the first copy"
    assert "initial_number_of_files_to_sync" not in ended
    assert peer.send(deal, "DELETE", "/initial").status_code == 204
    assert bob.rev(deep["_id"]) == deep["_rev"]
    shown = bob.show(place)["attributes"]
    assert shown["tags"] == [f"from-sharing-{deal.id}"]
    bob.upload("of bob.txt", b"bob", place)
    eventually(lambda: deal.named("of bob.txt"), "a change of bob's, behind which an echo would have come")
    assert not peer.got("DELETE", "/initial$")


def test_what_bob_does_arrives_under_the_ids_of_the_owner(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    one = peer.file(deal, "plan.txt", b"plan")
    peer.send_file(deal, one, b"plan")
    bob.change(one["_id"], name="renamed.txt")
    kept = eventually(lambda: deal.named("renamed.txt"), "the new name")
    assert kept.document["_id"] == xor(one["_id"], deal.key)
    assert kept.document["_revisions"] == history(one["_rev"], bob.rev(one["_id"]))["_revisions"]
    folder = bob.mkdir("Of bob", visit.place)
    bob.change(one["_id"], dir_id=folder)
    eventually(lambda: kept_in(visit, one["_id"]) == xor(folder, deal.key), "the new place")
    bob.trash(folder)
    eventually(lambda: {xor(folder, deal.key), xor(one["_id"], deal.key)} <= deal.removed, "the removals")


def kept_in(visit: Visit, id: str) -> str:
    """The folder in which the owner has a file of bob's."""
    kept = visit.deal.kept.get(xor(id, visit.deal.key))
    return kept.document.get("dir_id", "") if kept else ""


def test_an_old_peer_sends_null_for_lists_and_objects(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    old = peer.file(deal, "old.txt", b"old", tags=None, metadata=None, referenced_by=None, dir_id=None)
    del old["encrypted"]
    peer.send_file(deal, old, b"old")
    assert visit.tree()["old.txt"][0] == "file"
    again = {**old, "name": "older.txt", "metadata": {}, "cozyMetadata": None, **history(old["_rev"], revision(2, "o"))}
    assert peer.announce(deal, again).status_code == 204
    assert bob.show(old["_id"])["attributes"]["name"] == "older.txt"
    folder = peer.folder(deal, "Old folder", tags=None, metadata=None, cozyMetadata=None)
    assert peer.send_bulk(deal, folder).status_code == 200
    shown = bob.show(folder["_id"])["attributes"]
    assert shown.get("tags") in ([], None)


def test_parameters_of_a_media_type_are_no_part_of_it(visit: Visit) -> None:
    peer, deal = visit.peer, visit.deal
    document = peer.file(deal, "charset.txt", b"charset", mime="text/plain; charset=utf-8")
    peer.send_file(deal, document, b"charset")
    assert visit.person.show(document["_id"])["attributes"]["mime"] == "text/plain"


def test_an_unknown_member_of_a_document_is_no_obstacle(visit: Visit) -> None:
    document = visit.peer.file(visit.deal, "later.txt", b"later", of_a_later_version={"a": [1, 2, {"b": None}]})
    visit.peer.send_file(visit.deal, document, b"later")
    assert visit.person.read(document["_id"]) == b"later"


def test_an_owner_replaces_a_content_and_the_old_one_is_a_version(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    first = peer.file(deal, "draft.txt", b"one")
    peer.send_file(deal, first, b"one")
    second = peer.file(deal, "draft.txt", b"two", first["_rev"], revision(2, "draft"))
    peer.send_file(deal, second, b"two")
    assert bob.read(first["_id"]) == b"two"
    assert bob.rev(first["_id"]) == second["_rev"]
    assert len(bob.show(first["_id"])["relationships"]["old_versions"]["data"]) == 1


def test_content_and_place_in_one_announcement_are_both_taken(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    target = peer.folder(deal, "Target")
    peer.send_bulk(deal, target)
    first = peer.file(deal, "mover.txt", b"one")
    peer.send_file(deal, first, b"one")
    revs = first["_rev"], revision(2, "mover"), revision(3, "mover")
    moved = {**peer.file(deal, "mover.txt", b"two", *revs, dir_id=target["_id"]), "name": "moved.txt"}
    peer.send_file(deal, moved, b"two")
    assert visit.tree()["Target/moved.txt"] == ("file", "3", md5(b"two"))
    assert bob.rev(first["_id"]) == revs[-1]


def test_a_bulk_in_any_order_and_with_crossing_names_is_applied(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    left, right = peer.folder(deal, "Left"), peer.folder(deal, "Right")
    inner = peer.folder(deal, "Inner", dir_id=left["_id"])
    assert peer.send_bulk(deal, left, right).status_code == 200
    swapped = [
        {**left, "name": "Right", **history(left["_rev"], revision(2, "l"))},
        {**right, "name": "Left", **history(right["_rev"], revision(2, "r"))},
    ]
    assert peer.send_bulk(deal, inner, *swapped).status_code == 200
    assert (bob.show(left["_id"])["attributes"]["name"], bob.show(right["_id"])["attributes"]["name"]) == (
        "Right",
        "Left",
    )
    assert "Right/Inner" in visit.tree()


def test_a_removal_right_after_the_creation_is_applied(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    document = peer.file(deal, "short life.txt", b"gone soon")
    peer.send_file(deal, document, b"gone soon")
    removal = {"_id": document["_id"], **history(revision(2, "short")), "_deleted": True}
    assert peer.send_bulk(deal, removal).status_code == 200
    assert "short life.txt" not in visit.tree()
    assert bob.call("GET", f"/files/{document['_id']}").status_code == 404, "the shared id is given up"


def test_a_deleted_id_comes_back_with_a_revision_of_its_own_that_is_told(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    document = peer.file(deal, "phoenix.txt", b"phoenix")
    peer.send_file(deal, document, b"phoenix")
    peer.send_bulk(deal, {"_id": document["_id"], **history(revision(2, "phoenix")), "_deleted": True})
    peer.send_file(deal, document, b"phoenix")
    there = bob.rev(document["_id"])
    assert there.startswith("2-")
    kept = eventually(lambda: deal.kept.get(xor(document["_id"], deal.key)), "the new revision")
    assert kept.document["_revisions"] == history(document["_rev"], there)["_revisions"]


def test_names_in_conflict_the_document_of_the_owner_keeps_its_name(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    own = bob.upload("both.txt", b"of bob", visit.place)
    document = peer.file(deal, "both.txt", b"of the owner")
    peer.send_file(deal, document, b"of the owner")
    assert bob.rev(document["_id"]) == document["_rev"]
    assert bob.show(document["_id"])["attributes"]["name"] == "both.txt"
    assert bob.show(own)["attributes"]["name"] == "both (2).txt"
    eventually(lambda: deal.named("both (2).txt"), "the new name of bob's file")


def test_contents_in_conflict_make_the_copy_that_the_owner_makes_too(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    first = peer.file(deal, "report.txt", b"base")
    peer.send_file(deal, first, b"base")
    block = peer.on("PUT", "/metadata$", lambda _: not_now())
    bob.overwrite(first["_id"], b"of bob")
    mine = bob.rev(first["_id"])
    lower = "2-" + "0" * 16 + "f" * 16
    lost = peer.file(deal, "report.txt", b"of the owner", first["_rev"], lower)
    peer.send_file(deal, lost, b"of the owner")
    block()
    copy = xor(first["_id"], bytes(int(digit, 16) for digit in lower[2:]))
    assert bob.read(copy) == b"of the owner"
    assert (bob.rev(copy), bob.rev(first["_id"])) == (lower, mine)
    assert bob.show(copy)["attributes"]["name"] == "report (2).txt"
    assert bob.read(first["_id"]) == b"of bob"


def not_now() -> Reply:
    """A server that has no time."""
    return Reply(503, {"error": "not now"})


def test_the_owner_is_told_when_there_is_room_again(new_person: NewPerson, peer: FakePeer) -> None:
    bob = new_person("bob", quota="1000000")
    deal = peer.invite(bob, "Room")
    ballast = bob.upload("ballast.bin", b"x" * 900_000)
    key = peer.announce(deal, peer.file(deal, "large.bin", b"y" * 600_000)).json()["key"]
    assert peer.upload(deal, key, b"y" * 600_000).status_code == 413
    assert not peer.got("POST", "/reupload$")
    bob.trash(ballast)
    bob.do("DELETE", "/files/trash")
    told = peer.awaits("POST", f"/sharings/{deal.id}/reupload$")
    assert told.raw == b""
    assert peer.upload(deal, key, b"y" * 600_000).status_code == 204
    bob.server.ask("instances", "set-disk-quota", bob.domain, "2000000")
    peer.awaits("POST", f"/sharings/{deal.id}/reupload$", 2)
    away = peer.on("POST", "/reupload$", lambda _: Reply(503))
    bob.server.ask("instances", "set-disk-quota", bob.domain, "-1")
    peer.awaits("POST", "/reupload$", 3)
    away()
    peer.awaits("POST", "/reupload$", 4)
