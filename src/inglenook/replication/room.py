"""Telling members that an instance has room again, so that they send what it has refused (spec/05 §12.6).

It is told when the quota was raised, and when more has been freed than was free before. What is to be told is a
record for each member, written in one transaction and removed when the member's server has answered.
"""

from __future__ import annotations

import structlog

from inglenook.files.quota import disk_usage, quota_of
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest, UpstreamFailed
from inglenook.peers import backoff
from inglenook.peers.peers import AILING
from inglenook.sharing import documents, links
from inglenook.sharing.documents import Sharing
from inglenook.storage.documents.contract import Reader, Record, Writer

log = structlog.get_logger("inglenook.replication")

KIND = "room-to-tell"
QUOTA = "room-quota"
TRIES = 12
PAGE = 100


class Room:
    """How much room an instance has, as far as its members must know. `fullest` is the highest usage since they
    were told."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.fullest = 0
        self._quota = -1

    async def look(self) -> None:
        """Note what there is to tell, after a commit or a change of the quota."""
        quota = quota_of(self.instance)
        store = self.instance.store
        if quota != self._quota and await store.read(known_quota) != quota:
            await store.write(lambda tx: note_quota(tx, quota))
        self._quota = quota
        if not quota:
            return
        used = await store.read(lambda view: disk_usage(view).total)
        self.fullest = max(self.fullest, used)
        if self.fullest - used > max(quota - self.fullest, 0):
            self.fullest = used
            await store.write(announce)

    async def due(self) -> float | None:
        """When somebody is to be told next, in Unix time; None when there is nobody."""
        return await self.instance.store.read(lambda view: view.next_due(KIND))

    async def tell(self) -> None:
        """Tell those who are due."""
        now = self.instance.env.clock.now().timestamp()
        for record in await self.instance.store.read(lambda view: view.records_due(KIND, now, limit=PAGE)):
            await self._tell(record)

    async def _tell(self, record: Record) -> None:
        instance, env = self.instance, self.instance.env
        sharing_id, _, index = record.id.rpartition("/")
        try:
            sharing = await instance.store.read(lambda view: documents.get(view, sharing_id))
            if sharing is not None and int(index) in others(sharing):
                link = links.peer_link(instance, sharing, int(index))
                response = await instance.peers.authorized(link, "POST", f"/sharings/{sharing_id}/reupload")
                if response.status in AILING:
                    raise UpstreamFailed(f"the server of the member answered {response.status}")
        except BadRequest:
            pass  # without credentials there is nobody to tell
        except UpstreamFailed as error:
            tries = record.body["tries"] + 1
            log.info("room_not_told", instance=instance.domain, sharing=sharing_id, error=error.detail)
            if tries < TRIES:
                due = env.clock.now().timestamp() + backoff.delay(tries, env.random.uniform())
                await instance.store.write(lambda tx: tx.put_record(KIND, record.id, {"tries": tries}, due=due))
                return
        await instance.store.write(lambda tx: tx.delete_record(KIND, record.id))


def known_quota(view: Reader) -> int:
    """The quota that was remembered last, in bytes; 0 for none."""
    record = view.record(QUOTA, "")
    return record.body["bytes"] if record else 0


def note_quota(tx: Writer, quota: int) -> None:
    """Remember the quota; when it was raised, the members are to be told."""
    before = known_quota(tx)
    tx.put_record(QUOTA, "", {"bytes": quota})
    if before and (quota == 0 or quota > before):
        announce(tx)


def announce(tx: Writer) -> None:
    """Note for each member of each active sharing with files that there is room."""
    for sharing in sharings_with_files(tx):
        for index in others(sharing):
            tx.put_record(KIND, f"{sharing.id}/{index}", {"tries": 0}, due=0.0)


def sharings_with_files(view: Reader) -> list[Sharing]:
    """The active sharings that bring files to this instance."""
    found: list[Sharing] = []
    start = ""
    while page := view.all_docs(documents.DOCTYPE, start=start, limit=PAGE):
        found.extend(documents.of_document(d) for d in page if not d.id.startswith("_design/"))
        start = page[-1].id + "\0"
    return [sharing for sharing in found if sharing.active and not sharing.drive and sharing.files_rule() is not None]


def others(sharing: Sharing) -> list[int]:
    """The members that send files here: the owner's recipients that are ready, a recipient's owner."""
    if not sharing.owner:
        return [0]
    return [i for i, member in enumerate(sharing.members) if i and member.status == "ready" and member.instance]
