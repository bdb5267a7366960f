"""Where the local user lands after he has agreed to a sharing (spec/04 §11.3, spec/03 §9.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from inglenook.files.documents import SHARED_WITH_ME_ID
from inglenook.identity import redirects
from inglenook.identity.instance import Instance
from inglenook.identity.redirects import APPS
from inglenook.sharing import requests
from inglenook.sharing.documents import Sharing
from inglenook.storage.documents.contract import Reader

DRIVE_APP = "drive"
ACTION = "SHARING"
PAGE = 100


async def after_consent(instance: Instance, sharing: Sharing, host: str) -> str:
    """The page that shows what was shared: the drive; an app that declares an intent for it, the sharing's own first;
    else the sharing's app, else the default page."""
    if sharing.drive:
        return requests.drive_url(instance, sharing)
    doctype = sharing.rules[0].doctype if sharing.rules else ""
    query = {"sharing": sharing.id}

    def find(view: Reader) -> tuple[str, str, bool]:
        own = view.get(APPS, f"{APPS}/{sharing.app_slug}") if sharing.app_slug else None
        manifests = [(sharing.app_slug, own.body)] if own is not None else []
        for slug, manifest in (*manifests, *_installed(view)):
            href = _intent(manifest, doctype)
            if href is not None:
                return slug, href, True
        return sharing.app_slug, "/", own is not None

    slug, href, found = await instance.store.read(find)
    if not found:
        return await redirects.default_landing(instance, host)
    parts = urlsplit(href)
    return instance.app_url(slug, "/" + parts.path.lstrip("/"), query, parts.fragment)


def inbox_url(instance: Instance, sharing_id: str) -> str:
    """The inbox of sharings in the Drive app."""
    return instance.app_url(DRIVE_APP, query={"sharing": sharing_id}, fragment=f"/folder/{SHARED_WITH_ME_ID}")


def _installed(view: Reader) -> Iterator[tuple[str, Mapping[str, Any]]]:
    start = ""
    while page := view.all_docs(APPS, start=start, limit=PAGE):
        for document in page:
            yield document.id.rpartition("/")[2], document.body
        start = page[-1].id + "\0"


def _intent(manifest: Mapping[str, Any], doctype: str) -> str | None:
    """The page by which an app shows a new sharing of a doctype, None when it declares none."""
    intents = manifest.get("intents")
    for intent in intents if isinstance(intents, list) else ():
        if not isinstance(intent, dict) or str(intent.get("action", "")).upper() != ACTION:
            continue
        types = intent.get("type")
        if doctype in (types if isinstance(types, list) else [types]):
            return str(intent.get("href") or "/")
    return None
