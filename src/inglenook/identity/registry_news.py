"""What other processes do to the registry, noticed here (spec/10, several processes)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inglenook.identity.registry_documents import INSTANCES, all_of, decode
from inglenook.storage.documents.contract import Document, Reader

if TYPE_CHECKING:
    from inglenook.identity.instances import Instances

_PAGE = 500


class RegistryNews:
    """The changes of the registry since the last look."""

    def __init__(self, instances: Instances) -> None:
        self._instances = instances
        self._seen = 0  # the sequence up to which the registry is known here

    async def look_around(self) -> dict[str, str]:
        """The instances of the registry: prefix by id. `look_again` tells what comes after."""

        def read(view: Reader) -> int:
            return view.status(INSTANCES).last_seq

        registry = self._instances.registry
        self._seen = await registry.read(read)
        return {document.id: document.body["prefix"] for document in await registry.scan(all_of)}

    async def look_again(self) -> dict[str, str | None]:
        """Take notice of what other processes have done; gives the instances that have changed: prefix by id, None for
        one that is gone."""
        changed: dict[str, str | None] = {}

        def read(view: Reader) -> list[tuple[int, Document | None]]:
            feed = view.changes(INSTANCES, since=self._seen, limit=_PAGE)
            return [(entry.seq, view.winner(INSTANCES, entry.id)) for entry in feed]

        while page := await self._instances.registry.read(read):
            for seq, document in page:
                self._seen = seq
                if document is None or self._instances.is_being_destroyed(document.id):
                    continue
                gone = document.deleted or decode(document).deleting
                changed[document.id] = None if gone else document.body["prefix"]
                await self._instances.notice(document, gone=gone)
        return changed
