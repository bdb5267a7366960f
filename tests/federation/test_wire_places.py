"""Where received things go, and what becomes of them when they are removed (spec/05 §8.3, §14-§17.4), a real recipient
under a strict owner of another make."""

from __future__ import annotations

import io
import threading
import time

import pytest
from PIL import Image

from inglenook.files.extraction import EXTRACTOR_VERSION
from inglenook.storage.contents import INLINE_BYTES

from .conftest import Town
from .fake_peer import Body, Call, Deal, FakePeer, Reply, history, make_id, revision, xor
from .peers import Visit, peer, visit
from .people import INBOX, ROOT, TRASH, Person
from .processes import eventually

__all__ = ["peer", "visit"]

ALBUMS = "io.cozy.photos.albums"
PHOTO = "image/jpeg"
SAFETY = {"status": "400", "title": "Bad Request", "detail": "Operation aborted", "source": {}}


def png(image: Image.Image) -> bytes:
    """The content of a picture's file."""
    content = io.BytesIO()
    image.save(content, "png")
    return content.getvalue()


def removal(id: str, *revs: str) -> Body:
    """The announcement of a removal."""
    return {"_id": id, **history(*revs), "_deleted": True}


def trashed(person: Person, name: str) -> Body:
    """What lies in the trash of a person under a name."""
    return person.children(TRASH)[name]


# -- removals


def test_a_removed_file_is_a_copy_in_the_trash_that_knows_its_place(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    folder = peer.folder(deal, "Of the removed")
    peer.send_bulk(deal, folder)
    document = peer.file(deal, "to remove.txt", b"removed", dir_id=folder["_id"])
    peer.send_file(deal, document, b"removed")
    assert peer.send_bulk(deal, removal(document["_id"], revision(2, "to remove"))).json() == []
    copy = trashed(bob, "to remove.txt")
    assert copy["id"] != document["_id"]
    assert copy["attributes"]["trashed"] is True
    assert bob.read(copy["id"]) == b"removed"
    assert bob.call("GET", f"/files/{document['_id']}").status_code == 404
    bob.restore(copy["id"])
    assert "Of the removed/to remove.txt" in visit.tree(), "the place is remembered"
    kept = eventually(lambda: deal.named("to remove.txt"), "what is restored is new for everybody")
    assert kept.document["_id"] == xor(copy["id"], deal.key)


def test_a_removal_onto_a_taken_name_in_the_trash_gets_a_conflict_name(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    own = bob.upload("a.b.txt", b"own")
    bob.trash(own)
    document = peer.file(deal, "a.b.txt", b"shared")
    peer.send_file(deal, document, b"shared")
    peer.send_bulk(deal, removal(document["_id"], revision(2, "a.b")))
    assert bob.read(trashed(bob, "a.b (2).txt")["id"]) == b"shared"
    folder = bob.mkdir("d.e")
    bob.trash(folder)
    shared = peer.folder(deal, "d.e")
    peer.send_bulk(deal, shared)
    peer.send_bulk(deal, removal(shared["_id"], revision(2, "d.e")))
    assert trashed(bob, "d (2).e")["attributes"]["type"] == "directory", "as if it were a file name"


def test_a_removed_folder_takes_everything_in_it_along_in_any_order(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    outer = peer.folder(deal, "Outer removed")
    inner = peer.folder(deal, "Inner removed", dir_id=outer["_id"])
    peer.send_bulk(deal, outer, inner)
    leaf = peer.file(deal, "leaf of removed.txt", b"leaf", dir_id=inner["_id"])
    peer.send_file(deal, leaf, b"leaf")
    answer = peer.send_bulk(
        deal,
        removal(outer["_id"], revision(2, "outer")),
        removal(inner["_id"], revision(2, "inner")),
        removal(leaf["_id"], revision(2, "leaf")),
    )
    assert (answer.status_code, answer.json()) == (200, [])
    copy = trashed(bob, "Outer removed")
    tree = bob.tree(copy["id"])
    assert set(tree) == {"Inner removed", "Inner removed/leaf of removed.txt"}
    inside = bob.find(copy["id"], "Inner removed/leaf of removed.txt")
    assert bob.show(inside)["attributes"]["trashed"] is True
    for document in (outer, inner, leaf):
        assert bob.call("GET", f"/files/{document['_id']}").status_code == 404


def test_what_moves_out_of_a_removed_folder_in_the_same_bulk_survives(visit: Visit) -> None:
    peer, deal = visit.peer, visit.deal
    outer = peer.folder(deal, "Left behind")
    child = peer.folder(deal, "Rescued", dir_id=outer["_id"])
    peer.send_bulk(deal, outer, child)
    moved = {**child, **history(child["_rev"], revision(2, "rescued"))}
    del moved["dir_id"]
    assert peer.send_bulk(deal, moved, removal(outer["_id"], revision(2, "left"))).status_code == 200
    assert "Rescued" in visit.tree()
    assert "Left behind" not in visit.tree()


def test_what_a_content_tells_of_itself_completes_what_the_sender_tells(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    large, small = png(Image.effect_noise((500, 400), 90)), png(Image.new("L", (3, 2)))
    assert len(large) > INLINE_BYTES > len(small)
    for name, content, size in (("large.png", large, (500, 400)), ("small.png", small, (3, 2))):
        picture = {"mime": "image/png", "class": "image", "metadata": {"width": 1, "caption": name}}
        document = peer.file(deal, name, content, **picture)
        peer.send_file(deal, document, content)
        told = bob.show(document["_id"])["attributes"]["metadata"]
        assert (told["width"], told["height"], told["caption"]) == (*size, name)
    looked = {"width": 7, "extractor_version": EXTRACTOR_VERSION}
    document = peer.file(deal, "looked at.png", small, mime="image/png", metadata=looked)
    peer.send_file(deal, document, small)
    assert bob.show(document["_id"])["attributes"]["metadata"] == looked, "the sender's server has looked already"
    link = b"[InternetShortcut]\r\nURL=https://example.org/\r\n"
    target = {"app": "drive", "_type": "io.cozy.files"}
    more = {"mime": "application/internet-shortcut", "class": "shortcut", "metadata": {"target": target}}
    document = peer.file(deal, "there.url", link, **more)
    peer.send_file(deal, document, link)
    assert bob.show(document["_id"])["attributes"]["metadata"]["target"] == target


def test_removals_of_what_is_not_there_are_nothing(visit: Visit) -> None:
    peer, deal = visit.peer, visit.deal
    before = visit.person.tree(ROOT)
    unknown = removal(make_id("never seen"), revision(3, "never seen"))
    assert peer.send_bulk(deal, unknown).json() == []
    document = peer.file(deal, "twice removed.txt", b"x")
    peer.send_file(deal, document, b"x")
    for _ in range(2):
        assert peer.send_bulk(deal, removal(document["_id"], revision(2, "twice removed"))).json() == []
    assert set(visit.person.tree(ROOT)) == set(before)


def test_a_file_in_an_album_of_ones_own_goes_to_no_longer_shared(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    album = bob.create(ALBUMS, {"name": "Mine"})
    document = peer.file(deal, "in my album.txt", b"picture")
    peer.send_file(deal, document, b"picture")
    bob.do(
        "POST", f"/files/{document['_id']}/relationships/referenced_by", body={"data": [{"id": album, "type": ALBUMS}]}
    )
    told = eventually(lambda: deal.kept.get(xor(document["_id"], deal.key)), "the new revision")
    assert "referenced_by" not in told.document, "references of one's own do not travel"
    peer.send_bulk(deal, removal(document["_id"], revision(9, "in my album")))
    there = eventually(lambda: bob.at(f"{INBOX}/No longer shared/in my album.txt"))
    assert there is not None
    assert there["attributes"]["trashed"] is False
    assert there["relationships"]["referenced_by"]["data"] == [{"id": album, "type": ALBUMS}]
    assert bob.show(bob.at(f"{INBOX}/No longer shared")["id"])["id"] == "io.cozy.files.no-longer-shared-dir"  # type: ignore[index]


# -- parents


def test_parents_in_the_trash(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    folder = peer.folder(deal, "Trashed here")
    peer.send_bulk(deal, folder)
    inside = peer.file(deal, "inside trashed.txt", b"inside", dir_id=folder["_id"])
    peer.send_file(deal, inside, b"inside")
    block = peer.on("POST", f"{deal.id}/_bulk_docs$", lambda _: Reply(503, {"error": "not now"}))
    bob.trash(folder["_id"])
    new = peer.file(deal, "new in trashed.txt", b"new", dir_id=folder["_id"])
    key = peer.announce(deal, new).json()["key"]
    refused = peer.upload(deal, key, b"new")
    assert refused.status_code == 409
    error = refused.json()["errors"][0]
    assert (error["title"], error["detail"]) == ("Conflict", "Parent directory is in the trash")
    below = peer.folder(deal, "New folder in trashed", dir_id=folder["_id"])
    assert peer.send_bulk(deal, below).json() == []
    assert bob.find(folder["_id"], "New folder in trashed") == below["_id"], "a folder is made in the trashed one"
    renamed = {**folder, "name": "Another name", **history(folder["_rev"], revision(9, "trashed here"))}
    assert peer.send_bulk(deal, renamed).json() == []
    assert bob.show(folder["_id"])["attributes"]["name"] == "Trashed here"
    changed = peer.file(deal, "inside trashed.txt", b"inside", inside["_rev"], revision(2, "it"), dir_id=folder["_id"])
    answer = peer.announce(deal, changed)
    assert (answer.status_code, answer.json()["errors"]) == (400, [SAFETY])
    private = bob.mkdir("Private and trashed")
    bob.trash(private)
    for place in (private, TRASH):
        stranger = peer.folder(deal, f"Stranger in {place}", dir_id=place)
        answer = peer.send_bulk(deal, stranger)
        assert (answer.status_code, answer.json()["errors"]) == (400, [SAFETY])
    block()


def test_changes_that_cross_a_removal_which_the_owner_has_just_taken_are_not_applied(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    folder = peer.folder(deal, "Crossed")
    file = peer.file(deal, "crossed.txt", b"crossed")
    left = peer.file(deal, "left.txt", b"left")
    peer.send_bulk(deal, folder)
    for document, content in ((file, b"crossed"), (left, b"left")):
        peer.send_file(deal, document, content)
    private = bob.mkdir("Private of the crossed")
    bob.trash(folder["_id"])
    bob.trash(file["_id"])
    bob.change(left["_id"], dir_id=private)
    gone = {xor(document["_id"], deal.key) for document in (folder, file, left)}
    eventually(lambda: gone <= deal.removed, "the owner has taken the removals")
    renamed = {**folder, "name": "Crossed anew", **history(folder["_rev"], revision(2, "crossed"))}
    assert peer.send_bulk(deal, renamed).json() == []
    assert bob.show(folder["_id"])["attributes"]["name"] == "Crossed"
    for document in (file, left):
        late = {**document, "name": "late.txt", **history(document["_rev"], revision(2, "late"))}
        answer = peer.announce(deal, late)
        assert (answer.status_code, answer.json()["errors"]) == (400, [SAFETY])
    assert bob.find(private, "left.txt") == left["_id"]
    assert {"Crossed anew", "late.txt", "crossed.txt"}.isdisjoint(visit.tree())
    # what somebody else has kept has one revision more, of the owner's
    kept = {**file, **history(file["_rev"], revision(2, "late"), revision(3, "kept"))}
    eventually(lambda: peer.announce(deal, kept).status_code == 200, "bob knows that the owner has taken the removals")
    peer.send_file(deal, kept, b"crossed")
    assert bob.find(visit.place, "crossed.txt") == file["_id"]


def test_what_was_destroyed_does_not_come_back_by_a_change_that_was_on_its_way(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    file = peer.file(deal, "destroyed.txt", b"destroyed")
    peer.send_file(deal, file, b"destroyed")
    block = peer.on("POST", f"{deal.id}/_bulk_docs$", lambda _: Reply(503, {"error": "not now"}))
    bob.destroy(file["_id"])
    late = peer.file(deal, "destroyed.txt", b"late", file["_rev"], revision(2, "destroyed"))
    answer = peer.announce(deal, late)
    assert (answer.status_code, answer.json()["errors"]) == (400, [SAFETY])
    block()
    own = xor(file["_id"], deal.key)

    def told() -> bool:
        peer.send_bulk(deal)  # a call shows that the peer is back
        return own in deal.removed

    eventually(told, "the removal")
    assert "destroyed.txt" not in visit.tree()


def test_folders_are_looked_up_at_the_sender_from_the_bottom_to_the_top(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    outer, inner = peer.folder(deal, "Looked up outer"), peer.folder(deal, "Looked up inner")
    inner = {**inner, "dir_id": outer["_id"]}
    told = {outer["_id"]: outer, inner["_id"]: inner}

    def tell(call: Call) -> Reply:
        found = told[call.path.rpartition("/")[2]]
        return Reply(200, {name: value for name, value in found.items() if name != "_revisions"})

    end = peer.on("GET", f"{deal.id}/io.cozy.files/", tell)
    leaf = peer.file(deal, "looked up.txt", b"leaf", dir_id=inner["_id"])
    peer.send_file(deal, leaf, b"leaf")
    end()
    assert "Looked up outer/Looked up inner/looked up.txt" in visit.tree()
    asked = peer.got("GET", f"{deal.id}/io.cozy.files/")
    assert [call.path.rpartition("/")[2] for call in asked[-2:]] == [inner["_id"], outer["_id"]], "by bob's own ids"
    assert asked[-1].headers["authorization"] == f"Bearer {deal.mine}"
    assert bob.rev(inner["_id"]).startswith("1-")
    assert bob.rev(inner["_id"]) != inner["_rev"], "a local creation, with a revision of its own"


# -- the first copy


def test_a_sender_who_does_not_tell_of_a_folder_gets_its_answer_in_time(visit: Visit) -> None:
    peer, deal = visit.peer, visit.deal
    over = threading.Event()

    def hangs(call: Call) -> Reply:
        over.wait(30)
        return peer.usual(call)

    file = peer.file(deal, "moved far.txt", b"x")
    peer.send_file(deal, file, b"x")
    end = peer.on("GET", "/io.cozy.files/", hangs)
    began = time.monotonic()
    moved = {**file, **history(file["_rev"], revision(2, "far")), "dir_id": make_id("never told")}
    answer = peer.announce(deal, moved)
    took = time.monotonic() - began
    over.set()
    end()
    assert 400 <= answer.status_code < 500
    assert took < 9, "the sender waits ten seconds"


def test_a_folder_that_is_marked_as_encrypted_stays_so(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    folder = peer.folder(deal, "Vault", encrypted=True)
    assert peer.send_bulk(deal, folder).status_code == 200
    assert bob.show(folder["_id"])["attributes"]["encrypted"] is True
    renamed = {**folder, **history(folder["_rev"], revision(2, "Vault")), "name": "Renamed vault"}
    del renamed["encrypted"]
    assert peer.send_bulk(deal, renamed).status_code == 200
    assert bob.show(folder["_id"])["attributes"]["encrypted"] is True


def test_the_end_of_an_empty_first_copy_makes_the_folder(town: Town, peer: FakePeer) -> None:
    bob = town.bob
    deal = peer.invite(bob, "Announced but empty", files=3)
    assert bob.at(f"{INBOX}/Announced but empty") is None
    assert bob.sharing(deal.id)["initial_sync"] is True
    assert peer.send(deal, "DELETE", "/initial").status_code == 204
    ended = bob.sharing(deal.id)
    assert "initial_sync" not in ended
    assert "initial_number_of_files_to_sync" not in ended
    there = bob.at(f"{INBOX}/Announced but empty")
    assert there is not None
    assert there["id"] == deal.inbound_root
    assert peer.send(deal, "DELETE", "/initial").status_code == 204, "no effect the second time"


def test_without_files_the_folder_is_there_at_once(town: Town, peer: FakePeer) -> None:
    deal = peer.invite(town.bob, "Nothing announced")
    there = town.bob.at(f"{INBOX}/Nothing announced")
    assert there is not None
    assert there["id"] == deal.inbound_root
    assert there["attributes"]["tags"] == [f"from-sharing-{deal.id}"]
    assert there["relationships"]["referenced_by"]["data"] == [{"id": deal.id, "type": "io.cozy.sharings"}]
    assert "initial_sync" not in town.bob.sharing(deal.id)


def test_a_file_shared_by_itself_takes_the_place_of_its_shortcut(town: Town, peer: FakePeer) -> None:
    bob = town.bob
    file_id = make_id("alone")
    rule = peer.rule("alone.txt", file_id, mime="text/plain")
    deal = peer.invite(bob, "alone.txt", files=1, rules=[rule])
    document = peer.file(deal, "alone.txt", b"alone", id=file_id)
    peer.send_file(deal, document, b"alone")
    there = bob.at(f"{INBOX}/alone.txt")
    assert there is not None
    assert (there["id"], bob.read(there["id"])) == (xor(file_id, deal.key), b"alone")
    assert there["relationships"]["referenced_by"]["data"] == [{"id": deal.id, "type": "io.cozy.sharings"}]
    assert bob.at(f"{INBOX}/alone.txt.url") is None
    assert "initial_sync" not in bob.sharing(deal.id)
    bob.change(there["id"], name="still alone.txt", dir_id=ROOT)
    kept = eventually(lambda: deal.named("still alone.txt"), "the name is told")
    assert "dir_id" not in kept.document
    renamed = {**kept.document, "_id": there["id"], "name": "alone again.txt"}
    renamed |= history(document["_rev"], bob.rev(there["id"]), revision(9, "alone"))
    assert peer.announce(deal, renamed).status_code == 204
    shown = bob.show(there["id"])["attributes"]
    assert (shown["name"], shown["dir_id"]) == ("alone again.txt", ROOT), "it stays where bob has put it"


# -- albums


Summer = tuple[Person, FakePeer, Deal, str]


@pytest.fixture
def album(town: Town, peer: FakePeer) -> Summer:
    """An album of the peer's at bob's; gives the peer's id of it."""
    id = make_id("album", peer.port)
    title = f"Summer {peer.port}"
    rules = [peer.rule(title, id, ALBUMS), peer.rule(title, f"{ALBUMS}/{id}", selector="referenced_by")]
    deal = peer.invite(town.bob, title, rules=rules)
    return town.bob, peer, deal, id


def test_a_shared_album_is_the_album_and_a_folder_of_photos(album: Summer) -> None:
    bob, peer, deal, id = album
    there = xor(id, deal.key)
    told: Body = {"_id": there, **history(revision(1, "album")), "name": "Summer"}
    assert peer.send_bulk(deal, told, doctype=ALBUMS).json() == []
    kept = bob.document(ALBUMS, there)
    assert kept is not None
    assert (kept["name"], kept["_rev"]) == ("Summer", revision(1, "album"))
    reference = {"id": there, "type": ALBUMS}
    photo = peer.file(deal, "beach.jpg", b"beach", referenced_by=[reference], mime=PHOTO)
    peer.send_file(deal, photo, b"beach")
    shown = bob.show(photo["_id"])
    folder = bob.show(shown["attributes"]["dir_id"])
    assert folder["id"] == there, "the folder has the id of the album"
    assert folder["attributes"]["name"] == deal.rules[1]["title"], "and the title of its rule"
    assert shown["relationships"]["referenced_by"]["data"] == [reference]
    stray = peer.file(deal, "stray.jpg", b"stray", referenced_by=[{"id": make_id("other"), "type": ALBUMS}])
    refused = peer.announce(deal, stray)
    assert (refused.status_code, refused.json()["errors"]) == (400, [SAFETY])
    unreferenced = peer.file(deal, "unreferenced.jpg", b"stray")
    assert peer.announce(deal, unreferenced).status_code == 400
    # bob takes it out of the album: the owner is told of a removal, and has it without the reference
    bob.do("DELETE", f"/files/{photo['_id']}/relationships/referenced_by", body={"data": [reference]})
    eventually(lambda: xor(photo["_id"], deal.key) in deal.removed, "the removal")
    assert bob.show(photo["_id"])["attributes"]["trashed"] is False
    again = {**photo, **history(photo["_rev"], revision(5, "beach")), "name": "beach again.jpg"}
    eventually(lambda: peer.announce(deal, again).status_code == 200, "that bob knows that the removal has arrived")
    peer.send_file(deal, again, b"beach")
    added = bob.find(folder["id"], "beach again.jpg")
    assert added == photo["_id"], "the owner adds it again"


def test_a_photo_that_bob_adds_travels_with_the_reference_of_the_owner(
    album: Summer,
) -> None:
    bob, peer, deal, id = album
    there = xor(id, deal.key)
    peer.send_bulk(deal, {"_id": there, **history(revision(1, "album")), "name": "Summer"}, doctype=ALBUMS)
    photo = bob.upload("of bob.jpg", b"bob", kind=PHOTO)
    own = bob.create(ALBUMS, {"name": "Mine"})
    references = [{"id": own, "type": ALBUMS}, {"id": there, "type": ALBUMS}]
    bob.do("POST", f"/files/{photo}/relationships/referenced_by", body={"data": references})
    kept = eventually(lambda: deal.named("of bob.jpg"), "the photo")
    assert kept.content == b"bob"
    assert kept.document["referenced_by"] == [{"id": id, "type": ALBUMS}]
    assert "dir_id" not in kept.document
