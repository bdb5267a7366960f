"""A town for the tests of sharings: alice on one server, bob and carol on another, and a server with a script."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage as Message
from email.policy import default as policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest
from tests import moves
from tests.browser_forms import Browser, fields
from tests.moves import eventually
from tests.servers import Person, RunningServer

from inglenook.mail.delivery import folder_of

Body = dict[str, Any]

JSONAPI = "application/vnd.api+json"
TESTS = "io.cozy.tests"
ALL = ("io.cozy.files", "io.cozy.contacts", "io.cozy.contacts.groups", "io.cozy.tests", "io.cozy.settings")
PATIENCE = 60.0


@dataclass
class Town:
    """Three people on two servers."""

    alice: Person
    bob: Person
    carol: Person
    here: RunningServer
    there: RunningServer


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    here = RunningServer(tmp_path_factory.mktemp("here")).start()
    there = RunningServer(tmp_path_factory.mktemp("there")).start()
    yield Town(
        here.add("alice", passphrase="cozy"), there.add("bob", passphrase="cozy"),
        there.add("carol", passphrase="cozy"), here, there,
    )  # fmt: skip
    there.stop()
    here.stop()


@pytest.fixture
def carol2() -> Iterator[Scripted]:
    peer = Scripted("carol2")
    yield peer
    peer.stop()


# -- documents of people


def create(person: Person, doctype: str, body: Body) -> str:
    """A document; gives its id."""
    answer = person.post(f"/data/{doctype}/", *ALL, json_body=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def update(person: Person, doctype: str, id: str, **changes: Any) -> None:
    """Change members of a document (None removes one)."""
    document = person.get(f"/data/{doctype}/{id}", *ALL).json()
    body = {name: value for name, value in {**document, **changes}.items() if value is not None}
    answer = person.put(f"/data/{doctype}/{id}", *ALL, json_body=body)
    assert answer.status_code == 200, answer.text


def contact(person: Person, name: str, *, email: str | None = None, url: str = "", **more: Any) -> str:
    """A contact of somebody's address book."""
    body: Body = {"fullname": name, "email": [{"address": email or f"{name}@example.org"}], **more}
    if email == "":
        del body["email"]
    if url:
        body["cozy"] = [{"url": url}]
    return create(person, "io.cozy.contacts", body)


def group(person: Person, name: str, *contacts: str) -> str:
    """A group of contacts."""
    id = create(person, "io.cozy.contacts.groups", {"name": name})
    for contact_id in contacts:
        join_groups(person, contact_id, id)
    return id


def join_groups(person: Person, contact_id: str, *groups: str) -> None:
    """Put a contact in these groups and no others."""
    data = [{"_id": id, "_type": "io.cozy.contacts.groups"} for id in groups]
    update(person, "io.cozy.contacts", contact_id, relationships={"groups": {"data": data}})


def folder(person: Person, name: str, *files: str) -> str:
    """A folder with small files; gives its id."""
    made = person.post(f"/files/?Type=directory&Name={name}", *ALL)
    assert made.status_code == 201, made.text
    id = made.json()["data"]["id"]
    for file in files:
        sent = person.post(
            f"/files/{id}?Type=file&Name={file}", *ALL, content=file.encode(), headers={"Content-Type": "text/plain"}
        )
        assert sent.status_code == 201, sent.text
    return id


def by_path(person: Person, path: str) -> Body | None:
    """The file or folder at a path."""
    answer = person.get("/files/metadata", *ALL, params={"Path": path})
    return answer.json()["data"] if answer.status_code == 200 else None


# -- sharings


def rule(*values: str, kind: str = "sync", doctype: str = TESTS, **more: Any) -> Body:
    """A rule by identifiers."""
    return {
        "title": "Tests",
        "doctype": doctype,
        "values": list(values),
        "add": kind,
        "update": kind,
        "remove": kind,
        **more,
    }


def people(*contacts: str, groups: tuple[str, ...] = (), readers: tuple[str, ...] = ()) -> Body:
    """The relationships of a body."""
    entries = [{"id": id, "type": "io.cozy.contacts"} for id in contacts]
    entries += [{"id": id, "type": "io.cozy.contacts.groups"} for id in groups]
    found: Body = {"recipients": {"data": entries}}
    if readers:
        found["read_only_recipients"] = {"data": [{"id": id, "type": "io.cozy.contacts"} for id in readers]}
    return found


def share(person: Person, relationships: Body, rules: list[Body] | None = None, **attributes: Any) -> str:
    """A new sharing; gives its id. Without rules, one document of a free doctype is shared."""
    rules = rules or [rule(create(person, TESTS, {"text": "hello"}))]
    attributes = {"description": "Holidays", "open_sharing": True, "rules": rules, **attributes}
    answer = person.post(
        "/sharings/", *ALL, json_body={"data": {"attributes": attributes, "relationships": relationships}}
    )
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]["id"]


def add(person: Person, sharing: str, relationships: Body) -> httpx.Response:
    """Add people to a sharing."""
    return person.post(
        f"/sharings/{sharing}/recipients", *ALL, json_body={"data": {"attributes": {}, "relationships": relationships}}
    )


def attributes(person: Person, sharing: str) -> Body:
    """The attributes of a sharing, as its person sees them."""
    answer = person.get(f"/sharings/{sharing}", *ALL)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["attributes"]


def member(person: Person, sharing: str, index: int = 1) -> Body:
    """One member."""
    return attributes(person, sharing)["members"][index]


def accept(person: Person, sharing: str, state: str) -> httpx.Response:
    """Agree on the page of one's own server."""
    browser = Browser(person)
    browser.login()
    page = browser.get("/auth/authorize/sharing", params={"sharing_id": sharing, "state": state})
    assert page.status_code == 200, page.text
    form = {name: value for name, value in fields(page.text).items() if name}
    return browser.post("/auth/authorize/sharing", data=form)


def state_of(owner: Person, sharing: str, index: int = 1) -> str:
    """The state of an invitation, as the owner's server keeps it."""
    store = owner.instance.store
    document = owner.server.do(lambda _: store.read(lambda view: view.find("io.cozy.sharings", sharing)))
    return document.body["credentials"][index - 1]["state"]


def join(owner: Person, person: Person, sharing: str, index: int = 1) -> None:
    """An invited person agrees."""
    answer = accept(person, sharing, state_of(owner, sharing, index))
    assert answer.status_code == 303, answer.text
    assert member(owner, sharing, index)["status"] == "ready"


def shared_document(owner: Person, person: Person, **more: Any) -> str:
    """A document that is shared by the owner and accepted by the person."""
    sharing = share(owner, people(contact(owner, person.name, url=person.url)), **more)
    join(owner, person, sharing)
    return sharing


def short_code(person: Person, sharing: str) -> str:
    """The short preview code of the first member."""
    store = person.instance.store
    found = person.server.do(lambda _: store.read(lambda view: view.all_docs("io.cozy.permissions", limit=1000)))
    body = next(d.body for d in found if d.body.get("source_id") == f"io.cozy.sharings/{sharing}")
    return next(iter(body["shortcodes"].values()))


def mail_to(person: Person, address: str, *, count: int = 1) -> str:
    """The text of the last of so many mails that somebody's server has written to an address, awaited."""
    place = folder_of(person.server.env.config)

    def found() -> list[str]:
        mails = [message_from_bytes(file.read_bytes(), policy=policy) for file in sorted(place.glob("*.eml"))]
        return [mail.as_string() + "".join(map(_text, mail.walk())) for mail in mails if address in str(mail["To"])]

    eventually(lambda: len(found()) >= count, f"{count} mails to {address} in {place}")
    return found()[-1]


def _text(part: Message) -> str:
    return part.get_payload(decode=True).decode() if part.get_content_type() == "text/plain" else ""


# -- a server that follows a script


@dataclass
class Call:
    """A request that the scripted server got."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.raw.decode()))


Reply = tuple[int, Any]


@dataclass
class Scripted:
    """A server of a member that answers what the test wants, and remembers what it was asked."""

    name: str
    calls: list[Call] = field(default_factory=list[Call])
    script: list[tuple[str, str, Callable[[Call], Reply]]] = field(default_factory=list[Any])
    token: str = "a-token"

    def __post_init__(self) -> None:
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def answer(self) -> None:
                parts = urlsplit(self.path)
                call = Call(
                    method=self.command,
                    path=parts.path,
                    query={name: values[0] for name, values in parse_qs(parts.query).items()},
                    headers={name.lower(): value for name, value in self.headers.items()},
                    raw=self.rfile.read(int(self.headers.get("content-length") or 0)),
                )
                status, body = peer.reply(call)
                peer.calls.append(call)
                moves.note()
                raw = b"" if body is None else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                if status != 204:
                    self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                if status != 204:
                    self.wfile.write(raw)

            do_GET = do_POST = do_PUT = do_DELETE = answer

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://{self.name}.localhost:{self.server.server_address[1]}"

    @property
    def email(self) -> str:
        return f"{self.name}@example.org"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def on(self, method: str, path: str, reply: Reply | Callable[[Call], Reply]) -> None:
        """Answer in another way than usual; the last word counts."""
        self.script.insert(0, (method, path, reply if callable(reply) else lambda _: reply))

    def reply(self, call: Call) -> Reply:
        for method, path, reply in self.script:
            if method == call.method and re.search(path, call.path):
                return reply(call)
        if call.method == "PUT" and re.fullmatch(r"/sharings/[^/]+", call.path):
            return 201, {"data": {}}
        if call.path == "/auth/access_token":
            return 200, {"token_type": "bearer", "access_token": "renewed", "scope": ""}
        if call.path.endswith(("_revs_diff", "_bulk_docs")):
            return 200, {} if call.path.endswith("_revs_diff") else []
        return 204, None

    def got(self, method: str, path: str, count: int = 1) -> Call:
        """The last of so many requests of a kind, awaited."""

        def found() -> list[Call]:
            return [call for call in self.calls if call.method == method and re.search(path, call.path)]

        eventually(lambda: len(found()) >= count, f"{count} x {method} {path}")
        return found()[count - 1]

    def count(self, method: str, path: str) -> int:
        return sum(1 for call in self.calls if call.method == method and re.search(path, call.path))

    def credentials(self, sharing: str) -> Body:
        """What a member's server gives in its answer."""
        scope = f"io.cozy.sharings:ALL:{sharing}"
        client = {"client_id": f"{self.name}-client", "client_secret": "s", "client_name": "Sharing"}
        token = {"token_type": "bearer", "access_token": self.token, "refresh_token": "r-token", "scope": scope}
        return {"client": {**client, "client_kind": "sharing"}, "access_token": token}

    def answer(self, owner: Person, sharing: str, state: str, **more: Any) -> httpx.Response:
        """Accept a sharing of the owner."""
        sent = {"state": state, "public_name": self.name.capitalize(), **self.credentials(sharing), **more}
        return owner.post(
            f"/sharings/{sharing}/answer", json_body={"data": {"type": "io.cozy.sharings.answer", "attributes": sent}}
        )

    def join(self, owner: Person, sharing: str, index: int = 1) -> str:
        """Accept; gives the token to call the owner."""
        answer = self.answer(owner, sharing, state_of(owner, sharing, index))
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]["attributes"]["access_token"]["access_token"]

    def answer_again(self, owner: Person, sharing: str, index: int = 1, **more: Any) -> str:
        """Answer with more than the first time; gives the new token to call the owner."""
        answer = self.answer(owner, sharing, state_of(owner, sharing, index), **more)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]["attributes"]["access_token"]["access_token"]

    def invites(self, person: Person, sharing: str, description: str = "From afar", **more: Any) -> httpx.Response:
        """Send a request as the server of an owner."""
        sent = {
            "description": description, "app_slug": "drive", "open_sharing": True, "created_at": "2026-01-02T03:04:05Z",
            "updated_at": "2026-01-02T03:04:05Z", "rules": [rule("0123456789abcdef")],
            "members": [
                {"status": "owner", "public_name": "Carol2", "email": self.email, "instance": self.url},
                {"status": "pending", "email": f"{person.name}@example.com", "instance": person.url},
            ], **more,
        }  # fmt: skip
        query = {"shortcut": "true", "url": f"{self.url}/sharings/{sharing}/discovery?state=s"}
        return person.put(
            f"/sharings/{sharing}", params=query,
            json_body={"data": {"type": "io.cozy.sharings", "id": sharing, "attributes": sent}},
        )  # fmt: skip

    def shares(self, person: Person, sharing: str, **more: Any) -> str:
        """A sharing of this server that the person has accepted; gives the token to call him."""
        assert self.invites(person, sharing, **more).status_code == 201
        before = self.count("POST", f"/sharings/{sharing}/answer$")
        key = base64.b64encode(bytes(range(16))).decode()
        reply = {"data": {"attributes": {**self.credentials(sharing), "xor_key": key}}}
        self.on("POST", f"/sharings/{sharing}/answer$", (200, reply))
        assert accept(person, sharing, "any").status_code == 303
        sent = self.got("POST", f"/sharings/{sharing}/answer$", before + 1).json["data"]["attributes"]
        return sent["access_token"]["access_token"]
