"""Indexes: order, ranges, pages, sums, and staying in step with documents and definitions."""

from __future__ import annotations

import pytest

from inglenook.storage.documents.contract import Body, DocumentStore, Index, Reader, Writer

from .conftest import Place

pytestmark = pytest.mark.anyio
FILES = "io.cozy.files"


def tags(id: str, body: Body) -> list[bytes]:
    return [tag.encode() for tag in body.get("tags", [])]


BY_TAG = Index("by_tag", FILES, tags)
BY_SIZE = Index("by_dir", FILES, lambda id, body: [body["dir"].encode()], amount=lambda body: body["size"])


async def keys(store: DocumentStore, index: Index | str = BY_TAG, **options: object) -> list[tuple[str, str]]:
    found = await store.read(lambda view: view.index(index, **options))
    return [(entry.key.decode(), entry.id) for entry in found]


async def test_the_same_body_again_stays_where_it_is(place: Place) -> None:
    store = await place.open(indexes=[BY_TAG])
    body = {"tags": ["a"]}
    for _ in range(3):
        rev = await store.read(lambda view: found.rev if (found := view.get(FILES, "1")) else None)
        await store.write(lambda tx, rev=rev: tx.put(FILES, "1", body, rev=rev))
        assert await keys(store) == [("a", "1")]
    rev = await store.read(lambda view: view.find(FILES, "1").rev)
    gone = await store.write(lambda tx: tx.delete(FILES, "1", rev))
    assert (gone.deleted, await keys(store)) == (True, [])
    await store.write(lambda tx: tx.put(FILES, "1", body))
    assert await keys(store) == [("a", "1")]


async def test_documents_are_found_by_each_of_their_keys(place: Place) -> None:
    store = await place.open(indexes=[BY_TAG])

    def fill(tx: Writer) -> None:
        tx.put(FILES, "2", {"tags": ["b", "a"]})
        tx.put(FILES, "1", {"tags": ["b"]})
        tx.put(FILES, "3", {"tags": []})
        tx.put(FILES, "_design/x", {"tags": ["a"]})
        tx.put("io.cozy.other", "4", {"tags": ["a"]})

    await store.write(fill)
    assert await keys(store) == [("a", "2"), ("b", "1"), ("b", "2")]
    assert await keys(store, "by_tag") == await keys(store)
    docs = await store.read(lambda view: view.index_docs(BY_TAG, start=b"b"))
    assert [(key, doc.id, doc.doctype, doc.body) for key, doc in docs] == [
        (b"b", "1", FILES, {"tags": ["b"]}),
        (b"b", "2", FILES, {"tags": ["b", "a"]}),
    ]
    assert docs[0][1].seq > 0


async def test_entries_follow_updates_and_deletions(place: Place) -> None:
    store = await place.open(indexes=[BY_TAG])
    first = await store.write(lambda tx: tx.put(FILES, "1", {"tags": ["a", "b", "b"]}))
    assert await keys(store) == [("a", "1"), ("b", "1")]
    second = await store.write(lambda tx: tx.put(FILES, "1", {"tags": ["b", "c"]}, rev=first.rev))
    assert await keys(store) == [("b", "1"), ("c", "1")]
    await store.write(lambda tx: tx.graft(FILES, "1", ["9-f"], {"tags": ["foreign"]}))
    assert await keys(store) == [("foreign", "1")]
    await store.write(lambda tx: tx.delete(FILES, "1", "9-f"))
    assert await keys(store) == [("b", "1"), ("c", "1")]
    await store.write(lambda tx: tx.delete(FILES, "1", second.rev))
    assert await keys(store) == []
    await store.write(lambda tx: tx.put(FILES, "1", {"tags": ["again"]}))
    assert await keys(store) == [("again", "1")]


async def test_ranges_and_pages_in_both_directions(place: Place) -> None:
    store = await place.open(indexes=[BY_TAG])
    names = ["", "a", "a\0", "aa", "b", "\u00e9", "\U0001f600"]
    await store.write(
        lambda tx: [tx.put(FILES, f"{n}{side}", {"tags": [name]}) for n, name in enumerate(names) for side in "xy"]
    )
    everything = [(name, f"{n}{side}") for n, name in enumerate(names) for side in "xy"]
    assert await keys(store) == everything
    assert await keys(store, descending=True) == everything[::-1]
    assert await keys(store, start=b"a", end=b"b") == everything[2:8]
    assert await keys(store, start=b"a", end=b"b", descending=True) == everything[2:8][::-1]
    assert await keys(store, start=b"b", end=b"b") == []
    assert await keys(store, skip=3, limit=4) == everything[3:7]
    for descending, expected in ((False, everything), (True, everything[::-1])):
        for size in (1, 3, 5):
            after, seen = None, list[tuple[str, str]]()
            while page := await keys(store, after=after, limit=size, descending=descending):
                seen += page
                after = (page[-1][0].encode(), page[-1][1])
            assert seen == expected

    def page_of_documents(view: Reader) -> list[tuple[bytes, str]]:
        page = view.index_docs(BY_TAG, start=b"a", after=(b"a", "1y"), descending=False, skip=1, limit=3)
        return [(key, doc.id) for key, doc in page]

    assert await store.read(page_of_documents) == [(b"a\0", "2y"), (b"aa", "3x"), (b"aa", "3y")]
    docs = await store.read(lambda view: view.index_docs(BY_TAG, descending=True, limit=3))
    assert [(key.decode(), doc.id) for key, doc in docs] == everything[::-1][:3]


async def test_counts_and_sums(place: Place) -> None:
    store = await place.open(indexes=[BY_SIZE])

    def fill(tx: Writer) -> str:
        for number, size in enumerate((1, 10, 100, 2**40)):
            last = tx.put(FILES, f"{number}", {"dir": "ab"[number % 2], "size": size})
        return last.rev

    rev = await store.write(fill)

    async def totals() -> tuple[int, ...]:
        return await store.read(
            lambda view: (
                view.index_count(BY_SIZE),
                view.index_sum(BY_SIZE),
                view.index_count(BY_SIZE, start=b"a", end=b"b"),
                view.index_sum(BY_SIZE, start=b"a", end=b"b"),
                view.index_sum(BY_SIZE, start=b"b"),
                view.index_sum(BY_SIZE, start=b"x"),
            )
        )

    assert await totals() == (4, 111 + 2**40, 2, 101, 10 + 2**40, 0)
    rev = (await store.write(lambda tx: tx.put(FILES, "3", {"dir": "b", "size": 5}, rev=rev))).rev
    assert await totals() == (4, 116, 2, 101, 15, 0)
    rev = (await store.write(lambda tx: tx.put(FILES, "3", {"dir": "a", "size": 5}, rev=rev))).rev
    assert await totals() == (4, 116, 3, 106, 10, 0)
    await store.write(lambda tx: tx.delete(FILES, "3", rev))
    assert await totals() == (3, 111, 2, 101, 10, 0)
    await store.write(lambda tx: tx.drop_doctype(FILES))
    assert await totals() == (0, 0, 0, 0, 0, 0)


async def test_an_unknown_index_cannot_be_read(store: DocumentStore) -> None:
    with pytest.raises(KeyError):
        await store.read(lambda view: view.index("nothing"))


async def test_an_index_given_later_is_built_from_what_is_there(place: Place) -> None:
    store = await place.open()
    await store.write(lambda tx: [tx.put(FILES, f"{n:04}", {"tags": ["a"]}) for n in range(1200)])
    await store.write(lambda tx: tx.delete(FILES, "0003", tx.find(FILES, "0003").rev))
    store = await place.reopen(indexes=[BY_TAG])
    assert await store.read(lambda view: view.index_count(BY_TAG)) == 1199
    assert await keys(store, limit=4) == [("a", "0000"), ("a", "0001"), ("a", "0002"), ("a", "0004")]


async def test_a_changed_definition_builds_the_index_anew(place: Place) -> None:
    store = await place.open(indexes=[BY_TAG])
    await store.write(lambda tx: tx.put(FILES, "1", {"tags": ["a"]}))
    upper = Index("by_tag", FILES, lambda id, body: [tag.upper().encode() for tag in body["tags"]], version=2)
    store = await place.reopen(indexes=[upper])
    assert await keys(store, upper) == [("A", "1")]
    store = await place.reopen(indexes=[BY_TAG])
    assert await keys(store) == [("a", "1")]


async def test_an_index_of_the_same_version_is_not_built_again(place: Place) -> None:
    built: list[str] = []

    def count(id: str, body: Body) -> list[bytes]:
        built.append(id)
        return [b"k"]

    index = Index("counted", FILES, count)
    store = await place.open(indexes=[index])
    await store.write(lambda tx: [tx.put(FILES, f"{n}", {}) for n in range(5)])
    built.clear()
    store = await place.reopen(indexes=[index])
    assert built == []
    assert await store.read(lambda view: view.index_count(index)) == 5


async def test_an_index_catches_up_with_what_was_written_without_it(place: Place) -> None:
    store = await place.open(indexes=[BY_TAG])
    one = await store.write(lambda tx: tx.put(FILES, "1", {"tags": ["a"]}))
    two = await store.write(lambda tx: tx.put(FILES, "2", {"tags": ["a"]}))
    store = await place.reopen()
    with pytest.raises(KeyError):
        await store.read(lambda view: view.index(BY_TAG))
    await store.write(lambda tx: tx.put(FILES, "1", {"tags": ["b"]}, rev=one.rev))
    await store.write(lambda tx: tx.delete(FILES, "2", two.rev))
    await store.write(lambda tx: tx.put(FILES, "3", {"tags": ["c"]}))
    store = await place.reopen(indexes=[BY_TAG])
    assert await keys(store) == [("b", "1"), ("c", "3")]
    assert await store.read(lambda view: view.index_count(BY_TAG)) == 2


async def test_a_doctype_dropped_and_made_again_without_the_index(place: Place) -> None:
    store = await place.open(indexes=[BY_TAG])
    await store.write(lambda tx: tx.put(FILES, "1", {"tags": ["a"]}))
    store = await place.reopen()
    await store.write(lambda tx: tx.drop_doctype(FILES))
    await store.write(lambda tx: tx.put(FILES, "2", {"tags": ["b"]}))
    store = await place.reopen(indexes=[BY_TAG])
    assert await keys(store) == [("b", "2")]


async def test_indexes_are_defined_and_dropped_while_the_store_is_open(place: Place) -> None:
    store = await place.open()
    await store.write(lambda tx: tx.put(FILES, "1", {"tags": ["a"]}))
    await store.write(lambda tx: tx.define_index(BY_TAG))
    await store.write(lambda tx: tx.define_index(BY_TAG))
    await store.write(lambda tx: tx.put(FILES, "2", {"tags": ["b"]}))
    assert await keys(store) == [("a", "1"), ("b", "2")]
    await store.write(lambda tx: tx.drop_index("by_tag"))
    await store.write(lambda tx: tx.drop_index("by_tag"))
    with pytest.raises(KeyError):
        await store.read(lambda view: view.index("by_tag"))
    await store.write(lambda tx: tx.put(FILES, "3", {"tags": ["c"]}))
    await store.write(lambda tx: tx.define_index(BY_TAG))
    assert await keys(store) == [("a", "1"), ("b", "2"), ("c", "3")]


async def test_an_index_can_be_read_in_the_change_that_defines_it(store: DocumentStore) -> None:
    def change(tx: Writer) -> int:
        tx.put(FILES, "1", {"tags": ["a"]})
        tx.define_index(BY_TAG)
        tx.put(FILES, "2", {"tags": ["a"]})
        return tx.index_count(BY_TAG)

    assert await store.write(change) == 2


async def test_keys_of_any_bytes_are_kept(place: Place) -> None:
    raw = [bytes([first, second]) for first in (0, 1, 127, 128, 255) for second in (0, 255)]
    index = Index("raw", FILES, lambda id, body: [raw[body["n"]]])
    store = await place.open(indexes=[index])
    await store.write(lambda tx: [tx.put(FILES, f"{n}", {"n": n}) for n in reversed(range(len(raw)))])
    found = await store.read(lambda view: view.index(index))
    assert [entry.key for entry in found] == sorted(raw)
