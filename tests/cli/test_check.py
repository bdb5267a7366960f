"""`inglenook check … --repair`: what is wrong is told and, where nothing is lost by it, mended (spec/10 §3)."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from .conftest import Operator

LARGE = b"large" * 30_000


@pytest.fixture
def alice(either: Operator) -> str:
    """Alice's domain; she has a large file."""
    domain = either.domain("alice")
    either.ask("instances", "add", domain, "--passphrase", "cozy")
    (either.folder / "large.bin").write_bytes(LARGE)
    either.ask("files", "put", "large.bin", "/", "--domain", domain)
    return domain


def blob_of(operator: Operator, domain: str, content: bytes = LARGE) -> Path:
    """Where the bytes of a content are."""
    name = hashlib.sha256(content).hexdigest()
    return operator.data / operator.ask("instances", "show-db-prefix", domain) / "blobs" / name[:2] / name[2:]


def found(operator: Operator, code: int, *words: str) -> list[dict[str, Any]]:
    """What a check tells, when it ends with this code."""
    done = operator.run("check", *words)
    assert done.returncode == code, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("harm", ["gone", "changed"])
def test_damaged_bytes_are_fetched_from_another_instance_that_has_them(either: Operator, alice: str, harm: str) -> None:
    bob = either.domain("bob")
    either.ask("instances", "add", bob, "--passphrase", "cozy")
    either.ask("files", "put", "large.bin", "/", "--domain", bob)
    blob = blob_of(either, alice)
    blob.unlink() if harm == "gone" else blob.write_bytes(b"!" * len(LARGE))
    (finding,) = found(either, 1, "fs", alice)
    assert finding["type"] == ("filesystem_missing" if harm == "gone" else "content_mismatch")
    (mended,) = found(either, 0, "fs", alice, "--repair")
    assert mended["repaired"] is True
    assert found(either, 0, "fs", alice) == []
    assert blob.read_bytes() == LARGE


def test_damaged_bytes_that_are_nowhere_else_are_left_and_told(either: Operator, alice: str) -> None:
    blob_of(either, alice).write_bytes(b"!" * len(LARGE))
    (finding,) = found(either, 1, "fs", alice, "--repair")
    assert (finding["type"], finding["repaired"]) == ("content_mismatch", False)
    assert blob_of(either, alice).read_bytes() == b"!" * len(LARGE)
    assert finding["file_doc"]["name"] == "large.bin"


def test_bytes_that_no_document_names_are_told_and_given_to_the_collector(either: Operator, alice: str) -> None:
    stranger = blob_of(either, alice, b"stranger")
    stranger.parent.mkdir(exist_ok=True)
    stranger.write_bytes(b"stranger")
    name = hashlib.sha256(b"stranger").hexdigest()
    expected = {"type": "index_missing", "is_file": True, "is_version": False, "sha256": name}
    assert found(either, 1, "fs", alice) == [expected]
    assert found(either, 0, "fs", alice, "--index-integrity") == []
    assert found(either, 0, "fs", alice, "--repair") == [{**expected, "repaired": True}]
    assert found(either, 0, "fs", alice) == []
    assert stranger.exists(), "for an hour, in case that it is being uploaded"


def test_tracking_is_made_anew_from_the_revisions_of_the_document(operator: Operator) -> None:
    alice = operator.domain("alice")
    operator.ask("instances", "add", alice, "--passphrase", "cozy")
    (operator.folder / "a.txt").write_text("text")
    operator.ask("files", "put", "a.txt", "/", "--domain", alice)
    database = operator.data / operator.ask("instances", "show-db-prefix", alice) / "documents.sqlite"
    with sqlite3.connect(database) as connection:
        ((id, rev),) = connection.execute("SELECT id, rev FROM documents WHERE body LIKE '%\"a.txt\"%'").fetchall()
        wrong = {"rev": "2-b", "branches": [{"rev": "1-a"}]}
        records = {
            f"io.cozy.files/{id}": {"revisions": wrong, "infos": {"s": {"rule": 0}}},
            "io.cozy.files/nobody": {"revisions": wrong, "infos": {"s": {"rule": 0}}},
            "io.cozy.files/z": {"infos": 1},
        }
        for number, (key, body) in enumerate(records.items(), 1000):
            connection.execute(
                "INSERT INTO records (kind, id, seq, body) VALUES ('shared', ?, ?, ?)", (key, number, json.dumps(body))
            )
    connection.close()
    told = found(operator, 1, "shared", alice)
    assert sorted(finding["type"] for finding in told) == ["invalid_json", "invalid_revs_suite", "invalid_revs_suite"]
    mended = found(operator, 1, "shared", alice, "--repair")
    assert {finding["_id"]: finding["repaired"] for finding in mended} == {
        f"io.cozy.files/{id}": True, "io.cozy.files/nobody": False, "io.cozy.files/z": False,
    }  # fmt: skip
    assert {finding["_id"] for finding in found(operator, 1, "shared", alice)} == {
        "io.cozy.files/nobody", "io.cozy.files/z",
    }  # fmt: skip
    with sqlite3.connect(database) as connection:
        ((body,),) = connection.execute("SELECT body FROM records WHERE id = ?", (f"io.cozy.files/{id}",)).fetchall()
    connection.close()
    assert json.loads(body)["infos"] == {"s": {"rule": 0}}
    assert rev in body
