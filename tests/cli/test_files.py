"""`inglenook files …`, with the server running and stopped (spec/10 §3)."""

from __future__ import annotations

import hashlib
import json
import subprocess

from .conftest import COMMAND, Operator


def at_alice(operator: Operator) -> str:
    """Alice, who is the person meant from now on."""
    domain = operator.domain("alice")
    operator.ask("instances", "add", domain, "--passphrase", "cozy")
    operator.environ["COZY_DOMAIN"] = domain
    return domain


def test_a_folder_goes_in_and_comes_out_the_same(either: Operator) -> None:
    at_alice(either)
    source = either.folder / "holidays"
    (source / "day one" / "empty").mkdir(parents=True)
    (source / "été.txt").write_text("sun")
    (source / "day one" / "big.bin").write_bytes(bytes(range(256)) * 4096)
    (source / "nothing").touch()

    done = either.run("files", "put", "holidays", "/Photos")
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr.decode().strip() == "3 files, 1 MB"
    assert either.run("files", "put", "holidays", "/Photos").stderr.decode().strip() == (
        "0 files, 0 B, 3 were the same already"
    )
    listed = [json.loads(line) for line in either.ask("files", "tree", "/Photos", "--json").splitlines()]
    assert sorted(entry["path"] for entry in listed) == [
        "/Photos/holidays",
        "/Photos/holidays/day one",
        "/Photos/holidays/day one/big.bin",
        "/Photos/holidays/day one/empty",
        "/Photos/holidays/nothing",
        "/Photos/holidays/été.txt",
    ]
    assert "holidays/" in either.ask("files", "ls", "/Photos")
    assert "└── " in either.ask("files", "tree")

    (either.folder / "back").mkdir()
    either.ask("files", "get", "/Photos/holidays", "back")
    for path in ("été.txt", "day one/big.bin", "nothing"):
        assert (either.folder / "back" / "holidays" / path).read_bytes() == (source / path).read_bytes()
    assert (either.folder / "back" / "holidays" / "day one" / "empty").is_dir()
    assert "3 were the same" in either.run("files", "get", "/Photos/holidays", "back").stderr.decode()


def test_a_stream_goes_in_and_comes_out(either: Operator) -> None:
    domain = at_alice(either)
    content = b"\x00\xff\n" * 700_000
    either.ask("files", "put", "-", "/Inbox/stream.bin", "--domain", domain, stdin=content)
    done = either.run("files", "get", "/Inbox/stream.bin", "-")
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(content).digest()
    either.ask("files", "put", "-", "/Inbox/stream.bin", stdin=b"short")
    assert either.run("files", "get", "/Inbox/stream.bin", "-").stdout == b"short"


def test_a_file_can_be_trashed_and_destroyed(either: Operator) -> None:
    at_alice(either)
    either.ask("files", "put", "-", "/a.txt", stdin=b"a")
    either.ask("files", "put", "-", "/b.txt", stdin=b"b")
    either.ask("files", "rm", "/a.txt")
    assert "a.txt" in either.ask("files", "ls", "/.cozy_trash")
    refusal = either.run("files", "rm", "/b.txt", "--permanently", stdin=b"\n")
    assert refusal.returncode == 1
    either.ask("files", "rm", "/b.txt", "--permanently", "--force")
    assert "b.txt" not in either.ask("files", "tree")
    assert json.loads(either.ask("files", "usage", "--json"))["files"] == 1


def test_what_cannot_be_copied_is_refused(either: Operator) -> None:
    at_alice(either)
    assert "nowhere.txt" in either.refused("files", "put", "nowhere.txt")
    either.refused("files", "get", "/nowhere.txt")
    either.refused("files", "get", "/Photos", "-")
    either.refused("files", "ls", "/nowhere")
    either.refused("files", "put", "-", "/Photos", code=1)
    either.environ.pop("COZY_DOMAIN")
    either.refused("files", "ls", code=2)


def test_a_quota_holds_for_commands_too(either: Operator) -> None:
    domain = at_alice(either)
    either.ask("instances", "set-disk-quota", domain, "1kB")
    assert "quota" in either.run("files", "put", "-", "/big.bin", stdin=b"x" * 2000).stderr.decode()
    assert "big.bin" not in either.ask("files", "tree")
    assert either.ask("check", "fs", domain) == ""


def test_a_file_that_is_whole_is_found_so(either: Operator) -> None:
    domain = at_alice(either)
    either.ask("files", "put", "-", "/large.bin", stdin=b"x" * 1_000_000)
    assert either.ask("check", "fs", domain) == ""
    assert either.ask("check", "shared", domain) == ""


def test_a_content_that_is_damaged_is_found(operator: Operator) -> None:
    domain = at_alice(operator)
    operator.ask("files", "put", "-", "/large.bin", stdin=b"x" * 1_000_000)
    largest = max((path for path in operator.data.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    largest.chmod(0o600)
    largest.write_bytes(b"y" * 1_000_000)
    done = operator.run("check", "fs", domain)
    assert done.returncode == 1
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    assert [finding["type"] for finding in findings] == ["content_mismatch"]


def test_a_reader_that_goes_away_ends_the_command(running: Operator) -> None:
    at_alice(running)
    running.ask("files", "put", "-", "/large.bin", stdin=b"x" * 20_000_000)
    reading = subprocess.Popen(
        [*COMMAND, "files", "get", "/large.bin", "-"],
        env=running.environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert reading.stdout is not None
    reading.stdout.read(1000)
    reading.stdout.close()
    assert reading.wait(20) != 0
    assert running.ask("instances", "count") == "1 instance"
