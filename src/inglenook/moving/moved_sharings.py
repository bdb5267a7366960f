"""Sharings that follow the person who moves here: their documents, clients, tracking, links, and what their members
were still to be told (spec/12 §8, §10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from inglenook.identity import links
from inglenook.kernel.shared_tree import SharedTree
from inglenook.moving.policy import Newcomer
from inglenook.moving.units import Unit, text_member
from inglenook.peers.addresses import host_of
from inglenook.peers.errors import PeerForbiddenAddress
from inglenook.sharing import documents, moved_notice, steps
from inglenook.sharing.documents import Sharing
from inglenook.sharing.handshake import STEPS
from inglenook.sharing.steps import Waiting
from inglenook.sharing.tracking import SHARED
from inglenook.storage.documents.contract import Writer

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

Write = Callable[[Writer], None]

LINK_TYPES = ("share", "share-preview", "share-interact")


def tracking_of(unit: Unit) -> Write | None:
    """The tracking of a shared document, None when it cannot be one."""
    try:
        tree = SharedTree.from_json(unit.body["revisions"])
        infos: dict[str, Any] = {str(id): dict(info) for id, info in dict(unit.body["infos"]).items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    if not infos or not all(isinstance(info.get("rule"), int) for info in infos.values()):
        return None
    record = {"revisions": tree.to_json(), "infos": infos}
    return lambda tx: tx.put_record(SHARED, unit.id, record, keys=infos) and None


def sharing_of(unit: Unit, to: Newcomer, instance: Instance) -> Write | None:
    """A sharing with our new address, and the notices of it; None for one that does not move."""
    try:
        sharing = documents.parse(unit.body)
    except (msgspec.ValidationError, ValueError, TypeError):
        return None
    if sharing.organization_rule() is not None:
        return None
    mine = own_index(sharing, to.source)
    if mine is not None:
        sharing.members[mine].instance = to.origin
    sharing.id, sharing.rev = unit.id, ""
    sharing.moved_from = to.source
    sharing.updated_at = instance.env.clock.timestamp()
    sharing.initial_sync, sharing.initial_number_of_files_to_sync = False, 0
    now = instance.env.clock.now().timestamp()
    body = documents.to_body(sharing)

    def write(tx: Writer) -> None:
        tx.put(documents.DOCTYPE, unit.id, body)
        moved_notice.queue(tx, sharing, now, summary=to.import_id)

    return write


def step_of(unit: Unit, instance: Instance) -> Write | None:
    """Something that members were to be told, and that goes on waiting here; None when it is nothing like that, and
    for the notices of an earlier move."""
    try:
        waiting = msgspec.convert({k: v for k, v in unit.body.items() if not k.startswith("_")}, Waiting)
    except msgspec.ValidationError:
        return None
    if waiting.step not in STEPS or waiting.step == moved_notice.STEP or not unit.id.startswith(f"{waiting.sharing}/"):
        return None
    now = instance.env.clock.now().timestamp()
    return lambda tx: steps.take_along(tx, unit.id, waiting, now)


def own_index(sharing: Sharing, *addresses: str) -> int | None:
    """The index of the member who moves: the owner, or the one whose server is one of these addresses."""
    if sharing.owner:
        return 0 if sharing.members else None
    own = {host for address in addresses if (host := _host(address))}
    return next(
        (i for i, member in enumerate(sharing.members) if i and member.instance and _host(member.instance) in own),
        sharing.me(),
    )


def permission_of(unit: Unit, to: Newcomer, instance: Instance) -> Write | None:
    """A link with the same short codes, and long codes of this instance; None for what is no link."""
    codes = unit.body.get("codes")
    if unit.body.get("type") not in LINK_TYPES or not isinstance(codes, dict):
        return None
    body = {**unit.body, "codes": {str(name): links.new_code(instance, str(name)) for name in list(codes)[:1000]}}
    return lambda tx: tx.put(unit.doctype, unit.id, body) and None


def client_of(unit: Unit) -> Write | None:
    """The OAuth client by which another server of a sharing calls us; nothing more than that."""
    if text_member(unit.body, "client_kind") != "sharing":
        return None
    body = {
        name: value
        for name, value in unit.body.items()
        if name not in ("flagship", "certified_from_store", "allow_login_scope", "pending")
    }
    return lambda tx: tx.put(unit.doctype, unit.id, body) and None


def _host(address: str) -> str:
    try:
        return host_of(address)
    except PeerForbiddenAddress:
        return ""
