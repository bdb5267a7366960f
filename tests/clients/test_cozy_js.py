"""The published cozy-client-js, which devices use, works with the server: documents, files, its own registration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.browser_forms import Browser, fields
from tests.clients.node import Node
from tests.servers import Person

ROOT = "io.cozy.files.root-dir"


@pytest.fixture(scope="module")
def device(alice: Person) -> Iterator[Node]:
    """The client with alice's rights on files, settings and the doctypes of tests."""
    node = Node("cozy_js.mjs", alice, alice.token("io.cozy.files", "io.cozy.tests", "io.cozy.settings"))
    yield node
    node.close()


def test_a_document_is_made_changed_found_and_removed(device: Node) -> None:
    found = device(
        """
        const { data } = cozy
        const made = await data.create('io.cozy.tests', { device: 'a', n: 1 })
        await data.update('io.cozy.tests', made, { device: 'a', n: 2 })
        const changed = await data.updateAttributes('io.cozy.tests', made._id, { m: 3 })
        const index = await data.defineIndex('io.cozy.tests', ['device'])
        const queried = await data.query(index, { selector: { device: 'a' } })
        const changes = await data.changesFeed('io.cozy.tests', { since: 0, include_docs: true })
        const all = await data.findAll('io.cozy.tests')
        const gone = await data.delete('io.cozy.tests', changed)
        return { id: made._id, changed, queried, changes: changes.results.map(each => each.doc.n), all, gone }
        """
    )
    assert {name: found["changed"][name] for name in ("device", "n", "m")} == {"device": "a", "n": 2, "m": 3}
    assert [document["_id"] for document in found["queried"]] == [found["id"]]
    assert 2 in found["changes"]
    assert [document["_id"] for document in found["all"]] == [found["id"]]
    assert found["gone"]["ok"] is True


def test_files_go_up_and_down_by_id_and_by_path(device: Node) -> None:
    told = device(
        """
        const { files } = cozy
        const deep = await files.createDirectoryByPath('/Device/2026/Notes')
        const about = { name: 'a.txt', dirID: deep._id, contentType: 'text/plain' }
        const made = await files.create('hello', { ...about, lastModifiedDate: '2017-01-02T03:04:05Z' })
        const changed = await files.updateById(made._id, 'good bye', { contentType: 'text/plain', ifMatch: made._rev })
        const stale = await files.updateById(made._id, 'late', { ifMatch: made._rev }).catch(error => error.status)
        await files.updateAttributesById(made._id, { name: 'b.txt' }, { ifMatch: changed._rev })
        const tagged = await files.updateAttributesByPath('/Device/2026/Notes/b.txt', { tags: ['red'] })
        const content = await (await files.downloadByPath('/Device/2026/Notes/b.txt')).text()
        const link = await fetch(uri + (await files.getDownloadLinkById(made._id)))
        const zip = await fetch(uri + (await files.getArchiveLinkByPaths(['/Device'], 'everything')))
        const parent = await files.statByPath('/Device/2026/Notes')
        return {
          dates: [made.attributes.created_at, made.attributes.updated_at], stale, tags: tagged.attributes.tags,
          content, linked: await link.text(), zip: [zip.status, zip.headers.get('content-type')],
          children: parent.relations('contents').map(child => child.attributes.name)
        }
        """
    )  # fmt: skip
    assert told["dates"] == ["2017-01-02T03:04:05.000Z"] * 2
    assert (told["stale"], told["tags"]) == (412, ["red"])
    assert told["content"] == told["linked"] == "good bye"
    assert told["zip"] == [200, "application/zip"]
    assert told["children"] == ["b.txt"]


def test_the_trash_is_listed_and_emptied(device: Node) -> None:
    told = device(
        """
        const { files } = cozy
        const [kept, gone] = [
          await files.create('x', { name: 'kept.txt', dirID: root, contentType: 'text/plain' }),
          await files.create('x', { name: 'gone.txt', dirID: root, contentType: 'text/plain' })
        ]
        for (const file of [kept, gone]) await files.trashById(file._id)
        const trashed = (await files.listTrash()).map(file => file.attributes.name)
        await files.restoreById(kept._id)
        await files.clearTrash()
        const found = await files.statById(gone._id).catch(error => error.status)
        const { attributes: back } = await files.statById(kept._id)
        return { trashed, left: (await files.listTrash()).length, found, back }
        """,
        root=ROOT,
    )  # fmt: skip
    assert sorted(told["trashed"]) == ["gone.txt", "kept.txt"]
    assert (told["left"], told["found"]) == (0, 404)
    assert (told["back"]["dir_id"], told["back"]["trashed"]) == (ROOT, False)


def test_files_are_referenced_by_a_document(device: Node) -> None:
    before, after = device(
        """
        const { data, files } = cozy
        const album = await data.create('io.cozy.tests', { album: true })
        const made = []
        for (const name of ['r1.txt', 'r2.txt']) {
          made.push((await files.create('x', { name, dirID: root, contentType: 'text/plain' }))._id)
        }
        await data.addReferencedFiles(album, made)
        const before = (await data.fetchReferencedFiles(album, {})).included.map(file => file.id)
        await data.removeReferencedFiles(album, made[0])
        return [before.map(id => made.indexOf(id)), (await data.listReferencedFiles(album)).map(id => made.indexOf(id))]
        """,
        root=ROOT,
    )
    assert sorted(before) == [0, 1]
    assert after == [1]


def test_the_settings_of_the_instance_are_read_and_changed(device: Node) -> None:
    told: dict[str, Any] = device(
        """
        const { settings } = cozy
        const instance = await settings.getInstance()
        const changed = { ...instance.attributes, tz: 'Europe/Paris' }
        await settings.updateInstance({ data: { ...instance, attributes: changed, meta: { rev: instance._rev } } })
        const usage = await settings.diskUsage()
        return { tz: (await settings.getInstance()).attributes.tz, used: usage.attributes.used }
        """
    )
    assert told["tz"] == "Europe/Paris"
    assert told["used"].isdecimal()


def test_a_device_registers_is_allowed_and_leaves(device: Node, alice: Person) -> None:
    asked = device(
        """
        const about =
          { redirectURI: 'http://localhost:4000/', softwareID: 'device', clientName: 'A device', clientKind: 'desktop' }
        globalThis.registered = await cozy.auth.registerClient(new cozy.auth.Client(about))
        registered.softwareVersion = '2'
        globalThis.registered = await cozy.auth.updateClient(registered)
        const seen = await cozy.auth.getClient(registered)
        return { ...cozy.auth.getAuthCodeURL(registered, ['io.cozy.files']), seen: seen.clientName }
        """
    )  # fmt: skip
    assert asked["seen"] == "A device"
    browser = Browser(alice)
    browser.login()
    page = browser.get(asked["url"])
    landed = browser.post("/auth/authorize", data=fields(page.text)).headers["location"]
    assert parse_qs(urlsplit(landed).query)["state"] == [asked["state"]]

    told = device(
        """
        const token = await cozy.auth.getAccessToken(registered, state, landed)
        const bearer = token => fetch(uri + '/files/' + root, { headers: { Authorization: token.toAuthHeader() } })
        const first = (await bearer(token)).status
        const renewed = await cozy.auth.refreshToken(registered, token)
        const second = (await bearer(renewed)).status
        await cozy.auth.unregisterClient(registered)
        return { first, second, scope: token.scope, third: (await bearer(renewed)).status }
        """,
        state=asked["state"],
        landed=landed,
        root=ROOT,
    )
    assert told == {"first": 200, "second": 200, "scope": "io.cozy.files", "third": 400}
