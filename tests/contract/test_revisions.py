"""Documents, revisions, conflicts and tombstones (spec/01 §2)."""

from __future__ import annotations

import pytest

from inglenook.kernel.errors import BadDocument, DocumentConflict, DocumentNotFound, DocumentTooLarge
from inglenook.storage.documents.contract import MAX_DOCUMENT_BYTES, REVISION_LIMIT, DocumentStore

pytestmark = pytest.mark.anyio
TODO = "io.cozy.todos"
FIRST = "1-23202479633c2b380f79507a776743d5"  # {"a":1} (spec/01 §2.2)
SECOND = "2-71173597778497e0a6aa176963f222db"  # then {"a":2}
LOW = "2-" + "0" * 32
HIGH = "2-" + "f" * 32


async def put(store: DocumentStore, id: str, body: dict[str, object], rev: str | None = None, **flags: bool) -> str:
    return (await store.write(lambda tx: tx.put(TODO, id, body, rev=rev, **flags))).rev


async def winner(store: DocumentStore, id: str) -> tuple[str, bool, dict[str, object]]:
    found = await store.read(lambda view: view.winner(TODO, id))
    assert found is not None
    return found.rev, found.deleted, found.body


async def test_revisions_are_those_of_couchdb(store: DocumentStore) -> None:
    assert await put(store, "t", {"a": 1}) == FIRST
    assert await put(store, "t", {"a": 2}, FIRST) == SECOND
    deleted = await store.write(lambda tx: tx.delete(TODO, "u", tx.put(TODO, "u", {"a": 1}).rev))
    assert (deleted.rev, deleted.deleted, deleted.raw) == ("2-b4e3122af5f2ab3ae9bbd74527a6aa04", True, b"{}")


async def test_what_was_written_is_read_as_it_was(store: DocumentStore) -> None:
    body = {"z": [1, 2.5, None, True, {"é": "中 \u0000 😀"}], "a": {"": []}, "id": "mine", "big": 2**60}
    written = await store.write(lambda tx: tx.put(TODO, "t", body))
    found = await store.read(lambda view: view.find(TODO, "t"))
    assert found.body == body
    assert list(found.body) == ["z", "a", "id", "big"]
    assert (found.id, found.doctype, found.rev, found.seq, found.deleted) == (
        "t",
        TODO,
        written.rev,
        written.seq,
        False,
    )


async def test_changing_a_body_given_to_the_store_changes_nothing_stored(store: DocumentStore) -> None:
    body = {"tags": ["a"]}
    written = await store.write(lambda tx: tx.put(TODO, "t", body))
    body["tags"].append("b")
    assert written.body == {"tags": ["a"]}
    assert (await store.read(lambda view: view.find(TODO, "t"))).body == {"tags": ["a"]}


async def test_writing_without_a_revision_over_a_live_document_is_a_conflict(store: DocumentStore) -> None:
    await put(store, "t", {"a": 1})
    with pytest.raises(DocumentConflict):
        await put(store, "t", {"a": 2})
    assert await winner(store, "t") == (FIRST, False, {"a": 1})


@pytest.mark.parametrize("rev", [FIRST, "1-0123", "7-" + "a" * 32])
async def test_a_revision_for_an_unknown_document_is_a_conflict(store: DocumentStore, rev: str) -> None:
    with pytest.raises(DocumentConflict):
        await put(store, "t", {}, rev)
    assert not await store.read(lambda view: view.has_doctype(TODO))


async def test_a_revision_that_is_no_leaf_any_more_is_a_conflict(store: DocumentStore) -> None:
    await put(store, "t", {"a": 1})
    await put(store, "t", {"a": 2}, FIRST)
    with pytest.raises(DocumentConflict):
        await put(store, "t", {"a": 3}, FIRST)


async def test_the_case_of_a_given_revision_does_not_matter(store: DocumentStore) -> None:
    await put(store, "t", {"a": 1})
    assert await put(store, "t", {"a": 2}, FIRST.upper()) == SECOND


@pytest.mark.parametrize("rev", ["", "x", "1", "-abc", "x-abc", "0-abc", "1-" + "g" * 32])
async def test_a_malformed_revision_is_refused(store: DocumentStore, rev: str) -> None:
    await put(store, "t", {"a": 1})
    with pytest.raises(BadDocument, match="Invalid rev format"):
        await put(store, "t", {}, rev)
    with pytest.raises(BadDocument, match="Invalid rev format"):
        await put(store, "unknown", {}, rev)


async def test_a_deleted_document_is_written_anew_on_top_of_its_tombstone(store: DocumentStore) -> None:
    await put(store, "t", {"a": 1})
    gone = (await store.write(lambda tx: tx.delete(TODO, "t", FIRST))).rev
    with pytest.raises(DocumentConflict):
        await put(store, "t", {"a": 2}, gone)
    with pytest.raises(DocumentConflict):
        await put(store, "t", {}, deleted=True)
    again = await put(store, "t", {"a": 2})
    assert again.startswith("3-")
    tree = await store.read(lambda view: view.tree(TODO, "t"))
    assert tree is not None
    assert tree.path(again) == [FIRST, gone, again]


async def test_a_document_can_begin_as_a_tombstone(store: DocumentStore) -> None:
    rev = await put(store, "t", {"why": "moved"}, deleted=True)
    assert await winner(store, "t") == (rev, True, {"why": "moved"})
    assert await store.read(lambda view: view.get(TODO, "t")) is None


async def test_what_cannot_be_found_says_why(store: DocumentStore) -> None:
    async def reason(id: str) -> str:
        with pytest.raises(DocumentNotFound) as caught:
            await store.read(lambda view: view.find(TODO, id))
        return caught.value.detail

    assert await reason("t") == "wrong_doctype"
    await put(store, "t", {"a": 1})
    assert await reason("u") == "missing"
    await store.write(lambda tx: tx.delete(TODO, "t", FIRST))
    assert await reason("t") == "deleted"


async def test_a_tombstone_keeps_the_body_it_is_given(store: DocumentStore) -> None:
    await put(store, "t", {"a": 1})
    gone = await store.write(lambda tx: tx.delete(TODO, "t", FIRST, {"a": 1, "why": "old"}))
    assert await winner(store, "t") == (gone.rev, True, {"a": 1, "why": "old"})
    found = await store.read(lambda view: view.revision(TODO, "t", gone.rev))
    assert found is not None
    assert (found.deleted, found.body) == (True, {"a": 1, "why": "old"})


# -- replicated writes (§2.5)


async def graft(store: DocumentStore, chain: list[str], body: dict[str, object], *, deleted: bool = False) -> bool:
    return await store.write(lambda tx: tx.graft(TODO, "t", chain, body, deleted=deleted))


async def test_a_foreign_revision_makes_a_conflict_and_the_higher_one_wins(store: DocumentStore) -> None:
    await put(store, "t", {"a": 1})
    await put(store, "t", {"a": 2}, FIRST)
    assert await graft(store, [FIRST, HIGH], {"a": "high"})
    assert await graft(store, [FIRST, LOW], {"a": "low"})
    assert await winner(store, "t") == (HIGH, False, {"a": "high"})
    for rev, value in ((HIGH, "high"), (LOW, "low"), (SECOND, 2)):
        leaf = await store.read(lambda view, rev=rev: view.revision(TODO, "t", rev))
        assert leaf is not None
        assert leaf.body == {"a": value}
    tree = await store.read(lambda view: view.tree(TODO, "t"))
    assert tree is not None
    assert tree.conflicts() == [SECOND, LOW]
    assert await store.read(lambda view: view.revision(TODO, "t", FIRST)) is None


async def test_a_known_revision_changes_nothing(store: DocumentStore) -> None:
    await put(store, "t", {"a": 1})
    await put(store, "t", {"a": 2}, FIRST)
    before = await store.read(lambda view: (view.last_seq(), view.journal(since=0)))
    assert not await graft(store, [FIRST, SECOND], {"a": "other"})
    assert not await graft(store, [FIRST], {"a": "other"})
    assert await store.read(lambda view: (view.last_seq(), view.journal(since=0))) == before
    assert await winner(store, "t") == (SECOND, False, {"a": 2})


async def test_a_live_leaf_of_a_lower_generation_beats_a_tombstone(store: DocumentStore) -> None:
    await put(store, "t", {"a": 1})
    await graft(store, [FIRST, LOW, "3-" + "e" * 32, "4-" + "e" * 32], {}, deleted=True)
    assert await winner(store, "t") == ("4-" + "e" * 32, True, {})
    await graft(store, [FIRST, HIGH], {"a": "high"})
    assert await winner(store, "t") == (HIGH, False, {"a": "high"})


async def test_deleting_the_winner_of_a_conflict_brings_the_other_one_to_light(store: DocumentStore) -> None:
    await put(store, "t", {"a": 1})
    await put(store, "t", {"a": 2}, FIRST)
    await graft(store, [FIRST, HIGH], {"a": "high"})
    gone = (await store.write(lambda tx: tx.delete(TODO, "t", HIGH))).rev
    assert await winner(store, "t") == (SECOND, False, {"a": 2})
    entry = (await store.read(lambda view: view.journal(since=0)))[-1]
    assert (entry.verb, entry.rev, entry.last_body) == ("UPDATED", gone, None)
    assert (await store.read(lambda view: view.status(TODO))).live == 1
    await store.write(lambda tx: tx.delete(TODO, "t", SECOND))
    assert (await winner(store, "t"))[1]
    entry = (await store.read(lambda view: view.journal(since=0)))[-1]
    assert (entry.verb, entry.last_body) == ("DELETED", b'{"a":2}')
    status = await store.read(lambda view: view.status(TODO))
    assert (status.live, status.deleted) == (0, 1)


async def test_closing_a_losing_branch_leaves_the_winner_alone(store: DocumentStore) -> None:
    await put(store, "t", {"a": 1})
    await put(store, "t", {"a": 2}, FIRST)
    await graft(store, [FIRST, LOW], {"a": "low"})
    gone = (await store.write(lambda tx: tx.delete(TODO, "t", LOW))).rev
    assert await winner(store, "t") == (SECOND, False, {"a": 2})
    assert await store.read(lambda view: view.revision(TODO, "t", LOW)) is None
    leaf = await store.read(lambda view: view.revision(TODO, "t", gone))
    assert leaf is not None
    assert leaf.deleted


async def test_a_losing_leaf_can_be_updated_until_it_wins(store: DocumentStore) -> None:
    await put(store, "t", {"a": 1})
    await put(store, "t", {"a": 2}, FIRST)
    await graft(store, [FIRST, LOW], {"a": "low"})
    third = await put(store, "t", {"a": "third"}, LOW)
    assert await winner(store, "t") == (third, False, {"a": "third"})
    leaf = await store.read(lambda view: view.revision(TODO, "t", SECOND))
    assert leaf is not None
    assert leaf.body == {"a": 2}


async def test_revisions_without_a_common_ancestor_are_another_root(store: DocumentStore) -> None:
    await put(store, "t", {"a": 1})
    await graft(store, ["4-def", "5-abc"], {"a": "far"})
    assert await winner(store, "t") == ("5-abc", False, {"a": "far"})
    tree = await store.read(lambda view: view.tree(TODO, "t"))
    assert tree is not None
    assert tree.conflicts() == [FIRST]


async def test_only_the_newest_revisions_of_a_branch_are_remembered(store: DocumentStore) -> None:
    def write_many(tx):
        rev = None
        for number in range(REVISION_LIMIT + 20):
            rev = tx.put(TODO, "t", {"n": number}, rev=rev).rev
        return rev

    rev = await store.write(write_many)
    tree = await store.read(lambda view: view.tree(TODO, "t"))
    assert tree is not None
    path = tree.path(rev)
    assert (len(path), path[0].partition("-")[0]) == (REVISION_LIMIT, "21")


async def test_a_revision_that_two_chains_place_differently_takes_no_leaf_away(store: DocumentStore) -> None:
    await put(store, "t", {"a": 1})
    await graft(store, ["2-b", "3-c"], {"a": "there"})
    await graft(store, [FIRST, "2-a", "3-c", "4-d"], {"a": "here"})
    tree = await store.read(lambda view: view.tree(TODO, "t"))
    assert tree is not None
    assert [leaf.rev for leaf in tree.leaves()] == ["4-d", FIRST]
    for rev, value in (("4-d", "here"), (FIRST, 1)):
        leaf = await store.read(lambda view, rev=rev: view.revision(TODO, "t", rev))
        assert leaf is not None
        assert leaf.body == {"a": value}


# -- what is refused


@pytest.mark.parametrize("id", ["_x", "_local/x", "_all_docs"])
async def test_reserved_ids_are_refused(store: DocumentStore, id: str) -> None:
    with pytest.raises(BadDocument, match="Only reserved document ids may start with underscore") as caught:
        await put(store, id, {})
    assert caught.value.title == "illegal_docid"


async def test_an_empty_id_is_refused(store: DocumentStore) -> None:
    with pytest.raises(BadDocument, match="Document id must not be empty"):
        await put(store, "", {})


async def test_design_documents_are_documents(store: DocumentStore) -> None:
    assert (await put(store, "_design/by_a", {"language": "query"})).startswith("1-")


async def test_underscore_members_are_refused(store: DocumentStore) -> None:
    for write in (
        lambda tx: tx.put(TODO, "t", {"a": 1, "_x": 2}),
        lambda tx: tx.graft(TODO, "t", [FIRST], {"_x": 2}),
        lambda tx: tx.create_doctype(TODO) and tx.put_local(TODO, "t", {"_x": 2}),
    ):
        with pytest.raises(BadDocument, match="Bad special document member: _x") as caught:
            await store.write(write)
        assert caught.value.title == "doc_validation"
    assert await store.read(lambda view: view.doctypes()) == []


async def test_text_that_is_no_unicode_is_refused(store: DocumentStore) -> None:
    for id, body in (("t", {"a": "\ud800"}), ("\ud800", {})):
        with pytest.raises(BadDocument):
            await put(store, id, body)


async def test_the_size_of_a_document_is_limited(store: DocumentStore) -> None:
    fits = "x" * (MAX_DOCUMENT_BYTES - len('{"a":""}'))
    await put(store, "fits", {"a": fits})
    with pytest.raises(DocumentTooLarge) as caught:
        await put(store, "large", {"a": fits + "x"})
    assert caught.value.detail == "large"


# -- doctypes, lists and feeds


async def test_a_doctype_is_made_by_its_first_document(store: DocumentStore) -> None:
    assert not await store.read(lambda view: view.has_doctype(TODO))
    await put(store, "t", {})
    assert await store.read(lambda view: view.doctypes()) == [TODO]
    assert not await store.write(lambda tx: tx.create_doctype(TODO))
    assert await store.write(lambda tx: tx.create_doctype("io.cozy.a"))
    assert await store.read(lambda view: view.doctypes()) == ["io.cozy.a", TODO]


async def test_a_dropped_doctype_is_gone_with_everything(store: DocumentStore) -> None:
    await put(store, "t", {"a": 1})
    await graft(store, ["1-" + "f" * 32], {"a": "other"})
    await store.write(lambda tx: tx.put_local(TODO, "l", {}))
    seq = await store.read(lambda view: view.last_seq())
    assert await store.write(lambda tx: tx.drop_doctype(TODO))
    assert not await store.write(lambda tx: tx.drop_doctype(TODO))
    assert await store.read(lambda view: (view.doctypes(), view.winner(TODO, "t"), view.local(TODO, "l"))) == (
        [],
        None,
        None,
    )
    assert await put(store, "t", {"a": 1}) == FIRST
    again = await store.read(lambda view: view.status(TODO))
    assert (again.live, again.deleted) == (1, 0)
    assert again.last_seq > seq


async def test_lists_are_ordered_by_the_bytes_of_the_id(store: DocumentStore) -> None:
    ids = ["A", "_design/x", "a", "aa", "b", "é", "中", "\U0001f600", "\uffff"]
    gone = (await store.write(lambda tx: [tx.put(TODO, id, {}) for id in (*reversed(ids), "aaa")]))[-1]
    await store.write(lambda tx: tx.delete(TODO, "aaa", gone.rev))
    by_bytes = sorted(ids, key=str.encode)

    async def listed(**options: object) -> list[str]:
        return [doc.id for doc in await store.read(lambda view: view.all_docs(TODO, **options))]

    assert await listed() == by_bytes
    assert await listed(descending=True) == by_bytes[::-1]
    assert await listed(start="a", end="b") == ["a", "aa", "b"]
    assert await listed(start="a", end="b", inclusive_end=False) == ["a", "aa"]
    assert await listed(start="b", end="a", descending=True) == ["b", "aa", "a"]
    assert await listed(start="b", end="a", descending=True, inclusive_end=False) == ["b", "aa"]
    assert await listed(skip=1, limit=2) == by_bytes[1:3]
    assert await listed(limit=0) == []
    assert await store.read(lambda view: [view.rank(TODO, id) for id in by_bytes]) == list(range(len(ids)))
    assert await store.read(lambda view: view.rank(TODO, "aaaa")) == by_bytes.index("b")


async def test_many_documents_at_once_come_in_the_order_asked_for(store: DocumentStore) -> None:
    await put(store, "a", {"n": 1})
    gone = await store.write(lambda tx: tx.delete(TODO, "b", tx.put(TODO, "b", {}).rev))
    found = await store.read(lambda view: view.get_many(TODO, ["b", "x", "a", "a"]))
    assert [doc and (doc.id, doc.deleted) for doc in found] == [("b", True), None, ("a", False), ("a", False)]
    assert found[0] is not None
    assert found[0].rev == gone.rev


async def test_the_feed_lists_each_document_once_at_its_latest_change(store: DocumentStore) -> None:
    await put(store, "t", {"a": 1})
    await put(store, "u", {"a": 1})
    await store.write(lambda tx: tx.put("io.cozy.other", "x", {}))
    await put(store, "t", {"a": 2}, FIRST)
    gone = (await store.write(lambda tx: tx.delete(TODO, "u", FIRST))).rev
    feed = await store.read(lambda view: view.changes(TODO))
    assert [(entry.id, entry.rev, entry.deleted) for entry in feed] == [("t", SECOND, False), ("u", gone, True)]
    assert feed[0].seq < feed[1].seq
    assert await store.read(lambda view: view.changes(TODO, since=feed[0].seq)) == feed[1:]
    assert await store.read(lambda view: view.changes(TODO, limit=1)) == feed[:1]
    assert await store.read(lambda view: view.changes(TODO, since=feed[1].seq, descending=True)) == feed[::-1]
    assert await store.read(lambda view: [view.pending(TODO, since) for since in (0, feed[0].seq, feed[1].seq)]) == [
        2,
        1,
        0,
    ]
    status = await store.read(lambda view: view.status(TODO))
    assert (status.live, status.deleted, status.last_seq) == (1, 1, feed[1].seq)


# -- local documents (§2.11)


async def test_local_documents_count_what_they_are_told_and_never_conflict(store: DocumentStore) -> None:
    await store.write(lambda tx: tx.create_doctype(TODO))
    seq = await store.read(lambda view: view.last_seq())
    assert await store.write(lambda tx: tx.put_local(TODO, "abc==", {"n": 1})) == "0-1"
    assert await store.write(lambda tx: tx.put_local(TODO, "abc==", {"n": 2}, "0-41")) == "0-42"
    assert await store.write(lambda tx: tx.put_local(TODO, "abc==", {"n": 3})) == "0-1"
    found = await store.read(lambda view: view.local(TODO, "abc=="))
    assert found is not None
    assert (found.id, found.rev, found.body) == ("_local/abc==", "0-1", {"n": 3})
    assert await store.read(lambda view: (view.changes(TODO), view.all_docs(TODO), view.last_seq())) == ([], [], seq)
    assert await store.write(lambda tx: tx.put_local(TODO, "abc==", None)) == "0-0"
    assert await store.read(lambda view: view.local(TODO, "abc==")) is None


async def test_a_local_document_needs_its_database(store: DocumentStore) -> None:
    with pytest.raises(DocumentNotFound, match="Database does not exist"):
        await store.write(lambda tx: tx.put_local(TODO, "x", {}))


@pytest.mark.parametrize("rev", ["1-2", "0", "0-", "0-x", "0--1"])
async def test_a_malformed_revision_of_a_local_document_is_refused(store: DocumentStore, rev: str) -> None:
    await store.write(lambda tx: tx.create_doctype(TODO))
    with pytest.raises(BadDocument, match="Invalid rev format"):
        await store.write(lambda tx: tx.put_local(TODO, "x", {}, rev))


async def test_new_ids_are_32_hexadecimal_digits(store: DocumentStore) -> None:
    ids = await store.write(lambda tx: [tx.new_id() for _ in range(10)])
    assert len(set(ids)) == 10
    assert all(len(id) == 32 and set(id) <= set("0123456789abcdef") for id in ids)
