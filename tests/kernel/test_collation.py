"""The order of values (spec/01 §9.3)."""

from __future__ import annotations

import unicodedata
from functools import cmp_to_key
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inglenook.kernel.collation import compare, prefix_end, raw_key, sort_key, sort_key_tuple

OBSERVED = [
    "", " ", "_", "-", "@", "`", "^", "~", "😀", "0a", "1", "10", "2", "2021-01-02", "2021-01-02T00:00:00.000Z",
    "2021-01-02T00:00:00Z", "a", "A", "a b", "a-b", "aa", "aA", "Aa", "AA", "ab", "ac", "b", "B", "e", "é", "f", "oe",
    "œ", "ss", "ß", "z", "中", "\uffff",
]  # fmt: skip

ROOT_ORDER = "_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789aAbBzZ"


def in_order(values: list[Any]) -> bool:
    return all(compare(one, other) < 0 for one, other in pairwise(values))


def test_the_observed_order() -> None:
    assert in_order(OBSERVED)
    assert sorted(sorted(OBSERVED), key=sort_key) == OBSERVED


def test_the_root_order_of_ascii() -> None:
    assert in_order(list(ROOT_ORDER))


def test_types_have_an_order() -> None:
    assert in_order([None, False, True, -1.5, 0, 0.5, 1, 2**40, "", "a", [], [None], ["a"], {}, {"a": 1}])


def test_numbers_are_ordered_by_value() -> None:
    assert in_order([-(10**400), -1e300, -2, -1.5, -1, -0.001, 0, 5e-324, 1, 1.5, 2, 255, 256, 2**53, 1e300, 10**400])
    assert compare(1, 1.0) == 0
    assert compare(0.0, -0.0) == 0


def test_arrays_are_compared_by_element_and_the_shorter_is_first() -> None:
    assert in_order([[], [1], [1, 1], [1, "a"], [2], ["a"], ["a", None], ["a", "a"], ["aa"], [[]], [[], 1], [{}]])


def test_objects_are_compared_by_member_key_then_value() -> None:
    assert in_order([{}, {"a": 1}, {"a": 1, "b": 1}, {"a": 2}, {"A": 1}, {"b": 1}, {"b": 1, "a": 0}])


def test_accents_count_after_letters_and_case_after_accents() -> None:
    assert in_order(["cote", "Cote", "coté", "côte", "côté", "coteau"])
    assert in_order(["e", "E", "é", "É", "è", "ê", "ë"])
    assert in_order(["o", "ø", "p"])
    assert in_order(["d", "đ", "ð", "e"])
    assert in_order(["иа", "иб", "йа", "ка"])
    assert in_order(["z", "Z", "þ", "α", "Α", "β", "и", "й", "к", "あ", "ア", "い", "中"])


def test_equal_strings() -> None:
    assert compare("é", "e\u0301") == 0
    assert compare("a\u00adb", "ab") == 0
    assert compare("a", "A") != 0
    assert compare("3", "３") != 0
    assert compare("3", "٣") != 0
    assert compare("a\u0323\u0301", "a\u0301\u0323") == 0


def test_upper_bounds_by_the_highest_character() -> None:
    for text in ("a", "A", "aa", "azz", "a中", "aé"):
        assert compare("a", text) <= 0
        assert compare(text, "a\uffff") < 0
    assert compare("b", "a\uffff") > 0


def test_a_very_deep_value_has_a_key() -> None:
    deep: Any = 1
    for _ in range(20_000):
        deep = [{"x": deep}]
    assert compare(deep, [deep]) < 0 or compare(deep, [deep]) > 0


def test_what_is_no_json_has_no_key() -> None:
    with pytest.raises(TypeError):
        sort_key([object()])


def test_raw_keys_order_by_bytes_part_after_part() -> None:
    parts = [("",), ("", "z"), ("A",), ("a",), ("a", ""), ("a", "b"), ("a\0",), ("a\0", "b"), ("a\x01",), ("aa",)]
    keys = [raw_key(*part) for part in parts]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


texts = st.text(max_size=6) | st.text("aAbé e\u0301ß-_0\0\uffff", max_size=6)
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)


@given(values, values, values)
def test_the_order_is_total(one: Any, two: Any, three: Any) -> None:
    assert compare(one, two) == -compare(two, one)
    assert compare(one, one) == 0
    first, second, third = sorted([one, two, three], key=cmp_to_key(compare))
    assert compare(first, second) <= 0
    assert compare(second, third) <= 0
    assert compare(first, third) <= 0


@given(texts)
def test_normal_forms_are_equal(text: str) -> None:
    assert compare(unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)) == 0


@given(st.lists(values, min_size=1, max_size=3), st.lists(values, min_size=1, max_size=3))
def test_joined_keys_order_like_tuples(one: list[Any], other: list[Any]) -> None:
    pairs = [compare(a, b) for a, b in zip(one, other, strict=False)]
    expected = next((pair for pair in pairs if pair), (len(one) > len(other)) - (len(one) < len(other)))
    mine, yours = sort_key_tuple(one), sort_key_tuple(other)
    assert (mine > yours) - (mine < yours) == expected


@given(values, values)
def test_keys_never_run_into_each_other(one: Any, other: Any) -> None:
    mine, yours = sort_key(one), sort_key(other)
    assert mine == yours or not mine.startswith(yours)
    assert mine < prefix_end(mine)
    assert mine + yours < prefix_end(mine)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8))
def test_ascii_takes_the_short_way_to_the_same_key(text: str) -> None:
    assert sort_key(text) == sort_key(text + "\u00ad"), "a soft hyphen has no weight but leaves ASCII"


@given(st.lists(st.text(max_size=4), max_size=3), st.lists(st.text(max_size=4), max_size=3))
def test_raw_keys_order_like_lists_of_bytes(one: list[str], other: list[str]) -> None:
    mine, yours = ([part.encode() for part in parts] for parts in (one, other))
    assert (raw_key(*one) < raw_key(*other)) == (mine < yours)
