"""The trash, and destroying for good (spec/02 §18)."""

from __future__ import annotations

from litestar import delete, get, post

from inglenook import wire
from inglenook.files import access, tree
from inglenook.files.antivirus import require_clean
from inglenook.files.authorship import stamp_of, trash_stamp_of
from inglenook.files.destroy import clear_trash, destroy
from inglenook.files.documents import TRASH_ID, Item
from inglenook.files.modify import refuse_system
from inglenook.files.reading import children_document, plain_answer
from inglenook.files.receiving import HttpRequest
from inglenook.files.revisions import check_revision, expected_revision
from inglenook.files.routes_read import readable
from inglenook.files.shapes import shape_of
from inglenook.files.trash import restore, trash
from inglenook.files.tree import Lineage
from inglenook.identity.caller import Caller
from inglenook.storage.documents.contract import Writer
from inglenook.wire import Answer


async def send_to_trash(caller: Caller, request: HttpRequest, id: str, *, drive_id: str = "") -> Answer:
    """DELETE /files/:file-id."""
    instance = caller.instance
    expected = expected_revision(request)
    require_clean(instance, await readable(caller, id, "PATCH"), "delete")
    permit, stamp = await caller.permit(), await trash_stamp_of(caller)

    def write(tx: Writer) -> Item:
        item = tree.find(tx, id)
        access.require(permit, "PATCH", item, Lineage(tx))
        check_revision(item, expected)
        return trash(tx, item, stamp, instance.env.random)

    return await plain_answer(instance, request, await instance.store.write(write), drive_id)


async def restore_from_trash(caller: Caller, request: HttpRequest, id: str) -> Answer:
    """POST /files/trash/:file-id."""
    instance, permit = caller.instance, await caller.permit()
    stamp = await stamp_of(caller)

    def write(tx: Writer) -> Item:
        item = tree.find(tx, id)
        access.require(permit, "PATCH", item, Lineage(tx))
        return restore(tx, item, stamp, instance.env.random)

    return await plain_answer(instance, request, await instance.store.write(write))


async def destroy_item(caller: Caller, request: HttpRequest, id: str) -> Answer:
    """DELETE /files/trash/:file-id, whether the item is in the trash or not."""
    item = await readable(caller, id, "DELETE")
    require_clean(caller.instance, item, "delete")
    check_revision(item, expected_revision(request))
    refuse_system(item)
    await destroy(caller.instance.store, item)
    return wire.no_content()


# -- routes


@delete("/files/{file_id:str}", status_code=200, opt={"guard": wire.TOKEN})
async def delete_item(caller: Caller, request: HttpRequest, file_id: str) -> Answer:
    """Send a file or directory to the trash."""
    return await send_to_trash(caller, request, file_id)


@get("/files/trash", opt={"guard": wire.TOKEN})
async def list_trash(caller: Caller, request: HttpRequest) -> Answer:
    """What was put in the trash."""
    await readable(caller, TRASH_ID)
    shape, query = shape_of(caller.instance), request.query_params
    read = caller.instance.store.read
    return wire.jsonapi(await read(lambda view: children_document(view, shape, query, TRASH_ID, "/files/trash")))


@post("/files/trash/{file_id:str}", opt={"guard": wire.TOKEN})
async def restore_item(caller: Caller, request: HttpRequest, file_id: str) -> Answer:
    """Bring back from the trash."""
    return await restore_from_trash(caller, request, file_id)


@delete("/files/trash", status_code=200, opt={"guard": wire.TOKEN})
async def empty_trash(caller: Caller) -> Answer:
    """Destroy all that is in the trash."""
    await readable(caller, TRASH_ID, "DELETE")
    await clear_trash(caller.instance.store)
    return wire.no_content()


@delete("/files/trash/{file_id:str}", status_code=200, opt={"guard": wire.TOKEN})
async def destroy_one(caller: Caller, request: HttpRequest, file_id: str) -> Answer:
    """Destroy a file or directory."""
    return await destroy_item(caller, request, file_id)


ROUTES = [delete_item, list_trash, restore_item, empty_trash, destroy_one]
