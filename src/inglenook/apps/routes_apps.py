"""Routes of the installed apps: list, show, install, update, remove, icon, files (spec/03 §12.3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Request, delete, get, post, put

from inglenook.apps import (
    documents,
    export,
    installing,
    lazy_updates,
    manifest,
    page_variables,
    registries,
    sources,
    stored_files,
)
from inglenook.apps.background import Installation
from inglenook.apps.documents import APPS
from inglenook.identity.caller import Caller
from inglenook.kernel import jsonapi as json_documents
from inglenook.kernel.errors import (
    AuthError,
    DocumentNotFound,
    DomainError,
    Forbidden,
    InvalidParameter,
    NotFound,
)
from inglenook.kernel.permissions import Permit
from inglenook.storage.documents.contract import Document
from inglenook.wire import PUBLIC, TOKEN, Answer, jsonapi, redirect, streamed

PAGE = 100
MOST = 1000
STILL_WORKING_SECONDS = 10.0
EVENT_STREAM = "text/event-stream"
STORE = "store"
NO_TOKEN = "code=401, message=No token in request"  # noqa: S105


@get("/apps", opt={"guard": TOKEN})
async def list_apps(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """The installed apps."""
    (await caller.permit()).require_type("GET", APPS)
    limit = _limit(request.query_params.get("limit"))
    start = request.query_params.get("start_key") or ""
    found = await caller.instance.store.read(lambda view: documents.page(view, start=start, limit=limit + 1))
    links: dict[str, str] = {}
    if len(found) > limit:
        links["next"] = "/apps/?" + urlencode({"limit": limit, "start_key": found[limit].id})
    items = [_resource(caller, document) for document in found[:limit]]
    return jsonapi(json_documents.document(items, links=links, meta={"count": len(items)}))


@get("/apps/{slug:str}", opt={"guard": TOKEN})
async def show_app(slug: str, caller: Caller) -> Answer:
    """One app."""
    document = await _readable(caller, slug)
    lazy_updates.consider(caller.instance, document)
    return jsonapi(json_documents.document(_resource(caller, document)))


@post("/apps/{slug:str}", opt={"guard": TOKEN})
async def install_app(slug: str, request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """A new app."""
    permit = await caller.permit()
    source = request.query_params.get("Source") or ""
    _require_change(caller, permit, "POST", source or sources.default(slug))
    instance = caller.instance
    installation = Installation(instance, lambda told: installing.install(instance, slug, source, told))
    return await _progress(request, caller, installation)


@put("/apps/{slug:str}", opt={"guard": TOKEN})
async def update_app(slug: str, request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """A newer version of an app."""
    permit = await caller.permit()
    source = request.query_params.get("Source") or ""
    _require_change(caller, permit, "POST", source)
    acknowledged = (request.query_params.get("PermissionsAcked") or "").lower() in ("true", "1")
    instance = caller.instance
    installation = Installation(
        instance, lambda told: installing.update(instance, slug, source, acknowledged=acknowledged, told=told)
    )
    return await _progress(request, caller, installation)


@delete("/apps/{slug:str}", opt={"guard": TOKEN}, status_code=200)
async def remove_app(slug: str, caller: Caller) -> Answer:
    """The end of an app."""
    permit = await caller.permit()
    _require_change(caller, permit, "DELETE", "registry://")
    document = await installing.uninstall(caller.instance, slug)
    return jsonapi(json_documents.document(_resource(caller, document)))


@get(["/apps/{slug:str}/icon", "/apps/{slug:str}/icon/{version:str}"], opt={"guard": PUBLIC})
async def show_icon(slug: str, request: Request[Any, Any, Any], caller: Caller, version: str = "") -> Answer:
    """The icon of an app, for a logged-in browser or a token that may read the app."""
    instance = caller.instance
    document = await instance.store.read(lambda view: documents.get(view, slug))
    if await caller.session() is None:
        try:
            permit = await caller.permit_or_none()
        except AuthError as error:
            raise NotAllowed(error.detail) from error
        if permit is None:
            raise NotAllowed(NO_TOKEN)
        _require_reading(permit, document)
    if document is None:
        raise NotFound(documents.NOT_INSTALLED)
    path = "/" + manifest.text(document.body, "icon").removeprefix("./").lstrip("/")
    found = await instance.store.read(lambda view: stored_files.look_up(view, slug, path))
    if found is None:
        raise NotFound("The app has no icon")
    etag = f'"{found.content.sha256[:32]}"'
    headers = {"etag": etag, "cache-control": "max-age=31536000, immutable" if version else "no-cache"}
    if etag in request.headers.get("if-none-match", ""):
        return Answer(status=304, headers=headers)
    headers["content-length"] = str(found.content.size)
    chunks = instance.contents.read(found.content)
    return streamed(chunks, media_type=stored_files.mime_of(path), headers=headers)


@get("/apps/{slug:str}/open", opt={"guard": TOKEN})
async def open_app(slug: str, caller: Caller) -> Answer:
    """What the page of an app is given, for an application that shows it in a view of its own."""
    (await caller.permit()).require_maximal()
    document = await caller.instance.store.read(lambda view: documents.find(view, slug))
    session = await caller.session()
    token = page_variables.app_token(caller.instance, slug, session)
    variables = await page_variables.variables(caller, document, token=token, logged_in=session is not None)
    attributes = {name: value if isinstance(value, bool) else str(value) for name, value in variables.items()}
    links = {"self": f"/apps/{slug}/open"}
    return jsonapi(json_documents.document(json_documents.resource(f"{APPS}.open", slug, attributes, links=links)))


@get(["/apps/{slug:str}/download", "/apps/{slug:str}/download/{version:str}"], opt={"guard": TOKEN})
async def download_app(slug: str, caller: Caller, version: str = "") -> Answer:
    """The files of an app: where the registry has its archive, else an archive of what is here."""
    document = await _readable(caller, slug)
    if version and version != document.body.get("version"):
        raise NotFound("This version is not installed")
    if str(document.body.get("source") or "").startswith("registry://"):
        with suppress(DomainError):  # the files are here as well
            release = await registries.find(caller.instance, f"registry://{slug}/{document.body['version']}")
            return redirect(release.url)
    headers = {"content-disposition": f'attachment; filename="{slug}.tar.gz"'}
    return streamed(export.archive(caller.instance, slug), media_type="application/gzip", headers=headers)


# -- konnectors, of which there are none


@get("/konnectors", opt={"guard": TOKEN})
async def list_konnectors(caller: Caller) -> Answer:
    """This server runs no konnectors: an empty list."""
    (await caller.permit()).require_type("GET", "io.cozy.konnectors")
    return jsonapi(json_documents.document([], links={}, meta={"count": 0}))


@get("/konnectors/{slug:str}", opt={"guard": TOKEN})
async def show_konnector(slug: str, caller: Caller) -> Answer:
    """No konnector is installed."""
    (await caller.permit()).require_id("GET", "io.cozy.konnectors", f"io.cozy.konnectors/{slug}")
    raise NotFound(documents.NOT_INSTALLED)


# -- private parts


class NotAllowed(AuthError):
    """401 in the plain family."""


async def _readable(caller: Caller, slug: str) -> Document:
    permit = await caller.permit()
    document = await caller.instance.store.read(lambda view: documents.get(view, slug))
    _require_reading(permit, document)
    if document is None:
        raise NotFound(documents.NOT_INSTALLED)
    return document


def _require_reading(permit: Permit, document: Document | None) -> None:
    if document is None:
        # What does not exist is told to who may look at some app at least.
        if not any(rule.covers_type(APPS) and rule.has_verb("GET") for rule in permit.rules):
            raise Forbidden
    else:
        permit.require_document("GET", APPS, document.id, document.body)


def _require_change(caller: Caller, permit: Permit, verb: str, source: str) -> None:
    """Who may install, update and remove apps, and from where (spec/03 §12.3). Raises Forbidden."""
    permit.require_type(verb, APPS)
    if permit.is_maximal or permit.kind == "cli":
        return
    allowed = caller.instance.context_settings.get("allow_install_via_a_permission") is True
    is_store = permit.kind == "app" and permit.slug == "store"
    known = permit.kind in ("app", "konnector", "oauth")
    if not known or not (is_store or allowed) or not source.startswith("registry://"):
        raise Forbidden


async def _progress(request: Request[Any, Any, Any], caller: Caller, installation: Installation) -> Answer:
    """202 with the first state, or a stream of all states for who asks for one."""
    first = await installation.next()
    if first is None:
        raise DocumentNotFound
    if request.headers.get("accept", "").strip() == EVENT_STREAM:
        return streamed(_events(caller, first, installation), media_type=EVENT_STREAM,
                        headers={"cache-control": "no-store"})  # fmt: skip
    return jsonapi(json_documents.document(_resource(caller, first)), 202)


async def _events(caller: Caller, first: Document, installation: Installation) -> AsyncIterator[bytes]:
    state: Document | None = first
    while state is not None:
        document = msgspec.json.encode(json_documents.document(_resource(caller, state)))
        yield b"event: state\r\ndata: " + document + b"\r\n\r\n"
        waiting = asyncio.ensure_future(installation.next())
        try:
            while not (await asyncio.wait([waiting], timeout=STILL_WORKING_SECONDS))[0]:
                yield b": still working\r\n\r\n"
            state = waiting.result()
        except DomainError as error:
            yield b"event: error\r\ndata: " + msgspec.json.encode(error.detail) + b"\r\n\r\n"
            return
        finally:
            waiting.cancel()


def _resource(caller: Caller, document: Document) -> json_documents.Object:
    return documents.resource(caller.instance, document, host=caller.domain)


def _limit(text: str | None) -> int:
    if not text:
        return PAGE
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) == 0:
        raise InvalidParameter("The limit of a page must be a number", parameter="limit")
    return min(int(text), MOST)


ROUTES: list[Any] = [
    list_apps, show_app, install_app, update_app, remove_app, show_icon, open_app, download_app, list_konnectors,
    show_konnector,
]  # fmt: skip
