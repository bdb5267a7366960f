"""Sending the content of a file or of one of its versions (spec/02 §15.1)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from inglenook import wire
from inglenook.files import tree
from inglenook.files.dates import whole_second
from inglenook.files.documents import FILES, Item
from inglenook.files.pdf_pages import asked_page, take_page
from inglenook.files.ranges import Failed, NotModified, Parts, Unsatisfiable, Validators, decide, http_date
from inglenook.files.receiving import HttpRequest
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import InvalidParameter, PreconditionFailed
from inglenook.kernel.mime import DEFAULT, check_mime, mime_of_name
from inglenook.kernel.names import download_disposition
from inglenook.storage.documents.contract import Content
from inglenook.wire import Answer

FRAMED = ("image", "audio", "video")


@dataclass(frozen=True, slots=True)
class Download:
    """A content and the name it is sent under; `item` is the file that the headers speak of, also for a version."""

    item: Item
    content: Content
    name: str


async def find_content(instance: Instance, item: Item) -> Download:
    """The content of a file. Raises NotFound when it is a directory, or when the storage has lost it."""
    if not item.is_file:
        raise tree.missing()
    content = await instance.store.read(lambda view: view.content(FILES, item.id))
    if content is None:
        raise tree.missing()
    return Download(item, content, item.name)


async def send(
    instance: Instance, request: HttpRequest, download: Download, headers: Mapping[str, str] | None = None
) -> Answer:
    """The answer with a content, or with the part of it that is asked for.

    Raises PreconditionFailed (a condition does not hold), InvalidParameter (`Page`)."""
    item, content = download.item, download.content
    page = asked_page(request.query_params.get("Page", ""), item)
    if page:
        return await _send_page(instance, download, page, headers or {})
    modified = whole_second(item.updated_at)
    validators = Validators(f'"{item.md5sum}"', modified)
    own = {
        "etag": validators.etag,
        "content-disposition": download_disposition(download.name, request.query_params.get("Dl") == "1"),
        **(headers or {}),
    }
    dated = {**own, "last-modified": http_date(modified), "accept-ranges": "bytes"}
    match decide(request.headers, validators, content.size):
        case NotModified():
            return Answer(status=304, headers=own)
        case Failed():
            raise PreconditionFailed("A condition of the request does not hold", parameter="If-Match")
        case Unsatisfiable():
            return Answer(
                b"invalid range: failed to overlap\n",
                status=416,
                media_type="text/plain; charset=utf-8",
                headers={"content-range": f"bytes */{content.size}"},
            )
        case Parts(pieces=((start, end),)):
            dated["content-range"] = f"bytes {start}-{end - 1}/{content.size}"
            return _streamed(instance, item, content, dated, 206, start, end)
        case Parts(pieces=pieces):
            return _multipart(instance, item, content, dated, pieces)
        case _:
            return _streamed(instance, item, content, dated, 200, 0, content.size)


def framing_policy(request: HttpRequest, item: Item) -> dict[str, str]:
    """The content security policy of a download by a secret link or a path (spec/02 §15.3, §15.6)."""
    framed = item.mime in ("text/plain", "application/pdf") or item.klass in FRAMED
    ancestors = "*" if framed and request.query_params.get("Dl") != "1" else "'none'"
    return {
        "content-security-policy": "default-src 'none';frame-src 'none';base-uri 'none';form-action 'none';"
        f"frame-ancestors {ancestors};"
    }


def media_type(item: Item) -> str:
    """The media type that a content is sent with; one that is none (from another server) is not repeated."""
    try:
        check_mime(item.mime)
    except InvalidParameter:
        return DEFAULT
    return item.mime


async def _send_page(instance: Instance, download: Download, page: int, headers: Mapping[str, str]) -> Answer:
    """One page of a PDF: neither entity tag nor disposition (spec/02 §15.1)."""
    taken = await take_page(instance, download.content, page)
    own = {**headers, "content-length": str(taken.size)}
    return wire.streamed(taken.pieces(), media_type=mime_of_name(download.name), headers=own)


def _streamed(
    instance: Instance, item: Item, content: Content, headers: dict[str, str], status: int, start: int, end: int
) -> Answer:
    headers["content-length"] = str(end - start)
    chunks = instance.contents.read(content, start, end)
    return wire.streamed(chunks, status=status, media_type=media_type(item), headers=headers)


def _multipart(
    instance: Instance, item: Item, content: Content, headers: dict[str, str], pieces: tuple[tuple[int, int], ...]
) -> Answer:
    boundary = instance.env.random.bytes(16).hex()
    heads = [
        f"--{boundary}\r\nContent-Type: {media_type(item)}\r\n"
        f"Content-Range: bytes {start}-{end - 1}/{content.size}\r\n\r\n"
        for start, end in pieces
    ]
    tail = f"--{boundary}--\r\n".encode()

    async def chunks() -> AsyncIterator[bytes]:
        for part, (start, end) in zip(heads, pieces, strict=True):
            yield part.encode()
            async for piece in instance.contents.read(content, start, end):
                yield piece
            yield b"\r\n"
        yield tail

    length = sum(len(part.encode()) + end - start + 2 for part, (start, end) in zip(heads, pieces, strict=True))
    headers["content-length"] = str(length + len(tail))
    return wire.streamed(chunks(), status=206, media_type=f"multipart/byteranges; boundary={boundary}", headers=headers)
