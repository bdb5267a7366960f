"""Apps that OAuth clients are linked to: looked up in the registries, installed when the owner allows the client
(spec/03 §7.4 to §7.6)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from inglenook.apps import documents, installing, manifest, registries
from inglenook.apps.background import Installation
from inglenook.identity import permission_documents
from inglenook.kernel.permissions import PermissionSet
from inglenook.storage.documents.contract import Document, Reader

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance
    from inglenook.identity.instances import Instances

WAIT_SECONDS = 30.0
_LOOK_EVERY = 0.25


class LinkedApps:
    """The apps of this server, as `identity.linked_apps` asks for them."""

    async def known(self, instance: Instance, slug: str) -> bool:
        """Whether a registry of the instance has the app."""
        return bool(registries.addresses(instance.context_settings)) and await registries.knows(instance, slug)

    async def rights(self, instance: Instance, slug: str) -> PermissionSet:
        """What the app may do: its rules here when it is installed, else those of the registry's manifest."""

        def installed(view: Reader) -> Document | None:
            return permission_documents.of_source(view, "app", documents.source_id(slug))

        document = await instance.store.read(installed)
        if document is not None:
            return PermissionSet(permission_documents.rules_of(document.body))
        release = await registries.find(instance, source_of(slug))
        return manifest.permissions(release.manifest)

    async def install(self, instance: Instance, slug: str) -> None:
        """Begin to install the app, unless it is there."""
        if await instance.store.read(lambda view: documents.get(view, slug)) is not None:
            return
        source = source_of(slug)
        await Installation(instance, lambda told: installing.install(instance, slug, source, told)).next()

    async def ready(self, instance: Instance, slug: str) -> bool:
        """Whether the app is there; waits for an installation that goes on."""
        clock = instance.env.clock
        until = clock.monotonic() + WAIT_SECONDS
        while True:
            document = await instance.store.read(lambda view: documents.get(view, slug))
            if document is None or documents.is_served(document.body):
                return document is not None
            if document.body.get("state") != documents.INSTALLING or clock.monotonic() > until:
                return False
            await asyncio.sleep(_LOOK_EVERY)


def source_of(slug: str) -> str:
    """Where a linked app is installed from."""
    return f"registry://{slug}/stable"


def join(instances: Instances) -> None:
    """Let identity ask for the apps of clients."""
    instances.linked_apps = LinkedApps()
