"""An instance that is blocked while it is replaced or moves (spec/12 §7–§9); a block for another reason stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from inglenook.identity.instance import Instance, InstanceDoc

if TYPE_CHECKING:
    from collections.abc import Callable

IMPORTING = "IMPORTING"
MOVING = "MOVING"
OURS = (IMPORTING, MOVING)


async def block(instance: Instance, reason: str) -> None:
    """Block an instance, unless it is blocked for a reason that is not ours."""

    def change(doc: InstanceDoc) -> InstanceDoc:
        if doc.blocked and doc.blocking_reason not in OURS:
            return doc
        return msgspec.structs.replace(doc, blocked=True, blocking_reason=reason)

    await _modify(instance, change)


async def unblock(instance: Instance) -> None:
    """Lift our block."""

    def change(doc: InstanceDoc) -> InstanceDoc:
        if not doc.blocked or doc.blocking_reason not in OURS:
            return doc
        return msgspec.structs.replace(doc, blocked=False, blocking_reason="")

    await _modify(instance, change)


async def _modify(instance: Instance, change: Callable[[InstanceDoc], InstanceDoc]) -> None:
    if change(instance.doc) != instance.doc:
        await instance.registry.modify(instance, change)
