"""Conflicts on files and folders (spec/05 §5.4-5.6, §17)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inglenook.kernel.conflicts import Outcome, Pending, detect, increment, mixup, pending_for, stash, unstash
from inglenook.kernel.shared_tree import generation

CHAIN = ["1-aaa", "2-bbb", "3-ccc"]


@pytest.mark.parametrize(
    ("local", "outcome"),
    [
        ("2-bbb", Outcome.NO_CONFLICT),
        ("3-ccc", Outcome.NO_CONFLICT),
        ("2-ddd", Outcome.WON),
        ("3-abc", Outcome.WON),
        ("4-eee", Outcome.LOST),
        ("3-def", Outcome.LOST),
    ],
)
def test_the_outcomes_of_the_specification(local: str, outcome: Outcome) -> None:
    assert detect(local, CHAIN) is outcome


def test_an_empty_chain_loses() -> None:
    assert detect("1-a", []) is Outcome.LOST


def test_generations_are_compared_as_numbers() -> None:
    assert detect("9-f", ["10-a"]) is Outcome.WON
    assert detect("10-a", ["9-f"]) is Outcome.LOST


def test_mixup_puts_the_local_revision_at_the_head() -> None:
    assert mixup("3-abc", ["1-aaa", "2-bbb", "3-ccc", "4-ddd", "5-eee"]) == ["3-abc", "4-ddd", "5-eee"]
    assert mixup("2-b", ["1-a", "2-b", "3-c"]) == ["2-b", "3-c"]
    assert mixup("2-b", ["4-d"]) == ["2-b", "4-d"]


def test_a_higher_generation_is_written_as_received_an_equal_one_gets_a_fresh_revision() -> None:
    assert pending_for("3-bb", ["2-x", "3-a1", "4-aa"]) == Pending("4-aa", ("3-bb", "4-aa"))
    assert pending_for("2-x", ["2-x", "3-a1"]) == Pending("3-a1", ("2-x", "3-a1"))
    assert pending_for("3-aa", ["2-x", "3-bb"]) is None


def test_increment_puts_a_random_revision_on_top() -> None:
    more = increment(Pending("1-x", ("1-x",)), bytes(range(16)))
    assert more == Pending("2-000102030405060708090a0b0c0d0e0f", ("1-x", "2-000102030405060708090a0b0c0d0e0f"))
    assert increment(None, bytes(16)) is None


def test_two_writes_share_a_pending_revision_when_its_chain_is_long_enough() -> None:
    long = Pending("4-c", ("2-a", "3-b", "4-c"))
    split = stash(long, is_new=False)
    assert split.first == Pending("3-b", ("2-a", "3-b"))
    assert unstash(split) == long
    short = Pending("4-c", ("3-b", "4-c"))
    assert stash(short, is_new=False).first is None
    assert unstash(stash(short, is_new=False)) is None
    assert stash(short, is_new=True).first == Pending("3-b", ("3-b",))
    assert stash(None, is_new=True).first is None


revs = st.builds("{}-{}".format, st.integers(1, 20), st.text("0123456789abcdef", min_size=4, max_size=4))


@given(revs, revs)
def test_two_sides_agree_on_who_wins(one: str, other: str) -> None:
    seen = {detect(one, [other]), detect(other, [one])}
    assert seen == ({Outcome.NO_CONFLICT} if one == other else {Outcome.WON, Outcome.LOST})


@given(revs, st.lists(revs, min_size=1, max_size=5, unique_by=generation).map(lambda c: sorted(c, key=generation)))
def test_a_mixed_history_grows_and_ends_with_what_was_received(local: str, chain: list[str]) -> None:
    history = mixup(local, chain)
    numbers = [generation(rev) for rev in history]
    assert history[0] == local
    assert numbers == sorted(set(numbers))
    if generation(chain[-1]) > generation(local):
        assert history[-1] == chain[-1]
