"""The status of sharings as events, while somebody listens to them: at most two a second for each (spec/11 §4)."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import msgspec

from inglenook.identity.instance import Instance
from inglenook.identity.instances import Instances
from inglenook.realtime import interest
from inglenook.replication import initial, link_state, status
from inglenook.replication.engine import all_sharings, has_news
from inglenook.replication.status_routes import resource
from inglenook.sharing import documents, steps, tracking
from inglenook.sharing.documents import Sharing
from inglenook.storage.announcements import announce
from inglenook.storage.documents.contract import Reader, Writer
from inglenook.storage.ongoing import keep_going

PAUSE = 0.5
"""Seconds between two looks."""
CHANGES = 1000
RECORDS = 100


class StatusTeller:
    """Tells the listeners of all instances how their sharings are."""

    def __init__(self, instances: Instances) -> None:
        self._instances = instances
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._opening: asyncio.Task[None] | None = None
        instances.on_claimed.append(self._watch)
        instances.on_released.append(self._leave)
        instances.on_destroyed.append(self._leave)

    async def start(self) -> None:
        """Begin."""
        self._opening = asyncio.create_task(self._open_all(), name="status of sharings: opening")

    async def stop(self) -> None:
        """End."""
        tasks = [task for task in (self._opening, *self._tasks.values()) if task is not None]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _open_all(self) -> None:
        for instance in await self._instances.tended():
            await self._watch(instance)

    async def _watch(self, instance: Instance) -> None:
        if instance.prefix not in self._tasks:
            work = keep_going(lambda: follow(instance), "status of sharings", instance=instance.domain)
            self._tasks[instance.prefix] = asyncio.create_task(work)

    async def _leave(self, instance: Instance) -> None:
        task = self._tasks.pop(instance.prefix, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def follow(instance: Instance) -> None:
    """Announce what changes in the status of an instance's sharings, until it is cancelled."""
    moved = asyncio.Event()
    end = instance.store.subscribe(lambda _: moved.set())
    told: dict[str, bytes] = {}
    since = await instance.store.read(lambda view: view.last_seq())
    try:
        while True:
            await moved.wait()
            moved.clear()
            before = since
            since = await instance.store.read(lambda view: view.last_seq())
            if not await interest.is_noted(instance, interest.STATUS):
                told.clear()
                continue
            open_ones = {id for id, raw in told.items() if not is_settled(raw)}
            changed = await instance.store.scan(
                lambda view, before=before, open_ones=open_ones: news(view, instance, before, open_ones)
            )
            await tell(instance, changed, told)
            await asyncio.sleep(PAUSE)
    finally:
        end()


async def tell(instance: Instance, changed: dict[str, dict[str, Any]], told: dict[str, bytes]) -> None:
    """Announce those that are not as they were told last."""
    fresh = {id: raw for id, attributes in changed.items() if told.get(id) != (raw := msgspec.json.encode(attributes))}
    if not fresh:
        return
    told.update(fresh)
    now = instance.env.clock.now()

    def write(tx: Writer) -> None:
        for id in fresh:
            announce(tx, now, "UPDATED", status.TYPE, id, changed[id])

    await instance.store.write(write)


def is_settled(raw: bytes) -> bool:
    """Whether nothing was going on when a status was told: then only what is written begins anything."""
    at_rest = (status.UP_TO_DATE, status.WAITING_FOR_ACCEPTANCE, status.REVOKED, None)
    return all(member["state"] in at_rest for member in msgspec.json.decode(raw)["members"])


def news(view: Reader, instance: Instance, since: int, open_ones: set[str]) -> dict[str, dict[str, Any]]:
    """The status of the sharings with which something goes on, or has happened after a sequence."""
    written = {entry.id for entry in view.changes(documents.DOCTYPE, since=since, limit=CHANGES)}
    return {
        sharing.id: resource(view, instance, sharing)["attributes"]
        for sharing in all_sharings(view)
        if sharing.id in written or sharing.id in open_ones or moved_on(view, sharing, since)
    }


def moved_on(view: Reader, sharing: Sharing, since: int) -> bool:
    """Whether anything has happened with a sharing after a sequence: documents, lines, refusals, messages."""
    prefix, after = f"{sharing.id}/", f"{sharing.id}0"
    kinds = [tracking.retry_kind(sharing.id, index) for index in range(len(sharing.members))]
    records = [
        *view.records(link_state.KIND, start=prefix, end=after, limit=RECORDS),
        *view.records(steps.KIND, start=prefix, end=after, limit=RECORDS),
        *view.records(initial.KIND, start=sharing.id, end=sharing.id + "\0", limit=1),
        *(record for kind in kinds for record in view.records(kind, limit=RECORDS)),
    ]
    return any(record.seq > since for record in records) or has_news(view, sharing.id, since)


class Host(Protocol):
    """The server, as far as this part needs it."""

    @property
    def instances(self) -> Instances:
        """All instances."""
        ...


def background(host: Host) -> StatusTeller:
    """The background part of a server."""
    return StatusTeller(host.instances)
