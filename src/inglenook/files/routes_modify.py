"""Changing, moving and copying files and directories (spec/02 §16)."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import patch, post

from inglenook import wire
from inglenook.files import access, present, tree
from inglenook.files.authorship import stamp_of, trash_stamp_of
from inglenook.files.copy import copied_body, copy_file, default_copy_name
from inglenook.files.destroy import destroy
from inglenook.files.documents import TRASH_ID, Item
from inglenook.files.modify import MALFORMED, Patch, modify, parse_patch, patched_body, refuse_fixed
from inglenook.files.quota import check_room, quota_of
from inglenook.files.reading import plain_answer
from inglenook.files.receiving import HttpRequest
from inglenook.files.revisions import check_revision, expected_revision
from inglenook.files.shapes import shape_of
from inglenook.files.stamps import Stamp
from inglenook.files.trash import trash
from inglenook.files.tree import Lineage
from inglenook.files.upload_request import without_uncertified
from inglenook.identity.caller import Caller
from inglenook.kernel import jsonapi
from inglenook.kernel.errors import AuthError, BadRequest, DomainError
from inglenook.kernel.names import clean_path
from inglenook.kernel.permissions import Permit
from inglenook.storage.documents.contract import Writer
from inglenook.wire import Answer

MOST_IN_BATCH = 10_000
BATCH_BYTES = 8_000_000


async def change(caller: Caller, item: Item, asked: Patch, *, expected: str = "") -> Item:
    """Apply a patch to an item: change it, or send it to the trash, or destroy it.

    After a destruction the item is as it was, with the revision of its tombstone. Raises as `modify.modify`, and
    Forbidden when the caller may not change the item where it is, or put it where it should go."""
    permit = await caller.permit()
    instance = caller.instance
    if asked.permanent_delete:
        await instance.store.read(lambda view: access.require(permit, "PATCH", item, Lineage(view)))
        return Item(item.id, await destroy(instance.store, item), item.body)
    moves_to_trash = asked.move_to_trash or (asked.dir_id == TRASH_ID and item.dir_id != TRASH_ID)
    stamp = await trash_stamp_of(caller) if moves_to_trash else await stamp_of(caller)

    def write(tx: Writer) -> Item:
        current = tree.find(tx, item.id)
        check_revision(current, expected)
        access.require(permit, "PATCH", current, Lineage(tx))
        if moves_to_trash:
            return trash(tx, current, stamp, instance.env.random)
        _check_destination(tx, permit, current, asked, stamp)
        return modify(tx, current, _certified(asked, permit, current), stamp)

    return await instance.store.write(write)


def _check_destination(tx: Writer, permit: Permit, item: Item, asked: Patch, stamp: Stamp) -> None:
    """What is moved must be allowed at its new place too (spec/03 §10.4b). Raises Forbidden."""
    refuse_fixed(item)
    if asked.dir_id is not None and asked.dir_id != item.dir_id:
        moved = Item(item.id, item.rev, patched_body(item, asked, stamp))
        access.require(permit, "PATCH", moved, Lineage(tx))


def _certified(asked: Patch, permit: Permit, item: Item) -> Patch:
    if asked.metadata is None:
        return asked
    return msgspec.structs.replace(asked, metadata=without_uncertified(asked.metadata, permit, item.metadata))


async def read_patch(request: HttpRequest) -> Patch:
    """The patch in the body of a request. Raises BadRequest."""
    sent = jsonapi.parse_document(await wire.read_body(request))
    return parse_patch(sent.attributes, sent.relationships)


# -- many at once


class _Element(msgspec.Struct):
    id: str
    attributes: dict[str, Any]
    relationships: dict[str, Any] | None = None


class _Batch(msgspec.Struct):
    data: list[_Element]


async def change_many(caller: Caller, body: bytes) -> list[jsonapi.Object]:
    """Apply a batch in its order; gives the errors of the elements that failed.

    Raises BadRequest for a malformed batch, and at the first element that the caller may not change, Forbidden."""
    try:
        elements = msgspec.json.decode(body, type=_Batch).data
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadRequest(MALFORMED) from error
    if len(elements) > MOST_IN_BATCH:
        raise BadRequest("Too many elements in one batch")
    await caller.permit()
    patches = [(element.id, parse_patch(element.attributes, element.relationships)) for element in elements]
    errors: list[jsonapi.Object] = []
    for id, asked in patches:
        try:
            item = await caller.instance.store.read(lambda view, id=id: tree.find(view, id))
            await change(caller, item, asked)
        except AuthError:
            raise
        except DomainError as error:
            errors.append(batch_error(error, id))
    return errors


def batch_error(error: DomainError, id: str) -> jsonapi.Object:
    """One error of a batch."""
    return jsonapi.error_object(wire.status_of(error), wire.title_of(error), error.detail, parameter="_id", pointer=id)


# -- copying


async def copy(caller: Caller, request: HttpRequest, file_id: str, *, drive_id: str = "", name: str = "") -> Answer:
    """POST /files/:file-id/copy."""
    instance, query = caller.instance, request.query_params
    permit = await caller.permit()
    stamp = await stamp_of(caller)
    quota, id = quota_of(instance), instance.env.random.file_id()

    def write(tx: Writer) -> Item:
        source = tree.find_file(tx, file_id)
        body = copied_body(
            source,
            name or query.get("Name") or default_copy_name(source, instance.locale),
            query.get("DirID") or source.dir_id,
            stamp,
        )
        lineage = Lineage(tx)
        access.require(permit, "GET", source, lineage)
        access.require(permit, "POST", Item("", "", body), lineage)
        check_room(tx, quota, source.size)
        return copy_file(tx, id, source, body)

    written = await instance.store.write(write)
    return wire.jsonapi(present.file_document(shape_of(instance, drive_id), written), 201)


# -- routes


@patch("/files/{file_id:str}", opt={"guard": wire.TOKEN})
async def patch_item(caller: Caller, request: HttpRequest, file_id: str) -> Answer:
    """Change a file or directory."""
    asked = await read_patch(request)
    item = await caller.instance.store.read(lambda view: tree.find(view, file_id))
    return await _patch(caller, request, item, asked)


@patch("/files/metadata", opt={"guard": wire.TOKEN})
async def patch_at(caller: Caller, request: HttpRequest) -> Answer:
    """Change what is at a path."""
    asked = await read_patch(request)
    path = clean_path(request.query_params.get("Path", ""))
    item = await caller.instance.store.read(lambda view: tree.by_path(view, path))
    return await _patch(caller, request, item, asked)


async def _patch(caller: Caller, request: HttpRequest, item: Item, asked: Patch) -> Answer:
    expected = expected_revision(request)
    check_revision(item, expected)
    written = await change(caller, item, asked, expected=expected)
    return await plain_answer(caller.instance, request, written)


@patch("/files", opt={"guard": wire.TOKEN})
async def patch_many(caller: Caller, request: HttpRequest) -> Answer:
    """Change many files and directories."""
    errors = await change_many(caller, await wire.read_body(request, BATCH_BYTES))
    if not errors:
        return wire.no_content()
    return Answer(msgspec.json.encode({"errors": errors}), status=int(errors[0]["status"]), media_type=wire.JSONAPI)


@post("/files/{file_id:str}/copy", opt={"guard": wire.TOKEN})
async def copy_item(caller: Caller, request: HttpRequest, file_id: str) -> Answer:
    """Copy a file."""
    return await copy(caller, request, file_id)


ROUTES = [patch_item, patch_at, patch_many, copy_item]
