"""Routes of indexes, queries and design documents (spec/01 §8)."""

from __future__ import annotations

from urllib.parse import unquote

from litestar import delete, post, route

from inglenook import wire
from inglenook.documents import all_docs, answers, query_parameters
from inglenook.documents.answers import HttpRequest
from inglenook.documents.mango import definitions, find
from inglenook.documents.mango.requests import IndexRequest, Query
from inglenook.documents.presenting import assemble
from inglenook.documents.routes_documents import DATABASE, FORWARDED, GUARDED, READING
from inglenook.identity.caller import Caller
from inglenook.kernel import doctypes
from inglenook.kernel.errors import BadRequest
from inglenook.wire import Answer

DESIGN_DOCUMENT = f"{DATABASE}/_design/{{name:str}}"


@post(f"{DATABASE}/_index", opt=GUARDED, status_code=200)
async def create_index(doctype: str, request: HttpRequest, caller: Caller) -> Answer:
    """Make an index; it can be used at once. The GET verb is enough."""
    body = await answers.document_body(request)
    await _may_read(caller, doctype)
    wanted = IndexRequest.read(body)
    made = await caller.instance.store.write(lambda tx: definitions.create(tx, doctype, wanted))
    return wire.plain_json({"result": made.result, "id": made.id, "name": made.name})


@post(f"{DATABASE}/_find", opt=GUARDED, status_code=200)
async def find_documents(doctype: str, request: HttpRequest, caller: Caller) -> Answer:
    """The documents that match a selector."""
    body = await answers.document_body(request)
    await _may_read(caller, doctype)
    query = Query.read(body)
    return wire.plain_json(await find.answer(caller.instance.store, caller.instance.env.clock, doctype, query))


@route(f"{DATABASE}/_design_docs", http_method=READING, opt=FORWARDED, status_code=200)
async def list_design_documents(doctype: str, request: HttpRequest, caller: Caller) -> Answer:
    """The design documents, the built-in ones too."""
    await _may_read(caller, doctype)
    options = query_parameters.list_options(dict(request.query_params), {})
    return wire.plain_json(await caller.instance.store.read(lambda view: all_docs.design_rows(view, doctype, options)))


@route(DESIGN_DOCUMENT, http_method=READING, opt=FORWARDED, status_code=200)
async def read_design_document(doctype: str, name: str, request: HttpRequest, caller: Caller) -> Answer:
    """One design document."""
    await _may_read(caller, doctype)
    id = definitions.DESIGN + name
    document = await caller.instance.store.read(lambda view: definitions.require(view, doctype, id))
    return answers.revalidated(request, document.rev, assemble(document, document.raw) + b"\n")


@delete(DESIGN_DOCUMENT, opt=GUARDED, status_code=200)
async def delete_design_document(doctype: str, name: str, request: HttpRequest, caller: Caller) -> Answer:
    """Delete a design document with its indexes. The built-in ones stay."""
    await _may_read(caller, doctype)
    rev = request.query_params.get("rev", "")
    if not rev:
        return wire.plain_json({"error": "You must pass a rev param"}, 400)
    if definitions.is_built_in(doctype, name):
        return wire.plain_json({"error": "This design doc cannot be deleted"}, 403)
    id = definitions.DESIGN + name
    tombstone = await caller.instance.store.write(lambda tx: definitions.delete(tx, doctype, id, rev))
    return wire.plain_json({"ok": True, "id": id, "rev": tombstone.rev})


@post(f"{DESIGN_DOCUMENT}/copy", opt=FORWARDED, status_code=201)
async def copy_design_document(doctype: str, name: str, request: HttpRequest, caller: Caller) -> Answer:
    """Copy a design document to the one that the header `Destination` names, nothing else."""
    await _may_read(caller, doctype)
    destination = request.headers.get("destination", "")
    if not destination:
        return wire.plain_json("You must set a Destination header", 400)
    target, _, query = destination.partition("?")
    target = unquote(target)
    if not target.startswith(definitions.DESIGN) or target == definitions.DESIGN:
        raise BadRequest("A design document can only be copied to a design document")
    rev = query.removeprefix("rev=") or None
    source = definitions.DESIGN + name
    copied = await caller.instance.store.write(lambda tx: definitions.copy(tx, doctype, source, target, rev))
    return wire.plain_json({"ok": True, "id": target, "rev": copied.rev}, 201)


async def _may_read(caller: Caller, doctype: str) -> None:
    doctypes.check_readable(doctype)
    (await caller.permit()).require_type("GET", doctype)


ROUTES = [
    create_index,
    find_documents,
    list_design_documents,
    read_design_document,
    delete_design_document,
    copy_design_document,
]
