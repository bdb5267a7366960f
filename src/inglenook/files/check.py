"""Looking for what is wrong in the tree of files and in their contents (spec/02 §20.2, spec/10 §3 `check fs`)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

from inglenook.files import tree
from inglenook.files.documents import FILES, ROOT_ID, TRASH_ID, VERSIONS, Item, size_of, text
from inglenook.files.tree import Lineage
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import NotFound
from inglenook.storage.documents.contract import Content, Document, Reader

CONTENT_MISMATCH = "content_mismatch"
FILESYSTEM_MISSING = "filesystem_missing"
INDEX_MISSING = "index_missing"
PAGE = 200
_DESIGN = "_design/"


@dataclass(frozen=True, slots=True)
class Finding:
    """One inconsistency: its type (spec/02 §20.2), the document it is about, and details of some types."""

    type: str
    document: Item
    is_version: bool = False
    details: dict[str, Any] = field(default_factory=dict[str, Any])

    def to_json(self) -> dict[str, Any]:
        """The finding as one line of the report."""
        is_file = self.document.is_file and not self.is_version
        if self.type == INDEX_MISSING:
            return {"type": self.type, "is_file": is_file, "is_version": False, **self.details}
        member = "version_doc" if self.is_version else "file_doc" if is_file else "dir_doc"
        shown = {"_id": self.document.id, "_rev": self.document.rev, **self.document.body}
        return {
            "type": self.type,
            member: shown,
            "is_file": is_file,
            "is_version": self.is_version,
            **self.details,
        }


async def check_files(instance: Instance, *, index: bool = True, contents: bool = True) -> AsyncIterator[Finding]:
    """Everything that is wrong: in the documents (`index`), and between documents and stored bytes (`contents`).

    Every content is read, so this takes long; it reads page by page and holds nobody up."""
    if index:
        for finding in await instance.store.scan(check_fixed):
            yield finding
        async for page in _pages(instance, FILES):
            for finding in await instance.store.scan(lambda view, page=page: list(check_tree(view, page))):
                yield finding
        async for page in _pages(instance, VERSIONS):
            for finding in await instance.store.scan(lambda view, page=page: list(check_versions(view, page))):
                yield finding
    if contents:
        for doctype in (FILES, VERSIONS):
            async for page in _pages(instance, doctype):
                for document in page:
                    finding = await check_content(instance, document)
                    if finding is not None:
                        yield finding
        async for sha256 in instance.contents.strangers():
            yield Finding(INDEX_MISSING, Item("", "", {"type": "file"}), details={"sha256": sha256})


def check_fixed(view: Reader) -> list[Finding]:
    """The root and the trash must be there."""
    wanted = (("index_missing_root", ROOT_ID), ("index_missing_trash", TRASH_ID))
    return [Finding(type, Item(id, "", {"type": "directory"})) for type, id in wanted if tree.get(view, id) is None]


def check_tree(view: Reader, documents: list[Document]) -> Iterator[Finding]:
    """What is wrong with these files and directories by themselves and among their siblings."""
    lineage = Lineage(view)
    for document in documents:
        item = Item.of(document)
        revisions = view.tree(FILES, item.id)
        if revisions is not None and revisions.conflicts():
            yield Finding("conflict_in_index", item)
        if item.id == ROOT_ID:
            continue
        if lineage.path(item) is None:
            yield Finding("index_orphan_tree", item)
            continue
        if item.is_file:
            in_trash = lineage.in_trash(item)
            if item.trashed and not in_trash:
                yield Finding("trashed_not_in_trash", item, details={"expected_fullpath": lineage.path(item)})
            elif in_trash and not item.trashed:
                yield Finding("not_trashed_in_trash", item, details={"expected_fullpath": lineage.path(item)})
        if item.is_file and "path" in item.body:
            yield Finding("index_file_with_path", item)
        if tree.count_named(view, item.dir_id, item.name) > 1:
            yield Finding("index_duplicate_name", item)


def check_versions(view: Reader, documents: list[Document]) -> Iterator[Finding]:
    """Versions must belong to a file."""
    for document in documents:
        if tree.get(view, document.id.partition("/")[0]) is None:
            yield Finding("file_missing", Item.of(document), is_version=True)


async def check_content(instance: Instance, document: Document) -> Finding | None:
    """Compare a file or version with the bytes that are stored for it."""
    item, is_version = Item.of(document), document.doctype == VERSIONS
    if not is_version and not item.is_file:
        return None
    content = await instance.store.read(lambda view: view.content(document.doctype, document.id))
    found = None if content is None else await read_stored(instance, content)
    if found is None:
        return Finding(FILESYSTEM_MISSING, item, is_version)
    size, md5 = found
    if size == size_of(document.body) and md5 == text(document.body.get("md5sum")):
        return None
    mismatch = {
        "size_index": size_of(document.body),
        "size_file": size,
        "md5sum_index": text(document.body.get("md5sum")),
        "md5sum_file": md5,
    }
    return Finding(CONTENT_MISMATCH, item, is_version, {"content_mismatch": mismatch})


async def read_stored(instance: Instance, content: Content) -> tuple[int, str] | None:
    """Size and MD5 of the stored bytes; None when they are gone."""
    digest, size = hashlib.md5(usedforsecurity=False), 0
    try:
        async for piece in instance.contents.read(content):
            digest.update(piece)
            size += len(piece)
    except NotFound:
        return None
    return size, base64.b64encode(digest.digest()).decode()


async def _pages(instance: Instance, doctype: str) -> AsyncIterator[list[Document]]:
    last = ""
    while True:
        page = await instance.store.read(
            lambda view, last=last: view.all_docs(doctype, start=last, skip=1 if last else 0, limit=PAGE)
        )
        yield [document for document in page if not document.id.startswith(_DESIGN)]
        if len(page) < PAGE:
            return
        last = page[-1].id
