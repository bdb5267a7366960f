"""A server of several processes over one data folder: `serve --workers N` (spec/10 §2, §3)."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from tests.servers import free_port

from .conftest import Operator, wait_for

TESTS = "io.cozy.tests"
NUMBERED = "io.cozy.tests.numbered"
WORKERS = 3


class Household:
    """Alice on a server of several processes, and a token for her documents."""

    def __init__(self, operator: Operator, *words: str) -> None:
        self.operator = operator
        self.server = operator.serve("--workers", str(WORKERS), *words)
        self.alice = operator.domain("alice")
        operator.ask("instances", "add", self.alice, "--passphrase", "cozy")
        self.token = operator.ask("instances", "token-cli", self.alice, f"{TESTS} {NUMBERED} io.cozy.files")

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


@pytest.fixture(scope="module")
def household(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    """One for all tests that leave its processes alone."""
    operator = Operator(tmp_path_factory.mktemp("household"))
    shared = Household(operator)
    yield shared
    assert operator.stop(shared.server) == 0


@pytest.fixture
def frail(operator: Operator) -> Household:
    """One for a test that does harm to it."""
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
    assert household.call("PUT", f"/data/{NUMBERED}/seed", json={"n": -1}).status_code in (200, 201)
    query = {"selector": {"n": {"$gte": 0}}, "limit": 1000}
    assert household.call("POST", f"/data/{NUMBERED}/_index", json={"index": {"fields": ["n"]}}).status_code == 200
    for number in range(20):
        assert household.call("POST", f"/data/{NUMBERED}/", json={"n": number}).status_code == 201
        found = household.call("POST", f"/data/{NUMBERED}/_find", json=query).json()["docs"]
        assert [document["n"] for document in found] == list(range(number + 1))


def test_one_process_works_for_an_instance_and_all_have_their_part(household: Household) -> None:
    for name in ("bob", "carol"):
        household.operator.ask("instances", "add", household.operator.domain(name), "--passphrase", "cozy")
    wait_for(lambda: len(household.holders()) == 3, "somebody works for each")
    assert set(household.holders().values()) == {1}


def test_a_killed_process_is_replaced_and_nothing_acknowledged_is_lost(frail: Household) -> None:
    written: list[str] = []
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            with suppress(httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):  # cut, but never refused
                answer = frail.call("POST", f"/data/{TESTS}/", json={})
                assert answer.status_code == 201
                written.append(answer.json()["id"])

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(3):
            before = len(written)
            wait_for(lambda before=before: len(written) > before + 20, "people write")
            victim = frail.workers[0]
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda victim=victim: victim not in frail.workers, "it is gone")
            wait_for(lambda: len(frail.workers) == WORKERS, "another one is started")
    finally:
        over.set()
        for writer in writers:
            writer.join()
    documents = frail.call("GET", f"/data/{TESTS}/_normal_docs?limit=100000").json()["rows"]
    assert set(written) <= {document["_id"] for document in documents}
    assert frail.operator.ask("instances", "count") == "1 instance"
    assert frail.operator.stop(frail.server) == 0


def test_what_comes_while_all_processes_are_started_anew_waits(household: Household) -> None:
    before = household.workers
    for worker in before:
        os.kill(worker, signal.SIGKILL)
    wait_for(lambda: not set(household.workers) & set(before), "they are gone")
    assert household.call("POST", f"/data/{TESTS}/", json={}).status_code == 201


def test_commands_reach_every_process(frail: Household) -> None:
    def answers() -> set[int]:
        url, headers = f"{frail.operator.origin}/auth/login", {"Host": frail.alice}
        return {httpx.get(url, headers=headers, trust_env=False).status_code for _ in range(8)}

    assert answers() == {200}
    frail.operator.ask("instances", "modify", frail.alice, "--blocked")
    wait_for(lambda: answers() == {503}, "all have heard of it")
    frail.operator.ask("instances", "rm", frail.alice, "--force")
    wait_for(lambda: answers() == {404}, "all have heard of it")
    frail.operator.ask("instances", "add", frail.alice, "--passphrase", "cozy")
    frail.token = frail.operator.ask("instances", "token-cli", frail.alice, TESTS)
    wait_for(lambda: answers() == {200}, "all have heard of it")
    assert {frail.call("POST", f"/data/{TESTS}/", json={}).status_code for _ in range(8)} == {201}


def test_the_server_ends_with_all_its_processes_and_frees_the_folder(frail: Household) -> None:
    workers = frail.workers
    assert str(frail.server.pid) in frail.operator.refused(
        "serve", "--port", str(frail.operator.port + 1), "--workers", "2"
    )
    assert frail.operator.stop(frail.server) == 0
    assert not any(is_alive(worker) for worker in workers)
    frail.server = frail.operator.serve()
    assert frail.operator.ask("instances", "count") == "1 instance"


def test_processes_without_the_first_one_end_by_themselves(frail: Household) -> None:
    workers = frail.workers
    frail.server.kill()
    frail.server.wait()
    wait_for(lambda: not any(is_alive(worker) for worker in workers), "the others end")
    frail.server = frail.operator.serve("--workers", "2")
    assert frail.operator.ask("instances", "count") == "1 instance"
    assert frail.call("POST", f"/data/{TESTS}/", json={}).status_code == 201


def test_a_server_whose_processes_cannot_start_says_so(operator: Operator) -> None:
    operator.environ |= {"INGLENOOK_TLS_CERT": "/nowhere", "INGLENOOK_TLS_KEY": "/nowhere"}
    assert "ended before it answered" in operator.refused("serve", "--port", str(operator.port), "--workers", "2")


def test_commands_tell_what_every_process_knows_of_other_servers(household: Household) -> None:
    token = household.operator.ask("instances", "token-cli", household.alice, "io.cozy.imports")
    elsewhere = [f"127.0.0.1:{free_port()}" for _ in range(12)]
    for host in elsewhere:  # each is asked by whichever process gets the connection
        answer = httpx.post(
            f"{household.operator.origin}/move/imports/precheck",
            headers={"Host": household.alice, "Authorization": f"Bearer {token}"},
            json={"data": {"attributes": {"url": f"http://{host}/move/exports/none"}}},
            trust_env=False, timeout=30,
        )  # fmt: skip
        assert answer.status_code == 412, answer.text
    lines = household.operator.ask("peers", "ls", "--json").splitlines()
    told = {state["host"]: state for state in map(json.loads, lines)}
    assert {host: told[host]["failures"] for host in elsewhere} == dict.fromkeys(elsewhere, 1)
    for host in elsewhere:
        household.operator.ask("peers", "retry", host)
    assert "Nothing is known" in household.operator.refused("peers", "retry", "nobody.example")


def test_the_figures_are_those_of_every_process(operator: Operator) -> None:
    address = f"127.0.0.1:{free_port()}"
    household = Household(operator, "--metrics", address)
    for _ in range(12):
        assert household.call("GET", f"/data/{TESTS}/_all_docs").status_code in (200, 404)
    text = httpx.get(f"http://{address}/metrics", trust_env=False).text
    counted = re.findall(
        r'request_seconds_count\{process="(\d+)",.*route="/data/\{doctype\}/_all_docs".*\} (\d+)', text
    )
    assert sum(int(count) for _, count in counted) == 12, text
    assert {int(process) for process, _ in counted} <= set(household.workers)
    assert len(set(re.findall(r'process="(\d+)"', text))) == WORKERS
