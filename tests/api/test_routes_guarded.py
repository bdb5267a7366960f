"""Every route of the assembled server, called by everybody who might try (spec/03 §10, §11; spec/00).

The routes are read from the application itself, so a new one is driven here as soon as it exists. What is usual:
without a token 401, with a token of another instance 400, without the right or with a link to something else 403 (404
for what is not there). Whatever differs is named in `EXCEPTIONS` with its reason: this list is the place to look for
routes that somebody can call without a right.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from tests.api.apps_workshop import install, write_app
from tests.servers import Person, RunningServer

from inglenook import wire
from inglenook.identity import clients, tokens
from inglenook.identity.caller import DEPENDENCIES
from inglenook.web import parts

QUERY = {"Type": "directory", "Name": "new", "Path": "/one.txt", "rev": "1-0123456789abcdef0123456789abcdef"}
SENDING = ("POST", "PUT", "PATCH", "DELETE")
ANYBODY = "any token at all will do"

EXCEPTIONS: dict[str, str] = {
    # spec/03 §14: the settings that every page needs
    "GET /settings/instance": ANYBODY,
    "GET /settings/capabilities": ANYBODY,
    "GET /settings/context": ANYBODY,
    "GET /settings/flags": ANYBODY,
    "GET /settings/warnings": ANYBODY,
    # spec/03 §11.1: what a token is good for, and what is shared among what it may read
    "GET /permissions/self": ANYBODY,
    "POST /permissions/exists": ANYBODY,
    "POST /intents": ANYBODY,
}
"""Routes that a token without any right may call with success."""

REFUSED_BY_WORDS: frozenset[str] = frozenset()
"""Routes that read the body before they can know which right it needs: without the right, 400 or 422 is fine."""


@dataclass(frozen=True)
class Called:
    """A route with its method and its guard."""

    method: str
    path: str
    guard: str

    @property
    def name(self) -> str:
        """As people write it."""
        return f"{self.method} {self.path.replace(':str', '').replace(':path', '')}"


def all_routes() -> list[Called]:
    """The routes of the assembled server, without websockets."""
    app = Litestar(route_handlers=parts.routes(), dependencies=dict(DEPENDENCIES), openapi_config=None)
    found: set[Called] = set()
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler):
                for method in handler.http_methods - {"OPTIONS"}:
                    found.add(Called(str(method), route.path, str(handler.opt.get("guard"))))
    return sorted(found, key=lambda one: (one.path, one.method))


ROUTES = all_routes()


@dataclass(frozen=True)
class Town:
    """Alice with something of everything, and the tokens of those who call her server."""

    alice: Person
    values: dict[str, str]
    foreign: str
    powerless: str
    link: str
    maximal: str

    def address(self, route: Called) -> str:
        """The path of a route, filled with what alice has."""
        parts_ = []
        for part in route.path.split("/"):
            if part.startswith("{"):
                name = part.strip("{}").partition(":")[0]
                if name == "id":
                    name = "permission_id" if route.path.startswith("/permissions") else "intent_id"
                parts_.append(self.values.get(name, "unknown"))
            else:
                parts_.append(part)
        path = "/".join(parts_)
        return path + "/" if path.count("/") == 2 and path.startswith("/data/") and path[6] != "_" else path

    def call(self, route: Called, token: str = "") -> int:
        """The status that a route answers with. The words of the request are such that most routes understand it."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        content = json.dumps(self.words(route)).encode() if route.method in SENDING else None
        answer = self.alice.http.request(
            route.method, self.address(route), params=QUERY, headers=headers, content=content
        )
        return answer.status_code

    def words(self, route: Called) -> Any:
        """A body."""
        if route.path.startswith("/data/") and "relationships" not in route.path:
            return {"name": "changed"}
        if "relationships" in route.path or route.path.endswith("/exists"):
            return {"data": [{"type": "io.cozy.files", "id": self.values["file_id"]}]}
        rule = {"title": "t", "doctype": "io.cozy.tests", "values": [self.values["docid"]], "add": "push"}
        attributes = {
            "name": "changed.txt", "ids": [self.values["file_id"]], "action": "PICK", "type": "io.cozy.files",
            "permissions": {"x": {"type": "io.cozy.contacts"}}, "description": "shared", "rules": [rule],
        }  # fmt: skip
        if "permissions" not in route.path:
            del attributes["permissions"]
        friends = {"data": [{"id": self.values["friend"], "type": "io.cozy.contacts"}]}
        return {"data": {"type": "x", "attributes": attributes, "relationships": {"recipients": friends}}}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    server = RunningServer(tmp_path_factory.mktemp("data")).start()
    yield furnished(server, tmp_path_factory)
    server.stop()


def furnished(server: RunningServer, folders: pytest.TempPathFactory) -> Town:
    alice, bob = server.add("alice", passphrase="cozy"), server.add("bob", passphrase="cozy")
    install(alice, write_app(folders.mktemp("mini")))
    powerless_rules = {"nothing": {"type": "io.cozy.unrelated", "verbs": ["GET"]}}
    install(alice, write_app(folders.mktemp("poor"), slug="poor", permissions=powerless_rules), slug="poor")
    everything = everything_of(alice)
    file, other = (
        alice.post(
            f"/files/io.cozy.files.root-dir?Type=file&Name={name}.txt", "io.cozy.files", content=b"hello",
            headers={"Content-Type": "text/plain"},
        ).json()["data"]["id"]
        for name in ("one", "two")
    )  # fmt: skip
    document = alice.post("/data/io.cozy.tests/", "io.cozy.tests", json_body={"a": 1}).json()["id"]
    rules = {"files": {"type": "io.cozy.files", "verbs": ["GET"], "values": [other]}}
    link_body = {"data": {"attributes": {"permissions": rules}}}
    made = alice.post("/permissions?codes=code", "io.cozy.files", json_body=link_body).json()["data"]["attributes"]
    of_app = {
        "data": {
            "attributes": {"permissions": {"t": {"type": "io.cozy.tests", "verbs": ["GET"], "values": [document]}}}
        }
    }
    mini = tokens.issue(alice.instance, tokens.APP, "mini")
    permission = alice.post("/permissions?codes=x", token=mini, json_body=of_app).json()["data"]["id"]
    wish = {"data": {"attributes": {"action": "PICK", "type": "io.cozy.files"}}}
    intent = alice.post("/intents", token=mini, json_body=wish).json()["data"]["id"]
    contact = {"fullname": "Carol", "email": [{"address": "carol@example.com"}]}
    friend = alice.post("/data/io.cozy.contacts/", "io.cozy.contacts", json_body=contact).json()["id"]
    sharing = {
        "data": {
            "attributes": {
                "description": "shared",
                "rules": [{"title": "t", "doctype": "io.cozy.tests", "values": [document], "add": "push"}],
            },
            "relationships": {"recipients": {"data": [{"id": friend, "type": "io.cozy.contacts"}]}},
        }
    }
    shared = alice.post("/sharings/", token=everything, json_body=sharing)
    assert shared.status_code == 201, shared.text
    values = {
        "slug": "mini", "doctype": "io.cozy.tests", "docid": document, "doc_id": document, "file_id": file,
        "dir_id": "io.cozy.files.root-dir", "client_id": alice.client_id, "permission_id": permission,
        "intent_id": intent, "sharing_id": shared.json()["data"]["id"], "index": "1", "group": "0",
        "friend": friend,
    }  # fmt: skip
    return Town(
        alice, values, foreign=everything_of(bob), powerless=tokens.issue(alice.instance, tokens.APP, "poor"),
        link=made["codes"]["code"], maximal=everything,
    )  # fmt: skip


def everything_of(person: Person) -> str:
    """A token of the owner's own application, which may do everything."""
    client_id = person.client_id
    person.server.do(
        lambda _: person.instance.store.write(
            lambda tx: clients.update_client(tx, client_id, {"flagship": True}) and None
        )
    )
    return tokens.issue(person.instance, tokens.ACCESS, client_id, scope="*")


def misbehaving(town: Town, token: str, guards: tuple[str, ...], good: set[int]) -> dict[str, int]:
    """The routes with these guards that answer otherwise than with one of these statuses."""
    answers = {route.name: town.call(route, token) for route in ROUTES if route.guard in guards}
    found = {name: status for name, status in answers.items() if status not in good}
    print(found)
    return {name: status for name, status in found.items() if not (status == 400 and is_nothing(name))}


def is_nothing(name: str) -> bool:
    """Whether a route is there only to refuse, with 400 for everybody, what begins with `_` below a doctype and is no
    resource (spec/01 §1.4)."""
    return "/data/{doctype}/_" in name


def test_every_route_says_who_may_call_it() -> None:
    assert [route.name for route in ROUTES if route.guard not in wire.GUARDS] == []
    assert len(ROUTES) > 200, "the routes were found"


def test_the_exceptions_are_routes_that_exist() -> None:
    names = {route.name for route in ROUTES if route.guard == wire.TOKEN}
    assert EXCEPTIONS.keys() <= names
    assert names >= REFUSED_BY_WORDS


def test_without_a_token_nothing_guarded_is_answered(town: Town) -> None:
    assert misbehaving(town, "", (wire.TOKEN, wire.PEER), {401, 403}) == {}


def test_without_a_session_or_a_secret_nothing_is_given_away(town: Town) -> None:
    refused = {303, 400, 401, 403, 404, 406, 412, 415, 422, 429}
    assert misbehaving(town, "", (wire.SESSION, wire.SECRET, wire.REGISTRATION), refused) == {}


def test_nothing_public_fails(town: Town) -> None:
    answers = {route.name: town.call(route) for route in ROUTES if route.guard == wire.PUBLIC}
    assert {name: status for name, status in answers.items() if status >= 500} == {}


def test_a_token_of_another_instance_is_no_token(town: Town) -> None:
    assert misbehaving(town, town.foreign, (wire.TOKEN, wire.PEER), {400, 401, 403}) == {}


@pytest.mark.parametrize("who", ["powerless", "link"])
def test_without_the_right_nothing_is_done(town: Town, who: str) -> None:
    found = misbehaving(town, getattr(town, who), (wire.TOKEN, wire.PEER), {401, 403})
    assert {name: status for name, status in found.items() if name not in EXCEPTIONS} == {}


def test_the_owner_is_let_in_everywhere_but_where_servers_speak(town: Town) -> None:
    answers = {route.name: town.call(route, town.maximal) for route in ROUTES if route.guard in (wire.TOKEN, wire.PEER)}
    print(answers)
    peers = {route.name for route in ROUTES if route.guard == wire.PEER}
    assert {name: status for name, status in answers.items() if status >= 500} == {}
    assert {name: answers[name] for name in peers if answers[name] not in (401, 403)} == {}
    shut = {name: status for name, status in answers.items() if status in (401, 403) and name not in peers}
    assert shut == {}
