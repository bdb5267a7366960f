"""The calls of the Drive web app, made from its own origin in a real browser (spec/examples/07-drive-app-calls.md)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from tests.api.apps_workshop import install, write_app
from tests.servers import Person, RunningServer

pytestmark = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the system's Chromium")

ROOT = "io.cozy.files.root-dir"
TRASH = "io.cozy.files.trash-dir"
FILES = "io.cozy.files"
CLOSED = [TRASH, "io.cozy.files.shared-drives-dir"]

PAGE = """<!DOCTYPE html><html lang="{{.Locale}}"><head><meta charset="utf-8"><title>Drive</title>
{{.CozyFonts}}{{.ThemeCSS}}<script src="/assets/drive.1234567890ab.js" defer></script></head>
<body><div role="application" data-cozy="{{.CozyData}}"></div></body></html>
"""
SCRIPT = """
const data = JSON.parse(document.querySelector('[data-cozy]').dataset.cozy)
const code = new URLSearchParams(location.search).get('sharecode')
const token = code || data.token
const instance = location.protocol + '//' + data.domain
async function call(method, path, body, headers) {
  const sent = {
    Accept: 'application/json', Authorization: 'Bearer ' + token, 'sentry-trace': '0-0', baggage: 'a=1', ...headers,
  }
  if (body !== null && !sent['Content-Type']) sent['Content-Type'] = 'application/json'
  const text = body === null ? undefined : typeof body === 'string' ? body : JSON.stringify(body)
  const answer = await fetch(instance + path, { method, headers: sent, body: text, credentials: 'include' })
  const kind = answer.headers.get('content-type') || ''
  const read = await answer.text()
  return { status: answer.status, kind, body: kind.includes('json') && read ? JSON.parse(read) : read }
}
const heard = []
function listen(doctypes) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(instance.replace('http', 'ws') + '/realtime/', 'io.cozy.websocket')
    socket.onerror = () => reject(new Error('the socket broke'))
    socket.onmessage = (frame) => heard.push(JSON.parse(frame.data))
    socket.onopen = () => {
      socket.send(JSON.stringify({ method: 'AUTH', payload: token }))
      for (const type of doctypes) socket.send(JSON.stringify({ method: 'SUBSCRIBE', payload: { type } }))
      resolve()
    }
  })
}
Object.assign(window, { data, call, listen, heard })
"""
RULES = {
    name: {"type": name}
    for name in (
        FILES, "io.cozy.files.versions", "io.cozy.apps", "io.cozy.contacts", "io.cozy.contacts.groups",
        "io.cozy.sharings", "io.cozy.permissions", "io.cozy.settings", "io.cozy.files.settings",
        "io.cozy.oauth.clients", "io.cozy.jobs",
    )
}  # fmt: skip
ROUTES = {
    "/": {"folder": "/", "index": "index.html", "public": False},
    "/public": {"folder": "/public", "index": "index.html", "public": True},
    "/preview": {"folder": "/public", "index": "index.html", "public": True},
    "/assets": {"folder": "/assets", "public": True},
}


@pytest.fixture(scope="module")
def alice(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Somebody with an app that has the rights of Drive."""
    person = server.add("alice", passphrase="cozy")
    files = {"index.html": PAGE, "public/index.html": PAGE, "assets/drive.1234567890ab.js": SCRIPT}
    folder = write_app(tmp_path_factory.mktemp("drive"), files=files, slug="drive", permissions=RULES, routes=ROUTES)
    install(person, folder, "drive")
    return person


@pytest.fixture
def drive(alice: Person, chromium: Browser) -> Iterator[Drive]:
    """The app, opened by its owner, who is asked to log in on the way."""
    context = chromium.new_context()
    page = context.new_page()
    opened = Drive(page)
    address = alice.instance.app_url("drive")
    page.goto(address)
    page.fill("#password", "cozy")
    page.click("button[type=submit]")
    page.wait_for_url(address)
    yield opened
    context.close()
    assert opened.complaints == []


class Drive:
    """A page of the app, and what the browser complains about: the policy, CORS, errors of scripts."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda line: self._complained(line.text) if line.type == "error" else None)

    def _complained(self, text: str) -> None:
        if not text.startswith("Failed to load resource: the server responded with a status of 40"):
            self.complaints.append(text)

    def call(
        self, method: str, path: str, body: Any = None, *, expect: int = 200, headers: dict[str, str] | None = None
    ) -> Any:
        """The body of an answer of the API."""
        answer = self.page.evaluate("([m, p, b, h]) => call(m, p, b, h)", [method, path, body, headers or {}])
        assert answer["status"] == expect, f"{method} {path}: {answer}"
        return answer["body"]

    def find(self, selector: dict[str, Any], *sort: str, way: str = "asc", **more: Any) -> list[Any]:
        """The files that match, asked as Drive asks: by an index that may not be there yet."""
        query: dict[str, Any] = {"selector": selector, "limit": 100, "skip": 0, **more}
        if sort:
            query["sort"] = [{name: way} for name in sort]
        asked = self.page.evaluate("(query) => call('POST', '/files/_find', query, {})", query)
        if asked["status"] == 400 or "warning" in asked["body"].get("meta", {}):
            self.call("GET", "/data/io.cozy.files/_design_docs?include_docs=true")
            fields = list(sort) or list(selector)
            name = query.get("use_index", "_design/by_something").removeprefix("_design/")
            self.call("POST", "/data/io.cozy.files/_index", {"index": {"fields": fields}, "ddoc": name})
            asked = self.page.evaluate("(query) => call('POST', '/files/_find', query, {})", query)
        assert asked["status"] == 200, asked
        return asked["body"]["data"]

    def heard(self, event: str, what: str) -> dict[str, Any]:
        """The event of a document, when it has come."""
        self.page.wait_for_function(
            "([event, id]) => heard.some(one => one.event === event && one.payload.id === id)", arg=[event, what]
        )
        found = self.page.evaluate(
            "([event, id]) => heard.find(one => one.event === event && one.payload.id === id)", [event, what]
        )
        return found["payload"]

    def new_folder(self, name: str, dir_id: str = ROOT) -> str:
        """Its id."""
        made = self.call("POST", f"/files/{dir_id}?Name={name}&Type=directory&MetadataID=", expect=201)
        return made["data"]["id"]

    def upload(self, name: str, content: str, dir_id: str = ROOT, *, expect: int = 201) -> Any:
        """A file of text; gives the answer."""
        query = (
            f"Name={name}&Type=file&Executable=false&Encrypted=false&MetadataID=&Size=&SourceAccount="
            "&SourceAccountIdentifier=&UpdatedAt=2026-01-02T03:04:05.678Z&CreatedAt=2026-01-02T03:04:05.678Z"
        )
        headers = {"Content-Type": "text/plain"}
        return self.call("POST", f"/files/{dir_id}?{query}", content, expect=expect, headers=headers)


def test_the_app_opens(drive: Drive) -> None:
    data = drive.page.evaluate("data")
    assert data["app"]["slug"] == "drive"
    assert data["isLoggedIn"] is True
    assert data["token"]
    drive.page.evaluate(
        "() => listen(['io.cozy.sharings', 'io.cozy.apps', 'io.cozy.ai.chat.conversations', 'io.cozy.ai.chat.events',"
        " 'io.cozy.files', 'io.cozy.settings'])"
    )
    settings = drive.call("GET", "/settings/instance")["data"]["attributes"]
    assert {"public_name", "locale", "email", "default_redirection", "uuid", "password_defined"} <= settings.keys()
    assert drive.call("GET", "/settings/context")["data"]["attributes"] is not None
    usage = drive.call("GET", "/settings/disk-usage")["data"]["attributes"]
    assert all(isinstance(usage[name], str) for name in ("used", "files", "versions"))
    assert drive.call("GET", "/settings/clients")["data"] == []
    [app] = drive.call("GET", "/apps/")["data"]
    assert {"slug", "name", "icon", "state", "intents"} <= app["attributes"].keys()
    assert {"icon", "related"} <= app["links"].keys()
    sharings = drive.call("GET", "/sharings/doctype/io.cozy.files?shared_docs=false")
    assert sharings["meta"]["count"] == len(sharings["data"])
    assert "links" in drive.call("GET", "/permissions/doctype/io.cozy.files/shared-by-link")
    drives = drive.call("GET", "/sharings/drives")
    assert (drives["data"], drives["meta"]["count"]) == ([], 0)
    rows = drive.call("GET", "/data/io.cozy.files/_all_docs?include_docs=true&limit=100&keys=[]")
    assert rows["rows"] == []
    assert isinstance(drive.call("POST", "/files/_all_docs?include_docs=true", {"keys": []})["data"], list)
    missing = drive.call("GET", "/data/io.cozy.files.settings/_normal_docs?include_docs=true&limit=100", expect=404)
    assert (missing["error"], missing["reason"]) == ("not_found", "Database does not exist.")
    root = drive.call("GET", f"/files/{ROOT}")
    assert "contents" in root["data"]["relationships"]
    assert root["included"]


def test_folders_and_files_are_worked_with(drive: Drive) -> None:
    drive.page.evaluate("() => listen(['io.cozy.files'])")
    folder = drive.new_folder("Letters")
    drive.heard("CREATED", folder)
    file = drive.upload("hello.txt", "hello", folder)["data"]
    assert file["attributes"]["updated_at"] == "2026-01-02T03:04:05.678Z"
    drive.upload("hello.txt", "again", folder, expect=409)

    listed = {
        "dir_id": folder, "type": "file", "name": {"$gt": None}, "_id": {"$nin": CLOSED},
    }  # fmt: skip
    index = "_design/by_dir_id_and_type_and_name_filter_(_id_$nin_(" + "_".join(CLOSED) + "))"
    [found] = drive.find(listed, "dir_id", "type", "name", use_index=index)
    assert (found["id"], found["attributes"]["size"], found["meta"]["rev"][:2]) == (file["id"], "5", "1-")

    attributes = {
        **found["attributes"], "id": file["id"], "_id": file["id"], "_type": FILES, "_rev": found["meta"]["rev"],
        "relationships": found["relationships"], "path": "/Letters/hello.txt", "name": "greeting.txt",
    }  # fmt: skip
    patch = {"data": {"type": FILES, "id": file["id"], "attributes": attributes}}
    renamed = drive.call("PATCH", f"/files/{file['id']}", patch, headers={"Content-Type": "application/vnd.api+json"})
    assert renamed["data"]["attributes"]["name"] == "greeting.txt"
    assert drive.heard("UPDATED", file["id"])["doc"]["name"] == "greeting.txt"

    link = drive.call("POST", f"/files/downloads?Id={file['id']}&Filename=g.txt")["links"]["related"]
    fetched = drive.page.evaluate("(link) => fetch(instance + link).then((answer) => answer.text())", link)
    assert fetched == "hello"
    with drive.page.expect_download() as started:
        drive.page.evaluate("(link) => { location.href = instance + link + '?Dl=1' }", link)
    assert started.value.suggested_filename == "greeting.txt"

    gone = drive.call("DELETE", f"/files/{file['id']}")["data"]["attributes"]
    assert (gone["trashed"], gone["restore_path"]) == (True, "/Letters")
    trashed = {"dir_id": TRASH, "type": "file", "updated_at": {"$gt": None}}
    assert [one["id"] for one in drive.find(trashed, "dir_id", "type", "updated_at", way="desc")] == [file["id"]]
    assert drive.call("POST", f"/files/trash/{file['id']}")["data"]["attributes"]["trashed"] is False
    drive.call("DELETE", f"/files/{file['id']}")
    drive.call("DELETE", f"/files/trash/{file['id']}", expect=204)
    drive.heard("DELETED", file["id"])
    drive.call("DELETE", "/files/trash", expect=204)


@pytest.mark.parametrize(
    ("selector", "sort", "way"),
    [
        (
            {
                "name": {"$gt": None}, "cozyMetadata.favorite": True,
                "path": {"$or": [{"$exists": False}, {"$regex": "^(?!/.cozy_trash)"}]},
                "trashed": {"$or": [{"$exists": False}, {"$eq": False}]},
            },
            ["name"], "desc",
        ),
        ({"metadata.sharing.status": "new", "class": "shortcut", "trashed": False}, [], "asc"),
        ({"name": {"$gt": None}, "cozyMetadata.createdByApp": "nextcloud"}, ["name"], "desc"),
        ({"path": "/Settings/Home"}, [], "asc"),
        (
            {"updated_at": {"$gt": None}, "type": "file", "trashed": False, "dir_id": {"$nin": CLOSED}},
            ["updated_at"], "desc",
        ),
        ({"type": "file", "trashed": False, "metadata.carbonCopy": True}, [], "asc"),
    ],
    ids=["favourites", "news", "mounts", "settings of home", "recent", "safe"],
)  # fmt: skip
def test_the_lists_of_the_app_are_answered(drive: Drive, selector: dict[str, Any], sort: list[str], way: str) -> None:
    name = "_design/by_" + "_and_".join(selector) + "_filter_(path_$regex_^(?!/.cozy_trash))"
    assert isinstance(drive.find(selector, *sort, way=way, use_index=name), list)


def test_somebody_is_invited_by_an_address_typed_by_hand(drive: Drive) -> None:
    drive.call("GET", "/data/io.cozy.contacts.groups/_normal_docs?include_docs=true&limit=100", expect=404)
    by_mail = {"email": {"$elemMatch": {"address": "bob@example.com"}}, "_id": {"$gt": None}}
    query = {"selector": by_mail, "use_index": "_design/by__id", "skip": 0}
    found = drive.page.evaluate("(query) => call('POST', '/data/io.cozy.contacts/_find', query, {})", query)
    assert found["status"] in (200, 400)
    contact = {"email": [{"address": "bob@example.com", "primary": True}], "cozyMetadata": {"metadataVersion": 1}}
    made = drive.call("POST", "/data/io.cozy.contacts/", contact, expect=201)
    assert (made["ok"], made["type"], made["data"]["_rev"]) == (True, "io.cozy.contacts", made["rev"])
    folder = drive.new_folder("Invited")
    rule = {"title": "Invited", "doctype": FILES, "values": [folder], "add": "sync", "update": "sync", "remove": "sync"}
    attributes = {"description": "Invited", "preview_path": "/preview", "open_sharing": True, "rules": [rule]}
    recipients = {"recipients": {"data": [{"id": made["id"], "type": "io.cozy.contacts"}]}}
    body = {"data": {"type": "io.cozy.sharings", "attributes": attributes, "relationships": recipients}}
    sharing = drive.call("POST", "/sharings/", body, expect=201)["data"]
    assert sharing["attributes"]["app_slug"] == "drive"
    assert [member["status"] for member in sharing["attributes"]["members"]] == ["owner", "pending"]


def test_a_stranger_opens_a_link(drive: Drive, alice: Person, chromium: Browser) -> None:
    folder = drive.new_folder("Linked")
    drive.upload("in.txt", "inside", folder)
    rules = {"files": {"type": FILES, "verbs": ["GET"], "values": [folder]}}
    body = {"data": {"type": "io.cozy.permissions", "attributes": {"permissions": rules}}}
    made = drive.call("POST", "/permissions?codes=code", body)["data"]["attributes"]
    assert made["source_id"] == "io.cozy.apps/drive"
    code = made["shortcodes"]["code"]

    context = chromium.new_context()
    stranger = Drive(context.new_page())
    stranger.page.goto(alice.instance.app_url("drive", "/public") + f"?sharecode={code}")
    assert stranger.page.evaluate("data.token") == code
    assert stranger.page.evaluate("data.isLoggedIn") is False
    own = stranger.call("GET", "/permissions/self")["data"]["attributes"]
    assert own["permissions"]["files"]["values"] == [folder]
    shown = stranger.call("GET", f"/files/{folder}")
    assert [one["attributes"]["name"] for one in shown["included"]] == ["in.txt"]
    assert stranger.call("GET", "/settings/instance")["data"]["attributes"]["public_name"] == "Alice"
    stranger.call("GET", "/settings/context")
    for method, path, sent in (
        ("POST", "/files/_find", {"selector": {"dir_id": folder}}), ("GET", "/apps/", None),
        ("GET", "/settings/disk-usage", None), ("GET", "/sharings/doctype/io.cozy.files?shared_docs=false", None),
    ):  # fmt: skip
        assert stranger.call(method, path, sent, expect=403) == {"error": "Forbidden"}
    refused = stranger.call("GET", "/permissions/doctype/io.cozy.files/shared-by-link", expect=403)
    assert refused["errors"][0]["detail"] == "You need GET permission on whole type to list its permissions"
    stranger.call("GET", "/data/io.cozy.files.settings/_normal_docs?include_docs=true&limit=100", expect=403)
    stranger.page.evaluate("() => listen(['io.cozy.sharings', 'io.cozy.apps'])")
    stranger.page.wait_for_function("() => heard.length === 2")
    assert [frame["payload"]["status"] for frame in stranger.page.evaluate("heard")] == ["403 Forbidden"] * 2
    avatar = stranger.page.evaluate("() => fetch(instance + '/public/avatar?fallback=initials').then(a => a.status)")
    assert avatar == 200
    context.close()
    assert stranger.complaints == []
