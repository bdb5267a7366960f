"""The job of an import from a link: fetch, take in, tell the owner (spec/12 §8, §9)."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from inglenook.identity import letters
from inglenook.identity.creation import update_settings
from inglenook.kernel.errors import DomainError, UpstreamFailed
from inglenook.moving import blocking, fetching, importing, jobs, moves
from inglenook.moving import summary as summaries
from inglenook.moving.blocking import IMPORTING
from inglenook.moving.importing import Wanted
from inglenook.moving.jobs import Job
from inglenook.moving.summary import IMPORTS, Summary
from inglenook.sharing.documents import origin_of
from inglenook.storage.announcements import announce

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

TOLD_EVERY = 0.5  # seconds between two notes of how far a job is
FIRST_REST, LONGEST_REST, TRIES = 1.0, 300.0, 20
"""Seconds between two attempts to tell the source of a move its end, which double, and how many there are."""

log = structlog.get_logger("inglenook.moving")


class MoveFrom(msgspec.Struct):
    """Where somebody comes from: the address of the instance, and the token by which it is told the end."""

    url: str
    token: str


class ImportRequest(msgspec.Struct):
    """The attributes of POST /move/imports."""

    url: str = ""
    vault: bool = False
    move_from: MoveFrom | None = None


def folder_of(instance: Instance, job_id: str) -> Path:
    """Where the parts of an import lie until it has ended."""
    return instance.env.config.data / "imports" / job_id


async def queue(instance: Instance, request: ImportRequest) -> Job:
    """Ask for an import; the instance is blocked from now on until it has ended."""
    await blocking.block(instance, IMPORTING)
    await update_settings(instance, {"importing": True})
    return await jobs.queue(instance, "import", msgspec.to_builtins(request))


async def run(instance: Instance, job: Job) -> None:
    """Do the job. Whatever becomes of it, the instance is served again afterwards, and the owner has a mail."""
    request, started = msgspec.convert(job.request, ImportRequest), instance.env.clock.timestamp()
    await blocking.block(instance, IMPORTING)
    try:
        summary = await _import(instance, job, request)
    except (DomainError, OSError) as error:
        cause = error.detail if isinstance(error, DomainError) else str(error)
        log.warning("an import failed", instance=instance.domain, cause=cause)
        await summaries.keep_failed(instance, job.id, _source(request), started, cause)
        await _settle(instance, request, None)
    else:
        await _settle(instance, request, summary)
    await asyncio.to_thread(shutil.rmtree, folder_of(instance, job.id), ignore_errors=True)


async def _import(instance: Instance, job: Job, request: ImportRequest) -> Summary:
    note = _Note(instance, job)
    told = await fetching.manifest(instance, request.url)
    fetching.check_quota(instance, told)
    paths = await fetching.parts(
        instance, told, folder_of(instance, job.id),
        lambda done: note.take("fetching", done, max(told.files_size, 0), 0),
    )  # fmt: skip
    source = origin_of(request.move_from.url) if request.move_from else ""
    settings: dict[str, Any] = {}
    if source:
        settings["moved_from"] = source.partition("://")[2]
    if request.vault:
        settings["import_vault"] = True
    wanted = Wanted(job.id, paths, _source(request), moved_from=source, settings=settings)
    return await importing.replace(instance, wanted, note.take)


async def _settle(instance: Instance, request: ImportRequest, summary: Summary | None) -> None:
    await blocking.unblock(instance)
    await _no_longer_importing(instance)
    kind = "move" if request.move_from else "import"
    values: dict[str, Any] = {"CozyLink": instance.app_url("home"), "PublicName": await instance.public_name()}
    template = f"{kind}_error"
    if summary is not None:
        template = f"{kind}_success"
        values["AppsNotInstalled"] = ", ".join(summary.apps_not_installed)
        values["Remarks"] = summary.remarks_count
    now = instance.env.clock.now().timestamp()
    if request.move_from is not None:
        await moves.arrived(instance)
    await instance.store.write(lambda tx: letters.post(tx, template, values, now) and None)
    if request.move_from is not None:
        await tell_until_heard(instance, request.move_from, "finalize" if summary is not None else "abort")


async def tell_until_heard(instance: Instance, source: MoveFrom, word: str) -> bool:
    """Tell the instance that moves here that it is done (`finalize`) or given up (`abort`), again and again while it
    cannot be reached; False when it does not agree, or never could be."""
    rest = FIRST_REST
    for attempt in range(TRIES):
        try:
            return await _tell(instance, source, word)
        except UpstreamFailed as error:
            log.warning("the source of a move was not told", word=word, cause=error.detail, attempt=attempt + 1)
        await asyncio.sleep(rest)
        rest = min(2 * rest, LONGEST_REST)
    return False


async def _tell(instance: Instance, source: MoveFrom, word: str) -> bool:
    kind = instance.env.config.subdomains
    query = f"?subdomain={kind}" if word == "finalize" else ""
    answer = await instance.peers.request(
        "POST",
        f"{origin_of(source.url)}/move/{word}{query}",
        headers={"Authorization": f"Bearer {source.token}", "Content-Type": "application/json"},
        body=b"{}",
    )
    if answer.status >= 500 or answer.status in (408, 425, 429):
        raise UpstreamFailed(f"The other server answered {answer.status}")
    if answer.status != 204:
        log.warning("the source of a move does not agree", word=word, status=answer.status)
    return answer.status == 204


def _source(request: ImportRequest) -> str:
    """The address that an import is from, without the secret of the link."""
    return origin_of(request.url)


async def _no_longer_importing(instance: Instance) -> None:
    settings = await instance.settings()
    if "importing" in settings:
        await update_settings(instance, {"importing": None})


class _Note:
    """Notes how far a job is, a few times a second at most, for who watches."""

    def __init__(self, instance: Instance, job: Job) -> None:
        self._instance = instance
        self._job = job
        self._loop = asyncio.get_running_loop()
        self._last = 0.0
        self._task: asyncio.Task[None] | None = None

    def take(self, stage: str, done: int, total: int, documents: int) -> None:
        """Note it; may be called in any thread."""
        self._loop.call_soon_threadsafe(self._keep, stage, done, total, documents)

    def _keep(self, stage: str, done: int, total: int, documents: int) -> None:
        job = self._job
        is_new = stage != job.stage
        job.stage, job.done, job.total, job.documents = stage, done, max(total, done), documents
        now = self._loop.time()
        if (is_new or now - self._last >= TOLD_EVERY) and (self._task is None or self._task.done()):
            self._last = now
            self._task = asyncio.create_task(self._write())

    async def _write(self) -> None:
        """Write it down, and tell who listens (spec/12 §11)."""
        job, instance = self._job, self._instance
        await jobs.update(instance, job)
        progress = {"stage": job.stage, "done": job.done, "total": job.total, "documents": job.documents}
        doc = {"state": "running", "progress": progress}
        now = instance.env.clock.now()
        await instance.store.write(lambda tx: announce(tx, now, "UPDATED", IMPORTS, job.id, doc))
