"""Alice, bob and carol: the owner is the hub, readers only read, and an end ends everything (spec/04 §19, spec/05)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from .conftest import Town
from .people import ROOT, Shared, folder_rule, share_folder
from .processes import eventually


@pytest.fixture(scope="module")
def circle(town: Town) -> Shared:
    """A folder of alice's, shared with bob and carol."""
    return share_folder(town.alice, "Circle", [town.bob, town.carol])


def test_what_a_recipient_does_reaches_the_other_one(town: Town, circle: Shared) -> None:
    bob, carol = town.bob, town.carol
    folder = bob.mkdir("From bob", circle.place(bob))
    bob.upload("note.txt", b"one", folder)
    circle.agree("From bob", "From bob/note.txt")
    carol.overwrite(carol.find(circle.place(carol), "From bob/note.txt"), b"two, by carol")
    eventually(
        lambda: bob.read(bob.find(circle.place(bob), "From bob/note.txt")) == b"two, by carol", "carol's content"
    )
    bob.change(folder, name="Renamed by bob")
    circle.agree("Renamed by bob", "Renamed by bob/note.txt")
    carol.trash(carol.find(circle.place(carol), "Renamed by bob/note.txt"))
    circle.agree("Renamed by bob")
    carol.trash(carol.find(circle.place(carol), "Renamed by bob"))
    assert circle.agree() == {".": ()}


def test_all_three_create_the_same_name_at_once(circle: Shared) -> None:
    made = 0
    for person in circle.members:
        path = f"/files/{circle.place(person)}?Type=file&Name=same.txt"
        answer = person.call("POST", path, content=person.name, headers={"Content-Type": "text/plain"})
        assert answer.status_code in (201, 409), "a conflict, when another one's has arrived already"
        made += answer.status_code == 201

    def all_of_them() -> bool:
        trees = [person.tree(circle.place(person)) for person in circle.members]
        same = {path: entry for path, entry in trees[0].items() if path.startswith("same")}
        return trees[0] == trees[1] == trees[2] and len({entry[2] for entry in same.values()}) == made == len(same)

    eventually(all_of_them, "each a file of its own, the same everywhere")


def test_all_three_change_the_same_file_at_once(circle: Shared) -> None:
    owner = circle.owner
    owner.upload("contested.txt", b"base", circle.place(owner))
    ids = {p.name: eventually(lambda p=p: p.find(circle.place(p), "contested.txt"), "the file") for p in circle.members}
    for person in circle.members:
        path, kind = f"/files/{ids[person.name]}", {"Content-Type": "text/plain"}
        answer = person.call("PUT", path, content=f"by {person.name}", headers=kind)
        assert answer.status_code in (200, 409), "a conflict, when another one's arrives just then (spec/02 §13.3)"
    circle.agree()
    circle.revisions_agree("contested.txt")


def test_moved_into_each_other_both_sides_end_alike(town: Town, circle: Shared) -> None:
    alice, bob = town.alice, town.bob
    left, right = (alice.mkdir(name, circle.place(alice)) for name in ("Left", "Right"))
    theirs = {name: eventually(lambda name=name: bob.find(circle.place(bob), name), name) for name in ("Left", "Right")}
    alice.change(left, dir_id=right)
    answer = bob.call(
        "PATCH", f"/files/{theirs['Right']}",
        body={"data": {"type": "io.cozy.files", "id": theirs["Right"], "attributes": {"dir_id": theirs["Left"]}}},
    )  # fmt: skip
    assert answer.status_code in (200, 412), "either at once, or alice was faster"
    circle.agree()


def test_a_reader_gets_everything_and_what_he_does_stays_with_him(town: Town) -> None:
    alice, bob, carol = town.alice, town.bob, town.carol
    shared = share_folder(alice, "For reading", [bob], [carol])
    alice.upload("one.txt", b"one", shared.place(alice))
    shared.agree("one.txt")
    mine = carol.find(shared.place(carol), "one.txt")
    private = carol.upload("private.txt", b"private", shared.place(carol))
    carol.overwrite(mine, b"changed by the reader")
    alice.upload("two.txt", b"two", shared.place(alice))
    eventually(lambda: carol.find(shared.place(carol), "two.txt"), "a later change of the owner")
    eventually(lambda: bob.find(shared.place(bob), "two.txt"), "the same at bob's")
    assert set(alice.tree(shared.place(alice))) == {"one.txt", "two.txt"}
    assert alice.read(alice.find(shared.place(alice), "one.txt")) == b"one"
    assert set(bob.tree(shared.place(bob))) == {"one.txt", "two.txt"}
    assert carol.read(private) == b"private"


def test_a_reader_becomes_a_writer_and_back(town: Town) -> None:
    alice, carol = town.alice, town.carol
    shared = share_folder(alice, "For a while", [], [carol])
    alice.upload("one.txt", b"one", shared.place(alice))
    shared.agree("one.txt")
    alice.do("DELETE", f"/sharings/{shared.id}/recipients/1/readonly")
    carol.upload("by carol.txt", b"by carol", shared.place(carol))
    shared.agree("one.txt", "by carol.txt")
    alice.do("POST", f"/sharings/{shared.id}/recipients/1/readonly")
    carol.upload("private again.txt", b"private", shared.place(carol))
    alice.upload("last.txt", b"last", shared.place(alice))
    eventually(lambda: carol.find(shared.place(carol), "last.txt"), "a later change of the owner")
    assert set(alice.tree(shared.place(alice))) == {"one.txt", "by carol.txt", "last.txt"}


@pytest.mark.parametrize("by", ["owner", "recipient"])
def test_after_an_end_nothing_travels_and_everybody_keeps_what_they_have(town: Town, by: str) -> None:
    alice, bob, carol = town.alice, town.bob, town.carol
    shared = share_folder(alice, f"Ended by the {by}", [bob, carol])
    alice.upload("kept.txt", b"kept", shared.place(alice))
    shared.agree("kept.txt")
    if by == "owner":
        alice.do("DELETE", f"/sharings/{shared.id}/recipients/1")
    else:
        bob.do("DELETE", f"/sharings/{shared.id}/recipients/self")
    eventually(lambda: not bob.sharing(shared.id).get("active"), "the end at bob's")
    eventually(lambda: alice.sharing(shared.id)["members"][1]["status"] == "revoked", "the end at alice's")
    assert bob.show(shared.place(bob))["attributes"]["name"] == f"Ended by the {by} (cancelled sharing)"
    alice.upload("after.txt", b"after", shared.place(alice))
    bob.upload("of bob.txt", b"of bob", shared.place(bob))
    carol.upload("of carol.txt", b"of carol", shared.place(carol))
    rest = Shared(shared.id, shared.title, alice, [alice, carol], shared.places)
    rest.agree("kept.txt", "after.txt", "of carol.txt")
    assert set(bob.tree(shared.place(bob))) == {"kept.txt", "of bob.txt"}


def test_who_is_invited_again_gets_everything_anew(town: Town) -> None:
    alice, bob = town.alice, town.bob
    shared = share_folder(alice, "Again", [bob])
    alice.upload("first.txt", b"first", shared.place(alice))
    shared.agree("first.txt")
    alice.do("DELETE", f"/sharings/{shared.id}/recipients/1")
    eventually(lambda: not bob.sharing(shared.id).get("active"), "the end at bob's")
    alice.upload("second.txt", b"second", shared.place(alice))
    contact = alice.contact(bob.name, bob.email, bob.url)
    recipients = {"recipients": {"data": [{"id": contact, "type": "io.cozy.contacts"}]}}
    body = {"data": {"type": "io.cozy.sharings", "attributes": {}, "relationships": recipients}}
    alice.do("POST", f"/sharings/{shared.id}/recipients", body=body)
    bob.accept(bob.invitation("Again"))
    place = eventually(lambda: bob.at("/Inbox of sharings/Again"), "the new folder")["id"]
    assert place != shared.place(bob), "another key, another id"
    Shared(shared.id, "Again", alice, [alice, bob], {**shared.places, "bob": place}).agree("first.txt", "second.txt")


def test_the_trashed_root_ends_the_sharing_and_touches_nothing_elsewhere(town: Town) -> None:
    alice, bob = town.alice, town.bob
    shared = share_folder(alice, "Root in the trash", [bob])
    alice.upload("kept.txt", b"kept", shared.place(alice))
    shared.agree("kept.txt")
    alice.trash(shared.place(alice))
    eventually(lambda: not bob.sharing(shared.id).get("active"), "the end at bob's")
    assert set(bob.tree(shared.place(bob))) == {"kept.txt"}


def test_a_chain_of_sharings_passes_everything_on(town: Town) -> None:
    alice, bob, carol = town.alice, town.bob, town.carol
    first = share_folder(alice, "Chain", [bob])
    alice.upload("link.txt", b"link", first.place(alice))
    first.agree("link.txt")
    contact = bob.contact("carol", carol.email, carol.url)
    id = bob.share("Second chain", [folder_rule("Second chain", first.place(bob))], [contact])
    carol.accept(carol.invitation("Second chain"))
    place = eventually(lambda: carol.at("/Inbox of sharings/Second chain"), "carol's folder")["id"]
    all_three = Shared(id, "Chain", alice, [alice, bob, carol], {**first.places, "carol": place})
    all_three.agree("link.txt")
    carol.upload("from the end.txt", b"end", place)
    all_three.agree("link.txt", "from the end.txt")
    alice.trash(alice.find(first.place(alice), "link.txt"))
    all_three.agree("from the end.txt")
    carol.trash(carol.find(place, "from the end.txt"))
    assert all_three.agree() == {".": ()}


def test_a_folder_goes_from_one_sharing_to_another(town: Town) -> None:
    alice, bob, carol = town.alice, town.bob, town.carol
    first, second = share_folder(alice, "From here", [bob]), share_folder(alice, "To there", [carol])
    folder = alice.mkdir("Wanderer", first.place(alice))
    alice.upload("inside.txt", b"inside", folder)
    first.agree("Wanderer", "Wanderer/inside.txt")
    alice.change(folder, dir_id=ROOT)
    alice.change(folder, name="Renamed wanderer")
    alice.upload("more.txt", b"more", folder)
    alice.change(folder, dir_id=second.place(alice))
    assert first.agree() == {".": ()}
    second.agree("Renamed wanderer", "Renamed wanderer/inside.txt", "Renamed wanderer/more.txt")


def test_two_accept_at_the_same_moment(town: Town) -> None:
    alice, bob, carol = town.alice, town.bob, town.carol
    root = alice.mkdir("At once")
    alice.upload("hello.txt", b"hello", root)
    contacts = [alice.contact(p.name, p.email, p.url) for p in (bob, carol)]
    id = alice.share("At once", [folder_rule("At once", root)], contacts)
    links = {person.name: person.invitation("At once") for person in (bob, carol)}
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda person: person.accept(links[person.name]), (bob, carol)))
    places = {"alice": root}
    for person in (bob, carol):
        places[person.name] = eventually(lambda p=person: p.at("/Inbox of sharings/At once"), "the folder")["id"]
    Shared(id, "At once", alice, [alice, bob, carol], places).agree("hello.txt")
    assert [member["status"] for member in alice.sharing(id)["members"]] == ["owner", "ready", "ready"]
