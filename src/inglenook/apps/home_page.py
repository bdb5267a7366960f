"""The page that stands in for the app `home`: which apps there are, and how to get some (spec/03 §1.3).

Also the page that tells of too many connected devices (§12.4, step 12).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Request, get

from inglenook.apps import documents, manifest
from inglenook.identity import pages, redirects, sessions
from inglenook.identity.caller import Caller
from inglenook.identity.clients import CLIENT_DEVICES
from inglenook.identity.redirects import DEFAULT_APP
from inglenook.wire import SESSION, Answer, redirect

if TYPE_CHECKING:
    from inglenook.storage.documents.contract import Document, Reader

SLUG = DEFAULT_APP
_MOST = 200

pages.extend("inglenook.apps")


async def page(caller: Caller) -> Answer:
    """The page, for the logged-in owner."""
    instance = caller.instance
    installed = await instance.store.read(lambda view: documents.page(view, limit=_MOST))
    home = caller.url("").rstrip("/")
    return pages.page(
        caller, "home.html", origin=home, owner=await instance.public_name(),
        apps=[_tile(caller, document) for document in installed if documents.is_usable(document.body)],
        command=f"inglenook apps install drive SOURCE --domain {instance.domain}",
    )  # fmt: skip


def _tile(caller: Caller, document: Document) -> dict[str, str]:
    slug = documents.slug_of(document)
    icon = caller.url(f"/apps/{slug}/icon") if document.body.get("icon") else ""
    return {
        "name": manifest.name_in(document.body, caller.instance.locale),
        "url": caller.instance.app_url(slug, host=caller.domain),
        "icon": icon,
    }


@get("/settings/clients/limit-exceeded", opt={"guard": SESSION})
async def too_many_devices(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """More devices are connected than the plan allows: the way to disconnect some, and the way back."""
    if (answer := await sessions.require_login(caller)) is not None:
        return answer
    instance = caller.instance
    target = await redirects.landing(instance, request.query_params.get("redirect") or "", caller.domain)
    limit = instance.doc.feature_flags.get("cozy.oauthclients.max")

    def count(view: Reader) -> int:
        return view.index_count(CLIENT_DEVICES)

    connected = await instance.store.read(count)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0 or connected <= limit:
        return redirect(target)
    manage = instance.app_url("settings", fragment="/connectedDevices", host=caller.domain)
    return pages.page(caller, "too_many_devices.html", limit=limit, connected=connected, manage=manage, target=target)


ROUTES: list[Any] = [too_many_devices]
