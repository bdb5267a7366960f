"""Sending thumbnails by the secret in their links (spec/02 §15.9).

A thumbnail that was not made yet is made for the first who asks for it.
"""

from __future__ import annotations

import hashlib

from litestar import route

from inglenook import wire
from inglenook.files import tree
from inglenook.files.antivirus import require_clean
from inglenook.files.documents import Item
from inglenook.files.ranges import Failed, NotModified, Parts, Unsatisfiable, Validators, decide
from inglenook.files.receiving import HttpRequest
from inglenook.files.routes_download import GET_AND_HEAD
from inglenook.files.shapes import shape_of
from inglenook.files.thumbnails import FORMATS, can_have, placeholder, thumbnail, wish
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest, NotFound, PreconditionFailed
from inglenook.storage.documents.contract import Content, Reader
from inglenook.wire import Answer


async def send_thumbnail(instance: Instance, request: HttpRequest, file_id: str, secret: str, format: str) -> Answer:
    """A thumbnail, or a placeholder with 404 when there is none yet, or never will be.

    Raises BadRequest for a wrong secret, NotFound for an unknown file or format."""
    if not shape_of(instance).secrets.accepts(file_id, secret):
        raise BadRequest("Wrong download token")
    if format not in FORMATS:
        raise NotFound("Format does not exist")

    def read(view: Reader) -> tuple[Item, Content | None]:
        return tree.find_file(view, file_id), thumbnail(view, file_id, format)

    item, content = await instance.store.read(read)
    require_clean(instance, item, "preview")
    if content is None and can_have(item):
        wish(instance, item, format)
    if content is None or content.size == 0:
        return _placeholder(request, format)
    return _picture(instance, request, content)


def _picture(instance: Instance, request: HttpRequest, content: Content) -> Answer:
    etag = f'"{content.md5}"'
    headers = {"etag": etag, "accept-ranges": "bytes"}
    start, end, status = 0, content.size, 200
    match decide(request.headers, Validators(etag, None), content.size):
        case NotModified():
            return Answer(status=304, headers=headers)
        case Failed():
            raise PreconditionFailed("A condition of the request does not hold", parameter="If-Match")
        case Unsatisfiable():
            return Answer(status=416, headers={"content-range": f"bytes */{content.size}"})
        case Parts(pieces=((start, end),)):
            status = 206
            headers["content-range"] = f"bytes {start}-{end - 1}/{content.size}"
        case _:
            pass
    headers["content-length"] = str(end - start)
    chunks = instance.contents.read(content, start, end)
    return wire.streamed(chunks, status=status, media_type="image/jpeg", headers=headers)


def _placeholder(request: HttpRequest, format: str) -> Answer:
    picture = placeholder(format)
    etag = f'"{hashlib.sha256(picture).hexdigest()[:32]}"'
    if request.headers.get("if-none-match") == etag:
        return Answer(status=304, headers={"etag": etag})
    return Answer(picture, status=404, media_type="image/png", headers={"etag": etag})


@route(
    "/files/{file_id:str}/thumbnails/{secret:str}/{format:str}",
    http_method=GET_AND_HEAD,
    status_code=200,
    opt={"guard": wire.SECRET},
)
async def get_thumbnail(instance: Instance, request: HttpRequest, file_id: str, secret: str, format: str) -> Answer:
    """A thumbnail of a file."""
    return await send_thumbnail(instance, request, file_id, secret, format)


ROUTES = [get_thumbnail]
