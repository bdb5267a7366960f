"""Lists by id: `_all_docs`, `_normal_docs`, `_design_docs` (spec/01 §6.1, §6.2, §8.3)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.api.shelf import Shelf
from tests.servers import Person

IDS = ["A", "B", "a", "b/c", "c", "é", "中"]


@pytest.fixture(scope="module")
def shelf(alice: Person) -> Shelf:
    """Seven documents, a tombstone and a design document among them."""
    shelf = Shelf(alice)
    shelf.bulk(*({"_id": id, "n": n} for n, id in enumerate(IDS)), {"_id": "gone"})
    shelf.remove(shelf.read("gone"))
    shelf.index("n", ddoc="by_n")
    return shelf


ALL = ["A", "B", "_design/by_n", "a", "b/c", "c", "é", "中"]


def q(value: Any) -> str:
    return json.dumps(value)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ALL),
        ({"descending": "true"}, ALL[::-1]),
        ({"limit": "3"}, ALL[:3]),
        ({"limit": "0"}, []),
        ({"skip": "2", "limit": "3"}, ALL[2:5]),
        ({"skip": "99"}, []),
        ({"startkey": q("a")}, ALL[3:]),
        ({"start_key": q("aa")}, ALL[4:]),
        ({"startkey": q("a"), "endkey": q("c")}, ["a", "b/c", "c"]),
        ({"startkey": q("a"), "endkey": q("c"), "inclusive_end": "false"}, ["a", "b/c"]),
        ({"endkey": q("B")}, ["A", "B"]),
        ({"startkey": q("c"), "endkey": q("a"), "descending": "true"}, ["c", "b/c", "a"]),
        ({"startkey": q("c"), "endkey": q("a"), "descending": "true", "inclusive_end": "false"}, ["c", "b/c"]),
        ({"startkey": q("c"), "skip": "1", "limit": "1", "descending": "true"}, ["b/c"]),
        ({"startkey": q("c"), "endkey": q("a")}, []),
        ({"key": q("b/c")}, ["b/c"]),
        ({"key": q("nobody")}, []),
        ({"key": q(5)}, []),
        ({"startkey_docid": "b/c"}, ALL[4:]),
        ({"startkey": q(None)}, ALL),
        ({"endkey": q({})}, ALL),
        ({"endkey": q(None)}, []),
        ({"startkey": q({})}, []),
        ({"unknown": "parameter"}, ALL),
    ],
)
def test_a_range_of_ids_is_listed_in_the_order_of_bytes(
    shelf: Shelf, query: dict[str, str], expected: list[str]
) -> None:
    assert shelf.ids(**query) == expected


@pytest.mark.parametrize(
    ("query", "offset"),
    [({}, 0), ({"skip": "2"}, 2), ({"startkey": q("a")}, 3), ({"startkey": q("a"), "descending": "true"}, 4)],
)
def test_the_envelope_tells_the_total_and_the_rank_of_the_first_row(
    shelf: Shelf, query: dict[str, str], offset: int
) -> None:
    listed = shelf.get("/_all_docs", params={**query, "update_seq": "true"})
    assert (listed["total_rows"], listed["offset"]) == (8, offset)
    assert listed["update_seq"] == shelf.changes()["last_seq"]


def test_rows_carry_the_document_when_asked(shelf: Shelf) -> None:
    row = shelf.get("/_all_docs", params={"key": q("a"), "include_docs": "true"})["rows"][0]
    assert row == {"id": "a", "key": "a", "value": {"rev": row["doc"]["_rev"]}, "doc": row["doc"]}
    assert row["doc"] == {"_id": "a", "_rev": row["value"]["rev"], "n": 2}


def test_keys_are_answered_in_their_order(shelf: Shelf) -> None:
    keys = ["c", "nobody", "gone", "c", 5]
    posted = shelf.post("/_all_docs", {"keys": keys}, params={"include_docs": "true"})
    rows = posted["rows"]
    assert posted["offset"] is None
    assert [row.get("id") for row in rows] == ["c", None, "gone", "c", None]
    assert rows[1] == {"key": "nobody", "error": "not_found"}
    assert rows[2]["value"]["deleted"] is True
    assert rows[2]["doc"] is None
    assert rows[4] == {"key": 5, "error": "not_found"}
    by_query = shelf.get("/_all_docs", params={"keys": q(keys), "skip": "1", "limit": "2"})["rows"]
    assert [row["key"] for row in by_query] == ["nobody", "gone"]


@pytest.mark.parametrize(
    ("query", "error", "reason"),
    [
        ({"limit": "zz"}, "query_parse_error", 'Invalid value for integer: "zz"'),
        ({"skip": "-1"}, "query_parse_error", 'Invalid value for positive integer: "-1"'),
        ({"key": "a"}, "bad_request", "invalid UTF-8 JSON"),
        ({"keys": '"a"'}, "bad_request", "`keys` body member must be an array."),
        ({"descending": "perhaps"}, "query_parse_error", 'Invalid boolean value: "perhaps"'),
    ],
)
def test_a_bad_parameter_is_named(shelf: Shelf, query: dict[str, str], error: str, reason: str) -> None:
    assert shelf.refusal("GET", "/_all_docs", params=query) == (400, error, reason)


def test_a_posted_body_must_be_an_object(shelf: Shelf) -> None:
    assert shelf.refusal("POST", "/_all_docs", ["a"])[:2] == (400, "bad_request")
    assert shelf.refusal("POST", "/_all_docs", content=b"{")[:2] == (400, "bad_request")
    assert len(shelf.post("/_all_docs", None)["rows"]) == 8


def test_conflicts_are_shown_in_the_document_when_asked(alice: Person) -> None:
    shelf = Shelf(alice)
    shelf.replicate({"_id": "x", "_rev": "1-a"}, {"_id": "x", "_rev": "1-b"})
    query = {"include_docs": "true", "conflicts": "true"}
    assert shelf.get("/_all_docs", params=query)["rows"][0]["doc"]["_conflicts"] == ["1-a"]
    assert shelf.post("/_all_docs", {"keys": ["x"]}, params=query)["rows"][0]["doc"]["_conflicts"] == ["1-a"]


def test_a_long_list_is_complete_in_both_directions(alice: Person) -> None:
    shelf = Shelf(alice)
    ids = [f"{n:04}" for n in range(777)]
    shelf.bulk(*({"_id": id, "text": "x" * 1000} for id in ids))
    listed = shelf.get("/_all_docs", params={"include_docs": "true"})["rows"]
    assert [row["doc"]["_id"] for row in listed] == ids
    assert shelf.ids(descending="true") == ids[::-1]
    assert shelf.ids(descending="true", skip="5", limit="300", startkey=q("0600")) == ids[595:295:-1]
    assert shelf.ids(skip="250", limit="300") == ids[250:550]


# -- filtered mode


def filtered(shelf: Shelf, **query: str) -> dict[str, dict[str, Any]]:
    answer = shelf.get("/_all_docs", params=query)
    assert (answer["offset"], answer["total_rows"]) == (0, len(answer["rows"]))
    assert all(set(row) == {"id", "rev", "doc"} for row in answer["rows"])
    return {row["id"]: row["doc"] for row in answer["rows"]}


def test_fields_keep_scalars_objects_and_named_arrays(alice: Person) -> None:
    shelf = Shelf(alice)
    document = {"n": 1, "o": {"p": {"q": 2, "r": [3]}, "s": 4}, "list": [1], "none": None}
    shelf.bulk({"_id": "x", **document})
    for fields, expected in [
        ("n", {"n": 1}),
        ("_id,none", {"_id": "x", "none": None}),
        ("o", {"o": document["o"]}),
        ("o.p.q", {"o": {"p": {"q": 2}}}),
        ("o.nothing", {"o": {}}),
        ("list", {}),
        ("list.[]", {"list": [1]}),
        ("o.p.r.[],n", {"n": 1, "o": {"p": {"r": [3]}}}),
        ("absent", {}),
    ]:
        assert filtered(shelf, Fields=fields) == {"x": expected}, fields


def test_designs_are_left_out_before_limit_and_skip_count(shelf: Shelf) -> None:
    assert list(filtered(shelf, DesignDocs="false")) == IDS
    assert list(filtered(shelf, DesignDocs="false", skip="1", limit="2")) == ["B", "a"]
    assert list(filtered(shelf, DesignDocs="false", descending="true", limit="6")) == IDS[:0:-1]
    assert list(filtered(shelf, DesignDocs="true")) == ALL
    assert set(map(json.dumps, filtered(shelf, DesignDocs="false").values())) == {"{}"}


def test_keys_of_a_filtered_list_are_raw_and_bad_numbers_are_absent(shelf: Shelf) -> None:
    assert list(filtered(shelf, Fields="n", startkey="a", endkey="c")) == ["a", "b/c", "c"]
    assert list(filtered(shelf, Fields="n", startkey="c", endkey="a", descending="true")) == ["c", "b/c", "a"]
    assert list(filtered(shelf, Fields="n", limit="zz", skip="-3")) == ALL
    rows = shelf.post("/_all_docs", {"keys": ["a"]}, params={"Fields": "n"})["rows"]
    assert len(rows) == 8


def test_lists_of_an_unknown_doctype_are_404(alice: Person) -> None:
    shelf = Shelf(alice)
    for tail in ("/_all_docs", "/_all_docs?Fields=n", "/_all_docs?keys=[]", "/_normal_docs", "/_design_docs"):
        assert shelf.refusal("GET", tail) == (404, "not_found", "Database does not exist.")


# -- without design documents


def test_normal_documents_are_paged_by_bookmarks(shelf: Shelf) -> None:
    seen: list[str] = []
    bookmark = ""
    for _ in range(10):
        page = shelf.get("/_normal_docs", params={"limit": "3", "bookmark": bookmark, "skip": "0"})
        assert page["total_rows"] == 7
        if not page["rows"]:
            assert page["bookmark"] == bookmark
            break
        seen += [row["_id"] for row in page["rows"]]
        bookmark = page["bookmark"]
    assert seen == IDS


def test_normal_documents_are_whole_and_may_be_skipped(shelf: Shelf) -> None:
    page = shelf.get("/_normal_docs", params={"limit": "2", "skip": "1", "execution_stats": "1"})
    assert [row["_id"] for row in page["rows"]] == ["B", "a"]
    assert page["rows"][0]["n"] == 1
    assert "_type" not in page["rows"][0]
    assert page["execution_stats"]["results_returned"] == 2
    far = shelf.get("/_normal_docs", params={"skip": "100"})
    assert (far["rows"], far["bookmark"]) == ([], "")
    assert "execution_stats" not in far


def test_limits_of_normal_documents_fall_back_to_the_default(alice: Person) -> None:
    shelf = Shelf(alice)
    shelf.bulk(*({"_id": f"{n:04}"} for n in range(1050)))
    for limit, expected in (("zz", 100), ("-1", 100), ("1001", 100), ("0", 25), ("1000", 1000), ("7", 7)):
        page = shelf.get("/_normal_docs", params={"limit": limit})
        assert (len(page["rows"]), page["total_rows"]) == (expected, 1050)


@pytest.mark.parametrize("bookmark", ["zz", "n1!!!", "n1/w==", "g1AAAAAyeJzLYWBg"])
def test_a_bookmark_that_nobody_gave_is_refused(shelf: Shelf, bookmark: str) -> None:
    expected = (400, "invalid_bookmark", f'Invalid bookmark value: "{bookmark}"')
    assert shelf.refusal("GET", "/_normal_docs", params={"bookmark": bookmark}) == expected


# -- design documents


def test_design_documents_are_listed_alone(shelf: Shelf) -> None:
    listed = shelf.get("/_design_docs", params={"include_docs": "true"})
    assert (listed["total_rows"], listed["offset"]) == (1, 0)
    assert listed["rows"][0]["id"] == listed["rows"][0]["key"] == listed["rows"][0]["doc"]["_id"] == "_design/by_n"


def test_built_in_designs_stand_among_the_stored_ones(alice: Person) -> None:
    contacts = Shelf(alice, "io.cozy.contacts", "io.cozy.contacts")
    contacts.index("zzz", ddoc="by-a")
    contacts.index("zzz", ddoc="zzz")
    built_in = ["_design/by-groups", "_design/by-me", "_design/contacts-by-email"]
    designs = ["_design/by-a", *built_in, "_design/zzz"]
    assert [row["id"] for row in contacts.get("/_design_docs")["rows"]] == designs
    everything = contacts.ids()
    assert [id for id in everything if id.startswith("_design/")] == designs
    assert everything == sorted(everything)
    assert contacts.get("/_all_docs")["total_rows"] == len(everything) == contacts.get("/")["doc_count"]
    for skip in range(len(everything) + 1):
        assert contacts.ids(skip=str(skip), limit="2") == everything[skip : skip + 2]
        assert contacts.ids(skip=str(skip), limit="2", descending="true") == everything[::-1][skip : skip + 2]
    assert contacts.ids(startkey=q("_design/by-m")) == everything[everything.index("_design/by-me") :]
    assert contacts.post("/_all_docs", {"keys": ["_design/by-me"]})["rows"][0]["value"]["rev"].startswith("1-")
    assert contacts.get("/_design/by-me")["views"]["by-me"]["map"]["fields"] == {"me": "asc"}
    assert not [row for row in contacts.get("/_normal_docs")["rows"] if row["_id"].startswith("_design")]
