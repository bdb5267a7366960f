"""Intents: an app opens a page of another app in a frame (spec/03 §13).

The document says who asked and which apps can serve; it is kept for a day, which is longer than any such page lives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from inglenook.apps import documents, policy
from inglenook.apps.documents import APPS
from inglenook.identity import settings
from inglenook.kernel.errors import InvalidAttribute
from inglenook.storage.documents.contract import Document, Reader, Writer

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

INTENTS = "io.cozy.intents"
ENDS = "intent-ends"
"""Records: id of an intent, due when it may go."""
LIFE_SECONDS = 86_400.0
_SWEEP = 50
_MAX_TEXT = 200


@dataclass(frozen=True, slots=True)
class Wish:
    """What an app asks for: an action on a doctype or media type, and the rights it would need."""

    action: str
    type: str
    permissions: tuple[str, ...] = ()


def wish(attributes: Mapping[str, Any]) -> Wish:
    """Read a wish. Raises InvalidAttribute."""
    permissions = attributes.get("permissions") or []
    if not isinstance(permissions, list) or not all(isinstance(verb, str) for verb in permissions):
        raise InvalidAttribute("permissions is a list of verbs", pointer="/data/attributes/permissions")
    return Wish(_text(attributes, "action"), _text(attributes, "type"), tuple(permissions[:20]))


def ask(tx: Writer, instance: Instance, asked: Wish, client: str, host: str) -> Document:
    """Write an intent with the apps that can serve it; `client` is the `source_id` of who asks, `host` the
    contextual domain."""
    now = instance.env.clock.now().timestamp()
    for record in tx.records_due(ENDS, now, limit=_SWEEP):
        old = tx.get(INTENTS, record.id)
        if old is not None:
            tx.delete(INTENTS, old.id, old.rev)
        tx.delete_record(ENDS, record.id)
    id = tx.new_id()
    services = [{"slug": slug, "href": _address(instance, slug, href, id, host)} for slug, href in _serving(tx, asked)]
    body = {
        "action": asked.action, "type": asked.type, "permissions": list(asked.permissions), "client": client,
        "services": services, "availableApps": None if services else [],
    }  # fmt: skip
    tx.put_record(ENDS, id, {}, due=now + LIFE_SECONDS)
    return tx.put(INTENTS, id, body)


def client_origin(instance: Instance, client: str, host: str) -> str:
    """The origin of the app that asked, empty when it was no app."""
    slug = client.removeprefix(f"{APPS}/")
    return instance.app_url(slug, "", host=host) if slug != client else ""


def is_service(body: Mapping[str, Any], source_id: str) -> bool:
    """Whether the app of a `source_id` is one of those that can serve the intent."""
    return any(source_id == documents.source_id(service["slug"]) for service in body["services"])


async def embedders(instance: Instance, slug: str, intent_id: str, host: str) -> tuple[str, ...]:
    """The origins that may show a page of an app in a frame, for the sake of an intent."""

    def read(view: Reader) -> tuple[Document | None, Document | None]:
        return view.get(INTENTS, intent_id), documents.get(view, slug)

    intent, app = await instance.store.read(read)
    if intent is None or app is None or not is_service(intent.body, documents.source_id(slug)):
        return ()
    flag = app.body.get("client_url_flag")
    elsewhere = policy.origin_of(settings.flags(instance).get(flag)) if isinstance(flag, str) else ""
    own = client_origin(instance, str(intent.body.get("client") or ""), host)
    return tuple(origin for origin in (own, elsewhere) if origin)


def _serving(view: Reader, asked: Wish) -> Iterator[tuple[str, str]]:
    start = ""
    while page := documents.page(view, start=start):
        for document in page:
            href = _href(document.body, asked) if documents.is_served(document.body) else None
            if href is not None:
                yield documents.slug_of(document), href
        start = page[-1].id + "\0"


def _href(manifest: Mapping[str, Any], asked: Wish) -> str | None:
    for intent in manifest.get("intents") or ():
        types = intent.get("type")
        types = [types] if isinstance(types, str) else types or []
        if intent["action"].upper() == asked.action.upper() and any(_covers(type, asked.type) for type in types):
            return str(intent.get("href") or "/")
    return None


def _covers(declared: str, asked: str) -> bool:
    return declared == asked or (declared.endswith("/*") and asked.startswith(declared[:-1]))


def _address(instance: Instance, slug: str, href: str, intent_id: str, host: str) -> str:
    try:
        parts = urlsplit(href)
    except ValueError:
        parts = urlsplit("/")
    return instance.app_url(slug, "/" + parts.path.lstrip("/"), {"intent": intent_id}, parts.fragment, host=host)


def _text(attributes: Mapping[str, Any], name: str) -> str:
    value = attributes.get(name)
    if not isinstance(value, str) or not value or len(value) > _MAX_TEXT:
        raise InvalidAttribute(f"{name} is missing", pointer=f"/data/attributes/{name}")
    return value
