"""Apps of a registry bring themselves up to date when somebody looks at them (spec/03 §12.3, `GET /apps/:slug`)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from inglenook.apps import documents, installing, registries
from inglenook.apps.background import Installation
from inglenook.storage.documents.contract import Document

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

EVERY_SECONDS = 10.0
"""How often the registry is asked for one app, at most."""

_looked: WeakKeyDictionary[Instance, dict[str, float]] = WeakKeyDictionary()


def consider(instance: Instance, document: Document) -> None:
    """Begin an update in the background when one is due. New rights or terms wait for the user."""
    body, slug = document.body, documents.slug_of(document)
    source = str(body.get("source") or "")
    if not source.startswith("registry://") or instance.doc.no_auto_update or not documents.is_usable(body):
        return
    if not registries.addresses(instance.context_settings):
        return
    looked, now = _looked.setdefault(instance, {}), instance.env.clock.monotonic()
    if now - looked.get(slug, -EVERY_SECONDS) < EVERY_SECONDS:
        return
    looked[slug] = now
    Installation(instance, lambda told: installing.update(instance, slug, acknowledged=False, told=told))
