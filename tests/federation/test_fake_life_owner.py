"""A strict owner of another make, and real recipients through the whole life of a sharing (spec/04)."""

from __future__ import annotations

import itertools
import re
from typing import Any
from urllib.parse import quote

import pytest
from tests.browser_forms import fields

from .conftest import Town
from .fake_life import JSONAPI, state_for
from .fake_peer import Body, Call, Deal, FakePeer, Reply, make_id, token
from .peers import peer
from .people import INBOX, Person
from .processes import eventually

__all__ = ["peer"]

TITLES = (f"Of another make {number}" for number in itertools.count(1))


@pytest.fixture
def deal(town: Town, peer: FakePeer) -> Deal:
    """A document of the peer's that bob has accepted."""
    title = next(TITLES)
    return peer.invite(town.bob, title, rules=[peer.rule(title, make_id(title), "io.cozy.tests")])


def members(person: Person, deal: Deal) -> list[Body]:
    """The members as a person sees them."""
    return person.sharing(deal.id)["members"]


def tell_members(peer: FakePeer, deal: Deal, *more: Body, groups: tuple[Body, ...] = ()) -> None:
    """Send the list: the owner, bob, and others."""
    first = {"status": "owner", "public_name": peer.name.capitalize(), "email": peer.email}
    listed = [first, {"status": "ready", "public_name": "Bob", "email": "bob@example.com"}, *more]
    answer = peer.send(deal, "PUT", "/recipients", {"data": listed, "included": list(groups)}, kind=JSONAPI)
    assert (answer.status_code, answer.content) == (204, b"")


def add(person: Person, deal: Deal, *contacts: str, groups: tuple[str, ...] = ()) -> Any:
    """Add people to the sharing of the peer."""
    entries = [{"id": id, "type": "io.cozy.contacts"} for id in contacts]
    entries += [{"id": id, "type": "io.cozy.contacts.groups"} for id in groups]
    data = {"type": "io.cozy.sharings", "attributes": {}, "relationships": {"recipients": {"data": entries}}}
    return person.do("POST", f"/sharings/{deal.id}/recipients", body={"data": data})


# -- what the owner tells


def test_the_list_of_the_owner_is_kept_beside_what_is_known(town: Town, peer: FakePeer, deal: Deal) -> None:
    bob = town.bob
    bob.contact("Carol2 of the book", "carol2@example.net")
    group = {"id": "g1", "name": "Friends", "addedBy": 0, "read_only": False}
    carol2 = {"status": "pending", "email": "carol2@example.net", "read_only": True}
    tell_members(peer, deal, carol2, groups=(group,))
    told = members(bob, deal)
    assert told[0]["instance"] == peer.url
    assert told[1]["instance"] == bob.url
    assert told[2] == {**carol2, "name": "Carol2 of the book"}
    assert bob.sharing(deal.id)["groups"] == [group]
    for wrong in (b"{", b"[]", b'{"data": {}}', b'{"data": [{"status": "king"}]}', b'{"data": [7]}'):
        assert peer.send(deal, "PUT", "/recipients", content=wrong, kind=JSONAPI).status_code == 400
    assert len(members(bob, deal)) == 3


def test_the_description_of_the_owner_is_taken(town: Town, peer: FakePeer, deal: Deal) -> None:
    answer = peer.send(deal, "PUT", "/metadata", {"description": "  Other words "})
    assert (answer.status_code, answer.content) == (204, b"")
    assert town.bob.sharing(deal.id)["description"] == "Other words"
    assert peer.send(deal, "PUT", "/metadata", {"description": "é" * 501}).status_code == 400
    assert peer.send(deal, "PUT", "/metadata", content=b"x").status_code == 400


def test_to_reading_and_back(town: Town, peer: FakePeer, deal: Deal) -> None:
    bob = town.bob
    fresh = {"client": peer._client(bob.url), "access_token": {**peer._tokens(deal), "refresh_token": ""}}
    data = {"type": "io.cozy.sharings.answer", "id": deal.id, "attributes": fresh, "meta": {}}
    assert peer.send(deal, "POST", "/recipients/self/readonly", {"data": data}, kind=JSONAPI).status_code == 204
    assert members(bob, deal)[1]["read_only"] is True
    assert set(bob.sharing(deal.id)["triggers"]) == {"track_ids"}
    again = {**data, "attributes": {**fresh, "access_token": peer._tokens(deal), "xor_key": "AAECAwQFBgcICQoLDA0ODw=="}}
    assert peer.send(deal, "DELETE", "/recipients/self/readonly", {"data": again}, kind=JSONAPI).status_code == 204
    assert "read_only" not in members(bob, deal)[1]
    assert "replicate_id" in bob.sharing(deal.id)["triggers"]
    assert peer.send(deal, "POST", "/recipients/self/readonly", {"data": {}}, kind=JSONAPI).status_code == 400


def test_an_owner_who_moves_is_followed(town: Town, peer: FakePeer, deal: Deal) -> None:
    bob = town.bob
    new = FakePeer("carol4").start()
    new.deals[deal.id] = deal
    deal.mine = token(deal.id, "carol4")
    moved = {"id": "", "new_instance": new.url, "access_token": deal.mine, "refresh_token": "r"}
    body = {"data": {"type": "io.cozy.sharings.moved", "id": deal.id, "attributes": moved}}
    answer = peer.send(deal, "POST", "/recipients/self/moved", body, kind=JSONAPI)
    assert (answer.status_code, answer.content) == (204, b"")
    assert members(bob, deal)[0]["instance"] == new.url
    bob.do("DELETE", f"/sharings/{deal.id}/recipients/self")
    new.awaits("DELETE", "/answer$")
    new.stop()
    assert new.faults == []


# -- what a recipient asks for


def test_people_are_added_through_the_owner_and_mailed_from_here(town: Town, peer: FakePeer, deal: Deal) -> None:
    bob = town.bob
    carol2 = bob.contact("carol2", "carol2.of.bob@example.net")
    add(bob, deal, carol2)
    told = members(bob, deal)[2]
    assert (told["email"], told["status"]) == ("carol2.of.bob@example.net", "pending")
    letter = town.mails.last_to("carol2.of.bob@example.net")
    state = state_for("carol2.of.bob@example.net")
    assert f"{bob.url}/sharings/{deal.id}/discovery?state={state}" in letter
    page = bob.call("GET", f"/sharings/{deal.id}/discovery", params={"state": state}, headers={"Authorization": ""})
    assert page.status_code == 200
    assert "/refusal" not in page.text, "only the owner's server takes refusals"
    form = {"state": state, "url": town.carol.url}
    answer = bob.http.post(
        f"/sharings/{deal.id}/discovery", data=form, headers={"Host": bob.domain, "Accept": "application/json"}
    )
    where = f"{town.carol.url}/auth/authorize/sharing?sharing_id={deal.id}&state={state}"
    assert (answer.status_code, answer.json()) == (200, {"redirect": where})
    asked = peer.awaits("POST", "/discovery$").form
    assert (asked["state"], asked["url"]) == (state, town.carol.url)
    by_browser = bob.http.post(f"/sharings/{deal.id}/discovery", data=form, headers={"Host": bob.domain})
    assert (by_browser.status_code, by_browser.headers["location"]) == (302, where)


def test_the_words_of_an_owner_who_refuses_are_passed_on(town: Town, peer: FakePeer, deal: Deal) -> None:
    from .fake_peer import Reply

    bob = town.bob
    carol2 = bob.contact("carol2", "carol2@example.net")
    error = {"errors": [{"status": "403", "title": "Forbidden", "detail": "not you", "source": {}}]}
    end = peer.on("POST", "/recipients/delegated$", lambda call: Reply(403, error, JSONAPI))
    data = {"type": "io.cozy.sharings", "relationships": {"recipients": {"data": [{"id": carol2, "type": "x"}]}}}
    answer = bob.call("POST", f"/sharings/{deal.id}/recipients", body={"data": data})
    assert answer.headers["content-type"] == JSONAPI
    assert (answer.status_code, answer.json()) == (403, error)
    assert len(members(bob, deal)) == 2
    end()


def test_a_group_of_a_recipient_is_followed_through_the_owner(town: Town, peer: FakePeer, deal: Deal) -> None:
    bob = town.bob
    group = bob.create("io.cozy.contacts.groups", {"name": "Band"})
    inside = {"groups": {"data": [{"_id": group, "_type": "io.cozy.contacts.groups"}]}}
    ann = bob.contact("ann", f"ann{deal.id[:6]}@example.net")
    bob.update("io.cozy.contacts", ann, relationships=inside)
    bob4 = bob.create("io.cozy.contacts", {"fullname": "Bob4", "relationships": inside})
    add(bob, deal, groups=(group,))
    sent = peer.awaits("POST", "/recipients/delegated$").json["data"]["relationships"]
    assert [one["name"] for one in sent["groups"]["data"]] == ["Band"]
    assert {one.get("email", "") for one in sent["recipients"]["data"]} == {f"ann{deal.id[:6]}@example.net", ""}
    listed = [
        {"status": "pending", "email": f"ann{deal.id[:6]}@example.net"}, {"status": "mail-not-sent"},
    ]  # fmt: skip
    entry = {"id": group, "name": "Band", "addedBy": 1, "read_only": False}
    tell_members(peer, deal, *listed, groups=(entry,))
    later = bob.contact("later", f"later{deal.id[:6]}@example.net")
    bob.update("io.cozy.contacts", later, relationships=inside)
    added = peer.awaits("POST", "/recipients/delegated$", 2).json["data"]["relationships"]["recipients"]["data"]
    assert [(one["email"], one["groups"]) for one in added] == [(f"later{deal.id[:6]}@example.net", [0])]
    bob.update("io.cozy.contacts", ann, relationships={})
    peer.awaits("DELETE", "/groups/0/2$")
    assert bob4


def test_a_member_decides_on_the_rights_of_another_one(town: Town, peer: FakePeer, deal: Deal) -> None:
    bob = town.bob
    tell_members(peer, deal, {"status": "ready", "public_name": "Carol2", "email": "carol2@example.net"})
    bob.do("POST", f"/sharings/{deal.id}/recipients/2/readonly")
    bob.do("DELETE", f"/sharings/{deal.id}/recipients/2/readonly")
    peer.awaits("POST", "/recipients/2/readonly$")
    peer.awaits("DELETE", "/recipients/2/readonly$")


def test_a_reader_asks_for_more(town: Town, peer: FakePeer, deal: Deal) -> None:
    town.bob.do("POST", f"/sharings/{deal.id}/request-access", body={"message": "please"})
    assert peer.awaits("POST", "/request-access$").json == {"message": "please"}


# -- the end


def test_who_leaves_tells_the_owner_and_may_be_invited_again(town: Town, peer: FakePeer, deal: Deal) -> None:
    bob = town.bob
    bob.do("DELETE", f"/sharings/{deal.id}/recipients/self")
    peer.awaits("DELETE", "/answer$")
    left = bob.sharing(deal.id)
    assert ("active" in left, [one["status"] for one in left["members"]]) == (False, ["revoked", "revoked"])
    assert peer.send(deal, "POST", "/_bulk_docs", {}).status_code == 400, "the owner's client is gone"
    again = peer.invite(bob, title_of(deal), rules=deal.rules)
    assert bob.sharing(again.id)["active"] is True


def test_the_end_by_the_owner(town: Town, peer: FakePeer, deal: Deal) -> None:
    bob = town.bob
    wrong = peer.send(deal, "DELETE", "", bearer="")
    assert wrong.status_code == 401
    answer = peer.send(deal, "DELETE", "")
    assert (answer.status_code, answer.content) == (204, b"")
    ended = bob.sharing(deal.id)
    assert "active" not in ended
    assert (ended["members"][1]["status"], ended["triggers"]) == ("revoked", {})
    assert peer.send(deal, "DELETE", "").status_code == 400


def test_an_invitation_is_declined_with_what_the_shortcut_knows(town: Town, peer: FakePeer) -> None:
    bob = town.bob
    title = next(TITLES)
    deal = invite_only(peer, bob, title)
    bob.do("DELETE", f"/sharings/{deal.id}/recipients/self")
    eventually(lambda: deal.refused == [{"state": "opensesame"}], "the refusal")
    assert bob.at(f"{INBOX}/{title}.url") is None


def test_who_declines_while_his_yes_is_on_its_way_has_declined(town: Town, peer: FakePeer) -> None:
    bob = town.bob
    deal = invite_only(peer, bob, next(TITLES))

    def decline_first(call: Call) -> Reply:
        bob.do("DELETE", f"/sharings/{deal.id}/recipients/self")
        return peer.usual(call)

    peer.on("POST", "/answer$", decline_first)
    if not bob.cookies:
        bob.login()
    page = bob.browse("GET", f"/auth/authorize/sharing?sharing_id={deal.id}&state=opensesame")
    form = {name: value for name, value in fields(page.text).items() if name}
    bob.browse("POST", "/auth/authorize/sharing", data=form)
    eventually(lambda: deal.ended, "the owner learns of it")
    ended = bob.sharing(deal.id)
    assert ("active" in ended, ended["members"][1]["status"], ended["triggers"]) == (False, "revoked", {})
    assert peer.send(deal, "POST", "/_bulk_docs", {}).status_code == 400, "the owner's client is gone"


def test_a_shortcut_with_a_preview_declines_by_its_code(town: Town, peer: FakePeer) -> None:
    bob = town.bob
    deal = invite_only(peer, bob, next(TITLES), link=f"{peer.url}/preview?sharecode=TOMZYRaODZ9Y")
    bob.do("DELETE", f"/sharings/{deal.id}/recipients/self")
    eventually(lambda: deal.refused == [{"sharecode": "TOMZYRaODZ9Y"}], "the refusal")


def test_a_shortcut_is_put_in_its_place_by_the_preview_of_the_owner(town: Town, peer: FakePeer) -> None:
    bob = town.bob
    deal = invite_only(peer, bob, next(TITLES))
    if not bob.cookies:
        bob.login()
    path = f"/auth/authorize/sharing?sharing_id={deal.id}&state=opensesame&shortcut=true"
    answer = bob.browse("GET", path)
    assert answer.status_code == 303, answer.text
    assert re.search(rf"\?sharing={deal.id}#/folder/io\.cozy\.files\.shared-with-me-dir$", answer.headers["location"])
    [asked] = peer.got("POST", "/preview-url$")
    assert asked.json == {"state": "opensesame"}
    shortcut = bob.show(bob.sharing(deal.id)["shortcut_id"])
    assert shortcut["attributes"]["metadata"]["sharing"]["status"] == "seen"
    assert b"sharecode=TOMZYRaODZ9Y" in bob.read(shortcut["id"])
    cancel = bob.browse("GET", f"/auth/authorize/sharing/{deal.id}/cancel?state=opensesame")
    assert (cancel.status_code, cancel.headers["location"]) == (303, f"{peer.url}/preview?sharecode=TOMZYRaODZ9Y")


def test_an_instance_that_is_removed_leaves(town: Town, peer: FakePeer) -> None:
    server = town.bob.server
    guest = Person(server, "alice4").move_in()
    title = next(TITLES)
    deal = peer.invite(guest, title, rules=[peer.rule(title, make_id(title), "io.cozy.tests")])
    server.ask("instances", "rm", guest.domain, "--force")
    peer.awaits("DELETE", f"/sharings/{deal.id}/answer$")


def title_of(deal: Deal) -> str:
    """The title under which a deal was made."""
    return deal.rules[0]["title"]


def invite_only(peer: FakePeer, person: Person, title: str, link: str = "") -> Deal:
    """Send a request that nobody answers yet."""
    id = make_id(peer.name, title, "only")
    rules = [peer.rule(title, make_id(title), "io.cozy.tests")]
    deal = peer.deals[id] = Deal(id, owner=True, other=person.url, rules=rules)
    attributes = {
        "triggers": {}, "description": title, "app_slug": "", "rules": rules,
        "created_at": "2026-11-21T20:56:41.298Z", "updated_at": "2026-11-21T20:56:41.298Z",
        "members": [
            {"status": "owner", "public_name": peer.name.capitalize(), "email": peer.email, "instance": peer.url},
            {"status": "pending", "email": person.email, "instance": person.url},
        ],
    }  # fmt: skip
    data = {"type": "io.cozy.sharings", "id": id, "attributes": attributes, "meta": {}}
    url = quote(link or f"{peer.url}/sharings/{id}/discovery?state=opensesame", safe="")
    path = f"/sharings/{id}?shortcut=true&url={url}"
    answer = peer._request(person.url, "PUT", path, kind=JSONAPI, json_body={"data": data})
    assert answer.status_code == 201, answer.text
    return deal
