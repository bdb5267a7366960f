"""The errors of the server-to-server routes, as peers expect them (spec/05 §12, examples/05 §14)."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from inglenook.identity.registry_documents import prefix_of

from .conftest import NewPerson, Town
from .fake_peer import Deal, FakePeer, history, make_id, revision, xor
from .peers import Visit, peer, visit
from .people import JSONAPI, folder_rule
from .processes import eventually
from .test_revoked_meanwhile import is_receiving

__all__ = ["peer", "visit"]

SAFETY = (400, "Bad Request", "Operation aborted", {})


def is_jsonapi(answer: httpx.Response, status: int, title: str, detail: str, source: dict[str, str]) -> None:
    """An error of the JSON:API family, member by member."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == JSONAPI
    expected = {"status": str(status), "title": title, "detail": detail, "source": source}
    assert answer.json() == {"errors": [expected]}


def is_plain(visit: Visit, status: int, message: str, method: str, path: str, **request: Any) -> httpx.Response:
    """An error of the plain family: JSON for who accepts it, else text."""
    answer = visit.peer.send(visit.deal, method, path, **request)
    assert (answer.status_code, answer.json()) == (status, {"error": message})
    assert answer.headers["content-type"].startswith("application/json")
    text = visit.peer.send(visit.deal, method, path, accept="*/*", **request)
    assert (text.status_code, text.text) == (status, message)
    assert text.headers["content-type"].startswith("text/plain")
    return answer


ROUTES = [
    ("POST", "/_revs_diff", {}), ("POST", "/_bulk_docs", {}), ("GET", "/io.cozy.files/abc", None),
    ("PUT", "/io.cozy.files/abc/metadata", {"_id": "abc"}), ("PUT", "/io.cozy.files/0123456789abcdef", {}),
    ("POST", "/reupload", None), ("DELETE", "/initial", None), ("PUT", "/metadata", {"description": "x"}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_who_is_calling_comes_first(town: Town, visit: Visit, method: str, path: str, body: Any) -> None:
    is_plain(visit, 401, "No token in request", method, path, body=body, bearer="")
    refused = is_plain(visit, 400, "Invalid JWT token", method, path, body=body, bearer="eyJ0.e30.bm8")
    assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    is_plain(visit, 403, "Forbidden", method, path, body=body, bearer=town.bob.token)
    other = visit.peer.deals.get("other") or another_sharing(visit)
    is_plain(visit, 403, "Forbidden", method, path, body=body, bearer=other.theirs)
    app = town.bob.server.ask("instances", "token-cli", town.bob.domain, f"io.cozy.sharings:ALL:{visit.deal.id}")
    is_plain(visit, 403, "Forbidden", method, path, body=body, bearer=app)


def another_sharing(visit: Visit) -> Deal:
    """A second sharing of the same peer's with the same person."""
    deal = visit.peer.invite(visit.person, "Another sharing of this peer")
    visit.peer.deals["other"] = deal
    return deal


def test_a_token_of_a_sharing_opens_no_unknown_one(visit: Visit) -> None:
    unknown = Deal("0" * 32, True, visit.deal.other, visit.deal.rules, theirs=visit.deal.theirs)
    answer = visit.peer.send(unknown, "POST", "/_bulk_docs", {}, accept="*/*")
    assert (answer.status_code, answer.text) == (403, "Forbidden")


@pytest.mark.parametrize("path", ["/_revs_diff", "/_bulk_docs"])
def test_bodies_that_are_none(visit: Visit, path: str) -> None:
    is_plain(visit, 400, "Bad Request", "POST", path, content=b"null")
    for body in (b"{nope", b'{"io.cozy.files": [', b"", b"\xff\xfe", b'{"a":' * 20_000):
        answer = visit.peer.send(visit.deal, "POST", path, content=body)
        assert answer.status_code == 400
        assert answer.headers["content-type"] == JSONAPI
        error = answer.json()["errors"][0]
        assert (error["status"], error["title"], error["source"]) == ("400", "Bad Request", {})
    for body in (b"[]", b'"text"', b"3"):
        assert visit.peer.send(visit.deal, "POST", path, content=body).status_code == 400


def test_the_content_type_of_metadata_is_asked_for(visit: Visit) -> None:
    document = visit.peer.file(visit.deal, "type.txt", b"x")
    path = f"/io.cozy.files/{document['_id']}/metadata"
    assert visit.peer.send(visit.deal, "PUT", path, document, kind="text/plain").status_code == 415
    answer = visit.peer.send(visit.deal, "PUT", path, document, kind="application/json; charset=utf-8")
    assert answer.status_code == 200


def test_metadata_under_another_id(visit: Visit) -> None:
    document = visit.peer.file(visit.deal, "ids.txt", b"x")
    answer = visit.peer.send(visit.deal, "PUT", f"/io.cozy.files/{'0' * 32}/metadata", document)
    detail = "the identifiers in the URL and in the doc are not the same"
    is_jsonapi(answer, 422, "Invalid Attribute", detail, {"pointer": "/data/attributes/id"})


def test_metadata_without_md5(visit: Visit) -> None:
    document = visit.peer.file(visit.deal, "md5.txt", b"x")
    del document["md5sum"]
    is_jsonapi(
        visit.peer.announce(visit.deal, document), 422, "Invalid Parameter", "Invalid hash", {"parameter": "md5sum"}
    )


@pytest.mark.parametrize("wrong", [
    {"size": 5}, {"size": "five"}, {"size": "-1"}, {"size": True}, {"name": 3}, {"_rev": 1}, {"_revisions": "1-a"},
    {"tags": "red"}, {"metadata": []}, {"cozyMetadata": "x"}, {"referenced_by": {}}, {"executable": "yes"},
    {"md5sum": 3}, {"dir_id": ["a"]}, {"created_at": 7}, {"mime": {}}, {"class": 0}, {"trashed": "no"},
])  # fmt: skip
def test_members_of_the_wrong_type(visit: Visit, wrong: dict[str, Any]) -> None:
    document = {**visit.peer.file(visit.deal, "types.txt", b"x"), **wrong}
    answer = visit.peer.announce(visit.deal, document)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("application/json")
    assert list(answer.json()) == ["error"]


def test_a_file_that_is_not_in_the_sharing(visit: Visit) -> None:
    own = visit.person.upload("private of bob.txt", b"private")
    document = {**visit.peer.file(visit.deal, "hello.txt", b"x"), "_id": own}
    is_jsonapi(visit.peer.announce(visit.deal, document), *SAFETY)
    assert visit.person.read(own) == b"private"


def test_contents_that_are_not_what_was_announced(visit: Visit) -> None:
    document = visit.peer.file(visit.deal, "content.txt", b"right")
    key = visit.peer.announce(visit.deal, document).json()["key"]
    for wrong in (b"wrong", b"righ", b"right and more", b""):
        answer = visit.peer.upload(visit.deal, key, wrong)
        is_jsonapi(answer, 422, "Invalid Parameter", "Invalid hash", {"parameter": "md5sum"})
    assert "content.txt" not in visit.tree()
    assert visit.peer.upload(visit.deal, key, b"right").status_code == 204, "the key may be tried again"
    assert visit.person.read(document["_id"]) == b"right"
    lying = {**visit.peer.file(visit.deal, "length.txt", b"right"), "size": "4"}
    key = visit.peer.announce(visit.deal, lying).json()["key"]
    answer = visit.peer.upload(visit.deal, key, b"right")
    detail = "Content length does not match"
    is_jsonapi(answer, 412, "Precondition Failed", detail, {"parameter": "Content-Length"})


def test_a_key_that_nobody_gave(visit: Visit) -> None:
    answer = visit.peer.upload(visit.deal, "0123456789abcdef", b"x")
    is_jsonapi(answer, 404, "Not Found", "The metadata for this file were not found", {})


def test_folders_that_cannot_be_told(visit: Visit) -> None:
    root = visit.peer.send(visit.deal, "GET", f"/io.cozy.files/{visit.deal.root}")
    is_jsonapi(root, 404, "not_found", "missing", {})
    unknown = visit.peer.send(visit.deal, "GET", f"/io.cozy.files/{'a' * 32}")
    is_jsonapi(unknown, 404, "not_found", "missing", {})
    folder = visit.peer.folder(visit.deal, "To be removed")
    file = visit.peer.file(visit.deal, "no folder.txt", b"x")
    visit.peer.send_bulk(visit.deal, folder)
    visit.peer.send_file(visit.deal, file, b"x")
    told = visit.peer.send(visit.deal, "GET", f"/io.cozy.files/{xor(file['_id'], visit.deal.key)}")
    assert told.status_code == 404


def test_an_impossible_name_in_a_bulk_stops_nothing_else(visit: Visit) -> None:
    bad, good = visit.peer.folder(visit.deal, "a/b"), visit.peer.folder(visit.deal, "Good among bad")
    answer = visit.peer.send_bulk(visit.deal, bad, good)
    detail = f"{bad['_id']} - Invalid filename: empty or contains an illegal character"
    is_jsonapi(answer, 422, "Invalid Parameter", detail, {"parameter": "name"})
    assert "Good among bad" in visit.tree()


def test_a_bulk_without_ids_or_revisions(visit: Visit) -> None:
    folder = visit.peer.folder(visit.deal, "Anonymous")
    without_id = {name: value for name, value in folder.items() if name != "_id"}
    is_jsonapi(visit.peer.send_bulk(visit.deal, without_id), 400, "Bad Request", "An identifier is missing", {})
    without_rev = {name: value for name, value in folder.items() if name not in ("_rev", "_revisions")}
    answer = visit.peer.send(visit.deal, "POST", "/_bulk_docs", {"io.cozy.files": [without_rev]})
    assert answer.status_code == 400
    assert "Anonymous" not in visit.tree()


def test_a_folder_below_itself(visit: Visit) -> None:
    outer = visit.peer.folder(visit.deal, "Outer of a cycle")
    inner = visit.peer.folder(visit.deal, "Inner of a cycle", dir_id=outer["_id"])
    visit.peer.send_bulk(visit.deal, outer, inner)
    moved = {**outer, "dir_id": inner["_id"], **history(outer["_rev"], revision(2, "cycle"))}
    answer = visit.peer.send_bulk(visit.deal, moved)
    assert answer.status_code in (400, 412)
    assert answer.json()["errors"][0]["title"] in ("Bad Request", "Precondition Failed")
    assert "Outer of a cycle/Inner of a cycle" in visit.tree()


def test_a_new_file_in_a_folder_that_is_in_the_trash(visit: Visit) -> None:
    folder = visit.peer.folder(visit.deal, "Trashed by bob")
    visit.peer.send_bulk(visit.deal, folder)
    visit.person.trash(folder["_id"])
    document = visit.peer.file(visit.deal, "too late.txt", b"late", dir_id=folder["_id"])
    key = visit.peer.announce(visit.deal, document).json()["key"]
    answer = visit.peer.upload(visit.deal, key, b"late")
    is_jsonapi(answer, 409, "Conflict", "Parent directory is in the trash", {})


def test_a_description_that_is_too_long_or_none(visit: Visit) -> None:
    long = visit.peer.send(visit.deal, "PUT", "/metadata", {"description": "\u00e9" * 501})
    assert long.status_code == 400
    assert long.json()["errors"][0]["detail"] == "description is too long (maximum 1000 characters)"
    for content, kind in ((b"{nope", "application/json"), (b'{"description":"x"}', "text/plain")):
        bad = visit.peer.send(visit.deal, "PUT", "/metadata", content=content, kind=kind)
        assert bad.status_code == 400
        assert bad.json()["errors"][0]["detail"].startswith("JSON input is malformed")
    assert visit.peer.send(visit.deal, "PUT", "/metadata", {"description": "  trimmed  "}).status_code == 204
    assert visit.person.sharing(visit.deal.id)["description"] == "trimmed"


def test_only_the_owner_changes_the_description(town: Town) -> None:
    peer = FakePeer("carol4").start()
    root = town.alice.mkdir("Described")
    contact = town.alice.contact(peer.name, peer.email, peer.url)
    deal = peer.join(town.alice, town.alice.share("Described", [folder_rule("Described", root)], [contact]))
    refused = peer.send(deal, "PUT", "/metadata", {"description": "by a recipient"})
    assert refused.status_code in (400, 403)
    assert town.alice.sharing(deal.id)["description"] == "Described"
    assert peer.send(deal, "DELETE", "/initial").status_code in (204, 400)
    peer.stop()


def test_an_instance_without_room_says_so_before_reading(town: Town, visit: Visit) -> None:
    size = 10**15
    document = {**visit.peer.file(visit.deal, "huge.bin", b"x"), "size": str(size)}
    town.bob.server.ask("instances", "set-disk-quota", town.bob.domain, "1GB")
    key = visit.peer.announce(visit.deal, document).json()["key"]
    answer = visit.peer.upload(visit.deal, key, b"x")
    is_jsonapi(answer, 413, "Request Entity Too Large", "The file is too big and exceeds the disk quota", {})
    town.bob.server.ask("instances", "set-disk-quota", town.bob.domain, "-1")


def test_files_that_come_at_once_share_the_room(new_person: NewPerson, peer: FakePeer) -> None:
    bob = new_person("bob", quota="4MB")
    deal = peer.invite(bob, "Narrow")
    one, two = (peer.file(deal, f"{n}.bin", b"%d" % n * 2_500_000) for n in (1, 2))
    first, second = (peer.announce(deal, document).json()["key"] for document in (one, two))

    def slow() -> Iterator[bytes]:
        yield b"1" * 2_499_999
        eventually(lambda: is_receiving(bob), "the first is on its way")
        assert peer.upload(deal, second, b"2" * 2_500_000).status_code == 204
        yield b"1"

    assert peer.upload(deal, first, slow()).status_code == 413
    assert bob.do("GET", "/settings/disk-usage")["data"]["attributes"]["used"] == "2500000"


def test_a_content_that_no_file_takes_is_garbage(new_person: NewPerson, peer: FakePeer) -> None:
    bob = new_person("bob")
    deal = peer.invite(bob, "Twice")
    taken, refused = (b"%d" % n * 100_000 for n in (1, 2))
    keys = [peer.announce(deal, peer.file(deal, "twice.bin", content)).json()["key"] for content in (taken, refused)]
    assert peer.upload(deal, keys[0], taken).status_code == 204
    assert peer.upload(deal, keys[1], refused).status_code == 204, "nothing new: the revision is there"
    assert bob.read(peer.file(deal, "twice.bin", taken)["_id"]) == taken
    [path] = bob.server.folder.glob(f"data/**/{prefix_of(bob.domain)}/documents.sqlite")
    with sqlite3.connect(path) as store:
        garbage = [sha256 for (sha256,) in store.execute("SELECT sha256 FROM garbage")]
    assert garbage == [hashlib.sha256(refused).hexdigest()]


def test_a_second_key_and_a_replay_change_nothing_more(visit: Visit) -> None:
    document = visit.peer.file(visit.deal, "twice.txt", b"twice", id=make_id("twice"))
    first = visit.peer.announce(visit.deal, document).json()["key"]
    second = visit.peer.announce(visit.deal, document).json()["key"]
    assert first != second
    for key in (first, second, first):
        assert visit.peer.upload(visit.deal, key, b"twice").status_code == 204
    assert visit.person.rev(document["_id"]) == document["_rev"]
    assert [name for name in visit.tree() if name.startswith("twice")] == ["twice.txt"]
    assert json.dumps(visit.person.sharing(visit.deal.id)).find(visit.deal.theirs) == -1
