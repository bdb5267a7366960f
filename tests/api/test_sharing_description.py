"""A new description reaches also who has not answered yet, and a sharing tells when it was changed (spec/04 §16,
§30.17)."""

from __future__ import annotations

from tests.api.sharing_town import (
    ALL,
    Person,
    Scripted,
    Town,
    add,
    attributes,
    carol2,
    contact,
    eventually,
    join,
    member,
    people,
    share,
    state_of,
    town,
)

__all__ = ["carol2", "town"]


def invite(alice: Person, carol2: Scripted) -> str:
    """A sharing to which carol2 is invited."""
    return share(alice, people(contact(alice, "carol2", email=carol2.email, url=carol2.url)))


def describe(alice: Person, sharing: str, text: str) -> None:
    """Change the description."""
    body = {"data": {"attributes": {"description": text}}}
    assert alice.patch(f"/sharings/{sharing}", *ALL, json_body=body).status_code == 200


def test_who_has_not_answered_yet_gets_the_request_again(town: Town, carol2: Scripted) -> None:
    sharing = invite(town.alice, carol2)
    first = carol2.got("PUT", f"/sharings/{sharing}$")
    describe(town.alice, sharing, "Other words")
    again = carol2.got("PUT", f"/sharings/{sharing}$", 2)
    assert again.query == {}, "no second shortcut, and no second mail"
    assert again.json["data"]["attributes"]["description"] == "Other words"
    assert "authorization" not in again.headers
    assert again.json["data"]["attributes"]["rules"] == first.json["data"]["attributes"]["rules"]
    assert member(town.alice, sharing)["status"] == "pending"


def test_a_request_that_waits_shows_the_new_description_and_is_good_as_before(town: Town) -> None:
    alice, bob = town.alice, town.bob
    sharing = share(alice, people(contact(alice, "bob", url=bob.url)))
    before = attributes(bob, sharing)
    describe(alice, sharing, "Other words")
    eventually(lambda: attributes(bob, sharing)["description"] == "Other words", "the new words at bob's")
    after = attributes(bob, sharing)
    assert after["shortcut_id"] == before["shortcut_id"]
    assert after["members"] == before["members"]
    join(alice, bob, sharing)


def test_who_has_accepted_meanwhile_gets_it_in_the_other_way(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    sharing = invite(alice, carol2)
    carol2.got("PUT", f"/sharings/{sharing}$")
    state = state_of(alice, sharing)

    def accept_first(_: object) -> tuple[int, None]:
        assert carol2.answer(alice, sharing, state).status_code == 200
        return 409, None

    carol2.on("PUT", f"/sharings/{sharing}$", accept_first)
    describe(alice, sharing, "Other words")
    assert carol2.got("PUT", f"/sharings/{sharing}/metadata$").json == {"description": "Other words"}


def test_a_sharing_tells_when_it_was_changed(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    sharing = invite(alice, carol2)
    shown = attributes(alice, sharing)
    assert shown["updated_at"] == shown["created_at"]
    carol2.join(alice, sharing)
    assert attributes(alice, sharing)["updated_at"] == shown["created_at"], "an answer is no change of the owner's"
    last = shown["updated_at"]

    def changed() -> None:
        nonlocal last
        now = attributes(alice, sharing)
        assert now["updated_at"] > last
        assert now["created_at"] == shown["created_at"]
        last = now["updated_at"]

    describe(alice, sharing, "Other words")
    changed()
    describe(alice, sharing, "Other words")
    assert attributes(alice, sharing)["updated_at"] == last, "the same words are no change"
    assert add(alice, sharing, people(contact(alice, "bob2"))).status_code == 200
    changed()
    assert alice.post(f"/sharings/{sharing}/recipients/2/readonly", *ALL).status_code == 204
    changed()
    assert alice.delete(f"/sharings/{sharing}/recipients/2", *ALL).status_code == 204
    changed()
