"""A query answers the same with an index as by holding every document against its selector (spec/01 §9).

The evaluator of the kernel is the oracle: whatever the selector, the indexes, the sort and the pages, on each database
the index changes the order and nothing else.
"""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inglenook.documents.mango import definitions, find, planner
from inglenook.documents.mango.requests import IndexRequest, Query
from inglenook.kernel import collation, selectors
from inglenook.kernel.errors import BadDocument
from inglenook.storage.documents.contract import DocumentStore, Writer

from .backends import BACKENDS, environment

FIELDS = ("a", "b", "o.p", "_id")
FOUND_NOTHING = ("no_index", "no_usable_index")

scalars = st.sampled_from(
    [None, False, True, -1, 0, 1, 1.5, 2**60, "", "a", "A", "ab", "é", "e\u0301", "z", "\U0001f600", "\uffff"]
)
values = st.one_of(
    scalars, scalars, st.lists(scalars, max_size=2), st.dictionaries(st.sampled_from("pq"), scalars, max_size=2)
)
bodies = st.fixed_dictionaries(
    {"a": values, "b": values},
    optional={"o": st.fixed_dictionaries({"p": values}), "list": st.lists(scalars, max_size=3)},
)
comparison = st.tuples(st.sampled_from(["$eq", "$lt", "$lte", "$gt", "$gte"]), values)
on_elements = st.one_of(comparison, st.tuples(st.just("$in"), st.lists(scalars, max_size=2))).map(
    lambda one: dict([one])
)
conditions = st.one_of(
    comparison,
    comparison,
    comparison,
    st.tuples(st.just("$ne"), values),
    st.tuples(st.sampled_from(["$in", "$nin", "$all"]), st.lists(scalars, max_size=3)),
    st.tuples(st.just("$exists"), st.booleans()),
    st.tuples(st.just("$beginsWith"), st.sampled_from(["", "a", "A", "é"])),
    st.tuples(st.just("$type"), st.sampled_from(sorted(selectors.TYPES))),
    st.tuples(st.just("$size"), st.integers(0, 3)),
    st.tuples(st.just("$mod"), st.sampled_from([[2, 0], [2, 1], [-3, 1]])),
    st.tuples(st.just("$regex"), st.sampled_from(["^a", "b$", "[aé]", "."])),
    st.tuples(st.sampled_from(["$elemMatch", "$allMatch", "$keyMapMatch"]), on_elements),
    on_elements.map(lambda one: ("$not", one)),
)
condition = st.lists(conditions, min_size=1, max_size=2).map(dict)
index_fields = st.lists(st.sampled_from(FIELDS), min_size=1, max_size=3, unique=True)
indexes = st.lists(index_fields, min_size=1, max_size=3, unique_by=tuple)
simple = st.dictionaries(st.sampled_from((*FIELDS, "list", "list.0")), condition, min_size=1, max_size=2)
extras = st.recursive(
    st.one_of(st.just({}), simple),
    lambda inner: st.one_of(
        inner.map(lambda one: {"$not": one}),
        st.tuples(st.sampled_from(["$or", "$nor", "$and"]), st.lists(inner, max_size=2)).map(lambda two: dict([two])),
    ),
    max_leaves=3,
)


@st.composite
def questions(draw: st.DrawFn) -> dict[str, Any]:
    """Some indexes, one of them partial maybe, a selector with a condition on each field of one of them, a sort."""
    fields = draw(indexes)
    chosen = draw(st.sampled_from(fields))
    required = {field: draw(condition) for field in chosen if field != "_id" or draw(st.booleans())}
    partial = draw(st.none() | simple)
    named = ["by_" + "_".join(chosen)] + ([] if partial is None else ["partial"])
    return {
        "indexes": fields,
        "partial": partial,
        "selector": {"$and": [required, draw(extras)]},
        "sort": draw(st.sampled_from([[], [chosen[0]], [{chosen[0]: "desc"}], [{field: "desc"} for field in chosen]])),
        "use_index": draw(st.sampled_from([None, *named])),
        "limit": draw(st.integers(1, 6)),
    }  # fmt: skip


class Shop:
    """A store, and a fresh doctype for each example."""

    def __init__(self, backend: str, folder: Path) -> None:
        env, chosen = environment(), BACKENDS[backend]
        self.runner = asyncio.Runner()
        self.stores = chosen.documents(folder, env, chosen.blobs(folder, env))
        self.store = self.runner.run(self.stores.open("alice"))
        self.numbers = itertools.count()

    def close(self) -> None:
        self.runner.run(self.stores.close())
        self.runner.close()


@pytest.mark.parametrize(("chosen", "examples"), [("sqlite-in-memory", 400), ("postgres", 60)])
def test_an_index_changes_the_order_and_nothing_else(
    chosen: str, examples: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    for server in BACKENDS[chosen].needs:
        request.getfixturevalue(server)
    shop = Shop(chosen, tmp_path)

    @settings(max_examples=examples, deadline=None)
    @given(st.lists(bodies, min_size=4, max_size=16), questions())
    def check(documents: list[dict[str, Any]], question: dict[str, Any]) -> None:
        shop.runner.run(_check(shop.store, f"io.cozy.tests.q{next(shop.numbers)}", documents, question))

    try:
        check()
    finally:
        shop.close()


async def _check(store: DocumentStore, doctype: str, bodies: list[dict[str, Any]], question: dict[str, Any]) -> None:
    documents = {f"{'aB'[number % 2]}{number}": body for number, body in enumerate(bodies)}

    def fill(tx: Writer) -> None:
        tx.create_doctype(doctype)
        for id, body in documents.items():
            tx.put(doctype, id, body)
        for names in question["indexes"]:
            body = {"index": {"fields": names}, "ddoc": "by_" + "_".join(names)}
            definitions.create(tx, doctype, IndexRequest.read(body))
        if question["partial"] is not None:
            index = {"fields": question["indexes"][0], "partial_filter_selector": question["partial"]}
            definitions.create(tx, doctype, IndexRequest.read({"index": index, "ddoc": "partial"}))

    await store.write(fill)
    request = {name: question[name] for name in ("selector", "sort", "limit", "use_index")}
    try:
        definition, found = await _all_pages(store, doctype, request)
    except BadDocument as error:
        if error.title not in FOUND_NOTHING:
            raise
        return
    matches = selectors.compile(selectors.normalise(question["selector"]))
    filter = selectors.compile(selectors.normalise(question["partial"])) if definition.partial else None
    expected = {
        id
        for id, body in documents.items()
        if matches(id, body) and _has_all(body, definition.fields) and (filter is None or filter(id, body))
    }
    assert sorted(found) == sorted(expected)
    keys = [(definition.key(id, documents[id]), id.encode()) for id in found]
    assert keys == sorted(keys, reverse=Query.read(request).descending)
    await store.write(lambda tx: tx.drop_doctype(doctype))


async def _all_pages(
    store: DocumentStore, doctype: str, request: dict[str, Any]
) -> tuple[definitions.Definition, list[str]]:
    """What all pages of a query gave, and the index that it was answered from."""
    known = await store.read(lambda view: definitions.of_doctype(view, doctype))
    definition = planner.plan(Query.read(request), known).definition
    ids: list[str] = []
    bookmark = ""
    while True:
        found = await find.find(store, doctype, Query.read({**request, "bookmark": bookmark}))
        if not found.documents:
            return definition, ids
        ids += [document.id for document in found.documents]
        assert len(found.documents) <= request["limit"]
        assert len(ids) == len(set(ids)), "no document comes twice"
        bookmark = found.bookmark


def _has_all(body: dict[str, Any], names: tuple[str, ...]) -> bool:
    return all(name == "_id" or selectors.lookup(name, body) is not selectors.MISSING for name in names)


def test_keys_of_a_field_are_those_of_its_values() -> None:
    assert definitions.field_key("a", "x", {"a": 1}) == definitions.value_key("a", 1) == collation.sort_key(1)
    assert definitions.field_key("a", "x", {}) is None
    assert definitions.field_key("_id", "x", {}) == definitions.value_key("_id", "x")
