"""An archive that is added to what is there: nothing of that changes, what is other comes beside it (spec/12 §11)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.api.moving_van import archive, furnish, rewritten, state, upload
from tests.servers import Person, RunningServer

from inglenook.files.documents import FILES
from inglenook.moving import importing
from inglenook.moving.importing import Wanted
from inglenook.moving.summary import Summary

ROOT = "io.cozy.files.root-dir"
CONTACTS = "io.cozy.contacts"


@pytest.fixture(scope="module")
def furnished(server: RunningServer) -> Person:
    """Somebody with much to bring."""
    alice = server.add("mergealice", passphrase="cozy")
    furnish(alice)
    return alice


@pytest.fixture(scope="module")
def packed(furnished: Person, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of everything."""
    path = tmp_path_factory.mktemp("merge") / "archive.zip"
    path.write_bytes(archive(furnished))
    return path


def add(person: Person, path: Path) -> Summary:
    """Add an archive to what somebody has."""
    return person.server.do(lambda _: importing.merge(person.instance, Wanted("1" * 32, [path], "test")))


def visible(person: Person) -> dict[str, Any]:
    """What somebody has, without the folders that every instance begins with."""
    return {path: body for path, body in state(person).items() if not path.endswith(("/Photos", "/Administrative"))}


def test_everything_comes_in_beside_what_is_there(server: RunningServer, furnished: Person, packed: Path) -> None:
    bob = server.add("mergebob", passphrase="cozy")
    upload(bob, ROOT, "mine.txt", b"mine" * 30_000)
    mine = state(bob)
    summary = add(bob, packed)
    assert summary.failed == {}
    after = state(bob)
    assert {path: after[path] for path in mine} == mine
    fresh = {
        path: body for path, body in visible(furnished).items() if path not in (f"{FILES} /", f"{FILES} /.cozy_trash")
    }
    assert {path: after[path] for path in fresh} == fresh

    again = add(bob, packed)
    assert sum(again.imported.values()) == 0, "a second time there is nothing to do"
    assert again.state == "done"
    assert state(bob) == after
    [myself] = [contact for contact in contacts(bob) if contact.get("me")]
    assert myself["cozy"][0]["url"] == bob.url


def test_what_is_other_stays_and_a_file_comes_in_as_a_copy(
    server: RunningServer, furnished: Person, packed: Path, tmp_path: Path
) -> None:
    bob2 = server.add("mergedora", passphrase="cozy")
    add(bob2, packed)
    there = state(bob2)
    name = next(path for path in there if path.endswith("/tagged.txt"))
    changed = bob2.put(f"/files/{there[name]['id']}", FILES, content=b"changed by bob2")
    assert changed.status_code == 200, changed.text
    bobs = next(contact for contact in contacts(bob2) if contact.get("fullname") == "Bob")
    path = f"/data/{CONTACTS}/{bobs['_id']}"
    assert bob2.put(path, CONTACTS, json_body={**bobs, "note": "changed"}).status_code == 200

    summary = add(bob2, packed)
    after = state(bob2)
    copies = [path for path in after if "tagged" in path and path != name and path.startswith(f"{FILES} ")]
    assert len(copies) == 1
    assert copies[0].endswith("/tagged (2).txt")
    assert after[copies[0]]["sha256"] == there[name]["sha256"]
    assert after[name]["sha256"] != there[name]["sha256"]
    assert bob2.get(path, CONTACTS).json()["note"] == "changed"
    assert [remark.id for remark in summary.remarks] == [bobs["_id"]]
    assert summary.state == "done_with_warnings"


def test_folders_of_the_same_place_are_one_and_names_that_are_taken_get_a_mark(
    server: RunningServer, furnished: Person, packed: Path
) -> None:
    alice2 = server.add("mergeerin", passphrase="cozy")
    made = alice2.post(f"/files/{ROOT}", FILES, params={"Type": "directory", "Name": "Documénts"}).json()["data"]["id"]
    upload(alice2, made, "tagged.txt", b"another content")
    upload(alice2, made, "run.sh", b"#!/bin/sh")
    add(alice2, packed)
    after = state(alice2)
    below = sorted(
        path.removeprefix(f"{FILES} /Documénts/") for path in after if path.startswith(f"{FILES} /Documénts/")
    )
    assert "large.bin" in below
    assert len([name for name in below if name.startswith("tagged")]) == 2
    assert [name for name in below if name.startswith("run")] == ["run.sh"], "the same content is not there twice"
    assert len([path for path in after if path.startswith(f"{FILES} /Documénts") and path.count("/") == 1]) == 1


def test_what_has_no_room_is_told_and_a_damaged_archive_changes_nothing(
    server: RunningServer, packed: Path, tmp_path: Path
) -> None:
    carol3 = server.add("mergefrank", passphrase="cozy", disk_quota=100_000)
    summary = add(carol3, packed)
    assert any("quota" in remark.reason for remark in summary.remarks)
    assert any(path.endswith("/hello.txt") for path in state(carol3)), "the rest came in"

    bad = tmp_path / "bad.zip"
    bad.write_bytes(
        rewritten(packed.read_bytes(), lambda name, data: (name, data + b"!" if "/Files/" in name else data))
    )
    bob3 = server.add("mergegrace", passphrase="cozy")
    before = state(bob3)
    with pytest.raises(importing.DomainError, match="damaged"):
        add(bob3, bad)
    assert state(bob3) == before


def contacts(person: Person) -> list[dict[str, Any]]:
    """All contacts of somebody."""
    rows = person.get(f"/data/{CONTACTS}/_all_docs?include_docs=true", CONTACTS).json()["rows"]
    return [json.loads(json.dumps(row["doc"])) for row in rows]
