"""Lists over all files and directories: by ids, by a query, and the changes feed (spec/02 §14.6–§14.8)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
from litestar import get, post

from inglenook import wire
from inglenook.documents.mango.find import Found, find, statistics
from inglenook.documents.mango.requests import Query
from inglenook.documents.presenting import project
from inglenook.files import present
from inglenook.files.access import require_whole_type
from inglenook.files.documents import FILES, TRASH_ID, Item
from inglenook.files.feed import FeedOptions, FilesFeed, answer
from inglenook.files.paging_request import read_paging
from inglenook.files.present import Shape
from inglenook.files.receiving import HttpRequest
from inglenook.files.shapes import shape_of
from inglenook.files.tree import Lineage
from inglenook.identity.caller import Caller
from inglenook.identity.instance import Instance
from inglenook.kernel import jsonapi
from inglenook.kernel.errors import BadRequest
from inglenook.storage.documents.contract import Body, Reader
from inglenook.wire import Answer

UNKNOWN_COUNT = 2147483646
FIND_LIMIT = 100
MOST_KEYS_BYTES = 8_000_000
ALWAYS_FOUND = ("type", "class", "size", "trashed")
PAGE = 200

_encode = msgspec.json.Encoder().encode


# -- by ids


class _Keys(msgspec.Struct):
    keys: list[str] | None = None


@post("/files/_all_docs", status_code=200, opt={"guard": wire.TOKEN})
async def all_docs(caller: Caller, request: HttpRequest) -> Answer:
    """Files and directories by their ids; all of them when none is listed."""
    try:
        keys = msgspec.json.decode(await wire.read_body(request, MOST_KEYS_BYTES) or b"{}", type=_Keys).keys
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadRequest(jsonapi.MALFORMED) from error
    require_whole_type(await caller.permit(), "GET")
    pages = _chosen(caller.instance, keys) if keys else _everything(caller.instance)
    return wire.streamed(_list(pages), media_type=wire.JSONAPI, compress=True)


async def _chosen(instance: Instance, ids: list[str]) -> AsyncIterator[list[jsonapi.Object]]:
    shape = shape_of(instance)
    for start in range(0, len(ids), PAGE):
        wanted = ids[start : start + PAGE]
        yield await instance.store.read(lambda view, wanted=wanted: _by_id(view, shape, wanted))


async def _everything(instance: Instance) -> AsyncIterator[list[jsonapi.Object]]:
    shape, last = shape_of(instance), ""
    while True:
        last, objects = await instance.store.read(lambda view, last=last: _after(view, shape, last))
        if objects:
            yield objects
        if not last:
            return


def _by_id(view: Reader, shape: Shape, ids: list[str]) -> list[jsonapi.Object]:
    found = view.get_many(FILES, [id for id in ids if not id.startswith("_")])
    items = [Item.of(document) for document in found if document is not None and not document.deleted]
    return _listed(view, shape, items)


def _after(view: Reader, shape: Shape, last: str) -> tuple[str, list[jsonapi.Object]]:
    documents = view.all_docs(FILES, start=last, skip=1 if last else 0, limit=PAGE)
    items = [Item.of(document) for document in documents if not document.id.startswith("_design/")]
    return documents[-1].id if len(documents) == PAGE else "", _listed(view, shape, items)


def _listed(view: Reader, shape: Shape, items: list[Item]) -> list[jsonapi.Object]:
    shown = [item for item in items if item.id != TRASH_ID]
    return present.item_objects_with_path(shape, shown, Lineage(view))


async def _list(pages: AsyncIterator[list[jsonapi.Object]]) -> AsyncIterator[bytes]:
    count = 0
    async for page in pages:
        if page:
            yield (b"," if count else b'{"data":[') + _encode(page)[1:-1]
            count += len(page)
    yield (b"" if count else b'{"data":[') + b'],"meta":{"count":%d}}' % count


# -- by a query


@post("/files/_find", status_code=200, opt={"guard": wire.TOKEN})
async def find_files(caller: Caller, request: HttpRequest) -> Answer:
    """Files and directories by a selector."""
    try:
        body = msgspec.json.decode(await wire.read_body(request), type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadRequest(jsonapi.MALFORMED) from error
    require_whole_type(await caller.permit(), "GET")
    asked = read_query(body, request)
    instance = caller.instance
    started = instance.env.clock.monotonic()
    found = await find(instance.store, FILES, replace(asked, fields=()))
    milliseconds = 1000 * (instance.env.clock.monotonic() - started)
    shape = shape_of(instance)
    data = await instance.store.read(lambda view: _found(view, shape, asked, found))
    return wire.jsonapi(jsonapi.document(data, None, _links(asked, found), _meta(asked, found, milliseconds)))


def read_query(body: Body, request: HttpRequest) -> Query:
    """The query of a body, with the page that the query string asks for. Raises BadDocument, BadRequest."""
    query = request.query_params
    asked = Query.read(body)
    if query.get("page[limit]"):
        asked = replace(asked, limit=read_paging({"page[limit]": query["page[limit]"]}, FIND_LIMIT).limit)
    if query.get("page[skip]"):
        asked = replace(asked, skip=read_paging({"page[skip]": query["page[skip]"]}, FIND_LIMIT).skip)
    if bookmark := query.get("page[cursor]") or query.get("cursor"):
        asked = replace(asked, bookmark=bookmark)
    return asked


def _found(view: Reader, shape: Shape, asked: Query, found: Found) -> list[jsonapi.Object]:
    lineage = Lineage(view)
    items = [Item.of(document) for document in found.documents]
    if not asked.fields:
        return present.item_objects_with_path(shape, items, lineage)
    fields = tuple(dict.fromkeys((*asked.fields, *ALWAYS_FOUND, *(("dir_id",) if "path" in asked.fields else ()))))
    return [_projected(shape, item, lineage, fields) for item in items]


def _projected(shape: Shape, item: Item, lineage: Lineage, fields: tuple[str, ...]) -> jsonapi.Object:
    """An item with some of its fields only (spec/02 §14.7)."""
    partial = Item(item.id, item.rev, project(item.body, fields))
    path = lineage.path(item) if "path" in fields else None
    if item.is_file:
        return present.file_object(shape, partial, path=path)
    attributes = dict(partial.body) if path is None else {**partial.body, "path": path}
    return present.partial_directory_object(partial, attributes)


def _links(asked: Query, found: Found) -> dict[str, str]:
    if len(found.documents) < asked.limit or not found.bookmark:
        return {}
    return {"next": f"/files/_find?page[cursor]={found.bookmark}"}


def _meta(asked: Query, found: Found, milliseconds: float) -> dict[str, Any]:
    count = len(found.documents)
    meta: dict[str, Any] = {"count": UNKNOWN_COUNT if count >= asked.limit else asked.skip + count}
    if asked.execution_stats:
        meta["execution_stats"] = statistics(found, milliseconds)
    if found.warning:
        meta["warning"] = found.warning
    return meta


# -- what has changed


@get("/files/_changes", opt={"guard": wire.TOKEN})
async def changes(caller: Caller, request: HttpRequest) -> Answer:
    """The changes feed."""
    options = FeedOptions.read(request.query_params)
    permit = await caller.permit()
    require_whole_type(permit, "GET")
    feed = FilesFeed(options, client_id=permit.client_id)
    return wire.streamed(answer(caller.instance.store, feed), media_type=wire.JSON)


ROUTES = [all_docs, find_files, changes]
