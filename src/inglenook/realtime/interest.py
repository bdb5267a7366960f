"""Which kinds of events somebody listens to, for those that are too costly to be made for nobody (spec/11 §4)."""

from __future__ import annotations

from inglenook.identity.instance import Instance

STATUS = "io.cozy.sharings.status"
COSTLY = frozenset({STATUS})
LIFE = 24 * 3600.0
"""Seconds for which an interest counts; a listener's connection does not last longer."""


async def note(instance: Instance, doctype: str) -> None:
    """Somebody listens to a doctype now."""
    if doctype in COSTLY:
        await instance.ephemeral.put(_key(instance, doctype), True, LIFE)


async def is_noted(instance: Instance, doctype: str) -> bool:
    """Whether somebody has listened to a doctype lately."""
    return bool(await instance.ephemeral.get(_key(instance, doctype)))


def _key(instance: Instance, doctype: str) -> str:
    return f"listening/{instance.prefix}/{doctype}"
