"""Identifiers as another member sees them (spec/05 §4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inglenook.kernel.errors import BadDocument, BadRequest
from inglenook.kernel.xor import conflict_id, key_from_json, key_to_json, make_key, xor_id

OWNER_ID = "0192f3a4-5b6c-7d8e-9fa0-b1c2d3e4f506"
RECIPIENT_ID = "a2570ab4-2988-a52d-c031-c6ec983c56c3"
KEY = make_key(bytes.fromhex("3a5c9f0177e2b48d"))

keys = st.binary(min_size=8, max_size=8).map(make_key)
ids = st.text("0123456789abcdef-", max_size=40)
revs = st.builds("{}-{}".format, st.integers(1, 99), st.text("0123456789abcdef", min_size=32, max_size=32))


def test_a_key_is_the_nibbles_of_eight_bytes_low_first() -> None:
    assert list(KEY) == [10, 3, 12, 5, 15, 9, 1, 0, 7, 7, 2, 14, 4, 11, 13, 8]
    assert key_to_json(KEY) == "CgMMBQ8JAQAHBwIOBAsNCA=="
    assert key_from_json("CgMMBQ8JAQAHBwIOBAsNCA==") == KEY
    assert key_from_json(list(KEY)) == KEY


@pytest.mark.parametrize("value", [None, "", "!", "EA==", [], [16], [-1], ["a"], [300], 5, {}, [1.5]])
def test_a_malformed_key_is_refused(value: object) -> None:
    with pytest.raises(BadRequest):
        key_from_json(value)


def test_the_values_of_the_specification() -> None:
    id = "12345678-abcd-90ef-1337-cafebee54321"
    assert xor_id(id, bytes([1])) == "03254769-badc-81fe-0226-dbefaff45230"
    assert xor_id(id, bytes([0, 1, 0, 15])) == "133b5777-bb3d-9fee-e327-cbf1bfea422e"
    assert xor_id(id, bytes([0])) == id
    assert xor_id(OWNER_ID, KEY) == RECIPIENT_ID
    assert xor_id(RECIPIENT_ID, KEY) == OWNER_ID


def test_other_characters_stay_and_count() -> None:
    assert xor_id("é-ff/xyz", bytes([0, 0, 0, 1, 2, 3])) == "é-ed/xyz"
    assert xor_id("ABCDEF", bytes([0])) == "abcdef"


def test_a_conflict_copy_has_corresponding_ids_on_both_sides() -> None:
    rev = "3-5f9ba207fefdc250e35f7cd866c84cc6"
    assert conflict_id(OWNER_ID, rev) == "5e0951a3-b4b0-2d6d-686d-d70a9f22aa9d"
    assert conflict_id(RECIPIENT_ID, rev) == "fdcca8b3-c654-f5ce-37fc-a024d4fa0958"
    with pytest.raises(BadDocument):
        conflict_id(OWNER_ID, "3-xyz")


@given(ids, keys)
def test_rewriting_twice_gives_the_id_back(id: str, key: bytes) -> None:
    assert xor_id(xor_id(id, key), key) == id
    assert len(xor_id(id, key)) == len(id)


@given(ids, keys, revs)
def test_conflict_ids_commute_with_the_key(id: str, key: bytes, rev: str) -> None:
    assert xor_id(conflict_id(id, rev), key) == conflict_id(xor_id(id, key), rev)


@given(keys)
def test_keys_survive_json(key: bytes) -> None:
    assert key_from_json(key_to_json(key)) == key
