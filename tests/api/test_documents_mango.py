"""Queries, indexes and design documents (spec/01 §8, §9)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.api.shelf import Shelf
from tests.servers import Person, RunningServer

BOOKS = [
    {
        "_id": f"book{n:02}",
        "n": n,
        "shelf": "ab"[n % 2],
        "o": {"p": n % 3, "q": 1},
        **({"lent": True} if n % 3 == 0 else {}),
    }
    for n in range(12)
]
NO_INDEX = (400, "no_index", "no matching index found, create an index")
SLOW = "The number of documents examined is high in proportion to the number of results returned."


@pytest.fixture
def shelf(alice: Person) -> Shelf:
    return Shelf(alice)


@pytest.fixture(scope="module")
def books(alice: Person) -> Shelf:
    """Twelve documents with some indexes."""
    books = Shelf(alice)
    books.bulk(*BOOKS)
    books.index("n", ddoc="by_n")
    books.index("shelf", "n", ddoc="by_shelf_and_n")
    books.index("n", ddoc="by_lent", partial_filter_selector={"lent": True})
    return books


def ids(answer: dict[str, Any]) -> list[int]:
    return [int(document["_id"][4:]) for document in answer["docs"]]


# -- which index


@pytest.mark.parametrize(
    ("selector", "options", "expected"),
    [
        ({"n": {"$gt": 8}}, {}, [9, 10, 11]),
        ({"n": {"$gte": 8, "$lt": 10}}, {}, [8, 9]),
        ({"n": {"$gt": 8}}, {"sort": [{"n": "desc"}]}, [11, 10, 9]),
        ({"n": 5}, {}, [5]),
        ({"n": {"$in": [3, 1, 99]}}, {}, [1, 3]),
        ({"n": {"$ne": 4}, "$or": [{"n": 4}, {"n": 6}]}, {}, [6]),
        ({"$or": [{"n": 7}, {"n": {"$lt": 2}}]}, {}, [0, 1, 7]),
        ({"shelf": "a", "n": {"$gt": 4}}, {}, [6, 8, 10]),
        ({"shelf": "a"}, {"sort": ["n"]}, [0, 2, 4, 6, 8, 10]),
        ({"shelf": "b"}, {"sort": [{"shelf": "desc"}, {"n": "desc"}]}, [11, 9, 7, 5, 3, 1]),
        ({"shelf": {"$gt": None}, "n": {"$lt": 3}}, {"sort": ["shelf"]}, [0, 2, 1]),
        ({"n": {"$gt": 3}}, {"use_index": "by_lent"}, [6, 9]),
        ({"n": {"$gt": 3}}, {"use_index": ["_design/by_lent"]}, [6, 9]),
        ({"n": {"$gt": 3}, "o.p": 1}, {}, [4, 7, 10]),
        ({"n": {"$gt": 3}, "o": {"p": 1}}, {}, [4, 7, 10]),
        ({"n": {"$gt": 5, "$lt": 2}}, {}, []),
        ({"n": {"$gt": 3}, "_id": {"$gt": "book09"}}, {}, [10, 11]),
    ],
)
def test_a_query_finds_what_matches_in_the_order_of_its_index(
    books: Shelf, selector: dict[str, Any], options: dict[str, Any], expected: list[int]
) -> None:
    assert ids(books.find(selector, **options)) == expected


@pytest.mark.parametrize(
    "selector",
    [
        {},
        {"_id": {"$gt": None}},
        {"o.q": 1},
        {"n": {"$exists": False}},
        {"$or": [{"n": 1}, {"shelf": "a"}]},
        {"shelf": "a"},
    ],
)
def test_a_query_that_no_index_serves_is_refused(books: Shelf, selector: dict[str, Any]) -> None:
    assert books.refusal("POST", "/_find", {"selector": selector}) == NO_INDEX


def test_a_partial_index_serves_only_who_names_it(shelf: Shelf) -> None:
    shelf.put("x", n=1)
    shelf.index("n", ddoc="part", partial_filter_selector={"lent": {"$exists": False}})
    assert shelf.refusal("POST", "/_find", {"selector": {"n": 1}}) == NO_INDEX
    assert len(shelf.find({"n": 1}, use_index="part")["docs"]) == 1


def test_a_name_with_a_slash_is_that_of_a_design_document_if_there_is_one(shelf: Shelf) -> None:
    shelf.put("x", n=1, path="/a")
    name = "by_n_filter_(path_$regex_(^(?!/.cozy_trash)))"
    shelf.index("n", ddoc=name, partial_filter_selector={"path": {"$regex": "^(?!/.cozy_trash)"}})
    for named in (name, f"_design/{name}", [name]):
        found = shelf.find({"n": 1}, use_index=named)
        assert (len(found["docs"]), found.get("warning")) == (1, None)


def test_a_sort_needs_an_index_that_has_it(books: Shelf) -> None:
    expected = (400, "no_usable_index", "No index exists for this sort, try indexing by the sort fields.")
    for selector, sort in (({"n": 1}, ["o.q"]), ({"shelf": {"$gt": ""}}, ["shelf"])):
        assert books.refusal("POST", "/_find", {"selector": selector, "sort": sort}) == expected
    assert books.refusal("POST", "/_find", {"selector": {"_id": {"$gt": "a"}}, "sort": ["_id"]}) == NO_INDEX


def test_a_named_index_that_does_not_serve_is_told(books: Shelf) -> None:
    told = "_design/nothing was not used because it does not contain a valid index for this query."
    assert books.find({"n": 5}, use_index="nothing")["warning"] == told
    told = "_design/by_n, other was not used because it is not a valid index for this query."
    assert books.find({"n": 5}, use_index=["by_n", "other"])["warning"] == told
    assert books.find({"n": 5}, use_index="by_n/other")["warning"] == told
    assert books.refusal("POST", "/_find", {"selector": {"o.q": 1}, "use_index": "by_n"}) == NO_INDEX
    assert "warning" not in books.find({"n": 5}, use_index="_design/by_n")


def test_a_query_that_looks_at_much_and_finds_little_is_told(shelf: Shelf) -> None:
    shelf.bulk(*({"n": n, "odd": n % 2} for n in range(900)))
    shelf.index("n", ddoc="by_n")
    found = shelf.find({"n": {"$gte": 0}, "n2": {"$exists": False}, "odd": 7}, execution_stats=True)
    assert found["docs"] == []
    assert found["warning"].startswith(SLOW)
    assert found["execution_stats"]["total_docs_examined"] == 900
    assert "results_returned" not in found["execution_stats"]
    late = shelf.find({"n": {"$gte": 0}, "odd": 1}, skip=440, limit=5)
    assert [document["n"] for document in late["docs"]] == [881, 883, 885, 887, 889]


def test_a_query_sees_every_write_at_once(shelf: Shelf) -> None:
    shelf.index("n", ddoc="by_n")
    one = shelf.put("one", n=1)
    assert len(shelf.find({"n": 1})["docs"]) == 1
    shelf.put("one", **{**one, "n": 2})
    assert shelf.find({"n": 1})["docs"] == []
    shelf.replicate({"_id": "one", "_rev": "5-a", "n": 3})
    assert [d["_rev"] for d in shelf.find({"n": {"$gt": 0}})["docs"]] == ["5-a"]
    shelf.remove(shelf.read("one"))
    assert [d["n"] for d in shelf.find({"n": {"$gt": 0}})["docs"]] == [2], "the other branch is live"


def test_indexes_hold_null_and_nested_fields_but_no_absent_ones(shelf: Shelf) -> None:
    shelf.bulk(
        {"_id": "null", "o": {"p": None}}, {"_id": "one", "o": {"p": 1}}, {"_id": "none", "o": {}}, {"_id": "no"}
    )
    shelf.index("o.p", ddoc="by_o_p")
    assert [d["_id"] for d in shelf.find({"o.p": {"$exists": True}})["docs"]] == ["null", "one"]
    assert [d["_id"] for d in shelf.find({"o.p": None})["docs"]] == ["null"]
    assert [d["_id"] for d in shelf.find({"o.p": {"$gt": None}})["docs"]] == ["one"]


def test_ids_in_an_index_are_ordered_by_bytes(shelf: Shelf) -> None:
    names = ["B", "a", "C", "b"]
    shelf.bulk(*({"_id": name, "n": 1} for name in names))
    shelf.index("n", "_id", ddoc="by_n_and_id")
    assert [d["_id"] for d in shelf.find({"n": 1}, use_index="by_n_and_id")["docs"]] == sorted(names)
    found = shelf.find({"n": 1, "_id": {"$gt": "B", "$lte": "a"}}, use_index="by_n_and_id")
    assert [d["_id"] for d in found["docs"]] == ["C", "a"]


def test_design_documents_are_in_no_index(shelf: Shelf) -> None:
    shelf.bulk({"_id": "_design/odd", "n": 1}, {"_id": "x", "n": 1})
    shelf.index("n", ddoc="by_n")
    assert [d["_id"] for d in shelf.find({"n": 1})["docs"]] == ["x"]


# -- pages


def test_pages_by_bookmark_show_everything_once(books: Shelf) -> None:
    for options in ({}, {"sort": [{"n": "desc"}]}):
        for selector in ({"n": {"$gte": 0}}, {"n": {"$gte": 0}, "o.q": 1}):
            seen: list[int] = []
            bookmark = ""
            while len(seen) < 20:
                page = books.find(selector, limit=5, bookmark=bookmark, **options)
                assert page["next"] is (len(page["docs"]) == 5)
                if not page["docs"]:
                    assert page["bookmark"] == bookmark, "nothing more: the bookmark comes back"
                    break
                seen += ids(page)
                bookmark = page["bookmark"]
            assert seen == list(range(12)) if not options else list(range(12))[::-1]


def test_limits_are_counted_as_clients_expect(books: Shelf) -> None:
    selector = {"n": {"$gte": 0}}
    for limit, expected in ((1001, 100), (None, 100), ("5", 100), (1000, 1000), (3, 3), (0, 0), (3.0, 3)):
        assert books.find(selector, limit=limit)["limit"] == expected
    empty = books.find(selector, limit=0)
    assert (empty["docs"], empty["next"], empty["bookmark"]) == ([], True, "")
    assert ids(books.find(selector, skip=10)) == [10, 11]
    assert ids(books.find(selector, skip=2, limit=2, bookmark=books.find(selector, limit=2)["bookmark"])) == [4, 5]
    assert books.find({"n": 99})["bookmark"] == ""


def test_a_bookmark_stays_with_its_index(shelf: Shelf) -> None:
    shelf.bulk(*({"_id": f"{n}", "n": n, "m": -n} for n in range(5)))
    shelf.index("n", ddoc="zz")
    first = shelf.find({"n": {"$gte": 0}, "m": {"$lte": 0}}, limit=2)
    shelf.index("m", "n", ddoc="better")
    rest = shelf.find({"n": {"$gte": 0}, "m": {"$lte": 0}}, limit=9, bookmark=first["bookmark"])
    assert [d["n"] for d in rest["docs"]] == [2, 3, 4]


@pytest.mark.parametrize("bookmark", ["zz", "m1", "m1!!", 5, "g1AAAA", "m1k6E"])
def test_a_bookmark_that_nobody_gave_is_refused(books: Shelf, bookmark: object) -> None:
    status, error, reason = books.refusal("POST", "/_find", {"selector": {"n": 1}, "bookmark": bookmark})
    assert (status, error) == (400, "invalid_bookmark")
    assert "Invalid bookmark value" in reason


def test_fields_are_projected(books: Shelf) -> None:
    query = {"n": 5}
    assert books.find(query, fields=["_id", "o.p", "absent"])["docs"] == [{"_id": "book05", "o": {"p": 2}}]
    assert books.find(query, fields=["o.p", "o.q"])["docs"] == [{"o": {"p": 2, "q": 1}}]
    assert books.find(query, fields=["o", "o.p"])["docs"] == [{"o": {"p": 2, "q": 1}}]
    assert set(books.find(query, fields=[])["docs"][0]) == {"_id", "_rev", "n", "shelf", "o"}
    assert books.find({"n": {"$lt": 2}}, fields=["o.q"])["docs"] == [{"o": {"q": 1}}] * 2
    assert books.find(query)["docs"][0]["o"] == {"p": 2, "q": 1}


def test_conflicts_are_shown_when_asked(shelf: Shelf) -> None:
    shelf.replicate({"_id": "x", "_rev": "1-a", "n": 1}, {"_id": "x", "_rev": "1-b", "n": 1})
    shelf.index("n", ddoc="by_n")
    assert shelf.find({"n": 1}, conflicts=True)["docs"][0]["_conflicts"] == ["1-a"]
    assert shelf.find({"n": 1}, conflicts=True, fields=["_conflicts"])["docs"] == [{"_conflicts": ["1-a"]}]
    assert "_conflicts" not in shelf.find({"n": 1})["docs"][0]


# -- bad requests


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "missing_required_key"),
        ({"selector": 5}, "invalid_selector_json"),
        ({"selector": None}, "invalid_selector_json"),
        ({"selector": {"n": {"$zz": 1}}}, "invalid_operator"),
        ({"selector": {"$zz": 1}}, "invalid_operator"),
        ({"selector": {"n": {"$in": 5}}}, "bad_arg"),
        ({"selector": {"n": {"$regex": "("}}}, "bad_arg"),
        ({"selector": {"n..m": 1}}, "invalid_field_name"),
        ({"selector": {"n": 1}, "limit": -1}, "invalid_non_neg_integer"),
        ({"selector": {"n": 1}, "limit": 1.5}, "invalid_non_neg_integer"),
        ({"selector": {"n": 1}, "skip": "zz"}, "invalid_non_neg_integer"),
        ({"selector": {"n": 1}, "sort": "n"}, "invalid_sort_json"),
        ({"selector": {"n": 1}, "sort": [5]}, "invalid_sort_field"),
        ({"selector": {"n": 1}, "sort": [{"n": "up"}]}, "invalid_sort_dir"),
        ({"selector": {"n": 1}, "sort": [{"n": "asc"}, {"m": "desc"}]}, "unsupported_mixed_sort"),
        ({"selector": {"n": 1}, "fields": "n"}, "invalid_fields"),
        ({"selector": {"n": 1}, "fields": [5]}, "invalid_field"),
        ({"selector": {"n": 1}, "use_index": 5}, "invalid_index_name"),
        ({"selector": {"n": 1}, "use_index": ["a", "b", "c"]}, "invalid_index_name"),
        ({"selector": {"n": 1}, "execution_stats": "yes"}, "invalid_boolean"),
        ({"selector": {"n": 1}, "zz": 1}, "invalid_key"),
    ],
)
def test_a_bad_query_is_named(books: Shelf, body: dict[str, Any], error: str) -> None:
    assert books.refusal("POST", "/_find", body)[:2] == (400, error)


def test_a_query_needs_a_database_and_a_json_object(shelf: Shelf) -> None:
    assert shelf.refusal("POST", "/_find", {"selector": {"n": 1}}) == (404, "not_found", "Database does not exist.")
    for content in (b"", b"{", b"[]", b'"x"', b"null"):
        assert shelf.refusal("POST", "/_find", content=content)[0] == 400


# -- indexes and design documents


def test_an_index_is_made_once_and_shown_as_clients_compare_it(shelf: Shelf) -> None:
    filter = {"type": "file", "trashed": False}
    made = shelf.index("b", "a", ddoc="by_b_and_a", partial_filter_selector=filter)
    assert (made["result"], made["id"]) == ("created", "_design/by_b_and_a")
    assert shelf.index("b", "a", ddoc="_design/by_b_and_a", partial_filter_selector=filter) == {
        **made,
        "result": "exists",
    }
    design = shelf.get("/_design/by_b_and_a")
    view = design["views"][made["name"]]
    assert design["language"] == "query"
    assert list(view["map"]["fields"]) == ["b", "a"]
    assert view["map"]["partial_filter_selector"] == {"$and": [{"trashed": {"$eq": False}}, {"type": {"$eq": "file"}}]}
    assert view["options"] == {"def": {"fields": ["b", "a"], "partial_filter_selector": filter}}
    assert view["reduce"] == "_count"
    other = shelf.index("c", ddoc="by_b_and_a")
    assert other["result"] == "created"
    assert set(shelf.get("/_design/by_b_and_a")["views"]) == {made["name"], other["name"]}
    assert shelf.get("/_design/by_b_and_a")["_rev"].startswith("2-")
    made = shelf.index({"z": "desc"}, {"a": "desc"}, ddoc="by_z_and_a")
    backwards = shelf.get("/_design/by_z_and_a")["views"][made["name"]]
    assert list(backwards["map"]["fields"].items()) == [("z", "desc"), ("a", "desc")]
    plain = shelf.get("/_design/by_b_and_a")["views"][other["name"]]
    assert plain["map"]["partial_filter_selector"] == {}
    assert plain["options"] == {"def": {"fields": ["c"]}}


def test_an_index_without_a_name_gets_forty_digits(shelf: Shelf) -> None:
    made = shelf.post("/_index", {"index": {"fields": ["a"]}, "type": "json"})
    assert made["id"] == "_design/" + made["name"]
    assert len(made["name"]) == 40
    named = shelf.post("/_index", {"index": {"fields": ["a"]}, "name": "mine", "ddoc": "d"})
    assert (named["id"], named["name"]) == ("_design/d", "mine")


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({}, 400, "missing_required_key"),
        ({"index": {}}, 400, "missing_required_key"),
        ({"index": 5}, 400, "invalid_index"),
        ({"index": {"fields": ["a"]}, "zz": 1}, 400, "invalid_key"),
        ({"index": {"fields": ["a"], "zz": 1}}, 400, "invalid_key"),
        ({"index": {"fields": [{"a": "asc"}, {"b": "desc"}]}}, 400, "unsupported_mixed_sort"),
        ({"index": {"fields": ["a"]}, "ddoc": ""}, 400, "invalid_empty_string"),
        ({"index": {"fields": ["a"]}, "ddoc": 5}, 400, "invalid_index_name"),
        ({"index": {"fields": ["a"], "partial_filter_selector": {"a": {"$zz": 1}}}}, 400, "invalid_operator"),
        ({"index": {"fields": ["a"], "partial_filter_selector": 5}}, 400, "invalid_selector_json"),
        ({"index": {"fields": ["a..b"]}}, 400, "invalid_field_name"),
        ({"index": {"fields": []}}, 400, "invalid_fields"),
        ({"index": {"fields": ["a"]}, "type": "text"}, 503, "required"),
    ],
)
def test_a_bad_index_is_named_and_makes_nothing(shelf: Shelf, body: dict[str, Any], status: int, error: str) -> None:
    assert shelf.refusal("POST", "/_index", body)[:2] == (status, error)
    assert shelf.refusal("GET", "/")[0] == 404


def test_a_design_is_copied_and_deleted(books: Shelf) -> None:
    source = books.get("/_design/by_n")
    copied = books.call("POST", "/_design/by_n/copy", headers={"Destination": "_design/copy"}, content=b"null")
    assert (copied.status_code, copied.json()["rev"]) == (201, source["_rev"])
    again = {"headers": {"Destination": "_design/copy"}}
    assert books.refusal("POST", "/_design/by_lent/copy", **again)[:2] == (409, "conflict")
    over = {"Destination": f"_design/copy?rev={source['_rev']}"}
    second = books.call("POST", "/_design/by_lent/copy", headers=over).json()
    assert second["rev"].startswith("2-")
    assert ids(books.find({"n": {"$gt": 3}}, use_index="copy")) == [6, 9]
    assert books.refusal("DELETE", "/_design/copy") == (400, "You must pass a rev param", "")
    assert books.refusal("DELETE", "/_design/copy", params={"rev": "1-a"})[:2] == (409, "conflict")
    deleted = books.call("DELETE", "/_design/copy", params={"rev": second["rev"]}).json()
    assert deleted == {"ok": True, "id": "_design/copy", "rev": deleted["rev"]}
    assert books.refusal("GET", "/_design/copy") == (404, "not_found", "deleted")
    assert ids(books.find({"n": {"$gt": 3}}, use_index="by_lent")) == [6, 9], "the index it shared is still there"


def test_copies_that_cannot_be(books: Shelf) -> None:
    answer = books.call("POST", "/_design/by_n/copy")
    assert (answer.status_code, answer.json()) == (400, "You must set a Destination header")
    for destination in ("plain", "_local/x", "_design/"):
        assert books.refusal("POST", "/_design/by_n/copy", headers={"Destination": destination})[0] == 400
    assert books.refusal("POST", "/_design/ghost/copy", headers={"Destination": "_design/x"})[:2] == (404, "not_found")
    assert books.refusal("DELETE", "/_design/ghost", params={"rev": "1-a"})[:2] == (404, "not_found")
    assert books.refusal("GET", "/_design/ghost") == (404, "not_found", "missing")
    assert books.refusal("GET", "/plain")[0] == 404


def test_a_deleted_index_serves_no_more(shelf: Shelf) -> None:
    shelf.put("x", n=1)
    made = shelf.index("n", ddoc="by_n")
    shelf.call("DELETE", "/_design/by_n", params={"rev": shelf.get("/_design/by_n")["_rev"]})
    assert shelf.refusal("POST", "/_find", {"selector": {"n": 1}}) == NO_INDEX
    assert shelf.index("n", ddoc="by_n") == made
    assert len(shelf.find({"n": 1})["docs"]) == 1


def test_a_design_document_that_was_replicated_serves_too(shelf: Shelf) -> None:
    shelf.put("x", n=1)
    shelf.index("n", ddoc="by_n")
    design = shelf.get("/_design/by_n")
    shelf.call("DELETE", "/", params={})
    shelf.put("x", n=1)
    shelf.replicate(design)
    assert len(shelf.find({"n": 1})["docs"]) == 1


def test_broken_design_documents_hurt_nobody(shelf: Shelf) -> None:
    maps: list[Any] = [
        {"fields": {"n": "asc"}, "partial_filter_selector": {"$zz": 1}},
        {"fields": {"n": "asc"}, "partial_filter_selector": [1]},
        {"fields": {"a..b": "asc"}},
        {"fields": ["n"]},
        {},
        5,
    ]
    views: list[Any] = [5, {"v": 5}, *({"v": {"map": each}} for each in maps)]
    designs = ({"_id": f"_design/{n}", "language": "query", "views": each} for n, each in enumerate(views))
    shelf.bulk(*designs, {"_id": "x", "n": 1})
    assert shelf.refusal("POST", "/_find", {"selector": {"n": 1}}) == NO_INDEX
    shelf.index("n", ddoc="by_n")
    assert len(shelf.find({"n": 1})["docs"]) == 1


def test_built_in_indexes_are_used_and_stay(alice: Person) -> None:
    contacts = Shelf(alice, "io.cozy.contacts", "io.cozy.contacts")
    (me,) = contacts.find({"me": True}, use_index="_design/by-me")["docs"]
    assert me["me"] is True
    rev = contacts.get("/_design/by-me")["_rev"]
    assert contacts.refusal("DELETE", "/_design/by-me", params={"rev": rev}) == (
        403,
        "This design doc cannot be deleted",
        "",
    )
    contacts.index("extra", ddoc="by-me")
    assert set(contacts.get("/_design/by-me")["views"]) > {"by-me"}
    assert len(contacts.find({"me": True}, use_index="_design/by-me")["docs"]) == 1


def test_indexes_serve_after_a_restart(tmp_path: Path) -> None:
    server = RunningServer(tmp_path).start()
    shelf = Shelf(server.add("alice"))
    token = shelf.person.token(shelf.scope)
    shelf.bulk(*({"_id": f"{n}", "n": n} for n in range(5)))
    shelf.index("n", ddoc="by_n")
    server.stop()
    server = RunningServer(tmp_path, port=server.port).start()
    shelf.put("late", n=2)
    shelf.remove(shelf.read("1"))
    query = {"selector": {"n": {"$lt": 4}}}
    found = shelf.call("POST", "/_find", query, token=token).json()
    assert [document["_id"] for document in found["docs"]] == ["0", "2", "late", "3"]
    shelf.put("later", n=1)
    found = shelf.call("POST", "/_find", query, token=token).json()
    assert [document["_id"] for document in found["docs"]] == ["0", "later", "2", "late", "3"]
    server.stop()
