"""Instances put back as a backup has them, with all their data (spec/10 §3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from inglenook.identity import generations
from inglenook.identity.instance import store_name
from inglenook.identity.registry_documents import INSTANCES, by_prefix, check_free, decode
from inglenook.storage.documents.contract import Document, Reader, Writer

if TYPE_CHECKING:
    from inglenook.identity.instances import Instances


async def check_restorable(instances: Instances, documents: Sequence[Document]) -> None:
    """Raise Conflict when an instance that stays has a name of one that is to come back from a backup."""

    def check(view: Reader) -> None:
        for document in documents:
            doc = decode(document)
            present = by_prefix(view, doc.prefix)
            check_free(view, doc, own_id=present.id if present else "")

    await instances.registry.read(check)


async def restore(instances: Instances, document: Document, fill: Callable[[str], Awaitable[None]]) -> None:
    """Put back an instance as the registry of a backup has it; `fill` makes the store of a name, and its blobs.

    It takes the place of the one with the same prefix, if there is one, in one write of the registry when all is
    there. Nobody is told that this one goes. Raises Conflict."""
    async with instances.changing:
        present = await instances.registry.read(lambda view: by_prefix(view, decode(document).prefix))
        before = decode(present) if present is not None else None
        generation = 0 if before is None else max(before.generation, before.former_generation) + 1
        doc = msgspec.structs.replace(
            decode(document),
            generation=generation,
            former_generation=-1 if before is None else before.generation,
            former_until="" if before is None else instances.env.clock.timestamp(),  # after a crash it is tidied away
            deleting=False,
        )
        await check_restorable(instances, [document])
        await instances.destroy_store(doc.store_name)
        await fill(doc.store_name)

        def enter(tx: Writer) -> Document:
            current = by_prefix(tx, doc.prefix)
            own = current is not None and current.id == document.id
            if current is not None and not own:
                tx.delete(INSTANCES, current.id, current.rev)
            check_free(tx, doc, own_id=document.id)
            return tx.put(INSTANCES, document.id, doc.body(), rev=current.rev if own and current else None)

        entered = await instances.registry.write(enter)
        instances.hosts.forget()
        if present is not None and present.id != document.id and (former := instances.open_one(present.id)):
            await instances.close(former)
        instance = await instances.of_document(entered)
        if before is not None and before.former_generation >= 0:
            await instances.destroy_store(store_name(doc.prefix, before.former_generation))
        await generations.forget_former(instance)
