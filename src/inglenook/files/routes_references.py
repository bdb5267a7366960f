"""References from files to other documents, seen from both ends, and directories left out on clients
(spec/02 §19, spec/01 §11)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec
from litestar import delete, get, post

from inglenook import wire
from inglenook.files import access, present, tree
from inglenook.files.authorship import stamp_of
from inglenook.files.documents import FILES, Item
from inglenook.files.paging_request import MOST_REFERENCES, REFERENCES_LIMIT, read_paging, reference_position
from inglenook.files.receiving import HttpRequest
from inglenook.files.references import (
    LEFT_OUT_ORDER,
    ORDERS,
    Order,
    add_references,
    check_references,
    find_all,
    leave_out,
    referring,
    remove_references,
    take_in,
    with_legacy_form,
)
from inglenook.files.shapes import shape_of
from inglenook.files.stamps import Stamp
from inglenook.files.tree import Lineage
from inglenook.identity.caller import Caller
from inglenook.kernel import jsonapi
from inglenook.kernel.errors import BadRequest, Forbidden
from inglenook.kernel.jsonapi import Reference
from inglenook.kernel.permissions import Permit
from inglenook.storage.documents.contract import Reader, Writer
from inglenook.wire import Answer

Change = Callable[[Writer, Item, Iterable[Reference], Stamp], Item]

NOT_ON_FILES = "Cannot add not_synchronized_on on files"


# -- from the file


async def change_references(
    caller: Caller, request: HttpRequest, id: str, verb: str, change: Change, *, member: str
) -> Answer:
    """Change the references of one item; the answer lists those it has then."""
    references = jsonapi.parse_references(await wire.read_body(request))
    check_references(references)
    permit, stamp = await caller.permit(), await stamp_of(caller)

    def write(tx: Writer) -> Item:
        item = tree.find(tx, id) if member == "referenced_by" else tree.find_directory(tx, id)
        access.require(permit, verb, item, Lineage(tx))
        return change(tx, item, references, stamp)

    item = await caller.instance.store.write(write)
    data = item.references if member == "referenced_by" else item.not_synchronized_on
    return _uncompressed(jsonapi.document(data, meta={"rev": item.rev, "count": len(data)}))


@post("/files/{file_id:str}/relationships/referenced_by", status_code=200, opt={"guard": wire.TOKEN})
async def add(caller: Caller, request: HttpRequest, file_id: str) -> Answer:
    """Add references to a file or directory."""
    return await change_references(caller, request, file_id, "PATCH", add_references, member="referenced_by")


@delete("/files/{file_id:str}/relationships/referenced_by", status_code=200, opt={"guard": wire.TOKEN})
async def remove(caller: Caller, request: HttpRequest, file_id: str) -> Answer:
    """Remove references of a file or directory."""
    return await change_references(caller, request, file_id, "DELETE", remove_references, member="referenced_by")


@post("/files/{dir_id:str}/relationships/not_synchronized_on", status_code=200, opt={"guard": wire.TOKEN})
async def leave_directory_out(caller: Caller, request: HttpRequest, dir_id: str) -> Answer:
    """Leave a directory out on a client."""
    return await change_references(caller, request, dir_id, "PATCH", leave_out, member="not_synchronized_on")


@delete("/files/{dir_id:str}/relationships/not_synchronized_on", status_code=200, opt={"guard": wire.TOKEN})
async def take_directory_in(caller: Caller, request: HttpRequest, dir_id: str) -> Answer:
    """Synchronize a directory on a client again."""
    return await change_references(caller, request, dir_id, "PATCH", take_in, member="not_synchronized_on")


# -- from the document that refers


async def list_referring(caller: Caller, request: HttpRequest, reference: Reference, order: Order, name: str) -> Answer:
    """A page of the items that carry a reference."""
    instance, query = caller.instance, request.query_params
    _require_on_document(await caller.permit(), "GET", "GET", reference)
    paging = read_paging(query, REFERENCES_LIMIT, MOST_REFERENCES)
    position = reference_position(paging)
    shape = shape_of(instance)

    def read(view: Reader) -> present.Object:
        page_of = partial(referring, view, order=order, limit=paging.limit, skip=paging.skip, start=position)
        page = page_of(reference)
        if page.total == 0 and "/" in reference.id:
            page = page_of(Reference(reference.type, quote(reference.id, safe="")))
        links: dict[str, str] = {}
        if page.next is not None:
            links["next"] = f"/data/{reference.type}/{reference.id}/relationships/{name}?{paging.query(*page.next)}"
        included = None
        if query.get("include") == "files":
            included = present.item_objects(shape, page.items, Lineage(view))
        data = [{"id": item.id, "type": FILES} for item in page.items]
        return jsonapi.document(data, included, links, {"count": page.total})

    return _uncompressed(await instance.store.read(read))


async def change_items(caller: Caller, request: HttpRequest, reference: Reference, verb: str, change: Change) -> Answer:
    """Apply a change with one reference to all items that the body lists, or to none."""
    listed = jsonapi.parse_references(await wire.read_body(request))
    _require_on_document(await caller.permit(), verb, "PATCH", reference)
    stamp = await stamp_of(caller)
    directories_only = change in (leave_out, take_in)
    references = with_legacy_form(reference) if change in (remove_references, take_in) else [reference]

    def write(tx: Writer) -> None:
        found = find_all(tx, [entry.id for entry in listed])
        if directories_only and not all(item.is_directory for item in found):
            raise BadRequest(NOT_ON_FILES)
        for item in found:
            change(tx, item, references, stamp)

    await caller.instance.store.write(write)
    return wire.no_content()


def _require_on_document(permit: Permit, verb: str, verb_on_files: str, reference: Reference) -> None:
    """A right on the document that refers, or on all files. Raises Forbidden."""
    if not permit.allows_id(verb, reference.type, reference.id) and not permit.allows_type(verb_on_files, FILES):
        raise Forbidden


def _uncompressed(document: jsonapi.Object) -> Answer:
    return Answer(msgspec.json.encode(document), media_type=wire.JSONAPI)


_REFERENCES = "/data/{doctype:str}/{doc_id:str}/relationships/references"
_NOT_SYNCHRONIZING = "/data/{doctype:str}/{doc_id:str}/relationships/not_synchronizing"


@get(_REFERENCES, opt={"guard": wire.TOKEN})
async def list_references(caller: Caller, request: HttpRequest, doctype: str, doc_id: str) -> Answer:
    """The files and directories that refer to a document."""
    order = ORDERS.get(request.query_params.get("sort", ""))
    if order is None:
        raise BadRequest("Invalid sort parameter")
    return await list_referring(caller, request, Reference(doctype, doc_id), order, "references")


@post(_REFERENCES, opt={"guard": wire.TOKEN})
async def add_to_all(caller: Caller, request: HttpRequest, doctype: str, doc_id: str) -> Answer:
    """Make files and directories refer to a document."""
    return await change_items(caller, request, Reference(doctype, doc_id), "PUT", add_references)


@delete(_REFERENCES, status_code=200, opt={"guard": wire.TOKEN})
async def remove_from_all(caller: Caller, request: HttpRequest, doctype: str, doc_id: str) -> Answer:
    """Make files and directories refer to a document no longer."""
    return await change_items(caller, request, Reference(doctype, doc_id), "DELETE", remove_references)


@get(_NOT_SYNCHRONIZING, opt={"guard": wire.TOKEN})
async def list_left_out(caller: Caller, request: HttpRequest, doctype: str, doc_id: str) -> Answer:
    """The directories that a client leaves out."""
    return await list_referring(caller, request, Reference(doctype, doc_id), LEFT_OUT_ORDER, "not_synchronizing")


@post(_NOT_SYNCHRONIZING, opt={"guard": wire.TOKEN})
async def leave_all_out(caller: Caller, request: HttpRequest, doctype: str, doc_id: str) -> Answer:
    """Leave directories out on a client."""
    return await change_items(caller, request, Reference(doctype, doc_id), "PUT", leave_out)


@delete(_NOT_SYNCHRONIZING, status_code=200, opt={"guard": wire.TOKEN})
async def take_all_in(caller: Caller, request: HttpRequest, doctype: str, doc_id: str) -> Answer:
    """Synchronize directories on a client again."""
    return await change_items(caller, request, Reference(doctype, doc_id), "DELETE", take_in)


ROUTES: list[Any] = [
    add,
    remove,
    leave_directory_out,
    take_directory_in,
    list_references,
    add_to_all,
    remove_from_all,
    list_left_out,
    leave_all_out,
    take_all_in,
]
