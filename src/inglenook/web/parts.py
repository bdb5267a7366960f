"""The parts of the server, in one place: what each domain brings to every instance and to the process.

Routes and background parts are imported when they are asked for: a command that works without a server needs
neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import inglenook.apps.background
import inglenook.apps.linking
import inglenook.contacts.address_book
import inglenook.documents.attachments
import inglenook.files.indexes
import inglenook.files.joining
import inglenook.files.thumbnails
import inglenook.identity.indexes
import inglenook.moving.exports
import inglenook.realtime.connection
import inglenook.sharing.contact_groups
import inglenook.sharing.joining
import inglenook.sharing.reading
import inglenook.sharing.root_changes
import inglenook.sharing.tracking
import inglenook.sharing.vault
import inglenook.sharing.wanted_names
from inglenook.storage.documents.contract import Hook, Index
from inglenook.web.collector import Collector

if TYPE_CHECKING:
    from inglenook.web.runtime import Runtime


class Part(Protocol):
    """Something that works in the background while the server runs."""

    async def start(self) -> None:
        """Begin; returns when the part is ready."""
        ...

    async def stop(self) -> None:
        """End: finish or safely park what is being done."""
        ...


def indexes() -> list[Index]:
    """The indexes that every instance's store has."""
    return [
        *inglenook.identity.indexes.INDEXES,
        *inglenook.files.indexes.FILE_INDEXES,
        *inglenook.contacts.address_book.CONTACT_INDEXES,
        *inglenook.sharing.reading.SHARING_INDEXES,
        inglenook.moving.exports.EXPORTS_BY_DATE,
    ]


def hooks() -> list[Hook]:
    """What runs inside every document write, in this order."""
    return [
        inglenook.sharing.tracking.track,
        inglenook.sharing.wanted_names.follow,
        inglenook.sharing.root_changes.follow,
        inglenook.sharing.contact_groups.follow,
        inglenook.sharing.vault.follow,
        inglenook.files.thumbnails.forget_old,
        inglenook.documents.attachments.forget_old,
    ]


def join(runtime: Runtime) -> None:
    """Let each domain take part in the life of instances."""
    inglenook.files.joining.join(runtime.instances)
    inglenook.apps.background.join(runtime.instances)
    inglenook.apps.linking.join(runtime.instances)
    inglenook.sharing.joining.join(runtime.instances)
    inglenook.realtime.connection.join(runtime.instances)


def routes() -> list[Any]:
    """The routes of all domains."""
    import inglenook.apps.routes
    import inglenook.contacts.routes
    import inglenook.documents.routes
    import inglenook.files.routes
    import inglenook.identity.routes
    import inglenook.moving.routes
    import inglenook.realtime.routes
    import inglenook.replication.routes
    import inglenook.replication.status_routes
    import inglenook.sharing.routes

    return [
        *inglenook.identity.routes.ROUTES,
        *inglenook.documents.routes.ROUTES,
        *inglenook.files.routes.ROUTES,
        *inglenook.apps.routes.ROUTES,
        *inglenook.contacts.routes.ROUTES,
        *inglenook.realtime.routes.ROUTES,
        *inglenook.sharing.routes.ROUTES,
        *inglenook.replication.routes.ROUTES,
        *inglenook.moving.routes.ROUTES,
        *inglenook.replication.status_routes.ROUTES,
    ]


def background(runtime: Runtime) -> list[Part]:
    """The background parts of a running server, in the order of their start."""
    import inglenook.apps.background
    import inglenook.files.background
    import inglenook.identity.housekeeping
    import inglenook.mail.sender
    import inglenook.moving.runner
    import inglenook.replication.engine
    import inglenook.replication.status_events
    import inglenook.sharing.file_news
    import inglenook.sharing.runner

    return [
        inglenook.identity.housekeeping.make(runtime),
        inglenook.mail.sender.make(runtime),
        inglenook.sharing.runner.background(runtime),
        inglenook.sharing.file_news.background(runtime),
        inglenook.replication.engine.engine_of(runtime),
        inglenook.replication.status_events.background(runtime),
        inglenook.apps.background.background(runtime),
        inglenook.moving.runner.background(runtime),
        inglenook.files.background.background(runtime),
        Collector(runtime.instances),
    ]
