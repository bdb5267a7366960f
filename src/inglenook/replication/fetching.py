"""Folders that only the sender knows: asked for when something received lies in them (spec/05 §14.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from urllib.parse import quote

from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest, Conflict, DomainError, NotFound, UpstreamFailed
from inglenook.replication.exchange import Exchange, ParentMissing, Received
from inglenook.replication.placement import is_there, recreate_folder
from inglenook.replication.receive_folders import BulkOutcome, apply_bulk
from inglenook.replication.shapes import wrong_member
from inglenook.sharing import links
from inglenook.sharing.documents import Sharing
from inglenook.storage.documents.contract import Writer

DEEPEST = 64

SOON = 4.0
"""Seconds for the answer to a question of this kind: who has sent the document waits ten for ours (spec/05 §2)."""

Body = dict[str, Any]
T = TypeVar("T")


async def with_parents(instance: Instance, ex: Exchange, apply: Callable[[Writer, Exchange], T]) -> T:
    """Apply something; a folder that is missing is fetched from the sender first. Raises Forbidden when the sender is
    no member any more."""
    for _ in range(3):
        try:
            return await instance.store.write(lambda tx: apply(tx, ex.now_in(tx)))
        except ParentMissing as missing:
            await _fetch_parents(instance, ex, missing.id)
    raise NotFound("This folder was not found")


async def apply_folders(instance: Instance, ex: Exchange, documents: list[Received]) -> dict[str, DomainError]:
    """Apply folders and removals, as many as can be; gives the errors of the others by id, in their order. Raises as
    `with_parents`."""
    outcome: BulkOutcome = await instance.store.write(lambda tx: apply_bulk(tx, ex.now_in(tx), documents))
    errors = outcome.errors
    for received, parent in outcome.missing:
        try:
            await _fetch_parents(instance, ex, parent)
            again: BulkOutcome = await instance.store.write(lambda tx, r=received: apply_bulk(tx, ex.now_in(tx), [r]))
            errors |= again.errors
        except DomainError as failed:
            errors[received.id] = failed
    return errors


async def _fetch_parents(instance: Instance, ex: Exchange, id: str) -> None:
    """Fetch a folder and those above it until one is known here, then make them from the top down."""
    fetched: list[tuple[str, Body]] = []
    while len(fetched) < DEEPEST:
        found = await _ask_for_folder(instance, ex, id)
        fetched.append((id, found))
        above = found.get("dir_id")
        if not isinstance(above, str) or not above:
            break
        if any(above == known for known, _ in fetched):
            raise BadRequest("Operation aborted")
        id = above
        if await instance.store.read(lambda view, i=id: is_there(view, ex, i)):
            break
    else:
        raise BadRequest("The folder lies too deep")

    def make(tx: Writer) -> None:
        now = ex.now_in(tx)
        for folder_id, body in reversed(fetched):
            recreate_folder(tx, now, folder_id, body)

    await instance.store.write(make)


async def _ask_for_folder(instance: Instance, ex: Exchange, id: str) -> Body:
    """Ask the sender, then (on the owner) the other members. Raises NotFound; Conflict when nobody can be asked,
    which must not look as if this server were out of order."""
    silent = True
    for index in _who_may_know(ex.sharing, ex.index):
        link = links.peer_link(instance, ex.sharing, index)
        try:
            response = await instance.peers.authorized(
                link,
                "GET",
                f"/sharings/{ex.sharing.id}/io.cozy.files/{quote(id, safe='')}",
                headers={"Accept": "application/json"},
                timeout=SOON,
            )
            found = response.json() if response.status == 200 else None
        except UpstreamFailed:
            continue
        silent = False
        if isinstance(found, dict) and found.get("type") == "directory" and not wrong_member(found):
            return found
    if silent:
        raise Conflict("The folder cannot be asked for")
    raise NotFound("This folder was not found")


def _who_may_know(sharing: Sharing, sender: int) -> Iterable[int]:
    yield sender
    if sharing.owner:
        for i, member in enumerate(sharing.members):
            if i not in (0, sender) and member.status == "ready" and member.instance:
                yield i
