"""Peers that are buggy or hostile: a clear refusal, nothing changed, nothing told (spec/05 §14.1, §22, §23)."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from .conftest import Town
from .fake_peer import Body, Call, Deal, FakePeer, Reply, history, make_id, revision, token, xor
from .peers import Visit, visit
from .people import JSONAPI, ROOT, TRASH, Tree, folder_rule
from .processes import eventually

__all__ = ["visit"]


def whole(visit: Visit) -> Tree:
    """All files of the person."""
    return visit.person.tree(ROOT)


def is_refused(answer: httpx.Response) -> None:
    """Refused, and not by a fault."""
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text)


@pytest.fixture(autouse=True)
def nothing_changes(visit: Visit, request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test of this file leaves the person's files as they were, unless it says otherwise."""
    visit.peer.send_bulk(visit.deal, visit.peer.folder(visit.deal, "Harmless"))
    before = whole(visit)
    yield
    if request.node.get_closest_marker("usefixtures") is None:
        assert whole(visit) == before


# -- places


@pytest.fixture
def private(visit: Visit) -> str:
    """A folder of the person's own, outside of the sharing."""
    found = visit.person.at("/Private")
    return found["id"] if found else visit.person.mkdir("Private")


@pytest.mark.usefixtures("visit")  # with changes of its own
@pytest.mark.parametrize("place", [ROOT, TRASH, "io.cozy.files.shared-with-me-dir", "private"])
def test_nothing_is_placed_outside_of_the_sharing(visit: Visit, private: str, place: str) -> None:
    target = private if place == "private" else place
    before = whole(visit)
    peer, deal = visit.peer, visit.deal
    is_refused(peer.send_bulk(deal, peer.folder(deal, f"Intruder in {place}", dir_id=target)))
    document = peer.file(deal, f"intruder in {place}.txt", b"x", dir_id=target)
    announced = peer.announce(deal, document)
    if announced.status_code == 200:
        announced = peer.upload(deal, announced.json()["key"], b"x")
    is_refused(announced)
    here = peer.file(deal, f"mover to {place}.txt", b"mover")
    peer.send_file(deal, here, b"mover")
    moved = {**here, "dir_id": target, **history(here["_rev"], revision(2, "mover"))}
    is_refused(peer.announce(deal, moved))
    folder = peer.folder(deal, f"Moving to {place}")
    peer.send_bulk(deal, folder)
    is_refused(peer.send_bulk(deal, {**folder, "dir_id": target, **history(folder["_rev"], revision(2, "folder"))}))
    shared = visit.person.at("/Inbox of sharings")["attributes"]["name"]  # type: ignore[index]
    new = {path for path in set(whole(visit)) - set(before) if not path.startswith(f"{shared}/test_hostile_peers/")}
    assert new == set()


def test_nothing_of_the_persons_own_is_changed_or_removed(visit: Visit, private: str) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    file = bob.find(private, "diary.txt") or bob.upload("diary.txt", b"dear diary", private)
    rev = bob.rev(file)
    for document in (
        {**peer.folder(deal, "Renamed by a peer"), "_id": private},
        {"_id": private, **history(revision(9, "x")), "_deleted": True},
        {"_id": file, **history(revision(9, "x")), "_deleted": True},
        {"_id": ROOT, **history(revision(9, "x")), "_deleted": True},
        {"_id": TRASH, **history(revision(9, "x")), "_deleted": True},
        {**peer.folder(deal, "Root"), "_id": ROOT},
        {"_id": visit.place, **history(revision(9, "x")), "_deleted": True},
        {**peer.folder(deal, "The shared folder itself"), "_id": visit.place},
    ):
        answer = peer.send_bulk(deal, document)
        assert answer.status_code < 500
    overwritten = {**peer.file(deal, "diary.txt", b"forged"), "_id": file}
    is_refused(peer.announce(deal, overwritten))
    assert bob.rev(file) == rev
    assert bob.read(file) == b"dear diary"
    bob.trash(file)
    bob.destroy(file)


def test_a_folder_that_the_peer_tells_of_must_lie_inside_too(visit: Visit, private: str) -> None:
    peer, deal = visit.peer, visit.deal
    for above in (ROOT, private, TRASH):
        told = peer.folder(deal, "Bridge", id=make_id("bridge", above))
        bridge = told["_id"]

        def tell(call: Call, told: Body = told, above: str = above) -> Reply:
            return Reply(200, {**told, "dir_id": above})

        end = peer.on("GET", f"/io.cozy.files/{bridge}$", tell)
        document = peer.file(deal, "over the bridge.txt", b"x", id=make_id("over", above), dir_id=bridge)
        answer = peer.announce(deal, document)
        if answer.status_code == 200:
            answer = peer.upload(deal, answer.json()["key"], b"x")
        is_refused(answer)
        is_refused(peer.send_bulk(deal, peer.folder(deal, "Over", id=make_id("o", above), dir_id=bridge)))
        end()


Told = Callable[[Call], Reply]
CYCLE = {make_id("cycle", n): make_id("cycle", (n + 1) % 3) for n in range(3)}


def in_a_cycle(call: Call) -> Reply:
    """Folders that lie in each other."""
    id = call.path.rpartition("/")[2]
    return Reply(200, {"_id": id, "_rev": "1-aa", "type": "directory", "name": id[:4], "dir_id": CYCLE.get(id, id)})


def without_end(call: Call) -> Reply:
    """Folders in folders in folders."""
    id = call.path.rpartition("/")[2]
    return Reply(200, {"_id": id, "_rev": "1-aa", "type": "directory", "name": id[:4], "dir_id": make_id(id)})


@pytest.mark.parametrize("told", [
    in_a_cycle,
    without_end,
    lambda call: Reply(200, None),
    lambda call: Reply(200, [1, 2]),
    lambda call: Reply(200, raw=b"{not json"),
    lambda call: Reply(200, raw=b'{"a":' * 50_000),
    lambda call: Reply(200, raw=b"\xff\xfe\x00"),
    lambda call: Reply(200, {"type": "file", "name": "a file"}),
    lambda call: Reply(200, {"type": "directory", "name": "a/b"}),
    lambda call: Reply(200, {"type": "directory", "name": ""}),
    lambda call: Reply(200, {"type": "directory", "name": 7}),
    lambda call: Reply(200, {"type": "directory", "name": "n", "dir_id": {"a": 1}}),
    lambda call: Reply(500, {"errors": "none"}),
    lambda call: Reply(404, {"errors": []}, JSONAPI),
    lambda call: Reply(302, headers={"Location": "http://169.254.169.254/latest/meta-data"}),
    lambda call: Reply(200, raw=b"x" * 20_000_000),
])  # fmt: skip
def test_a_peer_that_tells_nonsense_of_a_folder(visit: Visit, told: Told, request: pytest.FixtureRequest) -> None:
    peer, deal = visit.peer, visit.deal
    unknown = make_id("cycle", 0)
    end = peer.on("GET", "/io.cozy.files/", told)
    document = peer.file(deal, "lost.txt", b"x", id=make_id(request.node.name), dir_id=unknown)
    answer = peer.announce(deal, document)
    if answer.status_code == 200:
        answer = peer.upload(deal, answer.json()["key"], b"x")
    is_refused(answer)
    is_refused(peer.send_bulk(deal, peer.folder(deal, "Lost", id=make_id("f", request.node.name), dir_id=unknown)))
    end()
    assert peer.send(deal, "POST", "/_bulk_docs", {}).status_code == 200, "the line to the peer is not broken by it"


# -- credentials


@pytest.mark.usefixtures("visit")  # with changes of its own
def test_a_file_is_never_made_a_folder_nor_a_folder_a_file(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    file, folder = peer.file(deal, "stays a file.txt", b"file"), peer.folder(deal, "Stays a folder")
    peer.send_file(deal, file, b"file")
    peer.send_bulk(deal, folder)
    inside = bob.upload("inside.txt", b"inside", folder["_id"])
    as_folder = {**peer.folder(deal, "Other", file["_rev"], revision(2, "other")), "_id": file["_id"]}
    is_refused(peer.send_bulk(deal, as_folder))
    as_file = {**peer.file(deal, "other", b"x", folder["_rev"], revision(2, "other")), "_id": folder["_id"]}
    is_refused(peer.announce(deal, as_file))
    assert (bob.read(file["_id"]), bob.read(inside)) == (b"file", b"inside")
    assert bob.show(folder["_id"])["attributes"]["type"] == "directory"


@pytest.mark.usefixtures("visit")  # with changes of its own
def test_dates_that_a_peer_leaves_out(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    file, folder = peer.file(deal, "undated.txt", b"undated"), peer.folder(deal, "Undated")
    for document in (file, folder):
        del document["created_at"], document["updated_at"]
    peer.send_file(deal, file, b"undated")
    peer.send_bulk(deal, folder)
    for document in (file, folder):
        shown = bob.show(document["_id"])["attributes"]
        assert re.match(r"20\d\d-", shown["created_at"])
        assert re.match(r"20\d\d-", shown["updated_at"])
    before = bob.show(file["_id"])["attributes"]["updated_at"]
    renamed = {**file, **history(file["_rev"], revision(2, "undated")), "name": "still undated.txt"}
    assert peer.announce(deal, renamed).status_code == 204
    assert bob.show(file["_id"])["attributes"]["updated_at"] == before


def test_keys_of_another_sharing_or_of_nobody_are_refused(visit: Visit) -> None:
    peer, deal = visit.peer, visit.deal
    other = peer.invite(visit.person, "Second of the hostile peer")
    key = peer.announce(deal, peer.file(deal, "keyed.txt", b"keyed")).json()["key"]
    for path_deal in (other,):
        answer = peer.upload(path_deal, key, b"keyed")
        assert answer.status_code == 404
        assert answer.json()["errors"][0]["detail"] == "The metadata for this file were not found"
    mixed = Deal(deal.id, True, deal.other, deal.rules, theirs=other.theirs)
    assert peer.upload(mixed, key, b"keyed").status_code == 403
    visit.person.do("DELETE", f"/sharings/{other.id}/recipients/self")
    peer.awaits("DELETE", f"/sharings/{other.id}/answer$")
    ended = peer.send(other, "POST", "/_bulk_docs", {})
    assert (ended.status_code, ended.json()) == (400, {"error": "Invalid JWT token"})
    gone = visit.person.at("/Inbox of sharings/Second of the hostile peer.url")
    if gone:
        visit.person.trash(gone["id"])
        visit.person.destroy(gone["id"])
    for name in list(visit.person.children("io.cozy.files.shared-with-me-dir")):
        if name.startswith("Second of"):
            id = visit.person.children("io.cozy.files.shared-with-me-dir")[name]["id"]
            visit.person.trash(id)
            visit.person.destroy(id)


@pytest.mark.parametrize("bearer", [
    "", "x", token("other"), "eyJhbGciOiJub25lIn0.eyJzY29wZSI6Imlv.", "a.b.c", "\x7f", "e30.e30.e30", "x" * 20_000,
])  # fmt: skip
def test_tokens_that_nobody_gave(visit: Visit, bearer: str) -> None:
    answer = visit.peer.send(visit.deal, "POST", "/_bulk_docs", {}, bearer=bearer)
    assert answer.status_code in (400, 401, 403, 431)


def test_a_token_that_says_of_itself_that_it_is_not_signed(visit: Visit) -> None:
    import base64

    _, claims, _ = visit.deal.theirs.split(".")
    for header in ({"alg": "none"}, {"alg": "None", "typ": "JWT"}, {"alg": "HS256"}, {"alg": "RS256"}):
        head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
        for signature in ("", "AAAA"):
            answer = visit.peer.send(visit.deal, "POST", "/_bulk_docs", {}, bearer=f"{head}.{claims}.{signature}")
            assert answer.status_code == 400


def test_a_refresh_token_opens_no_route(visit: Visit) -> None:
    answer = visit.peer.send(visit.deal, "POST", "/_bulk_docs", {}, bearer=visit.deal.refresh)
    assert answer.status_code in (400, 403)


@pytest.mark.parametrize("id", ["a/b", "a b", "_design/a", "..", "a\u0000", "é", "a" * 5000, "{known}/0"])
def test_a_request_under_an_id_that_is_none(visit: Visit, id: str) -> None:
    peer, bob = visit.peer, visit.person
    members = [
        {"status": "owner", "public_name": "Mallory", "email": peer.email, "instance": peer.url},
        {"status": "pending", "email": bob.email, "instance": bob.url},
    ]
    attributes = {"description": "Odd", "app_slug": "", "rules": [peer.rule("Odd", make_id("odd"))], "members": members}
    data = {"type": "io.cozy.sharings", "id": id.format(known=visit.deal.id), "attributes": attributes}
    answer = bob.http.put(
        "/sharings/odd", headers={"Host": bob.domain, "Content-Type": JSONAPI}, content=json.dumps({"data": data})
    )
    assert answer.status_code == 400, answer.text


# -- documents


def test_doctypes_that_are_not_shared_are_dropped(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    for doctype in (
        "io.cozy.contacts", "io.cozy.tests", "io.cozy.sharings", "io.cozy.permissions", "io.cozy.oauth.clients",
        "io.cozy.settings", "io.cozy.sessions", "io.cozy.shared", "io.cozy.jobs", "io.cozy.triggers", "io.cozy.apps",
        "io.cozy.files.versions", "bogus", "", "io.cozy.files/../x", "_users", "a" * 5000,
    ):  # fmt: skip
        answer = peer.send_bulk(deal, {"_id": make_id(doctype), **history("1-aa"), "email": []}, doctype=doctype)
        assert answer.status_code in (200, 400), (doctype, answer.text)
        settings = {"_id": "io.cozy.settings.instance", **history(revision(99, "x")), "public_name": "Alice2"}
        assert peer.send_bulk(deal, settings, doctype=doctype).status_code in (200, 400)
    assert bob.document("io.cozy.contacts", make_id("io.cozy.contacts")) is None
    assert bob.document("io.cozy.tests", make_id("io.cozy.tests")) is None
    assert bob.do("GET", "/settings/instance")["data"]["attributes"]["public_name"] == "Bob"


BAD_IDS = [
    "_design/x", "_local/x", "_", "", "a/b", "../x", "a" * 100_000, "\x00", "a\nb", " ", "%2F", "é", 7, None, [], {},
    True,
]  # fmt: skip


@pytest.mark.parametrize("id", BAD_IDS, ids=lambda id: repr(id)[:20])
def test_ids_that_are_none(visit: Visit, id: Any) -> None:
    peer, deal = visit.peer, visit.deal
    folder = {**peer.folder(deal, "No id"), "_id": id}
    is_refused(peer.send(deal, "POST", "/_bulk_docs", {"io.cozy.files": [folder]}))
    document = {**peer.file(deal, "no id.txt", b"x"), "_id": id}
    if isinstance(id, str) and id and len(id) < 5000:
        is_refused(peer.send(deal, "PUT", f"/io.cozy.files/{quote(id, safe='')}/metadata", document))


BAD_REVISIONS: list[Any] = [
    "", "1", "x", "1-", "-a", "0-a", "1-" + "z" * 32, "-1-aa", "1-a/b", "99999999999999999999-aa", 7, None, [], "1-é",
    "1-" + "a" * 100_000, "1.5-aa",
]  # fmt: skip


@pytest.mark.parametrize("rev", BAD_REVISIONS, ids=lambda rev: repr(rev)[:20])
def test_revisions_that_are_none(visit: Visit, rev: Any) -> None:
    peer, deal = visit.peer, visit.deal
    folder = {**peer.folder(deal, "No revision"), "_rev": rev, "_revisions": {"start": 1, "ids": ["a"]}}
    is_refused(peer.send(deal, "POST", "/_bulk_docs", {"io.cozy.files": [folder]}))
    document = {**peer.file(deal, "no revision.txt", b"x"), "_rev": rev}
    is_refused(peer.send(deal, "PUT", f"/io.cozy.files/{document['_id']}/metadata", document))


BAD_HISTORIES: list[Any] = [
    {"start": 1}, {"ids": ["a"]}, {"start": "1", "ids": ["a"]}, {"start": 1, "ids": "a"}, {"start": 1, "ids": []},
    {"start": 1, "ids": ["a", "b"]}, {"start": -1, "ids": ["a"]}, {"start": 2**70, "ids": ["a"]}, [], "1-a", 7,
    {"start": 1, "ids": [1]}, {"start": 1, "ids": [None]}, {"start": 5, "ids": ["a"] * 100_000},
    {"start": 1, "ids": ["f" * 32]}, {"start": True, "ids": ["a"]},
]  # fmt: skip


@pytest.mark.parametrize("revisions", BAD_HISTORIES, ids=lambda value: repr(value)[:30])
def test_histories_that_are_none(visit: Visit, revisions: Any) -> None:
    peer, deal = visit.peer, visit.deal
    folder = {**peer.folder(deal, "No history", "1-" + "e" * 32), "_revisions": revisions}
    is_refused(peer.send(deal, "POST", "/_bulk_docs", {"io.cozy.files": [folder]}))
    document = {**peer.file(deal, "no history.txt", b"x", "1-" + "e" * 32), "_revisions": revisions}
    is_refused(peer.send(deal, "PUT", f"/io.cozy.files/{document['_id']}/metadata", document))


BAD_NAMES = ["", ".", "..", "a/b", "/", "a\x00b", "a\rb", "a\nb"]


@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
def test_names_that_are_none(visit: Visit, name: str) -> None:
    peer, deal = visit.peer, visit.deal
    is_refused(peer.send_bulk(deal, {**peer.folder(deal, "Named"), "name": name}))
    is_refused(peer.announce(deal, {**peer.file(deal, "named.txt", b"x"), "name": name}))


@pytest.mark.parametrize("size", [300, 100_000])
def test_a_name_of_any_length_breaks_nothing(visit: Visit, size: int) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    folder = {**peer.folder(deal, f"Long {size}"), "name": "n" * size}
    answer = peer.send_bulk(deal, folder)
    assert answer.status_code in (200, 400, 413, 414, 422), answer.text
    if answer.status_code == 200:
        assert bob.show(folder["_id"])["attributes"]["name"] == "n" * size
        bob.trash(folder["_id"])
        bob.destroy(folder["_id"])
    else:
        is_refused(answer)


def test_too_deep_too_many_and_too_large(visit: Visit) -> None:
    peer, deal = visit.peer, visit.deal
    deep: Any = "bottom"
    for _ in range(400):
        deep = {"d": deep}
    nested = json.dumps(peer.file(deal, "deep metadata.txt", b"x", metadata={"d": deep}))
    answer = peer.send(deal, "PUT", f"/io.cozy.files/{json.loads(nested)['_id']}/metadata", content=nested.encode())
    assert answer.status_code in (200, 400)
    large = b'{"io.cozy.files":[' + b'{"a":1},' * 10_000_000
    refused = peer.send(deal, "POST", "/_bulk_docs", content=large[: 65 * 1024 * 1024])
    assert refused.status_code in (400, 413)
    many = {f"io.cozy.files/{n}": ["1-aa"] for n in range(20_000)}
    assert len(peer.send(deal, "POST", "/_revs_diff", many).json()) == 20_000
    crowd = [{"_id": make_id("crowd", n), **history("1-aa"), "_deleted": True} for n in range(10_001)]
    assert peer.send_bulk(deal, *crowd).status_code == 413
    assert peer.send_bulk(deal, *crowd[:1000]).status_code == 200


@pytest.mark.usefixtures("visit")  # with changes of its own
@pytest.mark.parametrize("levels", [100, 490, 700, 940, 955, 970, 985])
def test_what_is_nested_deep_can_be_read_or_is_refused(visit: Visit, levels: int) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    folder = peer.folder(deal, f"Deep {levels}", metadata="DEEP")
    file = peer.file(deal, f"deep {levels}.txt", b"x", metadata="DEEP")

    def send(method: str, path: str, body: Body) -> httpx.Response:
        text = json.dumps(body).replace('"DEEP"', '{"a":' * levels + "1" + "}" * levels)
        return peer.send(deal, method, path, content=text.encode())

    taken = send("POST", "/_bulk_docs", {"io.cozy.files": [folder]}).status_code
    announced = send("PUT", f"/io.cozy.files/{file['_id']}/metadata", file)
    if announced.status_code == 200:
        announced = peer.upload(deal, announced.json()["key"], b"x")
    assert (taken, announced.status_code) == ((200, 204) if levels < 500 else (400, 400))
    for id in (folder["_id"], file["_id"]):
        assert bob.call("GET", f"/files/{id}").status_code == (200 if levels < 500 else 404)
    bob.children(visit.place)


def test_questions_that_are_none(visit: Visit) -> None:
    peer, deal = visit.peer, visit.deal
    odd = {"a": None, "/": [], "io.cozy.files": ["1-a"], "io.cozy.files/": ["x"], "x/y/z": [None, 7, {}], "": "1-a"}
    answer = peer.send(deal, "POST", "/_revs_diff", odd)
    assert answer.status_code in (200, 400)
    for lists in ({"io.cozy.files": {}}, {"io.cozy.files": None}, {"io.cozy.files": [None, 7, "x", []]}, {"": 3}):
        assert peer.send(deal, "POST", "/_bulk_docs", lists).status_code in (200, 400)


# -- bodies on the wire


def raw_request(visit: Visit, head: list[str], pieces: list[bytes]) -> bytes:
    """Send bytes as they are; gives what comes back until the server closes."""
    parts = urlsplit(visit.deal.other)
    lines = [*head, f"Host: {parts.netloc}", f"Authorization: Bearer {visit.deal.theirs}", "", ""]
    with socket.create_connection(("127.0.0.1", parts.port or 80), timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode())
        for piece in pieces:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def test_a_content_that_is_cut_leaves_nothing_and_may_come_again(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    content = b"0123456789" * 50_000
    document = peer.file(deal, "cut.bin", content)
    key = peer.announce(deal, document).json()["key"]
    line = f"PUT /sharings/{deal.id}/io.cozy.files/{key} HTTP/1.1"
    for framing, body in (
        ("Transfer-Encoding: chunked", b"186A0\r\n" + content[:100_000] + b"\r\n186A0\r\n" + content[:50_000]),
        (f"Content-Length: {len(content)}", content[:400_000]),
        ("Transfer-Encoding: chunked", b"nonsense\r\n"),
    ):
        raw_request(visit, [line, framing, "Connection: close"], [body])
        assert "cut.bin" not in visit.tree()
    assert peer.upload(deal, key, [content[:7], content[7:]]).status_code == 204
    assert bob.read(document["_id"]) == content
    bob.trash(document["_id"])
    bob.destroy(document["_id"])


def test_a_content_without_an_end_is_stopped(visit: Visit) -> None:
    peer, deal = visit.peer, visit.deal
    key = peer.announce(deal, peer.file(deal, "endless.bin", b"short")).json()["key"]
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 2_000_000_000:
            sent += 1_000_000
            yield b"x" * 1_000_000

    try:
        answer = peer.upload(deal, key, endless())
    except httpx.TransportError:
        pass
    else:
        assert answer.status_code in (412, 413, 422)
    assert sent < 200_000_000


# -- what a real sender meets


@pytest.fixture
def trap() -> Iterator[FakePeer]:
    """A recipient of alice's that misbehaves."""
    peer = FakePeer("carol3").start()
    yield peer
    peer.stop()


WRONG_ANSWERS: list[Reply] = [
    Reply(302, headers={"Location": "http://127.0.0.1:1/"}),
    Reply(307, headers={"Location": "http://169.254.169.254/latest"}),
    Reply(200, raw=b"{nope"),
    Reply(200, raw=b'{"a":' * 20_000),
    Reply(200, {"key": 7}),
    Reply(200, {"key": "../../../auth/login"}),
    Reply(200, []),
    Reply(201, None),
    Reply(500, raw=b"\xff" * 100),
    Reply(404, raw=b"<html>"),
    Reply(410, {"errors": [{"code": "moved", "links": {"related": "http://169.254.169.254"}}]}, JSONAPI),
    Reply(200, raw=b"", headers={"Content-Encoding": "gzip"}),
]


@pytest.mark.usefixtures("visit")  # with changes of its own
def test_a_recipient_with_wrong_answers_gets_the_file_when_it_has_recovered(town: Town, trap: FakePeer) -> None:
    alice = town.alice
    root = alice.mkdir("Wrong answers")
    contact = alice.contact(trap.name, trap.email, trap.url)
    deal = trap.join(alice, alice.share("Wrong answers", [folder_rule("Wrong answers", root)], [contact]))
    trap.awaits("DELETE", "/initial$")
    answers = iter(WRONG_ANSWERS)
    contacted: list[str] = []

    def wrong(call: Call) -> Reply:
        contacted.append(call.path)
        return next(answers)

    end = trap.on("PUT", "/metadata$", wrong)
    for number in range(len(WRONG_ANSWERS)):
        alice.upload(f"{number}.txt", f"content {number}".encode(), root)
    eventually(lambda: len(contacted) >= 3, "some wrong answers are given")
    alice.upload("while it is out of order.txt", b"x", root)
    assert alice.tree(root)["0.txt"][0] == "file", "alice's own requests go on"
    end()
    names = [f"{number}.txt" for number in range(len(WRONG_ANSWERS))]
    eventually(lambda: all(deal.named(name) for name in names), "everything has arrived", 60)
    assert "/auth/login" not in {call.path for call in trap.calls}
    log = alice.server.log
    assert deal.mine not in log
    assert deal.theirs not in log


def test_the_logs_tell_no_secrets(town: Town, visit: Visit) -> None:
    for person in (town.alice, town.bob):
        log = person.server.log
        for deal in visit.peer.deals.values():
            for secret in (deal.theirs, deal.mine, deal.refresh, deal.client.get("client_secret"), "opensesame"):
                assert not secret or secret not in log
    assert xor("00", b"\x0f") == "ff"


@pytest.mark.usefixtures("visit")  # with changes of its own
def test_documents_of_a_rule_take_over_nothing_that_was_there(town: Town) -> None:
    peer, bob = FakePeer("bob3").start(), town.bob
    own = bob.create("io.cozy.tests", {"circle": "friends", "text": "bob's own"})
    rule = peer.rule("By a field", "friends", "io.cozy.tests", selector="circle")
    deal = peer.invite(bob, "Documents by a field", rules=[rule])
    forged = {"_id": own, **history(revision(9, "forged")), "circle": "friends", "text": "forged"}
    assert peer.send_bulk(deal, forged, doctype="io.cozy.tests").status_code == 200
    removal = {"_id": own, **history(revision(9, "gone")), "_deleted": True}
    assert peer.send_bulk(deal, removal, doctype="io.cozy.tests").status_code == 200
    other = {"_id": make_id("other circle"), **history("1-aa"), "circle": "family"}
    good = {"_id": make_id("good"), **history("1-aa"), "circle": "friends", "text": "good"}
    assert peer.send_bulk(deal, other, good, doctype="io.cozy.tests").status_code == 200
    assert bob.document("io.cozy.tests", own)["text"] == "bob's own"  # type: ignore[index]
    assert bob.document("io.cozy.tests", other["_id"]) is None
    assert bob.document("io.cozy.tests", good["_id"])
    for bad in (
        {"text": "no id"},
        {"_id": make_id("no rev"), "circle": "friends"},
        {"_id": "_design/x", "_rev": "1-a"},
    ):
        more = {"_id": make_id("beside", bad), **history("1-aa"), "circle": "friends"}
        answer = peer.send_bulk(deal, more, bad, forged, doctype="io.cozy.tests")
        assert answer.status_code == 400, "one bad document, and nothing of the list is applied"
        assert bob.document("io.cozy.tests", more["_id"]) is None
    assert bob.document("io.cozy.tests", own)["text"] == "bob's own"  # type: ignore[index]
    peer.stop()
    assert peer.faults == []


@pytest.mark.usefixtures("visit")  # with changes of its own
@pytest.mark.parametrize("generation", [2**53 - 1, 2**53 - 2, 2**32])
def test_a_generation_that_nobody_reaches_does_not_freeze_what_is_there(visit: Visit, generation: int) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    last = f"{generation}-{'ab' * 16}"
    folder = peer.folder(deal, f"Frozen {generation}")
    file = peer.file(deal, f"frozen {generation}.txt", b"x")
    assert peer.send_bulk(deal, folder).status_code == 200
    peer.send_file(deal, file, b"x")
    first = [peer.send_bulk(deal, {**folder, **history(last)}), peer.announce(deal, {**file, **history(last)})]
    assert {answer.status_code for answer in first} <= ({400} if generation > 2**32 else {200, 204})
    for id in (folder["_id"], file["_id"]):
        for number in range(3):
            bob.change(id, name=f"Renamed {generation} {number} {id[:4]}")
        bob.trash(id)
        bob.destroy(id)
