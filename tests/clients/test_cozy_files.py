"""The collection of files and the file model of the published cozy-client, method by method (spec/02 §23)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from tests.clients.node import Node

_numbers = itertools.count(1)


@pytest.fixture
def tag() -> str:
    """What tells the folder of a test from those of others."""
    return f"place {next(_numbers)}"


@pytest.fixture
def folder(cozy: Node, tag: str) -> str:
    """The id of an empty folder, `tag` is its name."""
    return cozy(
        "return (await client.collection('io.cozy.files').createDirectory({ name, dirId: root })).data._id",
        name=tag, root="io.cozy.files.root-dir",
    )  # fmt: skip


# -- folders


def test_folders_are_made_by_their_path_and_found_again(cozy: Node, folder: str, tag: str) -> None:
    answer: dict[str, Any] = cozy(
        """
        const files = client.collection('io.cozy.files')
        const { data: deep } = await files.createDirectoryByPath(`/${tag}/a/b`)
        const again = await files.ensureDirectoryExists(`/${tag}/a/b`)
        const { data: middle } = await files.statByPath(`/${tag}/a`)
        const { data: same } = await files.getDirectoryOrCreate('b', middle)
        const { data: shown, included } = await files.get(folder)
        return {
          path: deep.path, again: again === deep._id, same: same._id === deep._id,
          child: await files.isChildOf(deep._id, folder), stranger: await files.isChildOf(folder, deep._id),
          shown: shown.relationships.contents.data.length, included: included.map(item => item.name),
        }
        """,
        folder=folder,
        tag=tag,
    )
    assert answer == {
        "path": f"/{tag}/a/b", "again": True, "same": True, "child": True, "stranger": False,
        "shown": 1, "included": ["a"],
    }  # fmt: skip


def test_the_folder_of_drives_is_made_once(cozy: Node) -> None:
    first, second = cozy(
        """
        const files = client.collection('io.cozy.files')
        const one = await files.getOrCreateSharedDrivesDirectory()
        const two = await files.getOrCreateSharedDrivesDirectory()
        return [one.data.id, two.data.id]
        """
    )
    assert first == second == "io.cozy.files.shared-drives-dir"


# -- what is in a file


def test_a_file_takes_all_that_the_client_can_say_of_it(cozy: Node, folder: str) -> None:
    told: dict[str, Any] = cozy(
        """
        const files = client.collection('io.cozy.files')
        const { data: file } = await files.createFile('#!/bin/sh', {
          name: 'run.sh', dirId: folder, executable: true, encrypted: true, contentType: 'text/x-sh',
          lastModifiedDate: new Date('2026-03-04T05:06:07.890Z'), checksum: 'PpVf6ENU1w7HWsP3vVZ6+g==',
          metadata: { qualification: { label: 'script' } }, sourceAccount: 'account1', sourceAccountIdentifier: 'me'
        }).catch(error => ({ data: { failed: error.message } }))
        return file
        """,
        folder=folder,
    )
    assert "Invalid hash" in told["failed"], "the checksum of something else"
    told = cozy(
        """
        const files = client.collection('io.cozy.files')
        const { data: file } = await files.createFile('#!/bin/sh', {
          name: 'run.sh', dirId: folder, executable: true, encrypted: true, contentType: 'text/x-sh',
          lastModifiedDate: new Date('2026-03-04T05:06:07.890Z'),
          metadata: { qualification: { label: 'script' } }, sourceAccount: 'account1', sourceAccountIdentifier: 'me'
        })
        return file
        """,
        folder=folder,
    )
    assert (told["executable"], told["encrypted"], told["mime"], told["size"]) == (True, True, "text/x-sh", "9")
    assert told["created_at"] == told["updated_at"] == "2026-03-04T05:06:07.890Z"
    assert told["metadata"] == {"qualification": {"label": "script"}}
    assert told["cozyMetadata"]["sourceAccount"] == "account1"
    assert told["cozyMetadata"]["sourceAccountIdentifier"] == "me"


def test_metadata_changes_without_the_content(cozy: Node, folder: str) -> None:
    told: dict[str, Any] = cozy(
        """
        const files = client.collection('io.cozy.files')
        const { data: prepared } = await files.createFileMetadata({ number: 7 })
        const { data: file } = await files.createFile('content', { name: 'bill.txt', dirId: folder })
        const { data: changed } = await files.updateMetadataAttribute(file._id, { number: 8 })
        const qualification = models.document.Qualification.getByLabel('isp_invoice')
        const { data: now } = await files.statById(file._id)
        const saved = await models.file.saveFileQualification(client, now, qualification)
        const content = await (await files.fetchFileContentById(file._id)).text()
        const told = saved.data.attributes || saved.data
        return {
          prepared: prepared.type || prepared._type,
          number: changed.attributes.metadata.number, label: told.metadata.qualification.label, content,
          sum: changed.attributes.md5sum === file.md5sum,
          versions: (await files.get(file._id)).data.relationships.old_versions
        }
        """,
        folder=folder,
    )
    assert told["prepared"] == "io.cozy.files.metadata"
    assert (told["number"], told["label"], told["content"], told["sum"]) == (8, "isp_invoice", "content", True)
    assert told.get("versions") is None, "the content is the same"


def test_versions_are_told_and_read(cozy: Node, folder: str) -> None:
    told: dict[str, Any] = cozy(
        """
        const files = client.collection('io.cozy.files')
        const { data: first } = await files.createFile('first', { name: 'note.txt', dirId: folder })
        const { data: second } = await files.updateFile('second', { fileId: first._id, name: 'note.txt' })
        const { data: shown, included } = await files.get(first._id)
        const version = shown.relationships.old_versions.data[0].id
        const link = await files.getDownloadLinkByRevision(version, 'old.txt')
        const answer = await fetch(new URL(link, uri))
        const name = models.file.generateFileNameForRevision(
          shown, { updated_at: included[0].attributes.updated_at }, date => date.slice(0, 4))
        return { same: second._id === first._id, old: await answer.text(), size: included[0].attributes.size, name }
        """,
        folder=folder,
    )
    assert (told["same"], told["old"], told["size"]) == (True, "first", "5")
    assert told["name"].startswith("note_2")


# -- links


def test_links_open_without_a_token(cozy: Node, folder: str, tag: str) -> None:
    told: dict[str, Any] = cozy(
        """
        const files = client.collection('io.cozy.files')
        const { data: file } = await files.createFile('linked', { name: 'a b é.txt', dirId: folder })
        const read = async link => (await fetch(new URL(link, uri))).text()
        const archive = await files.createArchiveLinkByIds({ ids: [folder, file._id], name: 'all of it' })
        const zip = await fetch(new URL(archive, uri))
        const start = new Uint8Array(await zip.clone().arrayBuffer()).slice(0, 2).join()
        return {
          byId: await read(await files.getDownloadLinkById(file._id, 'a b é.txt')),
          byPath: await read(await files.getDownloadLinkByPath(`/${tag}/a b é.txt`)),
          zip: [zip.status, zip.headers.get('content-type'), start],
          disposition: zip.headers.get('content-disposition')
        }
        """,
        folder=folder,
        tag=tag,
    )
    assert (told["byId"], told["byPath"]) == ("linked", "linked")
    assert told["zip"] == [200, "application/zip", "80,75"]
    assert told["disposition"].startswith("attachment")


# -- moving about


def test_the_model_moves_copies_and_names_after_conflicts(cozy: Node, folder: str, tag: str) -> None:
    told: dict[str, Any] = cozy(
        """
        const files = client.collection('io.cozy.files')
        const { data: there } = await files.createDirectory({ name: 'there', dirId: folder })
        const { data: file } = await files.createFile('one', { name: 'x.txt', dirId: folder })
        const { data: other } = await files.createFile('two', { name: 'x.txt', dirId: there._id })
        const refused = await models.file.move(client, file, there).catch(error => error.status)
        const moved = await models.file.move(client, file, there, { force: true })
        const gone = await files.statById(other._id).then(found => found.data.trashed, error => error.status)
        const copy = await models.file.copy(client, { ...file, _type: 'io.cozy.files' }, there)
        const path = await models.file.getFullpath(client, there._id, 'x.txt')
        const renamed = await models.file.uploadFileWithConflictStrategy(client, 'three', {
          name: 'x.txt', dirId: there._id, contentType: 'text/plain', conflictStrategy: 'rename'
        })
        const erased = await models.file.uploadFileWithConflictStrategy(client, 'four', {
          name: 'x.txt', dirId: there._id, contentType: 'text/plain', conflictStrategy: 'erase'
        })
        return {
          refused, dir: (await files.statById(file._id)).data.dir_id === there._id, gone,
          copy: copy.data.name, path, renamed: renamed.data.name, erased: erased.data._id === file._id,
          content: await (await files.fetchFileContentById(file._id)).text(), deleted: moved.deleted
        }
        """,
        folder=folder,
        tag=tag,
    )
    assert told["refused"] == 409
    assert (told["dir"], told["gone"], told["deleted"] is not None) == (True, True, True)
    assert told["copy"] == "x (2).txt"
    assert told["path"] == f"/{tag}/there/x.txt"
    assert told["renamed"] == "x_1.txt"
    assert (told["erased"], told["content"]) == (True, "four")


def test_the_trash_is_emptied_and_references_go_with_what_goes_there(cozy: Node, folder: str) -> None:
    told: dict[str, Any] = cozy(
        """
        const files = client.collection('io.cozy.files')
        const album = { _type: 'io.cozy.tests', _id: 'album of ' + folder }
        const { data: file } = await files.createFile('x', { name: 'x.txt', dirId: folder })
        await files.addReferencedBy(file, [album])
        const before = (await files.get(file._id)).data.relationships.referenced_by.data
        await files.removeReferencedBy(file, [album])
        await files.addReferencesTo(album, [file])
        const { data: referenced } = await files.get(file._id)
        const stale = await files.destroy(referenced, { ifMatch: '1-' + '0'.repeat(32) }).catch(error => error.status)
        await files.destroy(referenced)
        const { data: trashed } = await files.get(file._id)
        await files.emptyTrash()
        const gone = await files.statById(file._id).catch(error => error.status)
        return { before, stale, trashed: trashed.trashed, left: trashed.relationships.referenced_by.data, gone }
        """,
        folder=folder,
    )
    assert [reference["id"] for reference in told["before"]] == [f"album of {folder}"]
    assert (told["stale"], told["trashed"], told["left"] or [], told["gone"]) == (412, True, [], 404)


# -- lists


def test_queries_go_on_by_bookmark_and_by_skip_and_choose_fields(cozy: Node, folder: str) -> None:
    told: dict[str, Any] = cozy(
        """
        const files = client.collection('io.cozy.files')
        const made = []
        for (const n of [1, 2, 3, 4, 5]) {
          made.push((await files.createFile('x'.repeat(n), { name: `${n}.txt`, dirId: folder })).data)
        }
        const selector = { dir_id: folder, name: { $gt: null } }
        const options = { indexedFields: ['dir_id', 'name'], sort: [{ dir_id: 'asc' }, { name: 'asc' }] }
        const first = await files.find(selector, { ...options, limit: 2 })
        const second = await files.find(selector, { ...options, limit: 2, bookmark: first.bookmark })
        const third = await files.find(selector, { ...options, limit: 2, skip: 4 })
        const fields = await files.find(selector, { ...options, fields: ['name', 'path', 'size'], limit: 1 })
        const partial = await files.find(selector, {
          ...options, partialFilter: { type: 'file', trashed: false }, limit: 100
        })
        const names = answer => answer.data.map(file => file.name)
        const { data: chosen } = await files.getAll([made[3]._id, 'nobody', made[0]._id])
        return {
          pages: [first, second, third].map(names), next: [first, second, third].map(page => page.next),
          fields: fields.data[0], partial: names(partial), chosen: chosen.map(file => file.name).sort(),
          size: files.getBeautifulSize ? files.getBeautifulSize(made[4], 0) : null
        }
        """,
        folder=folder,
    )
    assert told["pages"] == [["1.txt", "2.txt"], ["3.txt", "4.txt"], ["5.txt"]]
    assert told["next"] == [True, True, False]
    assert (told["fields"]["name"], told["fields"]["size"]) == ("1.txt", "1")
    assert told["fields"]["path"].endswith("/1.txt")
    assert told["partial"] == ["1.txt", "2.txt", "3.txt", "4.txt", "5.txt"]
    assert told["chosen"] == ["1.txt", "4.txt"]


def test_the_feed_leaves_out_what_is_not_wanted(cozy: Node, folder: str) -> None:
    told: dict[str, Any] = cozy(
        """
        const files = client.collection('io.cozy.files')
        const { newLastSeq: since } = await files.fetchChanges({})
        const { data: kept } = await files.createFile('x', { name: 'kept.txt', dirId: folder })
        const { data: gone } = await files.createFile('x', { name: 'gone.txt', dirId: folder })
        const { data: trashed } = await files.createFile('x', { name: 'trashed.txt', dirId: folder })
        await files.deleteFilePermanently(gone._id)
        await files.destroy(trashed)
        const ids = feed => feed.results.map(result => result.id)
        const names = { [kept._id]: 'kept', [gone._id]: 'gone', [trashed._id]: 'trashed' }
        const listed = feed => ids(feed).map(id => names[id]).filter(Boolean).sort()
        const all = await files.fetchChanges({ since, includeDocs: true })
        const without = await files.fetchChanges(
          { since, includeDocs: true }, { skipDeleted: true, skipTrashed: true, includeFilePath: true })
        const fields = await files.fetchChanges({ since, includeDocs: true }, { fields: ['name'], skipDeleted: true })
        const page = await files.fetchChanges({ since, limit: 1, includeDocs: true })
        return {
          all: listed(all), without: listed(without), pending: Boolean(page.pending), rest: all.pending,
          fields: fields.results.find(result => result.id === kept._id).doc,
          path: without.results.find(result => result.id === kept._id).doc.path, last: all.newLastSeq !== since
        }
        """,
        folder=folder,
    )
    assert told["all"] == ["gone", "kept", "trashed"]
    assert told["without"] == ["kept"]
    assert (told["pending"], bool(told["rest"]), told["last"]) == (True, False, True)
    assert told["fields"]["name"] == "kept.txt"
    assert "md5sum" not in told["fields"]
    assert told["path"].endswith("/kept.txt")


def test_folders_are_left_out_of_a_device(cozy: Node, folder: str) -> None:
    listed, whole, left = cozy(
        """
        const files = client.collection('io.cozy.files')
        const device = { _type: 'io.cozy.oauth.clients', _id: 'device of ' + folder }
        const { data: sub } = await files.createDirectory({ name: 'sub', dirId: folder })
        await files.addNotSynchronizedDirectories(device, [{ _type: 'io.cozy.files', _id: sub._id }])
        const listed = await files.findNotSynchronizedDirectories(device)
        const whole = await files.findNotSynchronizedDirectories(device, { includeFiles: true, limit: 10 })
        await files.removeNotSynchronizedDirectories(device, [{ _type: 'io.cozy.files', _id: sub._id }])
        const left = await files.findNotSynchronizedDirectories(device)
        return [listed.data.length, whole.included.map(found => found.attributes.name), left.data.length]
        """,
        folder=folder,
    )
    assert (listed, whole, left) == (1, ["sub"], 0)


# -- documents


def test_the_other_methods_of_documents(cozy: Node) -> None:
    told: dict[str, Any] = cozy(
        """
        const doctype = 'io.cozy.tests.methods'
        const docs = client.collection(doctype)
        const written = await docs.updateAll([{ n: 1 }, { n: 2 }, { n: 3 }, { n: 4 }])
        const ids = written.map(answer => answer.id)
        const { data: all } = await docs.all()
        const { data: chosen } = await docs.all({ keys: [ids[2], ids[0]] })
        const { data: unlimited } = await docs.all({ limit: null })
        const { data: byIds } = await docs.getAll([ids[1], 'nobody'])
        const everything = await docs.findAll({ n: { $gt: 1 } }, { indexedFields: ['n'], limit: 2 })
        const unique = await docs.checkUniquenessOf('n', 9)
        const taken = await docs.checkUniquenessOf('n', 1)
        const rows = await docs.fetchAllMangoIndexes()
        const changes = await docs.fetchChanges({ since: '0', include_docs: true })
        const raw = await docs.fetchChangesRaw({ since: '0', include_docs: true })
        const someOf = await docs.fetchChangesRaw({ since: '0', include_docs: true, doc_ids: [ids[0]] })
        const { data: full } = await docs.all({ limit: null })
        const gone = await docs.destroyAll(full)
        const deleted = await docs.fetchChanges({ since: '0', include_docs: true }, { includeDeleted: true })
        const alive = await docs.fetchChanges({ since: '0', include_docs: true })
        return {
          all: all.length, chosen: chosen.map(doc => doc.n), unlimited: unlimited.length,
          byIds: byIds.filter(Boolean).length, everything: everything.map(doc => doc.n), unique, taken,
          indexes: rows.length > 0, changes: changes.documents.length, raw: raw.results.length > 4,
          someOf: someOf.results.map(result => result.id === ids[0]), gone: gone.every(answer => answer.ok),
          deleted: deleted.documents.filter(doc => doc._deleted).length,
          alive: alive.documents.filter(doc => doc.n).length
        }
        """
    )
    assert (told["all"], told["unlimited"], told["byIds"]) == (4, 4, 1)
    assert told["chosen"] == [3, 1]
    assert told["everything"] == [2, 3, 4]
    assert (told["unique"], told["taken"], told["indexes"]) == (True, False, True)
    assert (told["changes"], told["raw"], told["someOf"], told["gone"]) == (4, True, [True], True)
    assert (told["deleted"], told["alive"]) == (4, 0)
