"""People with an instance: what they do by their client, and in their browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from tests.browser_forms import fields, hashed

from .processes import Server, eventually

ROOT = "io.cozy.files.root-dir"
TRASH = "io.cozy.files.trash-dir"
INBOX = "/Inbox of sharings"
SCOPES = (
    "io.cozy.files io.cozy.files.versions io.cozy.contacts io.cozy.contacts.groups io.cozy.sharings io.cozy.tests "
    "io.cozy.settings io.cozy.photos.albums com.bitwarden.ciphers"
)
JSONAPI = "application/vnd.api+json"
PASSPHRASE = "correct horse"

Body = dict[str, Any]
Tree = dict[str, tuple[str, ...]]


@dataclass
class Person:
    """Somebody at `name.localhost` on a server."""

    server: Server
    name: str
    token: str = ""
    cookies: dict[str, str] = field(default_factory=dict[str, str])
    _http: httpx.Client | None = None
    _life: int = 0

    @property
    def domain(self) -> str:
        """The domain with its port."""
        return f"{self.name}.localhost:{self.server.port}"

    @property
    def url(self) -> str:
        """The origin of the instance."""
        return f"http://{self.domain}"

    @property
    def email(self) -> str:
        """The mail address."""
        return f"{self.name}@example.com"

    def move_in(self, *, quota: str = "") -> Person:
        """Get an instance, and a token for its client."""
        about = ["--email", self.email, "--public-name", self.name.capitalize(), "--passphrase", PASSPHRASE]
        limit = ["--disk-quota", quota] if quota else []
        self.server.ask("instances", "add", self.domain, *about, *limit)
        self.token = self.server.ask("instances", "token-cli", self.domain, SCOPES)
        return self

    # -- as a client

    @property
    def http(self) -> httpx.Client:
        """Connections to the present life of the server."""
        if self._http is None or self._life != self.server.lives:
            self._http = httpx.Client(base_url=self.server.origin, timeout=120, trust_env=False)
            self._life = self.server.lives
        return self._http

    def call(self, method: str, path: str, *, body: Any = None, **rest: Any) -> httpx.Response:
        """A request with the token; `body` is sent as JSON."""
        headers = {"Host": self.domain, "Authorization": f"Bearer {self.token}", **rest.pop("headers", {})}
        if body is not None:
            rest["content"] = json.dumps(body)
            headers.setdefault("Content-Type", "application/json" if path.startswith("/data/") else JSONAPI)
        return self.http.request(method, path, headers=headers, **rest)

    def do(self, method: str, path: str, **rest: Any) -> Any:
        """A request that must succeed; gives the decoded answer."""
        answer = self.call(method, path, **rest)
        assert answer.status_code < 300, f"{self.name}: {method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    # -- files

    def mkdir(self, name: str, parent: str = ROOT) -> str:
        """A new folder; gives its id."""
        return self.do("POST", f"/files/{parent}?Type=directory&Name={quote(name, safe='')}")["data"]["id"]

    def upload(self, name: str, content: bytes = b"", parent: str = ROOT, kind: str = "text/plain") -> str:
        """A new file; gives its id."""
        path = f"/files/{parent}?Type=file&Name={quote(name, safe='')}"
        return self.do("POST", path, content=content, headers={"Content-Type": kind})["data"]["id"]

    def overwrite(self, id: str, content: bytes) -> None:
        """Give a file another content; once more when a change from another side has come in between."""
        for last in (False, True):
            answer = self.call("PUT", f"/files/{id}", content=content, headers={"Content-Type": "text/plain"})
            if answer.status_code != 409 or last:
                assert answer.status_code == 200, f"{self.name}: {answer.status_code} {answer.text[:500]}"
                return

    def change(self, id: str, **attributes: Any) -> None:
        """Rename, move, tag."""
        self.do("PATCH", f"/files/{id}", body={"data": {"type": "io.cozy.files", "id": id, "attributes": attributes}})

    def trash(self, id: str) -> None:
        """Put into the trash."""
        self.do("DELETE", f"/files/{id}")

    def restore(self, id: str) -> None:
        """Take out of the trash."""
        self.do("POST", f"/files/trash/{id}")

    def destroy(self, id: str) -> None:
        """Delete for ever, in the trash or not."""
        self.change(id, permanent_delete=True)

    def show(self, id: str) -> Body:
        """A file or folder."""
        return self.do("GET", f"/files/{id}")["data"]

    def rev(self, id: str) -> str:
        """The revision of a file or folder."""
        return self.show(id)["meta"]["rev"]

    def read(self, id: str) -> bytes:
        """The content of a file."""
        answer = self.call("GET", f"/files/download/{id}")
        assert answer.status_code == 200, answer.text
        return answer.content

    def children(self, id: str) -> dict[str, Body]:
        """What lies in a folder, by name; nothing in one that went away in the meantime."""
        found: dict[str, Body] = {}
        path = f"/files/{id}?page[limit]=1000"
        while path:
            answer = self.call("GET", path)
            if answer.status_code == 404:
                return found
            assert answer.status_code == 200, answer.text
            page = answer.json()
            found.update({item["attributes"]["name"]: item for item in page.get("included") or ()})
            path = (page.get("links") or {}).get("next", "")
        return found

    def tree(self, id: str) -> Tree:
        """Everything below a folder: path → (`file`, size, md5) or (`directory`,)."""
        found: Tree = {}
        for name, item in self.children(id).items():
            attributes = item["attributes"]
            if attributes["type"] == "file":
                found[name] = ("file", attributes["size"], attributes["md5sum"])
            else:
                found[name] = ("directory",)
                found.update({f"{name}/{path}": entry for path, entry in self.tree(item["id"]).items()})
        return found

    def find(self, dir_id: str, path: str) -> str:
        """The id of what lies at a path below a folder, empty when there is nothing."""
        id = dir_id
        for name in path.split("/"):
            item = self.children(id).get(name)
            if item is None:
                return ""
            id = item["id"]
        return id

    def at(self, path: str) -> Body | None:
        """What lies at an absolute path."""
        answer = self.call("GET", "/files/metadata", params={"Path": path})
        return answer.json()["data"] if answer.status_code == 200 else None

    # -- documents

    def create(self, doctype: str, body: Body) -> str:
        """A new document; gives its id."""
        return self.do("POST", f"/data/{doctype}/", body=body)["id"]

    def document(self, doctype: str, id: str) -> Body | None:
        """A document, None when there is none."""
        answer = self.call("GET", f"/data/{doctype}/{id}")
        assert answer.status_code in (200, 404), answer.text
        return answer.json() if answer.status_code == 200 else None

    def update(self, doctype: str, id: str, **changes: Any) -> str:
        """Change members of a document; gives its new revision."""
        body = self.do("GET", f"/data/{doctype}/{id}")
        return self.do("PUT", f"/data/{doctype}/{id}", body={**body, **changes})["rev"]

    def delete(self, doctype: str, id: str) -> None:
        """Delete a document."""
        rev = self.do("GET", f"/data/{doctype}/{id}")["_rev"]
        self.do("DELETE", f"/data/{doctype}/{id}", params={"rev": rev})

    def contact(self, name: str, email: str, url: str = "") -> str:
        """Somebody in the address book; gives the id."""
        body: Body = {"fullname": name.capitalize(), "email": [{"address": email, "primary": True}]}
        if url:
            body["cozy"] = [{"url": url, "primary": True}]
        return self.create("io.cozy.contacts", body)

    # -- sharings

    def share(self, title: str, rules: list[Body], contacts: list[str], readers: list[str] | None = None) -> str:
        """Share, and invite; gives the id of the sharing."""
        relationships: Body = {"recipients": {"data": [{"id": id, "type": "io.cozy.contacts"} for id in contacts]}}
        if readers:
            listed = [{"id": id, "type": "io.cozy.contacts"} for id in readers]
            relationships["read_only_recipients"] = {"data": listed}
        data = {
            "type": "io.cozy.sharings",
            "attributes": {"description": title, "open_sharing": True, "rules": rules},
            "relationships": relationships,
        }
        return self.do("POST", "/sharings/", body={"data": data})["data"]["id"]

    def sharing(self, id: str) -> Body:
        """The attributes of a sharing."""
        return self.do("GET", f"/sharings/{id}")["data"]["attributes"]

    def invitation(self, title: str) -> str:
        """The link behind the shortcut of an invitation, awaited."""
        shortcut = eventually(lambda: self.at(f"{INBOX}/{title}.url"), f"the invitation to {title} at {self.name}'s")
        found = re.search(rb"URL=(\S+)", self.read(shortcut["id"]))
        assert found is not None
        return found[1].decode()

    def accept(self, link: str) -> None:
        """Follow the link of an invitation as a browser does, to the page of one's own server, and agree there."""
        place = self.follow(link)
        parts = urlsplit(place)
        assert f"{parts.scheme}://{parts.netloc}" == self.url, place
        self.agree(f"{parts.path}?{parts.query}")

    def follow(self, link: str) -> str:
        """Open a link of another server; gives where it leads."""
        parts = urlsplit(link)
        with httpx.Client(trust_env=False, timeout=120) as http:
            answer = http.get(
                f"http://127.0.0.1:{parts.port}{parts.path}?{parts.query}", headers={"Host": parts.netloc}
            )
        assert answer.status_code in (302, 303), answer.text
        return answer.headers["location"]

    def agree(self, path: str) -> None:
        """Fill in the form of the page on which a sharing is accepted."""
        if not self.cookies:
            self.login()
        page = self.browse("GET", path)
        assert page.status_code == 200, page.text
        form = {name: value for name, value in fields(page.text).items() if name}
        answer = self.browse("POST", "/auth/authorize/sharing", data=form)
        assert answer.status_code == 303, answer.text

    # -- as a browser

    def browse(self, method: str, path: str, **rest: Any) -> httpx.Response:
        """A request of the browser, which keeps its cookies and follows no redirect."""
        headers = {"Host": self.domain, "Cookie": "; ".join(f"{n}={v}" for n, v in self.cookies.items())}
        answer = self.http.request(method, path, headers=headers, **rest)
        for line in answer.headers.get_list("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            if "Max-Age=0" in line or not value:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return answer

    def login(self) -> None:
        """Log in by the form."""
        form = fields(self.browse("GET", "/auth/login").text)
        sent = {**form, "passphrase": hashed(PASSPHRASE, self.domain), "long-run-session": "false"}
        answer = self.browse("POST", "/auth/login", data=sent)
        assert answer.status_code == 303, answer.text


def folder_rule(title: str, id: str, *, kind: str = "sync", **more: str) -> Body:
    """The rule that shares a folder."""
    return {
        "title": title,
        "doctype": "io.cozy.files",
        "values": [id],
        "add": kind,
        "update": kind,
        "remove": kind,
        **more,
    }


def md5(content: bytes) -> str:
    """The MD5 of a content, as file documents carry it."""
    return base64.b64encode(hashlib.md5(content).digest()).decode()


@dataclass
class Shared:
    """A folder shared by its owner: `places` are its ids on the servers of its members, by name."""

    id: str
    title: str
    owner: Person
    members: list[Person]
    places: dict[str, str]

    def place(self, person: Person) -> str:
        """The folder at somebody's."""
        return self.places[person.name]

    def agree(self, *names: str, seconds: float = 120.0) -> Tree:
        """Wait until all members have the same tree (with these names, when they are given); gives it."""
        expected = set(names)

        def same() -> Tree | None:
            trees = [person.tree(self.place(person)) for person in self.members]
            right = all(tree == trees[0] for tree in trees) and (not expected or set(trees[0]) == expected)
            return (trees[0] or {".": ()}) if right else None

        try:
            return eventually(same, seconds=seconds)
        except AssertionError:
            trees = {person.name: person.tree(self.place(person)) for person in self.members}
            raise AssertionError(f"{self.title}: wanted {sorted(expected)}, the trees differ: {trees}") from None

    def revisions_agree(self, path: str) -> None:
        """Wait until a file or folder has the same revision everywhere."""

        def same() -> bool:
            return len({p.rev(p.find(self.place(p), path)) for p in self.members}) == 1

        eventually(same, f"the same revision of {path} everywhere")


def share_folder(owner: Person, title: str, others: list[Person], readers: list[Person] | None = None) -> Shared:
    """Share a folder of the owner (made unless it is there), and let everybody accept in the browser."""
    found = owner.at(f"/{title}")
    root = found["id"] if found else owner.mkdir(title)
    readers = readers or []
    contacts = {p.name: owner.contact(p.name, p.email, p.url) for p in [*others, *readers]}
    id = owner.share(
        title, [folder_rule(title, root)], [contacts[p.name] for p in others], [contacts[p.name] for p in readers]
    )
    places = {owner.name: root}
    for person in [*others, *readers]:
        person.accept(person.invitation(title))
    for person in [*others, *readers]:
        place = eventually(lambda p=person: p.at(f"{INBOX}/{title}"), f"the folder {title} at {person.name}'s")
        places[person.name] = place["id"]
    return Shared(id, title, owner, [owner, *others, *readers], places)
