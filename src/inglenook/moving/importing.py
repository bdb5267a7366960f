"""Taking in an archive in place of all data of an instance (spec/12 §8, §11).

The archive is looked through first. Then it is taken into a second set of data beside the present one; one write of the
registry makes it current, and the data before it is kept for a week. Whatever fails before that write leaves the
instance as it was.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from inglenook.apps import installing
from inglenook.contacts import address_book
from inglenook.environment import rfc3339
from inglenook.files.quota import quota_of
from inglenook.identity import generations
from inglenook.identity.creation import DATABASES
from inglenook.identity.creation import myself as new_myself
from inglenook.identity.instance import INSTANCE_SETTINGS, SETTINGS, VAULT_SETTINGS, Instance
from inglenook.identity.letters import LETTERS
from inglenook.kernel.errors import Conflict, DomainError
from inglenook.moving import moved_shortcuts, pictures, spool
from inglenook.moving import summary as summaries
from inglenook.moving.applying import Application
from inglenook.moving.checking import Bounds, Checker
from inglenook.moving.items import Items
from inglenook.moving.merging import Merge
from inglenook.moving.policy import CONTACTS, Newcomer
from inglenook.moving.summary import Summary
from inglenook.moving.units import Parts
from inglenook.sharing import moved_notice
from inglenook.storage.contents import Received
from inglenook.storage.documents.contract import Reader, Writer

if TYPE_CHECKING:
    from inglenook.storage.documents.contract import Record

KEPT = timedelta(days=7)
"""How long the data before an import can be had back."""

_NOT_KEPT = ("importing", "import_vault", "moved_from", "moved_to", "moved_to_subdomain_type")

Progress = Callable[[str, int, int, int], None]
"""Is told the stage (`checking`, `importing`), the bytes done, the bytes in all and the documents done."""

log = structlog.get_logger("inglenook.moving")

_importing: set[str] = set()


@dataclass(frozen=True, slots=True)
class Wanted:
    """An import: the parts on the local disk. `source` is told in the summary, and holds no secret; `moved_from` is the
    origin of the instance that moves here, empty when none does; `settings` are put into the settings afterwards.
    `partial`: files whose bytes are not right are left out."""

    id: str
    paths: list[Path]
    source: str
    moved_from: str = ""
    partial: bool = False
    settings: dict[str, Any] = field(default_factory=dict[str, Any])


def ignore(stage: str, done: int, total: int, documents: int) -> None:
    """Nobody watches."""


async def check(instance: Instance, wanted: Wanted, progress: Progress = ignore) -> Summary:
    """What an import would do; nothing is changed. Raises as `replace`."""
    async with _checked(instance, wanted, progress) as (checker, _, _, _):
        checker.summary.state = checker.summary.result
        return checker.summary


async def replace(instance: Instance, wanted: Wanted, progress: Progress = ignore) -> Summary:
    """Take an archive in; gives what became of it.

    Raises BadArchive and Refused (it is damaged), TooLarge (quota), OutOfSpace, Conflict (an import is under way):
    nothing was changed then."""
    if instance.prefix in _importing:
        raise Conflict("An import is under way already")
    _importing.add(instance.prefix)
    started = instance.env.clock.timestamp()
    try:
        async with _checked(instance, wanted, progress) as (checker, parts, items, to):
            summary = checker.summary
            summary.started_at, summary.source = started, wanted.source
            draft = await generations.draft(instance)
            try:
                await _seed(instance, draft, wanted)
                total = summary.files_size

                def told(done: int, documents: int) -> None:
                    progress("importing", done, total, documents)

                application = Application(draft, parts, items, to, summary, told)
                await application.run()
                await moved_shortcuts.rewrite(draft, application.shortcuts)
                await pictures.take(draft, parts)
                await _complete(draft, to)
                await _end(instance, draft, wanted, summary)
            except BaseException:
                await generations.discard(draft)
                raise
        await _install(instance, wanted.id, checker.slugs, summary)
        return summary
    finally:
        _importing.discard(instance.prefix)


async def merge(instance: Instance, wanted: Wanted, progress: Progress = ignore) -> Summary:
    """Add an archive to what is there, of which nothing is changed or deleted; gives what became of it.

    Raises BadArchive and Refused (it is damaged), OutOfSpace, Conflict (an import is under way): nothing was changed
    then. A file for which the quota has no room is told of, and the rest goes on."""
    if instance.prefix in _importing:
        raise Conflict("An import is under way already")
    _importing.add(instance.prefix)
    started = instance.env.clock.timestamp()
    try:
        async with _checked(instance, wanted, progress, quota=0) as (checker, parts, items, to):
            summary = checker.summary
            summary.started_at, summary.source = started, wanted.source
            total = summary.files_size

            def done(size: int, documents: int) -> None:
                progress("importing", size, total, documents)

            await Application(instance, parts, items, to, summary, done, Merge(instance)).run()
            summary.finished_at = instance.env.clock.timestamp()
            summary.state = summary.result
            remarks = await _all_remarks(instance, summary)
            await instance.store.write(lambda tx: summaries.keep(tx, wanted.id, summary, remarks))
        await _install(instance, wanted.id, checker.slugs, summary)
        return summary
    finally:
        _importing.discard(instance.prefix)


def is_under_way(instance: Instance) -> bool:
    """Whether this process takes in an archive for an instance now."""
    return instance.prefix in _importing


@asynccontextmanager
async def _checked(
    instance: Instance, wanted: Wanted, progress: Progress, *, quota: int | None = None
) -> AsyncGenerator[tuple[Checker, Parts, Items, Newcomer]]:
    """A checked archive, ready to be taken in; `quota` (0: none) takes the place of the instance's own."""
    folder = spool.folder(instance) / f"check-{instance.env.random.bytes(8).hex()}"
    await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True)
    stop = threading.Event()
    try:
        parts = await asyncio.to_thread(Parts, wanted.paths)
        try:
            items = await asyncio.to_thread(Items, folder / "items.sqlite")
            try:
                to = Newcomer(
                    instance.domain, instance.prefix, instance.origin, await instance.email(), wanted.moved_from,
                    wanted.id,
                )  # fmt: skip
                bounds = Bounds(quota_of(instance) if quota is None else quota, folder, partial=wanted.partial)
                checker = Checker(parts, items, to, bounds, stop)
                remarks = checker.summary.all_remarks = summaries.RemarksFile(folder)
                try:
                    await _check_in_a_thread(checker, stop, progress)
                    yield checker, parts, items, to
                finally:
                    checker.summary.all_remarks = None
                    remarks.close()
            finally:
                await asyncio.to_thread(items.close)
        finally:
            parts.close()
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _check_in_a_thread(checker: Checker, stop: threading.Event, progress: Progress) -> None:
    def told(done: int, documents: int) -> None:
        progress("checking", done, checker.total, documents)

    work = asyncio.ensure_future(asyncio.to_thread(checker.run, told))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([work])
        raise


async def _all_remarks(instance: Instance, summary: Summary) -> Received | None:
    """All remarks as a content of the instance, None when there are none."""
    if summary.all_remarks is None or not summary.remarks_count:
        return None
    return await summary.all_remarks.received(instance)


async def _seed(instance: Instance, draft: Instance, wanted: Wanted) -> None:
    """What the new data begins with: what stays of the old."""

    def read(view: Reader) -> tuple[dict[str, Any], dict[str, Any] | None]:
        settings, vault = view.get(SETTINGS, INSTANCE_SETTINGS), view.get(SETTINGS, VAULT_SETTINGS)
        return dict(settings.body) if settings else {}, vault.body if vault else None

    settings, vault = await instance.store.read(read)
    kept = {name: value for name, value in settings.items() if name not in _NOT_KEPT} | wanted.settings

    def write(tx: Writer) -> None:
        for doctype in DATABASES:
            tx.create_doctype(doctype)
        tx.put(SETTINGS, INSTANCE_SETTINGS, kept)
        if vault is not None:
            tx.put(SETTINGS, VAULT_SETTINGS, vault)

    await draft.store.write(write)
    await pictures.keep(instance, draft)


async def _complete(draft: Instance, to: Newcomer) -> None:
    """What every instance has, when the archive had none: the contact that stands for the owner."""
    settings = await draft.settings()

    def write(tx: Writer) -> None:
        if address_book.myself(tx) is None:
            tx.put(CONTACTS, tx.new_id(), new_myself(draft, settings))

    await draft.store.write(write)


async def _end(instance: Instance, draft: Instance, wanted: Wanted, summary: Summary) -> None:
    """Take the letters that wait over, write the summary, and make the new data current."""
    letters: list[Record] = await instance.store.read(lambda view: view.records(LETTERS, limit=1000))
    summary.finished_at = instance.env.clock.timestamp()
    summary.state = summary.result
    remarks = await _all_remarks(draft, summary)

    def write(tx: Writer) -> None:
        summary.notices = moved_notice.all_waiting(tx)
        summaries.keep(tx, wanted.id, summary, remarks)
        for letter in letters:
            tx.put_record(LETTERS, letter.id, letter.body, due=instance.env.clock.now().timestamp())

    await draft.store.write(write)
    keep_until = rfc3339(instance.env.clock.now() + KEPT)
    await generations.adopt(instance, draft, keep_until=keep_until)


async def _install(instance: Instance, import_id: str, slugs: list[str], summary: Summary) -> None:
    """Install the apps that the archive has, as far as they can be had here."""
    for slug in slugs:
        try:
            await installing.install(instance, slug)
        except DomainError as error:
            log.info("an app was not installed", instance=instance.domain, slug=slug, cause=error.detail)
            summary.apps_not_installed.append(slug)
    if summary.apps_not_installed:
        summary.state = summary.result
        await instance.store.write(lambda tx: summaries.keep_apps(tx, import_id, summary))


async def forget_expired(instance: Instance) -> None:
    """Throw the data before an import away, when its time is over."""
    until = instance.doc.former_until
    if until and until <= instance.env.clock.timestamp():
        await generations.forget_former(instance)
