"""The statuses and words of the routes of sharings, line by line of the specification (spec/04)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.sharing_town import (
    ALL,
    TESTS,
    Scripted,
    Town,
    accept,
    attributes,
    carol2,
    contact,
    create,
    folder,
    group,
    member,
    people,
    rule,
    share,
    short_code,
    state_of,
    town,
)
from tests.browser_forms import Browser
from tests.servers import Person

__all__ = ["carol2", "town"]

WRONG_STATE = "Sharing is not in the expected state"


def said(answer: Any) -> tuple[int, str, str]:
    """Status, title and detail of a JSON:API error."""
    assert answer.headers["content-type"].startswith("application/vnd.api+json"), answer.text
    [error] = answer.json()["errors"]
    assert error["status"] == str(answer.status_code)
    assert "source" in error
    return answer.status_code, error["title"], error["detail"]


def owned(alice: Person, carol2: Scripted, **more: Any) -> tuple[str, str]:
    """A sharing of alice's that carol2 has accepted, and carol2's token."""
    sharing = share(alice, people(contact(alice, "carol2", email=carol2.email, url=carol2.url)), **more)
    return sharing, carol2.join(alice, sharing)


def test_creation_with_and_without_the_slash(town: Town) -> None:
    alice = town.alice
    body = {
        "data": {
            "attributes": {"description": "d", "rules": [rule(create(alice, TESTS, {}))]},
            "relationships": people(contact(alice, "slash")),
        }
    }
    assert alice.post("/sharings/", *ALL, json_body=body).status_code == 201
    assert alice.post("/sharings", *ALL, json_body=body).status_code == 201
    assert alice.post("/sharings", json_body=body).status_code == 403


def test_an_unknown_sharing_is_a_missing_document(town: Town) -> None:
    alice = town.alice
    missing = (404, "not_found", "missing")
    for method, path in (
        ("GET", ""), ("PATCH", ""), ("DELETE", "/recipients"), ("DELETE", "/recipients/1"), ("DELETE", "/groups/0"),
        ("DELETE", "/recipients/self"), ("POST", "/recipients"), ("POST", "/recipients/1/readonly"),
        ("GET", "/recipients/1/avatar"), ("POST", "/answer"), ("POST", "/discovery"), ("GET", "/status"),
    ):  # fmt: skip
        assert said(alice.call(method, f"/sharings/unknown{path}", *ALL)) == missing, (method, path)


def test_the_four_routes_of_the_end_answer_403_to_whom_it_does_not_concern(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    sharing, token = owned(alice, carol2)
    for path in ("recipients", "recipients/1", "groups/0", "recipients/self"):
        for wrong in ("", "garbage", token, alice.token("io.cozy.tests:GET"), alice.token("io.cozy.contacts")):
            answer = alice.delete(f"/sharings/{sharing}/{path}", token=wrong)
            assert (answer.status_code, answer.text) == (403, "Forbidden"), (path, wrong[:8])
    assert member(alice, sharing)["status"] == "ready"


def test_what_only_the_other_side_can_do_is_a_wrong_state(town: Town, carol2: Scripted) -> None:
    alice, bob = town.alice, town.bob
    sharing, token = owned(alice, carol2)
    carol2_token = carol2.shares(bob, "of-carol2-wrong-state")
    wrong = (400, "Bad Request", WRONG_STATE)
    assert said(alice.delete(f"/sharings/{sharing}/recipients/self", *ALL)) == wrong
    assert said(alice.delete(f"/sharings/{sharing}", token=token)) == wrong
    assert said(bob.delete("/sharings/of-carol2-wrong-state/recipients", *ALL)) == wrong
    assert said(bob.delete("/sharings/of-carol2-wrong-state/groups/0", *ALL)) == wrong
    assert said(bob.delete("/sharings/of-carol2-wrong-state/answer", token=carol2_token)) == wrong
    assert bob.delete("/sharings/of-carol2-wrong-state/recipients/1", *ALL).status_code == 403
    preview = bob.post("/sharings/of-carol2-wrong-state/preview-url", json_body={"state": "x"})
    assert said(preview) == wrong


def test_the_address_of_a_preview(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    invited = people(contact(alice, "carol2", email=carol2.email, url=carol2.url))
    plain, rich = share(alice, invited), share(alice, invited, app_slug="notes", preview_path="/preview")

    def ask(sharing: str, **body: str) -> Any:
        return alice.post(f"/sharings/{sharing}/preview-url", json_body=body)

    assert ask(rich).status_code == 400
    assert said(ask(rich, state="nobody")) == (404, "Not Found", "The member was not found")
    assert said(ask(plain, state=state_of(alice, plain)))[:2] == (404, "not_found")
    answer = ask(rich, state=state_of(alice, rich))
    code = short_code(alice, rich)
    assert answer.status_code == 200
    assert answer.json()["url"].endswith(f"/preview?sharecode={code}")
    state = state_of(alice, rich)
    carol2.join(alice, rich)
    assert said(ask(rich, state=state)) == (409, "Conflict", "Sharing already accepted by this recipient")


def test_the_code_of_a_preview_lives_as_long_as_its_member(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    invited = people(contact(alice, "carol2", email=carol2.email, url=carol2.url))
    sharing = share(alice, invited, app_slug="notes", preview_path="/preview")
    code = short_code(alice, sharing)
    assert alice.get(f"/sharings/{sharing}", token=f"{code}.").status_code == 200, "a dot at the end is tolerated"
    assert member(alice, sharing)["status"] == "seen"
    shown = alice.get("/permissions/self", token=code).json()
    assert shown["data"]["attributes"]["source_id"] == f"io.cozy.sharings/{sharing}"
    assert shown["data"]["links"]["related"] == f"/sharings/{sharing}"
    assert "codes" not in shown["data"]["attributes"]
    assert [one["type"] for one in shown["included"]] == ["io.cozy.sharings.members"]
    other = share(alice, people(contact(alice, "other")))
    assert alice.get(f"/sharings/{other}", token=code).status_code == 403
    assert alice.get(f"/sharings/{sharing}", token="abcdefgh1234").status_code == 403
    keep = people(contact(alice, "keeps it open"))
    body = {"data": {"attributes": {}, "relationships": keep}}
    assert alice.post(f"/sharings/{sharing}/recipients", *ALL, json_body=body).status_code == 200
    assert short_code(alice, sharing) == code, "codes are kept when people are added"
    assert alice.delete(f"/sharings/{sharing}/recipients/1", *ALL).status_code == 204
    revoked = alice.get(f"/sharings/{sharing}", token=code)
    assert (revoked.status_code, revoked.text) == (400, "Invalid JWT token")
    assert alice.delete(f"/sharings/{sharing}/recipients", *ALL).status_code == 204
    ended = alice.get(f"/sharings/{sharing}", token=code)
    assert (ended.status_code, ended.text) == (400, "Expired token")


def test_the_news_are_for_any_valid_token(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    _, token = owned(alice, carol2)
    for valid in (token, alice.token("io.cozy.contacts:GET")):
        answer = alice.get("/sharings/news", token=valid)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    for wrong in ("", "garbage"):
        assert alice.get("/sharings/news", token=wrong).status_code == 403


def test_the_pages_of_the_discovery_say_what_is_wrong(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    html = {"Accept": "text/html"}

    def look(sharing: str, **query: str) -> Any:
        answer = alice.get(f"/sharings/{sharing}/discovery", params=query, headers=html)
        assert answer.headers["content-type"].startswith("text/html")
        return answer

    sharing, _ = owned(alice, carol2)
    assert look("unknown", state="x").status_code == 400
    assert look(sharing, state="guessed").status_code == 400
    assert look(sharing).status_code == 400
    done = look(sharing, state=state_of(alice, sharing))
    assert done.status_code == 400
    assert f'href="{carol2.url}"' in done.text, "a button to one's own server"
    pending = share(alice, people(contact(alice, "bob2")))
    state = state_of(alice, pending)
    assert look(pending, state=state).status_code == 200
    assert alice.delete(f"/sharings/{pending}/recipients/1", *ALL).status_code == 204
    assert look(pending, state=state).status_code == 400


def test_the_pages_of_the_consent_say_what_is_wrong(town: Town, carol2: Scripted) -> None:
    bob, alice = town.bob, town.alice
    assert carol2.invites(bob, "to-agree").status_code == 201
    browser = Browser(bob)
    page = "/auth/authorize/sharing"
    assert browser.get(page, params={"sharing_id": "to-agree"}).status_code == 400
    assert browser.get(page, params={"state": "s"}).status_code == 400
    login = browser.get(page, params={"sharing_id": "to-agree", "state": "s"})
    assert login.status_code == 303
    assert login.headers["location"].startswith(f"{bob.url}/auth/login?redirect=")
    assert browser.get("/auth/authorize/sharing/to-agree/cancel", params={"state": "s"}).status_code == 401
    browser.login()
    assert browser.get(page, params={"sharing_id": "unknown", "state": "s"}).status_code == 400
    question = browser.get(page, params={"sharing_id": "to-agree", "state": "s"})
    assert question.status_code == 200
    assert "Carol2" in question.text
    assert browser.post(page, data={"sharing_id": "to-agree", "state": "s"}).status_code == 400
    forged = {"csrf_token": "forged", "sharing_id": "to-agree", "state": "s"}
    assert browser.post(page, data=forged).status_code == 403
    sharing = share(alice, people(contact(alice, "myself")))
    mine = Browser(alice)
    mine.login()
    assert mine.get(page, params={"sharing_id": sharing, "state": "s"}).status_code == 400


@pytest.mark.parametrize("status", [400, 403, 404, 409, 410, 500])
def test_an_owner_who_says_no_is_passed_on_as_a_page(town: Town, carol2: Scripted, status: int) -> None:
    bob = town.bob
    id = f"refused-{status}"
    assert carol2.invites(bob, id).status_code == 201
    carol2.on("POST", f"/sharings/{id}/answer$", (status, {"errors": []}))
    answer = accept(bob, id, "s")
    assert answer.status_code == (502 if status == 500 else 400)
    assert answer.headers["content-type"].startswith("text/html")
    assert "active" not in attributes(bob, id)
    carol2.script.clear()
    carol2.shares(bob, id)
    assert attributes(bob, id)["active"] is True, "nothing was lost: the button works again"


def test_a_description_left_out_becomes_empty(town: Town) -> None:
    alice = town.alice
    sharing = share(alice, people(contact(alice, "described")))
    path = f"/sharings/{sharing}"
    answer = alice.patch(path, *ALL, json_body={"data": {"type": "io.cozy.sharings", "attributes": {}}})
    assert answer.status_code == 200
    assert "description" not in answer.json()["data"]["attributes"]
    for wrong in (b"", b"{", b"[]", b'{"data": 3}', b'{"data": {"attributes": {"description": 3}}}'):
        assert alice.patch(path, *ALL, content=wrong).status_code == 400


def test_what_is_null_is_as_if_it_were_not_there(town: Town, carol2: Scripted) -> None:
    alice, bob = town.alice, town.bob
    nulls = {"selector": None, "mime": None, "local": None, "add": None}
    wanted = [{**rule(create(alice, TESTS, {})), **nulls}]
    sharing = share(alice, people(contact(alice, "null")), wanted, description=None, preview_path=None, app_slug=None)
    shown = attributes(alice, sharing)
    assert "description" not in shown
    assert shown["rules"] == [{**{k: v for k, v in wanted[0].items() if v is not None}, "add": "none"}]
    sent = [{**rule("00ff"), **nulls}]
    assert carol2.invites(bob, "ofnulls", rules=sent, groups=None, credentials=None).status_code == 201
    assert attributes(bob, "ofnulls")["rules"][0]["values"] == ["00ff"]
    token = carol2.shares(bob, "describedbynobody")
    path = "/sharings/describedbynobody/metadata"
    assert bob.put(path, token=token, json_body={"description": None}).status_code == 204
    assert "description" not in attributes(bob, "describedbynobody")


def test_a_sharing_with_a_preview_ends_once(town: Town) -> None:
    alice = town.alice
    plain = share(alice, people(contact(alice, "once")))
    shown = share(alice, people(contact(alice, "once more")), app_slug="drive", preview_path="/preview")
    for sharing in (plain, shown):
        assert alice.delete(f"/sharings/{sharing}/recipients", *ALL).status_code == 204
    assert alice.delete(f"/sharings/{plain}/recipients", *ALL).status_code == 204
    again = alice.delete(f"/sharings/{shown}/recipients", *ALL)
    assert said(again) == (400, "Bad Request", "code=400, message=Expired token")
    body = {"data": {"attributes": {}, "relationships": people(contact(alice, "once again"))}}
    assert alice.post(f"/sharings/{shown}/recipients", *ALL, json_body=body).status_code == 200
    assert alice.delete(f"/sharings/{shown}/recipients", *ALL).status_code == 204, "it had begun again"


def test_groups_that_end_and_come_again(town: Town) -> None:
    alice = town.alice
    friends = group(alice, "Friends", contact(alice, "ann"), contact(alice, "bob5"))
    sharing = share(alice, people(contact(alice, "cleo"), groups=(friends,)))
    assert alice.delete(f"/sharings/{sharing}/groups/0", *ALL).status_code == 204
    shown = attributes(alice, sharing)
    assert shown["groups"][0]["revoked"] is True
    by_mail = {one.get("email"): one for one in shown["members"]}
    assert by_mail["ann@example.org"]["status"] == by_mail["bob5@example.org"]["status"] == "revoked"
    assert by_mail["cleo@example.org"]["status"] == "pending"
    body = {"data": {"attributes": {}, "relationships": people(groups=(friends,))}}
    assert alice.post(f"/sharings/{sharing}/recipients", *ALL, json_body=body).status_code == 200
    shown = attributes(alice, sharing)
    assert [one.get("revoked", False) for one in shown["groups"]] == [True, False]
    assert {one["email"]: one["status"] for one in shown["members"][1:]}["ann@example.org"] == "pending"
    twice = alice.post(f"/sharings/{sharing}/recipients", *ALL, json_body=body)
    assert said(twice) == (400, "Bad Request", "The group cannot be added twice to the same sharing")


def test_a_member_of_a_group_keeps_his_rights(town: Town) -> None:
    alice = town.alice
    ann = contact(alice, "ann-rights")
    friends = group(alice, "Readers", ann)
    sharing = share(alice, people(contact(alice, "alice5"), groups=(friends,)))
    body = {"data": {"attributes": {}, "relationships": people(readers=(ann,))}}
    answer = alice.post(f"/sharings/{sharing}/recipients", *ALL, json_body=body)
    words = "A group member cannot be added as they are already in another group of the sharing"
    assert said(answer) == (400, "Bad Request", words)


def test_a_drive_says_what_its_root_is(town: Town) -> None:
    alice = town.alice
    root = folder(alice, "Drive of all", "notes.txt")
    invited = people(contact(alice, "drives"))
    sharing = share(alice, invited, [rule(root, doctype="io.cozy.files", kind="none")], drive=True)
    assert attributes(alice, sharing)["drive_root_type"] == "directory"
    body = {"data": {"attributes": {"drive": True, "rules": [rule("nowhere", doctype="io.cozy.files")]},
                     "relationships": invited}}  # fmt: skip
    assert alice.post("/sharings/", *ALL, json_body=body).status_code == 404
    assert alice.delete(f"/sharings/{sharing}/recipients/1").status_code == 401
    assert alice.delete(f"/sharings/{sharing}/recipients/1", token="garbage").status_code == 400
    assert alice.delete(f"/sharings/{sharing}/answer").status_code == 403
    assert alice.delete(f"/sharings/{sharing}/answer", token="garbage").status_code == 404


def test_the_form_at_a_recipients_says_whose_server_is_away(town: Town, carol2: Scripted) -> None:
    """The address may well be right: it is the owner's server that has to take it."""
    sharing = "statuses00000000000000000000away"
    carol2.shares(town.bob, sharing)
    path, form = f"/sharings/{sharing}/discovery", {"state": "s", "url": town.carol.url}
    carol2.on("POST", f"{path}$", (503, None))
    page = town.bob.post(path, data=form, headers={"Accept": "text/html"})
    assert page.status_code == 400
    assert "The server of Carol2 does not answer." in page.text
    told = town.bob.post(path, data=form, headers={"Accept": "application/json"})
    assert (told.status_code, told.json()) == (400, {"error": "The sharing request failed"})
    carol2.on("POST", f"{path}$", (400, {"error": "The Cozy URL is invalid"}))
    told = town.bob.post(path, data=form, headers={"Accept": "application/json"})
    assert (told.status_code, told.json()) == (400, {"error": "The Cozy URL is invalid"})


def test_what_the_owner_says_of_an_address_is_told_at_a_recipients(town: Town, carol2: Scripted) -> None:
    sharing = "statuses-of-an-address"
    carol2.token = "a token of this test alone"
    carol2.shares(town.bob, sharing)
    path, form = f"/sharings/{sharing}/discovery", {"state": "s", "url": town.carol.url}
    for said, words in (
        ("Sharing already accepted by this recipient", "You have already accepted this sharing"),
        ("The sharing request failed", "No space answers at this address"),
        ("The Cozy URL is invalid", "This does not look like the address"),
    ):
        carol2.on("POST", f"{path}$", (400, {"error": said}))
        page = town.bob.post(path, data=form, headers={"Accept": "text/html"})
        assert (page.status_code, words in page.text) == (400, True), said
        told = town.bob.post(path, data=form, headers={"Accept": "application/json"})
        assert (told.status_code, told.json()) == (400, {"error": "The Cozy URL is invalid"})


def test_a_browser_gets_a_page_also_when_nothing_can_be_done_with_an_address(town: Town, carol2: Scripted) -> None:
    alice, bob, html = town.alice, town.bob, {"Accept": "text/html"}
    sharing, _ = owned(alice, carol2)
    form = {"state": "guessed", "url": bob.url}
    for path in (f"/sharings/{sharing}/discovery", "/sharings/unknown/discovery"):
        page = alice.post(path, data=form, headers=html)
        assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=UTF-8")
        assert alice.post(path, data=form).headers["content-type"] == "application/vnd.api+json"
    left = "statuses-left-by-bob"
    carol2.shares(bob, left)
    assert bob.delete(f"/sharings/{left}/recipients/self", *ALL).status_code == 204
    page = bob.post(f"/sharings/{left}/discovery", data=form, headers=html)
    assert (page.status_code, "no longer available" in page.text) == (400, True)
