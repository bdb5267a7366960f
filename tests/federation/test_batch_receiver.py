"""Batches as a server takes them in (spec/11 §2): a peer that speaks them by hand, against a real server."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from inglenook.replication.chunking import chunks_of

from .conftest import NewPerson
from .fake_peer import FILES, Body, FakePeer, history, make_id, revision, xor
from .peers import Visit
from .people import Person, md5
from .processes import eventually

PUSH = "application/vnd.inglenook.batch"
SAFETY = {"status": 400, "title": "Bad Request", "detail": "Operation aborted"}


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """A folder of the peer's at bob's, whose server speaks everything."""
    from .processes import Server

    server = Server(tmp_path_factory.mktemp("bob")).start()
    bob = Person(server, "bob").move_in()
    peer = FakePeer("alice3").start()
    yield Visit(bob, peer, peer.invite(bob, "Batches"))
    peer.stop()
    server.kill()
    assert peer.faults == [], peer.faults
    assert server.errors == []


def frame(document: Any, content: bytes | None = None, *, doctype: str = FILES, sha256: str = "") -> bytes:
    """A frame of a push."""
    head: Body = {"doctype": doctype, "document": document}
    if content is not None:
        head["content"] = len(content)
    if sha256:
        head["sha256"] = sha256
    encoded = json.dumps(head).encode()
    return len(encoded).to_bytes(4, "big") + encoded + (content or b"")


def push(visit: Visit, *frames: bytes, bearer: str | None = None) -> httpx.Response:
    """A push."""
    content = b"".join(frames)
    return visit.peer.send(visit.deal, "POST", "/_batch/push", content=content, kind=PUSH, bearer=bearer)


def results(answer: httpx.Response) -> list[Body]:
    """The lines of an answer."""
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def outcomes(answer: httpx.Response) -> list[str]:
    """What became of each document."""
    return [line["result"] for line in results(answer)]


def offer(visit: Visit, *documents: Body, **more: Any) -> list[Body]:
    """An offer and its answers."""
    lines = [json.dumps(offered(document, **more)) for document in documents]
    body = "\n".join(lines).encode()
    return results(visit.peer.send(visit.deal, "POST", "/_batch/offer", content=body, kind="application/x-ndjson"))


def offered(document: Body, *, content: bytes | None = None, doctype: str = FILES) -> Body:
    """A document as it is offered."""
    found = {"doctype": doctype, "_id": document["_id"], "_revisions": document["_revisions"]}
    if "dir_id" in document:
        found["dir_id"] = document["dir_id"]
    if content is not None:
        found |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    return found


def test_every_answer_to_a_server_tells_what_can_be_done(visit: Visit) -> None:
    answer = visit.peer.send(visit.deal, "POST", "/_revs_diff", {})
    assert answer.headers["inglenook-extensions"].startswith("batch=1")
    refused = visit.peer.send(visit.deal, "POST", "/_revs_diff", {}, bearer="wrong")
    assert refused.status_code == 400
    assert "batch=1" in refused.headers["inglenook-extensions"]
    assert "inglenook-extensions" not in visit.person.call("GET", "/files/io.cozy.files.root-dir").headers


def test_a_folder_and_the_files_in_it_come_in_one_push(visit: Visit) -> None:
    peer, deal = visit.peer, visit.deal
    folder = peer.folder(deal, "Together")
    files = {f"{n}.txt": b"content %d" % n for n in range(100)}
    documents = [(peer.file(deal, name, content, dir_id=folder["_id"]), content) for name, content in files.items()]
    frames = [frame(folder), *(frame(document, content) for document, content in documents)]
    answer = push(visit, *frames)
    assert outcomes(answer) == ["done"] * 101
    assert [line["_id"] for line in results(answer)] == [folder["_id"], *(d["_id"] for d, _ in documents)]
    tree = visit.tree()
    assert {f"Together/{name}": ("file", str(len(c)), md5(c)) for name, c in files.items()}.items() <= tree.items()
    assert visit.person.rev(documents[7][0]["_id"]) == documents[7][0]["_rev"]
    # it may all be sent again
    assert outcomes(push(visit, *frames)) == ["done"] * 101
    assert visit.tree() == tree
    assert visit.person.rev(documents[7][0]["_id"]) == documents[7][0]["_rev"]


def test_a_large_content_comes_in_a_push_as_well(visit: Visit) -> None:
    content = bytes(range(256)) * 8000
    document = visit.peer.file(visit.deal, "large.bin", content)
    assert outcomes(push(visit, frame(document, content))) == ["done"]
    assert visit.person.read(document["_id"]) == content


def test_an_offer_is_answered_by_what_is_wanted_of_it(visit: Visit) -> None:
    peer, deal = visit.peer, visit.deal
    content = b"offered"
    document = peer.file(deal, "offered.txt", content)
    folder = peer.folder(deal, "Offered")
    [file_answer, folder_answer] = [*offer(visit, document, content=content), *offer(visit, folder)]
    assert file_answer == {"_id": document["_id"], "answer": "want_content"}
    assert folder_answer == {"_id": folder["_id"], "answer": "want_metadata"}
    inner = peer.file(deal, "inner.txt", content, dir_id=folder["_id"])
    assert offer(visit, inner, content=content) == [
        {"_id": inner["_id"], "answer": "blocked_by", "parent": folder["_id"]}
    ]
    push(visit, frame(folder), frame(document, content))
    assert [line["answer"] for line in offer(visit, folder, document)] == ["known", "known"]
    # a content that is here under another name, or as an older version
    assert [line["answer"] for line in offer(visit, inner, content=content)] == ["want_metadata"]
    newer = peer.file(deal, "offered.txt", b"newer", document["_rev"], revision(2, "newer"))
    assert [line["answer"] for line in offer(visit, newer, content=b"newer")] == ["want_content"]
    renamed = {**newer, "name": "renamed.txt", "md5sum": document["md5sum"], "size": document["size"]}
    assert [line["answer"] for line in offer(visit, renamed, content=content)] == ["want_metadata"]
    assert offer(visit) == []


def test_a_content_that_is_held_already_does_not_travel(visit: Visit) -> None:
    peer, deal = visit.peer, visit.deal
    content = b"held already" * 9000
    name = hashlib.sha256(content).hexdigest()
    copy = peer.file(deal, "copy.bin", content)
    assert outcomes(push(visit, frame(copy, sha256=name))) == ["want_content"]
    original = peer.file(deal, "original.bin", content)
    assert outcomes(push(visit, frame(original, content))) == ["done"]
    assert outcomes(push(visit, frame(copy, sha256=name))) == ["done"]
    assert visit.person.read(copy["_id"]) == content
    # the name of a content is believed only for a document that announces the same
    lie = peer.file(deal, "lie.bin", b"something else")
    assert outcomes(push(visit, frame(lie, sha256=name))) == ["want_content"]


def pieces_of(content: bytes) -> list[tuple[int, str]]:
    """The pieces of a content, as a server cuts it."""

    async def whole() -> AsyncIterator[bytes]:
        yield content

    return [(chunk.length, chunk.sha256) for chunk in asyncio.run(chunks_of(whole()))]


def test_of_a_file_that_is_not_shared_no_piece_is_known(visit: Visit) -> None:
    peer, deal, bob = visit.peer, visit.deal, visit.person
    secret = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(50_000))
    private = bob.upload("secret.bin", secret)
    document = {**peer.file(deal, "secret.bin", secret), "_id": private}
    told = {"document": document, "sha256": hashlib.sha256(secret).hexdigest(), "chunks": pieces_of(secret)}
    assert offer(visit, document, content=secret + b"more")[0]["answer"] == "want_content"
    asked = peer.send(deal, "POST", "/_batch/chunks", {**told, "sha256": "0" * 64})
    assert asked.status_code == 404
    assert told["sha256"] not in asked.text

    shared = peer.file(deal, "shared.bin", b"y" * len(secret))
    peer.send_file(deal, shared, b"y" * len(secret))
    changed = {**peer.file(deal, "shared.bin", secret), **history(shared["_rev"], revision(2, "shared"))}
    head = json.dumps({**told, "document": changed, "base": told["sha256"], "lacking": []}).encode()
    body = len(head).to_bytes(4, "big") + head
    assert peer.send(deal, "POST", "/_batch/assemble", content=body, kind=PUSH).status_code == 404
    assert bob.read(shared["_id"]) == b"y" * len(secret)


def test_one_document_that_fails_stops_no_other(visit: Visit) -> None:
    peer, deal = visit.peer, visit.deal
    wrong = peer.file(deal, "wrong.txt", b"announced")
    outside = peer.file(deal, "outside.txt", b"x", dir_id="io.cozy.files.root-dir")
    nameless = {**peer.folder(deal, "nameless"), "_id": None}
    good = [peer.file(deal, f"good {n}.txt", b"good") for n in range(3)]
    folder = peer.folder(deal, "Good")
    answer = push(
        visit,
        frame(good[0], b"good"),
        frame(wrong, b"delivered"),
        frame(nameless),
        frame(folder),
        frame(good[1], b"good"),
        frame(outside, b"x"),
        frame(good[2], b"good"),
    )
    lines = results(answer)
    assert [line["result"] for line in lines] == ["done", "error", "error", "done", "done", "error", "done"]
    assert lines[1]["error"] == {"status": 422, "title": "Invalid Parameter", "detail": "Invalid hash"}
    assert lines[2]["error"] == {"status": 400, "title": "Bad Request", "detail": "An identifier is missing"}
    assert lines[5]["error"] == SAFETY
    tree = visit.tree()
    assert {"good 0.txt", "good 1.txt", "good 2.txt", "Good"} <= set(tree)
    assert not {"wrong.txt", "outside.txt"} & set(tree)


def test_folders_that_exchange_their_names_do_so_in_one_push(visit: Visit) -> None:
    peer, deal = visit.peer, visit.deal
    left, right = peer.folder(deal, "Left"), peer.folder(deal, "Right")
    push(visit, frame(left), frame(right))
    swapped = [
        {**left, "name": "Right", **history(left["_rev"], revision(2, "left"))},
        {**right, "name": "Left", **history(right["_rev"], revision(2, "right"))},
    ]
    assert outcomes(push(visit, *map(frame, swapped))) == ["done", "done"]
    assert visit.person.show(left["_id"])["attributes"]["name"] == "Right"
    assert visit.person.show(right["_id"])["attributes"]["name"] == "Left"


def test_a_content_in_conflict_makes_the_copy_of_the_plain_protocol(visit: Visit) -> None:
    peer, deal = visit.peer, visit.deal
    document = peer.file(deal, "conflict.txt", b"first")
    push(visit, frame(document, b"first"))
    visit.person.overwrite(document["_id"], b"bob's, twice")
    visit.person.change(document["_id"], tags=["later"])
    lost = peer.file(deal, "conflict.txt", b"alice3's", document["_rev"], revision(2, "lost"))
    assert outcomes(push(visit, frame(lost, b"alice3's"))) == ["done"]
    tree = visit.tree()
    assert tree["conflict.txt"][2] == md5(b"bob's, twice")
    assert tree["conflict (2).txt"][2] == md5(b"alice3's")
    copy = visit.person.find(visit.place, "conflict (2).txt")
    assert copy == xor(document["_id"], bytes(int(c, 16) for c in lost["_rev"].partition("-")[2]))


def test_a_removal_comes_behind_what_has_left_the_folder(visit: Visit) -> None:
    peer, deal = visit.peer, visit.deal
    folder = peer.folder(deal, "Going")
    file = peer.file(deal, "staying.txt", b"stays", dir_id=folder["_id"])
    push(visit, frame(folder), frame(file, b"stays"))
    moved = {name: value for name, value in file.items() if name != "dir_id"}
    moved |= history(file["_rev"], revision(2, "moved"))
    gone = {"_id": folder["_id"], **history(folder["_rev"], revision(2, "gone")), "_deleted": True}
    assert outcomes(push(visit, frame(moved), frame(gone))) == ["done", "done"]
    tree = visit.tree()
    assert "staying.txt" in tree
    assert "Going" not in tree


def test_documents_of_another_doctype_follow_their_rules(visit: Visit) -> None:
    document = {"_id": make_id("stranger"), **history(revision(1, "stranger")), "title": "not shared"}
    assert outcomes(push(visit, frame(document, doctype="io.cozy.contacts"))) == ["done"]
    assert visit.person.document("io.cozy.contacts", document["_id"]) is None


def test_what_has_arrived_of_a_push_that_breaks_off_is_kept(visit: Visit) -> None:
    peer, deal = visit.peer, visit.deal
    files = [peer.file(deal, f"part {n}.txt", b"part") for n in range(4)]
    whole = b"".join(frame(file, b"part") for file in files)
    answer = push(visit, whole[:-2])
    assert answer.status_code == 400
    assert {"part 0.txt", "part 1.txt", "part 2.txt"} <= set(visit.tree())
    assert "part 3.txt" not in visit.tree()
    assert outcomes(push(visit, whole)) == ["done"] * 4
    assert "part 3.txt" in visit.tree()


@pytest.mark.parametrize(
    "body",
    [b"\x00", b"\x00\x00\x00\x04null", b"\x00\x00\x00\x02{}", b'\x00\x00\x00\x05{"a"}', b"GET / HTTP/1.1\r\n\r\n"],
)
def test_what_is_no_push_is_refused(visit: Visit, body: bytes) -> None:
    assert push(visit, body).status_code in (400, 413)


def test_limits_are_told_and_kept(visit: Visit) -> None:
    told = visit.person.http.get("/.well-known/inglenook", headers={"Host": visit.person.domain})
    assert told.status_code == 200
    assert told.headers["cache-control"] == "public, max-age=3600"
    about = told.json()
    assert about["product"] == "Inglenook"
    assert about["extensions"]["batch"] == 1
    limits = about["limits"]
    few = b"".join(frame(visit.peer.folder(visit.deal, f"f{n}")) for n in range(3))
    too_many = b"".join(frame({"_id": None}) for _ in range(limits["max_batch_items"] + 1))
    assert len(results(push(visit, too_many))) <= limits["max_batch_items"]
    assert outcomes(push(visit, few)) == ["done"] * 3
    lines = b"\n".join([json.dumps(offered(visit.peer.folder(visit.deal, "f0"))).encode()] * 1001)
    answer = visit.peer.send(visit.deal, "POST", "/_batch/offer", content=lines, kind="application/x-ndjson")
    assert answer.status_code == 413
    huge = b"x" * (limits["max_batch_bytes"] + 1)
    document = visit.peer.file(visit.deal, "huge.bin", huge)
    with pytest.raises((httpx.TransportError, AssertionError)):
        assert push(visit, frame(document, huge)).status_code != 413
    assert "huge.bin" not in visit.tree()


def test_nobody_else_can_push_or_offer(visit: Visit) -> None:
    file = visit.peer.file(visit.deal, "not mine.txt", b"x")
    assert push(visit, frame(file, b"x"), bearer="").status_code == 401
    assert push(visit, frame(file, b"x"), bearer="wrong").status_code == 400
    path = f"/sharings/{visit.deal.id}/_batch/push"
    assert visit.person.call("POST", path, content=frame(file, b"x")).status_code == 403
    assert "not mine.txt" not in visit.tree()


def test_a_server_without_extensions_says_nothing_of_them(new_person: NewPerson) -> None:
    bob = new_person("bob", extensions="none")
    peer = FakePeer("alice3").start()
    deal = peer.invite(bob, "Plain")
    visit = Visit(bob, peer, deal)
    answer = peer.send(deal, "POST", "/_revs_diff", {})
    assert answer.status_code == 200
    assert "inglenook-extensions" not in answer.headers
    assert push(visit, frame(peer.file(deal, "a.txt", b"a"), b"a")).status_code == 404
    assert peer.send(deal, "POST", "/_batch/offer", content=b"", kind=PUSH).status_code == 404
    told = bob.http.get("/.well-known/inglenook", headers={"Host": bob.domain}).json()
    assert told["extensions"] == {}
    peer.send_file(deal, peer.file(deal, "a.txt", b"a"), b"a")
    eventually(lambda: "a.txt" in visit.tree(), "the plain protocol works")
    peer.stop()
