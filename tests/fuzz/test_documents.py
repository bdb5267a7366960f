"""Random histories of documents, against a real server process that is killed and started again in between.

After every step the server tells the same as a model in memory: what it has acknowledged is there, what it has refused
is not, whatever happened to its process.
"""

from __future__ import annotations

import itertools
import string
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from tests.federation.processes import Server
from tests.fuzz.model import History, generation

EXAMPLES, STEPS = 12, 25
MOST_LIVES = 8  # of the server process
TORN = 200  # documents of a request that a kill interrupts
IDS = ("a", "b", "c/d", "É")

numbers = itertools.count(1)
ids = st.sampled_from(IDS)
bodies = st.dictionaries(
    st.sampled_from(["n", "text", "list"]),
    st.one_of(
        st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=3), st.lists(st.integers(0, 3), max_size=2)
    ),
    max_size=2,
)
hashes = st.text(alphabet="0123456789abcdef", min_size=32, max_size=32)
picks = st.integers(0, 30)


class Account:
    """Somebody on a server process, and a client that goes on after the process was killed."""

    def __init__(self, folder: Path) -> None:
        self.server = Server(folder).start()
        domain = f"alice.localhost:{self.server.port}"
        self.server.ask("instances", "add", domain, "--passphrase", "cozy")
        client = self.server.ask(
            "instances", "client-oauth", domain, "http://localhost", "fuzz", "github.com/fuzz/fuzz"
        )
        token = self.server.ask("instances", "token-oauth", domain, client, "io.cozy.tests.*")
        headers = {"Host": domain, "Authorization": f"Bearer {token}"}
        self.http = httpx.Client(base_url=self.server.origin, headers=headers, timeout=30, trust_env=False)

    def kill(self) -> None:
        """As by a power cut; then start again."""
        self.server.kill()
        self.server.start()

    def close(self) -> None:
        """End."""
        self.http.close()
        self.server.stop()


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """Somebody on a server process."""
    account = Account(tmp_path_factory.mktemp("server"))
    yield account
    account.close()


def without_own(document: dict[str, Any]) -> dict[str, Any]:
    """The body of a document, without underscore members."""
    return {name: value for name, value in document.items() if not name.startswith("_")}


class Documents(RuleBasedStateMachine):
    """One doctype, its clients and a replicator."""

    account: Account

    @initialize()
    def begin(self) -> None:
        self.doctype = f"io.cozy.tests.fuzz{next(numbers)}"
        self.histories = {id: History() for id in IDS}
        self.sequence = 0
        assert self.call("PUT", "/").status_code == 201

    # -- what clients do

    @rule(body=bodies)
    def create(self, body: dict[str, Any]) -> None:
        answer = self.call("POST", "/", body)
        assert answer.status_code == 201
        made = answer.json()
        self.histories[made["id"]] = History()
        self.histories[made["id"]].add(made["rev"], None, body, deleted=False)

    @rule(id=ids, body=bodies)
    def create_under_an_id(self, id: str, body: dict[str, Any]) -> None:
        history = self.histories[id]
        allowed, parent = history.parent_for(None, deletes=False)
        answer = self.call("PUT", f"/{quote(id, safe='')}", body)
        assert answer.status_code == (200 if allowed else 409), answer.text
        if allowed:
            history.add(answer.json()["rev"], parent, body, deleted=False)

    @rule(id=ids, body=bodies, pick=picks, deletes=st.booleans())
    def update(self, id: str, body: dict[str, Any], pick: int, deletes: bool) -> None:
        history = self.histories[id]
        rev = self.some_revision(history, pick)
        allowed, parent = history.parent_for(rev, deletes=deletes)
        mark = {"_deleted": True} if deletes else {}
        answer = self.call("PUT", f"/{quote(id, safe='')}", {**body, **mark, "_id": id, "_rev": rev})
        expected = 200 if allowed else 409 if history.live else 404
        assert answer.status_code == expected, answer.text
        if allowed:
            history.add(answer.json()["rev"], parent, body, deleted=deletes)

    @rule(id=ids, pick=picks)
    def delete(self, id: str, pick: int) -> None:
        history = self.histories[id]
        rev = self.some_revision(history, pick)
        allowed, parent = history.parent_for(rev, deletes=True)
        answer = self.call("DELETE", f"/{quote(id, safe='')}", params={"rev": rev})
        assert answer.status_code == (200 if allowed else 409 if history.live else 404), answer.text
        if allowed:
            history.add(answer.json()["rev"], parent, {}, deleted=True)

    @rule(entries=st.lists(st.tuples(ids, bodies, st.none() | picks, st.booleans()), min_size=1, max_size=5))
    def write_in_bulk(self, entries: list[tuple[str, dict[str, Any], int | None, bool]]) -> None:
        documents = [self.entry(*entry) for entry in entries]
        answers = self.call("POST", "/_bulk_docs", {"docs": documents})
        assert answers.status_code == 201, answers.text
        for document, answer in zip(documents, answers.json(), strict=True):
            self.follow(document, answer)

    @rule(entries=st.lists(st.tuples(ids, bodies, st.none() | picks, st.booleans()), min_size=1, max_size=3))
    def write_together(self, entries: list[tuple[str, dict[str, Any], int | None, bool]]) -> None:
        once = {entry[0]: entry for entry in entries}
        documents = [{**self.entry(*entry), "_type": self.doctype} for entry in once.values()]
        answer = self.account.http.post("/data/_transaction", json={"docs": documents})
        allowed = [self.is_allowed(document) for document in documents]
        if all(allowed):
            assert answer.status_code == 201, answer.text
            for document, result in zip(documents, answer.json(), strict=True):
                self.follow(document, result)
        else:
            assert answer.status_code in (404, 409), answer.text
            done = [result["error"] == "not_done" for result in answer.json()["results"]]
            assert done == allowed

    @rule(
        id=ids,
        body=bodies,
        deletes=st.booleans(),
        pick=picks,
        fresh=st.lists(hashes, min_size=1, max_size=3, unique=True),
    )
    def replicate(self, id: str, body: dict[str, Any], deletes: bool, pick: int, fresh: list[str]) -> None:
        history = self.histories[id]
        known = sorted(history.revisions)
        path = history.path(known[pick % len(known)]) if known and pick % 4 else []
        for hash in fresh:
            path.insert(0, f"{generation(path[0]) + 1 if path else 1}-{hash}")
        mark = {"_deleted": True} if deletes else {}
        chain = {"start": generation(path[0]), "ids": [rev.partition("-")[2] for rev in path]}
        document = {**body, **mark, "_id": id, "_rev": path[0], "_revisions": chain}
        for _ in range(2):  # the second time it is known
            answer = self.call("POST", "/_bulk_docs", {"docs": [document], "new_edits": False})
            assert (answer.status_code, answer.json()) == (201, [])
        history.graft(path, body, deleted=deletes)

    @rule()
    def kill(self) -> None:
        if self.account.server.lives < MOST_LIVES:
            self.account.kill()

    @rule(milliseconds=st.integers(0, 40))
    def kill_during_a_bulk_write(self, milliseconds: int) -> None:
        if self.account.server.lives >= MOST_LIVES:
            return
        path = f"/data/io.cozy.tests.torn{next(numbers)}"
        documents = [{"_id": f"{number}", "n": number} for number in range(TORN)]
        acknowledged: list[int] = []

        def send() -> None:
            with suppress(httpx.TransportError):
                acknowledged.append(self.account.http.post(f"{path}/_bulk_docs", json={"docs": documents}).status_code)

        sending = threading.Thread(target=send)
        sending.start()
        sending.join(milliseconds / 1000)
        self.account.kill()
        sending.join()
        listed = self.account.http.get(f"{path}/_all_docs")
        there = listed.json()["total_rows"] if listed.status_code == 200 else 0
        assert there in ((TORN,) if acknowledged == [201] else (0, TORN)), "half of a request is there"

    # -- what must hold

    @invariant()
    def the_server_tells_the_same(self) -> None:
        if not hasattr(self, "doctype"):
            return
        there = {id: history for id, history in self.histories.items() if history.revisions}
        self.check_list({id: history for id, history in there.items() if history.live})
        self.check_feed(there)
        for id, history in there.items():
            self.check_leaves(id, history)
        for id in IDS:
            if id not in there:
                assert self.call("GET", f"/{quote(id, safe='')}").json()["reason"] == "missing"

    def check_list(self, live: dict[str, History]) -> None:
        listed = self.call("GET", "/_all_docs", params={"include_docs": "true"}).json()
        assert [row["id"] for row in listed["rows"]] == sorted(live)
        assert listed["total_rows"] == len(live)
        for row in listed["rows"]:
            history = live[row["id"]]
            assert history.winner is not None
            assert row["value"]["rev"] == row["doc"]["_rev"] == history.winner
            assert without_own(row["doc"]) == history.revisions[history.winner].body

    def check_feed(self, there: dict[str, History]) -> None:
        feed = self.call("GET", "/_changes", params={"style": "all_docs"}).json()
        told = {result["id"]: result for result in feed["results"]}
        assert len(told) == len(feed["results"])
        assert set(told) == set(there)
        for id, history in there.items():
            assert [change["rev"] for change in told[id]["changes"]] == history.leaves()
            assert told[id].get("deleted", False) is not history.live
        last = int(feed["last_seq"].partition("-")[0])
        assert last >= self.sequence, "an acknowledged write is gone"
        self.sequence = last

    def check_leaves(self, id: str, history: History) -> None:
        answer = self.call("GET", f"/{quote(id, safe='')}", params={"revs": "true", "open_revs": "all"})
        found = {entry["ok"]["_rev"]: entry["ok"] for entry in answer.json()}
        assert set(found) == set(history.leaves())
        for rev, document in found.items():
            revision = history.revisions[rev]
            assert without_own(document) == revision.body
            assert document.get("_deleted", False) == revision.deleted
            start = document["_revisions"]["start"]
            ancestry = [f"{start - at}-{hash}" for at, hash in enumerate(document["_revisions"]["ids"])]
            assert ancestry == history.path(rev)

    # -- words

    def call(self, method: str, tail: str, body: Any = None, **rest: Any) -> httpx.Response:
        if body is not None:
            rest["json"] = body
        answer = self.account.http.request(method, f"/data/{self.doctype}{tail}", **rest)
        assert answer.status_code < 500, answer.text
        return answer

    def some_revision(self, history: History, pick: int) -> str:
        """Mostly a leaf, at times an older revision or one that nobody knows."""
        leaves, known = history.leaves(), sorted(history.revisions)
        if leaves and pick % 3:
            return leaves[pick % len(leaves)]
        return known[pick % len(known)] if known and pick % 2 else f"{pick % 4 + 1}-{string.hexdigits[:16] * 2}"

    def entry(self, id: str, body: dict[str, Any], pick: int | None, deletes: bool) -> dict[str, Any]:
        """A document of a bulk request."""
        named = {} if pick is None else {"_rev": self.some_revision(self.histories[id], pick)}
        return {**body, "_id": id, **named, **({"_deleted": True} if deletes else {})}

    def is_allowed(self, document: dict[str, Any]) -> bool:
        """Whether a document of a transaction may be written: there, a deletion needs something to delete."""
        deletes = "_deleted" in document
        allowed, _ = self.histories[document["_id"]].parent_for(document.get("_rev"), deletes=deletes)
        return allowed and not (deletes and "_rev" not in document)

    def follow(self, document: dict[str, Any], answer: dict[str, Any]) -> None:
        """Let the model do what a bulk write did to one document."""
        history, deletes = self.histories[document["_id"]], "_deleted" in document
        allowed, parent = history.parent_for(document.get("_rev"), deletes=deletes)
        assert answer.get("ok", False) is allowed, answer
        if allowed:
            history.add(answer["rev"], parent, without_own(document), deleted=deletes)


def test_random_histories_of_documents(account: Account) -> None:
    Documents.account = account
    run_state_machine_as_test(
        Documents,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert account.server.lives > 1, "it was never killed"
    assert account.server.errors == []
