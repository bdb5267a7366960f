"""How much space is used (spec/02 §11), and the findings of the last check (§20.1)."""

from __future__ import annotations

from litestar import get

from inglenook import wire
from inglenook.files.access import require_whole_type
from inglenook.files.check import CONTENT_MISMATCH, check_files
from inglenook.files.quota import disk_usage, quota_of, trash_size
from inglenook.files.receiving import HttpRequest
from inglenook.identity.caller import Caller
from inglenook.identity.instance import Instance
from inglenook.kernel import jsonapi
from inglenook.kernel.errors import Forbidden
from inglenook.wire import Answer

SETTINGS = "io.cozy.settings"
DISK_USAGE = "io.cozy.settings.disk-usage"
CHECK_SECONDS = 90 * 24 * 3600.0


@get("/settings/disk-usage", opt={"guard": wire.TOKEN})
async def usage(caller: Caller, instance: Instance, request: HttpRequest) -> Answer:
    """Bytes used, and the quota if there is one, as texts."""
    permit = await caller.permit()
    in_browser = permit.kind == "app" and await caller.session() is not None
    if not (permit.allows_id("GET", SETTINGS, DISK_USAGE) or permit.allows_any_directory() or in_browser):
        raise Forbidden
    used = await instance.store.read(disk_usage)
    attributes = {"used": str(used.total), "files": str(used.files), "versions": str(used.versions)}
    if quota := quota_of(instance):
        attributes["quota"] = str(quota)
    if request.query_params.get("include") == "trash":
        attributes["trash"] = str(await instance.store.scan(trash_size))
    links = {"self": "/settings/disk-usage"}
    return wire.jsonapi(jsonapi.document(jsonapi.resource(SETTINGS, DISK_USAGE, attributes, links=links)))


@get("/files/fsck", opt={"guard": wire.TOKEN})
async def fsck(caller: Caller, instance: Instance, request: HttpRequest) -> Answer:
    """The contents that are not what their documents say; kept for a while, as it takes long."""
    require_whole_type(await caller.permit(), "GET")
    key = f"{instance.prefix}/fsck"
    kept = None if request.query_params.get("NoCache") == "true" else await instance.ephemeral.get(key)
    if kept is None:
        kept = [finding.to_json() async for finding in check_files(instance) if finding.type == CONTENT_MISMATCH]
        spread = 0.9 + instance.env.random.uniform() / 5
        await instance.ephemeral.put(key, kept, CHECK_SECONDS * spread)
    return wire.plain_json(kept)


ROUTES = [usage, fsck]
