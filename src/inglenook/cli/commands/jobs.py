"""`inglenook jobs …`: what works in the background, started, listed and tried again by hand (spec/03 §16, spec/10 §3).

There is no queue of jobs here: what must happen because of a write is a reader of the journal or a record that waits.
The names of the workers are those of the reference, as far as there is something to be done under them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import App, Parameter

from inglenook.cli.invocation import Called, CommandFailed, Flag, Invocation

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

app = App(name="jobs")

Domain = Annotated[str, Parameter(name="--domain", help="The instance; by default that of COZY_DOMAIN.")]
Only = Annotated[str, Parameter(name="--domain", help="Only this instance.")]

BY_THEMSELVES = {
    "share-track": "changes are tracked in their own transaction",
    "share-replicate": "changes are sent as they happen; inglenook jobs retry sends what waits",
    "share-upload": "files are sent as they change; inglenook jobs retry sends what waits",
    "share-group": "groups are followed as they change",
    "share-update": "sharings are kept up to date as they change",
    "share-autoaccept": "drives of trusted people are accepted as they come",
    "antivirus": "new files are scanned as they come",
    "clean-clients": "clients that nobody uses are removed once a day",
    "migrations": "data is brought up to date when it is opened",
}
"""What the reference has workers for and needs none here, and why."""

ELSEWHERE = ("konnector", "service", "push", "sms", "log", "client", "notes-save", "rag-index", "rag-query")
"""Workers of the reference for what this server does not do."""


@app.command
async def run(
    worker: str, /, *, domain: Domain = "", json: str = "", logs: Flag = False, call: Called
) -> int:  # fmt: skip
    """Do a job now, and show it as JSON: export, import, sendmail, zip, unzip, thumbnail, thumbnailck, trash-files or
    clean-old-trashed.

    Exports and imports go on in the server; `jobs ls` tells how far they are.

    Parameters
    ----------
    json
        The message of the job, a JSON object.
    logs
        Show what happens; here there is nothing more to show.
    """
    from inglenook.files.workers import WORKERS
    from inglenook.kernel.errors import DomainError

    instance = await call.instance(domain)
    message = _object(json)
    if worker in BY_THEMSELVES:
        raise CommandFailed(f"The worker {worker} is not started by hand: {BY_THEMSELVES[worker]}")
    if worker in ELSEWHERE:
        raise CommandFailed(f"The worker {worker} does not exist on this server")
    queued = {"export": _export, "import": _import, "sendmail": _mail}.get(worker)
    job = _Job(instance, worker, message)
    if queued is not None:
        job.id = await queued(instance, message)
        call.put_json(job.shown("queued"))
        return 0
    if worker not in WORKERS:
        known = ", ".join(sorted([*WORKERS, "export", "import", "sendmail"]))
        raise CommandFailed(f"There is no worker {worker}; there are {known}")
    job.started_at = instance.env.clock.timestamp()
    try:
        await WORKERS[worker](instance, message)
    except DomainError as error:
        call.put_json(job.shown("errored", error=error.detail or type(error).__name__))
        raise
    call.put_json(job.shown("done"))
    return 0


@app.command(name=["ls", "list"])
async def ls(*, domain: Only = "", json: Flag = False, call: Called) -> None:
    """List what waits to be done: exports and imports, mails, and messages to other servers.

    Parameters
    ----------
    json
        One object per line.
    """
    rows = [["INSTANCE", "WORKER", "STATE", "ATTEMPTS", "NEXT TRY", "ID", "LAST ERROR"]]
    async for instance in _instances(call, domain):
        for waiting in await _waiting(instance):
            if json:
                call.put_json_line({"domain": instance.domain, **waiting})
            else:
                columns = ("worker", "state", "attempts", "next_try", "id", "last_error")
                rows.append([instance.domain, *(str(waiting[name]) for name in columns)])
    if len(rows) > 1:
        call.put_table(rows)
    elif not json:
        call.say("Nothing waits")


@app.command
async def retry(id: str = "", /, *, domain: Only = "", call: Called) -> int:
    """Try again now what waits for its next attempt: all of it, other servers included, or what has this ID in the
    list of `jobs ls`."""
    from inglenook.mail import outbox
    from inglenook.sharing import steps
    from inglenook.storage.documents.contract import Writer

    tried = 0
    async for instance in _instances(call, domain):
        now = instance.env.clock.now().timestamp()

        def hurry(tx: Writer, now: float = now) -> int:
            return steps.hurry_all(tx, now, id) + outbox.hurry(tx, now, id)

        tried += await instance.store.write(hurry)
    if id and not tried:
        raise CommandFailed(f"Nothing that waits has the id {id}: inglenook jobs ls")
    for state in [] if id else await call.runtime.peer_states():
        await call.runtime.retry_peer(state.host)
    call.say("Nothing waits" if not tried else "1 is tried again" if tried == 1 else f"{tried} are tried again")
    return 0


# -- what can be started


class _Job:
    """A job as the reference shows it (spec/07 §3.1)."""

    def __init__(self, instance: Instance, worker: str, message: dict[str, Any]) -> None:
        self.id = instance.env.random.document_id()
        self._instance = instance
        self._worker = worker
        self._message = message
        self._queued_at = instance.env.clock.timestamp()
        self.started_at = "0001-01-01T00:00:00Z"

    def shown(self, state: str, *, error: str = "") -> dict[str, Any]:
        """Its document."""
        over = state in ("done", "errored")
        return {
            "_id": self.id,
            "_type": "io.cozy.jobs",
            "domain": self._instance.domain,
            "prefix": self._instance.prefix,
            "worker": self._worker,
            "message": self._message,
            "state": state,
            "queued_at": self._queued_at,
            "started_at": self.started_at,
            "finished_at": self._instance.env.clock.timestamp() if over else "0001-01-01T00:00:00Z",
            **({"error": error} if error else {}),
        }


async def _export(instance: Instance, message: dict[str, Any]) -> str:
    from inglenook.moving import exports, jobs

    asked = exports.read_request(message)
    wanted = {"parts_size": asked.parts_size, "seconds": asked.seconds, "doctypes": list(asked.doctypes)}
    return (await jobs.queue(instance, "export", wanted)).id


async def _import(instance: Instance, message: dict[str, Any]) -> str:
    from inglenook.moving import exports, import_job

    address = message.get("manifest_url") or message.get("url")
    if not isinstance(address, str):
        raise CommandFailed('Which archive? For example --json \'{"manifest_url": "https://…"}\'', 2)
    wanted = import_job.ImportRequest(exports.manifest_address(address), vault=message.get("vault") is True)
    return (await import_job.queue(instance, wanted)).id


async def _mail(instance: Instance, message: dict[str, Any]) -> str:
    from inglenook.mail import outbox

    now = instance.env.clock.now().timestamp()
    return await instance.store.write(lambda tx: outbox.queue_mail(tx, message, now))


def _object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except msgspec.DecodeError:
        raise CommandFailed("--json takes the message of the job, a JSON object", 2) from None


# -- what waits


async def _instances(call: Invocation, domain: str) -> AsyncIterator[Instance]:
    instances = call.runtime.instances
    names = [domain] if domain else [doc.domain for doc in await instances.documents()]
    for name in names:
        yield await instances.get(name)


async def _waiting(instance: Instance) -> list[dict[str, Any]]:
    """What waits in one instance, without anything secret."""
    from inglenook.mail import outbox
    from inglenook.moving import jobs
    from inglenook.sharing import steps
    from inglenook.storage.documents.contract import Reader

    def read(view: Reader) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for claim in steps.all_waiting(view):
            waiting = claim.waiting
            found.append(_row(claim.id, waiting.step, waiting.attempts, waiting.next, waiting.last_error))
        letters = outbox.waiting(view, limit=1000)
        return found + [_row(one.id, f"sendmail {one.what}", one.attempts, 0.0, one.last_error) for one in letters]

    found = await instance.store.read(read)
    for job in await instance.registry.registry.read(lambda view: jobs.of_instance(view, instance.prefix)):
        row = _row(job.id, job.kind, job.attempts, 0.0, job.last_error)
        found.append({**row, "state": "running" if job.attempts else "queued", "done": job.done, "total": job.total})
    return found


def _row(id: str, worker: str, attempts: int, next: float, error: str) -> dict[str, Any]:
    from datetime import UTC, datetime

    from inglenook.environment import rfc3339

    moment = rfc3339(datetime.fromtimestamp(next, UTC)) if next else ""
    return {
        "id": id, "worker": worker, "state": "queued", "attempts": attempts, "next_try": moment, "last_error": error,
    }  # fmt: skip
