"""What comes with the published cozy-client works with the server: subscriptions (cozy-realtime), copies of whole
doctypes (cozy-pouch-link), registration of devices, the collections of permissions, sharings, contacts, settings."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from tests.browser_forms import Browser, fields
from tests.clients.node import Node
from tests.servers import Person

ROOT = "io.cozy.files.root-dir"
SCOPES = (
    "io.cozy.files", "io.cozy.tests", "io.cozy.settings", "io.cozy.permissions", "io.cozy.sharings", "io.cozy.apps",
    "io.cozy.contacts", "io.cozy.contacts.groups", "io.cozy.oauth.clients",
)  # fmt: skip
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def app(alice: Person) -> Iterator[Node]:
    """cozy-client with the rights of an app that does a lot."""
    node = Node("cozy.mjs", alice, alice.token(*SCOPES))
    yield node
    node.close()


@pytest.fixture
def folder(app: Node) -> str:
    """The id of a new folder."""
    return app(
        "return (await client.collection('io.cozy.files').createDirectory({ name, dirId: root })).data._id",
        name=f"companions {next(_numbers)}",
        root=ROOT,
    )


def test_subscriptions_tell_of_what_happens_to_documents(app: Node) -> None:
    told = app(
        """
        const told = []
        const tell = verb => document => told.push([verb, document._id, document.n])
        for (const verb of ['created', 'updated', 'deleted']) {
          await realtime().subscribe(verb, 'io.cozy.tests', tell(verb))
        }
        // the server says nothing when it has subscribed: something is made until it tells of it
        let made
        await until(async () => {
          made = (await client.create('io.cozy.tests', { n: 1 })).data
          await new Promise(resolve => setTimeout(resolve, 50))
          return told.length
        })
        const alone = []
        await realtime().subscribe('updated', 'io.cozy.tests', made._id, document => alone.push(document.n))
        const { data: changed } = await client.save({ ...made, n: 2 })
        await client.destroy(changed)
        await until(() => told.some(([verb]) => verb === 'deleted'))
        realtime().unsubscribeAll()
        return { told: told.filter(([, id]) => id === made._id), alone, id: made._id }
        """
    )
    assert [(verb, n) for verb, _, n in told["told"]][-2:] == [("updated", 2), ("deleted", 2)]
    assert told["alone"] == [2]


def test_whole_doctypes_are_copied_and_queried_offline(app: Node) -> None:
    copied = app(
        """
        const documents = Array.from({ length: 230 }, (_, n) => ({ copied: true, n }))
        await client.collection('io.cozy.tests').updateAll(documents)
        const doctypesReplicationOptions =
          { 'io.cozy.tests': { strategy: 'sync' }, 'io.cozy.files': { strategy: 'fromRemote' } }
        const copy = await offline({ doctypes: ['io.cozy.tests', 'io.cozy.files'], doctypesReplicationOptions })
        await copy.replicate()
        const where = Q('io.cozy.tests').where({ copied: true, n: { $gte: 200 } }).indexFields(['copied', 'n'])
        const found = await copy.client.query(where.limitBy(100))
        copy.link.stopReplication()
        return found.data.length
        """
    )  # fmt: skip
    assert copied == 30


def test_a_device_registers_and_asks_for_its_token(app: Node, alice: Person) -> None:
    asked = app(
        """
        const oauth =
          { redirectURI: 'http://localhost/back', softwareID: 'device', clientName: 'Phone', clientKind: 'mobile' }
        globalThis.device = new OAuthClient({ uri, oauth, scope: ['io.cozy.files'] })
        await device.register()
        await device.updateInformation({ ...device.oauthOptions, clientName: 'New phone' })
        const { client_name: name } = await device.fetchInformation()
        return { name, url: device.getAuthCodeURL({ stateCode: 'here', scopes: ['io.cozy.files'] }) }
        """
    )  # fmt: skip
    assert asked["name"] == "New phone"
    browser = Browser(alice)
    browser.login()
    page = browser.get(asked["url"])
    landed = browser.post("/auth/authorize", data=fields(page.text)).headers["location"]
    assert "state=here" in urlsplit(landed).query

    told = app(
        """
        const token = await device.fetchAccessToken(device.getAccessCodeFromURL(landed, 'here'))
        device.setToken(token)
        const listed = await device.collection('io.cozy.files').statById(root)
        await device.refreshToken()
        const again = await device.collection('io.cozy.files').statById(root)
        await device.unregister()
        const later = await connect(token.accessToken).collection('io.cozy.files').statById(root).catch(e => e.status)
        return [listed.data._id, again.data._id, later]
        """,
        landed=landed,
        root=ROOT,
    )
    assert told == [ROOT, ROOT, 400]


def test_a_folder_is_shared_by_link(app: Node, folder: str) -> None:
    told = app(
        """
        const links = client.collection('io.cozy.permissions')
        const { data: file } = await client.collection('io.cozy.files').statById(folder)
        const { data: made } = await links.createSharingLink(file, { verbs: ['GET'] })
        const listed = (await links.findLinksByDoctype('io.cozy.files')).data.filter(link => link.id === made._id)
        const visitor = connect(made.attributes.shortcodes.code)
        const seen = await visitor.collection('io.cozy.files').statById(folder)
        const denied = await visitor.collection('io.cozy.files').createDirectory({ name: 'no', dirId: folder })
          .catch(error => error.status)
        const own = await visitor.collection('io.cozy.permissions').fetchOwnPermissions()
        await links.revokeSharingLink(file)
        const ended = await visitor.collection('io.cozy.files').statById(folder).catch(error => error.status)
        return { listed: listed.length, seen: seen.data._id, denied, own: own.data.attributes.type, ended }
        """,
        folder=folder,
    )
    assert told == {"listed": 1, "seen": folder, "denied": 403, "own": "share", "ended": 403}


def test_a_folder_is_shared_with_people(app: Node, folder: str) -> None:
    told = app(
        """
        const [files, people] = [client.collection('io.cozy.files'), client.collection('io.cozy.contacts')]
        const sharings = client.collection('io.cozy.sharings')
        const person = async name =>
          (await people.create({ fullname: name, email: [{ address: name + '@example.com', primary: true }] })).data
        const [bob, carol] = [await person('bob'), await person('carol')]
        const { data: document } = await files.statById(folder)
        const { data: made } = await sharings.create(
          { document, description: 'For friends', recipients: [bob], previewPath: '/preview', openSharing: true })
        const { data: more } = await sharings.addRecipients(
          { document: made, recipients: [], readOnlyRecipients: [carol] })
        const { data: all } = await sharings.findByDoctype('io.cozy.files')
        await sharings.revokeRecipient(made, 1)
        const { data: later } = await sharings.get(made._id)
        await sharings.revokeAllRecipients(made)
        const { data: ended } = await sharings.get(made._id)
        const members = sharing => sharing.attributes.members.map(member => [member.status, member.read_only || false])
        return {
          made: members(made), more: members(more), later: members(later), active: ended.attributes.active || false,
          found: all.some(sharing => sharing._id === made._id), rule: made.attributes.rules[0]
        }
        """,
        folder=folder,
    )  # fmt: skip
    owner = ["owner", False]
    assert told["made"] == [owner, ["pending", False]]
    assert told["more"] == [owner, ["pending", False], ["pending", True]]
    assert told["later"] == [owner, ["revoked", False], ["pending", True]]
    assert (told["active"], told["found"]) == (False, True)
    assert (told["rule"]["values"], told["rule"]["add"]) == ([folder], "sync")


def test_settings_contacts_and_devices_are_read(app: Node) -> None:
    told = app(
        """
        const settings = client.collection('io.cozy.settings')
        const { data: instance } = await settings.get('io.cozy.settings.instance')
        const { data: changed } = await settings.update(
          { ...instance, attributes: { ...instance.attributes, tz: 'Europe/Paris' } })
        const { data: usage } = await settings.get('io.cozy.settings.disk-usage')
        const { data: able } = await settings.get('io.cozy.settings.capabilities')
        const { data: me } = await client.collection('io.cozy.contacts').findMyself()
        const { data: devices } = await client.collection('io.cozy.oauth.clients').all()
        const { data: apps } = await client.collection('io.cozy.apps').all()
        return {
          tz: changed.tz, used: usage.used, able: able.file_versioning, me: me[0].me, devices: devices.length, apps
        }
        """
    )  # fmt: skip
    assert (told["tz"], told["able"], told["me"], told["apps"]) == ("Europe/Paris", True, True, [])
    assert told["used"].isdecimal()
    assert told["devices"] >= 1
