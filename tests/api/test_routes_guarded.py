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
from inglenook.identity import clients, commands, tokens
from inglenook.identity.caller import DEPENDENCIES
from inglenook.web import parts

SENDING = ("POST", "PUT", "PATCH", "DELETE")

ANYBODY = "any token at all will do"
WORDS_FIRST = "what the request says is needed to know which right it takes"
NOTHING = "there is no such thing"
NO_MEMBER = "a link is no token of a sharing"

EXCEPTIONS: dict[str, tuple[int, str]] = {
    # spec/03 §14: the settings that every page needs
    "GET /settings/instance": (200, ANYBODY),
    "GET /settings/capabilities": (200, ANYBODY),
    "GET /settings/context": (200, ANYBODY),
    "GET /settings/flags": (200, ANYBODY),
    "GET /settings/warnings": (404, ANYBODY),
    # spec/03 §11.1, §13; spec/04 §8: what a token is good for, which app can serve, how many news there are
    "GET /permissions/self": (200, ANYBODY),
    "POST /permissions/exists": (200, ANYBODY),
    "POST /intents": (200, ANYBODY),
    "GET /sharings/news": (200, ANYBODY),
    # spec/03 §6.7: any app of the browser logs it out
    "DELETE /auth/login": (204, ANYBODY),
    "POST /data/_transaction": (400, WORDS_FIRST),
    "PATCH /files": (400, WORDS_FIRST),
    "PATCH /files/{file_id}/{version}": (400, WORDS_FIRST),
    "PATCH /permissions/konnectors/{slug}": (404, NOTHING),
    "GET /sharings/{sharing_id}": (400, NO_MEMBER),
    "PATCH /sharings/{sharing_id}": (400, NO_MEMBER),
    "POST /sharings/{sharing_id}/recipients": (400, NO_MEMBER),
    "DELETE /sharings/{sharing_id}/recipients/{index}/readonly": (400, NO_MEMBER),
    "POST /sharings/{sharing_id}/recipients/{index}/readonly": (400, NO_MEMBER),
    "POST /sharings/{sharing_id}/recipients/{index}/retry": (400, NO_MEMBER),
}
"""Routes that answer a token without any right, or a link to something else, otherwise than with 401 or 403: with
which status, and why."""

NOT_THE_OWNER: dict[str, str] = {
    "DELETE /auth/login": "an app asks for it, in the browser whose session it is",
    "DELETE /auth/login/others": "an app asks for it, in the browser whose session it is",
    "POST /auth/registerFromWebApp": "the settings app asks for it",
    "GET /intents/{id}": "an app that can serve it asks for it",
    "POST /settings/passphrase/check": "403 is what it says of a wrong passphrase",
    "POST /sharings/{sharing_id}/request-access": "a recipient asks the owner",
}
"""Routes that are closed to a token which may do everything, and why."""


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
            route.method, self.address(route), params=query(route), headers=headers, content=content
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


def query(route: Called) -> dict[str, str]:
    """The parameters of a request."""
    if route.path == "/data/{doctype:str}/{docid:str}" and route.method == "DELETE":
        return {"rev": "1-0123456789abcdef0123456789abcdef"}
    if route.method == "POST" and route.path in ("/files", "/files/{dir_id:str}"):
        return {"Type": "directory", "Name": "new"}
    return {"Path": "/one.txt"} if route.path.startswith("/files/") and "_changes" not in route.path else {}


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
    making = commands.create_oauth_client(alice.instance, "https://x.example/cb", "Other", "github.com/x/y")
    other_client = server.do(lambda _: making)
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
        "dir_id": "io.cozy.files.root-dir", "client_id": other_client.id, "permission_id": permission,
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
    return {name: status for name, status in found.items() if not (status == 400 and is_nothing(name))}


def is_nothing(name: str) -> bool:
    """Whether a route is there only to refuse, with 400 for everybody, what begins with `_` below a doctype and is no
    resource (spec/01 §1.4)."""
    return "/data/{doctype}/_" in name


def test_every_route_says_who_may_call_it() -> None:
    assert [route.name for route in ROUTES if route.guard not in wire.GUARDS] == []
    assert len(ROUTES) > 200, "the routes were found"


def test_the_exceptions_are_routes_that_exist() -> None:
    assert EXCEPTIONS.keys() | NOT_THE_OWNER.keys() <= {route.name for route in ROUTES if route.guard == wire.TOKEN}


def test_without_a_token_nothing_guarded_is_answered(town: Town) -> None:
    found = misbehaving(town, "", (wire.TOKEN, wire.PEER), {401, 403})
    assert {name: status for name, status in found.items() if EXCEPTIONS.get(name) != (status, WORDS_FIRST)} == {}


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
    assert {name: status for name, status in found.items() if EXCEPTIONS.get(name, (0, ""))[0] != status} == {}


def test_the_owner_is_let_in_everywhere_but_where_servers_speak(town: Town) -> None:
    answers = {route.name: town.call(route, town.maximal) for route in ROUTES if route.guard in (wire.TOKEN, wire.PEER)}
    peers = {route.name for route in ROUTES if route.guard == wire.PEER}
    assert {name: status for name, status in answers.items() if status >= 500} == {}
    assert {name: answers[name] for name in peers if answers[name] not in (400, 401, 403)} == {}
    shut = {name for name, status in answers.items() if status in (401, 403)} - peers
    assert shut == NOT_THE_OWNER.keys()
