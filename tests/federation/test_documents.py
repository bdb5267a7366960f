"""Documents that are no files: contacts, by id and by a field (spec/05 §13); a single shared file, an album."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Town
from .people import TRASH, Body, Person, folder_rule
from .processes import eventually

CONTACTS = "io.cozy.contacts"


def share_with(owner: Person, other: Person, title: str, rules: list[Body]) -> tuple[str, Body]:
    """Share, and let the other accept; gives the id and what the other knows of the sharing."""
    contact = owner.contact(other.name, other.email, other.url)
    id = owner.share(title, rules, [contact])
    other.accept(other.invitation(title))
    return id, eventually(lambda: (found := other.sharing(id)).get("active") and found, "the accepted sharing")


def rule(doctype: str, values: list[str], **more: Any) -> Body:
    """A rule both ways."""
    ways = {"add": "sync", "update": "sync", "remove": "sync"}
    return {"title": "People", "doctype": doctype, "values": values, **ways, **more}


def same(one: Person, other: Person, ids: dict[str, str], doctype: str = CONTACTS) -> bool:
    """Whether two people have the same revision of a document."""
    a, b = one.document(doctype, ids[one.name]), other.document(doctype, ids[other.name])
    return (a and a["_rev"]) == (b and b["_rev"])


def test_a_contact_by_id_goes_both_ways_and_ends_by_deletion(town: Town) -> None:
    alice, bob = town.alice, town.bob
    mine = alice.create(CONTACTS, {"fullname": "Ada", "email": [{"address": "ada@example.com"}]})
    _, there = share_with(alice, bob, "A contact", [rule(CONTACTS, [mine])])
    theirs = there["rules"][0]["values"][0]
    assert theirs != mine
    ids = {"alice": mine, "bob": theirs}
    found = eventually(lambda: bob.document(CONTACTS, theirs), "the contact")
    assert found["fullname"] == "Ada"
    bob.update(CONTACTS, theirs, phone=[{"number": "1"}])
    eventually(lambda: (alice.document(CONTACTS, mine) or {}).get("phone"), "the number")
    alice.update(CONTACTS, mine, fullname="Ada L.")
    eventually(lambda: (bob.document(CONTACTS, theirs) or {}).get("fullname") == "Ada L.", "the name")
    eventually(lambda: same(alice, bob, ids), "the same revision")
    bob.delete(CONTACTS, theirs)
    eventually(lambda: alice.document(CONTACTS, mine) is None, "the deletion")


def test_documents_by_a_field_those_made_later_too(town: Town) -> None:
    alice, bob = town.alice, town.bob
    mark = {"me": {"circle": "friends"}}
    first = alice.create(CONTACTS, {"fullname": "First", "cozyMetadata": {}, **mark})
    private = alice.create(CONTACTS, {"fullname": "Private", "me": {"circle": "family"}})
    id, _ = share_with(alice, bob, "A circle", [rule(CONTACTS, ["friends"], selector="me.circle")])

    def names(person: Person) -> set[str]:
        listed = person.do("GET", f"/sharings/{id}")["data"]["relationships"]["shared_docs"]["data"] or []
        documents = [person.document(CONTACTS, entry["id"]) for entry in listed]
        return {document["fullname"] for document in documents if document}

    eventually(lambda: names(bob) == {"First"}, "what was there before")
    alice.create(CONTACTS, {"fullname": "Second", **mark})
    eventually(lambda: names(bob) == {"First", "Second"}, "what alice made later")
    bob.create(CONTACTS, {"fullname": "Third", **mark})
    eventually(lambda: names(alice) == {"First", "Second", "Third"}, "what bob made later")
    alice.delete(CONTACTS, first)
    eventually(lambda: names(bob) == {"Second", "Third"}, "a deletion")
    assert alice.document(CONTACTS, private)
    everybody = bob.do("GET", f"/data/{CONTACTS}/_all_docs?include_docs=true")["rows"]
    assert "Private" not in {row["doc"].get("fullname") for row in everybody}


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_many_quick_changes_end_alike(town: Town, who: str) -> None:
    alice, bob = town.alice, town.bob
    mine = alice.create("io.cozy.tests", {"n": 0})
    _, there = share_with(alice, bob, f"Quick {who}", [rule("io.cozy.tests", [mine])])
    ids = {"alice": mine, "bob": there["rules"][0]["values"][0]}
    eventually(lambda: bob.document("io.cozy.tests", ids["bob"]), "the document")
    fast, slow = (alice, bob) if who == "alice" else (bob, alice)

    def taken(n: int) -> bool:
        # what the other one has changed may come between the reading and the writing: then it is read again
        path = f"/data/io.cozy.tests/{ids[fast.name]}"
        return fast.call("PUT", path, body={**fast.do("GET", path), "n": n}).status_code == 200

    for n in range(1, 31):
        eventually(lambda n=n: taken(n), "the change is taken")
        if n % 10 == 0:
            slow.call(
                "PUT", f"/data/io.cozy.tests/{ids[slow.name]}",
                body={**slow.do("GET", f"/data/io.cozy.tests/{ids[slow.name]}"), "slow": n},
            )  # fmt: skip
    eventually(lambda: same(alice, bob, ids, "io.cozy.tests"), "the same winner")


def test_a_single_file_goes_both_ways(town: Town) -> None:
    alice, bob = town.alice, town.bob
    mine = alice.upload("single.txt", b"single")
    share_with(alice, bob, "single.txt", [folder_rule("single.txt", mine, remove="revoke")])
    theirs = eventually(lambda: bob.at("/Inbox of sharings/single.txt"), "the file")["id"]
    assert bob.at("/Inbox of sharings/single.txt.url") is None
    bob.overwrite(theirs, b"by bob")
    eventually(lambda: alice.read(mine) == b"by bob", "bob's content")
    alice.overwrite(mine, b"by alice")
    eventually(lambda: bob.read(theirs) == b"by alice", "alice's content")
    bob.change(theirs, dir_id=bob.mkdir("Own place of bob"))
    eventually(lambda: alice.rev(mine) == bob.rev(theirs), "alice knows of the move, which changes nothing at hers")
    alice.overwrite(mine, b"by alice again")
    eventually(lambda: bob.read(theirs) == b"by alice again", "the content, wherever bob has put it")
    assert alice.at("/single.txt"), "the place is everybody's own"


def test_a_single_file_that_its_owner_trashes_ends_the_sharing(town: Town) -> None:
    alice, bob = town.alice, town.bob
    mine = alice.upload("short lived.txt", b"single")
    id, _ = share_with(alice, bob, "short lived.txt", [folder_rule("short lived.txt", mine, remove="revoke")])
    theirs = eventually(lambda: bob.at("/Inbox of sharings/short lived.txt"), "the file")["id"]
    alice.trash(mine)
    eventually(lambda: not bob.sharing(id).get("active"), "the end")
    assert bob.read(theirs) == b"single", "bob keeps his copy"


def test_an_album_and_its_photos(town: Town) -> None:
    alice, bob = town.alice, town.bob
    album = alice.create("io.cozy.photos.albums", {"name": "Summer"})
    folder = alice.mkdir("Photos of summer")
    reference = {"type": "io.cozy.photos.albums", "id": album}
    photos = [alice.upload(f"{n}.jpg", f"photo {n}".encode(), folder, "image/jpeg") for n in range(3)]

    def refer(method: str, *ids: str) -> None:
        data = [{"type": "io.cozy.files", "id": id} for id in ids]
        path = f"/data/io.cozy.photos.albums/{album}/relationships/references"
        alice.do(method, path, body={"data": data})

    refer("POST", *photos[:2])
    rules = [
        {**rule("io.cozy.photos.albums", [album]), "title": "collection", "remove": "revoke"},
        {**rule("io.cozy.files", [f"io.cozy.photos.albums/{album}"], selector="referenced_by"), "title": "Summer"},
    ]
    _, there = share_with(alice, bob, "Summer", rules)
    theirs = there["rules"][0]["values"][0]
    eventually(lambda: bob.document("io.cozy.photos.albums", theirs), "the album")

    def at_bobs() -> set[str]:
        path = f"/data/io.cozy.photos.albums/{theirs}/relationships/references?include=files"
        return {item["attributes"]["name"] for item in bob.do("GET", path).get("included") or ()}

    eventually(lambda: at_bobs() == {"0.jpg", "1.jpg"}, "two photos")
    refer("POST", photos[2])
    eventually(lambda: at_bobs() == {"0.jpg", "1.jpg", "2.jpg"}, "the third photo")
    refer("DELETE", photos[0])
    eventually(lambda: at_bobs() == {"1.jpg", "2.jpg"}, "a photo less")
    eventually(lambda: "0.jpg" in bob.children(TRASH), "it is in bob's trash")
    one = next(
        item["id"] for item in bob.do(
            "GET", f"/data/io.cozy.photos.albums/{theirs}/relationships/references?include=files"
        )["included"] if item["attributes"]["name"] == "1.jpg"
    )  # fmt: skip
    bob.change(one, name="beach.jpg")
    eventually(lambda: "beach.jpg" in alice.children(folder), "the new name, in the place where alice has it")
    assert reference["id"] == album
