"""Answers about one file or directory, shared by the routes that end with it (spec/02 §8, §14)."""

from __future__ import annotations

from collections.abc import Mapping

from inglenook import wire
from inglenook.files import present, tree
from inglenook.files.documents import Item
from inglenook.files.paging_request import CHILDREN_LIMIT, child_position, read_paging
from inglenook.files.present import Paging, Shape
from inglenook.files.receiving import HttpRequest
from inglenook.files.shapes import shape_of
from inglenook.files.tree import ChildrenPage, Lineage
from inglenook.files.versions import versions_of
from inglenook.identity.instance import Instance
from inglenook.storage.documents.contract import Reader
from inglenook.wire import Answer


def whole_document(view: Reader, shape: Shape, query: Mapping[str, str], item: Item) -> present.Object:
    """A file with its versions, or a directory in full form with a page of its children.

    Raises BadRequest for a page that cannot be read."""
    if item.is_directory:
        return directory_document(view, shape, query, item)
    return present.file_document(shape, item, versions_of(view, item.id))


def directory_document(view: Reader, shape: Shape, query: Mapping[str, str], item: Item) -> present.Object:
    """A directory in full form. Raises BadRequest for a page that cannot be read."""
    paging = read_paging(query, CHILDREN_LIMIT)
    lineage = Lineage(view)
    lineage.learn(item)
    return present.directory_document(shape, item, lineage, _page(view, item.id, paging), paging)


def children_document(view: Reader, shape: Shape, query: Mapping[str, str], dir_id: str, route: str) -> present.Object:
    """A page of what is in a directory, as a list. Raises BadRequest for a page that cannot be read."""
    paging = read_paging(query, CHILDREN_LIMIT)
    return present.children_document(shape, dir_id, Lineage(view), _page(view, dir_id, paging), paging, route)


async def plain_answer(instance: Instance, request: HttpRequest, item: Item, drive_id: str = "") -> Answer:
    """The answer about an item that was just changed: a file without versions, or a directory in full form."""
    shape = shape_of(instance, drive_id)
    if item.is_file:
        return wire.jsonapi(present.file_document(shape, item))
    query = request.query_params
    return wire.jsonapi(await instance.store.read(lambda view: directory_document(view, shape, query, item)))


def _page(view: Reader, dir_id: str, paging: Paging) -> ChildrenPage:
    return tree.children_page(view, dir_id, limit=paging.limit, skip=paging.skip, start=child_position(paging))
