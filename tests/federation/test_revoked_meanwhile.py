"""A member who is revoked while a request of his is on its way: what it brings is not taken any more."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from .conftest import NewPerson, Town
from .fake_peer import FakePeer
from .peers import peer
from .people import Person
from .processes import eventually
from .test_batch_receiver import PUSH, frame
from .test_fake_recipient import Trip, start_sharing

__all__ = ["peer"]

CONTENT = b"0123456789abcdef" * 200_000


@pytest.fixture
def trip(town: Town, peer: FakePeer) -> Trip:
    """After the first copy."""
    return joined(town.alice, peer)


def joined(alice: Person, peer: FakePeer) -> Trip:
    """The peer has joined a sharing of alice's, and has got the first copy."""
    root, sharing = start_sharing(alice, peer)
    deal = peer.join(alice, sharing)
    peer.awaits("DELETE", "/initial$")
    return Trip(alice, peer, deal, root)


def is_receiving(person: Person) -> bool:
    """Whether a content is being received."""
    return any(path.stat().st_size for path in person.server.folder.glob("data/**/blobs/tmp/*"))


def revoked_in_between(trip: Trip, head: bytes = b"") -> Iterator[bytes]:
    """A content of which most comes before its sender is revoked, and the rest after."""
    yield head + CONTENT[:-16]
    eventually(lambda: is_receiving(trip.alice), "the content is on its way")
    trip.alice.do("DELETE", f"/sharings/{trip.deal.id}/recipients/1")
    yield CONTENT[-16:]


def is_refused(trip: Trip, answer: httpx.Response) -> None:
    """Refused as by somebody without a right, and nothing has come of it."""
    assert answer.status_code == 403, answer.text
    assert set(trip.alice.tree(trip.root)) == {"Sub", "Sub/deep.txt", "one.txt"}
    assert not is_receiving(trip.alice)


def test_a_content(trip: Trip) -> None:
    key = trip.peer.announce(trip.deal, trip.peer.file(trip.deal, "late.bin", CONTENT)).json()["key"]
    is_refused(trip, trip.peer.upload(trip.deal, key, revoked_in_between(trip)))


def test_a_batch(new_person: NewPerson, peer: FakePeer) -> None:
    trip = joined(new_person("alice", extensions="all"), peer)
    document = trip.peer.file(trip.deal, "late.bin", CONTENT)
    folder = trip.peer.folder(trip.deal, "Late")
    head = frame(document, CONTENT).removesuffix(CONTENT)
    body = revoked_in_between(trip, frame(folder) + head)
    answer = trip.peer.send(trip.deal, "POST", "/_batch/push", content=body, kind=PUSH)
    assert answer.text.count('"status":403') == 2, answer.text
    assert set(trip.alice.tree(trip.root)) == {"Sub", "Sub/deep.txt", "one.txt"}
