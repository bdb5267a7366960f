"""`inglenook backup` and `restore`: a consistent copy while the server runs, and back (spec/10 §3)."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from .conftest import Operator, wait_for

TESTS = "io.cozy.tests"
LARGE = 100_000  # bytes: too large for the database


class Resident:
    """Somebody on a server: what they write and read over HTTP."""

    def __init__(self, operator: Operator, name: str) -> None:
        self.operator = operator
        self.domain = operator.domain(name)
        self._token = ""

    def move_in(self) -> Resident:
        """Get an instance."""
        self.operator.ask("instances", "add", self.domain, "--passphrase", "cozy")
        return self

    @property
    def token(self) -> str:
        """A token; it stays good when the instance moves with its secrets."""
        if not self._token:
            self._token = self.operator.ask("instances", "token-cli", self.domain, f"{TESTS} io.cozy.files")
        return self._token

    def call(self, method: str, path: str, **rest: object) -> httpx.Response:
        """A request."""
        headers = {"Host": self.domain, "Authorization": f"Bearer {self.token}"}
        return httpx.request(method, self.operator.origin + path, headers=headers, trust_env=False, timeout=30, **rest)  # type: ignore[arg-type]

    def upload(self, name: str, content: bytes) -> httpx.Response:
        """A file in the root."""
        return self.call("POST", f"/files/?Type=file&Name={name}", content=content)

    def files(self) -> dict[str, str]:
        """SHA-256 of the contents of all files in the root, by name."""
        listed = self.call("GET", "/files/io.cozy.files.root-dir?page[limit]=1000").json()["included"]
        found: dict[str, str] = {}
        for item in listed:
            if item["attributes"]["type"] == "file":
                answer = self.call("GET", f"/files/download/{item['id']}")
                assert answer.status_code == 200
                found[item["attributes"]["name"]] = hashlib.sha256(answer.content).hexdigest()
        return found

    def documents(self) -> dict[str, int]:
        """The numbers that documents have, by id."""
        answer = self.call("GET", f"/data/{TESTS}/_normal_docs?limit=100000")
        return {row["_id"]: row["n"] for row in answer.json()["rows"]} if answer.status_code == 200 else {}

    def write(self, number: int) -> httpx.Response:
        """A document."""
        return self.call("POST", f"/data/{TESTS}/", json={"n": number})


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def elsewhere(operator: Operator, folder: Path) -> Operator:
    """Another server at the same address, with a data folder of its own."""
    folder.mkdir()
    other = Operator(folder, port=operator.port)
    other.processes = operator.processes  # ended with those of the test
    return other


def test_a_backup_under_load_is_restored_as_of_one_moment_of_each_person(operator: Operator, tmp_path: Path) -> None:
    server = operator.serve("--workers", "2")
    alice, bob = Resident(operator, "alice").move_in(), Resident(operator, "bob").move_in()
    before = {f"before{n}.bin": random.Random(n).randbytes(size) for n, size in enumerate((10, LARGE, 3 * LARGE))}
    for name, content in before.items():
        assert alice.upload(name, content).status_code == 201
    written: list[str] = []
    uploaded: dict[str, str] = {}
    over = threading.Event()

    def write_on() -> None:
        chance, number = random.Random(7), 0
        while not over.is_set():
            number += 1
            with suppress(httpx.TransportError):
                written.append(alice.write(number).json()["id"])
                content = chance.randbytes(LARGE)
                if alice.upload(f"during{number}.bin", content).status_code == 201:
                    uploaded[f"during{number}.bin"] = sha256(content)

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        wait_for(lambda: len(written) > 10, "alice writes")
        sure = (list(written), dict(uploaded))
        backup = tmp_path / "backup"
        listed = json.loads(operator.ask("backup", str(backup), "--json"))
        count = len(written)
        wait_for(lambda: len(written) > count + 5, "alice writes on")
    finally:
        over.set()
        writer.join()
    assert [one["domain"] for one in listed["instances"]] == sorted([alice.domain, bob.domain])
    assert operator.stop(server) == 0

    other = elsewhere(operator, tmp_path / "other")
    other.serve()
    other.ask("restore", str(backup))
    alice.operator = bob.operator = other
    documents = alice.documents()
    assert set(sure[0]) <= set(documents) <= set(written)
    assert sorted(documents.values()) == list(range(1, len(documents) + 1)), "one moment: all up to one, none after it"
    files = alice.files()
    expected = {**{name: sha256(content) for name, content in before.items()}, **uploaded}
    assert {*before, *sure[1]} <= set(files)
    assert all(expected[name] == content for name, content in files.items())
    for person in (alice, bob):
        assert other.ask("check", "fs", person.domain) == ""
    assert alice.write(0).status_code == 201
    assert alice.upload("after.bin", b"x" * LARGE).status_code == 201


def test_a_second_backup_brings_the_first_up_to_date(operator: Operator, tmp_path: Path) -> None:
    operator.serve()
    alice = Resident(operator, "alice").move_in()
    Resident(operator, "bob").move_in()
    kept = alice.upload("kept.bin", b"k" * LARGE).json()["data"]
    gone = alice.upload("gone.bin", b"g" * LARGE).json()["data"]
    backup = tmp_path / "backup"
    operator.ask("backup", str(backup))
    blobs = set(backup.glob("*/blobs/??/*"))
    assert len(blobs) == 2
    times = {path: path.stat().st_mtime_ns for path in blobs}
    assert alice.call("DELETE", f"/files/{gone['id']}").status_code == 200
    assert alice.call("DELETE", f"/files/trash/{gone['id']}").status_code == 204
    operator.ask("instances", "rm", operator.domain("bob"), "--force")
    operator.ask("backup", str(backup))
    (left,) = backup.glob("*/blobs/??/*")
    assert left.parent.name + left.name == sha256(b"k" * LARGE)
    assert left.stat().st_mtime_ns == times[left], "it was not copied again"
    assert len(list(backup.glob("cozy*"))) == 1
    assert kept["id"]


def test_restoring_replaces_what_is_there_and_leaves_the_others(operator: Operator, tmp_path: Path) -> None:
    operator.serve("--workers", "2")
    alice, bob = Resident(operator, "alice").move_in(), Resident(operator, "bob").move_in()
    alice.write(1)
    alice.upload("old.bin", b"o" * LARGE)
    backup = tmp_path / "backup"
    operator.ask("backup", str(backup))
    alice.write(2)
    alice.upload("new.bin", b"n" * LARGE)
    carol = Resident(operator, "carol").move_in()
    carol.write(3)
    unsure = operator.run("restore", str(backup))
    assert unsure.returncode == 1
    assert b"Nothing was done" in unsure.stderr
    assert len(alice.documents()) == 2
    operator.ask("restore", str(backup), "--force")
    for _ in range(6):  # whichever process answers
        assert list(alice.documents().values()) == [1]
        assert set(alice.files()) == {"old.bin"}
        assert list(carol.documents().values()) == [3]
    for _ in range(6):
        assert alice.write(4).status_code == 201
        assert bob.write(5).status_code == 201
    assert len(alice.documents()) == 7


def test_what_is_no_backup_or_a_damaged_one_is_refused_and_changes_nothing(operator: Operator, tmp_path: Path) -> None:
    operator.serve()
    alice = Resident(operator, "alice").move_in()
    alice.write(1)
    assert "is not a backup" in operator.refused("restore", str(tmp_path / "nothing"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert "neither empty nor a backup" in operator.refused("backup", str(tmp_path / "full"))
    assert "data folder" in operator.refused("backup", str(operator.data / "inside"))
    backup = tmp_path / "backup"
    operator.ask("backup", str(backup))
    manifest = backup / "backup.json"
    whole = manifest.read_text()
    manifest.write_text(json.dumps({**json.loads(whole), "finished_at": None}))
    assert "never finished" in operator.refused("restore", str(backup), "--force")
    manifest.write_text(whole)
    (database,) = backup.glob("cozy*/documents.sqlite")
    with database.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)
    assert "damaged" in operator.refused("restore", str(backup), "--force")
    assert list(alice.documents().values()) == [1]


@pytest.mark.parametrize("stored", ["gone", "changed"])
def test_a_backup_tells_of_damaged_contents(operator: Operator, tmp_path: Path, stored: str) -> None:
    alice = Resident(operator, "alice").move_in()
    operator.serve()
    alice.upload("a.bin", b"a" * LARGE)
    alice.upload("b.bin", b"b" * LARGE)
    name = sha256(b"a" * LARGE)
    (blob,) = operator.data.glob(f"*/blobs/{name[:2]}/{name[2:]}")
    blob.unlink()
    if stored == "changed":
        blob.write_bytes(b"?" * LARGE)
    done = operator.run("backup", str(tmp_path / "backup"), "--json")
    assert done.returncode == 1
    assert b"1 contents are damaged or missing" in done.stderr
    (one,) = json.loads(done.stdout)["instances"]
    assert (one["damaged"], one["contents"]) == ([name], 1)
