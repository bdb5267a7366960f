"""What must not stay behind when something has ended, and what must only ever grow. Raises Broken, with the reason."""

from __future__ import annotations

from collections.abc import Iterator

from inglenook.identity import clients
from inglenook.moving import jobs
from inglenook.replication.engine import all_sharings, receivers
from inglenook.replication.link_state import KIND as LINKS
from inglenook.sharing import steps, tracking
from inglenook.sharing.documents import Sharing
from inglenook.storage.documents.contract import Reader

from .deeds import Broken
from .world import Server


async def nothing_is_left_over(server: Server) -> None:
    """Nothing is kept of members who have gone, no step of a handshake waits, no move or import has left anything."""
    instance = await server.instance()

    def look(view: Reader) -> str:
        sharings = all_sharings(view)
        for sharing in sharings:
            if left := "; ".join(left_of_members(view, sharing)):
                return f"{sharing.description} ({sharing.id}): {left}"
        if waiting := steps.all_waiting(view):
            return f"steps that wait: {waiting[:3]}"
        used = {c.inbound_client_id for s in sharings for c in s.credentials}
        used |= {c.next_client_id for s in sharings for c in s.credentials}
        for client in view.all_docs(clients.CLIENTS, limit=1000):
            if client.body.get("client_kind") == "sharing" and client.id not in used:
                return f"a client of nobody: {client.body}"
        return ""

    left = await instance.store.read(look)
    queued = await instance.registry.registry.read(lambda view: jobs.of_instance(view, instance.prefix))
    files = [path for name in ("spool", "imports") for path in (server.folder / name).rglob("*") if path.is_file()]
    if left or queued or files:
        raise Broken(f"{server.name}: {left or queued or files}")


def left_of_members(view: Reader, sharing: Sharing) -> Iterator[str]:
    """What is kept for members who have gone. Who became a reader goes on there when he may write again."""
    following = receivers(sharing) if sharing.active else []
    for index, member in enumerate(sharing.members):
        if index in following or (sharing.active and not sharing.owner):
            continue
        if tracking.checkpoint_of(sharing.id, index) in view.checkpoints():
            yield f"the checkpoint of {index}, {member.status}"
        if view.records(tracking.retry_kind(sharing.id, index), limit=1):
            yield f"something waits for {index}, {member.status}"
        if view.record(LINKS, f"{sharing.id}/{index}") is not None:
            yield f"the state of the line to {index}, {member.status}"


async def watch_checkpoints(server: Server, seen: dict[tuple[str, str], int]) -> None:
    """What is sent to a member goes on and never back, for as long as the membership lasts."""
    instance = await server.instance()

    def look(view: Reader) -> dict[str, int]:
        found: dict[str, int] = {}
        checkpoints = view.checkpoints()
        for sharing in all_sharings(view):
            for index in receivers(sharing) if sharing.active else ():
                credentials = sharing.credentials_for(index)
                at = checkpoints.get(tracking.checkpoint_of(sharing.id, index))
                if at is not None and credentials is not None:
                    found[f"{sharing.id} {tracking.membership(index, credentials.xor_key)}"] = at
        return found

    for name, at in (await instance.store.read(look)).items():
        key = server.domain, name
        if at < seen.get(key, 0):
            raise Broken(f"{server.name}: the checkpoint {name} went from {seen[key]} back to {at}")
        seen[key] = at
