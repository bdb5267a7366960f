"""Random histories of documents, against a model that is too simple to be wrong."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from inglenook.kernel.errors import DocumentConflict
from inglenook.kernel.revisions import RevisionTree, next_rev
from inglenook.storage.documents.contract import Body, Document, DocumentStores, Index, Reader

from .backends import BACKENDS, environment

TODO = "io.cozy.todos"
IDS = st.sampled_from(["a", "b", "é"])
BODIES = st.fixed_dictionaries(
    {"n": st.integers(0, 3)}, optional={"tags": st.lists(st.sampled_from("xyz"), max_size=3)}
)
BY_TAG = Index("by_tag", TODO, lambda id, body: [tag.encode() for tag in body.get("tags", [])], amount=lambda b: b["n"])


@dataclass
class Known:
    """What the model knows of one document: its revisions with their parents, and the leaves' bodies."""

    tree: RevisionTree = field(default_factory=RevisionTree)
    bodies: dict[str, tuple[Body, bool]] = field(default_factory=dict)
    seq: int = 0

    @property
    def winner(self) -> str:
        return self.tree.winner().rev

    @property
    def live(self) -> bool:
        return not self.tree.winner().deleted

    def add(self, chain: list[str], body: Body, deleted: bool) -> None:
        self.tree.insert(chain, deleted)
        self.bodies[chain[-1]] = (body, deleted)
        leaves = {leaf.rev for leaf in self.tree.leaves()}
        self.bodies = {rev: kept for rev, kept in self.bodies.items() if rev in leaves}


class Histories(RuleBasedStateMachine):
    """Writes of all kinds; after each, everything that can be read is what the model expects."""

    revisions = Bundle("revisions")

    def __init__(self, make: Callable[[], DocumentStores], name: str, *, durable: bool) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.make = make
        self.name = name
        self.durable = durable
        self.stores = make()
        self.known: dict[str, Known] = {}
        self.seq = 0
        self.journal: list[tuple[int, str, str, str]] = []

    @initialize()
    def open(self) -> None:
        self.store = self.runner.run(self.stores.open(self.name, indexes=[BY_TAG]))

    def teardown(self) -> None:
        self.runner.run(self.stores.close())
        self.runner.close()

    def write(self, change):
        return self.runner.run(self.store.write(change))

    def note(self, id: str, chain: list[str], body: Body, deleted: bool) -> None:
        known = self.known.setdefault(id, Known())
        was_live = bool(known.bodies) and known.live
        known.add(chain, body, deleted)
        self.seq += 1
        known.seq = self.seq
        verb = "DELETED" if not known.live else "UPDATED" if was_live else "CREATED"
        self.journal.append((self.seq, id, chain[-1], verb))

    def refused(self, change) -> None:
        try:
            self.write(change)
        except DocumentConflict:
            return
        raise AssertionError("a conflict was expected")

    @rule(target=revisions, id=IDS, body=BODIES, deleted=st.booleans())
    def put_without_revision(self, id: str, body: Body, deleted: bool):
        known = self.known.get(id)
        if known is not None and (known.live or deleted):
            self.refused(lambda tx: tx.put(TODO, id, body, deleted=deleted))
            return multiple()
        parent = known.winner if known else None
        written = self.write(lambda tx: tx.put(TODO, id, body, deleted=deleted)).rev
        assert written == next_rev(parent, body, deleted=deleted)
        self.note(id, [parent, written] if parent else [written], body, deleted)
        return (id, written)

    @rule(target=revisions, at=revisions, body=BODIES, deleted=st.booleans())
    def put_on_a_revision(self, at: tuple[str, str], body: Body, deleted: bool):
        id, rev = at
        known = self.known[id]
        if not known.live or known.bodies.get(rev, ({}, True))[1]:
            self.refused(lambda tx: tx.put(TODO, id, body, rev=rev, deleted=deleted))
            return multiple()
        written = self.write(lambda tx: tx.put(TODO, id, body, rev=rev, deleted=deleted)).rev
        self.note(id, [rev, written], body, deleted)
        return (id, written)

    @rule(
        target=revisions,
        at=revisions,
        body=BODIES,
        deleted=st.booleans(),
        hashes=st.lists(st.sampled_from(["0" * 32, "8" * 32, "f" * 32, "short"]), min_size=1, max_size=3),
        rooted=st.booleans(),
    )
    def graft(self, at: tuple[str, str], body: Body, deleted: bool, hashes: list[str], rooted: bool):
        id, rev = at
        known, generation = self.known[id], int(rev.partition("-")[0])
        chain = [f"{generation + step}-{digest}" for step, digest in enumerate(hashes, 1)]
        if rooted:
            chain = [rev, *chain]
        fresh = not known.tree.has(chain[-1])
        assert self.write(lambda tx: tx.graft(TODO, id, chain, body, deleted=deleted)) == fresh
        if fresh:
            self.note(id, chain, body, deleted)
        return (id, chain[-1])

    @rule(at=revisions)
    def graft_what_is_known(self, at: tuple[str, str]) -> None:
        assert not self.write(lambda tx: tx.graft(TODO, at[0], [at[1]], {"n": 99}))

    @rule()
    def restart(self) -> None:
        self.runner.run(self.store.close())
        self.runner.run(self.stores.close())
        if self.durable:
            self.stores = self.make()
        self.open()

    @invariant()
    def everything_read_is_as_expected(self) -> None:
        if hasattr(self, "store"):
            self.runner.run(self.store.read(self.compare))

    def compare(self, view: Reader) -> None:
        live = {id: known for id, known in self.known.items() if known.live}
        for id, known in self.known.items():
            winner = view.winner(TODO, id)
            assert self.seen(winner) == (known.winner, *known.bodies[known.winner])
            assert winner is not None
            assert winner.seq == known.seq
            assert self.seen(view.get(TODO, id)) == (self.seen(winner) if known.live else None)
            tree = view.tree(TODO, id)
            assert tree is not None
            assert tree.leaves() == known.tree.leaves()
            assert {rev: tree.path(rev) for rev in known.bodies} == {rev: known.tree.path(rev) for rev in known.bodies}
            for rev, (body, deleted) in known.bodies.items():
                assert self.seen(view.revision(TODO, id, rev)) == (rev, body, deleted)
            for rev in {rev for leaf in known.bodies for rev in known.tree.path(leaf)} - known.bodies.keys():
                assert view.revision(TODO, id, rev) is None
        assert [doc.id for doc in view.all_docs(TODO)] == sorted(live, key=str.encode)
        feed = sorted((known.seq, id, known.winner, not known.live) for id, known in self.known.items())
        assert [(entry.seq, entry.id, entry.rev, entry.deleted) for entry in view.changes(TODO)] == feed
        assert [(e.seq, e.id, e.rev, e.verb) for e in view.journal(since=0, limit=10**6)] == self.journal
        assert view.last_seq() == self.seq
        status = view.status(TODO)
        assert (status.live, status.deleted) == (len(live), len(self.known) - len(live))
        entries = {
            (tag.encode(), id): known.bodies[known.winner][0]["n"]
            for id, known in live.items()
            for tag in known.bodies[known.winner][0].get("tags", [])
        }
        found = [(entry.key, entry.id) for entry in view.index(BY_TAG)]
        assert found == sorted(entries, key=lambda entry: (entry[0], entry[1].encode()))
        assert view.index_count(BY_TAG) == len(entries)
        assert view.index_sum(BY_TAG) == view.index_sum(BY_TAG, start=b"x") == sum(entries.values())

    @staticmethod
    def seen(document: Document | None) -> tuple[str, Body, bool] | None:
        return document and (document.rev, document.body, document.deleted)


@pytest.mark.parametrize("chosen", ["sqlite-in-memory", "postgres"])
def test_random_histories(chosen: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    backend = BACKENDS[chosen]
    for server in backend.needs:
        request.getfixturevalue(server)
    env, numbers = environment(), itertools.count()
    blobs = backend.blobs(tmp_path, env)

    def histories() -> Histories:
        return Histories(lambda: backend.documents(tmp_path, env, blobs), f"i{next(numbers)}", durable=backend.durable)

    run_state_machine_as_test(
        histories,
        settings=settings(
            max_examples=15 if backend.durable else 60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
