"""All data of an instance replaced at once: a draft that nobody sees becomes its data, and what was before it is kept
for a while (spec/12 §11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from inglenook.identity.instance import InstanceDoc, store_name
from inglenook.kernel.errors import Conflict

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance


async def draft(instance: Instance) -> Instance:
    """A second set of data for an instance, empty, that nobody can reach; what an earlier one left is thrown away."""
    doc = instance.doc
    generation = _next(doc)
    await instance.registry.destroy_store(store_name(doc.prefix, generation))
    return await instance.registry.assemble(instance.id, "", msgspec.structs.replace(doc, generation=generation))


async def discard(draft: Instance) -> None:
    """Throw a draft away."""
    await draft.registry.destroy_store(draft.doc.store_name)


async def discard_abandoned(instance: Instance) -> bool:
    """Throw the draft of a process that was killed away; False when there is none."""
    name = store_name(instance.doc.prefix, _next(instance.doc))
    if not instance.registry.stores.exists(name):
        return False
    await instance.registry.destroy_store(name)
    return True


async def adopt(instance: Instance, draft: Instance, *, keep_until: str) -> None:
    """Make a draft the data of its instance, in one write of the registry. The data before it is kept until a moment
    (RFC 3339); what was kept of an earlier time goes."""
    before = instance.doc

    def switch(doc: InstanceDoc) -> InstanceDoc:
        return msgspec.structs.replace(
            doc,
            generation=draft.doc.generation,
            former_generation=doc.generation,
            former_until=keep_until,
        )

    await instance.registry.modify(instance, switch)
    if before.former_generation >= 0:
        await instance.registry.destroy_store(store_name(before.prefix, before.former_generation))


async def take_back(instance: Instance) -> None:
    """Make the former data current again; the present one takes its place. Raises Conflict when there is none."""

    def switch(doc: InstanceDoc) -> InstanceDoc:
        if doc.former_generation < 0:
            raise Conflict("There is no former data of this instance any more")
        return msgspec.structs.replace(doc, generation=doc.former_generation, former_generation=doc.generation)

    await instance.registry.modify(instance, switch)


async def forget_former(instance: Instance) -> None:
    """Throw the former data of an instance away."""
    former = instance.doc.former_generation
    if former < 0:
        return
    await instance.registry.modify(
        instance, lambda doc: msgspec.structs.replace(doc, former_generation=-1, former_until="")
    )
    await instance.registry.destroy_store(store_name(instance.prefix, former))


def all_stores(doc: InstanceDoc) -> set[str]:
    """The names of the stores that an instance may have: current, former, and of a draft."""
    return {
        store_name(doc.prefix, generation) for generation in (doc.generation, max(doc.former_generation, 0), _next(doc))
    }


def _next(doc: InstanceDoc) -> int:
    return max(doc.generation, doc.former_generation) + 1
