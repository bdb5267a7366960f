"""Old versions of files: bringing back, tagging, deleting; new metadata for a content (spec/02 §17)."""

from __future__ import annotations

from typing import Any

from litestar import delete, patch, post

from inglenook import wire
from inglenook.files import access, present, tree
from inglenook.files.authorship import stamp_of
from inglenook.files.documents import FILES, NOTE_MIME, Item
from inglenook.files.extraction import extract_head, is_read
from inglenook.files.receiving import HttpRequest
from inglenook.files.shapes import shape_of
from inglenook.files.tree import Lineage
from inglenook.files.upload import NOTHING_FOUND, Found, merged
from inglenook.files.upload_request import read_tags, without_uncertified
from inglenook.files.versions import (
    belongs_to_file,
    delete_all_versions,
    delete_version,
    find_version,
    revert,
    set_metadata,
    tag_version,
    versions_of,
)
from inglenook.identity.caller import Caller
from inglenook.identity.instance import Instance
from inglenook.kernel import jsonapi
from inglenook.kernel.errors import BadRequest
from inglenook.kernel.permissions import Permit
from inglenook.storage.documents.contract import Document, Reader, Writer
from inglenook.wire import Answer

DELETED_AT_ONCE = 500
NOTE_KEYS = ("title", "content", "schema", "version")
KEEPS_CARBON_COPY = frozenset({"qualification", "electronicSafe"})
KEEPS_ELECTRONIC_SAFE = frozenset({"qualification", "carbonCopy"})


def require_on_file(view: Reader, permit: Permit, verb: str, file_id: str) -> Item:
    """The file of a version route, if the permit opens it. Raises NotFound, Conflict (a directory), Forbidden."""
    item = belongs_to_file(view, file_id)
    access.require(permit, verb, item, Lineage(view))
    return item


async def new_metadata(caller: Caller, request: HttpRequest, file_id: str) -> Answer:
    """POST /files/:file-id/versions: the same content with other metadata."""
    instance, permit = caller.instance, await caller.permit()
    item = await instance.store.read(lambda view: tree.find(view, file_id))
    if item.is_directory:
        raise BadRequest("cannot create versions for directories")
    sent = jsonapi.parse_document(await wire.read_body(request)).attributes
    tags = read_tags(request.query_params.get("Tags", ""))
    await instance.store.read(lambda view: access.require(permit, "PUT", item, Lineage(view)))
    stamp = await stamp_of(caller, request.query_params)
    metadata = kept_metadata(item, without_uncertified(sent, permit))
    found = await extract_again(instance, item)
    metadata = merged(metadata, found.metadata)

    def write(tx: Writer) -> tuple[Item, list[Document]]:
        written = set_metadata(tx, item, metadata, tags, stamp)
        return written, versions_of(tx, file_id)

    written, versions = await instance.store.write(write)
    return wire.jsonapi(present.file_document(shape_of(instance), written, versions))


def kept_metadata(item: Item, sent: dict[str, Any]) -> dict[str, Any]:
    """New metadata with what stays of the old ones: certified keys, and the text of a note (spec/02 §17.6)."""
    old, new = item.metadata, dict(sent)
    if "carbonCopy" in old and "carbonCopy" not in sent and KEEPS_CARBON_COPY.issuperset(sent):
        new["carbonCopy"] = old["carbonCopy"]
    if "electronicSafe" in old and "electronicSafe" not in sent and KEEPS_ELECTRONIC_SAFE.issuperset(sent):
        new["electronicSafe"] = old["electronicSafe"]
    if item.mime == NOTE_MIME:
        for key in NOTE_KEYS:
            if key in old:
                new.setdefault(key, old[key])
    return new


async def extract_again(instance: Instance, item: Item) -> Found:
    """What the content of a file tells of itself."""
    if not is_read(item.mime):
        return NOTHING_FOUND
    content = await instance.store.read(lambda view: view.content(FILES, item.id))
    if content is None:
        raise tree.missing()
    return await extract_head(instance, content, item.mime, item.created_at)


# -- routes


@post("/files/revert/{file_id:str}/{version:str}", opt={"guard": wire.TOKEN})
async def revert_file(caller: Caller, file_id: str, version: str) -> Answer:
    """Make an old version the current content."""
    instance, permit = caller.instance, await caller.permit()
    now = instance.env.clock.timestamp()

    def write(tx: Writer) -> tuple[Item, list[Document]]:
        item = require_on_file(tx, permit, "POST", file_id)
        written = revert(tx, item, find_version(tx, f"{file_id}/{version}"), now)
        return written, versions_of(tx, file_id)

    written, versions = await instance.store.write(write)
    return wire.jsonapi(present.file_document(shape_of(instance), written, versions))


@patch("/files/{file_id:str}/{version:str}", opt={"guard": wire.TOKEN})
async def patch_version(caller: Caller, request: HttpRequest, file_id: str, version: str) -> Answer:
    """Set the tags of a version."""
    instance, permit = caller.instance, await caller.permit()
    tags = jsonapi.parse_attributes(await wire.read_body(request)).get("tags")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise BadRequest("The tags of a version are a list of texts")
    now = instance.env.clock.timestamp()

    def write(tx: Writer) -> Document:
        require_on_file(tx, permit, "PATCH", file_id)
        return tag_version(tx, find_version(tx, f"{file_id}/{version}"), tags, now)

    return wire.jsonapi(jsonapi.document(present.version_object(await instance.store.write(write))))


@delete("/files/{file_id:str}/{version:str}", status_code=200, opt={"guard": wire.TOKEN})
async def delete_one(caller: Caller, file_id: str, version: str) -> Answer:
    """Delete a version."""
    permit = await caller.permit()

    def write(tx: Writer) -> None:
        require_on_file(tx, permit, "DELETE", file_id)
        delete_version(tx, find_version(tx, f"{file_id}/{version}"))

    await caller.instance.store.write(write)
    return wire.no_content()


@delete("/files/versions", status_code=200, opt={"guard": wire.TOKEN})
async def delete_all(caller: Caller) -> Answer:
    """Delete the versions of all files."""
    access.require_whole_type(await caller.permit(), "DELETE")
    while not await caller.instance.store.write(lambda tx: delete_all_versions(tx, DELETED_AT_ONCE)):
        pass
    return wire.no_content()


@post("/files/{file_id:str}/versions", status_code=200, opt={"guard": wire.TOKEN})
async def create_version(caller: Caller, request: HttpRequest, file_id: str) -> Answer:
    """Give a content other metadata."""
    return await new_metadata(caller, request, file_id)


ROUTES = [revert_file, patch_version, delete_one, delete_all, create_version]
