"""`instances export` and `instances import`, with real processes: servers running or not, and killed."""

from __future__ import annotations

import json
import signal
import zipfile
from pathlib import Path

import httpx
import pytest

from .conftest import Operator, wait_for


@pytest.fixture
def filled(operator: Operator, tmp_path: Path) -> Operator:
    """Alice with some files; and bob, with none."""
    folder = tmp_path / "source"
    (folder / "deep" / "é").mkdir(parents=True)
    (folder / "hello.txt").write_text("hello")
    (folder / "deep" / "é" / "large.bin").write_bytes(bytes(range(256)) * 4000)
    operator.ask("instances", "add", "alice.localhost:8080", "--passphrase", "cozy", "--email", "a@example.com")
    operator.ask("instances", "add", "bob.localhost:8080", "--passphrase", "cozy", "--email", "b@example.com")
    operator.ask("files", "put", str(folder), "/", "--domain", "alice.localhost:8080")
    return operator


def tree(operator: Operator, domain: str) -> list[dict[str, str]]:
    lines = operator.ask("files", "tree", "/", "--json", "--domain", domain).splitlines()
    return [json.loads(line) for line in lines]


def test_an_archive_goes_from_one_instance_to_another(filled: Operator, tmp_path: Path) -> None:
    archive = tmp_path / "alice.zip"
    assert filled.ask("instances", "export", "alice.localhost:8080", "--output", str(archive)) == ""
    assert archive.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None

    checked = filled.ask("instances", "import", "bob.localhost:8080", str(archive), "--check")
    assert checked.splitlines()[-1].startswith("done: ")
    assert [entry for entry in tree(filled, "bob.localhost:8080") if entry["type"] == "file"] == []

    shown = json.loads(filled.ask("instances", "import", "bob.localhost:8080", str(archive), "--json"))
    assert shown["state"] == "done"
    assert tree(filled, "bob.localhost:8080") == tree(filled, "alice.localhost:8080")
    assert filled.ask("instances", "imports", "bob.localhost:8080").split()[1] == "done"
    assert "no import x" in filled.refused("instances", "imports", "bob.localhost:8080", "--failures", "x")
    waiting = filled.run("instances", "import", "bob.localhost:8080", str(archive), "--force", "--wait=false")
    assert (waiting.returncode, b"from a link alone" in waiting.stderr) == (2, True)

    asked = filled.run("instances", "import", "bob.localhost:8080", str(archive))  # there is something to lose now
    assert asked.returncode == 1
    assert b"Replace everything of bob.localhost:8080" in asked.stderr
    filled.ask("instances", "import", "bob.localhost:8080", "--undo", "--force")
    assert [entry for entry in tree(filled, "bob.localhost:8080") if entry["type"] == "file"] == []


def test_an_archive_is_added_to_what_is_there(filled: Operator, tmp_path: Path) -> None:
    alice, bob = "alice.localhost:8080", "bob.localhost:8080"
    archive = tmp_path / "alice.zip"
    filled.ask("instances", "export", alice, "--output", str(archive))
    filled.ask("files", "put", "-", "/mine.txt", "--domain", bob, stdin=b"mine")
    said = filled.ask("instances", "import", str(archive), "--domain", bob, "--into", "existing")
    assert said.splitlines()[-1].startswith("done: ")
    paths = {entry["path"] for entry in tree(filled, bob)}
    assert paths == {"/mine.txt"} | {entry["path"] for entry in tree(filled, alice)}
    filled.refused("instances", "import", str(archive), "--domain", bob, "--into", "elsewhere", code=2)


def test_parts_are_written_into_a_folder_and_taken_from_it(filled: Operator, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    said = filled.ask("instances", "export", "--domain", "alice.localhost:8080", "--path", str(folder))
    assert said.startswith("Exporting archive 1/1 (alice.localhost:8080 - part000.zip)")
    filled.ask("instances", "import", str(folder), "--domain", "bob.localhost:8080", "--force")
    assert tree(filled, "bob.localhost:8080") == tree(filled, "alice.localhost:8080")


def test_a_damaged_archive_is_refused_in_one_line(filled: Operator, tmp_path: Path) -> None:
    archive = tmp_path / "alice.zip"
    filled.ask("instances", "export", "alice.localhost:8080", "--output", str(archive))
    archive.write_bytes(archive.read_bytes()[:-500])
    before = tree(filled, "alice.localhost:8080")
    assert "archive" in filled.refused("instances", "import", "alice.localhost:8080", str(archive), "--force")
    assert tree(filled, "alice.localhost:8080") == before
    [failed] = filled.ask("instances", "imports", "alice.localhost:8080", "--json").splitlines()
    assert (json.loads(failed)["state"], json.loads(failed)["source"]) == ("failed", str(archive))
    filled.refused("instances", "import", "alice.localhost:8080", str(tmp_path / "none.zip"), "--force")
    filled.refused("instances", "import", "nobody.localhost:8080", str(archive), "--force")


def test_without_a_file_the_owner_is_sent_a_link(running: Operator) -> None:
    domain = running.domain("alice")
    running.ask("instances", "add", domain, "--passphrase", "cozy", "--email", "a@example.com")
    assert running.ask("instances", "export", "--domain", domain) == ""
    wait_for(lambda: "#/exports/" in running.run("mails", "--domain", domain).stdout.decode(), "a mail")


def test_a_server_that_is_killed_in_the_middle_of_an_import_has_what_it_had(operator: Operator, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(300):
        (folder / f"{number}.txt").write_bytes(bytes([number % 256]) * 200_000)
    process = operator.serve()
    alice, bob = operator.domain("alice"), operator.domain("bob")
    for domain in (alice, bob):
        operator.ask("instances", "add", domain, "--passphrase", "cozy", "--email", "a@example.com")
    operator.ask("files", "put", str(folder), "/", "--domain", alice)
    operator.ask("files", "put", str(folder / "1.txt"), "/mine.txt", "--domain", bob)
    archive = tmp_path / "alice.zip"
    operator.ask("instances", "export", alice, "--output", str(archive))
    before = tree(operator, bob)
    prefix = operator.ask("instances", "show-db-prefix", bob)

    importing = operator.begin("instances", "import", bob, str(archive), "--force")
    wait_for(lambda: list(operator.data.glob(f"{prefix}-*/blobs")), "the import is in the middle")
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert importing.wait(30) != 0

    operator.serve()
    assert tree(operator, bob) == before
    wait_for(lambda: httpx.get(f"{operator.origin}/connection_check", headers={"Host": bob}).status_code == 204, "open")
    assert not list((operator.data / "spool").glob("*"))
    assert not list(operator.data.glob(f"{prefix}-*"))
    operator.ask("instances", "import", bob, str(archive), "--force")
    assert tree(operator, bob) == tree(operator, alice)
