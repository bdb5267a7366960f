"""The parts of the server, in one list: what each domain brings to every instance and to the process.

A domain takes part by names in its modules: `ROUTES` (Litestar handlers), indexes and hooks of the document
store, and a function that makes its background parts.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from inglenook.storage.documents.contract import Hook, Index

if TYPE_CHECKING:
    from inglenook.web.runtime import Runtime

log = structlog.get_logger("inglenook.web")


class Part(Protocol):
    """Something that works in the background while the server runs."""

    async def start(self) -> None:
        """Begin; returns when the part is ready."""
        ...

    async def stop(self) -> None:
        """End: finish or safely park what is being done."""
        ...


ROUTES = (
    "inglenook.identity.routes:ROUTES",
    "inglenook.documents.routes:ROUTES",
    "inglenook.files.routes:ROUTES",
    "inglenook.contacts.routes:ROUTES",
    "inglenook.sharing.routes:ROUTES",
    "inglenook.replication.routes:ROUTES",
)


def _found(names: Sequence[str]) -> list[Any]:
    values: list[Any] = []
    for name in names:
        module, _, attribute = name.partition(":")
        try:
            values.append(getattr(importlib.import_module(module), attribute))
        except ImportError as error:  # a domain that is being written
            if not (error.name or "").startswith("inglenook"):
                raise
            log.warning("a part is missing", part=name, cause=str(error))
    return values


def routes() -> list[Any]:
    """The routes of all domains."""
    return [route for several in _found(ROUTES) for route in several]


def indexes() -> list[Index]:
    """The indexes that every instance's store has."""
    return [index for several in _found(INDEXES) for index in several]


def hooks() -> list[Hook]:
    """What runs inside every document write."""
    return _found(HOOKS)


def join(runtime: Runtime) -> None:
    """Let each domain take part in the life of instances."""
    for take_part in _found(JOINING):
        take_part(runtime.instances)


def background(runtime: Runtime) -> list[Part]:
    """The background parts of a running server, in the order of their start."""
    return [make(runtime) for make in _found(BACKGROUND)]


INDEXES = (
    "inglenook.identity.indexes:INDEXES",
    "inglenook.files.indexes:FILE_INDEXES",
    "inglenook.contacts.address_book:CONTACT_INDEXES",
    "inglenook.sharing.reading:SHARING_INDEXES",
)
HOOKS = (
    "inglenook.sharing.tracking:track",
    "inglenook.sharing.root_changes:follow",
    "inglenook.sharing.contact_groups:follow",
    "inglenook.files.thumbnails:forget_old",
)
JOINING = ("inglenook.files.joining:join", "inglenook.sharing.joining:join")
BACKGROUND = (
    "inglenook.identity.housekeeping:make",
    "inglenook.mail.sender:make",
    "inglenook.sharing.runner:background",
    "inglenook.replication.engine:engine_of",
)
