"""A real owner and a strict recipient of another make: every request is held against spec/05 and the examples."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from .conftest import Town
from .fake_peer import FILES, Call, Deal, FakePeer, Reply, history, make_id, revision, xor
from .peers import peer
from .people import Person, folder_rule
from .processes import eventually


@dataclass
class Trip:
    """Alice's folder Trip with `Sub/deep.txt` and `one.txt`, shared with the fake peer."""

    alice: Person
    peer: FakePeer
    deal: Deal
    root: str

    def id(self, path: str) -> str:
        """The peer's id of something of alice's."""
        return xor(self.alice.find(self.root, path), self.deal.key)

    def fetched(self, path: str) -> bytes:
        """The content that the peer has."""
        return self.deal.kept[self.id(path)].content


__all__ = ["peer"]

TITLES = iter(f"Trip {number}" for number in range(1000))


def start_sharing(alice: Person, peer: FakePeer) -> tuple[str, str]:
    """Share a new folder with the peer; gives its id and that of the sharing."""
    title = next(TITLES)
    root = alice.mkdir(title)
    sub = alice.mkdir("Sub", root)
    alice.upload("deep.txt", b"deep", sub)
    alice.upload("one.txt", b"first", root)
    contact = alice.contact(peer.name, peer.email, peer.url)
    return root, alice.share(title, [folder_rule(title, root)], [contact])


@pytest.fixture
def trip(town: Town, peer: FakePeer) -> Trip:
    """After the first copy."""
    root, sharing = start_sharing(town.alice, peer)
    deal = peer.join(town.alice, sharing)
    peer.awaits("DELETE", "/initial$")
    return Trip(town.alice, peer, deal, root)


def test_the_request_says_what_is_shared_under_the_ids_of_the_recipient(trip: Trip) -> None:
    first, second = trip.peer.got("PUT", f"/sharings/{trip.deal.id}$")
    assert first.query.startswith("shortcut=true&url=")
    assert second.query == "interactive=true"
    attributes = first.json["data"]["attributes"]
    assert attributes["rules"][0]["values"] == [xor(trip.root, trip.deal.key)]
    assert attributes["initial_number_of_files_to_sync"] == 2
    assert [member["status"] for member in attributes["members"]] == ["owner", "pending"]


def test_the_first_copy_is_folders_then_files_then_the_end(trip: Trip) -> None:
    calls = [  # an empty one asks whether the peer is there
        c for c in trip.peer.calls
        if c.path.startswith(f"/sharings/{trip.deal.id}/") and "recipients" not in c.path and c.json_or_none() != {}
    ]  # fmt: skip
    kinds = [f"{c.method} {'/'.join(c.path.split('/')[3:])}" for c in calls]
    assert kinds[0] == "POST _bulk_docs"
    assert calls[0].json["io.cozy.files"][0]["name"] == "Sub"
    assert {d["name"] for d in calls[0].json["io.cozy.files"]} == {"Sub", "deep.txt", "one.txt"}
    assert not [c for c in calls if c.path.endswith("_revs_diff")], "nothing is asked in the first copy"
    assert kinds[-1] == "DELETE initial"
    assert [kind.partition(" ")[0] for kind in kinds[1:-1]] == ["PUT"] * 4
    deep = trip.deal.kept[trip.id("Sub/deep.txt")]
    assert deep.document["dir_id"] == trip.id("Sub")
    assert (deep.content, trip.fetched("one.txt")) == (b"deep", b"first")
    assert deep.rev == trip.alice.rev(trip.alice.find(trip.root, "Sub/deep.txt"))


def test_a_new_content_is_asked_about_announced_and_sent_with_its_history(trip: Trip) -> None:
    id = trip.alice.find(trip.root, "one.txt")
    before = trip.alice.rev(id)
    trip.alice.overwrite(id, b"second")
    eventually(lambda: trip.fetched("one.txt") == b"second", "the new content")
    document = trip.deal.kept[trip.id("one.txt")].document
    assert document == {**document, **history(before, trip.alice.rev(id))}
    key = f"io.cozy.files/{trip.id('one.txt')}"
    assert trip.peer.got("POST", "/_revs_diff$")[-1].json == {key: [document["_rev"]]}
    assert trip.peer.got("POST", "/_bulk_docs$")[-1].json == {"io.cozy.files": [document]}


def test_a_rename_is_metadata_alone(trip: Trip) -> None:
    contents = len(trip.peer.got("PUT", r"/io\.cozy\.files/[^/]+$"))
    trip.alice.change(trip.alice.find(trip.root, "one.txt"), name="uno.txt")
    eventually(lambda: trip.deal.named("uno.txt"), "the new name")
    assert len(trip.peer.got("PUT", r"/io\.cozy\.files/[^/]+$")) == contents


def test_a_renamed_folder_is_asked_about_and_sent_in_a_bulk(trip: Trip) -> None:
    trip.alice.change(trip.alice.find(trip.root, "Sub"), name="Renamed")
    eventually(lambda: trip.deal.named("Renamed"), "the new name")
    asked = trip.peer.got("POST", "/_revs_diff$")[-1]
    assert asked.json == {
        f"io.cozy.files/{trip.id('Renamed')}": [trip.alice.rev(trip.alice.find(trip.root, "Renamed"))]
    }


def test_removals_alone_are_sent_without_asking(trip: Trip) -> None:
    asked = len([c for c in trip.peer.got("POST", "/_revs_diff$") if c.json])
    id = trip.id("one.txt")
    trip.alice.trash(trip.alice.find(trip.root, "one.txt"))
    eventually(lambda: id in trip.deal.removed, "the removal")
    assert len([c for c in trip.peer.got("POST", "/_revs_diff$") if c.json]) == asked


def test_a_removed_folder_comes_with_what_is_in_it_folder_first(trip: Trip) -> None:
    folder, file = trip.id("Sub"), trip.id("Sub/deep.txt")
    trip.alice.trash(trip.alice.find(trip.root, "Sub"))
    eventually(lambda: {folder, file} <= trip.deal.removed, "the removals")


def test_what_the_peer_sends_is_applied_and_does_not_come_back(trip: Trip) -> None:
    peer, deal, alice = trip.peer, trip.deal, trip.alice
    one = alice.find(trip.root, "one.txt")
    renamed = peer.file(deal, "uno.txt", b"first", alice.rev(one), revision(2, "uno"), id=xor(one, deal.key))
    assert renamed["_id"] == one
    answer = peer.announce(deal, renamed)
    assert (answer.status_code, answer.content) == (204, b"")
    assert alice.show(one)["attributes"]["name"] == "uno.txt"
    assert alice.rev(one) == revision(2, "uno")
    folder = peer.folder(deal, "New")
    sent = peer.send_bulk(deal, folder)
    assert (sent.status_code, sent.json()) == (200, [])
    assert sent.headers["content-type"] == "application/json"
    peer.send_file(deal, peer.file(deal, "n.txt", b"n", dir_id=folder["_id"]), b"n")
    assert alice.tree(trip.root)["New/n.txt"][0] == "file"
    assert alice.rev(folder["_id"]) == folder["_rev"]
    # a change of alice's own comes after: had there been an echo, it would have come before
    alice.upload("last.txt", b"last", trip.root)
    eventually(lambda: deal.named("last.txt"), "the later change")


def test_known_revisions_and_empty_bulks_are_cheap_and_right(trip: Trip) -> None:
    one = trip.alice.find(trip.root, "one.txt")
    asked = {f"io.cozy.files/{one}": [trip.alice.rev(one)], "io.cozy.files/unknown": ["1-aa"]}
    answer = trip.peer.send(trip.deal, "POST", "/_revs_diff", asked)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"io.cozy.files/unknown": {"missing": ["1-aa"]}}
    assert trip.peer.send(trip.deal, "POST", "/_bulk_docs", {}).json() == []
    document = trip.peer.file(trip.deal, "one.txt", b"first", trip.alice.rev(one), id=xor(one, trip.deal.key))
    assert trip.peer.announce(trip.deal, document).status_code == 204


def test_a_folder_is_told_by_the_id_of_the_caller(trip: Trip) -> None:
    answer = trip.peer.send(trip.deal, "GET", f"/io.cozy.files/{trip.id('Sub')}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert told["_id"] == trip.id("Sub")
    assert told["_rev"] == trip.alice.rev(trip.alice.find(trip.root, "Sub"))
    assert (told["type"], told["name"]) == ("directory", "Sub")
    assert not {"dir_id", "path", "_revisions", "referenced_by"} & set(told)
    inner = trip.alice.mkdir("Inner", trip.alice.find(trip.root, "Sub"))
    told = trip.peer.send(trip.deal, "GET", f"/io.cozy.files/{xor(inner, trip.deal.key)}").json()
    assert told["dir_id"] == trip.id("Sub")


def test_a_folder_that_only_the_peer_knows_is_asked_for(trip: Trip) -> None:
    peer, deal = trip.peer, trip.deal
    outer, inner = make_id("outer"), make_id("inner")
    told = {
        xor(outer, deal.key): peer.folder(deal, "Outer", id=outer),
        xor(inner, deal.key): peer.folder(deal, "Inner", id=inner, dir_id=xor(outer, deal.key)),
    }

    def tell(call: Call) -> Reply:
        id = call.path.rpartition("/")[2]
        return Reply(200, {name: value for name, value in told[id].items() if name != "_revisions"})

    peer.on("GET", "/io.cozy.files/", tell)
    peer.send_file(deal, peer.file(deal, "leaf.txt", b"leaf", dir_id=xor(inner, deal.key)), b"leaf")
    assert "Outer/Inner/leaf.txt" in trip.alice.tree(trip.root)


def test_expired_tokens_are_renewed_and_the_request_sent_again(trip: Trip) -> None:
    old = trip.deal.mine
    trip.deal.mine = "revoked by now"
    trip.alice.upload("after.txt", b"after", trip.root)
    eventually(lambda: trip.deal.named("after.txt"), "the file")
    trip.peer.faults.clear()  # the first request with the old token is no fault
    renewal = trip.peer.got("POST", "/auth/access_token$")[0]
    assert renewal.headers["content-type"] == "application/x-www-form-urlencoded"
    assert renewal.headers["authorization"] == f"Bearer {old}"
    assert set(renewal.form) == {"grant_type", "refresh_token", "client_id", "client_secret"}


def test_the_description_and_the_list_of_members_are_told(trip: Trip) -> None:
    data = {"type": "io.cozy.sharings", "id": trip.deal.id, "attributes": {"description": "Journey"}}
    trip.alice.do("PATCH", f"/sharings/{trip.deal.id}", body={"data": data})
    told = trip.peer.awaits("PUT", f"/sharings/{trip.deal.id}/metadata$")
    assert told.json == {"description": "Journey"}
    assert told.headers["content-type"].startswith("application/json")


def test_an_end_is_told_once_and_nothing_more_travels(trip: Trip) -> None:
    trip.alice.do("DELETE", f"/sharings/{trip.deal.id}/recipients")
    trip.peer.awaits("DELETE", f"/sharings/{trip.deal.id}$")
    before = len(trip.peer.calls)
    trip.alice.upload("private.txt", b"private", trip.root)
    refused = trip.peer.send(trip.deal, "POST", "/_bulk_docs", {})
    assert (refused.status_code, refused.json()) == (400, {"error": "Invalid JWT token"})
    assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    root, sharing = start_sharing(trip.alice, trip.peer)
    trip.peer.join(trip.alice, sharing)
    trip.peer.awaits("DELETE", "/initial$", 2)
    assert not [c for c in trip.peer.calls[before:] if c.path.startswith(f"/sharings/{trip.deal.id}")]
    assert trip.alice.find(root, "one.txt")


def test_a_reader_of_the_sharing_may_only_ask_for_folders(town: Town, peer: FakePeer) -> None:
    alice = town.alice
    title = next(TITLES)
    root = alice.mkdir(title)
    sub = alice.mkdir("Sub", root)
    contact = alice.contact(peer.name, peer.email, peer.url)
    sharing = alice.share(title, [folder_rule(title, root)], [], [contact])
    deal = peer.join(alice, sharing, verb="GET")
    peer.awaits("DELETE", "/initial$")
    told = peer.send(deal, "GET", f"/io.cozy.files/{xor(sub, deal.key)}")
    assert told.status_code == 200
    assert peer.send(deal, "POST", "/reupload").status_code == 204
    for method, path, body in (
        ("POST", "/_revs_diff", {}), ("POST", "/_bulk_docs", {}), ("PUT", "/io.cozy.files/ab/metadata", {"_id": "ab"}),
        ("PUT", "/io.cozy.files/abcdef0123456789", {}), ("DELETE", "/initial", None),
        ("PUT", "/metadata", {"description": "x"}),
    ):  # fmt: skip
        refused = peer.send(deal, method, path, body)
        assert (refused.status_code, refused.json()) == (403, {"error": "Forbidden"}), path


def test_documents_of_another_doctype_travel_with_their_history(town: Town, peer: FakePeer) -> None:
    alice = town.alice
    id = alice.create("io.cozy.tests", {"text": "hello", "v": 1})
    contact = alice.contact(peer.name, peer.email, peer.url)
    sharing = alice.share(next(TITLES), [folder_rule("Tests", id, doctype="io.cozy.tests")], [contact])
    deal = peer.join(alice, sharing)
    there = xor(id, deal.key)
    kept = eventually(lambda: deal.kept.get(there), "the document")
    assert {k: v for k, v in kept.document.items() if k[0] != "_"} == {"text": "hello", "v": 1}
    first = kept.rev
    deal.initial = False
    second = alice.update("io.cozy.tests", id, v=2)
    eventually(lambda: deal.kept[there].rev == second, "the second state")
    assert deal.kept[there].document["_revisions"] == history(first, second)["_revisions"]
    third = revision(3, "by the peer")
    answer = peer.send_bulk(
        deal, {"_id": id, **history(first, second, third), "text": "by the peer"}, doctype="io.cozy.tests"
    )
    assert answer.json() == []
    document = alice.document("io.cozy.tests", id)
    assert document is not None
    assert (document["_rev"], document["text"]) == (third, "by the peer")
    alice.delete("io.cozy.tests", id)
    eventually(lambda: there in deal.removed, "the deletion")
    last = peer.got("POST", "/_bulk_docs$")[-1].json["io.cozy.tests"][0]
    assert last["_deleted"] is True
    assert len(last["_revisions"]["ids"]) == 4
    assert FILES not in peer.got("POST", "/_bulk_docs$")[-1].json
