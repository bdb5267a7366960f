"""Revisions and revision trees (spec/01 §2.2-2.5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inglenook.kernel.errors import BadDocument
from inglenook.kernel.revisions import (
    Leaf,
    RevisionTree,
    chain_to_wire,
    generation,
    next_rev,
    normalise,
    order_key,
    parse,
    wire_to_chain,
)

A = "1-23202479633c2b380f79507a776743d5"


def hexes(*digits: str) -> list[str]:
    """A chain with 32-digit hashes: hexes("1a", "2b") is ["1-aaa…", "2-bbb…"]."""
    return [f"{text[:-1]}-{text[-1] * 32}" for text in digits]


# -- single revisions


def test_hashes_are_those_of_couchdb() -> None:
    assert next_rev(None, {}) == "1-967a00dff5e02add41819138abb3284d"
    assert next_rev(None, {"a": 1}) == A
    assert next_rev(A, {"a": 2}) == "2-71173597778497e0a6aa176963f222db"
    assert next_rev(A, {}, deleted=True) == "2-b4e3122af5f2ab3ae9bbd74527a6aa04"


def test_members_with_an_underscore_do_not_change_the_hash_but_their_order_does() -> None:
    assert next_rev(None, {"_id": "x", "a": 1, "_rev": "y"}) == A
    assert next_rev(None, {"a": 1, "b": 2}) != next_rev(None, {"b": 2, "a": 1})
    assert next_rev(None, {"a": {"_b": 1}}) != next_rev(None, {"a": {}})


def test_values_that_look_alike_get_different_hashes() -> None:
    values: list[object] = [0, 0.0, False, None, "", [], {}, [0], [0.0], ["0"], [256], [[]], [0, [1]]]
    values += [-1, 2**31, -(2**31) - 1, 2**2100]
    assert len({next_rev(None, {"v": value}) for value in values}) == len(values)


def test_a_very_deep_document_has_a_hash() -> None:
    deep: object = 1
    for _ in range(20_000):
        deep = [{"x": deep}]
    assert next_rev(None, {"deep": deep}).startswith("1-")


def test_a_foreign_parent_is_accepted() -> None:
    assert next_rev("2-def", {}).startswith("3-")


@pytest.mark.parametrize("rev", ["", "1", "-a", "x-a", "1-", "0-a", " 1-a", "+1-a", "1_0-a", "²-a", "9" * 30 + "-a"])
def test_malformed_revisions_are_refused(rev: str) -> None:
    with pytest.raises(BadDocument) as caught:
        parse(rev)
    assert (caught.value.title, caught.value.detail) == ("bad_request", "Invalid rev format")


def test_a_hash_of_32_characters_must_be_hexadecimal_and_is_lowered() -> None:
    assert parse("3-" + "AB" * 16) == (3, "ab" * 16)
    assert parse("3-DEF") == (3, "DEF")
    for digest in ("g" * 32, "a " * 16, " " + "a" * 31):
        with pytest.raises(BadDocument):
            parse("3-" + digest)


def test_the_hash_starts_after_the_first_dash() -> None:
    assert parse("12-a-b") == (12, "a-b")
    assert generation("12-a-b") == 12


# -- chains


def test_a_chain_travels_newest_first() -> None:
    assert chain_to_wire(["2-b", "3-c"]) == {"start": 3, "ids": ["c", "b"]}
    assert wire_to_chain({"start": 3, "ids": ["c", "b"]}) == ["2-b", "3-c"]


@pytest.mark.parametrize(
    "wire",
    [None, [], {}, {"start": "3", "ids": ["a"]}, {"start": 3}, {"start": 3, "ids": []}, {"start": 3, "ids": [1]},
     {"start": 1, "ids": ["b", "a"]}, {"start": True, "ids": ["a"]}, {"start": 2**60, "ids": ["a"]}],
)  # fmt: skip
def test_a_malformed_wire_chain_is_refused(wire: object) -> None:
    with pytest.raises(BadDocument):
        wire_to_chain(wire)


@given(st.lists(st.text("0123456789abcdef", min_size=1, max_size=5), min_size=1, max_size=8), st.integers(0, 1000))
def test_chains_survive_the_wire(hashes: list[str], offset: int) -> None:
    chain = [f"{number}-{digest}" for number, digest in enumerate(hashes, offset + 1)]
    assert wire_to_chain(chain_to_wire(chain)) == chain


# -- trees


def test_an_edited_document_has_one_leaf() -> None:
    tree = RevisionTree()
    chain = hexes("1a", "2b", "3c")
    for end in range(1, 4):
        assert tree.insert(chain[:end], False)
    assert tree.leaves() == [Leaf(chain[2], False)]
    assert tree.path(chain[2]) == chain
    assert tree.path(chain[1]) == chain[:2]
    assert tree.leaf(chain[1]) is None
    assert not tree.insert(chain[:2], False)


def test_a_known_leaf_changes_nothing() -> None:
    tree = RevisionTree()
    tree.insert(hexes("2b", "3c"), False)
    before = tree.encode()
    assert not tree.insert(hexes("1a", "2b"), True)
    assert not tree.insert(hexes("3c"), True)
    assert tree.encode() == before


def test_a_lower_live_leaf_beats_a_higher_tombstone() -> None:
    tree = RevisionTree()
    tree.insert(["1-a", "2-b"], False)
    tree.insert(["1-a", "2-c", "3-d", "4-e"], True)
    assert tree.winner() == Leaf("2-b", False)
    assert tree.conflicts() == []
    assert tree.deleted_conflicts() == ["4-e"]


def test_among_equal_generations_the_highest_hash_wins() -> None:
    tree = RevisionTree()
    for digit in "bca":
        tree.insert(hexes("1f", f"2{digit}"), False)
    assert [leaf.rev[2] for leaf in tree.leaves()] == ["c", "b", "a"]
    assert tree.conflicts() == hexes("2b", "2a")


def test_a_chain_without_common_ancestor_is_another_root() -> None:
    tree = RevisionTree()
    tree.insert(hexes("1a", "2b"), False)
    tree.insert(hexes("4c", "5d"), False)
    assert tree.path("5-" + "d" * 32) == hexes("4c", "5d")
    assert len(tree.leaves()) == 2


def test_a_root_learns_its_older_ancestors() -> None:
    tree = RevisionTree()
    tree.insert(hexes("2b"), False)
    tree.insert(hexes("1a", "2b", "3c"), False)
    assert tree.path("3-" + "c" * 32) == hexes("1a", "2b", "3c")
    assert len(tree.leaves()) == 1
    straight = RevisionTree()
    straight.insert(hexes("1a", "2b", "3c"), False)
    assert tree.encode() == straight.encode(), "a straight branch has one form, however it was learned"


def test_descendants_are_the_leaves_above_a_revision() -> None:
    tree = RevisionTree()
    tree.insert(["1-a", "2-b", "3-c"], False)
    tree.insert(["1-a", "2-x"], False)
    assert [leaf.rev for leaf in tree.descendants("1-a")] == ["3-c", "2-x"]
    assert [leaf.rev for leaf in tree.descendants("2-b")] == ["3-c"]
    assert tree.descendants("2-nope") == []


def test_possible_ancestors_are_leaves_below_the_highest_missing() -> None:
    tree = RevisionTree()
    tree.insert(["1-a", "2-b"], False)
    tree.insert(["1-a", "2-c", "3-d"], False)
    assert tree.missing(["1-a", "3-x", "2-b", "4-y"]) == ["3-x", "4-y"]
    assert tree.possible_ancestors(["3-x"]) == ["2-b"]
    assert tree.possible_ancestors(["3-x", "4-y"]) == ["3-d", "2-b"]
    assert tree.possible_ancestors([]) == []


def test_stemming_forgets_old_ancestors_of_each_branch() -> None:
    for chain in ([f"{n}-{n:032x}" for n in range(1, 31)], [f"{n}-x{n}" for n in range(1, 31)]):
        tree = RevisionTree()
        tree.insert(chain, False)
        tree.stem(10)
        assert tree.path(chain[-1]) == chain[-10:]
        assert not tree.has(chain[0])
        assert tree.winner().rev == chain[-1]
        assert RevisionTree.decode(tree.encode()).path(chain[-1]) == chain[-10:]


def test_growing_generations_are_required() -> None:
    for chain in (["2-a", "1-b"], ["1-a", "1-b"], []):
        with pytest.raises(BadDocument):
            RevisionTree().insert(chain, False)


def test_a_refused_chain_changes_nothing() -> None:
    tree = RevisionTree()
    tree.insert(hexes("1a", "2b"), False)
    before = tree.encode()
    for chain in ([*hexes("2b"), "3-c", "x-d"], [*hexes("2b"), "4-c", "3-d"]):
        with pytest.raises(BadDocument):
            tree.insert(chain, False)
    assert tree.encode() == before


def test_a_thousand_updates_stay_small() -> None:
    tree = RevisionTree()
    rev = next_rev(None, {})
    tree.insert([rev], False)
    for _ in range(1500):
        parent, rev = rev, next_rev(rev, {})
        tree.insert([parent, rev], False)
        tree.stem(1000)
    assert len(tree.encode()) < 16_100
    assert len(tree.path(rev)) == 1000


@st.composite
def forests(draw: st.DrawFn) -> list[tuple[list[str], bool]]:
    """Full chains, from their root, of a random forest (some with foreign hashes), each ending in its own node."""
    foreign = draw(st.booleans())
    nodes: list[list[str]] = []
    flags: dict[str, bool] = {}
    for number in range(draw(st.integers(1, 12))):
        parent = draw(st.sampled_from([[], *nodes]))
        digest = f"r{number}" if foreign and number % 3 == 0 else f"{draw(st.integers(0, 2**64)):016x}{number:016x}"
        rev = f"{len(parent) + 1}-{digest}"
        nodes.append([*parent, rev])
        flags[rev] = draw(st.booleans())
    return [(chain, flags[chain[-1]]) for chain in nodes]


@given(forests(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_decides_nothing(chains, random) -> None:
    first, second = RevisionTree(), RevisionTree()
    shuffled = list(chains)
    random.shuffle(shuffled)
    for chain, deleted in chains:
        first.insert(chain, deleted)
    for chain, deleted in shuffled:
        second.insert(chain, deleted)
    assert first.leaves() == second.leaves()
    for chain, _ in chains:
        assert first.path(chain[-1]) == second.path(chain[-1]) == chain


@given(forests())
def test_the_winner_is_the_best_leaf_and_leaves_have_no_children(chains) -> None:
    tree = RevisionTree()
    for chain, deleted in chains:
        tree.insert(chain, deleted)
    inner = {rev for chain, _ in chains for rev in chain[:-1]}
    assert {leaf.rev for leaf in tree.leaves()} == {chain[-1] for chain, _ in chains} - inner
    best = max(tree.leaves(), key=lambda leaf: (not leaf.deleted, order_key(leaf.rev)))
    assert tree.winner() == best
    assert {best.rev, *tree.conflicts(), *tree.deleted_conflicts()} == {leaf.rev for leaf in tree.leaves()}


@given(forests(), st.integers(1, 5))
def test_trees_survive_the_store(chains, limit) -> None:
    tree = RevisionTree()
    for chain, deleted in chains:
        tree.insert(chain, deleted)
    whole = {leaf: tree.path(leaf.rev) for leaf in tree.leaves()}
    for _ in range(2):
        again = RevisionTree.decode(tree.encode())
        assert again.leaves() == tree.leaves()
        assert all(again.path(leaf.rev) == tree.path(leaf.rev) for leaf in tree.leaves())
        tree.stem(limit)
    needed = {rev for path in whole.values() for rev in path[-limit:]}
    assert {rev for leaf in whole for rev in tree.path(leaf.rev)} == needed
    assert all(tree.path(leaf.rev)[-limit:] == path[-limit:] for leaf, path in whole.items())


def test_upper_case_hashes_are_the_same_revision() -> None:
    tree = RevisionTree()
    tree.insert(["1-" + "AB" * 16], False)
    assert tree.has("1-" + "ab" * 16)
    assert tree.has("1-" + "AB" * 16)
    assert tree.leaf("1-" + "AB" * 16) == tree.winner()
    assert normalise("1-" + "AB" * 16) == tree.winner().rev
