"""A server of several processes over one data folder: `serve --workers N` (spec/10 §2, §3)."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from .conftest import Operator, wait_for

TESTS = "io.cozy.tests"
WORKERS = 3


class Household:
    """Alice on a server of several processes, and a token for her documents."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.server = operator.serve("--workers", str(WORKERS))
        self.alice = operator.domain("alice")
        operator.ask("instances", "add", self.alice, "--passphrase", "cozy")
        self.token = operator.ask("instances", "token-cli", self.alice, f"{TESTS} io.cozy.files")

    @property
    def workers(self) -> list[int]:
        """The ids of the processes that answer requests."""
        return children_of(self.server.pid)

    def call(self, method: str, path: str, **rest: object) -> httpx.Response:
        """A request on a connection of its own, which any process may get."""
        headers = {"Host": self.alice, "Authorization": f"Bearer {self.token}"}
        url = self.operator.origin + path
        return httpx.request(method, url, headers=headers, trust_env=False, timeout=30, **rest)  # type: ignore[arg-type]

    def holders(self) -> Counter[str]:
        """How often the work for an instance was taken, by its name."""
        return Counter(event["name"] for event in self.events("lease taken"))

    def events(self, name: str) -> list[dict[str, str]]:
        """Events of the log."""
        found = [json.loads(line) for line in self.operator.log().splitlines() if line.startswith("{")]
        return [event for event in found if event["event"] == name]


@pytest.fixture
def household(operator: Operator) -> Household:
    return Household(operator)


def children_of(pid: int) -> list[int]:
    """The ids of the processes that a process has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_one_process_writes_all_show_at_once(household: Household) -> None:
    assert len(household.workers) == WORKERS
    for number in range(30):
        written = household.call("POST", f"/data/{TESTS}/", json={"n": number}).json()
        for _ in range(3):
            assert household.call("GET", f"/data/{TESTS}/{written['id']}").json()["n"] == number
    content = os.urandom(200_000)
    made = household.call("POST", "/files/?Type=file&Name=large.bin", content=content).json()["data"]["id"]
    assert all(household.call("GET", f"/files/download/{made}").content == content for _ in range(6))


def test_a_feed_of_one_process_is_woken_by_a_write_in_another(household: Household) -> None:
    for number in range(8):
        first = household.call("POST", f"/data/{TESTS}/", json={"n": number})
        assert first.status_code == 201
        since = household.call("GET", f"/data/{TESTS}/_changes").json()["last_seq"]
        told: list[httpx.Response] = []
        path = f"/data/{TESTS}/_changes?feed=longpoll&since={since}&timeout=60000"
        waiting = threading.Thread(target=lambda path=path, told=told: told.append(household.call("GET", path)))
        waiting.start()
        household.call("POST", f"/data/{TESTS}/", json={"n": -1})
        waiting.join(30)
        assert len(told[0].json()["results"]) == 1


def test_a_secret_made_by_one_process_opens_the_door_of_another(household: Household) -> None:
    made = household.call("POST", "/files/?Type=file&Name=a.txt", content=b"text").json()["data"]["id"]
    for _ in range(8):
        link = household.call("POST", f"/files/downloads?Id={made}").json()["links"]["related"]
        url = household.operator.origin + link
        assert httpx.get(url, headers={"Host": household.alice}, trust_env=False).content == b"text"


def test_an_index_that_one_process_has_made_serves_all(household: Household) -> None:
    assert household.call("PUT", f"/data/{TESTS}/seed", json={"n": -1}).status_code in (200, 201)
    query = {"selector": {"n": {"$gte": 0}}, "limit": 1000}
    assert household.call("POST", f"/data/{TESTS}/_index", json={"index": {"fields": ["n"]}}).status_code == 200
    for number in range(20):
        assert household.call("POST", f"/data/{TESTS}/", json={"n": number}).status_code == 201
        found = household.call("POST", f"/data/{TESTS}/_find", json=query).json()["docs"]
        assert [document["n"] for document in found] == list(range(number + 1))


def test_one_process_works_for_an_instance_and_all_have_their_part(household: Household) -> None:
    for name in ("bob", "carol"):
        household.operator.ask("instances", "add", household.operator.domain(name), "--passphrase", "cozy")
    wait_for(lambda: len(household.holders()) == 3, "somebody works for each")
    assert set(household.holders().values()) == {1}


def test_a_killed_process_is_replaced_and_nothing_acknowledged_is_lost(household: Household) -> None:
    written: list[str] = []
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            with suppress(httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):  # cut, but never refused
                answer = household.call("POST", f"/data/{TESTS}/", json={})
                assert answer.status_code == 201
                written.append(answer.json()["id"])

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(3):
            before = len(written)
            wait_for(lambda before=before: len(written) > before + 20, "people write")
            victim = household.workers[0]
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda victim=victim: victim not in household.workers, "it is gone")
            wait_for(lambda: len(household.workers) == WORKERS, "another one is started")
    finally:
        over.set()
        for writer in writers:
            writer.join()
    documents = household.call("GET", f"/data/{TESTS}/_normal_docs?limit=100000").json()["rows"]
    assert set(written) <= {document["_id"] for document in documents}
    assert household.operator.ask("instances", "count") == "1 instance"
    assert household.operator.stop(household.server) == 0


def test_what_comes_while_all_processes_are_started_anew_waits(household: Household) -> None:
    before = household.workers
    for worker in before:
        os.kill(worker, signal.SIGKILL)
    wait_for(lambda: not set(household.workers) & set(before), "they are gone")
    assert household.call("POST", f"/data/{TESTS}/", json={}).status_code == 201


def test_commands_reach_every_process(household: Household) -> None:
    def answers() -> set[int]:
        url, headers = f"{household.operator.origin}/auth/login", {"Host": household.alice}
        return {httpx.get(url, headers=headers, trust_env=False).status_code for _ in range(8)}

    assert answers() == {200}
    household.operator.ask("instances", "modify", household.alice, "--blocked")
    wait_for(lambda: answers() == {503}, "all have heard of it")
    household.operator.ask("instances", "rm", household.alice, "--force")
    wait_for(lambda: answers() == {404}, "all have heard of it")
    household.operator.ask("instances", "add", household.alice, "--passphrase", "cozy")
    household.token = household.operator.ask("instances", "token-cli", household.alice, TESTS)
    wait_for(lambda: answers() == {200}, "all have heard of it")
    assert {household.call("POST", f"/data/{TESTS}/", json={}).status_code for _ in range(8)} == {201}


def test_the_server_ends_with_all_its_processes_and_frees_the_folder(household: Household) -> None:
    workers = household.workers
    assert str(household.server.pid) in household.operator.refused(
        "serve", "--port", str(household.operator.port + 1), "--workers", "2"
    )
    assert household.operator.stop(household.server) == 0
    assert not any(is_alive(worker) for worker in workers)
    household.server = household.operator.serve()
    assert household.operator.ask("instances", "count") == "1 instance"


def test_processes_without_the_first_one_end_by_themselves(household: Household) -> None:
    workers = household.workers
    household.server.kill()
    household.server.wait()
    wait_for(lambda: not any(is_alive(worker) for worker in workers), "the others end")
    household.server = household.operator.serve("--workers", "2")
    assert household.operator.ask("instances", "count") == "1 instance"
    assert household.call("POST", f"/data/{TESTS}/", json={}).status_code == 201


def test_a_server_whose_processes_cannot_start_says_so(operator: Operator) -> None:
    operator.environ |= {"INGLENOOK_TLS_CERT": "/nowhere", "INGLENOOK_TLS_KEY": "/nowhere"}
    assert "ended before it answered" in operator.refused("serve", "--port", str(operator.port), "--workers", "2")
