"""From the creation of a sharing to its acceptance (spec/04 §4-§12)."""

from __future__ import annotations

import pytest
from tests.api.sharing_town import (
    ALL,
    JSONAPI,
    Scripted,
    Town,
    accept,
    add,
    attributes,
    by_path,
    carol2,
    contact,
    eventually,
    group,
    join,
    mail_to,
    member,
    people,
    share,
    shared_document,
    short_code,
    state_of,
    town,
)
from tests.browser_forms import Browser, fields

from inglenook.sharing.discovery import normal_address

__all__ = ["carol2", "town"]


def test_two_servers_agree_and_the_document_arrives(town: Town) -> None:
    sharing = shared_document(town.alice, town.bob)
    mine = attributes(town.bob, sharing)
    assert mine["active"]
    assert "owner" not in mine
    assert mine["members"][1]["status"] == "ready"
    assert mine["triggers"]["track_ids"]
    assert mine["triggers"]["replicate_id"]
    id = mine["rules"][0]["values"][0]
    eventually(lambda: town.bob.get(f"/data/io.cozy.tests/{id}", *ALL).status_code == 200)


def test_a_state_works_for_the_server_that_used_it_and_for_nobody_else(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    sharing = share(alice, people(contact(alice, "carol2", url=carol2.url)))
    state = state_of(alice, sharing)
    first = carol2.answer(alice, sharing, state).json()["data"]["attributes"]
    again = carol2.answer(alice, sharing, state)
    assert again.status_code == 200, "the first reply may have been lost"
    token = again.json()["data"]["attributes"]["access_token"]["access_token"]
    assert token != first["access_token"]["access_token"]
    push = f"/sharings/{sharing}/_bulk_docs"
    assert alice.post(push, token=first["access_token"]["access_token"], json_body={}).status_code == 400
    assert alice.post(push, token=token, json_body={}).status_code == 200
    carol2.on("POST", "^/auth/access_token$", (400, {"error": "the client must be registered"}))
    assert carol2.answer(alice, sharing, state).status_code == 404, "carol2's server did not issue these credentials"
    assert alice.post(push, token=token, json_body={}).status_code == 200


def test_somebody_invited_again_has_two_links_that_work(town: Town) -> None:
    alice = town.alice
    bob2 = contact(alice, "bob2-twice")
    sharing = share(alice, people(bob2))
    first = state_of(alice, sharing)
    assert add(alice, sharing, people(bob2)).status_code == 200
    second = state_of(alice, sharing)
    assert first != second
    assert len(attributes(alice, sharing)["members"]) == 2
    for state in (first, second):
        page = alice.get(f"/sharings/{sharing}/discovery", params={"state": state})
        assert page.status_code == 200
        assert fields(page.text)["state"] == state


def test_the_form_of_the_discovery_leads_to_ones_own_server(town: Town) -> None:
    alice, bob = town.alice, town.bob
    sharing = share(alice, people(contact(alice, "bob-by-mail")))
    page = alice.get(f"/sharings/{sharing}/discovery", params={"state": state_of(alice, sharing)})
    form = fields(page.text)
    assert {"state", "sharecode", "shortcut", "slug", "domain"} <= form.keys()
    mail = alice.http.post(f"/sharings/{sharing}/discovery", data={**form, "slug": "me@example.org"})
    assert mail.status_code == 412
    assert 'role="alert"' in mail.text
    for typed in ("", "not an url", "http://gone.localhost:1", alice.url):
        wrong = alice.http.post(f"/sharings/{sharing}/discovery", data={**form, "slug": typed})
        assert wrong.status_code == 400
        assert 'role="alert"' in wrong.text
    sent = alice.http.post(f"/sharings/{sharing}/discovery", data={**form, "slug": f"{bob.url}/drive/"})
    assert sent.status_code == 302
    assert sent.headers["location"].startswith(f"{bob.url}/auth/authorize/sharing?sharing_id={sharing}&state=")
    assert member(alice, sharing)["instance"] == bob.url
    join(alice, bob, sharing)
    done = alice.get(f"/sharings/{sharing}/discovery", params={"state": form["state"]})
    assert done.status_code == 400
    assert bob.url in done.text


@pytest.mark.parametrize(
    ("typed", "domain", "meant"),
    [
        ("http://bob.localhost:8080/drive/#/folder", "", "http://bob.localhost:8080"),
        ("bob.example.org.", "", "https://bob.example.org"),
        ("bob", "mycozy.cloud", "https://bob.mycozy.cloud"),
        ("bob", "mycosy.cloud", "https://bob.mycozy.cloud"),
        ("bob-drive.mycozy.cloud", "", "https://bob.mycozy.cloud"),
        ("bob-drive.example.org", "", "https://bob-drive.example.org"),
    ],
)
def test_addresses_are_understood(typed: str, domain: str, meant: str) -> None:
    assert normal_address(typed, domain) == meant


def test_a_request_cannot_be_replaced_by_another_server(town: Town, carol2: Scripted) -> None:
    bob = town.bob
    assert carol2.invites(bob, "request-of-carol2", "Mine").status_code == 201
    alice2 = Scripted("alice2")
    try:
        assert alice2.invites(bob, "request-of-carol2", "Hacked").status_code == 409
    finally:
        alice2.stop()
    assert attributes(bob, "request-of-carol2")["description"] == "Mine"
    assert carol2.invites(bob, "request-of-carol2", "Better").status_code == 201


def test_what_has_ended_may_come_again_from_the_new_address_of_its_owner(town: Town, carol2: Scripted) -> None:
    bob = town.bob
    token = carol2.shares(bob, "ended-and-moved")
    moved = Scripted("carol2-elsewhere")
    assert moved.invites(bob, "ended-and-moved").status_code == 409
    bearer = {"Authorization": f"Bearer {token}"}
    assert bob.delete("/sharings/ended-and-moved", headers=bearer).status_code == 204
    assert moved.invites(bob, "ended-and-moved").status_code == 201
    assert member(bob, "ended-and-moved", 0)["instance"] == moved.url
    moved.stop()


def test_the_answer_to_a_request_tells_nothing_of_the_address_book(town: Town, carol2: Scripted) -> None:
    contact(town.bob, "My secret nickname", email=carol2.email)
    shown = carol2.invites(town.bob, "request-with-name")
    assert "nickname" not in shown.text
    assert attributes(town.bob, "request-with-name")["members"][0]["name"] == "My secret nickname"


@pytest.mark.parametrize("description", ["Accounts 2025/2026", "two\nlines", "x" * 400, ""])
def test_any_description_gives_a_shortcut(town: Town, carol2: Scripted, description: str) -> None:
    sharing = f"description-{len(description)}"
    assert carol2.invites(town.bob, sharing, description).status_code == 201
    shortcut = attributes(town.bob, sharing)["shortcut_id"]
    name = town.bob.get(f"/files/{shortcut}", *ALL).json()["data"]["attributes"]["name"]
    assert name.endswith(".url")
    assert "/" not in name
    assert len(name.encode()) <= 255


def test_a_shortcut_is_counted_until_it_is_opened(town: Town, carol2: Scripted) -> None:
    carol = town.carol
    count = lambda: carol.get("/sharings/news", *ALL).json()["meta"]["count"]  # noqa: E731
    before = count()
    for name in ("news-1", "news-2"):
        assert carol2.invites(carol, name, "Same name").status_code == 201
    assert count() == before + 2
    names = {attributes(carol, name)["shortcut_id"] for name in ("news-1", "news-2")}
    assert by_path(carol, "/Inbox of sharings/Same name.url")
    assert by_path(carol, "/Inbox of sharings/Same name.url (2)")
    for id in names:
        opened = carol.get(f"/shortcuts/{id}", *ALL, headers={"Accept": JSONAPI})
        assert opened.json()["data"]["attributes"]["url"].startswith(carol2.url)
    assert count() == before
    sent = carol.get(f"/shortcuts/{names.pop()}", *ALL)
    assert sent.status_code == 303
    assert sent.headers["location"].startswith(carol2.url)
    assert carol2.url in mail_to(carol, "carol@example.com", count=2)


def test_a_page_that_runs_code_is_no_shortcut(town: Town, carol2: Scripted) -> None:
    body = {"data": {"id": "evil", "attributes": {"rules": [], "members": []}}}
    answer = town.bob.put("/sharings/evil?shortcut=true&url=javascript:alert(1)", json_body=body)
    assert 400 <= answer.status_code < 500


def test_consent_is_asked_from_the_right_person_only(town: Town, carol2: Scripted) -> None:
    bob = town.bob
    assert carol2.invites(bob, "consent").status_code == 201
    stranger = Browser(bob)
    where = "/auth/authorize/sharing?sharing_id=consent&state=s"
    login = stranger.get(where)
    assert login.status_code == 303
    assert login.headers["location"].startswith(f"{bob.url}/auth/login?redirect=")
    assert stranger.post("/auth/authorize/sharing", data={"sharing_id": "consent", "state": "s"}).status_code == 400
    owner = Browser(bob)
    owner.login()
    page = owner.get(where)
    assert page.status_code == 200
    assert "Carol2" in page.text
    form = fields(page.text)
    assert (form["sharing_id"], form["state"]) == ("consent", "s")
    assert owner.post("/auth/authorize/sharing", data={**form, "csrf_token": "x" * 32}).status_code == 403
    assert owner.get("/auth/authorize/sharing?sharing_id=consent").status_code == 400
    assert owner.get("/auth/authorize/sharing?sharing_id=unknown&state=s").status_code == 400
    carol2.on("POST", "/answer$", (404, {"errors": []}))
    assert owner.post("/auth/authorize/sharing", data=form).status_code == 400, "carol2 withdrew the invitation"
    assert "active" not in attributes(bob, "consent")


def test_a_lost_reply_is_repaired_by_pressing_the_button_again(town: Town, carol2: Scripted) -> None:
    assert carol2.invites(town.bob, "lost").status_code == 201
    carol2.on("POST", "/sharings/lost/answer$", (502, None))
    assert accept(town.bob, "lost", "s").status_code == 502
    first = carol2.got("POST", "/sharings/lost/answer$").json["data"]["attributes"]["client"]["client_id"]
    token = carol2.shares(town.bob, "lost")
    assert attributes(town.bob, "lost")["active"]
    second = carol2.got("POST", "/sharings/lost/answer$", 2).json["data"]["attributes"]["client"]["client_id"]
    assert first != second
    assert town.bob.put("/sharings/lost/metadata", token=token, json_body={"description": "x"}).status_code == 204


def test_a_preview_shows_the_member_and_makes_him_seen(town: Town) -> None:
    alice = town.alice
    sharing = share(alice, people(contact(alice, "previewer")), app_slug="drive", preview_path="/preview")
    code = short_code(alice, sharing)
    shown = alice.get("/permissions/self", token=code).json()
    assert shown["data"]["attributes"]["source_id"] == f"io.cozy.sharings/{sharing}"
    assert shown["included"][0]["attributes"]["status"] == "seen"
    assert "codes" not in shown["data"]["attributes"]
    assert member(alice, sharing)["status"] == "seen"
    assert alice.get(f"/sharings/{sharing}", token=code).status_code == 200
    assert alice.patch(f"/sharings/{sharing}", token=code, json_body={"data": {"attributes": {}}}).status_code == 400
    found = alice.http.post(
        f"/sharings/{sharing}/discovery",
        data={"sharecode": code, "url": town.bob.url},
        headers={"Accept": "application/json"},
    )
    assert found.json()["email"] == "previewer@example.org"
    assert alice.delete(f"/sharings/{sharing}/recipients/1", *ALL).status_code == 204
    assert alice.get("/permissions/self", token=code).status_code == 400


def test_a_group_without_anybody_reachable_waits(town: Town) -> None:
    alice = town.alice
    bob5 = contact(alice, "bob5", email="")
    sharing = share(alice, people(contact(alice, "first"), groups=(group(alice, "Friends", bob5),)))
    assert member(alice, sharing, 2) == {
        "status": "mail-not-sent", "name": "bob5", "only_in_groups": True, "groups": [0],
    }  # fmt: skip
