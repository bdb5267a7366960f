"""What people see of a sharing: who has what, what waits, why, and what to do (spec/11 §4)."""

from __future__ import annotations

import pytest
from tests.api.sharing_town import (
    ALL,
    TESTS,
    Body,
    Scripted,
    Town,
    carol2,
    contact,
    create,
    eventually,
    folder,
    group,
    mail_to,
    people,
    rule,
    share,
    shared_document,
    town,
    update,
)
from tests.servers import Person

from inglenook.identity.translations import translate
from inglenook.mail import outbox
from inglenook.mail.letter import Address, Letter
from inglenook.sharing.handshake import STEPS
from inglenook.storage.documents.contract import Writer

__all__ = ["carol2", "town"]

STATES = {"waiting_for_acceptance", "initial_copy", "up_to_date", "behind", "unreachable", "needs_attention"}


def status(person: Person, sharing: str, index: int = 1) -> Body:
    """The status of one member."""
    answer = person.get(f"/sharings/{sharing}/status", *ALL)
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert (data["type"], data["id"]) == ("io.cozy.sharings.status", sharing)
    return data["attributes"]["members"][index]


def until(person: Person, sharing: str, state: str, index: int = 1) -> Body:
    """The status of a member who has come to a state, awaited."""
    assert state in STATES
    eventually(lambda: status(person, sharing, index)["state"] == state, f"{sharing}: {state}")
    return status(person, sharing, index)


def wants_everything(carol2: Scripted) -> None:
    """Carol2 misses whatever she is asked about."""
    carol2.on("POST", "_revs_diff$", lambda call: (200, {key: {"missing": revs} for key, revs in call.json.items()}))


def joined(alice: Person, carol2: Scripted, *, settled: bool = True) -> tuple[str, str]:
    """A document of alice's, shared with carol2; gives it and the sharing."""
    id = create(alice, TESTS, {"text": "hello"})
    sharing = share(alice, people(contact(alice, "carol2", email=carol2.email, url=carol2.url)), [rule(id)])
    carol2.join(alice, sharing)
    if settled:
        until(alice, sharing, "up_to_date")
    return id, sharing


def test_who_is_invited_is_waited_for(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    sharing = share(alice, people(contact(alice, "bob2")))
    told = status(alice, sharing)
    assert (told["state"], told["status"], told["name"]) == ("waiting_for_acceptance", "pending", "bob2")
    assert told["pending"] == {"documents": 0, "bytes": 0}
    assert told["summary"] == "bob2 was invited and has not answered yet."
    assert "add them again" in told["advice"]
    assert status(alice, sharing, 0)["state"] == "up_to_date"


def test_who_can_be_reached_in_no_way_needs_attention(town: Town) -> None:
    alice = town.alice
    bob5 = contact(alice, "Bob5", email="")
    sharing = share(alice, people(groups=(group(alice, "Captains", bob5, contact(alice, "ahab")),)))
    told = {one["name"]: one for one in (status(alice, sharing, 1), status(alice, sharing, 2))}
    assert told["ahab"]["state"] == "waiting_for_acceptance"
    assert told["Bob5"]["state"] == "needs_attention"
    assert told["Bob5"]["last_error"]["code"] == "no_address"
    assert "mail address" in told["Bob5"]["advice"]


def test_a_mail_that_was_given_up_is_told_and_can_be_sent_again(town: Town) -> None:
    alice = town.alice
    sharing = share(alice, people(contact(alice, "lost", email="lost@nowhere.example")))
    mail_to(alice, "lost@nowhere.example")
    lost = Letter(mode="from", template_name="sharing_request", to=[Address("Lost", "lost@nowhere.example")])

    def fail(tx: Writer) -> None:
        outbox.give_up(tx, "gone", lost, "550 nobody here", alice.server.env.clock.now().timestamp())

    alice.server.do(lambda _: alice.instance.store.write(fail))
    told = status(alice, sharing)
    assert (told["state"], told["last_error"]["code"]) == ("needs_attention", "mail_failed")
    assert told["summary"] == "The invitation of lost could not be mailed: 550 nobody here"
    assert alice.post(f"/sharings/{sharing}/recipients/1/retry", *ALL).status_code == 204
    mail_to(alice, "lost@nowhere.example", count=2)
    assert status(alice, sharing)["state"] == "waiting_for_acceptance"


def test_who_has_everything_is_up_to_date(town: Town, carol2: Scripted) -> None:
    _, sharing = joined(town.alice, carol2)
    told = status(town.alice, sharing)
    assert told["summary"] == "carol2 has everything."
    assert told["last_success_at"].endswith("Z")
    assert told["last_error"] is None
    assert told["next_try_at"] is None
    assert told["progress"] is None
    assert told["advice"] == ""


def test_who_is_away_is_unreachable_until_somebody_tries_again(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    id, sharing = joined(alice, carol2)
    carol2.on("POST", f"/sharings/{sharing}/", (503, None))
    update(alice, TESTS, id, text="changed")
    told = until(alice, sharing, "unreachable")
    assert told["pending"]["documents"] == 1
    assert told["next_try_at"] > told["last_error"]["at"]
    assert told["last_error"]["code"] == "unreachable"
    assert told["summary"].startswith("The server of carol2 does not answer; 1 change (")
    carol2.script.clear()
    assert alice.post(f"/sharings/{sharing}/recipients/1/retry", *ALL).status_code == 204
    assert until(alice, sharing, "up_to_date")["pending"]["documents"] == 0


def test_a_document_that_is_refused_needs_attention_and_is_tried_again_on_demand(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    id, sharing = joined(alice, carol2)
    error = {"errors": [{"status": "413", "title": "Request Entity Too Large", "detail": "no room for it"}]}
    wants_everything(carol2)
    carol2.on("POST", f"/sharings/{sharing}/_bulk_docs$", (413, error))
    update(alice, TESTS, id, text="changed")
    told = until(alice, sharing, "needs_attention")
    assert told["last_error"]["code"] == "no_room"
    assert told["waiting"][0]["what"] == f"{TESTS}/{id}"
    assert "no room for it" in told["waiting"][0]["reason"]
    assert told["pending"]["documents"] == 1
    tried = carol2.count("POST", f"/sharings/{sharing}/_bulk_docs$")
    eventually(lambda: status(alice, sharing)["waiting"][0]["attempts"] >= 2)
    carol2.script.clear()
    wants_everything(carol2)
    assert alice.post(f"/sharings/{sharing}/recipients/1/retry", *ALL).status_code == 204
    until(alice, sharing, "up_to_date")
    assert carol2.count("POST", f"/sharings/{sharing}/_bulk_docs$") > tried


def test_a_member_whose_server_refuses_everything_needs_attention(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    id, sharing = joined(alice, carol2)
    carol2.on("POST", f"/sharings/{sharing}/(_revs_diff|_bulk_docs)$", (403, {"error": "Forbidden"}))
    update(alice, TESTS, id, text="changed")
    told = until(alice, sharing, "needs_attention")
    assert told["last_error"]["code"] == "refused"
    assert told["pending"]["documents"] == 1
    carol2.script.clear()
    assert alice.post(f"/sharings/{sharing}/recipients/1/retry", *ALL).status_code == 204
    until(alice, sharing, "up_to_date")


def test_the_first_copy_tells_how_far_it_is(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    ids = [create(alice, TESTS, {"n": n}) for n in range(3)]
    sharing = share(alice, people(contact(alice, "carol2", email=carol2.email, url=carol2.url)), [rule(*ids)])
    carol2.on("POST", f"/sharings/{sharing}/_bulk_docs$", (500, None))
    carol2.join(alice, sharing)
    eventually(lambda: status(alice, sharing)["pending"]["documents"] == 3)
    told = status(alice, sharing)
    assert told["progress"] == {"done": 0, "total": 3}
    assert told["state"] in ("initial_copy", "needs_attention")
    carol2.script.clear()
    assert alice.post(f"/sharings/{sharing}/recipients/1/retry", *ALL).status_code == 204
    assert until(alice, sharing, "up_to_date")["progress"] is None


def test_the_size_of_what_waits_is_told(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    shared = folder(alice, "Sizes", "twelve bytes", "five.")
    files = [rule(shared, doctype="io.cozy.files")]
    sharing = share(alice, people(contact(alice, "carol2", email=carol2.email, url=carol2.url)), files)
    carol2.on("PUT", f"/sharings/{sharing}/io.cozy.files/", (503, None))
    carol2.join(alice, sharing)
    carol2.got("PUT", f"/sharings/{sharing}/io.cozy.files/", 2)
    told = until(alice, sharing, "needs_attention")
    assert told["pending"] == {"documents": 2, "bytes": 17}


def test_a_recipient_sees_his_side(town: Town, carol2: Scripted) -> None:
    alice, bob = town.alice, town.bob
    sharing = shared_document(alice, bob)
    assert until(bob, sharing, "up_to_date", 0)["summary"] == "Alice has everything."
    mine = status(bob, sharing, 1)
    assert (mine["state"], mine["summary"]) == ("up_to_date", "You take part.")
    assert carol2.invites(bob, "not-answered").status_code == 201
    assert status(bob, "not-answered", 1)["state"] == "waiting_for_acceptance"
    assert status(bob, "not-answered", 0)["summary"] == "Carol2 wants to share this with you."
    assert bob.post(f"/sharings/{sharing}/recipients/0/retry", *ALL).status_code == 204


def test_a_first_copy_that_arrives_is_counted(town: Town, carol2: Scripted) -> None:
    bob = town.bob
    files = [rule("00112233445566778899aabbccddeeff", doctype="io.cozy.files")]
    carol2.shares(bob, "arriving", rules=files, initial_number_of_files_to_sync=4)
    told = status(bob, "arriving", 1)
    assert (told["state"], told["progress"]) == ("initial_copy", {"done": 0, "total": 4})


def test_who_is_out_is_told_to_be_out(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    _, sharing = joined(alice, carol2)
    carol2.on("DELETE", f"/sharings/{sharing}$", (503, None))
    assert alice.delete(f"/sharings/{sharing}/recipients/1", *ALL).status_code == 204
    eventually(lambda: status(alice, sharing)["last_error"])
    told = status(alice, sharing)
    assert (told["state"], told["last_error"]["code"]) == ("revoked", "not_told")
    assert told["waiting"][0]["what"] == "the notice that it is over"
    assert "new invitation" in told["advice"]
    carol2.script.clear()
    assert alice.post(f"/sharings/{sharing}/recipients/1/retry", *ALL).status_code == 204
    eventually(lambda: not status(alice, sharing)["waiting"])


def test_whose_server_lets_nobody_in_or_has_moved_is_told_with_what_to_do(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    id, sharing = joined(alice, carol2)
    own = {"token_type": "bearer", "access_token": f"access-{sharing}", "refresh_token": f"refresh-{sharing}"}
    carol2.answer_again(alice, sharing, access_token=own)
    dead = (400, {"error": "Invalid JWT token"})
    for status_of_renewal, code, words in (
        (400, "access_ended", "The server of carol2 does not accept this sharing any more; 1 change is not sent."),
        (410, "moved", "carol2 has moved, and the new address is not known here yet; 1 change is not sent."),
    ):
        carol2.on("POST", f"/sharings/{sharing}/", dead)
        carol2.on("POST", "^/auth/access_token$", (status_of_renewal, {"error": "invalid refresh token"}))
        update(alice, TESTS, id, text=code)
        told = until(alice, sharing, "needs_attention")
        assert (told["last_error"]["code"], told["summary"]) == (code, words)
        assert told["advice"]
        assert told["next_try_at"]
        carol2.script.clear()
        assert alice.post(f"/sharings/{sharing}/recipients/1/retry", *ALL).status_code == 204
        until(alice, sharing, "up_to_date")


def test_who_has_left_is_told_so(town: Town) -> None:
    alice, bob = town.alice, town.bob
    sharing = shared_document(alice, bob)
    assert bob.delete(f"/sharings/{sharing}/recipients/self", *ALL).status_code == 204
    assert status(bob, sharing, 0)["summary"] == "Nothing comes from Alice any more."
    told = status(bob, sharing)
    assert (told["state"], told["summary"][:32]) == ("revoked", "You do not take part any more. W")
    assert told["advice"] == ""


def test_the_status_is_for_clients_that_may_read_the_sharing(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    id, sharing = joined(alice, carol2, settled=False)
    path = f"/sharings/{sharing}/status"
    assert alice.get(path).status_code == 401
    assert alice.get(path, token="garbage").status_code == 400
    assert alice.get(path, "io.cozy.contacts").status_code == 403
    assert alice.get(path, f"io.cozy.tests:GET:{id}").status_code == 200
    assert alice.get("/sharings/nothing/status", *ALL).status_code == 404
    text = alice.get(path, *ALL).text
    for secret in ("a-token", "r-token", "carol2-client", "xor_key", "credentials"):
        assert secret not in text
    retry = f"/sharings/{sharing}/recipients/1/retry"
    assert alice.post(retry).status_code == 401
    assert alice.post(retry, "io.cozy.tests:GET").status_code == 403
    for wrong in ("0", "7", "x", "-1"):
        assert alice.post(f"/sharings/{sharing}/recipients/{wrong}/retry", *ALL).status_code == 422


def test_the_words_are_in_the_language_of_the_instance(town: Town) -> None:
    alice2 = town.here.add("alice2", passphrase="cozy", locale="fr")
    sharing = share(alice2, people(contact(alice2, "bob2")))
    assert status(alice2, sharing)["summary"] == "bob2 a été invité·e et n'a pas encore répondu."


@pytest.mark.parametrize("locale", ["en", "fr"])
def test_whatever_can_wait_has_a_name(locale: str) -> None:
    for step in STEPS:
        key = f"sharing.status.step.{step}"
        assert translate(locale, key) != key
