"""Imports: everything comes over, and a damaged or hostile archive changes nothing (spec/12 §8, §11–§13)."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.api.moving_van import LARGE, archive, furnish, rewritten, state, take_in, upload
from tests.servers import Person, RunningServer

from inglenook.files.documents import FILES
from inglenook.identity import generations
from inglenook.identity.instance import store_name
from inglenook.kernel.errors import DomainError
from inglenook.moving import importing
from inglenook.moving.importing import Wanted
from inglenook.web.runtime import Runtime

ROOT = "io.cozy.files.root-dir"
DATA = "My Cozy/Data/"


@pytest.fixture(scope="module")
def furnished(server: RunningServer) -> Person:
    """Somebody with much to take along."""
    alice = server.add("alice", passphrase="cozy")
    furnish(alice)
    return alice


@pytest.fixture(scope="module")
def whole(furnished: Person) -> bytes:
    """The archive of everything."""
    return archive(furnished)


@pytest.fixture
def bob(server: RunningServer, request: pytest.FixtureRequest) -> Person:
    """Somebody with a file that must not be lost."""
    name = "b" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12]
    bob = server.add(name, passphrase="cozy", email="bob@example.com")
    upload(bob, ROOT, "mine.txt", b"mine" * 30_000)
    return bob


def as_file(folder: Path, data: bytes) -> Path:
    path = folder / "archive.zip"
    path.write_bytes(data)
    return path


def sets_of_data(person: Person) -> list[int]:
    """Which sets of data somebody has: that of today, one that is kept, a draft."""

    async def there(runtime: Runtime) -> list[int]:
        prefix = person.instance.prefix
        return [number for number in range(5) if runtime.stores.exists(store_name(prefix, number))]

    return person.server.do(there)


def test_everything_comes_over_and_comes_back(furnished: Person, whole: bytes, bob: Person, tmp_path: Path) -> None:
    before, mine = state(furnished), state(bob)
    summary = take_in(bob, as_file(tmp_path, whole))
    assert summary.state == "done", summary.remarks
    assert state(bob) == before
    bob.start_anew()
    assert bob.get("/settings/instance", "io.cozy.settings").json()["data"]["attributes"]["email"] == "bob@example.com"
    files = [path for path in before if path.endswith("large.bin")]
    answer = bob.get(f"/files/download/{before[files[0]]['id']}", FILES)
    assert answer.content == LARGE
    again = archive(bob)
    names = [set(zipfile.ZipFile(io.BytesIO(data)).namelist()) for data in (whole, again)]
    files_of = [{name for name in listed if "/io.cozy.files" in name or "/Files/" in name} for listed in names]
    assert files_of[0] == files_of[1]

    bob.server.do(lambda _: generations.take_back(bob.instance))
    bob.start_anew()
    assert state(bob) == mine
    assert bob.get("/files/metadata?Path=/mine.txt", FILES).status_code == 200


def test_attachments_of_documents_come_over(server: RunningServer, bob: Person, tmp_path: Path) -> None:
    carol = server.add("attached", passphrase="cozy")
    path, right = "/data/com.example.notes/with-picture", "com.example.notes"
    bytes_of = {"dot.png": b"\x89PNG" * 30_000, "empty.txt": b""}
    attached = {
        name: {"content_type": "image/png", "data": base64.b64encode(data).decode()} for name, data in bytes_of.items()
    }
    assert carol.put(path, right, json_body={"n": 1, "_attachments": attached}).status_code == 200
    summary = take_in(bob, as_file(tmp_path, archive(carol)))
    assert summary.state == "done", summary.remarks
    bob.start_anew()
    assert bob.get(path, right).json() == carol.get(path, right).json()
    for name, data in bytes_of.items():
        answer = bob.get(f"{path}/{name}", right)
        assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, data, "image/png")


def test_writing_goes_on_after_an_import(furnished: Person, whole: bytes, bob: Person, tmp_path: Path) -> None:
    take_in(bob, as_file(tmp_path, whole))
    bob.start_anew()
    upload(bob, ROOT, "after.txt", b"after")
    assert bob.get("/files/metadata?Path=/after.txt", FILES).status_code == 200
    findings = bob.server.do(lambda _: bob.instance.store.read(lambda view: view.status(FILES).live))
    assert findings == len([path for path in state(bob) if path.startswith(f"{FILES} /")])


def test_a_check_changes_nothing(whole: bytes, bob: Person, tmp_path: Path) -> None:
    before = state(bob)
    wanted = Wanted("1" * 32, [as_file(tmp_path, whole)], "test")
    summary = bob.server.do(lambda _: importing.check(bob.instance, wanted))
    assert summary.state == "done"
    assert summary.found["com.example.notes"] == 150
    assert state(bob) == before


def _cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def _flipped(data: bytes) -> bytes:
    at = data.index(b"the end")
    return data[:at] + b"THE" + data[at + 3 :]


def _without_instance(data: bytes) -> bytes:
    return rewritten(data, lambda name, content: None if name.endswith("Data/instance.json") else (name, content))


def _other_content(data: bytes) -> bytes:
    return rewritten(data, lambda name, content: (name, b"HELLO") if name.endswith("hello.txt") else (name, content))


def _of_no_entry(data: bytes) -> bytes:
    target = io.BytesIO()
    zipfile.ZipFile(target, "w").close()
    return target.getvalue()


def _lying_size(data: bytes) -> bytes:
    """The directory says that an entry is larger than it is."""
    changed = bytearray(data)
    at = changed.rindex(b"PK\x01\x02")
    changed[at + 24 : at + 28] = struct.pack("<I", 4_000_000_000)
    return bytes(changed)


def _overlapping(data: bytes) -> bytes:
    """Two entries of the directory are the same bytes."""
    changed = bytearray(data)
    first = changed.index(b"PK\x01\x02")
    offset = changed[first + 42 : first + 46]
    second = changed.index(b"PK\x01\x02", first + 4)
    changed[second + 42 : second + 46] = offset
    return bytes(changed)


def _a_link(data: bytes) -> bytes:
    target = io.BytesIO(data)
    with zipfile.ZipFile(target, "a") as changed:
        info = zipfile.ZipInfo("My Cozy/Files/link")
        info.create_system = 3
        info.external_attr = 0o120777 << 16
        changed.writestr(info, "/etc/passwd")
    return target.getvalue()


def _bomb(data: bytes) -> bytes:
    target = io.BytesIO(data)
    with zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as changed:
        changed.writestr(DATA + "com.example.bombs/one.json", b"{" + b" " * 20_000_000 + b"}")
    return target.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        _cut,
        _flipped,
        _without_instance,
        _other_content,
        _of_no_entry,
        _lying_size,
        _overlapping,
        _a_link,
        lambda _: b"",
        lambda _: b"PK",
    ],
)
def test_a_damaged_archive_is_refused_and_nothing_changes(
    damage: Any, whole: bytes, bob: Person, tmp_path: Path
) -> None:
    before = state(bob)
    with pytest.raises(DomainError):
        take_in(bob, as_file(tmp_path, damage(whole)))
    assert state(bob) == before
    assert bob.get("/files/metadata?Path=/mine.txt", FILES).status_code == 200
    assert not list((bob.server.env.config.data / "spool").iterdir())
    assert sets_of_data(bob) == [0]


def test_what_does_not_fit_in_the_quota_is_refused(server: RunningServer, whole: bytes, tmp_path: Path) -> None:
    small = server.add("small", passphrase="cozy", disk_quota=100_000)
    with pytest.raises(DomainError, match="quota"):
        take_in(small, as_file(tmp_path, whole))


def test_a_large_document_is_told_of_and_stops_nothing(whole: bytes, bob: Person, tmp_path: Path) -> None:
    summary = take_in(bob, as_file(tmp_path, _bomb(whole)))
    assert summary.state == "done_with_warnings"
    assert [remark.doctype for remark in summary.remarks] == ["com.example.bombs"]


def test_nothing_of_an_archive_is_believed(whole: bytes, bob: Person, tmp_path: Path) -> None:
    """Impossible names and places are mended, and what could do harm is left out."""
    root = f"{DATA}io.cozy.files/"
    md5 = "XUFAKrxLKna5cZ2REBfFkg=="  # of "hello"

    def file(id: str, name: str, dir_id: str, **more: Any) -> list[tuple[str, bytes]]:
        body = {
            "type": "file",
            "_id": id,
            "_rev": "1-" + "0" * 32,
            "name": name,
            "dir_id": dir_id,
            "size": "5",
            "md5sum": md5,
        }
        return [(f"{root}{id}.json", json.dumps({**body, **more}).encode()), (f"My Cozy/Files/../../{id}", b"hello")]

    def directory(id: str, name: str, dir_id: str) -> tuple[str, bytes]:
        body = {
            "type": "directory",
            "_id": id,
            "_rev": "1-" + "0" * 32,
            "name": name,
            "dir_id": dir_id,
            "path": "/../x",
        }
        return f"{root}{id}.json", json.dumps(body).encode()

    more = [
        (DATA + "io.cozy.oauth.clients/evil.json", b'{"_id":"evil","client_secret":"known","flagship":true}'),
        (DATA + "io.cozy.permissions/evil.json", b'{"_id":"evil","type":"share","codes":{"a":"b"}}'),
        (DATA + "io.cozy.sharings/evil.json", b'{"_id":"evil","active":true,"rules":[],"members":[]}'),
        (DATA + "io.cozy.jobs/evil.json", b'{"_id":"evil","worker":"sendmail"}'),
        (DATA + "io.cozy.triggers/evil.json", b'{"_id":"evil","worker":"sendmail"}'),
        (DATA + "io.cozy.sessions/evil.json", b'{"_id":"evil"}'),
        (DATA + "../../etc/passwd.json", b'{"_id":"evil"}'),
        (DATA + "com.example.odd/_design/x.json", b'{"_id":"_design/x"}'),
        (DATA + "com.example.odd/broken.json", b'{"_id":'),
        (DATA + "com.example.odd/good.json", b'{"_id":"../../good","a":1}'),
        directory("d1", "circle", "d2"),
        directory("d2", "circle", "d1"),
        directory("d3", "..", ROOT),
        directory("d4", "a/b", "nowhere"),
        *file("f1", "..", ROOT),
        *file("f2", "same", ROOT),
        *file("f3", "same", ROOT),
        *file("f4", "x\u0000y", "d1"),
        *file("f5", "ok", "io.cozy.files.trash-dir", restore_path="/"),
        *file("f6", "ok", "f1", trashed=True, metadata={"carbonCopy": True}),
        (f"{root}f7.json", json.dumps({"type": "file", "_id": "f7", "name": "lost", "dir_id": ROOT}).encode()),
        (f"{DATA}io.cozy.files.versions/none/1-a.json", json.dumps({"size": "5", "md5sum": md5}).encode()),
        ("My Cozy/Files/none/1-a", b"hello"),
    ]  # fmt: skip
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as hostile:
        hostile.writestr(DATA + "instance.json", b"{}")
        for name, content in more:
            hostile.writestr(name, content)
    summary = take_in(bob, as_file(tmp_path, target.getvalue()))
    assert summary.state == "done_with_warnings"

    found = {path.removeprefix(f"{FILES} "): body for path, body in state(bob).items() if path.startswith(FILES + " ")}
    by_id = {body["id"]: (path, body) for path, body in found.items()}
    assert {"f1", "f2", "f3", "f4", "f5", "f6", "d1", "d2", "d3", "d4"} <= set(by_id)
    assert "f7" not in by_id
    assert all(path.startswith("/") for path in found)
    assert {by_id["f2"][0], by_id["f3"][0]} == {"/same", "/same (2)"}
    assert by_id["f5"][1]["trashed"] is True
    assert by_id["f6"][1]["trashed"] is False
    assert "metadata" not in by_id["f6"][1]
    assert len({by_id[id][0] for id in ("d1", "d2")}) == 2

    def left(runtime: Any) -> Any:
        doctypes = ("clients", "oauth.clients", "permissions", "sharings", "jobs", "triggers", "sessions")
        return bob.instance.store.read(
            lambda view: (
                [view.get(f"io.cozy.{name}", "evil") for name in doctypes] + [view.get("com.example.odd", "../../good")]
            )
        )

    *none, good = bob.server.do(left)
    assert none == [None] * 7
    assert good.body == {"a": 1}
    assert {remark.id for remark in summary.remarks} >= {"f7", "none/1-a", "broken"}
