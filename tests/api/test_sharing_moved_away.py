"""Somebody moves while an invitation waits for its answer: its links, and the servers on both sides, find the new
address (spec/04 §20, spec/12 §9)."""

from __future__ import annotations

import msgspec
import pytest
from tests.api.sharing_town import (
    Call,
    Reply,
    Scripted,
    Town,
    accept,
    add,
    attributes,
    carol2,
    contact,
    member,
    people,
    rule,
    share,
    state_of,
    town,
)
from tests.browser_forms import Browser
from tests.servers import Person

from inglenook.identity.creation import update_settings

__all__ = ["carol2", "town"]

NEW = "https://new.example"


def move_away(person: Person, to: str = NEW) -> None:
    """The instance has moved."""
    server = person.server
    server.do(
        lambda runtime: runtime.instances.modify(person.instance, lambda doc: msgspec.structs.replace(doc, moved=True))
    )
    server.do(lambda _: update_settings(person.instance, {"moved_to": to}))


def has_moved(to: str) -> Reply:
    """What a server says of an instance that has moved."""
    return 410, {"errors": [{"status": "410", "code": "moved", "links": {"related": to}}]}


def new_person(town: Town, name: str) -> Person:
    """Somebody on alice's server."""
    return town.here.add(name, passphrase="cozy")


def test_the_links_of_an_owner_who_has_moved_lead_to_the_new_address(town: Town) -> None:
    dora = new_person(town, "dora")
    sharing = share(dora, people(contact(dora, "guest")))
    state = state_of(dora, sharing)
    path = f"/sharings/{sharing}/discovery"
    move_away(dora)
    for answer in (
        dora.get(path, params={"state": state}),
        dora.post(path, data={"state": state, "url": town.bob.url}, headers={"Accept": "text/html"}),
    ):
        assert (answer.status_code, answer.headers["location"]) == (303, f"{NEW}{path}?state={state}")
    in_json = dora.post(path, data={"state": state, "url": town.bob.url}, headers={"Accept": "application/json"})
    assert in_json.status_code == 410


def test_what_comes_with_a_secret_of_its_own_is_told_the_new_address(town: Town, carol2: Scripted) -> None:
    edna = new_person(town, "edna")
    sharing = share(edna, people(contact(edna, "carol2", email=carol2.email, url=carol2.url)))
    state = state_of(edna, sharing)
    move_away(edna)
    for answer in (
        carol2.answer(edna, sharing, state),
        carol2.invites(edna, "movedaway00000000000000000000001"),
        edna.post(f"/sharings/{sharing}/preview-url", json_body={"state": state}),
        edna.post(f"/sharings/{sharing}/refusal", json_body={"state": state}),
    ):
        assert answer.status_code == 410
        error = answer.json()["errors"][0]
        assert (error["code"], error["links"]["related"]) == ("moved", NEW)


def test_the_page_of_the_consent_is_at_the_new_address(town: Town, carol2: Scripted) -> None:
    fred = new_person(town, "fred")
    sharing = "movedaway00000000000000000000002"
    carol2.invites(fred, sharing)
    move_away(fred)
    query = {"sharing_id": sharing, "state": "s"}
    answer = Browser(fred).get("/auth/authorize/sharing", params=query)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{NEW}/auth/authorize/sharing?sharing_id={sharing}&state=s"


def test_an_invitation_follows_who_has_moved(town: Town, carol2: Scripted) -> None:
    alice, bob = town.alice, town.bob
    carol2.on("PUT", "/sharings/", has_moved(f"{bob.url}/"))
    sharing = share(alice, people(contact(alice, "mover", url=carol2.url)))
    assert member(alice, sharing)["status"] == "pending"
    assert member(alice, sharing)["instance"] == bob.url
    assert attributes(bob, sharing)["members"][1]["instance"] == bob.url


def test_an_address_that_was_left_leads_to_the_new_one(town: Town, carol2: Scripted) -> None:
    alice, bob = town.alice, town.bob
    sharing = share(alice, people(contact(alice, "mover2")))
    state = state_of(alice, sharing)
    carol2.on("PUT", "/sharings/", has_moved(bob.url))
    form = {"state": state, "url": carol2.url}
    answer = alice.post(f"/sharings/{sharing}/discovery", data=form, headers={"Accept": "application/json"})
    assert answer.json()["redirect"].startswith(f"{bob.url}/auth/authorize/sharing?")
    assert accept(bob, sharing, state).status_code == 303
    assert member(alice, sharing)["status"] == "ready"


def test_an_answer_follows_an_owner_who_has_moved(town: Town, carol2: Scripted) -> None:
    """The former server of the owner knows the new one; the sharing itself has come along."""
    alice, bob = town.alice, town.bob
    sharing = share(alice, people(contact(alice, "bob", email="bob@example.com")))
    state = state_of(alice, sharing)
    sent = {
        "description": "Came along", "rules": [rule("0123456789abcdef")], "app_slug": "", "created_at": "x",
        "members": [{"status": "owner", "instance": carol2.url}, {"status": "pending", "instance": bob.url}],
    }  # fmt: skip
    body = {"data": {"type": "io.cozy.sharings", "id": sharing, "attributes": sent}}
    assert bob.put(f"/sharings/{sharing}", json_body=body).status_code == 201
    discovered = {"state": state, "url": carol2.url}
    alice.post(f"/sharings/{sharing}/discovery", data=discovered)
    carol2.on("POST", f"/sharings/{sharing}/answer$", has_moved(alice.url))
    assert accept(bob, sharing, state).status_code == 303
    assert attributes(bob, sharing)["members"][0]["instance"] == alice.url
    assert attributes(bob, sharing)["active"] is True


@pytest.mark.parametrize(("says", "status"), [("moved to her", 201), ("moved elsewhere", 409), ("nothing", 409)])
def test_a_request_that_waits_may_come_again_from_where_its_owner_has_moved(
    town: Town, carol2: Scripted, says: str, status: int
) -> None:
    alice, bob = town.alice, town.bob
    sharing = share(alice, people(contact(alice, "guest")))
    assert carol2.invites(bob, sharing).status_code == 201

    def preview(_: Call) -> Reply:
        moved_to = alice.url if says == "moved to her" else "https://elsewhere.example"
        return (404, None) if says == "nothing" else has_moved(moved_to)

    carol2.on("POST", f"/sharings/{sharing}/preview-url$", preview)
    assert add(alice, sharing, people(contact(alice, "bob", url=bob.url))).status_code == 200
    now = attributes(bob, sharing)["members"][0]["instance"]
    assert now == (alice.url if status == 201 else carol2.url)
