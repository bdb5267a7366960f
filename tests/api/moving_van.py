"""What tests of moving share: a full instance, its archive, and everything that two instances can be compared by."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.servers import Person

from inglenook.files.documents import FILES, VERSIONS, Item
from inglenook.files.tree import Lineage
from inglenook.moving import exporting, importing, parts
from inglenook.moving.exports import ExportRequest
from inglenook.moving.importing import Wanted
from inglenook.moving.summary import Summary
from inglenook.storage.contents import INLINE_BYTES
from inglenook.storage.documents.contract import Reader

FILES_RIGHT = "io.cozy.files"
LARGE = bytes(range(256)) * (3 * INLINE_BYTES // 256) + b"the end"


def furnish(person: Person) -> None:
    """Folders, files small and large, versions, names of many scripts, something in the trash, documents."""
    docs = folder(person, "io.cozy.files.root-dir", "Documénts")
    deep = docs
    for name in ("a b", "дом", "ネスト", "weird : name?"):
        deep = folder(person, deep, name)
    upload(person, deep, "hello.txt", b"hello")
    upload(person, docs, "empty", b"")
    large = upload(person, docs, "large.bin", b"first " + LARGE)
    assert person.put(f"/files/{large}", FILES_RIGHT, content=LARGE).status_code == 200
    upload(person, docs, "run.sh", b"#!/bin/sh", "&Executable=true")
    upload(person, docs, "tagged.txt", b"tagged", "&Tags=red,blue")
    gone = folder(person, docs, "gone")
    upload(person, gone, "below.txt", b"below")
    assert person.delete(f"/files/{gone}", FILES_RIGHT).status_code == 200
    for name in ("Bob", "Carol"):
        answer = person.post(
            "/data/io.cozy.contacts/", "io.cozy.contacts", json_body={"fullname": name, "note": "é\u2028"}
        )
        assert answer.status_code == 201
    for number in range(150):
        path = f"/data/com.example.notes/note-{number}"
        assert person.put(path, "com.example.notes", json_body={"number": number}).status_code == 200


def folder(person: Person, parent: str, name: str) -> str:
    """A new folder; gives its id."""
    answer = person.post(f"/files/{parent}", FILES_RIGHT, params={"Type": "directory", "Name": name})
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]["id"]


def upload(person: Person, parent: str, name: str, content: bytes, more: str = "") -> str:
    """A new file; gives its id."""
    answer = person.post(f"/files/{parent}?Type=file&Name={name}{more}", FILES_RIGHT, content=content)
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]["id"]


def archive(person: Person, *, secrets: bool = False) -> bytes:
    """The archive of everything, in one part."""

    async def make(_: object) -> bytes:
        document, part = await exporting.export_in_one(person.instance, ExportRequest(secrets=secrets))
        pieces = [piece async for piece in parts.read(person.instance.contents, part)]
        await exporting.drop(person.instance, document.id)
        return b"".join(pieces)

    return person.server.do(make)


def take_in(person: Person, path: Path, **wanted: Any) -> Summary:
    """Replace everything of somebody by an archive."""
    return person.server.do(lambda _: importing.replace(person.instance, Wanted("0" * 32, [path], "test", **wanted)))


def rewritten(source: bytes, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> bytes:
    """An archive whose entries went through a function: their new name and bytes, None to leave one out."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(source)) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            kept = change(info.filename, old.read(info))
            if kept is not None:
                new.writestr(kept[0], kept[1])
    return target.getvalue()


def state(person: Person) -> dict[str, Any]:
    """Everything of an instance that a person would miss: files by path with content, versions, documents."""

    def read(view: Reader) -> dict[str, Any]:
        lineage, found = Lineage(view), dict[str, Any]()
        for document in view.all_docs(FILES, limit=10_000):
            item = Item.of(document)
            content = view.content(FILES, item.id)
            path = lineage.path(item)
            shown = {**item.body, "id": item.id, "rev": item.rev, "sha256": content.sha256 if content else ""}
            found[f"{FILES} {path}"] = shown
        for document in view.all_docs(VERSIONS, limit=10_000):
            content = view.content(VERSIONS, document.id)
            assert content is not None
            found[f"{VERSIONS} {document.id}"] = {**document.body, "sha256": content.sha256}
        for doctype in ("io.cozy.contacts", "com.example.notes"):
            for document in view.all_docs(doctype, limit=10_000):
                if not document.body.get("me"):
                    found[f"{doctype} {document.id}"] = {**document.body, "rev": document.rev}
        return found

    return json.loads(json.dumps(person.server.do(lambda _: person.instance.store.read(read))))
