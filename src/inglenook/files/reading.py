"""Answers about one file or directory, shared by the routes that end with it (spec/02 §8, §14)."""

from __future__ import annotations

from inglenook import wire
from inglenook.files import present, tree
from inglenook.files.documents import Item
from inglenook.files.paging_request import CHILDREN_LIMIT, child_position, read_paging
from inglenook.files.receiving import HttpRequest
from inglenook.files.shapes import shape_of
from inglenook.files.tree import ChildrenPage, Lineage
from inglenook.files.versions import versions_of
from inglenook.identity.instance import Instance
from inglenook.storage.documents.contract import Reader
from inglenook.wire import Answer


async def whole_answer(instance: Instance, request: HttpRequest, item: Item, drive_id: str = "") -> Answer:
    """A file with its versions, or a directory in full form with a page of its children."""
    if item.is_directory:
        return await directory_answer(instance, request, item, drive_id)
    versions = await instance.store.read(lambda view: versions_of(view, item.id))
    return wire.jsonapi(present.file_document(shape_of(instance, drive_id), item, versions))


async def plain_answer(instance: Instance, request: HttpRequest, item: Item, drive_id: str = "") -> Answer:
    """A file without versions, or a directory in full form."""
    if item.is_directory:
        return await directory_answer(instance, request, item, drive_id)
    return wire.jsonapi(present.file_document(shape_of(instance, drive_id), item))


async def directory_answer(instance: Instance, request: HttpRequest, item: Item, drive_id: str = "") -> Answer:
    """A directory in full form. Raises BadRequest for a page that cannot be read."""
    paging = read_paging(request.query_params, CHILDREN_LIMIT)
    position = child_position(paging)
    shape = shape_of(instance, drive_id)

    def read(view: Reader) -> present.Object:
        lineage = Lineage(view)
        lineage.learn(item)
        page = page_of(view, item.id, paging, position)
        return present.directory_document(shape, item, lineage, page, paging)

    return wire.jsonapi(await instance.store.read(read))


async def children_answer(
    instance: Instance, request: HttpRequest, dir_id: str, route: str, drive_id: str = ""
) -> Answer:
    """A page of what is in a directory, as a list. Raises BadRequest for a page that cannot be read."""
    paging = read_paging(request.query_params, CHILDREN_LIMIT)
    position = child_position(paging)
    shape = shape_of(instance, drive_id)

    def read(view: Reader) -> present.Object:
        page = page_of(view, dir_id, paging, position)
        return present.children_document(shape, dir_id, Lineage(view), page, paging, route)

    return wire.jsonapi(await instance.store.read(read))


def page_of(view: Reader, dir_id: str, paging: present.Paging, position: tuple[str, str] | None) -> ChildrenPage:
    """The asked page of a directory."""
    return tree.children_page(view, dir_id, limit=paging.limit, skip=paging.skip, start=position)
