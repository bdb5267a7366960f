"""From a caller to the `Stamp` that its change leaves in `cozyMetadata` (spec/02 §7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from inglenook.files.documents import CLIENTS, text
from inglenook.files.stamps import Stamp
from inglenook.identity.caller import Caller
from inglenook.identity.instance import Instance

DESKTOP = "cozy-desktop"
FLAGSHIP = "cozy-flagship"


def server_stamp(instance: Instance) -> Stamp:
    """The stamp of a change that the server makes by itself."""
    return Stamp(instance.env.clock.timestamp(), instance.url())


async def stamp_of(caller: Caller, query: Mapping[str, str] | None = None) -> Stamp:
    """The stamp of a change asked by a caller; `query` may name the account that the data come from.

    Raises what `Caller.permit` raises."""
    instance, permit = caller.instance, await caller.permit()
    slug, version, client = permit.slug, "", None
    if permit.kind == "oauth":
        slug, version, client = await _oauth(instance, permit.client_id, slug)
    elif permit.kind not in ("app", "konnector"):
        slug = ""
    return Stamp(
        instance.env.clock.timestamp(),
        instance.url(),
        slug=slug,
        version=version,
        client=client,
        source_account=(query or {}).get("SourceAccount", ""),
        source_account_identifier=(query or {}).get("SourceAccountIdentifier", ""),
    )


async def trash_stamp_of(caller: Caller) -> Stamp:
    """The stamp of a caller that trashes something: it names the actor too."""
    stamp = await stamp_of(caller)
    actor = await _actor(caller)
    return Stamp(stamp.now, stamp.origin, slug=stamp.slug, version=stamp.version, client=stamp.client, actor=actor)


async def _oauth(instance: Instance, client_id: str, linked: str) -> tuple[str, str, dict[str, str] | None]:
    document = await instance.store.read(lambda view: view.get(CLIENTS, client_id))
    if document is None:
        return linked, "", None
    body = document.body
    slug = linked
    if not slug and DESKTOP in text(body.get("software_id")):
        slug = DESKTOP
    elif not slug and body.get("flagship") is True:
        slug = FLAGSHIP
    client = {"id": document.id, "kind": text(body.get("client_kind")), "name": text(body.get("client_name"))}
    return slug, text(body.get("software_version")), client


async def _actor(caller: Caller) -> dict[str, str] | None:
    granted = await caller.granted()
    match granted.permit.kind:
        case "register":
            return None
        case "share" | "share-preview":
            return {"kind": "anonymous-share"}
        case "share-interact":
            return _member(granted.member or {})
        case _:
            instance = caller.instance
            name = (await instance.settings()).get("public_name")
            return {"kind": "member", "displayName": text(name) or instance.domain, "domain": instance.domain}


def _member(member: Mapping[str, Any]) -> dict[str, str]:
    actor = {"kind": "member"}
    name = text(member.get("public_name")) or text(member.get("email")) or text(member.get("name"))
    if name:
        actor["displayName"] = name
    if address := text(member.get("instance")):
        actor["domain"] = urlsplit(address).netloc or address
    return actor
