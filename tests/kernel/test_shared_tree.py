"""The tree of revisions of a shared document (spec/05 §5.2-5.3)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from inglenook.kernel.shared_tree import MAX_DEPTH, SharedTree, fill_gap, generation


def built(form: dict[str, Any]) -> SharedTree:
    return SharedTree.from_json(form)


def line(*revs: str) -> dict[str, Any]:
    form: dict[str, Any] = {"rev": revs[-1]}
    for rev in reversed(revs[:-1]):
        form = {"rev": rev, "branches": [form]}
    return form


def test_the_stored_form_leaves_out_empty_branches() -> None:
    form = {"rev": "1-aa01", "branches": [line("2-bb02", "3-cc03"), {"rev": "2-dd04"}]}
    tree = built(form)
    assert tree.to_json() == form
    assert tree.generation() == 3
    assert tree.main_branch() == ["1-aa01", "2-bb02", "3-cc03"]
    assert tree.leaf() == "3-cc03"
    assert tree.has("2-dd04")
    found = tree.find("3-cc03")
    assert found is not None
    assert found[1] == 3
    assert tree.find("9-x") is None


def test_add_puts_a_revision_on_the_main_branch() -> None:
    tree = SharedTree("2-bbb")
    tree.add("3-ccc")
    tree.add("1-aaa")
    assert tree.to_json() == line("1-aaa", "2-bbb", "3-ccc")
    tree.add("3-x")
    assert tree.main_branch() == ["1-aaa", "2-bbb", "3-ccc", "3-x"]


def test_a_side_branch_leaves_the_newest_revision_at_the_main_leaf() -> None:
    tree = built(line("2-a", "3-b"))
    tree.insert_chain(["2-a", "3-x", "4-y"])
    assert tree.to_json() == {"rev": "2-a", "branches": [line("3-b", "4-y"), {"rev": "3-x"}]}
    assert tree.leaf() == "4-y"
    tree.insert_chain(["2-a", "3-x", "4-y", "5-z"])
    assert tree.leaf() == "5-z"


def test_chains_of_the_specification() -> None:
    tree = built({"rev": "1-aaa", "branches": [{"rev": "2-baa"}, line("2-bbb", "3-ccc")]})
    tree.insert_chain(["2-baa", "3-caa", "4-daa"])
    tree.insert_chain(["5-eaa"])
    tree.insert_chain(["2-bbb", "3-ccc", "4-ddd"])
    assert tree.to_json() == {
        "rev": "1-aaa",
        "branches": [line("2-baa", "3-caa", "4-daa", "5-eaa"), line("2-bbb", "3-ccc", "4-ddd")],
    }
    tree = built(line("2-bbb", "3-ccc"))
    tree.insert_chain(["1-aaa", "2-bbb", "3-ccc", "4-ddd"])
    assert tree.to_json() == line("2-bbb", "3-ccc", "4-ddd")
    tree.insert_chain([])
    assert tree.leaf() == "4-ddd"


def test_insert_after_a_parent() -> None:
    tree = built(line("1-a", "2-b"))
    tree.insert_after("2-c", "1-a")
    tree.insert_after("2-c", "1-a")
    tree.insert_after("2-b", "9-unknown")
    assert tree.to_json() == {"rev": "1-a", "branches": [{"rev": "2-b"}, {"rev": "2-c"}]}
    tree.insert_after("4-d", "3-c")
    assert tree.main_branch() == ["1-a", "2-b", "3-c", "4-d"]


def test_a_branch_can_become_the_main_one() -> None:
    fork = {"rev": "2-c", "branches": [{"rev": "3-c"}, {"rev": "3-d"}]}
    tree = built({"rev": "1-a", "branches": [line("2-b", "3-b"), fork]})
    tree.promote("3-d")
    assert tree.leaf() == "3-d"
    tree.promote("2-b")
    assert tree.leaf() == "3-b"
    tree.promote("8-unknown")
    assert tree.leaf() == "3-b"


def test_gaps_are_filled_from_the_history() -> None:
    history = ["1-a", "2-b", "3-c", "4-d"]
    assert fill_gap(SharedTree("1-a"), ["4-d"], history) == ["2-b", "3-c", "4-d"]
    assert fill_gap(SharedTree("3-c"), ["4-d"], history) == ["4-d"]
    assert fill_gap(SharedTree("5-x"), ["4-d"], history) == ["4-d"]


def test_old_revisions_are_forgotten_beyond_the_limit() -> None:
    tree = SharedTree("1-0")
    for number in range(2, 301):
        tree.insert_chain([f"{number - 1}-0", f"{number}-0"])
    assert len(tree.main_branch()) == MAX_DEPTH
    assert tree.leaf() == "300-0"
    tree.insert_chain([f"{number}-1" for number in range(301, 3000)])
    assert len(tree.main_branch()) == MAX_DEPTH
    assert tree.leaf() == "2999-1"
    assert len(SharedTree.of_chain([f"{number}-1" for number in range(1, 3000)]).main_branch()) == MAX_DEPTH


def test_forks_are_kept_when_the_limit_is_reached() -> None:
    tree = built({"rev": "1-a", "branches": [{"rev": "2-b"}, {"rev": "2-side"}]})
    for number in range(3, 200):
        tree.insert_after(f"{number}-b", f"{number - 1}-b")
    assert tree.main_branch()[0] == "1-a"
    assert tree.has("2-side")
    assert tree.leaf() == "199-b"
    assert len(tree.main_branch()) == MAX_DEPTH


revs = st.builds("{}-{}".format, st.integers(1, 9), st.sampled_from("abc"))
chains = st.lists(revs, min_size=1, max_size=6, unique_by=generation).map(lambda chain: sorted(chain, key=generation))


def all_revs(form: dict[str, Any]) -> list[str]:
    return [form["rev"], *(rev for branch in form.get("branches", ()) for rev in all_revs(branch))]


@given(revs, st.lists(chains, max_size=8))
def test_a_tree_knows_each_revision_that_it_was_told_once(first: str, told: list[list[str]]) -> None:
    tree = SharedTree(first)
    for chain in told:
        tree.insert_chain(chain)
    counted = Counter(all_revs(tree.to_json()))
    assert set(counted.values()) == {1}
    # What is older than the oldest known ancestor of a chain is not added (spec/05 §5.2).
    assert {chain[-1] for chain in told} | {first} <= set(counted)
    assert built(tree.to_json()).to_json() == tree.to_json()
    assert tree.generation() == max(generation(rev) for rev in counted)


@given(revs, st.lists(st.tuples(revs, revs), max_size=10))
def test_insert_after_keeps_revisions_unique(first: str, told: list[tuple[str, str]]) -> None:
    tree = SharedTree(first)
    for rev, parent in told:
        tree.insert_after(rev, parent)
        assert tree.has(rev)
    assert set(Counter(all_revs(tree.to_json())).values()) == {1}


@given(st.lists(st.sampled_from("ab"), min_size=2, max_size=30))
def test_a_history_of_edits_ends_at_the_main_leaf(hashes: list[str]) -> None:
    history = [f"{number}-{digest}" for number, digest in enumerate(hashes, 1)]
    tree = SharedTree(history[0])
    for end in range(2, len(history) + 1):
        tree.insert_chain(history[:end])
    assert tree.main_branch() == history
