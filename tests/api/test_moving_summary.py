"""What an import tells of itself: counts, everything that was not as it should be, and the owner's picture
(spec/12 §11)."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.api.moving_van import FILES_RIGHT, archive, folder, rewritten, take_in, upload
from tests.servers import Person, RunningServer

from inglenook.moving.summary import IMPORTS
from inglenook.storage.contents import INLINE_BYTES

ROOT = "io.cozy.files.root-dir"
DATA = "My Cozy/Data/"
PNG = b"\x89PNG\r\n\x1a\n"
SUMMARY = "0" * 32  # as `take_in` names it


def summary_of(person: Person) -> dict[str, Any]:
    person.start_anew()
    answer = person.get(f"/data/{IMPORTS}/{SUMMARY}", IMPORTS)
    assert answer.status_code == 200, answer.text
    return answer.json()


def into_file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_what_was_lost_is_told_with_its_place(server: RunningServer, tmp_path: Path) -> None:
    alice, bob = server.add("alice", passphrase="cozy"), server.add("bob", passphrase="cozy")
    deep = folder(alice, folder(alice, ROOT, "Photos of ours"), "2024")
    lost = upload(alice, deep, "lost.txt", b"lost")
    upload(alice, deep, "kept.txt", b"kept")
    gone = upload(alice, deep, "gone.txt", b"old")
    assert alice.put(f"/files/{gone}", FILES_RIGHT, content=b"new").status_code == 200

    def without(name: str, data: bytes) -> tuple[str, bytes] | None:
        old_version = name.startswith(f"My Cozy/Files/{gone}/")
        return None if name.endswith("/lost.txt") or old_version else (name, data)

    summary = take_in(bob, into_file(tmp_path / "a.zip", rewritten(archive(alice), without)))
    assert summary.state == "done_with_warnings"
    shown = summary_of(bob)
    assert {(one["doctype"], one["path"]) for one in shown["failures"]} == {
        ("io.cozy.files", "/Photos of ours/2024/lost.txt"),
        ("io.cozy.files.versions", "/Photos of ours/2024/gone.txt"),
    }
    assert shown["failures"][0]["id"] == lost
    assert list(shown["failures"][0]) == ["doctype", "id", "path", "reason"]
    assert shown["doctypes"]["io.cozy.files"]["failed"] == 1
    url = f"/move/imports/{SUMMARY}/failures"
    told = bob.get(url, f"{IMPORTS}:GET")
    assert told.headers["content-type"] == "application/jsonl"
    assert [json.loads(line) for line in told.text.splitlines()] == shown["failures"]
    assert bob.get(url).status_code == 401
    assert bob.get(url, FILES_RIGHT).status_code == 403
    assert bob.get("/move/imports/none/failures", IMPORTS).status_code == 404


def test_the_document_tells_of_the_first_remarks_and_the_file_of_all(server: RunningServer, tmp_path: Path) -> None:
    carol, bob = server.add("carol", passphrase="cozy"), server.add("bob2", passphrase="cozy")
    path = into_file(tmp_path / "b.zip", archive(carol))
    with zipfile.ZipFile(path, "a") as opened:
        for number in range(1200):
            body = {"type": "file", "name": f"{number}.txt", "dir_id": ROOT, "size": "1", "md5sum": "x"}
            opened.writestr(f"{DATA}io.cozy.files/f{number:05d}.json", json.dumps({"_id": f"f{number:05d}", **body}))
    take_in(bob, path)
    shown = summary_of(bob)
    assert (len(shown["failures"]), shown["failures_count"]) == (1000, 1200)
    lines = bob.get(f"/move/imports/{SUMMARY}/failures", IMPORTS).text.splitlines()
    assert [json.loads(line)["path"] for line in lines] == [f"/{number}.txt" for number in range(1200)]


def test_nothing_is_told_when_nothing_was_lost(server: RunningServer, tmp_path: Path) -> None:
    carol, bob = server.add("carol2", passphrase="cozy"), server.add("bob3", passphrase="cozy")
    take_in(bob, into_file(tmp_path / "c.zip", archive(carol)))
    assert summary_of(bob)["failures"] == []
    empty = bob.get(f"/move/imports/{SUMMARY}/failures", IMPORTS)
    assert (empty.status_code, empty.content) == (200, b"")


@pytest.mark.parametrize("size", [100, 3 * INLINE_BYTES])
def test_the_picture_of_the_owner_comes_along(server: RunningServer, tmp_path: Path, size: int) -> None:
    picture = PNG + bytes(range(256)) * (size // 256 + 1)
    source, target = server.add(f"alice{size}", passphrase="cozy"), server.add(f"bob{size}", passphrase="cozy")
    image = {"Content-Type": "image/png"}
    assert source.put("/settings/avatar", "io.cozy.settings", content=picture, headers=image).status_code == 204
    path = into_file(tmp_path / "d.zip", archive(source))
    with zipfile.ZipFile(path) as opened:
        assert opened.testzip() is None
        assert opened.read("My Cozy/avatar.png") == picture
        assert opened.namelist()[-1] == "My Cozy/manifest.json"
        assert not [name for name in opened.namelist() if "settings.avatar" in name]
    take_in(target, path)
    shown = target.get("/public/avatar?fallback=404")
    assert (shown.headers["content-type"], shown.content) == ("image/png", picture)

    own = b"\xff\xd8\xff" + bytes(50)
    target.start_anew()
    assert target.put("/settings/avatar", "io.cozy.settings", content=own).status_code == 204
    take_in(target, path)
    assert target.get("/public/avatar").content == own, "the present picture stays"


def test_a_picture_that_is_none_is_left_out(server: RunningServer, tmp_path: Path) -> None:
    source, target = server.add("alice7", passphrase="cozy"), server.add("bob7", passphrase="cozy")
    path = into_file(tmp_path / "e.zip", archive(source))
    with zipfile.ZipFile(path, "a") as opened:
        opened.writestr("My Cozy/avatar.html", b"<script>")
        opened.writestr("My Cozy/avatar.png", b"")
    assert take_in(target, path).state == "done"
    assert target.get("/public/avatar?fallback=404").status_code == 404


def test_an_import_that_fails_is_told_too(server: RunningServer) -> None:
    from inglenook.moving import import_job, jobs

    target = server.add("bob8", passphrase="cozy")
    upload(target, ROOT, "mine.txt", b"mine")

    async def fail(_: object) -> str:
        instance = target.instance
        asked = import_job.ImportRequest(f"{target.url}/move/exports/c2VjcmV0")
        job = jobs.Job(
            id="1" * 32, kind="import", prefix=instance.prefix, queued_at=0.0, request=msgspec.to_builtins(asked)
        )
        await import_job.run(instance, job)
        return job.id

    id = server.do(fail)
    told = target.get(f"/data/{IMPORTS}/{id}", IMPORTS).json()
    assert (told["state"], told["source"]) == ("failed", target.url)
    assert told["error"]
    assert told["started_at"] <= told["finished_at"]
    assert target.get("/files/metadata?Path=/mine.txt", FILES_RIGHT).status_code == 200
