"""Makes the exports and imports that wait, one after the other for each instance, beside the requests (spec/12 §8).

A job is taken up again after a crash. Exports end by themselves when their time is over.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import structlog

from inglenook.identity import generations, letters
from inglenook.kernel.errors import DomainError, NotFound
from inglenook.moving import blocking, exporting, import_job, importing, jobs, moves
from inglenook.moving.blocking import IMPORTING
from inglenook.moving.exports import ExportRequest
from inglenook.moving.jobs import Job
from inglenook.storage.documents.contract import Reader

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance
    from inglenook.identity.instances import Instances

TIDY_SECONDS = 3600.0
AT_ONCE = 2
"""Jobs that run at the same time, over all instances."""
MOST_ATTEMPTS = 5
ABANDONED_SECONDS = 6 * 3600.0
"""After which what lies in the spool is nobody's work any more."""

log = structlog.get_logger("inglenook.moving")


class Runner:
    """The background part of moving."""

    def __init__(self, instances: Instances) -> None:
        self._instances = instances
        self._woken = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}  # by the prefix of the instance
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks: list[asyncio.Task[None]] = []
        self._unsubscribe: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Begin."""
        await self._clean()
        self._unsubscribe = self._instances.registry.subscribe(lambda _: self._woken.set())
        self._instances.on_destroyed.append(self._forget)
        self._instances.on_claimed.append(self._claimed)
        self._tasks = [
            asyncio.create_task(self._run(), name="moving"),
            asyncio.create_task(self._tidy(), name="moving: tidying"),
        ]

    async def stop(self) -> None:
        """End: what is under way goes on at the next start."""
        self._unsubscribe()
        self._instances.on_destroyed.remove(self._forget)
        self._instances.on_claimed.remove(self._claimed)
        for task in (*self._tasks, *self._running.values()):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._running.values(), return_exceptions=True)

    async def _clean(self) -> None:
        """Throw away what a crash left on the disk; what is young may be the work of another process, if there are any.

        This happens before anybody is served, so that it needs no thread."""
        config, data = self._instances.env.config, self._instances.env.config.data
        alone = config.workers == 1 and not config.database_url
        before = self._instances.env.clock.now().timestamp() - (0 if alone else ABANDONED_SECONDS)
        _remove_older(data / "spool", before)
        for folder in list((data / "imports").glob("*")):
            if await self._instances.registry.read(lambda view, id=folder.name: jobs.find(view, id)) is None:
                shutil.rmtree(folder, ignore_errors=True)

    async def _claimed(self, instance: Instance) -> None:
        """An import that a command began and that was killed: the instance is served again, as it was."""
        self._woken.set()
        if instance.doc.blocking_reason == IMPORTING and not importing.is_under_way(instance):
            queued = await self._instances.registry.read(lambda view: jobs.of_instance(view, instance.prefix))
            if not any(job.kind == "import" for job in queued):
                log.warning("an import was killed", instance=instance.domain)
                await generations.discard_abandoned(instance)
                await blocking.unblock(instance)

    async def _forget(self, instance: Instance) -> None:
        task = self._running.pop(instance.prefix, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for job in await self._instances.registry.read(lambda view: jobs.of_instance(view, instance.prefix)):
            await self._instances.registry.write(lambda tx, id=job.id: jobs.end(tx, id))

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            await self._look()
            await self._woken.wait()

    async def _look(self) -> None:
        now = self._instances.env.clock.now().timestamp()
        due: Callable[[Reader], list[Job]] = lambda view: jobs.due(view, now)  # noqa: E731
        for job in await self._instances.registry.read(due):
            if job.prefix in self._running:
                continue
            try:
                instance = await self._instances.by_prefix(job.prefix)
            except NotFound:
                await self._instances.registry.write(lambda tx, id=job.id: jobs.end(tx, id))
                continue
            claims = self._instances.claims
            if claims is None or claims.holds(instance):
                task = asyncio.create_task(self._do(instance, job), name=f"{job.kind} of {instance.domain}")
                self._running[job.prefix] = task
                task.add_done_callback(lambda task, prefix=job.prefix: self._ended(prefix, task))

    def _ended(self, prefix: str, task: asyncio.Task[None]) -> None:
        self._running.pop(prefix, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a job of moving broke off", exc_info=error)
            return
        self._woken.set()

    async def _do(self, instance: Instance, job: Job) -> None:
        async with self._places:
            job.attempts += 1
            await jobs.update(instance, job)
            if job.attempts > MOST_ATTEMPTS:
                log.error("a job of moving was given up", instance=instance.domain, kind=job.kind)
                await blocking.unblock(instance)
                await self._end(instance, job)
                return
            if job.kind == "import":
                await import_job.run(instance, job)
                await self._end(instance, job)
                return
            if job.request.get("move"):
                await moves.export_and_hand_over(instance, job)
                await self._end(instance, job)
                return
            try:
                await self._export(instance, job)
            except (DomainError, OSError) as error:
                cause = error.detail if isinstance(error, DomainError) else str(error)
                log.warning("a job of moving failed", instance=instance.domain, kind=job.kind, cause=cause)
                now = instance.env.clock.now().timestamp()
                await instance.store.write(lambda tx: letters.post(tx, "export_error", {}, now) and None)
            await self._end(instance, job)

    async def _export(self, instance: Instance, job: Job) -> None:
        wanted = job.request
        asked = ExportRequest(
            wanted.get("parts_size", 0), wanted.get("seconds", 0.0), tuple(wanted.get("doctypes", ()))
        )
        await exporting.export(instance, asked, mail=True)

    async def _end(self, instance: Instance, job: Job) -> None:
        await self._instances.registry.write(lambda tx: jobs.end(tx, job.id))

    async def _tidy(self) -> None:
        while True:
            for instance in await self._instances.tended():
                try:
                    await exporting.end_expired(instance)
                    await importing.forget_expired(instance)
                    await moves.abort_overdue(instance)
                except DomainError as error:
                    log.warning("exports were not tidied", instance=instance.domain, cause=error.detail)
            await asyncio.sleep(TIDY_SECONDS)


class Server(Protocol):
    """What the background part is made from."""

    @property
    def instances(self) -> Instances:
        """The instances of the server."""
        ...


def background(server: Server) -> Runner:
    """The background part of a server."""
    return Runner(server.instances)


def _remove_older(spool: Path, before: float) -> None:
    with suppress(FileNotFoundError):
        for left in list(spool.iterdir()):
            if left.stat().st_mtime < before:
                shutil.rmtree(left, ignore_errors=True)
