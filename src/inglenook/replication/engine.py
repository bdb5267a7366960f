"""The replication engine: a sender for each member of each active sharing, kept in step with the documents.

The engine reads sharing documents, and is told by nobody: whoever becomes `ready` gets a sender, whoever leaves
loses it. After each commit of an instance it looks which sharings have something new and wakes their senders
(a hint that may be lost: senders read their feeds behind durable checkpoints).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from inglenook.identity.instance import Instance
from inglenook.identity.instances import Instances
from inglenook.replication.link_state import forget_nudge, nudged
from inglenook.replication.names import give_names_back
from inglenook.replication.room import Room
from inglenook.replication.sender import Sender
from inglenook.replication.setup import set_up
from inglenook.sharing import documents, rights, tracking, wanted_names
from inglenook.sharing.documents import Sharing
from inglenook.storage.documents.contract import Reader
from inglenook.storage.ongoing import keep_going


@dataclass(slots=True)
class Watched:
    """One instance under watch. `sharings_seq` is the state of its sharing documents that the senders reflect."""

    instance: Instance
    room: Room
    telling: asyncio.Task[None] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    sharings_seq: int = -1
    seen: dict[str, int] = field(default_factory=dict[str, int])
    senders: dict[tuple[str, int], tuple[Sender, asyncio.Task[None]]] = field(
        default_factory=dict[tuple[str, int], tuple[Sender, asyncio.Task[None]]]
    )


class ReplicationEngine:
    """All senders of this server. `start` takes up every instance, also where a crash has interrupted something."""

    def __init__(self, instances: Instances) -> None:
        self._instances = instances
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._watched: dict[str, Watched] = {}
        self._starting: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Watch all instances; opening them goes on in the background."""
        self._instances.on_claimed.append(self.watch)
        self._instances.on_released.append(self.forget)
        self._instances.on_modified.append(self.look_again)
        self._instances.on_destroyed.append(self.forget)
        self._starting = asyncio.create_task(self._open_all())

    async def stop(self) -> None:
        """End all senders; what was on its way is sent again after the next start."""
        self._stopping = True
        tasks = list(self._watches.values())
        if self._starting is not None:
            tasks.append(self._starting)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def watch(self, instance: Instance) -> None:
        """Keep the senders of an instance in step with it."""
        if self._stopping or instance.prefix in self._watches or instance.doc.moved:
            return
        watched = Watched(instance, Room(instance))
        self._watched[instance.prefix] = watched
        work = keep_going(lambda: self._keep(watched), "replication", instance=instance.domain)
        self._watches[instance.prefix] = asyncio.create_task(work)

    async def forget(self, instance: Instance) -> None:
        """End the senders of an instance that is taken down."""
        task = self._watches.pop(instance.prefix, None)
        self._watched.pop(instance.prefix, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def look_again(self, instance: Instance) -> None:
        """The registry says something new about an instance, perhaps another quota."""
        if watched := self._watched.get(instance.prefix):
            watched.changed.set()

    def wake(self, prefix: str, sharing_id: str, index: int | None = None) -> None:
        """Try a sharing's members (or one of them) now."""
        watched = self._watched.get(prefix)
        for (sid, at), (sender, _) in list(watched.senders.items()) if watched else ():
            if sid == sharing_id and index in (None, at):
                sender.recovered()

    async def _open_all(self) -> None:
        for instance in await self._instances.tended():
            await self.watch(instance)

    async def _keep(self, watched: Watched) -> None:
        """Follow the commits of an instance, with senders that begin and end with this."""
        watched.sharings_seq = -1
        end = watched.instance.store.subscribe(lambda _: watched.changed.set())
        try:
            while True:
                watched.changed.clear()
                await self._look(watched)
                await self._look_for_room(watched)
                await watched.changed.wait()
        finally:
            end()
            tasks = [task for _, task in watched.senders.values()]
            if watched.telling is not None:
                tasks.append(watched.telling)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self, watched: Watched) -> None:
        """Bring the senders in step with the sharing documents, and wake those whose sharing has something new."""
        store = watched.instance.store
        seq = await store.read(lambda view: view.status(documents.DOCTYPE).last_seq)
        if seq != watched.sharings_seq or any(
            task.done() and sender.replaced for sender, task in watched.senders.values()
        ):
            await self._follow_sharings(watched)
            watched.sharings_seq = seq
        nudges, folders = await store.read(lambda view: (nudged(view), wanted_names.freed(view)))
        for sharing_id, index in nudges:
            self.wake(watched.instance.prefix, sharing_id, index)
            await store.write(lambda tx, at=(sharing_id, index): forget_nudge(tx, *at))
        if folders:
            await store.write(lambda tx: give_names_back(tx, folders))
        ids = {sid for sid, _ in watched.senders}
        if not ids:
            return
        now = watched.instance.env.clock.now().timestamp()

        def news(view: Reader) -> tuple[int, set[str], set[str]]:
            changed = {sid for sid in ids if has_news(view, sid, watched.seen.get(sid, 0))}
            kinds = {sender.line.kind for sender, _ in watched.senders.values()}
            return view.last_seq(), changed, {kind for kind in kinds if is_due(view, kind, now)}

        upto, changed, due = await store.read(news)
        for (sid, _), (sender, _) in watched.senders.items():
            if sid in changed or sender.line.kind in due:
                sender.wake()
        watched.seen = dict.fromkeys(ids, upto)

    async def _look_for_room(self, watched: Watched) -> None:
        """Tell the members beside everything else, when there is room again."""
        await watched.room.look()
        if (watched.telling is None or watched.telling.done()) and await watched.room.due() is not None:
            watched.telling = asyncio.create_task(self._tell_of_room(watched))

    async def _tell_of_room(self, watched: Watched) -> None:
        clock = watched.instance.env.clock
        while (due := await watched.room.due()) is not None:
            await asyncio.sleep(max(0.0, due - clock.now().timestamp()))
            await watched.room.tell()

    async def _follow_sharings(self, watched: Watched) -> None:
        """Start and end senders as the sharing documents say."""
        instance = watched.instance
        active = [s for s in await instance.store.read(all_sharings) if tracking.is_tracking(documents.to_body(s))]
        wanted: set[tuple[str, int]] = set()
        for sharing in active:
            if sharing.owner:
                await set_up(instance, sharing)
            wanted.update((sharing.id, index) for index in receivers(sharing))
        ids = {sharing.id for sharing in active if not sharing.owner}
        for key in [k for k, (_, task) in watched.senders.items() if k not in wanted or task.done()]:
            sender, task = watched.senders[key]
            if key[0] in ids and not task.done():  # a reader from now on: what was changed before still goes
                sender.finish(await instance.store.read(lambda view, id=key[0]: changed_at(view, id)))
                continue
            del watched.senders[key]
            task.cancel()
        for key in wanted - watched.senders.keys():
            sender = Sender(instance, *key)
            of = {"instance": instance.domain, "sharing": sender.sharing_id, "member": sender.index}
            task = asyncio.create_task(keep_going(sender.run, "sender", **of))
            task.add_done_callback(lambda _: watched.changed.set())
            watched.senders[key] = (sender, task)
        for key, (sender, _) in watched.senders.items():
            if key in wanted:
                sender.finish(None)
            sender.wake()


class Host(Protocol):
    """The server, as far as the engine needs it."""

    @property
    def instances(self) -> Instances:
        """All instances."""
        ...


def engine_of(host: Host) -> ReplicationEngine:
    """The engine of a server (a background part of it)."""
    return ReplicationEngine(host.instances)


def receivers(sharing: Sharing) -> list[int]:
    """The members that this side sends to: the owner to each that is ready, a recipient that may write to the owner."""
    if sharing.owner:
        return [i for i, m in enumerate(sharing.members) if i and m.status == "ready" and m.instance]
    return [] if rights.i_am_read_only(sharing) else [0]


def changed_at(view: Reader, sharing_id: str) -> int:
    """The sequence of the last change of a sharing: what came later was written under what it says."""
    document = view.winner(documents.DOCTYPE, sharing_id)
    return view.last_seq() if document is None else document.seq


def all_sharings(view: Reader) -> list[Sharing]:
    """All sharing documents of an instance."""
    found: list[Sharing] = []
    start = ""
    while page := view.all_docs(documents.DOCTYPE, start=start, limit=200):
        found.extend(documents.of_document(d) for d in page if not d.id.startswith("_design/"))
        start = page[-1].id + "\0"
    return found


def is_due(view: Reader, kind: str, now: float) -> bool:
    """Whether something that was refused is to be tried again by now (a member may have asked for it)."""
    due = view.next_due(kind)
    return due is not None and due <= now


def has_news(view: Reader, sharing_id: str, since: int) -> bool:
    """Whether anything in a sharing has changed after a sequence."""
    return bool(view.record_feed(tracking.SHARED, sharing_id, since=since, limit=1))
