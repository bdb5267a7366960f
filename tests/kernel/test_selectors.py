"""Mango selectors (spec/01 §9)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inglenook.kernel.errors import BadDocument
from inglenook.kernel.selectors import MISSING, compile, lookup, matches, normalise, steps

PEOPLE: list[dict[str, Any]] = [
    {"_id": "alice", "name": "Alice", "age": 31, "city": "Paris", "tags": ["a", "b"], "address": {"zip": "75001"},
     "n": [{"v": 1}, {"v": 5}]},
    {"_id": "bob", "name": "Bob", "age": 25, "city": "Lyon", "tags": ["b"], "address": {"zip": "69001"},
     "n": [{"v": 2}]},
    {"_id": "carol", "name": "Carol", "age": 40, "city": "Paris", "tags": [], "n": []},
    {"_id": "dune", "name": "Dune", "age": 25, "city": None, "tags": ["a", "c"], "address": {"zip": "13001"}},
    {"_id": "elk", "name": "élan", "age": "unknown", "city": "Nice", "tags": "a"},
    {"_id": "fox", "name": "Fox", "city": "Paris"},
]  # fmt: skip


def who(selector: object) -> set[str]:
    found = compile(normalise(selector))
    return {person["_id"] for person in PEOPLE if found(person["_id"], person)}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"age": 25}, {"bob", "dune"}),
        ({"age": {"$eq": 25}}, {"bob", "dune"}),
        ({"age": {"$ne": 25}}, {"alice", "carol", "elk"}),
        ({"age": {"$gt": 25}}, {"alice", "carol", "elk"}),
        ({"age": {"$gt": 25, "$lt": 35}}, {"alice"}),
        ({"age": {"$gte": 25, "$lte": 31}}, {"alice", "bob", "dune"}),
        ({"age": {"$in": [25, 40]}}, {"bob", "carol", "dune"}),
        ({"age": {"$nin": [25, 40]}}, {"alice", "elk"}),
        ({"age": {"$in": []}}, set()),
        ({"age": {"$nin": []}}, {"alice", "bob", "carol", "dune", "elk"}),
        ({"age": {"$exists": False}}, {"fox"}),
        ({"age": {"$exists": True}}, {"alice", "bob", "carol", "dune", "elk"}),
        ({"age": {"$type": "string"}}, {"elk"}),
        ({"age": {"$type": "number"}}, {"alice", "bob", "carol", "dune"}),
        ({"city": None}, {"dune"}),
        ({"city": {"$gt": None}}, {"alice", "bob", "carol", "elk", "fox"}),
        ({"tags": {"$all": ["a", "b"]}}, {"alice"}),
        ({"tags": {"$all": []}}, set()),
        ({"tags": {"$in": ["a"]}}, {"alice", "dune", "elk"}),
        ({"tags": {"$nin": ["a"]}}, {"bob", "carol"}),
        ({"tags": {"$size": 2}}, {"alice", "dune"}),
        ({"tags": {"$elemMatch": {"$eq": "b"}}}, {"alice", "bob"}),
        ({"n": {"$elemMatch": {"v": {"$gt": 4}}}}, {"alice"}),
        ({"n": {"$elemMatch": {"v": 1, "w": {"$exists": False}}}}, {"alice"}),
        ({"n": {"$allMatch": {"v": {"$lt": 4}}}}, {"bob"}),
        ({"tags": ["b"]}, {"bob"}),
        ({"n.0.v": 2}, {"bob"}),
        ({"address.zip": "69001"}, {"bob"}),
        ({"address": {"zip": "75001"}}, {"alice"}),
        ({"address": {"zip": {"$gt": "7"}}}, {"alice"}),
        ({"address": {"$keyMapMatch": {"$eq": "zip"}}}, {"alice", "bob", "dune"}),
        ({"age": {"$mod": [5, 0]}}, {"bob", "dune", "carol"}),
        ({"name": {"$regex": "^[BC]"}}, {"bob", "carol"}),
        ({"name": {"$beginsWith": "Fo"}}, {"fox"}),
        ({"$or": [{"age": 40}, {"city": "Lyon"}]}, {"bob", "carol"}),
        ({"$and": [{"age": 25}, {"city": "Lyon"}]}, {"bob"}),
        ({"$nor": [{"age": 25}, {"age": 40}]}, {"alice", "elk"}),
        ({"$not": {"age": 25}}, {"alice", "carol", "elk"}),
        ({"age": {"$not": {"$gt": 30}}}, {"bob", "dune"}),
        ({"age": {"$not": 25}}, {"alice", "carol", "elk"}),
        ({"age": {"$or": [{"$eq": 40}, 31]}}, {"alice", "carol"}),
        ({"name": {"$not": {"$regex": "^[BC]"}}}, {"alice", "dune", "elk", "fox"}),
        ({"$not": {"$not": {"age": 25}}}, {"bob", "dune"}),
        ({"$not": {"age": 25, "city": "Lyon"}}, {"alice", "carol", "dune", "elk", "fox"}),
        ({"$not": {"age": {"$exists": True}}}, {"fox"}),
        ({"city": "Paris", "age": {"$gt": 35}}, {"carol"}),
        ({"name": "e\u0301lan"}, {"elk"}),
        ({"name": "alice"}, set()),
        ({"_id": {"$gt": "dune"}}, {"elk", "fox"}),
        ({"_id": {"$in": ["alice", "x"]}}, {"alice"}),
        ({"_id": {"$gt": None}}, {"alice", "bob", "carol", "dune", "elk", "fox"}),
        ({"_id": "ANN"}, set()),
        ({}, {"alice", "bob", "carol", "dune", "elk", "fox"}),
        ({"$or": []}, set()),
        ({"$and": []}, set()),
        ({"age": 25, "$or": []}, {"bob", "dune"}),
    ],
)
def test_selectors_choose_documents(selector: object, expected: set[str]) -> None:
    assert who(selector) == expected


@pytest.mark.parametrize(
    ("selector", "normal"),
    [
        ({}, {}),
        ({"a": 1}, {"a": {"$eq": 1}}),
        ({"a": {}}, {"a": {"$eq": {}}}),
        ({"a": {"b": 1}}, {"a.b": {"$eq": 1}}),
        ({"a": {"$gt": 1, "$lt": 5}}, {"$and": [{"a": {"$gt": 1}}, {"a": {"$lt": 5}}]}),
        ({"trashed": False, "type": "file"}, {"$and": [{"trashed": {"$eq": False}}, {"type": {"$eq": "file"}}]}),
        ({"a": {"$gt": 1, "b": 2}}, {"$and": [{"a": {"$gt": 1}}, {"a.b": {"$eq": 2}}]}),
        ({"$nor": [{"a": 1}, {"b": 2}]}, {"$and": [{"a": {"$ne": 1}}, {"b": {"$ne": 2}}]}),
        ({"$not": {"$or": [{"a": 1}, {"b": {"$in": [2]}}]}}, {"$and": [{"a": {"$ne": 1}}, {"b": {"$nin": [2]}}]}),
        ({"$not": {"$nor": [{"a": 1}]}}, {"$or": [{"a": {"$eq": 1}}]}),
        ({"$not": {"$and": [{"a": {"$lt": 1}}]}}, {"$or": [{"a": {"$gte": 1}}]}),
        ({"a": {"$not": {"$size": 1}}}, {"a": {"$not": {"$size": 1}}}),
        ({"a": {"$not": {"$exists": False}}}, {"a": {"$exists": True}}),
        ({"a": {"$elemMatch": {"b": 1, "$gt": 2}}}, {"a": {"$elemMatch": {"$and": [{"b": {"$eq": 1}}, {"$gt": 2}]}}}),
    ],
)
def test_the_normal_form(selector: object, normal: object) -> None:
    assert normalise(selector) == normal


@pytest.mark.parametrize(
    ("selector", "title", "reason"),
    [
        (5, "invalid_selector_json", "Selector must be a JSON object, not: 5"),
        ({"a": {"$foo": 1}}, "invalid_operator", "Invalid operator: $foo"),
        ({"$foo": 1}, "invalid_operator", "Invalid operator: $foo"),
        ({"a": {"$in": 5}}, "bad_arg", "Bad argument for operator $in: 5"),
        ({"a": {"$exists": 1}}, "bad_arg", "Bad argument for operator $exists: 1"),
        ({"a": {"$size": -1}}, "bad_arg", "Bad argument for operator $size: -1"),
        ({"a": {"$mod": [0, 1]}}, "bad_arg", "Bad argument for operator $mod: [0,1]"),
        ({"a": {"$regex": "("}}, "bad_arg", 'Bad argument for operator $regex: "("'),
        ({"a": {"$type": "date"}}, "bad_arg", 'Bad argument for operator $type: "date"'),
        ({"a": {"$elemMatch": 1}}, "bad_arg", "Bad argument for operator $elemMatch: 1"),
        ({"$and": {}}, "bad_arg", "Bad argument for operator $and: {}"),
        ({"$or": [1]}, "bad_arg", "Bad argument for operator $or: [1]"),
        ({"$not": 1}, "bad_arg", "Bad argument for operator $not: 1"),
        ({"a..b": 1}, "invalid_field_name", "Invalid field name: a..b"),
        ({"a": {"": 1}}, "invalid_field_name", "Invalid field name: "),
    ],
)
def test_what_is_wrong_has_a_name(selector: object, title: str, reason: str) -> None:
    with pytest.raises(BadDocument) as caught:
        normalise(selector)
    assert (caught.value.title, caught.value.detail) == (title, reason)


def test_a_very_deep_selector_is_refused() -> None:
    deep: Any = 1
    for _ in range(500):
        deep = {"$not": {"a": deep}}
    with pytest.raises(BadDocument):
        normalise(deep)


def test_field_paths() -> None:
    body = {"a": {"b": [{"c": 1}, 2]}, "x.y": 3, "1": 4}
    assert lookup("a.b.0.c", body) == 1
    assert lookup("a.b.1", body) == 2
    assert lookup("x\\.y", body) == 3
    assert lookup("1", body) == 4
    for path in ("a.c", "a.b.2", "a.b.-1", "a.b.c", "x.y", "a.b.1.c"):
        assert lookup(path, body) is MISSING
    assert steps("a\\.b.c") == ("a.b", "c")


def test_ids_are_compared_by_their_bytes() -> None:
    assert matches(normalise({"_id": {"$lt": "a"}}), {"_id": "Z"})
    assert not matches(normalise({"name": {"$lt": "a"}}), {"_id": "1", "name": "Z"})


def test_the_id_of_an_element_is_an_ordinary_field() -> None:
    found = normalise({"groups": {"$elemMatch": {"_id": "g1"}}})
    assert matches(found, {"_id": "c", "groups": [{"_id": "g1"}]})
    assert not matches(found, {"_id": "g1", "groups": [{"_id": "g2"}]})


def test_remainders_have_the_sign_of_the_value() -> None:
    assert matches(normalise({"n": {"$mod": [3, -1]}}), {"n": -4})
    assert matches(normalise({"n": {"$mod": [-3, 1]}}), {"n": 4})
    for value in (4.0, True, "4"):
        assert not matches(normalise({"n": {"$mod": [3, 1]}}), {"n": value})


def test_all_is_strict() -> None:
    assert matches(normalise({"t": {"$all": [1]}}), {"t": [1, 2]})
    assert not matches(normalise({"t": {"$all": [1]}}), {"t": [1.0, True]})


fields = st.sampled_from(["a", "b", "c.d"])
simple = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["x", "y"])
conditions = st.one_of(
    st.tuples(fields, simple).map(lambda p: {p[0]: p[1]}),
    st.tuples(fields, st.sampled_from(["$eq", "$ne", "$lt", "$lte", "$gt", "$gte"]), simple).map(
        lambda p: {p[0]: {p[1]: p[2]}}
    ),
    st.tuples(fields, st.sampled_from(["$in", "$nin"]), st.lists(simple, max_size=2)).map(
        lambda p: {p[0]: {p[1]: p[2]}}
    ),
    st.tuples(fields, st.booleans()).map(lambda p: {p[0]: {"$exists": p[1]}}),
)
selectors = st.recursive(
    conditions,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["$and", "$or", "$nor"]), st.lists(inner, min_size=1, max_size=2)).map(
            lambda p: {p[0]: p[1]}
        ),
        inner.map(lambda s: {"$not": s}),
    ),
    max_leaves=4,
)
documents = st.fixed_dictionaries({"a": simple, "b": simple, "c": st.fixed_dictionaries({"d": simple})})


@given(selectors, documents)
def test_normal_forms_are_stable(selector: dict[str, Any], document: dict[str, Any]) -> None:
    normal = normalise(selector)
    assert matches(normalise(normal), document) == matches(normal, document)


@given(selectors, documents)
def test_a_negation_is_the_opposite_when_all_is_there(selector: dict[str, Any], document: dict[str, Any]) -> None:
    assert matches(normalise({"$not": selector}), document) != matches(normalise(selector), document)


@given(selectors, selectors, documents)
def test_combinations_are_what_they_say(one: dict[str, Any], two: dict[str, Any], document: dict[str, Any]) -> None:
    first, second = (matches(normalise(selector), document) for selector in (one, two))
    assert matches(normalise({"$and": [one, two]}), document) == (first and second)
    assert matches(normalise({"$or": [one, two]}), document) == (first or second)
    assert matches(normalise({"$nor": [one, two]}), document) == (not first and not second)
