"""The published cozy-client works with the server: documents, queries, the collection of files (spec/01 §16.4)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from tests.clients.node import ClientError, Node
from tests.servers import Person

TESTS = "io.cozy.tests"
_numbers = itertools.count(1)


@pytest.fixture
def tag(alice: Person) -> str:
    """What tells the documents of a test from those of others."""
    return f"t{next(_numbers)}"


@pytest.fixture
def folder(cozy: Node, tag: str) -> str:
    """The id of an empty folder."""
    return cozy(
        "return (await client.collection('io.cozy.files').createDirectory({ name, dirId: root })).data._id",
        name=f"folder {tag}", root="io.cozy.files.root-dir",
    )  # fmt: skip


# -- documents


def test_a_document_lives_from_its_creation_to_its_end(cozy: Node, alice: Person, tag: str) -> None:
    made, read, changed, gone = cozy(
        """
        const { data: made } = await client.create('io.cozy.tests', { tag, n: 1 })
        const { data: read } = await client.query(Q('io.cozy.tests').getById(made._id))
        const { data: changed } = await client.save({ ...read, n: 2 })
        const seen = (await client.query(Q('io.cozy.tests').getById(made._id))).data
        await client.destroy(changed)
        const { data: gone } = await client.query(Q('io.cozy.tests').getById(made._id))
        return [made, read, seen, gone]
        """,
        tag=tag,
    )
    assert (read["_id"], read["_rev"], read["n"], read["_type"]) == (made["_id"], made["_rev"], 1, TESTS)
    assert (changed["n"], changed["_rev"].partition("-")[0]) == (2, "2")
    assert gone is None
    assert alice.get(f"/data/{TESTS}/{made['_id']}", TESTS).json()["reason"] == "deleted"


def test_a_stale_change_is_told_as_a_conflict(cozy: Node, tag: str) -> None:
    with pytest.raises(ClientError) as refused:
        cozy(
            """
            const { data: made } = await client.create('io.cozy.tests', { tag })
            await client.save({ ...made, n: 2 })
            await client.save({ ...made, n: 3 })
            """,
            tag=tag,
        )
    assert refused.value.status == 409


def test_queries_make_the_indexes_that_they_need(cozy: Node, tag: str) -> None:
    found = cozy(
        """
        const third = n => (n % 3 ? {} : { third: true })
        const documents = Array.from({ length: 30 }, (_, n) => ({ tag, n, even: n % 2 === 0, ...third(n) }))
        const saved = await client.collection('io.cozy.tests').updateAll(documents)
        const where = Q('io.cozy.tests').where({ tag, n: { $gte: 10, $lt: 20 } }).indexFields(['tag', 'n'])
        const sorted = await client.query(where.sortBy([{ tag: 'desc' }, { n: 'desc' }]))
        const partial = await client.query(Q('io.cozy.tests').where({ tag, n: { $gt: null } })
          .partialIndex({ third: { $exists: false } }).indexFields(['tag', 'n'])
          .sortBy([{ tag: 'asc' }, { n: 'asc' }]))
        const either = await client.query(Q('io.cozy.tests')
          .where({ tag, $or: [{ n: 3 }, { even: true, n: { $in: [4, 5, 6] } }] }).indexFields(['tag']))
        const chosen = await client.query(Q('io.cozy.tests').where({ tag, n: { $in: [1, 2] } })
          .indexFields(['tag', 'n']).select(['n', 'tag']))
        const count = saved.filter(each => each.ok).length
        return { count, sorted: sorted.data, partial: partial.data, either: either.data, chosen: chosen.data }
        """,
        tag=tag,
    )  # fmt: skip
    assert found["count"] == 30
    assert [document["n"] for document in found["sorted"]] == list(range(19, 9, -1))
    assert [document["n"] for document in found["partial"]] == [n for n in range(30) if n % 3]
    assert sorted(document["n"] for document in found["either"]) == [3, 4, 6]
    assert [document["n"] for document in found["chosen"]] == [1, 2]
    assert not any("even" in document for document in found["chosen"])


def test_all_pages_of_a_query_are_read(cozy: Node, tag: str) -> None:
    numbers, paged = cozy(
        """
        await client.collection('io.cozy.tests').updateAll(Array.from({ length: 230 }, (_, n) => ({ tag, many: n })))
        const query = Q('io.cozy.tests').where({ tag, many: { $gte: 0 } }).indexFields(['tag', 'many'])
          .sortBy([{ tag: 'asc' }, { many: 'asc' }])
        const all = await client.queryAll(query.limitBy(100))
        let page = await client.query(query.limitBy(90)), read = [...page.data]
        while (page.next) {
          page = await client.query(query.limitBy(90).offsetBookmark(page.bookmark))
          read.push(...page.data)
        }
        return [all.map(document => document.many), read.map(document => document.many)]
        """,
        tag=tag,
    )
    assert numbers == paged == list(range(230))


def test_documents_are_read_by_their_ids_and_all_together(cozy: Node, tag: str) -> None:
    by_id, everything = cozy(
        """
        const made = []
        for (const n of [1, 2, 3]) made.push((await client.create('io.cozy.tests', { tag, n })).data._id)
        const byId = await client.query(Q('io.cozy.tests').getByIds([made[0], 'nobody', made[2]]))
        const all = await client.queryAll(Q('io.cozy.tests').limitBy(1000))
        return [byId.data.map(document => document.n), all.filter(document => document.tag === tag).map(d => d.n)]
        """,
        tag=tag,
    )
    assert sorted(by_id) == [1, 3]
    assert sorted(everything) == [1, 2, 3]


def test_changes_are_fetched_since_a_sequence(cozy: Node, tag: str) -> None:
    changed, nothing = cozy(
        """
        const documents = client.collection('io.cozy.tests')
        const start = await documents.fetchChanges({ since: '', include_docs: true })
        const { data: made } = await client.create('io.cozy.tests', { tag, n: 1 })
        const then = await documents.fetchChanges({ since: start.newLastSeq, include_docs: true })
        const last = await documents.fetchChanges({ since: then.newLastSeq, include_docs: true })
        return [then.documents.map(document => [document._id === made._id, document.n]), last.documents]
        """,
        tag=tag,
    )
    assert changed == [[True, 1]]
    assert nothing == []


def test_a_missing_permission_is_told_as_such(cozy: Node, alice: Person) -> None:
    with pytest.raises(ClientError) as refused:
        cozy("await connect(token).create('io.cozy.tests', { n: 1 })", token=alice.token("io.cozy.tests:GET"))
    assert refused.value.status == 403


# -- files


def test_files_are_uploaded_listed_changed_and_read(cozy: Node, folder: str, tag: str) -> None:
    names, renamed, content, size = cozy(
        """
        const files = client.collection('io.cozy.files')
        for (const name of ['b.txt', 'a.txt', 'c.txt']) {
          await files.createFile(name + ' content', { name, dirId: folder })
        }
        await files.createDirectory({ name: 'sub', dirId: folder })
        const where = { dir_id: folder, type: { $gt: null }, name: { $gt: null } }
        const listed = await client.query(Q('io.cozy.files').where(where)
          .indexFields(['dir_id', 'type', 'name']).sortBy([{ dir_id: 'asc' }, { type: 'asc' }, { name: 'asc' }]))
        const first = listed.data.find(file => file.name === 'a.txt')
        const { data: renamed } = await client.save({ ...first, name: 'z.txt' })
        const { data: stat } = await files.statByPath(`/${name}/z.txt`)
        const answer = await files.fetchFileContentById(first._id)
        return [listed.data.map(file => file.name), stat.name, await answer.text(), stat.size]
        """,
        folder=folder,
        name=f"folder {tag}",
    )  # fmt: skip
    assert names == ["sub", "a.txt", "b.txt", "c.txt"]
    assert (renamed, content, size) == ("z.txt", "a.txt content", "13")


def test_a_taken_name_is_a_conflict_that_the_client_can_overwrite(cozy: Node, folder: str) -> None:
    status, same, content = cozy(
        """
        const files = client.collection('io.cozy.files')
        const { data: first } = await files.createFile('first', { name: 'x.txt', dirId: folder })
        let status
        await files.createFile('second', { name: 'x.txt', dirId: folder }).catch(error => { status = error.status })
        const { data: changed } = await files.updateFile('second', { fileId: first._id, name: 'x.txt' })
        return [status, changed._id === first._id, await (await files.fetchFileContentById(first._id)).text()]
        """,
        folder=folder,
    )
    assert (status, same, content) == (409, True, "second")


def test_a_file_goes_to_the_trash_and_comes_back(cozy: Node, folder: str) -> None:
    trashed, restored, gone = cozy(
        """
        const files = client.collection('io.cozy.files')
        const { data: file } = await files.createFile('x', { name: 'x.txt', dirId: folder })
        await client.destroy(file)
        const trashed = (await files.statById(file._id)).data.trashed
        await files.restore(file._id)
        const restored = (await files.statById(file._id)).data
        await client.destroy(restored)
        await files.deleteFilePermanently(file._id)
        const gone = await files.statById(file._id).catch(error => error.status)
        return [trashed, [restored.trashed, restored.dir_id], gone]
        """,
        folder=folder,
    )
    assert (trashed, restored, gone) == (True, [False, folder], 404)


def test_references_are_added_found_and_removed(cozy: Node, folder: str, tag: str) -> None:
    found, left = cozy(
        """
        const files = client.collection('io.cozy.files')
        const album = { _type: 'io.cozy.tests', _id: 'album/' + tag }
        const made = []
        for (const n of [1, 2, 3]) made.push((await files.createFile('x', { name: `${n}.txt`, dirId: folder })).data)
        await files.addReferencesTo(album, made)
        const found = await files.findReferencedBy(album, { limit: 2 })
        await files.removeReferencesTo(album, made.slice(1))
        const left = await files.findReferencedBy(album)
        return [[found.included.length, found.next, found.meta.count], left.included.map(file => file.attributes.name)]
        """,
        folder=folder,
        tag=tag,
    )
    assert found == [2, True, 3]
    assert left == ["1.txt"]


def test_the_changes_of_files_tell_what_was_deleted(cozy: Node, folder: str) -> None:
    told: dict[str, Any] = cozy(
        """
        const files = client.collection('io.cozy.files')
        const start = (await files.fetchChanges({})).newLastSeq
        const { data: kept } = await files.createFile('x', { name: 'kept.txt', dirId: folder })
        const { data: gone } = await files.createFile('x', { name: 'gone.txt', dirId: folder })
        await client.destroy(gone)
        await files.deleteFilePermanently(gone._id)
        const { results } = await files.fetchChanges({ since: start }, { includeFilePath: true })
        const told = id => results.find(result => result.id === id)
        return { kept: told(kept._id).doc.path, gone: told(gone._id).deleted }
        """,
        folder=folder,
    )
    assert told["kept"].endswith("/kept.txt")
    assert told["gone"] is True
