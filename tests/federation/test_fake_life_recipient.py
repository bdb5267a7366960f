"""A real owner, and a strict recipient of another make through the whole life of a sharing (spec/04)."""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from .conftest import Town
from .fake_life import JSONAPI
from .fake_peer import Body, Deal, FakePeer, token, xor
from .peers import peer
from .people import Person, folder_rule
from .processes import eventually

__all__ = ["peer"]

TESTS = "io.cozy.tests"
TITLES = (f"Life {number}" for number in itertools.count(1))


@pytest.fixture
def second() -> Iterator[FakePeer]:
    """One more server of another make."""
    peer = FakePeer("carol4").start()
    yield peer
    peer.stop()
    assert peer.faults == [], peer.faults


@dataclass
class Shared:
    """A document of alice's, shared with the peer."""

    alice: Person
    peer: FakePeer
    document: str
    id: str

    @property
    def members(self) -> list[Body]:
        """The members as alice sees them."""
        return self.alice.sharing(self.id)["members"]

    def write(self, text: str) -> None:
        """Change what is shared."""
        self.alice.update(TESTS, self.document, text=text)

    def add(self, *contacts: str, **more: list[str]) -> Any:
        """Alice adds people (and `groups`, `readers`)."""
        entries = [{"id": id, "type": "io.cozy.contacts"} for id in contacts]
        entries += [{"id": id, "type": "io.cozy.contacts.groups"} for id in more.get("groups", [])]
        relationships = {"recipients": {"data": entries}}
        body = {"data": {"type": "io.cozy.sharings", "attributes": {}, "relationships": relationships}}
        return self.alice.do("POST", f"/sharings/{self.id}/recipients", body=body)


def share(alice: Person, peer: FakePeer, *, by_mail: bool = False, reader: bool = False) -> Shared:
    """Share a new document with the peer, whose server is in the address book unless `by_mail`."""
    document = alice.create(TESTS, {"text": "hello"})
    contact = alice.contact(peer.name, peer.email, "" if by_mail else peer.url)
    rule = folder_rule("Tests", document, doctype=TESTS)
    id = alice.share(next(TITLES), [rule], [] if reader else [contact], [contact] if reader else [])
    return Shared(alice, peer, document, id)


@pytest.fixture
def shared(town: Town, peer: FakePeer) -> Shared:
    """Before it is accepted."""
    return share(town.alice, peer)


def accept(shared: Shared, *, verb: str = "ALL") -> Deal:
    """The peer accepts; the document has come."""
    deal = shared.peer.join(shared.alice, shared.id, verb=verb)
    eventually(lambda: deal.kept.get(xor(shared.document, deal.key)), "the document")
    deal.initial = False
    return deal


def text_of(shared: Shared, deal: Deal) -> str:
    """What the peer has."""
    return deal.kept[xor(shared.document, deal.key)].document["text"]


# -- coming in


def test_somebody_known_by_mail_gives_his_address_by_the_form_in_json(town: Town, peer: FakePeer) -> None:
    shared = share(town.alice, peer, by_mail=True)
    pattern = rf"http://\S+/sharings/{shared.id}/discovery\?state=\S+"
    link = eventually(lambda: re.search(pattern, town.mails.last_to(peer.email)), "the link in the mail")[0]
    state = link.partition("state=")[2]
    page = peer.http.get(f"http://127.0.0.1:{town.alice.server.port}/sharings/{shared.id}/discovery?state={state}",
                         headers={"Host": town.alice.domain})  # fmt: skip
    assert page.status_code == 200
    assert re.search(r'name="state" value="([^"]+)"', page.text)[1] == state  # type: ignore[index]
    for url, error in (
        ("http://gone.localhost:1", "The sharing request failed"),
        ("not a server", "The Cozy URL is invalid"),
    ):
        refused = discover(shared, state=state, url=url)
        assert (refused.status_code, refused.json()) == (400, {"error": error})
    assert discover(shared, state="nobody", url=peer.url).status_code == 404
    assert discover(shared, state=state, url="me@example.org").status_code == 412
    assert not peer.calls
    found = discover(shared, state=state, url=f"{peer.url}/drive/?x=1")
    where = f"{peer.url}/auth/authorize/sharing?sharing_id={shared.id}&state={state}"
    assert (found.status_code, found.json()) == (200, {"redirect": where, "email": peer.email})
    [request] = peer.got("PUT", f"/sharings/{shared.id}$")
    assert request.query == "interactive=true"
    assert request.json["data"]["attributes"]["members"][1]["instance"] == peer.url
    by_browser = discover(shared, accept="text/html", state=state, slug=peer.url)
    assert (by_browser.status_code, by_browser.headers["location"]) == (302, where)
    peer.deals[shared.id].url = link
    accept(shared)
    assert shared.members[1]["public_name"] == peer.name.capitalize()
    again = discover(shared, state=state, url=peer.url)
    assert (again.status_code, again.json()) == (400, {"error": "Sharing already accepted by this recipient"})


def discover(shared: Shared, accept: str = "application/json", **form: str) -> Any:
    """Send the form of the discovery."""
    headers = {"Host": shared.alice.domain, "Accept": accept}
    path = f"http://127.0.0.1:{shared.alice.server.port}/sharings/{shared.id}/discovery"
    return shared.peer.http.post(path, data=form, headers=headers)


def test_a_second_invitation_leaves_the_first_one_good(shared: Shared) -> None:
    peer, alice = shared.peer, shared.alice
    first = peer.deals[shared.id].url
    shared.add(alice.contact(peer.name, peer.email, peer.url))
    peer.awaits("PUT", f"/sharings/{shared.id}$", 2)
    second = peer.deals[shared.id].url
    assert first != second
    hidden = {call.json["data"]["attributes"]["rules"][0]["values"][0] for call in peer.got("PUT", f"/{shared.id}$")}
    assert len(hidden) == 1, "the ids stay the same"
    assert len(shared.members) == 2
    peer.deals[shared.id].url = first
    accept(shared)


def test_a_reader_gets_a_token_for_reading_alone(town: Town, peer: FakePeer) -> None:
    shared = share(town.alice, peer, reader=True)
    deal = accept(shared, verb="GET")
    assert peer.send(deal, "POST", "/_bulk_docs", {}).status_code == 403
    for method in ("POST", "DELETE"):
        assert peer.send(deal, method, "/recipients/1/readonly").status_code == 403
    assert peer.send(deal, "POST", "/request-access", {"message": "please"}, kind=JSONAPI).status_code == 204
    assert shared.members[1]["asked_at"]
    assert peer.send(deal, "DELETE", "/answer").status_code == 204, "who may only read may leave"
    assert shared.members[1]["status"] == "revoked"


def test_saying_no_is_seen_by_the_owner(shared: Shared) -> None:
    state = shared.peer.deals[shared.id].url.partition("state=")[2]
    deal = shared.peer.deals[shared.id]
    answer = shared.peer.send(deal, "POST", "/refusal", {"state": state}, bearer="")
    assert (answer.status_code, answer.content) == (204, b"")
    told = shared.members[1]
    assert (told["status"], "declined_at" in told) == ("revoked", True)


# -- the members


def test_everybody_learns_of_everybody(town: Town, shared: Shared, second: FakePeer) -> None:
    alice, peer = shared.alice, shared.peer
    deal = accept(shared)
    shared.add(alice.contact("carol4", second.email, second.url))
    eventually(lambda: len(deal.members) == 3, "the list with carol4")
    assert deal.members[2] == {"status": "pending", "email": second.email}
    other = second.join(alice, shared.id)
    eventually(lambda: [one["status"] for one in deal.members] == ["owner", "ready", "ready"], "carol4 is in")
    assert deal.members[2]["public_name"] == "Carol4"
    friends = alice.create("io.cozy.contacts.groups", {"name": "Friends"})
    carol2 = alice.contact("carol2", "carol2@example.net")
    alice.update("io.cozy.contacts", carol2, relationships={"groups": {"data": [
        {"_id": friends, "_type": "io.cozy.contacts.groups"}]}})  # fmt: skip
    shared.add(groups=[friends])
    wanted = {"id": friends, "name": "Friends", "addedBy": 0, "read_only": False}
    for told in (deal, other):
        eventually(lambda told=told: told.groups == [wanted], "the group")
        assert told.members[3] == {"status": "pending", "email": "carol2@example.net"}
    alice.update("io.cozy.contacts.groups", friends, name="Family")
    eventually(lambda: deal.groups and deal.groups[0]["name"] == "Family", "the new name of the group")
    alice.update("io.cozy.contacts", carol2, relationships={})
    eventually(lambda: deal.members[3]["status"] == "revoked", "carol2 has left the group")
    assert peer.faults == []


def test_a_member_adds_people_and_groups_through_the_owner(town: Town, shared: Shared, second: FakePeer) -> None:
    alice, peer = shared.alice, shared.peer
    deal = accept(shared)
    people = [
        {"status": "mail-not-sent", "name": "Carol2", "email": "carol2@example.net"},
        {"status": "mail-not-sent", "name": "Carol4", "email": second.email, "instance": f"{second.url}/"},
        {"status": "mail-not-sent", "name": "Ann", "email": "ann@example.net", "only_in_groups": True, "groups": [0]},
    ]
    groups = [{"id": "of-the-peer", "name": "Theirs", "addedBy": 1, "read_only": False}]
    answer = delegate(peer, deal, people, groups)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    states = answer.json()
    assert set(states) == {"carol2@example.net", f"{second.url}/", "ann@example.net"}, "as the caller has named them"
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", state) for state in states.values())
    by_mail = {member["email"]: member for member in shared.members}
    assert by_mail["carol2@example.net"]["status"] == "pending"
    assert by_mail[second.email] == {**by_mail[second.email], "status": "pending", "instance": second.url}
    assert by_mail["ann@example.net"]["groups"] == [0]
    assert alice.sharing(shared.id)["groups"] == [{"id": "of-the-peer", "name": "Theirs", "addedBy": 1,
                                                    "read_only": False}]  # fmt: skip
    second.awaits("PUT", f"/sharings/{shared.id}$")
    second.join(alice, shared.id)
    assert delegate(peer, deal, [people[1]], []).status_code == 409, "she is in"
    index = next(at for at, member in enumerate(shared.members) if member["email"] == "ann@example.net")
    assert peer.send(deal, "DELETE", "/groups/7/1").status_code == 422
    assert peer.send(deal, "DELETE", f"/groups/0/{index}").status_code == 204
    assert shared.members[index]["status"] == "revoked"


def test_somebody_of_a_members_group_gets_an_address_later(town: Town, shared: Shared) -> None:
    peer = shared.peer
    deal = accept(shared)
    bob4 = {"status": "mail-not-sent", "name": "Bob4", "only_in_groups": True, "groups": [0]}
    group = {"id": "of-the-peer", "name": "Theirs", "addedBy": 1, "read_only": False}
    assert delegate(peer, deal, [bob4], [group]).json() == {}
    assert shared.members[2]["status"] == "mail-not-sent"
    told = {"data": {"type": "io.cozy.sharings.members", "attributes": {**bob4, "email": "bob4@example.net"}}}
    answer = peer.send(deal, "POST", "/members/2/invitation", told, kind=JSONAPI, accept="application/json")
    assert answer.status_code == 200
    assert set(answer.json()) == {"bob4@example.net"}
    assert shared.members[2]["status"] == "pending"


def delegate(peer: FakePeer, deal: Deal, people: list[Body], groups: list[Body]) -> Any:
    """Add people as a member's server does."""
    relationships = {"recipients": {"data": people}, "groups": {"data": groups or None}}
    data = {"type": "io.cozy.sharings", "id": deal.id, "attributes": {}, "meta": {}, "relationships": relationships}
    return peer.send(deal, "POST", "/recipients/delegated", {"data": data}, kind=JSONAPI, accept="application/json")


# -- rights


def test_to_reading_and_back(shared: Shared) -> None:
    alice, peer = shared.alice, shared.peer
    deal = accept(shared)
    old_token, old = deal.theirs, dict(deal.client)
    alice.do("POST", f"/sharings/{shared.id}/recipients/1/readonly")
    assert deal.read_only
    assert shared.members[1]["read_only"] is True
    assert deal.client["client_id"] != old["client_id"]
    assert peer.send(deal, "POST", "/_bulk_docs", {}).status_code == 200, "for an hour, what was not sent yet"
    assert peer.send(deal, "POST", "/_bulk_docs", {}, bearer=old_token).status_code == 400, "the old client is gone"
    shared.write("to a reader")
    eventually(lambda: text_of(shared, deal) == "to a reader", "readers get what changes")
    alice.do("POST", f"/sharings/{shared.id}/recipients/1/readonly")
    assert len(peer.got("POST", "/self/readonly$")) == 1, "once is enough"
    alice.do("DELETE", f"/sharings/{shared.id}/recipients/1/readonly")
    assert not deal.read_only
    assert deal.refresh
    assert peer.send(deal, "POST", "/_bulk_docs", {}).status_code == 200


# -- addresses


def test_a_member_moves_and_everything_follows_him(shared: Shared, second: FakePeer) -> None:
    alice, peer = shared.alice, shared.peer
    deal = accept(shared)
    second.deals[shared.id] = deal
    deal.mine = token(shared.id, second.name, "moved")
    moved = {"id": "", "new_instance": f"{second.url}/", "access_token": deal.mine, "refresh_token": "r"}
    body = {"data": {"type": "io.cozy.sharings.moved", "id": shared.id, "attributes": moved}}
    assert peer.send(deal, "POST", "/recipients/self/moved", body, kind=JSONAPI).status_code == 204
    assert shared.members[1]["instance"] == second.url
    before = len(peer.calls)
    shared.write("at the new place")
    eventually(lambda: text_of(shared, deal) == "at the new place", "the change at the new place")
    assert len(peer.calls) == before
    rows = alice.do("GET", "/data/io.cozy.contacts/_all_docs?include_docs=true")["rows"]
    mine = [row["doc"] for row in rows if any(one["address"] == peer.email for one in row["doc"].get("email", ()))]
    assert [{"url": second.url}] in [contact.get("cozy") for contact in mine]


# -- the end


def test_who_was_revoked_can_come_again_under_other_ids(shared: Shared) -> None:
    alice, peer = shared.alice, shared.peer
    deal = accept(shared)
    key, hidden = deal.key, xor(shared.document, deal.key)
    alice.do("DELETE", f"/sharings/{shared.id}/recipients/1")
    peer.awaits("DELETE", f"/sharings/{shared.id}$")
    assert deal.ended
    assert peer.send(deal, "POST", "/_bulk_docs", {}).status_code == 400
    renewed = peer.http.post(
        f"http://127.0.0.1:{alice.server.port}/auth/access_token", headers={"Host": alice.domain},
        data={"grant_type": "refresh_token", "refresh_token": deal.refresh, "client_id": deal.client["client_id"],
              "client_secret": deal.client["client_secret"]},
    )  # fmt: skip
    assert renewed.status_code == 400
    shared.add(alice.contact(peer.name, peer.email, peer.url))
    assert not deal.ended
    deal.kept.clear()
    deal.sent.clear()
    deal.initial = True
    again = peer.join(alice, shared.id)
    assert again.key != key
    eventually(lambda: again.kept.get(xor(shared.document, again.key)), "the document under its new id")
    assert hidden not in again.kept
    assert [member["status"] for member in shared.members] == ["owner", "ready"], "at the same index"
    assert base64.b64encode(again.key)


def test_the_end_for_all_reaches_who_was_in(shared: Shared, second: FakePeer) -> None:
    alice = shared.alice
    accept(shared)
    shared.add(alice.contact("carol4", second.email, second.url))
    second.awaits("PUT", f"/sharings/{shared.id}$")
    alice.do("DELETE", f"/sharings/{shared.id}/recipients")
    shared.peer.awaits("DELETE", f"/sharings/{shared.id}$")
    ended = alice.sharing(shared.id)
    assert "active" not in ended
    assert [member["status"] for member in ended["members"]] == ["owner", "revoked", "revoked"]
    assert ended["triggers"] == {}
    state = second.deals[shared.id].url.partition("state=")[2]
    late = second.http.get(
        f"http://127.0.0.1:{alice.server.port}/sharings/{shared.id}/discovery?state={state}",
        headers={"Host": alice.domain},
    )
    assert late.status_code == 400


def test_an_instance_that_is_removed_tells_the_members(town: Town, peer: FakePeer) -> None:
    server = town.alice.server
    bob2 = Person(server, "alice4").move_in()
    shared = share(bob2, peer)
    accept(shared)
    server.ask("instances", "rm", bob2.domain, "--force")
    peer.awaits("DELETE", f"/sharings/{shared.id}$")
