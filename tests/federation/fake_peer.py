"""A server of another make, written from spec/04, spec/05 and the recorded exchanges alone.

It plays the owner or a recipient against a real server. It is strict: every request that it gets is held against
the specification, and what differs is kept in `faults`. What it answers can be replaced by `on`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import httpx

from . import fake_life
from .people import INBOX, JSONAPI, Person, md5
from .processes import eventually

Body = dict[str, Any]
JSON = "application/json"
FILES = "io.cozy.files"
SCOPE = "io.cozy.sharings:ALL:"
LOCAL_MEMBERS = ("path", "not_synchronized_on", "referenced_by")
"""Members of a file document that must not travel (spec/05 §11, rules by id)."""


def xor(id: str, key: bytes) -> str:
    """An id under the key of a pair (spec/05 §4.2)."""
    digits = "0123456789abcdef"
    return "".join(
        digits[int(c, 16) ^ key[i % len(key)]] if c in "0123456789abcdefABCDEF" else c for i, c in enumerate(id)
    )


def make_id(*parts: object) -> str:
    """An id that is the same whenever it is asked for."""
    return hashlib.md5(repr(parts).encode()).hexdigest()


def revision(generation: int, *parts: object) -> str:
    """A revision that is the same whenever it is asked for."""
    return f"{generation}-{make_id(generation, *parts)}"


def history(*revs: str) -> Body:
    """`_rev` and `_revisions` of revisions given from the oldest to the newest."""
    return {
        "_rev": revs[-1],
        "_revisions": {"start": int(revs[-1].partition("-")[0]), "ids": [r.partition("-")[2] for r in reversed(revs)]},
    }


@dataclass
class Call:
    """A request that the peer got."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    raw: bytes
    chunked: bool

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.raw)

    @property
    def form(self) -> dict[str, str]:
        """The fields of a form."""
        return dict(parse_qsl(self.raw.decode()))

    def json_or_none(self) -> Any:
        """The decoded body, None when there is no JSON in it."""
        try:
            return self.json
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.method} {self.path}?{self.query}"


@dataclass
class Reply:
    """What is answered. `raw` is sent as it is; `headers` come on top. After a `cut` the connection is closed."""

    status: int
    body: Any = None
    kind: str = JSON
    headers: dict[str, str] = field(default_factory=dict[str, str])
    raw: bytes | None = None
    cut: bool = False

    @property
    def content(self) -> bytes:
        """The bytes of the body."""
        if self.raw is not None:
            return self.raw
        return b"" if self.status == 204 else json.dumps(self.body).encode()


Handler = Callable[[Call], Reply]


@dataclass
class Kept:
    """A document as the peer has it."""

    document: Body
    revs: set[str]
    content: bytes = b""

    @property
    def rev(self) -> str:
        """Its revision."""
        return self.document["_rev"]


@dataclass
class Deal:
    """A sharing as the peer knows it. `key` is the XOR key of the pair.

    `mine` is the token by which the other side calls the peer, `theirs` the one by which the peer calls them."""

    id: str
    owner: bool
    other: str
    rules: list[Body]
    key: bytes = b""
    mine: str = ""
    former: list[str] = field(default_factory=list[str])
    theirs: str = ""
    refresh: str = ""
    client: Body = field(default_factory=dict[str, Any])
    verb: str = "ALL"
    url: str = ""
    initial: bool = True
    ended: bool = False
    files_announced: int = 0
    kept: dict[str, Kept] = field(default_factory=dict[str, Kept])
    removed: set[str] = field(default_factory=set[str])
    members: list[Body] = field(default_factory=list[Body])
    groups: list[Body] = field(default_factory=list[Body])
    description: str = ""
    read_only: bool = False
    refused: list[Body] = field(default_factory=list[Body])
    uploads: dict[str, Body] = field(default_factory=dict[str, Any])
    sent: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    @property
    def root(self) -> str:
        """The id of the shared folder at the peer's."""
        return self.rules[0]["values"][0]

    @property
    def inbound_root(self) -> str:
        """The id of the shared folder on the other side."""
        return xor(self.root, self.key) if self.owner else self.root

    def named(self, name: str) -> Kept | None:
        """The document with a name."""
        return next((kept for kept in list(self.kept.values()) if kept.document.get("name") == name), None)


class FakePeer:
    """The server of one person."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: list[Call] = []
        self.faults: list[str] = []
        self.deals: dict[str, Deal] = {}
        self._script: list[tuple[str, re.Pattern[str], Handler]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._lock = threading.RLock()
        self.port = self._server.server_address[1]
        self.http = httpx.Client(trust_env=False, timeout=120)

    @property
    def domain(self) -> str:
        """The domain with its port."""
        return f"{self.name}.localhost:{self.port}"

    @property
    def url(self) -> str:
        """The origin."""
        return f"http://{self.domain}"

    @property
    def email(self) -> str:
        """The mail address of its person."""
        return f"{self.name}@example.com"

    def start(self) -> FakePeer:
        """Begin to answer."""
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()

    def on(self, method: str, path: str, handler: Handler) -> Callable[[], None]:
        """Answer requests whose path matches in another way; gives the function that ends this."""
        entry = (method, re.compile(path), handler)
        self._script.insert(0, entry)
        return lambda: self._script.remove(entry)

    def got(self, method: str, path: str) -> list[Call]:
        """The requests of a kind so far."""
        return [call for call in list(self.calls) if call.method == method and re.search(path, call.path)]

    def awaits(self, method: str, path: str, count: int = 1) -> Call:
        """The request of a kind with this number, awaited."""
        eventually(lambda: len(self.got(method, path)) >= count, f"{self.name} gets {count} x {method} {path}")
        return self.got(method, path)[count - 1]

    # -- the life of a sharing

    def invite(self, person: Person, title: str, *, files: int = 0, rules: list[Body] | None = None) -> Deal:
        """As an owner: send a request, and let the person accept it on the page of their server (spec/04 §6, §12)."""
        id = make_id(self.name, title, "sharing")
        rules = rules or [self.rule(title, make_id(self.name, title, "root"))]
        deal = Deal(id, owner=True, other=person.url, rules=rules, key=bytes(hashlib.md5(id.encode()).digest()))
        deal.key = bytes(byte & 15 for byte in deal.key)
        self.deals[id] = deal
        attributes = {
            "triggers": {}, "open_sharing": True, "description": title, "app_slug": "",
            "created_at": "2026-11-21T20:56:41.298Z", "updated_at": "2026-11-21T20:56:41.298Z",
            "rules": [{**rule, "values": values_for(rule, deal.key)} for rule in rules],
            "members": [
                {"status": "owner", "public_name": self.name.capitalize(), "email": self.email, "instance": self.url},
                {"status": "pending", "email": person.email, "instance": person.url},
            ],
            **({"initial_number_of_files_to_sync": files} if files else {}),
        }  # fmt: skip
        data = {
            "type": "io.cozy.sharings", "id": id, "attributes": attributes, "meta": {},
            "links": {"self": f"/sharings/{id}"}, "relationships": {"shared_docs": {"data": None}},
        }  # fmt: skip
        link = quote(f"{self.url}/sharings/{id}/discovery?state=opensesame", safe="")
        answer = self._request(
            person.url, "PUT", f"/sharings/{id}?shortcut=true&url={link}", kind=JSONAPI, json_body={"data": data}
        )
        assert answer.status_code == 201, answer.text
        assert answer.json()["data"]["id"] == id
        assert person.at(f"{INBOX}/{title}.url"), "a shortcut in the inbox of sharings"
        person.agree(f"/auth/authorize/sharing?sharing_id={id}&state=opensesame")
        assert deal.theirs, "the answer has come"
        return deal

    @staticmethod
    def rule(title: str, value: str, doctype: str = FILES, **more: Any) -> Body:
        """A rule by id, both ways."""
        ways = {"add": "sync", "update": "sync", "remove": "sync"}
        return {"title": title, "doctype": doctype, "values": [value], **ways, **more}

    def join(self, owner: Person, sharing: str, *, verb: str = "ALL") -> Deal:
        """As a recipient: open the link of the invitation, and answer (spec/04 §10, §12); who may only read gets
        a token with the verb GET."""
        deal = eventually(lambda: self.deals.get(sharing), "the request")
        deal.verb = verb
        parts = urlsplit(deal.url)
        found = self.http.get(
            f"http://127.0.0.1:{parts.port}{parts.path}?{parts.query}", headers={"Host": parts.netloc}
        )
        assert found.status_code == 302, found.text
        assert found.headers["location"].startswith(f"{self.url}/auth/authorize/sharing?sharing_id={sharing}&state=")
        state = found.headers["location"].partition("state=")[2]
        deal.mine = token(sharing, self.name)
        sent = {
            "state": state, "client": self._client(owner.url), "access_token": self._tokens(deal),
            "public_name": self.name.capitalize(),
        }  # fmt: skip
        data = {"type": "io.cozy.sharings.answer", "id": sharing, "attributes": sent, "meta": {}}
        answer = self._request(owner.url, "POST", f"/sharings/{sharing}/answer", kind=JSONAPI, json_body={"data": data})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith(JSONAPI)
        given = answer.json()["data"]
        assert (given["type"], given["id"]) == ("io.cozy.sharings.answer", sharing)
        self._take(deal, given["attributes"])
        deal.key = base64.b64decode(given["attributes"]["xor_key"], validate=True)
        assert len(deal.key) == 16
        assert max(deal.key) < 16
        return deal

    def _take(self, deal: Deal, given: Body) -> None:
        for name in ("client_id", "client_secret", "registration_access_token"):
            self._expect(bool(given["client"].get(name)), f"client without {name}")
        self._expect(given["client"].get("client_kind") == "sharing", "client_kind is sharing")
        self._expect(
            given["client"].get("redirect_uris") == [f"{self.url}/sharings/answer"], "redirect_uris of the client"
        )
        self._expect(given["access_token"].get("token_type") == "bearer", "token_type bearer")
        scope = f"io.cozy.sharings:{deal.verb}:{deal.id}"
        self._expect(given["access_token"].get("scope") == scope, "the scope of the token")
        deal.client = given["client"]
        deal.theirs = given["access_token"]["access_token"]
        deal.refresh = given["access_token"]["refresh_token"]

    def _client(self, other: str) -> Body:
        return {
            "client_id": make_id("client", other), "client_secret": "c2VjcmV0", "client_secret_expires_at": 0,
            "registration_access_token": "eyJ0.e30.cmVn", "redirect_uris": [f"{other}/sharings/answer"],
            "client_name": "Sharing", "client_kind": "sharing", "client_uri": f"{other}/",
            "software_id": "github.com/cozy/cozy-stack",
        }  # fmt: skip

    def _tokens(self, deal: Deal) -> Body:
        refresh = token(deal.id, self.name, "refresh")
        return {
            "token_type": "bearer", "access_token": deal.mine, "refresh_token": refresh, "scope": f"{SCOPE}{deal.id}"
        }  # fmt: skip

    # -- requests of the peer

    def send(
        self,
        deal: Deal,
        method: str,
        path: str,
        body: Any = None,
        *,
        content: Any = None,
        kind: str = JSON,
        accept: str = JSON,
        bearer: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """A request below `/sharings/<id>` with the token that the other side gave."""
        given = {"Authorization": f"Bearer {deal.theirs if bearer is None else bearer}", **(headers or {})}
        if bearer == "":
            del given["Authorization"]
        path = f"/sharings/{deal.id}{path}"
        return self._request(
            deal.other, method, path, kind=kind, accept=accept, json_body=body, content=content, headers=given
        )

    def _request(
        self,
        origin: str,
        method: str,
        path: str,
        *,
        kind: str,
        accept: str = "",
        json_body: Any = None,
        content: Any = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        parts = urlsplit(origin)
        given = {"Host": parts.netloc, "User-Agent": "go-cozy-client", "Accept": accept or kind, **(headers or {})}
        if json_body is not None:
            content = json.dumps(json_body).encode()
        if content is not None:
            given["Content-Type"] = kind
        return self.http.request(method, f"http://127.0.0.1:{parts.port}{path}", headers=given, content=content)

    def send_bulk(self, deal: Deal, *documents: Body, doctype: str = FILES) -> httpx.Response:
        """Documents under ids of the other side."""
        deal.sent.update((xor(d["_id"], deal.key), d["_rev"]) for d in documents if {"_id", "_rev"} <= set(d))
        return self.send(deal, "POST", "/_bulk_docs", {doctype: list(documents)})

    def announce(self, deal: Deal, document: Body) -> httpx.Response:
        """The metadata of a file."""
        deal.sent.add((xor(document["_id"], deal.key), document.get("_rev", "")))
        path = f"/io.cozy.files/{document['_id']}/metadata?from={quote(self.domain, safe='')}"
        return self.send(deal, "PUT", path, document)

    def upload(
        self, deal: Deal, key: str, content: bytes | Iterable[bytes], kind: str = "text/plain"
    ) -> httpx.Response:
        """A content, in chunks without a length."""
        chunks = [content] if isinstance(content, bytes) else content
        path = f"/io.cozy.files/{key}?from={quote(self.domain, safe='')}"
        return self.send(deal, "PUT", path, content=iter(chunks), kind=kind, accept="*/*")

    def send_file(self, deal: Deal, document: Body, content: bytes) -> None:
        """Metadata, then the content, which must be wanted."""
        answer = self.announce(deal, document)
        assert answer.status_code == 200, answer.text
        assert set(answer.json()) == {"key"}
        assert re.fullmatch(r"[0-9a-f]{16}", answer.json()["key"])
        taken = self.upload(deal, answer.json()["key"], content)
        assert (taken.status_code, taken.content) == (204, b""), taken.text

    def file(self, deal: Deal, name: str, content: bytes, *revs: str, id: str = "", **more: Any) -> Body:
        """A file document for the other side, under its ids; `id` is the peer's own."""
        revs = revs or (revision(1, name),)
        return {
            "_id": xor(id or make_id(deal.id, name), deal.key), **history(*revs), "type": "file", "name": name,
            "size": str(len(content)), "md5sum": md5(content), "mime": "text/plain", "class": "text",
            "executable": False, "encrypted": False, "trashed": False, "created_at": "2026-11-21T20:56:41.230Z",
            "updated_at": "2026-11-21T20:56:41.230Z", "cozyMetadata": self.stamp(), **more,
        }  # fmt: skip

    def folder(self, deal: Deal, name: str, *revs: str, id: str = "", **more: Any) -> Body:
        """A folder document for the other side."""
        revs = revs or (revision(1, name),)
        return {
            "_id": xor(id or make_id(deal.id, name), deal.key), **history(*revs), "type": "directory", "name": name,
            "created_at": "2026-11-21T20:56:41.216Z", "updated_at": "2026-11-21T20:56:41.216Z", "tags": [],
            "cozyMetadata": self.stamp(), **more,
        }  # fmt: skip

    def stamp(self) -> Body:
        """The `cozyMetadata` of something made at this peer's."""
        now = "2026-11-21T20:56:41.216Z"
        return {
            "createdAt": now, "updatedAt": now, "createdOn": f"{self.url}/", "doctypeVersion": "1", "metadataVersion": 1
        }  # fmt: skip

    # -- requests to the peer

    def answer(self, call: Call) -> Reply:
        """What is answered to a request."""
        self._check_common(call)
        for method, path, handler in list(self._script):
            if method == call.method and path.search(call.path):
                return handler(call)
        return self.usual(call)

    def usual(self, call: Call) -> Reply:
        """What is answered when nothing else was asked for by `on`."""
        if call.path == "/auth/access_token":
            return self._renew(call)
        matched = re.fullmatch(r"/sharings/([^/]+)(/.*)?", call.path)
        if matched is None:
            return not_found("not_found", "missing")
        id, rest = matched[1], matched[2] or ""
        if call.method == "PUT" and not rest:
            return self._take_request(call, id)
        deal = self.deals.get(id)
        if deal is None:
            return not_found("not_found", "missing")
        if call.method == "POST" and rest == "/answer":
            return self._take_answer(call, deal)
        if (open_call := fake_life.take_without_token(call, deal, rest)) is not None:
            self.faults += open_call.faults
            return Reply(open_call.status, open_call.body, open_call.kind)
        # those before the last renewal are good for a while: another process may not know of the renewal yet
        if call.headers.get("authorization") not in {f"Bearer {mine}" for mine in (deal.mine, *deal.former)}:
            self.faults.append(f"{call}: another token than the one of this sharing")
            return Reply(
                400, {"error": "Invalid JWT token"}, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'}
            )
        with self._lock:
            return self._below(call, deal, rest)

    def _below(self, call: Call, deal: Deal, rest: str) -> Reply:
        if call.method == "DELETE" and rest == "/initial":
            self._expect(not deal.owner and not call.raw, f"{call}: from an owner, without a body")
            deal.initial = False
            return Reply(204)
        if call.method == "POST" and rest == "/_revs_diff":
            return self._revs_diff(call, deal)
        if call.method == "POST" and rest == "/_bulk_docs":
            return self._bulk_docs(call, deal)
        if matched := re.fullmatch(r"/io\.cozy\.files/([^/]+)/metadata", rest):
            return self._metadata(call, deal, matched[1])
        if matched := re.fullmatch(r"/io\.cozy\.files/([^/]+)", rest):
            if call.method == "PUT":
                return self._content(call, deal, matched[1])
            return self._folder(deal, matched[1])
        if call.method == "POST" and rest == "/reupload":
            return Reply(204)
        if (taken := fake_life.take(call, deal, rest)) is not None:
            self.faults += taken.faults
            return Reply(taken.status, taken.body, taken.kind)
        self.faults.append(f"{call}: no such route")
        return Reply(404, {"errors": []}, JSONAPI)

    def _take_request(self, call: Call, id: str) -> Reply:
        self._expect("authorization" not in call.headers, f"{call}: a request comes without a token")
        self._expect(call.headers.get("content-type") == JSONAPI, f"{call}: content type of a request")
        data = call.json["data"]
        attributes = data["attributes"]
        self._expect(data["type"] == "io.cozy.sharings" and data["id"] == id, f"{call}: type and id")
        self._expect("credentials" not in attributes, f"{call}: no credentials in a request")
        self._expect(all("name" not in member for member in attributes["members"]), f"{call}: no private names")
        self._expect(data["relationships"] == {"shared_docs": {"data": None}}, f"{call}: shared_docs is null")
        query = httpx.QueryParams(call.query)
        deal = self.deals.setdefault(id, Deal(id, False, attributes["members"][0]["instance"], attributes["rules"]))
        deal.files_announced = attributes.get("initial_number_of_files_to_sync", 0)
        deal.url = query.get("url", deal.url)
        deal.rules, deal.members, deal.ended = attributes["rules"], attributes["members"], False
        deal.description = attributes.get("description", "")
        return Reply(201, {"data": {**data, "meta": {"rev": "1-aa"}}}, JSONAPI)

    def _take_answer(self, call: Call, deal: Deal) -> Reply:
        self._expect("authorization" not in call.headers, f"{call}: an answer comes without a token")
        self._expect(call.headers.get("content-type") == JSONAPI, f"{call}: content type of an answer")
        self._expect(call.headers.get("accept") == JSONAPI, f"{call}: accept of an answer")
        data = call.json["data"]
        self._expect(data["type"] == "io.cozy.sharings.answer" and data["id"] == deal.id, f"{call}: type and id")
        self._expect(data["attributes"]["state"] == "opensesame", f"{call}: the state")
        self._expect(bool(data["attributes"]["public_name"]), f"{call}: the public name")
        self._take(deal, data["attributes"])
        deal.mine = token(deal.id, self.name)
        given = {
            "client": self._client(deal.other), "access_token": self._tokens(deal),
            "xor_key": base64.b64encode(deal.key).decode(),
        }  # fmt: skip
        return Reply(200, {"data": {"type": data["type"], "id": deal.id, "attributes": given, "meta": {}}}, JSONAPI)

    def _renew(self, call: Call) -> Reply:
        form = call.form
        self._expect(form.get("grant_type") == "refresh_token", f"{call}: grant_type")
        deal = next(
            (d for d in self.deals.values() if form.get("refresh_token") == self._tokens(d)["refresh_token"]), None
        )
        if deal is None:
            return Reply(400, {"error": "invalid refresh token"})
        deal.former.append(deal.mine)
        deal.mine = token(deal.id, self.name, len(self.calls))
        return Reply(200, {"token_type": "bearer", "scope": f"{SCOPE}{deal.id}", "access_token": deal.mine})

    def _revs_diff(self, call: Call, deal: Deal) -> Reply:
        self._check_json(call)
        missing: Body = {}
        for key, revs in call.json.items():
            id = key.partition("/")[2]
            one = len(revs) == 1 or not key.startswith(f"{FILES}/")  # a document in conflict has several leaves
            self._expect(one, f"{call}: only the last revision is asked about, not {revs}")
            self._expect(not (deal.initial and not deal.owner), f"{call}: not asked in the first copy")
            self._check_no_echo(call, deal, id, revs[0])
            known = deal.kept.get(id)
            unknown = [rev for rev in revs if known is None or rev not in known.revs]
            if unknown:
                missing[key] = {"missing": unknown}
        return Reply(200, missing)

    def _bulk_docs(self, call: Call, deal: Deal) -> Reply:
        self._check_json(call)
        for doctype, documents in call.json.items():
            self._expect(doctype in {rule["doctype"] for rule in deal.rules}, f"{call}: {doctype} is not shared")
            self._check_order(call, documents)
            for document in documents:
                self._check_document(call, deal, doctype, document)
                self._store(deal, document, doctype)
        if not any(rule["doctype"] == FILES for rule in deal.rules):
            deal.initial = False  # the end of a first copy without files is told by nothing else
        return Reply(200, [])

    def _store(self, deal: Deal, document: Body, doctype: str) -> None:
        id = document["_id"]
        if document.get("_deleted"):
            deal.kept.pop(id, None)
            deal.removed.add(id)
        elif doctype != FILES or document.get("type") == "directory":
            old = deal.kept.get(id)
            deal.kept[id] = Kept(document, (old.revs if old else set()) | revs_of(document))
            deal.removed.discard(id)

    def _metadata(self, call: Call, deal: Deal, id: str) -> Reply:
        self._check_json(call)
        self._expect(call.method == "PUT", f"{call}: PUT")
        self._check_from(call, deal)
        document = call.json
        self._expect(document["_id"] == id, f"{call}: the same id in the path and in the document")
        self._expect(document.get("type") == "file", f"{call}: a file")
        self._check_document(call, deal, FILES, document)
        kept = deal.kept.get(id)
        if kept is not None and document["_rev"] in kept.revs:
            return Reply(204)
        if kept is not None and kept.document["md5sum"] == document["md5sum"]:
            deal.kept[id] = Kept(document, kept.revs | revs_of(document), kept.content)
            return Reply(204)
        key = make_id("upload", len(self.calls), id)[:16]
        deal.uploads[key] = document
        return Reply(200, {"key": key})

    def _content(self, call: Call, deal: Deal, key: str) -> Reply:
        self._check_from(call, deal)
        document = deal.uploads.get(key)
        if document is None:
            detail = "The metadata for this file were not found"
            return Reply(
                404, {"errors": [{"status": "404", "title": "Not Found", "detail": detail, "source": {}}]}, JSONAPI
            )
        self._expect(call.headers.get("content-type") == document["mime"], f"{call}: the media type of the file")
        self._expect(md5(call.raw) == document["md5sum"], f"{call}: the content has the announced md5")
        self._expect(str(len(call.raw)) == document["size"], f"{call}: the content has the announced size")
        old = deal.kept.get(document["_id"])
        deal.kept[document["_id"]] = Kept(document, (old.revs if old else set()) | revs_of(document), call.raw)
        return Reply(204)

    def _folder(self, deal: Deal, id: str) -> Reply:
        kept = deal.kept.get(xor(id, deal.key))
        if kept is None:
            return not_found("not_found", "missing")
        shown = {name: value for name, value in kept.document.items() if name != "_revisions"}
        return Reply(200, {**shown, "_id": id})

    # -- strictness

    def _expect(self, right: bool, what: str) -> None:
        if not right:
            self.faults.append(what)

    def _check_common(self, call: Call) -> None:
        self._expect(call.headers.get("user-agent") == "go-cozy-client", f"{call}: User-Agent")
        self._expect(call.headers.get("host") == self.domain, f"{call}: Host {call.headers.get('host')}")
        self._expect("cookie" not in call.headers, f"{call}: no cookies")
        has_body = bool(call.raw) and not call.chunked
        self._expect(not has_body or "content-length" in call.headers, f"{call}: Content-Length")

    def _check_json(self, call: Call) -> None:
        self._expect(call.headers.get("content-type") == JSON, f"{call}: Content-Type")
        self._expect(call.headers.get("accept") == JSON, f"{call}: Accept")
        self._expect(not call.chunked, f"{call}: a body known in advance has a Content-Length")

    def _check_from(self, call: Call, deal: Deal) -> None:
        other = quote(urlsplit(deal.other).netloc, safe="")
        self._expect(call.query == f"from={other}", f"{call}: the query names the sender")

    def _check_no_echo(self, call: Call, deal: Deal, id: str, rev: str) -> None:
        self._expect((id, rev) not in deal.sent, f"{call}: {id} {rev} comes back to where it came from")

    def _check_order(self, call: Call, documents: list[Body]) -> None:
        """Folders by depth, then files, then removals (spec/05 §11)."""
        seen: set[str] = set()
        ids = {document["_id"] for document in documents}
        stage = 0
        for document in documents:
            kind = 2 if document.get("_deleted") else 0 if document.get("type") == "directory" else 1
            self._expect(kind >= stage, f"{call}: folders, then files, then removals")
            stage = max(stage, kind)
            above = document.get("dir_id")
            if kind == 0 and above in ids:
                self._expect(above in seen, f"{call}: a folder before the one it lies in")
            seen.add(document["_id"])

    def _check_document(self, call: Call, deal: Deal, doctype: str, document: Body) -> None:
        where = f"{call}: {document.get('_id')}"
        rev, revisions = document.get("_rev", ""), document.get("_revisions", {})
        self._expect(bool(re.fullmatch(r"[1-9]\d*-[0-9a-f]{32}", rev)), f"{where}: _rev {rev}")
        self._expect(set(revisions) == {"start", "ids"}, f"{where}: _revisions")
        self._expect(rev == f"{revisions['start']}-{revisions['ids'][0]}", f"{where}: _revisions begin with _rev")
        self._expect(len(revisions["ids"]) <= revisions["start"], f"{where}: no more revisions than generations")
        self._check_no_echo(call, deal, document["_id"], rev)
        if document.get("_deleted"):
            self._expect(set(document) == {"_id", "_rev", "_revisions", "_deleted"}, f"{where}: {sorted(document)}")
            self._expect(doctype != FILES or len(revisions["ids"]) == 1, f"{where}: one revision of a removed file")
            return
        self._expect("_attachments" not in document, f"{where}: no attachments")
        if doctype != FILES:
            return
        albums = [value for r in deal.rules if r.get("selector") == "referenced_by" for value in r["values"]]
        for name in LOCAL_MEMBERS:
            if albums and name == "referenced_by":
                told = [f"{reference['type']}/{reference['id']}" for reference in document.get(name) or ()]
                self._expect(bool(told) and set(told) <= set(albums), f"{where}: references {told}")
                self._expect("dir_id" not in document, f"{where}: a photo of an album has no dir_id")
            else:
                self._expect(name not in document, f"{where}: {name} does not travel")
        alone = bool(deal.rules[0].get("mime"))
        self._expect(alone or document["_id"] != deal.root, f"{where}: the shared folder itself is not sent")
        self._expect(document.get("dir_id") != deal.root, f"{where}: a child of the root has no dir_id")
        self._expect(bool(document.get("name")), f"{where}: a name")
        for date in ("created_at", "updated_at"):
            self._expect(bool(re.match(r"\d{4}-\d\d-\d\dT.*Z", document.get(date, ""))), f"{where}: {date}")
        if document.get("type") == "file":
            self._expect(isinstance(document.get("size"), str), f"{where}: size is a string")
            self._expect(len(base64.b64decode(document["md5sum"])) == 16, f"{where}: md5sum")
            self._expect("/" in document.get("mime", ""), f"{where}: mime")
            self._expect(bool(document.get("class")), f"{where}: class")
        else:
            self._expect(document.get("type") == "directory", f"{where}: type")

    # -- the HTTP server

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        peer = self

        class Requests(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (ConnectionError, ValueError):
                    self.close_connection = True

            def read_all(self) -> bytes:
                if "chunked" not in self.headers.get("transfer-encoding", ""):
                    return self.rfile.read(int(self.headers.get("content-length") or 0))
                content = b""
                while size := int(self.rfile.readline(100).split(b";")[0], 16):
                    content += self.rfile.read(size)
                    self.rfile.readline(10)
                self.rfile.readline(10)
                return content

            def serve(self) -> None:
                parts = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                call = Call(
                    self.command, parts.path, parts.query, headers, self.read_all(), "transfer-encoding" in headers
                )
                reply = peer.answer(call)
                peer.calls.append(call)
                self.close_connection = self.close_connection or reply.cut
                if reply.cut and not reply.headers:  # not a word
                    return
                self.send_response(reply.status)
                for name, value in {"Content-Type": reply.kind, **reply.headers}.items():
                    self.send_header(name, value)
                if reply.status != 204 and "Content-Length" not in reply.headers:
                    self.send_header("Content-Length", str(len(reply.content)))
                self.end_headers()
                self.wfile.write(reply.content)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = serve

        return Requests


def values_for(rule: Body, key: bytes) -> list[str]:
    """The values of a rule as the other side knows them (spec/05 §6.5)."""
    selector = rule.get("selector", "")
    if selector in ("", "id", "_id", "organization_id"):
        return [xor(value, key) for value in rule["values"]]
    if selector == "referenced_by":
        parts = [value.partition("/") for value in rule["values"]]
        return [f"{doctype}/{xor(id, key)}" for doctype, _, id in parts]
    return list(rule["values"])


def not_found(title: str, detail: str) -> Reply:
    """A 404 of the JSON:API family."""
    return Reply(404, {"errors": [{"status": "404", "title": title, "detail": detail, "source": {}}]}, JSONAPI)


def revs_of(document: Body) -> set[str]:
    """All revisions in the history of a document."""
    start = document["_revisions"]["start"]
    return {f"{start - i}-{id}" for i, id in enumerate(document["_revisions"]["ids"])}


def token(*parts: object) -> str:
    """A token in the form of a JWT with readable claims."""

    def encoded(value: Body) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{encoded({'alg': 'HS512'})}.{encoded({'scope': f'{SCOPE}{parts[0]}'})}.{make_id('signature', *parts)}"
