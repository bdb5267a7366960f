"""Answers that people can give: no, and may I do more (spec/11 §5, spec/08 §10.5)."""

from __future__ import annotations

from tests.api.sharing_town import (
    ALL,
    TESTS,
    Scripted,
    Town,
    accept,
    add,
    attributes,
    by_path,
    carol2,
    contact,
    create,
    eventually,
    join,
    mail_to,
    member,
    people,
    rule,
    share,
    short_code,
    state_of,
    town,
)
from tests.browser_forms import Browser, fields
from tests.servers import Person

__all__ = ["carol2", "town"]


def refuse(owner: Person, sharing: str, **proof: str) -> int:
    """Decline an invitation as the server of an invited person does; gives the status."""
    return owner.post(f"/sharings/{sharing}/refusal", json_body=proof).status_code


def invited(owner: Person, carol2: Scripted, **more: object) -> str:
    """A sharing to which carol2 is invited."""
    return share(owner, people(contact(owner, "carol2", email=carol2.email, url=carol2.url)), **more)


# -- no


def test_who_declines_is_out_and_can_be_invited_again(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    sharing = invited(alice, carol2)
    state = state_of(alice, sharing)
    assert refuse(alice, sharing, state=state) == 204
    gone = member(alice, sharing)
    assert (gone["status"], gone["declined_at"][:4].isdigit()) == ("revoked", True)
    assert carol2.answer(alice, sharing, state).status_code == 404, "the state has died"
    assert refuse(alice, sharing, state=state) == 404
    assert add(alice, sharing, people(contact(alice, "carol2", email=carol2.email, url=carol2.url))).status_code == 200
    again = member(alice, sharing)
    assert again["status"] == "pending"
    assert "declined_at" not in again
    carol2.join(alice, sharing)
    assert attributes(alice, sharing)["active"] is True


def test_a_refusal_needs_a_proof_of_the_invitation(town: Town, carol2: Scripted) -> None:
    alice, bob = town.alice, town.bob
    sharing = invited(alice, carol2)
    assert refuse(alice, "nothing", state="x") == 404
    assert refuse(alice, sharing, state="guessed") == 404
    assert refuse(alice, sharing, sharecode="guessed12345") == 404
    assert refuse(alice, sharing) == 400
    for raw in (b"", b"[]", b"{", b'{"state": 7}', b"\xff"):
        headers = {"Content-Type": "application/json"}
        assert alice.post(f"/sharings/{sharing}/refusal", content=raw, headers=headers).status_code == 400
    state = state_of(alice, sharing)
    carol2.join(alice, sharing)
    assert refuse(alice, sharing, state=state) == 409, "accepted already"
    assert member(alice, sharing)["status"] == "ready"
    assert carol2.invites(bob, "of-carol2").status_code == 201
    assert refuse(bob, "of-carol2", state="x") == 400, "only the owner's server takes refusals"


def test_a_preview_can_be_declined_and_closes(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    sharing = invited(alice, carol2, app_slug="notes", preview_path="/preview")
    code = short_code(alice, sharing)
    assert alice.get(f"/sharings/{sharing}", token=code).status_code == 200
    assert refuse(alice, sharing, sharecode=code) == 204
    assert member(alice, sharing)["status"] == "revoked"
    assert alice.get(f"/sharings/{sharing}", token=code).status_code == 403


def test_the_others_learn_that_somebody_has_declined(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    both = people(contact(alice, "carol2", email=carol2.email, url=carol2.url), contact(alice, "bob2"))
    sharing = share(alice, both)
    carol2.join(alice, sharing)
    assert refuse(alice, sharing, state=state_of(alice, sharing, 2)) == 204
    eventually(lambda: carol2.got("PUT", f"/sharings/{sharing}/recipients$").json["data"][2]["status"] == "revoked")
    assert attributes(alice, sharing)["active"] is True


def test_the_button_on_the_page_of_the_discovery_declines(town: Town) -> None:
    alice = town.alice
    sharing = share(alice, people(contact(alice, "harriet")))
    page = alice.get(f"/sharings/{sharing}/discovery", params={"state": state_of(alice, sharing)})
    assert f'action="/sharings/{sharing}/refusal"' in page.text
    form = {name: value for name, value in fields(page.text).items() if name in ("state", "sharecode")}
    answer = alice.post(f"/sharings/{sharing}/refusal", data=form, headers={"Accept": "text/html"})
    assert answer.status_code == 200
    assert "You have declined" in answer.text
    assert member(alice, sharing)["status"] == "revoked"
    assert alice.get(f"/sharings/{sharing}/discovery", params=form).status_code == 400


def decline(person: Person, sharing: str, state: str) -> str:
    """Press the other button on the page of one's own server; gives the page that follows."""
    browser = Browser(person)
    browser.login()
    page = browser.get("/auth/authorize/sharing", params={"sharing_id": sharing, "state": state})
    assert page.status_code == 200, page.text
    form = {name: value for name, value in fields(page.text).items() if name in ("csrf_token", "state")}
    answer = browser.post(f"/auth/authorize/sharing/{sharing}/decline", data=form)
    assert answer.status_code == 200, answer.text
    again = browser.get("/auth/authorize/sharing", params={"sharing_id": sharing, "state": state})
    assert again.status_code == 400, "there is nothing to agree to any more"
    return answer.text


def test_declining_at_home_is_told_to_the_owner(town: Town) -> None:
    alice, bob = town.alice, town.bob
    sharing = share(alice, people(contact(alice, "bob", url=bob.url)), description="No thanks")
    eventually(lambda: by_path(bob, "/Inbox of sharings/No thanks.url"))
    assert "You have declined" in decline(bob, sharing, state_of(alice, sharing))
    assert member(alice, sharing)["status"] == "revoked"
    assert member(alice, sharing)["declined_at"]
    mine = attributes(bob, sharing)
    assert [one["status"] for one in mine["members"]] == ["revoked", "revoked"]
    assert mine["members"][1]["declined_at"]
    assert by_path(bob, "/Inbox of sharings/No thanks.url") is None
    assert add(alice, sharing, people(contact(alice, "bob", url=bob.url))).status_code == 200
    eventually(lambda: by_path(bob, "/Inbox of sharings/No thanks.url"))
    join(alice, bob, sharing)


def test_a_client_that_leaves_an_unanswered_request_declines_it(town: Town, carol2: Scripted) -> None:
    bob = town.bob
    assert carol2.invites(bob, "unanswered").status_code == 201
    carol2.on("POST", "/sharings/unanswered/refusal$", (503, None))
    assert bob.delete("/sharings/unanswered/recipients/self", *ALL).status_code == 204
    carol2.got("POST", "/sharings/unanswered/refusal$")
    carol2.script.clear()
    told = carol2.got("POST", "/sharings/unanswered/refusal$", 2)
    assert told.json == {"state": "s"}
    assert "authorization" not in told.headers
    assert carol2.count("DELETE", "/sharings/unanswered/answer$") == 0


def test_a_server_that_knows_no_refusals_is_not_asked_again(town: Town, carol2: Scripted) -> None:
    bob = town.bob
    carol2.on("POST", "/refusal$", (404, {"error": "Not Found"}))
    assert carol2.invites(bob, "of-another-make").status_code == 201
    assert bob.delete("/sharings/of-another-make/recipients/self", *ALL).status_code == 204
    carol2.got("POST", "/sharings/of-another-make/refusal$")
    waiting = bob.get("/sharings/of-another-make/status", *ALL).json()["data"]["attributes"]["members"]
    assert waiting[0]["waiting"] == []
    assert bob.get("/sharings/news", *ALL).status_code == 200


# -- may I do more


def readers(alice: Person, carol2: Scripted) -> tuple[str, str]:
    """A sharing that carol2 may only read; gives it and her token."""
    reader = contact(alice, "carol2-reads", email=carol2.email, url=carol2.url)
    id = create(alice, TESTS, {"text": "hello"})
    sharing = share(alice, people(readers=(reader,)), [rule(id)], description="Recipes")
    return sharing, carol2.join(alice, sharing)


def test_a_reader_asks_and_the_owner_decides_with_a_button(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    sharing, token = readers(alice, carol2)
    path = f"/sharings/{sharing}/request-access"
    assert alice.post(path, token=token, json_body={"message": "I found a mistake"}).status_code == 204
    assert member(alice, sharing)["asked_at"]
    letter = mail_to(alice, "alice@example.com")
    assert "Carol2" in letter or "carol2" in letter
    assert "I found a mistake" in letter
    link = f"/auth/authorize/sharing/{sharing}/access/1"
    assert link in letter.replace("=\n", "")
    browser = Browser(alice)
    assert browser.get(link).status_code == 303, "who is not logged in logs in first"
    browser.login()
    form = {name: value for name, value in fields(browser.get(link).text).items() if name}
    assert browser.post(link, data={"csrf_token": "wrong"}).status_code == 403
    assert "read_only" in member(alice, sharing)
    granted = browser.post(link, data=form)
    assert granted.status_code == 200, granted.text
    told = member(alice, sharing)
    assert "read_only" not in told
    assert "asked_at" not in told
    carol2.got("DELETE", f"/sharings/{sharing}/recipients/self/readonly$")
    assert browser.get(link).status_code == 400


def test_asking_again_sends_no_second_letter(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    sharing, token = readers(alice, carol2)
    path = f"/sharings/{sharing}/request-access"
    first = alice.post(path, token=token).status_code
    asked = member(alice, sharing)["asked_at"]
    assert (first, alice.post(path, token=token).status_code) == (204, 204)
    assert member(alice, sharing)["asked_at"] == asked


def test_only_who_takes_part_may_ask(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    sharing, token = readers(alice, carol2)
    other, _ = readers(alice, carol2)
    path = f"/sharings/{sharing}/request-access"
    assert alice.post(path).status_code == 401
    assert alice.post(path, token="garbage").status_code == 400
    assert alice.post(path, *ALL).status_code == 403, "the owner asks nobody"
    assert alice.post(f"/sharings/{other}/request-access", token=token).status_code == 403
    assert alice.post(path, token=token, json_body={"message": "x" * 501}).status_code == 400
    assert alice.post(path, token=token, json_body=[1]).status_code == 400
    assert alice.delete(f"/sharings/{sharing}/recipients/1/readonly", *ALL).status_code == 204
    writing = carol2.got("DELETE", f"/sharings/{sharing}/recipients/self/readonly$").json["data"]["attributes"]
    assert alice.post(path, token=writing["access_token"]["access_token"]).status_code == 409


def test_a_preview_may_ask(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    reader = contact(alice, "carol2-previews", email=carol2.email, url=carol2.url)
    sharing = share(alice, people(readers=(reader,)), app_slug="notes", preview_path="/preview")
    code = short_code(alice, sharing)
    assert alice.post(f"/sharings/{sharing}/request-access", token=code).status_code == 204
    assert member(alice, sharing)["asked_at"]


def test_a_client_asks_through_his_own_server(town: Town) -> None:
    alice, bob = town.alice, town.bob
    sharing = share(alice, people(readers=(contact(alice, "bob-reads", url=bob.url),)))
    assert accept(bob, sharing, state_of(alice, sharing)).status_code == 303
    assert bob.post(f"/sharings/{sharing}/request-access", *ALL).status_code == 204
    assert member(alice, sharing)["asked_at"]
    assert bob.post(f"/sharings/{sharing}/request-access", "io.cozy.contacts").status_code == 403
