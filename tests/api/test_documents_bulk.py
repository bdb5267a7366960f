"""Many documents, revisions made elsewhere, and what replicators ask (spec/01 §2, §6.3, §6.4, §7.2, §7.3)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.shelf import Shelf
from tests.servers import Person


@pytest.fixture
def shelf(alice: Person) -> Shelf:
    return Shelf(alice)


def rev(generation: int, letter: str) -> str:
    return f"{generation}-{letter * 32}"


def branch(*revs: str, **fields: Any) -> dict[str, Any]:
    """A revision of the document `x` with its ancestry, oldest first."""
    start = int(revs[-1].partition("-")[0])
    ids = [each.partition("-")[2] for each in reversed(revs)]
    return {"_id": "x", "_rev": revs[-1], "_revisions": {"start": start, "ids": ids}, **fields}


def leaves(shelf: Shelf) -> list[str]:
    found = shelf.get("/x", params={"revs": "true", "open_revs": "all"})
    return [entry["ok"]["_rev"] + (" deleted" if entry["ok"].get("_deleted") else "") for entry in found]


# -- interactive writes


def test_each_document_succeeds_or_fails_alone(shelf: Shelf) -> None:
    taken = shelf.put("taken", n=0)
    answers = shelf.bulk(
        {"_id": "a", "z": 1, "a": 2},
        {"_id": "taken", "n": 1},
        {"_id": "twice"},
        {"_id": "twice"},
        {"n": 3},
        {"_id": "ghost", "_rev": rev(1, "a")},
        {"_id": "taken", "_rev": taken["_rev"], "_deleted": True, "n": 5},
    )
    conflict = {"error": "conflict", "reason": "Document update conflict."}
    assert [answer.get("ok", answer.get("error")) for answer in answers] == [
        True, "conflict", True, "conflict", True, "conflict", True,
    ]  # fmt: skip
    assert answers[1] == {"id": "taken", **conflict}
    assert answers[5] == {"id": "ghost", **conflict}
    assert len(answers[4]["id"]) == 32
    tombstone = shelf.get("/taken", params={"revs": "true", "rev": answers[6]["rev"]})
    assert (tombstone["_deleted"], tombstone["n"]) == (True, 5)


def test_documents_keep_the_order_of_their_members(shelf: Shelf) -> None:
    shelf.bulk({"_id": "a", "z": 1, "a": 2})
    assert shelf.call("GET", "/a").text.endswith('"z":1,"a":2}\n')


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"_id": 5}, "illegal_docid"),
        ({"_id": ""}, "illegal_docid"),
        ({"_id": "_x"}, "illegal_docid"),
        ({"_id": "_design/"}, "illegal_docid"),
        ({"_rev": "zz"}, "bad_request"),
        ({"_rev": 7}, "bad_request"),
        ({"_rev": '1-a"b'}, "bad_request"),
        ({"_rev": "1-a\r\nb"}, "bad_request"),
        ({"_rev": "1-é"}, "bad_request"),
        ({"_rev": "1-a\\b"}, "bad_request"),
        ({"_rev": "1-zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"}, "bad_request"),
        ({"_type": "x"}, "doc_validation"),
        ({"_other": 1}, "doc_validation"),
        ({"_deleted": 1}, "doc_validation"),
        ({"_revisions": 1}, "doc_validation"),
        ("text", "code=400, message=request body is not valid JSON"),
    ],
)
@pytest.mark.parametrize("new_edits", [True, False])
def test_one_bad_document_refuses_them_all(shelf: Shelf, bad: Any, error: str, new_edits: bool) -> None:
    shelf.put("first")
    documents = [{"_id": "good", "_rev": rev(1, "a")}, {**bad, "n": 1} if isinstance(bad, dict) else bad]
    status, found, _ = shelf.refusal("POST", "/_bulk_docs", {"docs": documents, "new_edits": new_edits})
    assert (status, found) == (400, error)
    assert shelf.ids() == ["first"]


def test_one_document_too_large_refuses_them_all(shelf: Shelf) -> None:
    shelf.put("first")
    documents = {"docs": [{"_id": "good"}, {"_id": "big", "text": "x" * 8_000_001}]}
    assert shelf.refusal("POST", "/_bulk_docs", documents) == (413, "document_too_large", "big")
    assert shelf.ids() == ["first"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"docs":{}}', b'{"docs":[],"new_edits":5}', b'"x"'])
def test_a_body_of_another_form_is_refused(shelf: Shelf, body: bytes) -> None:
    assert shelf.refusal("POST", "/_bulk_docs", content=body)[:2] == (
        400, "code=400, message=request body is not valid JSON",
    )  # fmt: skip


def test_no_documents_are_fine_and_a_missing_list_is_not(shelf: Shelf) -> None:
    assert shelf.bulk() == []
    assert shelf.refusal("POST", "/_bulk_docs", {}) == (400, "bad_request", "POST body must include `docs` parameter.")


def test_a_refused_request_makes_no_database(shelf: Shelf) -> None:
    for body in (b"{", b"{}", b'{"docs":[{"_x":1}]}', b'{"docs":[{"a":1}],"new_edits":false}', b'{"docs":[5]}'):
        assert shelf.call("POST", "/_bulk_docs", content=body).status_code == 400
    assert shelf.call("PUT", "/x", {"_id": "x", "_rev": rev(1, "a")}).status_code == 404
    assert shelf.call("POST", "/_index", {"index": {}}).status_code == 400
    assert shelf.call("POST", "/", {"_attachments": {"x": 5}}).status_code == 400
    assert shelf.refusal("GET", "/") == (404, "not_found", "Database does not exist.")


# -- revisions made elsewhere


def test_branches_grow_and_the_winner_is_a_function_of_the_revisions(shelf: Shelf) -> None:
    shelf.replicate(branch(rev(1, "a"), rev(2, "b"), v="b"), branch(rev(1, "a"), rev(2, "c"), v="c"))
    assert shelf.read("x")["v"] == "c"
    shelf.replicate(branch(rev(1, "a"), rev(2, "b"), rev(3, "0"), v="long"))
    assert shelf.read("x")["v"] == "long"
    shelf.replicate(branch(rev(1, "a"), rev(2, "b"), rev(3, "0"), rev(4, "f"), _deleted=True))
    assert shelf.read("x")["v"] == "c", "a live leaf beats a tombstone of a higher generation"
    assert leaves(shelf) == [rev(2, "c"), rev(4, "f") + " deleted"]


def test_a_known_revision_changes_nothing(shelf: Shelf) -> None:
    shelf.replicate(branch(rev(1, "a"), rev(2, "b"), v=1))
    before = shelf.changes()["last_seq"]
    shelf.replicate(branch(rev(1, "a"), rev(2, "b"), v=2), branch(rev(1, "a"), v=3))
    assert shelf.changes()["last_seq"] == before
    assert shelf.read("x")["v"] == 1


def test_foreign_hashes_of_any_length_are_kept(shelf: Shelf) -> None:
    shelf.replicate({"_id": "x", "_rev": "2-def", "v": 1})
    assert shelf.read("x")["_rev"] == "2-def"
    edited = shelf.put("x", _id="x", _rev="2-def", v=2)
    assert edited["_rev"].startswith("3-")
    shelf.replicate({"_id": "y", "_rev": "1-" + "AB" * 16})
    assert shelf.read("y")["_rev"] == "1-" + "ab" * 16


def test_a_replicated_document_needs_a_revision(shelf: Shelf) -> None:
    status, error, reason = shelf.refusal(
        "POST", "/_bulk_docs", {"new_edits": False, "docs": [{"_id": "a", "_rev": "1-a"}, {"_id": "b"}]}
    )
    assert (status, error) == (400, "bad_request")
    assert reason == "When `new_edits: false`, the document needs `_rev` or `_revisions` specified"
    assert shelf.refusal("GET", "/a")[0] == 404


def test_any_live_leaf_can_be_edited_and_closing_one_leaves_the_others(shelf: Shelf) -> None:
    shelf.replicate(branch(rev(2, "b"), v="b"), branch(rev(2, "c"), v="c"))
    loser = shelf.put("x", _id="x", _rev=rev(2, "b"), v="edited")
    assert shelf.read("x")["_rev"] == loser["_rev"]
    assert shelf.call("DELETE", "/x", params={"rev": loser["_rev"]}).status_code == 200
    assert shelf.read("x")["v"] == "c"
    assert shelf.refusal("PUT", "/x", {"_id": "x", "_rev": loser["_rev"]})[0] == 409


# -- reading revisions


def test_options_of_a_read_with_revs(shelf: Shelf) -> None:
    shelf.replicate(
        branch(rev(1, "a"), rev(2, "b"), v="b"), branch(rev(1, "a"), rev(2, "c"), v="c"),
        branch(rev(1, "a"), rev(2, "d"), _deleted=True),
    )  # fmt: skip

    def read(**options: str) -> Any:
        return shelf.get("/x", params={"revs": "true", **options})

    whole = read(conflicts="true", deleted_conflicts="true", revs_info="true")
    assert whole["_revisions"] == {"start": 2, "ids": ["c" * 32, "a" * 32]}
    assert (whole["_conflicts"], whole["_deleted_conflicts"]) == ([rev(2, "b")], [rev(2, "d")])
    assert whole["_revs_info"] == [
        {"rev": rev(2, "c"), "status": "available"}, {"rev": rev(1, "a"), "status": "missing"},
    ]  # fmt: skip
    assert read(rev=rev(2, "b"), conflicts="true") == {
        "_id": "x", "_rev": rev(2, "b"), "_revisions": {"start": 2, "ids": ["b" * 32, "a" * 32]}, "v": "b",
    }  # fmt: skip
    assert read(rev=rev(2, "d"))["_deleted"] is True
    assert read(rev=rev(1, "a"), latest="true")["_rev"] == rev(2, "c")
    wanted = f'["{rev(1, "a")}","{rev(9, "e")}"]'
    assert [entry.get("missing") or entry["ok"]["_rev"] for entry in read(open_revs=wanted, latest="true")] == [
        rev(2, "c"), rev(2, "b"), rev(2, "d"), rev(9, "e"),
    ]  # fmt: skip
    assert read(open_revs=wanted) == [{"missing": rev(1, "a")}, {"missing": rev(9, "e")}]


def test_reads_of_revisions_that_cannot_be_served(shelf: Shelf) -> None:
    made = shelf.put("x")

    def refused(id: str, **options: str) -> tuple[int, str, str]:
        return shelf.refusal("GET", f"/{id}", params={"revs": "true", **options})

    assert refused("x", rev=rev(1, "f")) == (404, "not_found", "missing")
    assert refused("x", rev="zz") == (400, "bad_request", "Invalid rev format")
    assert refused("x", open_revs="zz")[:2] == (400, "bad_request")
    assert refused("x", open_revs='["zz"]') == (400, "bad_request", "Invalid rev format")
    assert refused("ghost") == (404, "not_found", "missing")
    assert refused("ghost", open_revs="all") == (404, "not_found", "missing")
    assert shelf.get("/ghost", params={"revs": "true", "open_revs": '["1-a"]'}) == [{"missing": "1-a"}]
    shelf.remove(made)
    assert refused("x") == (404, "not_found", "deleted")


def test_bulk_get_answers_each_item(shelf: Shelf) -> None:
    shelf.replicate(branch(rev(1, "a"), rev(2, "b"), v="b"), branch(rev(1, "a"), rev(2, "c"), _deleted=True))
    items: list[Any] = [
        {"id": "x"}, {"id": "x", "rev": rev(2, "b")}, {"id": "x", "rev": rev(1, "a")}, {"id": "ghost"},
        {"id": "ghost", "rev": "1-a"}, {"id": "x", "rev": "zz"}, {"rev": "1-a"},
    ]  # fmt: skip
    results = shelf.post("/_bulk_get?revs=true&latest=true", {"docs": items})["results"]
    assert [result["id"] for result in results] == ["x", "x", "x", "ghost", "ghost", "x", None]
    both = [rev(2, "b"), rev(2, "c")]
    assert [entry["ok"]["_rev"] for entry in results[0]["docs"]] == both
    assert [entry["ok"]["_rev"] for entry in results[1]["docs"]] == both[:1]
    assert [entry["ok"]["_rev"] for entry in results[2]["docs"]] == both
    assert results[0]["docs"][1]["ok"]["_deleted"] is True
    assert results[0]["docs"][0]["ok"]["_revisions"] == {"start": 2, "ids": ["b" * 32, "a" * 32]}
    errors = [result["docs"][0]["error"] for result in results[3:]]
    assert [(error["rev"], error["error"], error["reason"]) for error in errors] == [
        ("undefined", "not_found", "missing"), ("1-a", "not_found", "missing"),
        ("zz", "bad_request", "Invalid rev format"), ("1-a", "bad_request", "document id missed"),
    ]  # fmt: skip
    plain = shelf.post("/_bulk_get", {"docs": [{"id": "x", "rev": rev(1, "a")}, {"id": "x", "rev": rev(2, "b")}]})[
        "results"
    ]
    assert plain[0]["docs"][0]["error"]["reason"] == "missing"
    assert plain[1]["docs"][0]["ok"] == {"_id": "x", "_rev": rev(2, "b"), "v": "b"}
    assert shelf.refusal("POST", "/_bulk_get", {}) == (400, "bad_request", "Missing JSON list of 'docs'.")


def test_revs_diff_names_what_is_not_known(shelf: Shelf) -> None:
    shelf.replicate(branch(rev(1, "a"), rev(2, "b")), branch(rev(1, "a"), rev(2, "c")))
    asked = {"x": [rev(3, "d"), rev(2, "b"), rev(1, "a")], "y": ["1-a"], "z": []}
    assert shelf.post("/_revs_diff", asked) == {
        "x": {"missing": [rev(3, "d")], "possible_ancestors": [rev(2, "c"), rev(2, "b")]},
        "y": {"missing": ["1-a"]},
    }
    assert shelf.post("/_revs_diff", {"x": [rev(1, "e")]}) == {"x": {"missing": [rev(1, "e")]}}
    assert shelf.post("/_revs_diff", {"x": [rev(2, "b")]}) == {}
    assert shelf.refusal("POST", "/_revs_diff", []) == (400, "bad_request", "Request body must be a JSON object")
    for bad in ({"x": ["zz"]}, {"x": "1-a"}, {"x": [5]}):
        assert shelf.refusal("POST", "/_revs_diff", bad) == (400, "bad_request", "Invalid rev format")


# -- local documents


def test_local_documents_never_conflict_and_count_what_was_sent(shelf: Shelf) -> None:
    path = "/_local/3TjB..q9_%3D%3D"
    assert shelf.refusal("PUT", path, {}) == (404, "not_found", "Database does not exist.")
    shelf.put("x")
    assert shelf.refusal("GET", path + "?") == (404, "not_found", "missing")
    first = shelf.call("PUT", path, {"_id": "whatever", "last_seq": 3})
    assert (first.status_code, first.json()) == (201, {"ok": True, "id": "_local/3TjB..q9_==", "rev": "0-1"})
    assert shelf.call("PUT", path, {"last_seq": 4, "_rev": "0-7"}).json()["rev"] == "0-8"
    assert shelf.call("PUT", path, {"last_seq": 5}).json()["rev"] == "0-1"
    assert shelf.get(path + "?") == {"_id": "_local/3TjB..q9_==", "_rev": "0-1", "last_seq": 5}
    assert shelf.refusal("PUT", path, {"_x": 1})[:2] == (400, "doc_validation")
    assert shelf.refusal("PUT", path, {"_rev": "zz"})[:2] == (400, "bad_request")
    assert "attachments" in shelf.refusal("PUT", "/_local/a%2Fb", {})[2]
    removed = shelf.call("PUT", path, {"_deleted": True})
    assert (removed.status_code, removed.json()["rev"]) == (200, "0-0")
    assert shelf.refusal("GET", path)[0] == 404
    assert shelf.ids() == ["x"]
    assert shelf.refusal("DELETE", path)[0] == 404


def test_a_full_commit_is_always_there(shelf: Shelf) -> None:
    answer = shelf.call("POST", "/_ensure_full_commit", {})
    assert (answer.status_code, answer.json()["ok"]) == (201, True)
    assert shelf.refusal("POST", "/_ensure_full_commit", content=b"")[:2] == (415, "bad_content_type")
