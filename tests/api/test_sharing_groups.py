"""Groups of contacts that change while they are in a sharing, on the owner's side and on a recipient's (spec/04 §17.6,
spec/07 §6.5)."""

from __future__ import annotations

from tests.api.sharing_town import (
    ALL,
    Body,
    Call,
    Person,
    Reply,
    Scripted,
    Town,
    add,
    attributes,
    carol2,
    contact,
    eventually,
    group,
    join,
    join_groups,
    mail_to,
    member,
    people,
    share,
    shared_document,
    town,
    update,
)

__all__ = ["carol2", "town"]


def both_kinds(writers: str, readers: str) -> Body:
    """A group that may write, and one that may read."""
    return {
        "recipients": {"data": [{"id": writers, "type": "io.cozy.contacts.groups"}]},
        "read_only_recipients": {"data": [{"id": readers, "type": "io.cozy.contacts.groups"}]},
    }


def statuses(person: Person, sharing: str) -> list[str]:
    """The statuses of the members but the owner."""
    return [one["status"] for one in attributes(person, sharing)["members"][1:]]


def test_who_goes_from_a_group_that_writes_to_one_that_reads_is_invited_to_read(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    one = contact(alice, "carol2", email=carol2.email, url=carol2.url)
    writers, readers = group(alice, "Writers", one), group(alice, "Readers")
    sharing = share(alice, both_kinds(writers, readers))
    carol2.join(alice, sharing)
    join_groups(alice, one, readers)
    carol2.got("DELETE", f"/sharings/{sharing}$")
    again = carol2.got("PUT", f"/sharings/{sharing}$", 2)
    assert again.json["data"]["attributes"]["members"][1]["read_only"] is True
    eventually(lambda: member(alice, sharing)["status"] == "pending", "the invitation to read")
    now = member(alice, sharing)
    assert (now["read_only"], now["groups"], now["only_in_groups"]) == (True, [1], True)


def test_who_goes_from_one_group_to_another_of_the_same_rights_stays(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    one = contact(alice, "carol2", email=carol2.email, url=carol2.url)
    first, second = group(alice, "First", one), group(alice, "Second", contact(alice, "second-member"))
    sharing = share(alice, people(groups=(first, second)))
    carol2.join(alice, sharing)
    join_groups(alice, one, second)
    eventually(lambda: member(alice, sharing)["groups"] == [1], "the other group")
    assert member(alice, sharing)["status"] == "ready"
    assert carol2.count("DELETE", f"/sharings/{sharing}$") == 0


def test_a_contact_in_the_trash_is_in_no_group(town: Town) -> None:
    alice = town.alice
    one, other = contact(alice, "thrown-away"), contact(alice, "stays-here")
    sharing = share(alice, people(groups=(group(alice, "Those two", one, other),)))
    at = next(i for i, m in enumerate(attributes(alice, sharing)["members"]) if m.get("name") == "thrown-away")
    update(alice, "io.cozy.contacts", one, trashed=True)
    eventually(lambda: member(alice, sharing, at)["status"] == "revoked", "the contact is out")
    update(alice, "io.cozy.contacts", one, trashed=None)
    eventually(lambda: member(alice, sharing, at)["status"] == "pending", "the contact is back")
    assert sorted(statuses(alice, sharing)) == ["pending", "pending"]


def test_somebody_of_a_recipients_group_is_invited_when_he_gets_an_address(town: Town, carol2: Scripted) -> None:
    alice, bob = town.alice, town.bob
    sharing = shared_document(alice, bob)
    by_mail, by_server = contact(bob, "by-mail", email=""), contact(bob, "by-server", email="")
    assert add(bob, sharing, people(groups=(group(bob, "Without", by_mail, by_server),))).status_code == 200
    assert statuses(alice, sharing) == statuses(bob, sharing) == ["ready", "mail-not-sent", "mail-not-sent"]
    assert [one["name"] for one in attributes(bob, sharing)["members"][2:]] == ["by-mail", "by-server"]
    update(bob, "io.cozy.contacts", by_mail, email=[{"address": "by-mail@example.org"}])
    assert f"{bob.url}/sharings/{sharing}/discovery?state=" in mail_to(bob, "by-mail@example.org")
    update(bob, "io.cozy.contacts", by_server, cozy=[{"url": carol2.url}])
    carol2.got("PUT", f"/sharings/{sharing}$")
    eventually(lambda: statuses(alice, sharing) == ["ready", "pending", "pending"], "both are invited")
    eventually(lambda: statuses(bob, sharing) == ["ready", "pending", "pending"], "and bob knows")


def test_the_list_of_the_owner_may_come_before_the_answer_to_the_one_who_adds(town: Town) -> None:
    alice, bob = town.alice, town.bob
    sharing = shared_document(alice, bob)
    friends = group(bob, "Empty")
    assert add(bob, sharing, people(groups=(friends,))).status_code == 200
    late = contact(bob, "comes-late", email="")
    join_groups(bob, late, friends)
    eventually(lambda: len(attributes(bob, sharing)["members"]) == 3, "the new one at bob's")
    eventually(lambda: member(bob, sharing, 2).get("name") == "comes-late", "his name at bob's")
    assert len(attributes(alice, sharing)["members"]) == 3


def test_recipients_of_the_same_make_learn_the_groups_of_each_other(town: Town, carol2: Scripted) -> None:
    alice, bob = town.alice, town.bob
    one = contact(alice, "carol2", email=carol2.email, url=carol2.url)
    friends = group(alice, "Friends", one)
    relationships = people(contact(alice, "bob", url=bob.url), groups=(friends,))
    sharing = share(alice, relationships)
    join(alice, bob, sharing)
    carol2.join(alice, sharing, 2)
    newcomer = contact(alice, "newcomer")
    join_groups(alice, newcomer, friends)
    eventually(lambda: len(attributes(bob, sharing)["members"]) == 4, "the newcomer at bob's")
    eventually(lambda: member(bob, sharing, 3).get("groups") == [0], "his group at bob's")
    assert member(bob, sharing, 3)["only_in_groups"] is True
    join_groups(alice, newcomer)
    eventually(lambda: member(bob, sharing, 3)["status"] == "revoked", "he has gone")
    assert "groups" not in member(bob, sharing, 3)
    told = carol2.got("PUT", f"/sharings/{sharing}/recipients$").json
    assert set().union(*told["data"]) <= {"status", "public_name", "email", "read_only"}, "to others as they expect it"


def test_who_has_left_a_group_again_is_not_added_when_the_owner_comes_back(town: Town, carol2: Scripted) -> None:
    bob = town.bob
    sharing = "groups0000000000000000000000away"
    carol2.shares(bob, sharing)
    carol2.on("POST", "/recipients/delegated$", (200, {}))
    friends = group(bob, "Come and go")
    assert add(bob, sharing, people(groups=(friends,))).status_code == 200
    carol2.on("POST", "/recipients/delegated$", (503, None))
    fickle = contact(bob, "fickle")
    join_groups(bob, fickle, friends)
    carol2.got("POST", "/recipients/delegated$", 2)
    join_groups(bob, fickle)
    taken: list[Call] = []

    def take(call: Call) -> Reply:
        taken.append(call)
        return 200, {"fickle@example.org": "a-state"}

    carol2.on("POST", "/recipients/delegated$", take)
    assert bob.post(f"/sharings/{sharing}/recipients/0/retry", *ALL).status_code == 204
    eventually(lambda: waiting(bob, sharing) == [], "nothing waits")
    assert taken == []
    assert carol2.count("DELETE", "/groups/") == 0


def waiting(person: Person, sharing: str) -> list[Body]:
    """What waits for the owner."""
    return person.get(f"/sharings/{sharing}/status", *ALL).json()["data"]["attributes"]["members"][0]["waiting"]


def test_a_group_that_comes_from_who_does_not_know_the_latest_one_brings_its_own_people(
    town: Town, carol2: Scripted
) -> None:
    alice = town.alice
    sharing = share(alice, people(contact(alice, "carol2", email=carol2.email, url=carol2.url)))
    token = carol2.join(alice, sharing)
    known = group(alice, "The owner's", contact(alice, "first-of-all"))
    assert add(alice, sharing, people(groups=(known,))).status_code == 200
    one = {
        "status": "mail-not-sent",
        "name": "Bob2",
        "email": "bob2@example.net",
        "groups": [0],
        "only_in_groups": True,
    }
    sent = [{"id": "g", "name": "Hers", "addedBy": 0, "read_only": False}]
    body = {"data": {"relationships": {"recipients": {"data": [one]}, "groups": {"data": sent}}}}
    answer = alice.post(f"/sharings/{sharing}/recipients/delegated", token=token, json_body=body)
    assert answer.status_code == 200
    assert [(m["name"], m["groups"]) for m in attributes(alice, sharing)["members"][2:]] == [
        ("first-of-all", [0]), ("Bob2", [1]),
    ]  # fmt: skip
