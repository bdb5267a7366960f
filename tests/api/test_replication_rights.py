"""What a side sends that may write no longer: what it changed before, and nothing later (spec/05 §1)."""

from __future__ import annotations

from tests.api.sharing_town import (
    ALL,
    TESTS,
    Town,
    attributes,
    contact,
    eventually,
    join,
    people,
    share,
    town,
    update,
)

from inglenook.replication import outbox
from inglenook.replication.engine import changed_at
from inglenook.replication.uploads import key_of
from inglenook.sharing import documents
from inglenook.storage.documents.contract import Reader

__all__ = ["town"]


def test_a_change_right_after_the_change_of_rights_stays_here(town: Town) -> None:
    alice, bob = town.alice, town.bob
    sharing = share(alice, people(contact(alice, "bob", url=bob.url)))
    join(alice, bob, sharing)
    shared = attributes(bob, sharing)["rules"][0]["values"][0]
    eventually(lambda: bob.get(f"/data/{TESTS}/{shared}", *ALL).status_code == 200, "the document")
    assert alice.post(f"/sharings/{sharing}/recipients/1/readonly", *ALL).status_code == 204
    update(bob, TESTS, shared, text="private")

    def pages(view: Reader) -> tuple[list[str], list[str]]:
        found = documents.load(view, sharing)
        ends = (changed_at(view, sharing), None)
        bounded, unbounded = (
            outbox.read_page(view, found, 0, key_of(found, 0), since=0, limit=100, until=end) for end in ends
        )
        return [change.id for change in bounded.bulk], [change.id for change in unbounded.bulk]

    assert bob.server.do(lambda _: bob.instance.store.read(pages)) == ([], [shared])
