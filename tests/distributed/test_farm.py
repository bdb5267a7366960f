"""Several processes serve the same people: what one writes all see, and what dies is taken over by another."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
import pytest
from tests.federation.people import Person, md5, share_folder
from tests.federation.processes import Server, eventually

from .farm import Farm

TESTS = "io.cozy.tests"
LARGE = 100_000  # bytes: too large for the database
ROUNDS = 6

pytestmark = pytest.mark.timeout(240)


def at(server: Server, person: Person, method: str, path: str, **rest: object) -> httpx.Response:
    """A request to one of the processes."""
    headers = {"Host": person.domain, "Authorization": f"Bearer {person.token}"}
    return httpx.request(method, f"{server.origin}{path}", headers=headers, trust_env=False, timeout=120, **rest)  # type: ignore[arg-type]


def no_errors(farm: Farm) -> None:
    """No process has met a fault of its own."""
    assert [line for server in farm.processes for line in server.errors] == []


def test_what_one_process_writes_the_others_show_at_once(farm: Farm, alice: Person) -> None:
    for number in range(20):
        here, there = farm.webs[number % 2], farm.webs[1 - number % 2]
        written = at(here, alice, "POST", f"/data/{TESTS}/", json={"n": number}).json()
        assert at(there, alice, "GET", f"/data/{TESTS}/{written['id']}").json()["n"] == number
    content = random.Random(1).randbytes(LARGE)
    path = "/files/io.cozy.files.root-dir?Type=file&Name=large.bin"
    made = at(farm.webs[0], alice, "POST", path, content=content).json()["data"]["id"]
    assert at(farm.webs[1], alice, "GET", f"/files/download/{made}").content == content
    no_errors(farm)


def test_an_instance_that_is_changed_or_removed_is_so_in_every_process(farm: Farm) -> None:
    def status(server: Server, host: str) -> int:
        return httpx.get(f"{server.origin}/auth/login", headers={"Host": host}, trust_env=False).status_code

    carol = Person(farm, "carol").move_in()  # type: ignore[arg-type]
    assert [status(server, carol.domain) for server in farm.webs] == [200, 200]
    other = carol.domain.replace("carol", "elsewhere")
    farm.ask("instances", "modify", carol.domain, "--domain-aliases", other)
    eventually(lambda: [status(server, other) for server in farm.webs] == [200, 200], "the alias is known")
    farm.ask("instances", "rm", carol.domain, "--force")
    eventually(lambda: [status(server, carol.domain) for server in farm.webs] == [404, 404], "the instance is gone")
    again = Person(farm, "carol").move_in()  # type: ignore[arg-type]
    for server in farm.webs:
        assert at(server, again, "POST", f"/data/{TESTS}/", json={}).status_code == 201
    farm.ask("instances", "rm", carol.domain, "--force")
    no_errors(farm)


def made_by_three(farm: Farm, domain: str) -> list[bool]:
    """Which of three operators succeeds in making an instance."""

    def make(operator: str) -> bool:
        return farm.attempt(operator, "instances", "add", domain).returncode == 0

    with ThreadPoolExecutor(3) as operators:
        return list(operators.map(make, ("first", "second", "third")))


def test_of_operators_who_make_the_same_instance_at_once_one_succeeds(farm: Farm) -> None:
    for turn in range(3):
        domain = f"twice{turn}.localhost:{farm.port}"
        assert sorted(made_by_three(farm, domain)) == [False, False, True]
        token = farm.ask("instances", "token-cli", domain, TESTS, "io.cozy.settings")
        headers = {"Host": domain, "Authorization": f"Bearer {token}"}
        for web in farm.webs:
            found = httpx.get(f"{web.origin}/settings/instance", headers=headers, trust_env=False)
            assert found.status_code == 200, found.text
            made = httpx.post(f"{web.origin}/data/{TESTS}/", headers=headers, trust_env=False, json={"n": turn})
            assert made.status_code == 201, made.text
    no_errors(farm)


def test_one_worker_works_for_an_instance_and_another_takes_over_when_it_is_killed(
    farm: Farm, alice: Person, bob: Person
) -> None:
    shared = share_folder(alice, "Photos", [bob])
    alice.upload("first.txt", b"1", shared.place(alice))
    shared.agree("first.txt")
    prefix = farm.ask("instances", "show-db-prefix", alice.domain)
    working = [server for server in farm.workers if f"work:{prefix}" in server.log]
    assert len(working) == 1, "one of the two works for alice"
    (victim,) = working
    victim.kill()
    alice.upload("second.txt", b"2", shared.place(alice))
    shared.agree("first.txt", "second.txt")
    (heir,) = (server for server in farm.workers if server is not victim)
    assert f"work:{prefix}" in heir.log
    victim.start()
    alice.upload("third.txt", b"3", shared.place(alice))
    shared.agree("first.txt", "second.txt", "third.txt")
    no_errors(farm)


def test_a_worker_answers_for_its_health_alone(farm: Farm, alice: Person) -> None:
    path = f"/data/{TESTS}/_all_docs"
    for server in farm.workers:
        assert [at(server, alice, "GET", way).status_code for way in ("/version", "/status", path)] == [200, 200, 404]


def test_the_workers_share_the_instances(farm: Farm, alice: Person, bob: Person) -> None:
    people = [alice, bob]
    prefixes = [farm.ask("instances", "show-db-prefix", person.domain) for person in people]

    def working(server: Server) -> set[str]:
        return {prefix for prefix in prefixes if f"work:{prefix}" in server.log}

    eventually(lambda: set().union(*map(working, farm.workers)) == set(prefixes), "somebody works for each")
    eventually(lambda: all(working(server) for server in farm.workers), "each has a part")


@dataclass
class Promises:
    """What was acknowledged."""

    documents: dict[str, str] = field(default_factory=dict[str, str])
    files: dict[str, str] = field(default_factory=dict[str, str])


def write(person: Person, place: str, name: str, promises: Promises, stop: threading.Event) -> None:
    """Write documents and files until told to stop; what fails was not promised."""
    chance, number = random.Random(name), 0
    while not stop.is_set():
        number += 1
        label, content = f"{name}-{number}", chance.randbytes(chance.choice((10, 3_000, LARGE)))
        try:
            written = person.call("POST", f"/data/{TESTS}/", body={"label": label})
            if written.status_code == 201:
                promises.documents[written.json()["id"]] = label
            path = f"/files/{place}?Type=file&Name={label}.bin"
            uploaded = person.call("POST", path, content=content, headers={"Content-Type": "image/x-raw"})
            if uploaded.status_code == 201:
                promises.files[f"{label}.bin"] = md5(content)
        except httpx.TransportError:
            continue


def test_processes_are_killed_at_random_and_nothing_acknowledged_is_lost(
    farm: Farm, alice: Person, bob: Person, request: pytest.FixtureRequest
) -> None:
    shared = share_folder(alice, "Storm", [bob])
    chance, stop = random.Random(request.node.name), threading.Event()
    promises = {person.name: Promises() for person in (alice, bob)}
    writers = [
        threading.Thread(
            target=write,
            args=(Person(person.server, person.name, person.token), shared.place(person), f"{person.name}{n}",
                  promises[person.name], stop),
        )
        for person in (alice, bob)
        for n in range(2)
    ]  # fmt: skip
    for writer in writers:
        writer.start()
    try:
        for _ in range(ROUNDS):
            victim = chance.choice(farm.processes)
            stop.wait(chance.uniform(0.0, 1.0))
            victim.kill()
            stop.wait(chance.uniform(0.0, 0.5))
            victim.start()
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    files: dict[str, str] = {}
    for person in (alice, bob):
        promised = promises[person.name]
        assert len(promised.documents) > 10
        assert len(promised.files) > 10
        files |= promised.files
        for id, label in promised.documents.items():
            found = person.document(TESTS, id)
            assert found is not None
            assert found["label"] == label
    tree = eventually(lambda: whole(shared.agree(seconds=90), files), "everything is on both sides", 90)
    for person in (alice, bob):
        for path in chance.sample(sorted(files), 10):
            assert md5(person.read(person.find(shared.place(person), path))) == tree[path][2]
    no_errors(farm)


def whole(tree: dict[str, tuple[str, ...]], files: dict[str, str]) -> dict[str, tuple[str, ...]] | None:
    """The tree, when it has all the files with their contents."""
    return tree if all(tree.get(name, ("", "", ""))[2] == content for name, content in files.items()) else None
