"""One document at a time (spec/01 §4, §5)."""

from __future__ import annotations

import json

import pytest
from tests.api.shelf import Shelf
from tests.servers import Person

MISSING = (404, "not_found", "missing")


@pytest.fixture
def shelf(alice: Person) -> Shelf:
    return Shelf(alice)


def test_a_document_is_created_read_replaced_and_deleted(shelf: Shelf) -> None:
    made = shelf.create(label="milk", done=False)
    assert shelf.read(made["_id"]) == made == {**made, "_type": shelf.doctype}
    replaced = shelf.put(made["_id"], _id=made["_id"], _rev=made["_rev"], done=True)
    assert replaced["_rev"].startswith("2-")
    assert "label" not in shelf.read(made["_id"])
    assert shelf.remove(replaced).startswith("3-")
    assert shelf.refusal("GET", f"/{made['_id']}") == (404, "not_found", "deleted")


def test_revisions_are_those_of_couchdb(shelf: Shelf) -> None:
    first = shelf.put("one", a=1)
    assert first["_rev"] == "1-23202479633c2b380f79507a776743d5"
    assert shelf.remove(first) == "2-b4e3122af5f2ab3ae9bbd74527a6aa04"


def test_keys_are_sorted_at_every_depth_before_the_revision_is_made(shelf: Shelf) -> None:
    one = shelf.put("one", b={"z": 1, "a": [{"y": 1, "x": 2}]}, a=1)
    other = shelf.put("two", a=1, b={"a": [{"x": 2, "y": 1}], "z": 1})
    assert one["_rev"] == other["_rev"]


def test_numbers_keep_their_value(shelf: Shelf) -> None:
    body = b'{"whole": 1.0, "large": 9007199254740993, "small": 1e-7, "negative": -0.5}'
    made = shelf.call("POST", "/", content=body).json()["data"]
    text = shelf.call("GET", f"/{made['_id']}").text
    assert '"whole":1}' in text
    assert json.loads(text)["large"] == 9007199254740993
    assert json.loads(text)["small"] == 1e-7


@pytest.mark.parametrize(
    "body", ["", "{", "[1]", '"text"', "12", '{"a":}', "nonsense", "NaN", '{"a":"\\ud800"}', '{"a":NaN}', "\x00"]
)
def test_a_body_that_is_no_json_object_is_refused(shelf: Shelf, body: str) -> None:
    for method, tail in (("POST", "/"), ("PUT", "/x")):
        status, error, _ = shelf.refusal(method, tail, content=body.encode())
        assert status == 400
        assert error.startswith("Bad Request(400): ")


def test_what_follows_the_document_is_ignored(shelf: Shelf) -> None:
    answer = shelf.call("POST", "/", content=b'{"a":1} {"b":2} rubbish')
    assert answer.status_code == 201
    assert answer.json()["data"]["a"] == 1


def test_null_is_no_document(shelf: Shelf) -> None:
    for method, tail in (("POST", "/"), ("PUT", "/x")):
        assert shelf.refusal(method, tail, content=b"null") == (400, "bad_request", "Document must be a JSON object")


def test_a_document_nested_too_deep_is_refused_and_a_deep_one_survives(shelf: Shelf) -> None:
    deep = b'{"a":' * 400 + b"1" + b"}" * 400
    made = shelf.call("POST", "/", content=deep).json()["data"]
    assert shelf.read(made["_id"])["a"]["a"]["a"]
    for levels in (600, 2_000, 100_000):
        status, _, _ = shelf.refusal("POST", "/", content=b'{"a":' * levels + b"1" + b"}" * levels)
        assert status == 400


def test_a_document_over_the_limit_is_413_and_stores_nothing(shelf: Shelf) -> None:
    shelf.create(a=1)
    for size in (8_100_000, 30_000_000):
        answer = shelf.call("POST", "/", {"text": "x" * size})
        assert (answer.status_code, answer.json()["error"]) == (413, "document_too_large")
    assert len(shelf.ids()) == 1


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"_id": "mine"}, "defined_id"),
        ({"_id": 5}, "illegal_docid"),
        ({"_type": "x"}, "doc_validation"),
        ({"_secret": 1}, "doc_validation"),
        ({"_deleted": "yes"}, "doc_validation"),
    ],
)
def test_underscore_members_of_a_new_document_are_refused(
    shelf: Shelf, document: dict[str, object], error: str
) -> None:
    status, found, _ = shelf.refusal("POST", "/", document)
    assert (status, found) == (400, error)
    assert shelf.refusal("GET", "/")[0] == 404, "nothing was stored, no database was made"


def test_a_new_document_ignores_a_revision_and_may_be_a_tombstone(shelf: Shelf) -> None:
    assert shelf.create(_rev="nonsense", a=1)["_rev"].startswith("1-")
    dead = shelf.create(_deleted=True, a=1)
    assert dead["_deleted"] is True
    assert shelf.refusal("GET", f"/{dead['_id']}") == (404, "not_found", "deleted")


def test_a_chosen_id_conflicts_with_a_live_document_and_continues_a_dead_one(shelf: Shelf) -> None:
    made = shelf.put("list/today", _type="anything", a=1)
    assert shelf.refusal("PUT", "/list%2Ftoday", {"a": 2}) == (409, "conflict", "Document update conflict.")
    shelf.remove(made)
    assert shelf.put("list/today", a=3)["_rev"].startswith("3-")
    assert shelf.call("GET", "/list%2ftoday").json()["a"] == 3


def test_an_update_names_the_id_and_the_revision(shelf: Shelf) -> None:
    made = shelf.put("x", a=1)
    for partial in ({"_id": "x"}, {"_rev": made["_rev"]}):
        status, error, _ = shelf.refusal("PUT", "/x", partial)
        assert status == 400
        assert "You must either provide an _id and _rev" in error
    assert "doesnt match url" in shelf.refusal("PUT", "/x", {"_id": "y", "_rev": made["_rev"]})[1]
    assert shelf.refusal("PUT", "/x", {"_id": "x", "_rev": "zz"}) == (400, "bad_request", "Invalid rev format")
    assert shelf.refusal("PUT", "/x", {"_id": "x", "_rev": "1-abc"}) == (409, "conflict", "Document update conflict.")
    assert shelf.read("x")["a"] == 1


def test_an_update_of_what_is_not_there_is_404(shelf: Shelf) -> None:
    assert shelf.refusal("PUT", "/x", {"_id": "x", "_rev": "1-abc"}) == (404, "not_found", "wrong_doctype")
    shelf.create()
    assert shelf.refusal("PUT", "/x", {"_id": "x", "_rev": "1-abc"}) == MISSING
    made = shelf.put("x")
    shelf.remove(made)
    assert shelf.refusal("PUT", "/x", {**made, "b": 1}) == (404, "not_found", "deleted")


def test_an_update_with_deleted_leaves_a_tombstone_with_its_fields(shelf: Shelf) -> None:
    made = shelf.put("x", a=1)
    gone = shelf.put("x", **{**made, "_deleted": True})
    assert gone["_deleted"] is True
    assert gone["a"] == 1
    assert shelf.refusal("GET", "/x") == (404, "not_found", "deleted")
    assert shelf.get("/x", params={"revs": "true", "rev": gone["_rev"]})["_deleted"] is True


def test_a_deletion_names_its_revision_once(shelf: Shelf) -> None:
    made = shelf.put("x")
    rev = made["_rev"]
    assert "delete without revision" in shelf.refusal("DELETE", "/x")[1]
    assert "mismatch" in shelf.refusal("DELETE", "/x", params={"rev": rev}, headers={"If-Match": "1-a"})[1]
    assert shelf.refusal("DELETE", "/x", headers={"If-Match": f'"{rev}"'})[:2] == (400, "bad_request")
    assert shelf.refusal("DELETE", "/x", params={"rev": "1-a"})[:2] == (409, "conflict")
    answer = shelf.call("DELETE", "/x", headers={"If-Match": rev}).json()
    assert answer == {"ok": True, "id": "x", "rev": answer["rev"], "type": shelf.doctype, "deleted": True}
    assert shelf.refusal("DELETE", "/x", params={"rev": rev}) == (404, "not_found", "deleted")


def test_a_read_of_revisions_fails_in_the_words_of_the_store(shelf: Shelf) -> None:
    shelf.create()
    missing = {"error": "not_found", "reason": "missing"}
    assert shelf.call("GET", "/x", params={"revs": "true"}).json() == missing
    assert shelf.call("GET", "/x", params={"revs": "true", "open_revs": "all"}).json() == missing
    refused = shelf.call("GET", "/x", params={"revs": "true", "rev": "zz"}).json()
    assert refused == {"error": "bad_request", "reason": "Invalid rev format"}
    assert shelf.call("GET", "/x").json() == {**missing, "ok": False, "status": "404"}


def test_the_error_says_whether_database_or_document_is_missing(shelf: Shelf) -> None:
    assert shelf.refusal("GET", "/x") == (404, "not_found", "wrong_doctype")
    assert shelf.refusal("DELETE", "/x", params={"rev": "1-a"}) == (404, "not_found", "Database does not exist.")
    shelf.create()
    assert shelf.refusal("GET", "/x") == MISSING


@pytest.mark.parametrize(
    "id", ["_private", "_find", "_index", "_bulk_get", "_local", "_design", "_security", "_design%2Fx"]
)
def test_ids_with_an_underscore_are_operations_that_are_not_there(shelf: Shelf, id: str) -> None:
    shelf.create()
    name = id.replace("%2F", "/")
    expected = (400, "bad_id", f"Unsuported couchdb operation {name}")
    assert shelf.refusal("GET", f"/{id}") == expected
    assert shelf.refusal("GET", f"/{id}", params={"revs": "true"}) == expected
    assert shelf.refusal("PUT", f"/{id}", {})[:2] == (400, "bad_id")
    assert shelf.refusal("DELETE", f"/{id}", params={"rev": "1-a"})[:2] == (400, "bad_id")


@pytest.mark.parametrize("id", ["a+b", "100%", "a%2Fb", "é", "e\u0301", "日本語", "😀", "with space", "a:b@c", "UPPER"])
def test_ids_are_decoded_once(shelf: Shelf, id: str) -> None:
    assert shelf.put(id, a=1)["_id"] == id
    assert shelf.read(id)["_id"] == id
    assert shelf.ids() == [id]


def test_a_document_is_revalidated_by_its_revision(shelf: Shelf) -> None:
    made = shelf.put("x", a=1)
    answer = shelf.call("GET", "/x")
    assert answer.headers["etag"] == f'"{made["_rev"]}"'
    same = shelf.call("GET", "/x", headers={"If-None-Match": answer.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    head = shelf.call("HEAD", "/x")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", answer.headers["etag"])
    shelf.put("x", **made)
    assert shelf.call("GET", "/x", headers={"If-None-Match": answer.headers["etag"]}).status_code == 200


@pytest.mark.parametrize("tail", ["/x", "/x?revs=true", "/x?revs=true&open_revs=all", "/_design/by_a", "/_local/x"])
def test_every_way_of_reading_a_document_can_be_revalidated(shelf: Shelf, tail: str) -> None:
    made = shelf.put("x", a=1)
    shelf.index("a", ddoc="by_a")
    shelf.call("PUT", "/_local/x", {"a": 1})
    answer = shelf.call("GET", tail)
    etag = answer.headers["etag"]
    head = shelf.call("HEAD", tail)
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", etag)
    assert head.headers["content-length"] == answer.headers["content-length"]
    for listed, status in ((etag, 304), (f'"other", W/{etag}', 304), ("*", 304), ('"other"', 200), (etag[:-1], 200)):
        again = shelf.call("GET", tail, headers={"If-None-Match": listed})
        assert (again.status_code, bool(again.content)) == (status, status == 200), listed
    shelf.put("x", **made)
    shelf.index("b", ddoc="by_a")
    shelf.call("PUT", "/_local/x", {"_rev": "0-1"})
    assert shelf.call("GET", tail, headers={"If-None-Match": etag}).status_code == 200


# -- the database


def test_the_root_welcomes_anybody(alice: Person) -> None:
    assert alice.get("/data/").json() == {"message": "welcome to a cozy API"}


def test_a_database_is_made_described_and_removed(shelf: Shelf) -> None:
    assert shelf.refusal("GET", "/") == (404, "not_found", "Database does not exist.")
    assert shelf.call("PUT", "/").json() == {"ok": True}
    assert shelf.refusal("PUT", "/")[:2] == (412, "file_exists")
    made = shelf.create()
    shelf.create()
    shelf.remove(made)
    status = shelf.get("/")
    assert (status["doc_count"], status["doc_del_count"]) == (1, 1)
    assert status["db_name"].endswith("/" + shelf.doctype.replace(".", "-"))
    assert status["update_seq"] == shelf.changes()["last_seq"]
    assert shelf.call("DELETE", "/").json() == {"ok": True, "deleted": True}
    assert shelf.refusal("DELETE", "/") == (404, "not_found", "Database does not exist.")
    assert shelf.refusal("GET", "/_all_docs")[0] == 404


def test_a_database_made_again_is_empty_and_its_indexes_are_gone(shelf: Shelf) -> None:
    shelf.put("x", n=1)
    shelf.index("n", ddoc="by_n")
    shelf.call("DELETE", "/")
    shelf.put("y", n=2)
    assert shelf.ids() == ["y"]
    assert shelf.refusal("POST", "/_find", {"selector": {"n": 2}})[:2] == (400, "no_index")


def test_the_doctypes_are_listed_in_the_order_of_their_databases(shelf: Shelf) -> None:
    shelf.create()
    listed = shelf.person.get("/data/_all_doctypes", "io.cozy.doctypes").json()
    assert shelf.doctype in listed
    assert "io.cozy.files" in listed
    assert "io.cozy.permissions" not in listed
    assert listed == sorted(listed, key=lambda name: name.replace(".", "-"))
    assert shelf.person.get("/data/_all_doctypes", "io.cozy.tests").status_code == 403


@pytest.mark.parametrize("tail", ["", "/_all_docs/", "/a/b/c"])
def test_unknown_paths_and_methods_are_a_json_404(shelf: Shelf, tail: str) -> None:
    assert shelf.refusal("GET", tail)[:2] == (404, "code=404, message=Not Found")
    assert shelf.refusal("PATCH", "/x", {})[:2] == (404, "code=404, message=Not Found")
