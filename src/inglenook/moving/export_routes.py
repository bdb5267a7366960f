"""Routes of exports: asking for one, its document and its parts by the link (spec/12 §7)."""

from __future__ import annotations

from typing import Any

from litestar import Request, delete, get, post, route

from inglenook import wire
from inglenook.identity import throttle
from inglenook.identity.caller import Caller
from inglenook.identity.instance import Instance
from inglenook.kernel import jsonapi
from inglenook.kernel.errors import DocumentNotFound
from inglenook.moving import exporting, exports, jobs, parts, sending
from inglenook.moving.exports import EXPORTS, NotALink, WrongMac
from inglenook.storage.documents.contract import Document
from inglenook.wire import Answer

HttpRequest = Request[Any, Any, Any]
GET_AND_HEAD: Any = ["GET", "HEAD"]
A_DAY = 86_400.0
MOST_A_DAY = 5
COUNTER = "exports"
NAME = "My Cozy"


@post("/move/exports", opt={"guard": wire.TOKEN})
async def ask_export(caller: Caller, request: HttpRequest) -> Answer:
    """Ask for an export of everything: the owner is sent a link when it is ready."""
    (await caller.permit()).require_type("POST", EXPORTS)
    asked = exports.read_request(dict(jsonapi.parse_document(await wire.read_body(request)).attributes))
    if not await within_limit(caller.instance):
        return too_often(request)
    wanted = {"parts_size": asked.parts_size, "seconds": asked.seconds, "doctypes": list(asked.doctypes)}
    await jobs.queue(caller.instance, "export", wanted)
    return Answer(status=201)


def too_often(request: HttpRequest) -> Answer:
    """The answer beyond the limit."""
    return wire.plain_json({"error": "Not found"}, 404) if wire.wants_json(request) else wire.text("Not found", 404)


async def within_limit(instance: Instance) -> bool:
    """Count one more beginning of an export or move; False when there were too many within a day."""
    return await throttle.allowed(instance, COUNTER, MOST_A_DAY, A_DAY)


@get("/move/exports/{mac:str}", opt={"guard": wire.SECRET})
async def read_export(instance: Instance, mac: str) -> Answer:
    """The document of an export, in any state, for whoever has its link."""
    found = await _found(instance, mac)
    if isinstance(found, Answer):
        return found
    return wire.jsonapi(jsonapi.document(jsonapi.resource(EXPORTS, found.id, found.body, found.rev)))


@route("/move/exports/data/{mac:str}", http_method=GET_AND_HEAD, status_code=200, opt={"guard": wire.SECRET})
async def read_part(instance: Instance, request: HttpRequest, mac: str) -> Answer:
    """A part of an export as a zip archive: the first one, or the one of the cursor."""
    found = await _found(instance, mac)
    if isinstance(found, Answer):
        return found
    cursor = request.query_params.get("cursor") or ""
    kept = await instance.store.read(lambda view: parts.parts_of(view, found.id))
    if not kept:
        return wire.text("exports: not found", 404)
    number = next((number for number, part in enumerate(kept) if part.cursor == cursor), None)
    if number is None:
        return wire.text("export: cursor is invalid", 400)
    name = sending.part_name(NAME, number + 1, len(kept))
    return sending.send(instance, dict(request.headers), kept[number], name)


@delete("/move/exports/{mac:str}", opt={"guard": wire.SESSION}, status_code=200)
async def end_export(caller: Caller, mac: str) -> Answer:
    """The end of an export, by its id or its link: nobody can download it any more."""
    if await caller.session() is None:
        return wire.text("exports: a session is needed", 401)
    instance = caller.instance
    try:
        id = exports.id_of(instance, mac)
    except (NotALink, WrongMac):
        id = mac
    if await instance.store.read(lambda view: view.get(EXPORTS, id)) is None:
        raise DocumentNotFound
    await exporting.drop(instance, id)
    return wire.no_content()


async def _found(instance: Instance, mac: str) -> Document | Answer:
    """The export of a link, or the refusal in plain text."""
    try:
        id = exports.id_of(instance, mac)
    except NotALink as error:
        return wire.text(error.detail, 400)
    except WrongMac as error:
        return wire.text(error.detail, 401)
    document = await instance.store.read(lambda view: view.get(EXPORTS, id))
    if document is None:
        return wire.text("exports: not found", 404)
    if exports.is_over(document, instance.env.clock.now()):
        return wire.text("exports: has expired", 404)
    return document


ROUTES: list[Any] = [ask_export, read_export, read_part, end_export]
