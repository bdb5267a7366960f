"""Downloading: by id, by path, an old version, and by a secret link (spec/02 §15.2–§15.6)."""

from __future__ import annotations

from typing import Any

from litestar import post, route

from inglenook import wire
from inglenook.files import present, tree
from inglenook.files.antivirus import require_clean
from inglenook.files.documents import Item, text
from inglenook.files.downloading import Download, find_content, framing_policy, send
from inglenook.files.receiving import HttpRequest
from inglenook.files.routes_read import readable, readable_at
from inglenook.files.shapes import shape_of
from inglenook.files.tree import Lineage
from inglenook.files.upload_request import SECRET_SECONDS
from inglenook.files.versions import find_version, version_content
from inglenook.identity.caller import Caller
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest
from inglenook.storage.documents.contract import Content, Reader
from inglenook.wire import Answer

GET_AND_HEAD: Any = ["GET", "HEAD"]
WRONG = "Wrong download token"


async def download_file(caller: Caller, request: HttpRequest, file_id: str) -> Answer:
    """The content of a file by its id."""
    item = await readable(caller, file_id)
    require_clean(caller.instance, item, "download")
    return await send(caller.instance, request, await find_content(caller.instance, item))


async def download_version(caller: Caller, request: HttpRequest, file_id: str, version: str) -> Answer:
    """The content of an old version, under the headers of its file as it is now."""
    item = await readable(caller, file_id)
    if not item.is_file:
        raise tree.missing()
    require_clean(caller.instance, item, "download")
    content = await caller.instance.store.read(lambda view: _content_of(view, f"{file_id}/{version}"))
    return await send(caller.instance, request, Download(item, content, item.name))


async def secret_link(caller: Caller, request: HttpRequest, *, prefix: str = "/files", drive_id: str = "") -> Answer:
    """POST /files/downloads: a link that needs no token for ten minutes."""
    query, instance = request.query_params, caller.instance
    version_id = ""
    if path := query.get("Path"):
        item = await readable_at(caller, path)
    elif id := query.get("Id"):
        item = await readable(caller, id)
    elif version_id := query.get("VersionId", ""):
        item = await readable(caller, version_id.partition("/")[0])
    else:
        raise BadRequest("Path, Id or VersionId is needed")
    if not item.is_file:
        raise tree.missing()
    require_clean(instance, item, "share")
    secret = await keep_link(instance, item, version_id)
    name = query.get("Filename") or item.name
    links = {"related": f"{prefix}/downloads/{secret}/{name}"}
    return wire.jsonapi(present.file_document(shape_of(instance, drive_id), item, links=links))


async def keep_link(instance: Instance, item: Item, version_id: str) -> str:
    """Keep what a secret link opens; gives the secret. Raises NotFound for an unknown version."""
    path = await instance.store.read(lambda view: _path_or_version(view, item, version_id))
    secret = ("v-" if version_id else "") + instance.env.random.bytes(8).hex()
    await instance.ephemeral.put(
        link_key(instance, secret), {"file": item.id, "path": path, "version": version_id}, SECRET_SECONDS
    )
    return secret


async def download_by_secret(instance: Instance, request: HttpRequest, secret: str, name: str) -> Answer:
    """What a secret link opens. The link of a file is bound to its path. Raises BadRequest for a wrong secret."""
    kept = await instance.ephemeral.get(link_key(instance, secret))
    if not isinstance(kept, dict):
        raise BadRequest(WRONG)
    item = await instance.store.read(lambda view: _linked(view, text(kept["file"]), text(kept["path"])))
    require_clean(instance, item, "download")
    if version_id := text(kept["version"]):
        content = await instance.store.read(lambda view: _content_of(view, version_id))
        download = Download(item, content, name)
    else:
        download = await find_content(instance, item)
    return await send(instance, request, download, framing_policy(request, item))


def link_key(instance: Instance, secret: str) -> str:
    """Where it is kept what a secret link opens."""
    return f"{instance.prefix}/download/{secret}"


def _path_or_version(view: Reader, item: Item, version_id: str) -> str:
    if not version_id:
        return tree.path_of(view, item)
    find_version(view, version_id)
    return ""


def _linked(view: Reader, id: str, path: str) -> Item:
    item = tree.find_file(view, id)
    if path and Lineage(view).path(item) != path:
        raise tree.missing()
    return item


def _content_of(view: Reader, version_id: str) -> Content:
    return version_content(view, find_version(view, version_id))


# -- routes


@route("/files/download/{file_id:str}", http_method=GET_AND_HEAD, status_code=200, opt={"guard": wire.TOKEN})
async def download(caller: Caller, request: HttpRequest, file_id: str) -> Answer:
    """Download a file."""
    return await download_file(caller, request, file_id)


@route(
    "/files/download/{file_id:str}/{version:str}",
    http_method=GET_AND_HEAD,
    status_code=200,
    opt={"guard": wire.TOKEN},
)
async def download_old(caller: Caller, request: HttpRequest, file_id: str, version: str) -> Answer:
    """Download an old version."""
    return await download_version(caller, request, file_id, version)


@route("/files/download", http_method=GET_AND_HEAD, status_code=200, opt={"guard": wire.TOKEN})
async def download_at(caller: Caller, request: HttpRequest) -> Answer:
    """Download a file by its path."""
    item = await readable_at(caller, request.query_params.get("Path", ""))
    require_clean(caller.instance, item, "download")
    found = await find_content(caller.instance, item)
    return await send(caller.instance, request, found, framing_policy(request, item))


@post("/files/downloads", opt={"guard": wire.TOKEN})
async def make_link(caller: Caller, request: HttpRequest) -> Answer:
    """Make a secret link."""
    return await secret_link(caller, request)


@route(
    "/files/downloads/{secret:str}/{name:str}", http_method=GET_AND_HEAD, status_code=200, opt={"guard": wire.SECRET}
)
async def follow_link(instance: Instance, request: HttpRequest, secret: str, name: str) -> Answer:
    """Download by a secret link."""
    return await download_by_secret(instance, request, secret, name)


ROUTES = [download, download_old, download_at, make_link, follow_link]
