"""Putting back what a backup has (`inglenook restore`, spec/10 §3), on whatever this server keeps its data.

All of the backup is looked at before anything is changed. Instances of the backup take the place of those that have
their databases now; other instances stay. Members of sharings are told nothing: for them nothing has ended.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from inglenook.environment import Environment
from inglenook.identity import restoring
from inglenook.identity.registry_documents import INSTANCES, REGISTRY
from inglenook.kernel.errors import Conflict
from inglenook.storage.blobs.local import LocalBlobStores
from inglenook.storage.documents.contract import Document, Reader
from inglenook.storage.documents.sqlite import FILE, SqliteStores
from inglenook.storage.documents.sqlite_copy import is_whole
from inglenook.web.backup import MAILS, Manifest, Saved, contents_of, copy_content, read_manifest
from inglenook.web.runtime import Runtime

PAGE = 500


async def inspect(folder: Path) -> Manifest:
    """What a backup has. Raises Conflict for a folder that is none, one that was never finished, or a damaged one."""
    manifest = await asyncio.to_thread(read_manifest, folder)
    if manifest is None:
        raise Conflict(f"{folder} is not a backup")
    if manifest.finished_at is None:
        raise Conflict(f"The backup in {folder} was never finished")
    for name in (REGISTRY, *(saved.prefix for saved in manifest.instances)):
        if not await asyncio.to_thread(is_whole, str(folder / name / FILE)):
            raise Conflict(f"The backup is damaged: {folder / name / FILE}")
    return manifest


async def restore(runtime: Runtime, folder: Path, manifest: Manifest, say: Callable[[str], None]) -> list[str]:
    """Put back all instances of a backup that was inspected; gives the contents that the backup lacks.

    Raises Conflict when an instance that stays has a name of one that comes back: nothing is changed then."""
    documents = await _registered(folder, runtime.env)
    saved = {one.prefix: one for one in manifest.instances}
    coming = [document for document in documents if document.body["prefix"] in saved]
    await restoring.check_restorable(runtime.instances, coming)
    lacking: list[str] = []
    for document in coming:
        one = saved[document.body["prefix"]]
        say(f"{one.domain}: {one.contents} large contents, {one.bytes} bytes")

        async def fill(name: str, one: Saved = one) -> None:
            await runtime.stores.install(name, str(folder / one.prefix / FILE))
            lacking.extend(await _put_contents_back(runtime, folder, one.prefix, name))

        await restoring.restore(runtime.instances, document, fill)
    await asyncio.to_thread(_put_mails_back, folder, runtime.folder)
    return lacking


async def _put_contents_back(runtime: Runtime, folder: Path, prefix: str, name: str) -> list[str]:
    """Copy the large contents of an instance to the blobs of a name; gives those that the backup lacks."""
    source, target = LocalBlobStores(folder).of(prefix), runtime.blobs.of(name)
    return [
        content.sha256
        async for content in contents_of(folder / prefix / FILE)
        if not await copy_content(source, target, content)
    ]


async def _registered(folder: Path, env: Environment) -> list[Document]:
    """The registry's documents in a backup, read from a copy: a backup is never written."""
    with tempfile.TemporaryDirectory(prefix="inglenook-restore-") as temporary:
        target = Path(temporary) / REGISTRY
        target.mkdir()
        await asyncio.to_thread(shutil.copyfile, folder / REGISTRY / FILE, target / FILE)
        stores = SqliteStores(Path(temporary), env)
        try:
            store = await stores.open(REGISTRY)
            return await store.scan(_all)
        finally:
            await stores.close()


def _all(view: Reader) -> list[Document]:
    found: list[Document] = []
    after = ""
    while page := view.all_docs(INSTANCES, start=after, limit=PAGE):
        found += page
        after = page[-1].id + "\x00"
    return found


def _put_mails_back(folder: Path, data: Path) -> None:
    if (folder / MAILS).is_dir():
        shutil.copytree(folder / MAILS, data / MAILS, dirs_exist_ok=True)
