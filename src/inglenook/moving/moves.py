"""A move from one server to another, as each of the two sides remembers it (spec/12 §9, §11).

At most one at a time for each instance, as a record of the registry. The source is read-only between `begin` and
`finalize` or `abort`; the target is blocked. Only the token of a move ends it, and ending it again is harmless.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import structlog

from inglenook.identity import letters, sessions
from inglenook.identity.creation import update_settings
from inglenook.identity.instance import INSTANCE_SETTINGS, SETTINGS, VAULT_SETTINGS, Instance, InstanceDoc
from inglenook.kernel.errors import Conflict, DomainError, Forbidden, UpstreamFailed
from inglenook.moving import blocking, exporting, exports, jobs
from inglenook.moving.blocking import MOVING
from inglenook.moving.exports import ExportRequest
from inglenook.moving.jobs import Job
from inglenook.storage.documents.contract import Reader, Writer

if TYPE_CHECKING:
    from inglenook.kernel.permissions import Permit

MOVES = "moves"
LONGEST = 24 * 3600.0
"""Seconds after which a move that has not ended is given up."""

TRIES = 5
"""How often the target is asked to begin its import."""

log = structlog.get_logger("inglenook.moving")


class Move(msgspec.Struct, kw_only=True):
    """A move. `other` is the other side: the origin of a target, the host of a source. `client_id` is the OAuth client
    whose tokens may end it here, `token` opens the other side, `own_token` is for the other side to open this one.
    `since` is in seconds of Unix time."""

    role: Literal["source", "target"]
    other: str
    client_id: str
    since: float
    token: str = ""
    own_token: str = ""
    vault: bool = False
    state: Literal["moving", "done", "aborted"] = "moving"


def find(view: Reader, prefix: str) -> Move | None:
    """The move of an instance, None when there was none lately."""
    record = view.record(MOVES, prefix)
    return None if record is None else msgspec.json.decode(record.raw, type=Move)


async def current(instance: Instance) -> Move | None:
    """The move of an instance."""
    return await instance.registry.registry.read(lambda view: find(view, instance.prefix))


def keep(tx: Writer, prefix: str, move: Move) -> None:
    """Write a move down."""
    tx.put_record(MOVES, prefix, msgspec.to_builtins(move), due=move.since + LONGEST)


# -- the source


async def begin(instance: Instance, move: Move) -> None:
    """The instance begins to move away: from now on nothing can be changed in it. Raises Conflict, UpstreamFailed."""
    under_way = await current(instance)
    if instance.doc.moved or (under_way is not None and under_way.state == "moving"):
        raise Conflict("This instance is moving already")
    answer = await instance.peers.request(
        "POST",
        f"{move.other}/move/importing?source={instance.domain}",
        headers={"Authorization": f"Bearer {move.token}", "Content-Type": "application/json"},
        body=b"{}",
    )
    if answer.status != 204:
        raise UpstreamFailed(f"The other server answered {answer.status}")

    def write(tx: Writer) -> None:
        keep(tx, instance.prefix, move)

    await instance.registry.registry.write(write)
    await _modify(instance, moving=True)
    await update_settings(instance, {"moved_to": move.other})
    await jobs.queue(instance, "export", {"move": True})


async def export_and_hand_over(instance: Instance, job: Job) -> None:
    """Make the export of a move, and have the target take it in. What fails for good gives the move up."""
    move = await current(instance)
    if move is None or move.role != "source" or move.state != "moving":
        return
    try:
        document = await exporting.export(instance, ExportRequest(secrets=True), mail=False)
        await _hand_over(instance, move, exports.link_of(instance, exports.mac_of(instance, document.id)))
    except (DomainError, OSError) as error:
        cause = error.detail if isinstance(error, DomainError) else str(error)
        if not await _goes_on(instance, move):
            log.info("a move has ended meanwhile", instance=instance.domain, cause=cause)
            return
        log.warning("a move failed", instance=instance.domain, cause=cause)
        await _tell_target(instance, move)
        await abort(instance, move)
        now = instance.env.clock.now().timestamp()
        await instance.store.write(lambda tx: letters.post(tx, "export_error", {}, now) and None)


async def _hand_over(instance: Instance, move: Move, link: str) -> None:
    attributes = {"url": link, "vault": move.vault, "move_from": {"url": instance.url("/"), "token": move.own_token}}
    body = msgspec.json.encode({"data": {"attributes": attributes}})
    headers = {"Authorization": f"Bearer {move.token}", "Content-Type": "application/vnd.api+json"}
    for attempt in range(TRIES):
        try:
            answer = await instance.peers.request(
                "POST", f"{move.other}/move/imports", headers=headers, body=body, timeout=60.0
            )
        except UpstreamFailed:
            if attempt == TRIES - 1:
                raise
        else:
            if answer.status == 200:
                return
            if answer.status < 500 or attempt == TRIES - 1:
                raise UpstreamFailed(f"The other server answered {answer.status}")
        await asyncio.sleep(2.0**attempt)
        if not await _goes_on(instance, move):  # the target has had the word: only its answer was lost
            return


async def _goes_on(instance: Instance, move: Move) -> bool:
    """Whether a move is still under way: it was neither finished nor given up while something else was tried."""
    now = await current(instance)
    return now is not None and now.state == "moving" and now.since == move.since


async def _tell_target(instance: Instance, move: Move) -> None:
    headers = {"Authorization": f"Bearer {move.token}", "Content-Type": "application/json"}
    try:
        await instance.peers.request("POST", f"{move.other}/move/abort", headers=headers, body=b"{}")
    except UpstreamFailed as error:
        log.warning("the target of a move was not told", cause=error.detail)


async def finalize(instance: Instance, permit: Permit, subdomain: str) -> None:
    """The target has everything: the instance has moved. Raises Forbidden, Conflict."""
    move = await _ended_by(instance, permit.client_id)
    if move.role != "source" or move.state == "aborted":
        raise Conflict("This instance does not move")
    if move.state == "done":
        return
    await update_settings(instance, {"moved_to": move.other, "moved_to_subdomain_type": subdomain})
    await _set_state(instance, move, "done")
    await _modify(instance, moving=False, moved=True)


# -- the target


async def expect(instance: Instance, permit: Permit, source: str) -> None:
    """Somebody is going to move here: the instance is blocked, its sessions end. Raises Conflict."""
    under_way = await current(instance)
    if instance.doc.moved or (under_way is not None and under_way.state == "moving" and under_way.other != source):
        raise Conflict("Another move is under way")
    now = instance.env.clock.now().timestamp()
    move = Move(role="target", other=source, client_id=permit.client_id, since=now)
    await instance.registry.registry.write(lambda tx: keep(tx, instance.prefix, move))
    await instance.store.write(lambda tx: sessions.end_sessions(tx))
    await update_settings(instance, {"moved_from": source})
    await blocking.block(instance, MOVING)


async def arrived(instance: Instance) -> None:
    """The import of a move has ended here, well or not."""
    move = await current(instance)
    if move is not None and move.role == "target":
        await _set_state(instance, move, "done")


# -- both


async def abort_asked(instance: Instance, permit: Permit) -> None:
    """The other side has given the move up. Harmless when there is none. Raises Forbidden."""
    if await current(instance) is None:
        return
    move = await _ended_by(instance, permit.client_id)
    if move.state == "moving":
        await abort(instance, move)


async def abort(instance: Instance, move: Move) -> None:
    """Give a move up: the source can be changed again, the target is served again with what it has."""
    await _set_state(instance, move, "aborted")
    if move.role == "source":
        await forget_settings(instance, "moved_to", "moved_to_subdomain_type")
        await _modify(instance, moving=False)
    else:
        await forget_settings(instance, "moved_from")
        if instance.doc.blocking_reason == MOVING:
            await blocking.unblock(instance)


async def abort_overdue(instance: Instance) -> None:
    """Give a move up that has taken too long; one whose import is queued here goes on."""
    move = await current(instance)
    now = instance.env.clock.now().timestamp()
    if move is None or move.state != "moving" or now - move.since < LONGEST:
        return
    queued = await instance.registry.registry.read(lambda view: jobs.of_instance(view, instance.prefix))
    if not queued:
        log.warning("a move was given up", instance=instance.domain, role=move.role)
        await abort(instance, move)


async def cancel(instance: Instance) -> None:
    """Make an instance that has moved away active again (`instances move --cancel`). Raises Conflict."""
    move = await current(instance)
    if not instance.doc.moved and not instance.doc.moving:
        raise Conflict(f"{instance.domain} has not moved")
    if move is not None:
        await _set_state(instance, move, "aborted")
    await _modify(instance, moving=False, moved=False)
    await forget_settings(instance, "moved_to", "moved_to_subdomain_type")


async def vault_in_use(instance: Instance) -> bool:
    """Whether a password extension was ever connected."""
    vault = await instance.store.read(lambda view: view.get(SETTINGS, VAULT_SETTINGS))
    return vault is not None and vault.body.get("extension_installed") is True


async def _ended_by(instance: Instance, client_id: str) -> Move:
    move = await current(instance)
    if move is None:
        raise Conflict("This instance does not move")
    if not client_id or client_id != move.client_id:
        raise Forbidden
    return move


async def _set_state(instance: Instance, move: Move, state: Literal["done", "aborted"]) -> None:
    ended = msgspec.structs.replace(move, state=state, token="", own_token="")
    await instance.registry.registry.write(lambda tx: keep(tx, instance.prefix, ended))


async def forget_settings(instance: Instance, *names: str) -> None:
    """Take keys out of the settings."""

    def forget(tx: Writer) -> None:
        document = tx.get(SETTINGS, INSTANCE_SETTINGS)
        if document is not None and any(name in document.body for name in names):
            body = {name: value for name, value in document.body.items() if name not in names}
            tx.put(SETTINGS, INSTANCE_SETTINGS, body, rev=document.rev)

    await instance.store.write(forget)


async def _modify(instance: Instance, **changes: Any) -> None:
    def change(doc: InstanceDoc) -> InstanceDoc:
        return msgspec.structs.replace(doc, **changes)

    await instance.registry.modify(instance, change)
