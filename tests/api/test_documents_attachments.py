"""Attachments: sent inline, kept as stubs, fetched one by one, forgotten when nothing names them (spec/01 §1.7)."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from tests.api.shelf import Shelf
from tests.servers import Person

from inglenook.documents.attachments import MEMBER
from inglenook.storage.documents.contract import Reader


@pytest.fixture
def shelf(alice: Person) -> Shelf:
    return Shelf(alice)


def inline(data: bytes, kind: str = "text/plain") -> dict[str, str]:
    """An attachment as it is sent."""
    return {"content_type": kind, "data": base64.b64encode(data).decode()}


def digest(data: bytes) -> str:
    return "md5-" + base64.b64encode(hashlib.md5(data).digest()).decode()


def stub(data: bytes, revpos: int = 1, kind: str = "text/plain") -> dict[str, Any]:
    return {"content_type": kind, "revpos": revpos, "digest": digest(data), "length": len(data), "stub": True}


def own(shelf: Shelf, text: str) -> bytes:
    """Bytes that no other test attaches."""
    return f"{text} of {shelf.doctype}".encode()


def kept(shelf: Shelf, *texts: str) -> list[str]:
    """Of which of these `own` bytes the instance keeps the content."""

    def known(view: Reader) -> list[str]:
        return [t for t in texts if view.known_content(hashlib.sha256(own(shelf, t)).hexdigest()) is not None]

    return shelf.person.server.do(lambda _: shelf.person.instance.store.read(known))


def test_an_attachment_is_shown_as_a_stub_and_read_by_its_name(shelf: Shelf) -> None:
    made = shelf.put("x", n=1, **{MEMBER: {"a.txt": inline(b"one"), "b": inline(b"\0\xff", "image/png")}})
    shown = {"a.txt": stub(b"one"), "b": stub(b"\0\xff", kind="image/png")}
    assert made[MEMBER] == shelf.read("x")[MEMBER] == shown
    (row,) = shelf.get("/_all_docs", params={"include_docs": "true"})["rows"]
    assert row["doc"][MEMBER] == shown
    answer = shelf.call("GET", "/x/b")
    assert (answer.status_code, answer.content) == (200, b"\0\xff")
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == "attachment"
    assert shelf.call("GET", "/x/b", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert shelf.call("HEAD", "/x/b").headers["content-length"] == "2"


def test_the_revision_is_a_function_of_the_attachments_as_in_couchdb(shelf: Shelf) -> None:
    one, other = (shelf.put(id, **{MEMBER: {"a": inline(data)}}) for id, data in (("x", b"one"), ("y", b"two")))
    same = shelf.put("z", **{MEMBER: {"a": inline(b"one")}})
    assert one["_rev"] == same["_rev"]
    assert one["_rev"] != other["_rev"]
    # the same term, spelled out: [false, 0, 0, {[]}, [{"a", "text/plain", <md5>}]]
    term = b"\x83l\0\0\0\5d\0\5falsea\0a\0h\1jl\0\0\0\1h\3m\0\0\0\1am\0\0\0\x0atext/plainm\0\0\0\x10"
    term += hashlib.md5(b"one").digest() + b"jj"
    assert one["_rev"] == "1-" + hashlib.md5(term).hexdigest()


def test_a_stub_keeps_an_attachment_and_leaving_it_out_removes_it(shelf: Shelf) -> None:
    one, two, three = (own(shelf, text) for text in ("one", "two", "three"))
    made = shelf.put("x", **{MEMBER: {"a": inline(one), "b": inline(two)}})
    assert kept(shelf, "one", "two", "three") == ["one", "two"]
    changed = shelf.put("x", **{**made, MEMBER: {"a": made[MEMBER]["a"], "c": inline(three)}})
    assert changed[MEMBER] == {"a": stub(one), "c": stub(three, 2)}
    assert shelf.call("GET", "/x/a").content == one
    assert shelf.call("GET", "/x/b").status_code == 404
    assert kept(shelf, "one", "two", "three") == ["one", "three"]
    shelf.remove(changed)
    assert shelf.call("GET", "/x/a").status_code == 404
    assert kept(shelf, "one", "two", "three") == []


def test_conflicting_revisions_keep_their_own(shelf: Shelf) -> None:
    one, two = own(shelf, "one"), own(shelf, "two")
    for letter, data in (("a", one), ("b", two)):
        shelf.replicate({"_id": "x", "_rev": "1-" + letter * 32, MEMBER: {"f": inline(data)}})
    assert shelf.call("GET", "/x/f").content == two
    assert shelf.call("GET", "/x/f", params={"rev": "1-" + "a" * 32}).content == one
    shelf.call("DELETE", "/x", params={"rev": "1-" + "a" * 32})
    assert kept(shelf, "one", "two") == ["two"]
    assert shelf.call("DELETE", "/").status_code == 200
    assert kept(shelf, "one", "two") == []


def test_replicators_get_the_bytes_inline_when_they_ask(shelf: Shelf) -> None:
    made = shelf.put("x", **{MEMBER: {"a": inline(b"one")}})
    whole = {"a": {"content_type": "text/plain", "revpos": 1, "digest": digest(b"one"), "data": "b25l"}}
    asked = {"docs": [{"id": "x", "rev": made["_rev"]}]}
    for params, shown in (({}, {"a": stub(b"one")}), ({"attachments": "true"}, whole)):
        (result,) = shelf.post("/_bulk_get", asked, params=params)["results"]
        assert result["docs"][0]["ok"][MEMBER] == shown
        assert shelf.get("/x", params={"revs": "true", **params})[MEMBER] == shown


@pytest.mark.parametrize(
    ("attachments", "status", "name"),
    [
        (5, 400, "doc_validation"),
        ({"a": 5}, 400, "bad_request"),
        ({"": {"data": ""}}, 400, "bad_request"),
        ({"_a": {"data": ""}}, 400, "bad_request"),
        ({"a": {"data": "!"}}, 400, "bad_request"),
        ({"a": {"data": 5}}, 400, "bad_request"),
        ({"a": {}}, 400, "bad_request"),
        ({"a": {"follows": True, "length": 3}}, 400, "bad_request"),
        ({"a": {"stub": True}}, 412, "missing_stub"),
        ({"a": {"data": base64.b64encode(b"x" * 8_000_001).decode()}}, 413, "document_too_large"),
    ],
)
def test_what_is_no_attachment_is_refused(shelf: Shelf, attachments: Any, status: int, name: str) -> None:
    shelf.put("first")
    assert shelf.refusal("PUT", "/x", {MEMBER: attachments})[:2] == (status, name)
    for new_edits in (True, False):
        document = {"_id": "x", "_rev": "1-" + "a" * 32, MEMBER: attachments}
        if new_edits:
            del document["_rev"]
        sent = {"docs": [{"_id": "y", "_rev": "1-" + "a" * 32}, document], "new_edits": new_edits}
        assert shelf.refusal("POST", "/_bulk_docs", sent)[:2] == (status, name)
    assert shelf.ids() == ["first"]


def test_a_type_that_no_header_can_carry_is_not_kept(shelf: Shelf) -> None:
    made = shelf.put("x", **{MEMBER: {"a": inline(b"one", "text/html\r\nX: y"), "b": inline(b"", "é")}})
    assert {stub["content_type"] for stub in made[MEMBER].values()} == {"application/octet-stream"}
    assert shelf.call("GET", "/x/b").content == b""


def test_an_attachment_needs_the_permission_of_its_document(shelf: Shelf) -> None:
    shelf.put("x", **{MEMBER: {"a": inline(b"one")}})
    token = shelf.person.token(f"{shelf.doctype}:GET:other")
    assert shelf.call("GET", "/x/a", token=token).status_code == 403
    assert shelf.call("GET", "/x/a", token="").status_code == 401
    for tail in ("/x/none", "/nobody/a", "/_design/a", "/x/a/b"):
        assert shelf.call("GET", tail).status_code == 404
