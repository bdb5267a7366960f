"""Anybody can send requests: how many wait for an answer is limited (spec/08 §10.3)."""

from __future__ import annotations

from tests.api.sharing_town import ALL, Body, Person, Scripted, Town, attributes, carol2, rule, town

from inglenook.sharing.inbox import OF_ALL, OF_ONE_ORIGIN

__all__ = ["carol2", "town"]


def there(person: Person, sharing: str) -> bool:
    """Whether somebody has a sharing."""
    return person.get(f"/sharings/{sharing}", *ALL).status_code == 200


def ask(person: Person, sharing: str, origin: str) -> None:
    """A request of some origin."""
    members = [{"status": "owner", "instance": origin}, {"status": "pending", "instance": person.url}]
    attributes: Body = {"description": sharing, "rules": [rule("0123")], "members": members}
    body = {"data": {"type": "io.cozy.sharings", "id": sharing, "attributes": attributes}}
    assert person.put(f"/sharings/{sharing}", json_body=body).status_code == 201


def test_of_one_origin_the_oldest_requests_make_room(town: Town, carol2: Scripted) -> None:
    bob = town.bob
    carol2.shares(bob, "inbox-accepted")
    names = [f"inbox-{number}" for number in range(OF_ONE_ORIGIN + 1)]
    for name in names[:-1]:
        assert carol2.invites(bob, name).status_code == 201
    assert all(there(bob, name) for name in names[:-1])
    shortcut = attributes(bob, names[0])["shortcut_id"]
    assert carol2.invites(bob, names[1]).status_code == 201, "it comes again, and is no longer the oldest but one"
    assert carol2.invites(bob, names[-1]).status_code == 201
    assert not there(bob, names[0])
    assert bob.get(f"/files/{shortcut}", *ALL).status_code == 404
    assert carol2.invites(bob, "inbox-one-more").status_code == 201
    assert not there(bob, names[2])
    assert all(there(bob, name) for name in (names[1], *names[3:], "inbox-one-more", "inbox-accepted"))


def test_of_all_origins_the_oldest_requests_make_room(town: Town, carol2: Scripted) -> None:
    carol = town.carol
    for number in range(OF_ALL + 1):
        ask(carol, f"inbox-all-{number}", f"http://owner{number}.localhost:1")
    assert not there(carol, "inbox-all-0")
    assert there(carol, "inbox-all-1")
    assert there(carol, f"inbox-all-{OF_ALL}")
