"""Fake peers as fixtures: one for a test, and a sharing with bob that the tests of a module have in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from .conftest import Town
from .fake_peer import Deal, FakePeer
from .people import Person, Tree


@dataclass
class Visit:
    """A sharing of the fake peer's that a real person has accepted: `place` is the folder at the person's."""

    person: Person
    peer: FakePeer
    deal: Deal

    @property
    def place(self) -> str:
        """The id of the shared folder at the person's, which exists after the first copy."""
        return self.deal.inbound_root

    def tree(self) -> Tree:
        """What lies in the shared folder."""
        return self.person.tree(self.place)


@pytest.fixture
def peer() -> Iterator[FakePeer]:
    """A server of another make; at the end it must have found nothing to complain about."""
    peer = FakePeer("bob2").start()
    yield peer
    peer.stop()
    assert peer.faults == [], peer.faults


@pytest.fixture(scope="module")
def visit(town: Town, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A folder of the fake peer's at bob's, with nothing in it yet."""
    peer = FakePeer("alice3").start()
    title = str(request.module.__name__).rpartition(".")[2]
    yield Visit(town.bob, peer, peer.invite(town.bob, title))
    peer.stop()
    assert peer.faults == [], peer.faults
