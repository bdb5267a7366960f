"""Creating directories, uploading and overwriting files (spec/02 §13).

`create`, `create_in` and `overwrite` are also the routes of a shared drive, which gives its id.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from litestar import post, put

from inglenook import wire
from inglenook.files import access, present, tree
from inglenook.files.authorship import server_stamp, stamp_of
from inglenook.files.create_directory import (
    NewDirectory,
    create_at_path,
    create_directory,
    directory_body,
    ensure_path,
    nearest,
    refuse_trashed_parent,
)
from inglenook.files.documents import ROOT_ID, Item
from inglenook.files.extraction import extract, is_read
from inglenook.files.fixed_directories import ensure_shared_drives
from inglenook.files.quota import check_room, quota_of
from inglenook.files.receiving import Declared, HttpRequest, Intake, before_body, declared
from inglenook.files.revisions import check_revision, expected_revision
from inglenook.files.settings import version_limits
from inglenook.files.shapes import shape_of
from inglenook.files.stamps import Stamp
from inglenook.files.store import check_depth, name_taken
from inglenook.files.tree import Lineage
from inglenook.files.upload import (
    NOTHING_FOUND,
    Found,
    Sent,
    create_file,
    new_file_body,
    overwrite_file,
    overwritten_body,
)
from inglenook.files.upload_request import (
    keep_metadata,
    read_dates,
    read_metadata,
    read_sent,
    read_tags,
    without_uncertified,
)
from inglenook.files.versions import versions_of
from inglenook.identity.caller import Caller
from inglenook.identity.instance import Instance
from inglenook.kernel import jsonapi
from inglenook.kernel.errors import DocumentConflict, DomainError, InvalidAttribute, NotFound
from inglenook.kernel.names import check_name, clean_path
from inglenook.kernel.permissions import Permit
from inglenook.storage.contents import Received
from inglenook.storage.documents.contract import Body, Document, Reader, Writer
from inglenook.wire import Answer

T = TypeVar("T")


async def create(caller: Caller, request: HttpRequest, dir_id: str, *, drive_id: str = "") -> Answer:
    """POST /files/:dir-id with `Type`: a directory or a file."""
    match request.query_params.get("Type"):
        case "directory":
            return await before_body(request, _create_directory(caller, request, dir_id, drive_id))
        case "file":
            return await _upload(caller, request, dir_id, drive_id)
        case _:
            return await before_body(request, _refuse_type())


async def overwrite(caller: Caller, request: HttpRequest, file_id: str, *, drive_id: str = "") -> Answer:
    """PUT /files/:file-id: new content in the place of the old one.

    Of several new contents at the same time the first to end wins. What else happens to the file meanwhile (a new
    name, a tag, a move) stays, unless the request names the revision that it expects."""
    instance = caller.instance
    asked = await before_body(request, _prepare_overwrite(caller, request, file_id))
    received, found = await _take_in(instance, request, asked.declared, asked.body)
    quota, limits, now = quota_of(instance), version_limits(instance), instance.env.clock.timestamp()

    def write(tx: Writer) -> tuple[Item, list[Document]]:
        check_room(tx, quota, received.size)
        item, body = asked.brought_up(tx)
        written = overwrite_file(tx, item, body, received, limits=limits, now=now, found=found)
        return written, versions_of(tx, file_id)

    written, versions = await _write_or_discard(instance, received, write)
    return wire.jsonapi(present.file_document(shape_of(instance, drive_id), written, versions))


IN_TRASH = "Parent directory is in the trash"


@dataclass(frozen=True, slots=True)
class _Overwrite:
    """A request for new content, and the file as it was when it came; `body` is the document to be, but for the
    content."""

    item: Item
    body: Body
    sent: Sent
    stamp: Stamp
    declared: Declared
    permit: Permit
    revision: str  # that the file must have, empty: any

    def check(self, view: Reader) -> None:
        """Raises Forbidden unless the file may be changed, and be what it will be."""
        lineage = Lineage(view)
        access.require(self.permit, "PUT", self.item, lineage)
        access.require(self.permit, "PUT", Item(self.item.id, self.item.rev, self.body), lineage)

    def brought_up(self, tx: Writer) -> tuple[Item, Body]:
        """The file as it is now, and the body for it. Raises NotFound (also when it is in the trash by now), Forbidden,
        and DocumentConflict when it has another content by now, or not the revision that was expected."""
        current = tree.find_file(tx, self.item.id)
        if current.rev == self.item.rev:
            return self.item, self.body
        if self.revision or current.md5sum != self.item.md5sum:
            raise DocumentConflict
        if current.trashed:
            raise NotFound(IN_TRASH)
        later = replace(self, item=current, body=overwritten_body(current, self.sent, self.stamp))
        later.check(tx)
        return current, later.body


async def _refuse_type() -> Answer:
    raise InvalidAttribute("Invalid document type", pointer="/data/attributes/type")


# -- directories


async def _create_directory(caller: Caller, request: HttpRequest, dir_id: str, drive_id: str) -> Answer:
    if request.query_params.get("Path"):
        item = await _create_by_path(caller, request)
    else:
        item = await _create_by_name(caller, request, dir_id)
    shape = shape_of(caller.instance, drive_id)
    shown = await caller.instance.store.read(lambda view: present.directory_object(shape, item, Lineage(view)))
    return wire.jsonapi(jsonapi.document(shown), 201)


async def _create_by_name(caller: Caller, request: HttpRequest, dir_id: str) -> Item:
    query, store = request.query_params, caller.instance.store
    name = query.get("Name", "")
    await store.read(lambda view: _check_new_directory(view, dir_id, name))
    created_at, updated_at = read_dates(request)
    metadata = await read_metadata(caller.instance, query)
    permit = await caller.permit()
    stamp = await stamp_of(caller, query)
    new = NewDirectory(
        name,
        dir_id,
        tags=read_tags(query.get("Tags", "")),
        metadata=without_uncertified(metadata, permit),
        created_at=created_at,
        updated_at=updated_at,
    )

    def write(tx: Writer) -> Item:
        access.require(permit, "POST", Item("", "", directory_body(new, stamp)), Lineage(tx))
        return create_directory(tx, new, stamp)

    return await store.write(write)


def _check_new_directory(view: Reader, dir_id: str, name: str) -> None:
    above = Lineage(view).up_from(dir_id)
    if not above:
        raise tree.missing()
    check_name(name)
    check_depth(len(above))


async def _create_by_path(caller: Caller, request: HttpRequest) -> Item:
    """A directory by `Path`, with all that is missing above it when it is `Recursive`."""
    query = request.query_params
    path = clean_path(query.get("Path", ""))
    above, _, name = path.rpartition("/")
    recursive = query.get("Recursive") == "true"
    tags = read_tags(query.get("Tags", ""))
    permit = await caller.permit()
    stamp = server_stamp(caller.instance)

    def write(tx: Writer) -> Item:
        deepest, names = nearest(tx, path if recursive else above)
        if names or (name and not recursive):
            first = Item("", "", directory_body(NewDirectory(names[0] if names else name, deepest.id), stamp))
            access.require(permit, "POST", first, Lineage(tx))
        else:
            access.require(permit, "POST", deepest, Lineage(tx))
        return ensure_path(tx, path, stamp) if recursive else create_at_path(tx, path, tags, stamp)

    return await caller.instance.store.write(write)


# -- files


async def _upload(caller: Caller, request: HttpRequest, dir_id: str, drive_id: str) -> Answer:
    instance = caller.instance
    body, expected = await before_body(request, _prepare_upload(caller, request, dir_id))
    received, found = await _take_in(instance, request, expected, body)
    id, quota = instance.env.random.file_id(), quota_of(instance)

    def write(tx: Writer) -> Item:
        check_room(tx, quota, received.size)
        return create_file(tx, id, body, received, found=found)

    item = await _write_or_discard(instance, received, write)
    return wire.jsonapi(present.file_document(shape_of(instance, drive_id), item), 201)


async def _prepare_upload(caller: Caller, request: HttpRequest, dir_id: str) -> tuple[Body, Declared]:
    """All checks of an upload, in the order of spec/02 §9.3; gives the body of the document to be."""
    instance = caller.instance
    expected = declared(request)
    name = request.query_params.get("Name", "")
    check_name(name)
    sent = await read_sent(instance, request, name)
    permit = await caller.permit()
    stamp = await stamp_of(caller, request.query_params)
    sent = replace(sent, metadata=without_uncertified(sent.metadata, permit))
    new = Item("", "", new_file_body(name, dir_id, sent, stamp))
    quota = quota_of(instance)
    await instance.store.read(lambda view: _check_upload(view, permit, new, expected.size, quota))
    return new.body, expected


def _check_upload(view: Reader, permit: Permit, new: Item, size: int | None, quota: int) -> None:
    lineage = Lineage(view)
    access.require(permit, "POST", new, lineage)
    check_room(view, quota, size or 0)
    if lineage.directory(new.dir_id) is None:
        raise NotFound("Parent directory with given DirID does not exist")
    refuse_trashed_parent(lineage, new.dir_id)
    if (there := tree.child(view, new.dir_id, new.name)) is not None:
        raise name_taken(there)


async def _prepare_overwrite(caller: Caller, request: HttpRequest, file_id: str) -> _Overwrite:
    """All checks of an overwrite."""
    instance = caller.instance
    item = await instance.store.read(lambda view: tree.find_file(view, file_id))
    expected = declared(request)
    sent = await read_sent(instance, request, item.name)
    revision = expected_revision(request)
    check_revision(item, revision)
    permit = await caller.permit()
    stamp = await stamp_of(caller, request.query_params)
    sent = replace(sent, metadata=without_uncertified(sent.metadata, permit))
    asked = _Overwrite(item, overwritten_body(item, sent, stamp), sent, stamp, expected, permit, revision)
    quota = quota_of(instance)

    def check(view: Reader) -> None:
        asked.check(view)
        check_room(view, quota, expected.size or 0)

    await instance.store.read(check)
    if item.trashed:
        raise NotFound(IN_TRASH)
    return asked


async def _take_in(instance: Instance, request: HttpRequest, expected: Declared, body: Body) -> tuple[Received, Found]:
    """Receive the content, and look what it tells of itself."""
    mime = str(body["mime"])
    if not is_read(mime):
        return await Intake(instance, request, expected, wants_head=False).receive(), NOTHING_FOUND
    intake = Intake(instance, request, expected, wants_head=True)
    received = await intake.receive()
    return received, await extract(mime, bytes(intake.head), str(body["created_at"]), instance.url())


async def _write_or_discard(instance: Instance, received: Received, write: Callable[[Writer], T]) -> T:
    try:
        return await instance.store.write(write)
    except DomainError:
        await instance.contents.discard(received)
        raise


# -- routes


@post("/files", opt={"guard": wire.TOKEN})
async def create_in_root(caller: Caller, request: HttpRequest) -> Answer:
    """Create a file or directory in the root, or a directory by its path."""
    return await create(caller, request, ROOT_ID)


@post("/files/{dir_id:str}", opt={"guard": wire.TOKEN})
async def create_in(caller: Caller, request: HttpRequest, dir_id: str) -> Answer:
    """Create a file or directory in a directory."""
    return await create(caller, request, dir_id)


@put("/files/{file_id:str}", opt={"guard": wire.TOKEN})
async def put_file(caller: Caller, request: HttpRequest, file_id: str) -> Answer:
    """Overwrite a file."""
    return await overwrite(caller, request, file_id)


@post("/files/upload/metadata", opt={"guard": wire.TOKEN})
async def send_metadata(caller: Caller, request: HttpRequest) -> Answer:
    """Send metadata before the upload that they belong to."""
    return await metadata_before_upload(caller, request)


async def metadata_before_upload(caller: Caller, request: HttpRequest) -> Answer:
    """POST /files/upload/metadata (spec/02 §13.4)."""
    attributes = jsonapi.parse_document(await wire.read_body(request)).attributes
    permit = await caller.permit()
    empty = Item("", "", {"type": "file", "name": "", "dir_id": ""})
    await caller.instance.store.read(lambda view: access.require(permit, "POST", empty, Lineage(view)))
    id = await keep_metadata(caller.instance, attributes)
    return wire.jsonapi(jsonapi.document(jsonapi.resource("io.cozy.files.metadata", id, attributes)), 201)


@post("/files/shared-drives", opt={"guard": wire.TOKEN})
async def shared_drives(caller: Caller, instance: Instance) -> Answer:
    """The directory of shared drives, made when it is missing (200 in both cases)."""
    access.require_whole_type(await caller.permit(), "POST")
    shape = shape_of(instance)

    def ensure(tx: Writer) -> dict[str, Any]:
        return present.directory_object(shape, ensure_shared_drives(tx, instance), Lineage(tx))

    return wire.jsonapi(jsonapi.document(await instance.store.write(ensure)))


ROUTES = [create_in_root, create_in, put_file, send_metadata, shared_drives]
