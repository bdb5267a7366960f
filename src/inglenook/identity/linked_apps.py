"""OAuth clients that are linked to a web app (`registry://<slug>`): they have the rights of that app (spec/03 §7).

What an app is, and how it is installed, is the business of the domain of apps, which announces itself with
`instances.linked_apps`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from inglenook.identity.clients import ClientRefused, linked_app
from inglenook.kernel.permissions import PermissionSet

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance


class LinkedApps(Protocol):
    """What the domain of apps tells of an app, by its slug."""

    async def known(self, instance: Instance, slug: str) -> bool:
        """Whether a registry of the instance has the app."""
        ...

    async def rights(self, instance: Instance, slug: str) -> PermissionSet:
        """What the app may do, by its manifest in the registry. Raises NotFound, UpstreamFailed, BadRequest."""
        ...

    async def install(self, instance: Instance, slug: str) -> None:
        """Begin to install the app, unless it is there. Raises as `rights`."""
        ...

    async def ready(self, instance: Instance, slug: str) -> bool:
        """Whether the app is there; waits for an installation that goes on, half a minute at most."""
        ...


def scope_of(client: Mapping[str, Any]) -> str:
    """The scope that a linked client has whatever it asks for, empty for a client that is not linked."""
    slug = linked_app(client)
    return f"@io.cozy.apps/{slug}" if slug else ""


async def check_software(instance: Instance, declared: Mapping[str, Any]) -> None:
    """Whether the app that a client wants to be linked to exists. Raises clients.ClientRefused."""
    slug = linked_app(declared)
    apps = instance.registry.linked_apps
    if slug and (apps is None or not await apps.known(instance, slug)):
        raise ClientRefused("unapproved_software_id", "Application was not found on instance registries")


async def ready(instance: Instance, client: Mapping[str, Any]) -> bool:
    """Whether the app of a client can be used, after a while maybe; True for a client that is not linked."""
    slug = linked_app(client)
    apps = instance.registry.linked_apps
    return not slug or (apps is not None and await apps.ready(instance, slug))
