"""Routes of imports: asking for one, its page, and being told when it is over (spec/12 §7)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import msgspec
from litestar import Request, WebSocket, delete, get, post
from litestar.exceptions import WebSocketDisconnect
from litestar.handlers import websocket

from inglenook import wire
from inglenook.identity import pages
from inglenook.identity.caller import Caller, caller_of
from inglenook.identity.instance import Instance
from inglenook.kernel import jsonapi
from inglenook.kernel.errors import BadRequest, DocumentNotFound, InvalidParameter, TooLarge
from inglenook.moving import blocking, fetching, import_job, jobs, moves
from inglenook.moving.blocking import MOVING
from inglenook.moving.import_job import ImportRequest
from inglenook.moving.summary import IMPORTS
from inglenook.storage.documents.contract import Content, Reader
from inglenook.wire import Answer

HttpRequest = Request[Any, Any, Any]
LOOK_SECONDS = 2.0
SUBPROTOCOL = "io.cozy.websocket"
LINES = "application/jsonl"


@post("/move/imports/precheck", opt={"guard": wire.TOKEN})
async def precheck(caller: Caller, request: HttpRequest) -> Answer:
    """Whether the export behind a link can be taken in here."""
    (await caller.permit()).require_type("POST", IMPORTS)
    asked = await _read(request)
    told = await fetching.manifest(caller.instance, asked.url)
    _not_own(caller.instance, told.address)
    try:
        fetching.check_quota(caller.instance, told)
    except TooLarge as error:
        raise TooLarge(error.detail, parameter="url") from error
    return wire.no_content()


@post("/move/imports", opt={"guard": wire.TOKEN})
async def ask_import(caller: Caller, request: HttpRequest) -> Answer:
    """Take the export behind a link in, in place of everything that is here."""
    (await caller.permit()).require_type("POST", IMPORTS)
    asked = await _read(request)
    instance = caller.instance
    told = await fetching.manifest(instance, asked.url)
    _not_own(instance, told.address)
    fetching.check_quota(instance, told)
    queued = await instance.registry.registry.read(lambda view: jobs.of_instance(view, instance.prefix))
    if not any(job.kind == "import" for job in queued):  # asked for twice: one is enough
        await import_job.queue(instance, msgspec.structs.replace(asked, url=told.address))
    return wire.redirect(caller.url("/move/importing"))


@get("/move/imports/{import_id:str}/failures", opt={"guard": wire.TOKEN})
async def read_failures(import_id: str, caller: Caller) -> Answer:
    """Everything that an import could not take in as it was: one JSON object on each line."""
    (await caller.permit()).require_type("GET", IMPORTS)
    instance = caller.instance

    def read(view: Reader) -> tuple[bool, Content | None]:
        return view.get(IMPORTS, import_id) is not None, view.content(IMPORTS, import_id)

    known, content = await instance.store.read(read)
    if not known:
        raise DocumentNotFound
    headers = {"content-disposition": f'attachment; filename="import-{import_id}.jsonl"'}
    if content is None:
        return Answer(b"", media_type=LINES, headers=headers)
    headers["content-length"] = str(content.size)
    return wire.streamed(instance.contents.read(content), media_type=LINES, headers=headers)


@get("/move/importing", opt={"guard": wire.PUBLIC})
async def importing_page(caller: Caller) -> Answer:
    """How far the import is, in neutral words."""
    job = await _job(caller.instance)
    doc = caller.instance.doc
    settings = await caller.instance.settings()
    source = settings.get("moved_from")
    waits = await _waits(caller.instance)
    moves = doc.blocking_reason == MOVING or bool(job and job.request.get("move_from"))
    percent = min(100 * job.done // job.total, 100) if job is not None and job.total else None
    answer = pages.page(
        caller,
        "importing.html",
        waits=waits,
        moves=moves,
        source=source if isinstance(source, str) else "",
        stage=job.stage if job is not None else "",
        percent=percent,
        target=caller.url("/auth/login"),
    )
    answer.headers["cache-control"] = "no-store"
    return answer


@post("/move/importing", opt={"guard": wire.TOKEN})
async def begin_move_here(caller: Caller, request: HttpRequest) -> Answer:
    """An instance of elsewhere is going to move here: nobody else may use this one until it has."""
    permit = await caller.permit()
    permit.require_type("POST", IMPORTS)
    instance = caller.instance
    source = _host(request.query_params.get("source") or "")
    if instance.owns_host(source) or source == instance.doc.old_domain:
        raise InvalidParameter("An instance cannot move to itself", parameter="source")
    await moves.expect(instance, permit, source)
    return wire.no_content()


@delete("/settings/instance/moved_from", opt={"guard": wire.SESSION}, status_code=200)
async def forget_moved_from(caller: Caller) -> Answer:
    """The owner has seen from where the instance has moved."""
    if await caller.session() is None:
        return wire.text("Unauthorized", 401)
    await moves.forget_settings(caller.instance, "moved_from")
    return wire.no_content()


@websocket("/move/importing/realtime", opt={"guard": wire.PUBLIC})
async def importing_events(socket: WebSocket[Any, Any, Any]) -> None:
    """One message when the import is over: where to go."""
    caller = caller_of(socket)
    offered = socket.headers.get("sec-websocket-protocol", "")
    await socket.accept(subprotocols=SUBPROTOCOL if SUBPROTOCOL in offered else None)
    with suppress(WebSocketDisconnect):
        gone = asyncio.ensure_future(socket.receive_data("text"))
        try:
            while await _waits(caller.instance) and not gone.done():
                await asyncio.wait([gone], timeout=LOOK_SECONDS)
            if not gone.done():
                await socket.send_json({"redirect": caller.url("/auth/login")})
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
        await socket.close()


async def _waits(instance: Instance) -> bool:
    """Whether people have to wait: for an import, or for what comes before it in a move, or for one of a command.

    As long as that is so the instance sends them to this page: who was sent away from it would come back at once."""
    if instance.doc.blocked and instance.doc.blocking_reason in blocking.OURS:
        return True
    return await _job(instance) is not None


async def _job(instance: Instance) -> jobs.Job | None:
    queued = await instance.registry.registry.read(lambda view: jobs.of_instance(view, instance.prefix))
    return next((job for job in queued if job.kind == "import"), None)


async def _read(request: HttpRequest) -> ImportRequest:
    attributes = dict(jsonapi.parse_document(await wire.read_body(request)).attributes)
    try:
        return msgspec.convert(attributes, ImportRequest)
    except msgspec.ValidationError as error:
        raise BadRequest(jsonapi.MALFORMED) from error


def _not_own(instance: Instance, address: str) -> None:
    """Refuse the instance's own export. Raises InvalidParameter."""
    host = urlsplit(address).netloc.lower()
    if instance.owns_host(host) or host == instance.doc.old_domain:
        raise InvalidParameter("This is the export of this very instance", parameter="url")


def _host(source: str) -> str:
    """A host, given as it is or in an address. Raises InvalidParameter."""
    host = urlsplit(source).netloc if "://" in source else source.strip().rstrip("/")
    if not host or len(host) > 255 or any(character in "/?#@ \\" or character < " " for character in host):
        raise InvalidParameter("The source must be a host", parameter="source")
    return host.lower()


ROUTES: list[Any] = [
    precheck, ask_import, read_failures, importing_page, begin_move_here, forget_moved_from, importing_events,
]  # fmt: skip
