"""Reading files and directories by id and by path (spec/02 §14.1–§14.5)."""

from __future__ import annotations

from litestar import get, route

from inglenook import wire
from inglenook.files import access, tree
from inglenook.files.documents import Item
from inglenook.files.quota import size_below
from inglenook.files.reading import children_document, whole_document
from inglenook.files.receiving import HttpRequest
from inglenook.files.shapes import shape_of
from inglenook.files.share_limit import count_read
from inglenook.files.tree import Lineage
from inglenook.identity.caller import Caller
from inglenook.identity.instance import Instance
from inglenook.kernel import jsonapi
from inglenook.kernel.errors import BadRequest
from inglenook.kernel.names import clean_path
from inglenook.kernel.permissions import Permit
from inglenook.storage.documents.contract import Reader
from inglenook.wire import Answer


async def readable(caller: Caller, id: str, verb: str = "GET") -> Item:
    """A file or directory that the caller may read (or what the verb says).

    Raises NotFound, Forbidden and what `Caller.permit` raises; a missing token is told before a missing file."""
    permit = await caller.permit()
    return await caller.instance.store.read(lambda view: allowed(view, permit, verb, tree.find(view, id)))


async def readable_at(caller: Caller, path: str, verb: str = "GET") -> Item:
    """What is at a path, if the caller may read it. Raises as `readable`, BadRequest for a relative path."""
    permit = await caller.permit()
    cleaned = clean_path(path)
    return await caller.instance.store.read(lambda view: allowed(view, permit, verb, tree.by_path(view, cleaned)))


def allowed(view: Reader, permit: Permit, verb: str, item: Item) -> Item:
    """The item, if the permit opens it for a verb. Raises Forbidden."""
    access.require(permit, verb, item, Lineage(view))
    return item


async def size_answer(instance: Instance, directory: Item) -> Answer:
    """The bytes of all files below a directory."""
    size = await instance.store.scan(lambda view: size_below(view, directory.id))
    return wire.jsonapi(jsonapi.document(jsonapi.resource("io.cozy.files.sizes", directory.id, {"size": str(size)})))


# -- routes


async def item_answer(caller: Caller, request: HttpRequest, id: str, *, drive_id: str = "") -> Answer:
    """GET /files/:file-id: a file with its versions, or a directory with a page of its content."""
    permit = await caller.permit()
    shape, query = shape_of(caller.instance, drive_id), request.query_params
    found = await caller.instance.store.read(
        lambda view: whole_document(view, shape, query, allowed(view, permit, "GET", tree.find(view, id)))
    )
    return wire.jsonapi_revalidated(request, found)


async def item_at_answer(caller: Caller, request: HttpRequest, *, drive_id: str = "") -> Answer:
    """GET /files/metadata: the same by path."""
    permit, query = await caller.permit(), request.query_params
    shape, path = shape_of(caller.instance, drive_id), clean_path(query.get("Path", ""))
    found = await caller.instance.store.read(
        lambda view: whole_document(view, shape, query, allowed(view, permit, "GET", tree.by_path(view, path)))
    )
    return wire.jsonapi_revalidated(request, found)


@route("/files/{file_id:str}", http_method=["GET", "HEAD"], status_code=200, opt={"guard": wire.TOKEN})
async def get_item(caller: Caller, request: HttpRequest, file_id: str) -> Answer:
    """A file or directory by its id."""
    if request.method == "GET":
        await count_read(caller, file_id)
    return await item_answer(caller, request, file_id)


@route("/files/metadata", http_method=["GET", "HEAD"], status_code=200, opt={"guard": wire.TOKEN})
async def get_by_path(caller: Caller, request: HttpRequest) -> Answer:
    """A file or directory by its path."""
    return await item_at_answer(caller, request)


@get("/files/{file_id:str}/relationships/contents", opt={"guard": wire.TOKEN})
async def get_contents(caller: Caller, request: HttpRequest, file_id: str) -> Answer:
    """A page of what is in a directory."""
    item = await readable(caller, file_id)
    if not item.is_directory:
        raise BadRequest(f"cant read children of file {file_id}")
    shape, query, route = shape_of(caller.instance), request.query_params, f"/files/{file_id}/relationships/contents"
    read = caller.instance.store.read
    return wire.jsonapi(await read(lambda view: children_document(view, shape, query, file_id, route)))


@get("/files/{file_id:str}/size", opt={"guard": wire.TOKEN})
async def get_size(caller: Caller, file_id: str) -> Answer:
    """The size of a directory."""
    item = await readable(caller, file_id)
    if not item.is_directory:
        raise tree.missing()
    return await size_answer(caller.instance, item)


ROUTES = [get_item, get_by_path, get_contents, get_size]
