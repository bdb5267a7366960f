"""Exports and imports that wait or are being made: records of the registry, since an import replaces the instance's own
store (spec/12 §8).

They carry what a job needs, tokens of a move included, and are never shown as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from inglenook.storage.documents.contract import Reader, Record, Writer

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

JOBS = "moving-jobs"
Kind = Literal["export", "import"]


class Job(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One export or import. `request` is what it shall do; moments are seconds of Unix time; `done` and `total` are
    bytes, `documents` counts those that are done, for who watches. `stage` is the word of the page that tells how far
    it is."""

    id: str
    kind: Kind
    prefix: str
    queued_at: float
    request: dict[str, Any] = {}
    attempts: int = 0
    since: float = 0.0
    stage: str = ""
    done: int = 0
    total: int = 0
    documents: int = 0
    last_error: str = ""


async def queue(instance: Instance, kind: Kind, request: dict[str, Any]) -> Job:
    """Ask for an export or import."""
    now = instance.env.clock.now().timestamp()
    job = Job(id=instance.env.random.document_id(), kind=kind, prefix=instance.prefix, queued_at=now, request=request)
    await instance.registry.registry.write(lambda tx: put(tx, job, now))
    return job


def put(tx: Writer, job: Job, due: float) -> None:
    """Write a job; it is looked at again at `due` (seconds of Unix time)."""
    tx.put_record(JOBS, job.id, msgspec.to_builtins(job), keys=[job.prefix], due=due)


def find(view: Reader, id: str) -> Job | None:
    """A job by its id, None when it has ended."""
    record = view.record(JOBS, id)
    return None if record is None else of_record(record)


def of_instance(view: Reader, prefix: str) -> list[Job]:
    """The jobs of an instance, oldest first."""
    return sorted(
        (of_record(record) for record in view.record_feed(JOBS, prefix, limit=1000)), key=lambda job: job.queued_at
    )


def due(view: Reader, now: float) -> list[Job]:
    """The jobs whose moment has come, oldest first."""
    return sorted((of_record(record) for record in view.records_due(JOBS, now)), key=lambda job: job.queued_at)


def end(tx: Writer, id: str) -> None:
    """Forget a job that has ended."""
    tx.delete_record(JOBS, id)


async def update(instance: Instance, job: Job) -> None:
    """Write how far a job is, unless it has been taken away."""

    def write(tx: Writer) -> None:
        record = tx.record(JOBS, job.id)
        if record is not None:
            put(tx, job, job.queued_at)

    await instance.registry.registry.write(write)


def of_record(record: Record) -> Job:
    """A stored job."""
    return msgspec.json.decode(record.raw, type=Job)
