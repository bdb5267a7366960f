"""The documents `io.cozy.apps`: which web apps an instance has (spec/03 §12.1, §12.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from inglenook.identity.redirects import APPS
from inglenook.kernel import jsonapi
from inglenook.kernel.errors import NotFound
from inglenook.storage.documents.contract import Document, Reader

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

__all__ = ["APPS", "ERRORED", "INSTALLING", "READY", "UPGRADING", "find", "get", "page", "resource", "source_id"]

INSTALLING = "installing"
UPGRADING = "upgrading"
READY = "ready"
ERRORED = "errored"
USABLE = frozenset({READY, "installed"})
NOT_INSTALLED = "Application is not installed"
_UNSAID = {
    "intents": None,
    "locales": None,
    "notifications": None,
    "services": None,
    "terms": {"url": "", "version": ""},
}
"""What clients see of members that a manifest does not have."""


def source_id(slug: str) -> str:
    """The id of an app's document, which is also the `source_id` of its permissions."""
    return f"{APPS}/{slug}"


def slug_of(document: Document) -> str:
    """The slug of an app's document."""
    return document.id.removeprefix(f"{APPS}/")


def get(view: Reader, slug: str) -> Document | None:
    """The document of an installed app, None when there is none."""
    return view.get(APPS, source_id(slug))


def find(view: Reader, slug: str) -> Document:
    """The document of an installed app. Raises NotFound."""
    document = get(view, slug)
    if document is None:
        raise NotFound(NOT_INSTALLED)
    return document


def page(view: Reader, *, start: str = "", limit: int = 100) -> list[Document]:
    """Installed apps by slug, from the document id `start` on."""
    return view.all_docs(APPS, start=max(start, f"{APPS}/"), end=f"{APPS}0", inclusive_end=False, limit=limit)


def resource(instance: Instance, document: Document, *, host: str = "") -> jsonapi.Object:
    """An app as clients see it; `host` is the contextual domain."""
    slug, body = slug_of(document), document.body
    links = {"self": f"/apps/{slug}"}
    if is_usable(body):
        links["related"] = instance.app_url(slug, host=host)
    if body.get("icon"):
        links["icon"] = f"/apps/{slug}/icon/{quote(str(body.get('version') or ''), safe='')}"
    return jsonapi.resource(APPS, document.id, {**_UNSAID, **body}, document.rev, links)


def is_served(body: dict[str, Any]) -> bool:
    """Whether the app has pages to show: during an update it shows the old version."""
    return is_usable(body) or body.get("state") == UPGRADING


def is_usable(body: dict[str, Any]) -> bool:
    """Whether the app can be opened."""
    return body.get("state") in USABLE
