"""A query answers the same with an index as by looking at everything (spec/01 §9.5), whatever the query."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from inglenook.documents.mango import definitions, find, planner
from inglenook.documents.mango.requests import IndexRequest, Query
from inglenook.environment import Config, Environment
from inglenook.kernel import collation, selectors
from inglenook.kernel.errors import BadDocument
from inglenook.storage.documents.contract import DocumentStore, Writer
from inglenook.storage.documents.sqlite import SqliteStores

DOCTYPE = "io.cozy.tests"
FIELDS = ("a", "b", "o.p", "_id")

values = st.sampled_from([None, True, 1, 2, "a", "A", "é", "e\u0301", [1]])
bodies = st.fixed_dictionaries({"a": values, "b": values}, optional={"o": st.fixed_dictionaries({"p": values})})
conditions = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$lt", "$lte", "$gt", "$gte"]), values),
    st.tuples(st.sampled_from(["$eq", "$lt", "$lte", "$gt", "$gte"]), values),
    st.tuples(st.just("$ne"), values),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(values, max_size=3)),
    st.tuples(st.just("$exists"), st.booleans()),
    st.tuples(st.just("$beginsWith"), st.sampled_from(["", "a", "A", "é"])),
)
condition = st.lists(conditions, min_size=1, max_size=2).map(dict)
indexes = st.lists(
    st.lists(st.sampled_from(FIELDS), min_size=1, max_size=3, unique=True), min_size=1, max_size=3, unique_by=tuple
)
simple = st.dictionaries(st.sampled_from(FIELDS), condition, min_size=1, max_size=2)
extras = st.one_of(
    st.just({}),
    st.just({}),
    simple,
    simple.map(lambda one: {"$not": one}),
    st.tuples(simple, simple).map(lambda two: {"$or": list(two)}),
)


@st.composite
def questions(draw: st.DrawFn) -> tuple[list[list[str]], dict[str, Any]]:
    """Some indexes, and a selector with a condition on each field of one of them."""
    fields = draw(indexes)
    required = {
        field: draw(condition) for field in draw(st.sampled_from(fields)) if field != "_id" or draw(st.booleans())
    }
    return fields, {"$and": [required, draw(extras)]}


@settings(max_examples=300, deadline=None)
@given(st.lists(bodies, min_size=4, max_size=16), questions(), st.booleans(), st.integers(1, 5))
def test_an_index_changes_the_order_and_nothing_else(
    documents: list[dict[str, Any]], question: tuple[list[list[str]], dict[str, Any]], descending: bool, limit: int
) -> None:
    asyncio.run(_check(documents, *question, descending, limit))


async def _check(
    documents: list[dict[str, Any]], fields: list[list[str]], selector: dict[str, Any], descending: bool, limit: int
) -> None:
    stores = SqliteStores(None, Environment(Config()))
    store = await stores.open("test")
    try:

        def fill(tx: Writer) -> None:
            tx.create_doctype(DOCTYPE)
            for number, body in enumerate(documents):
                tx.put(DOCTYPE, f"{'aB'[number % 2]}{number}", body)
            for names in fields:
                ddoc = "by_" + "_".join(names)
                definitions.create(tx, DOCTYPE, IndexRequest.read({"index": {"fields": names}, "ddoc": ddoc}))

        await store.write(fill)
        sort = [{fields[0][0]: "desc"}] if descending else []
        try:
            found = await _all_pages(store, selector, sort, limit)
        except BadDocument as error:
            if error.title in ("no_index", "no_usable_index"):
                return
            raise
        matches = selectors.compile(selectors.normalise(selector))
        expected = {
            f"{'aB'[number % 2]}{number}"
            for number, body in enumerate(documents)
            if matches(f"{'aB'[number % 2]}{number}", body) and _has_all(body, _used(fields, found))
        }
        assert sorted(found.ids) == sorted(expected)
        keys = [found.key(id) for id in found.ids]
        assert keys == sorted(keys, reverse=descending)
    finally:
        await stores.close()


class _Pages:
    """What all pages of a query gave, and the index that it was answered from."""

    def __init__(self, definition: definitions.Definition) -> None:
        self.definition = definition
        self.ids: list[str] = []
        self.bodies: dict[str, dict[str, Any]] = {}

    def key(self, id: str) -> tuple[bytes, str]:
        return self.definition.key(id, self.bodies[id]), id


async def _all_pages(store: DocumentStore, selector: dict[str, Any], sort: list[Any], limit: int) -> _Pages:
    bookmark = ""
    request: dict[str, Any] = {"selector": selector, "sort": sort, "limit": limit}
    known = await store.read(lambda view: definitions.of_doctype(view, DOCTYPE))
    pages = _Pages(planner.plan(Query.read(request), known).definition)
    while True:
        found = await find.find(store, DOCTYPE, Query.read({**request, "bookmark": bookmark}))
        if not found.documents:
            return pages
        pages.ids += [document.id for document in found.documents]
        pages.bodies.update((document.id, document.body) for document in found.documents)
        assert len(found.documents) <= limit
        assert len(pages.ids) == len(set(pages.ids)), "no document comes twice"
        bookmark = found.bookmark


def _used(fields: list[list[str]], pages: _Pages) -> tuple[str, ...]:
    assert list(pages.definition.fields) in fields
    return pages.definition.fields


def _has_all(body: dict[str, Any], names: tuple[str, ...]) -> bool:
    return all(name == "_id" or selectors.lookup(name, body) is not selectors.MISSING for name in names)


def test_keys_of_a_field_are_those_of_its_values() -> None:
    assert definitions.field_key("a", "x", {"a": 1}) == definitions.value_key("a", 1) == collation.sort_key(1)
    assert definitions.field_key("a", "x", {}) is None
    assert definitions.field_key("_id", "x", {}) == definitions.value_key("_id", "x")
