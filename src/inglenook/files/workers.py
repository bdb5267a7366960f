"""The jobs that files know how to do, by the names of their workers (spec/02 §21, spec/07 §3.4).

Each takes the instance and the arguments of the job; an error that it raises is the job's. The journal does by itself
what the workers `thumbnail` and `trash-files` do in the reference: thumbnails are made because of a change
(`background`), and what is destroyed takes its versions and contents along in the same transaction.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from inglenook.files import tree
from inglenook.files.documents import FILES, items, members
from inglenook.files.old_trash import clean_old_trashed
from inglenook.files.thumbnail_check import check_thumbnails
from inglenook.files.thumbnails import FORMATS, THUMBNAILS, make_thumbnails, missing
from inglenook.files.unzipping import unzip_file
from inglenook.files.versions import delete_version, versions_of
from inglenook.files.zipping import zip_files
from inglenook.identity.instance import Instance
from inglenook.storage.documents.contract import Writer

Worker = Callable[[Instance, object], Awaitable[None]]


async def zip_worker(instance: Instance, message: object) -> None:
    """`zip`: a zip file of some files."""
    await zip_files(instance, message)


async def unzip_worker(instance: Instance, message: object) -> None:
    """`unzip`: the files of a zip file."""
    await unzip_file(instance, message)


async def thumbnail_worker(instance: Instance, message: object) -> None:
    """`thumbnail`: what a file lacks."""
    id = members(members(message).get("file")).get("_id")
    if not isinstance(id, str):
        return
    item = await instance.store.read(lambda view: tree.get(view, id))
    if item is not None:
        await make_thumbnails(instance, item, await instance.store.read(lambda view: missing(view, item)))


async def thumbnailck_worker(instance: Instance, message: object) -> None:
    """`thumbnailck`: what all files lack."""
    await check_thumbnails(instance, message)


async def trash_files_worker(instance: Instance, message: object) -> None:
    """`trash-files`: versions and thumbnails of files that are gone, should any be left."""
    for id in items(members(message).get("ids")):
        if isinstance(id, str):
            await instance.store.write(lambda tx, id=id: _sweep(tx, id))


async def clean_old_trashed_worker(instance: Instance, message: object) -> None:
    """`clean-old-trashed`: what has been in the trash for too long."""
    await clean_old_trashed(instance)


WORKERS: Mapping[str, Worker] = {
    "zip": zip_worker,
    "unzip": unzip_worker,
    "thumbnail": thumbnail_worker,
    "thumbnailck": thumbnailck_worker,
    "trash-files": trash_files_worker,
    "clean-old-trashed": clean_old_trashed_worker,
}


def _sweep(tx: Writer, id: str) -> None:
    if tx.get(FILES, id) is not None:
        return
    for version in versions_of(tx, id):
        delete_version(tx, version)
    for format in FORMATS:
        tx.release(THUMBNAILS, f"{id}/{format}")
