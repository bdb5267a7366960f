"""Exports: asked for, mailed, downloaded by ranges, ended (spec/12 §1–§7)."""

from __future__ import annotations

import base64
import io
import json
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers import Person, RunningServer

from inglenook.mail.delivery import kept_mails
from inglenook.moving import exporting
from inglenook.moving.exports import ExportRequest
from inglenook.storage.contents import INLINE_BYTES

EXPORTS = "io.cozy.exports"
FILES = "io.cozy.files"
LARGE = bytes(range(256)) * (5 * INLINE_BYTES // 256) + b"the end"


@pytest.fixture(scope="module")
def alice(server: RunningServer) -> Iterator[Person]:
    """Somebody with a folder, a small and a large file, an old version, something in the trash."""
    alice = server.add("alice", passphrase="cozy")
    folder = alice.post("/files/io.cozy.files.root-dir?Type=directory&Name=Doc%C3%A9", FILES).json()["data"]["id"]
    upload(alice, folder, "hello.txt", b"hello")
    large = upload(alice, folder, "large.bin", b"old" + LARGE)
    assert alice.put(f"/files/{large}", FILES, content=LARGE).status_code == 200
    script = alice.post(f"/files/{folder}?Type=file&Name=run.sh&Executable=true", FILES, content=b"#!/bin/sh")
    assert script.status_code == 201
    trashed = upload(alice, folder, "gone.txt", b"gone")
    assert alice.delete(f"/files/{trashed}", FILES).status_code == 200
    alice.post("/data/io.cozy.contacts/", "io.cozy.contacts", json_body={"fullname": "Bob"})
    return alice


def upload(person: Person, folder: str, name: str, content: bytes) -> str:
    answer = person.post(f"/files/{folder}?Type=file&Name={name}", FILES, content=content)
    assert answer.status_code == 201
    return answer.json()["data"]["id"]


def ask(person: Person, **attributes: object) -> int:
    body = {"data": {"attributes": attributes}}
    return person.post("/move/exports", f"{EXPORTS}:POST", json_body=body).status_code


def links(person: Person) -> list[str]:
    """The secrets of the links that were mailed, newest first."""
    mails = kept_mails(person.server.env.config, domain=person.domain, limit=50)
    return [match[1] for mail in mails if (match := re.search(r"#/exports/(\S+)", mail.text))]


def wait_for_link(person: Person, known: int) -> str:
    deadline = time.monotonic() + 30
    while len(found := links(person)) <= known:
        assert time.monotonic() < deadline, "no link was mailed"
        time.sleep(0.02)
    return found[0]


@pytest.fixture(scope="module")
def mac(alice: Person) -> str:
    """The secret of an export of everything."""
    known = len(links(alice))
    assert ask(alice) == 201
    return wait_for_link(alice, known)


def test_the_link_of_the_mail_leads_to_the_document_and_to_the_archive(alice: Person, mac: str) -> None:
    document = alice.get(f"/move/exports/{mac}").json()["data"]
    assert document["type"] == EXPORTS
    assert document["meta"]["rev"].startswith("2-")
    shown = document["attributes"]
    assert shown["state"] == "done"
    assert shown["domain"] == alice.domain
    assert shown["parts_cursors"] == []
    assert shown["parts_size"] == 1 << 30
    assert shown["files_count"] == 5

    answer = alice.get(f"/move/exports/data/{mac}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"].startswith('attachment; filename="My Cozy.zip"')
    assert int(answer.headers["content-length"]) == len(answer.content)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names[0] == "My Cozy/Data/instance.json"
        assert names[-1] == "My Cozy/manifest.json"
        assert shown["total_size"] == sum(
            info.file_size for info in archive.infolist()[1:-1] if info.filename.startswith("My Cozy/Data/")
        )
        assert archive.read("My Cozy/Files/Docé/large.bin") == LARGE
        assert archive.read("My Cozy/Files/.cozy_trash/gone.txt") == b"gone"
        for number, name in enumerate(names):
            if name.startswith("My Cozy/Files/"):
                document = json.loads(archive.read(names[number - 1]))
                assert document["size"] == str(archive.getinfo(name).file_size)
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
        assert modes["My Cozy/Files/Docé/run.sh"] == 0o100750
        assert modes["My Cozy/Files/Docé/hello.txt"] == 0o100640
        assert all(info.flag_bits & 8 and info.compress_type == 8 for info in archive.infolist())
        instance = json.loads(archive.read(names[0]))
        assert instance["domain"] == alice.domain
        assert not any("secret" in name or "hash" in name or "token" in name for name in instance)


def test_no_live_secret_leaves(alice: Person, mac: str) -> None:
    with zipfile.ZipFile(io.BytesIO(alice.get(f"/move/exports/data/{mac}").content)) as archive:
        names = archive.namelist()
        assert not any(part in name for name in names for part in ("io.cozy.sessions", "access_codes", EXPORTS))
        clients = [json.loads(archive.read(name)) for name in names if "/io.cozy.oauth.clients/" in name]
        assert clients
        assert not any("client_secret" in client for client in clients)


def test_any_range_of_a_part_is_the_same_as_in_the_whole(alice: Person, mac: str) -> None:
    path = f"/move/exports/data/{mac}"
    whole = alice.get(path)
    size = len(whole.content)
    for start in range(0, size, 37_123):
        for length in (1, 65_541, 200_000):
            end = min(start + length, size)
            answer = alice.get(path, headers={"Range": f"bytes={start}-{end - 1}"})
            assert answer.status_code == 206
            assert answer.content == whole.content[start:end]
            assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
    assert alice.get(path, headers={"Range": f"bytes={size}-"}).status_code == 416
    head = alice.http.head(path)
    assert head.status_code == 200
    assert head.headers["content-length"] == str(size)
    assert not head.content
    etag = whole.headers["etag"]
    assert alice.get(path, headers={"If-None-Match": etag}).status_code == 304
    again = alice.get(path, headers={"Range": "bytes=5-9", "If-Range": '"another"'})
    assert again.status_code == 200
    assert again.content == whole.content


def test_a_download_is_the_same_after_the_files_have_changed(alice: Person, mac: str) -> None:
    path = f"/move/exports/data/{mac}"
    before = alice.get(path).content
    file = upload(alice, "io.cozy.files.root-dir", "later.txt", b"later")
    assert alice.delete(f"/files/{file}", FILES).status_code == 200
    assert alice.delete("/files/trash", FILES).status_code == 204
    assert alice.get(path).content == before


def test_links_that_are_none_are_refused_in_plain_text(alice: Person, mac: str) -> None:
    for prefix in ("/move/exports/", "/move/exports/data/"):
        assert alice.get(prefix + "no!base64").status_code == 400
        wrong = alice.get(prefix + base64.urlsafe_b64encode(b"QUJD").decode())
        assert (wrong.status_code, wrong.text) == (401, "exports: invalid mac")
    bad = alice.get(f"/move/exports/data/{mac}?cursor=io.cozy.files/none")
    assert (bad.status_code, bad.text) == (400, "export: cursor is invalid")


def test_asking_needs_the_right_and_has_a_limit(server: RunningServer) -> None:
    carol = server.add("carol", passphrase="cozy")
    assert carol.post("/move/exports", FILES, json_body={"data": {"attributes": {}}}).status_code == 403
    assert carol.post("/move/exports", json_body={"data": {"attributes": {}}}).status_code == 401
    assert ask(carol, parts_size="much") == 422
    assert [ask(carol) for _ in range(6)] == [201, 201, 201, 201, 201, 404]


def test_a_new_export_ends_the_one_before(server: RunningServer) -> None:
    bob2 = server.add("bob", passphrase="cozy")
    assert ask(bob2) == 201
    first = wait_for_link(bob2, 0)
    assert ask(bob2, with_doctypes=["io.cozy.contacts"]) == 201
    second = wait_for_link(bob2, 1)
    deadline = time.monotonic() + 30
    while (gone := bob2.get(f"/move/exports/{first}")).status_code != 404:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert gone.text == "exports: has expired"
    assert bob2.get(f"/move/exports/data/{first}").status_code == 404
    with zipfile.ZipFile(io.BytesIO(bob2.get(f"/move/exports/data/{second}").content)) as archive:
        folders = {name.split("/")[2] for name in archive.namelist() if name.startswith("My Cozy/Data/")}
        assert folders == {"instance.json", "io.cozy.contacts"}


def test_parts_are_cut_by_the_size_of_contents(alice: Person) -> None:
    def make(size: int) -> list[bytes]:
        async def work(_: object) -> list[bytes]:
            asked = ExportRequest(parts_size=size)
            original, exporting.exports.SMALLEST_PART = exporting.exports.SMALLEST_PART, 1
            try:
                document = await exporting.export(alice.instance, asked, mail=False)
            finally:
                exporting.exports.SMALLEST_PART = original
            kept = await alice.instance.store.read(lambda view: exporting.parts.parts_of(view, document.id))
            assert [part.cursor for part in kept[1:]] == document.body["parts_cursors"]
            read = exporting.parts.read
            return [b"".join([piece async for piece in read(alice.instance.contents, part)]) for part in kept]

        return alice.server.do(work)

    pieces = make(len(LARGE))
    assert len(pieces) > 1
    contents: list[str] = []
    for number, piece in enumerate(pieces):
        with zipfile.ZipFile(io.BytesIO(piece)) as archive:
            assert archive.testzip() is None
            assert ("My Cozy/Data/instance.json" in archive.namelist()) == (number == 0)
            contents += [name for name in archive.namelist() if name.startswith("My Cozy/Files/")]
    assert len(contents) == len(set(contents))
    assert "My Cozy/Files/Docé/large.bin" in contents


def test_nothing_is_kept_of_an_export_that_has_ended(tmp_path: Path) -> None:
    server = RunningServer(tmp_path).start()
    try:
        alice = server.add("alice", passphrase="cozy")
        upload(alice, "io.cozy.files.root-dir", "large.bin", LARGE)

        async def work(_: object) -> list[int]:
            instance = alice.instance
            document, part = await exporting.export_in_one(instance, ExportRequest())
            held = await instance.store.read(
                lambda view: view.content("io.cozy.exports/contents", f"{document.id}/0/map")
            )
            assert held is not None
            assert part.size > len(LARGE)
            await exporting.drop(instance, document.id)
            gone = await instance.store.read(
                lambda view: (
                    view.content("io.cozy.exports/contents", f"{document.id}/0/map"),
                    view.record("export-parts", document.id),
                    view.records("export-held"),
                )
            )
            assert gone == (None, None, [])
            return []

        server.do(work)
    finally:
        server.stop()
