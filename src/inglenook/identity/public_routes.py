"""What anyone may read: static files of the pages, the owner's picture, small answers for robots (spec/03 §14)."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import AsyncIterator
from typing import Any
from xml.sax.saxutils import escape

from litestar import Request, delete, get, put

from inglenook.identity import pages
from inglenook.identity.caller import Caller
from inglenook.identity.instance import SETTINGS
from inglenook.kernel.errors import BadRequest, InvalidParameter, NotFound, TooLarge
from inglenook.storage.documents.contract import Content, Reader, Writer
from inglenook.wire import PUBLIC, TOKEN, Answer, body_chunks, no_content, streamed, text

AVATAR = "io.cozy.settings.avatar"
MAX_AVATAR = 20_000_000  # bytes
_FALLBACKS = ("", "default", "initials", "404", "anonymous")
_COLORS = ("#8a3b12", "#7a5195", "#2f6f4e", "#225e8f", "#9a3d64", "#6b5b1f")
_FOLDERS = ("", "css", "fonts", "images", "js", "scripts", "styles")
PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp"})
"""The types that a picture of the owner may have."""
_UNTOLD = frozenset({"", "application/octet-stream", "application/x-www-form-urlencoded"})
"""What clients say that say nothing."""
_MARKS = (
    (0, b"\x89PNG", "image/png"), (0, b"\xff\xd8\xff", "image/jpeg"), (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"), (4, b"ftypavif", "image/avif"), (0, b"BM", "image/bmp"),
)  # fmt: skip
_SEEN = 12  # bytes


@get(["/assets/{name:str}", "/assets/{folder:str}/{name:str}"], opt={"guard": PUBLIC})
async def static_file(name: str, request: Request[Any, Any, Any], folder: str = "") -> Answer:
    """A static file of the pages; names that carry the hash of the content may be kept for ever.

    The files lie in no folders; apps that name the usual ones (`fonts/fonts.css`) find them all the same."""
    found = pages.asset_of_path(name) if folder in _FOLDERS else None
    if found is None:
        raise NotFound("There is no such file")
    plain_name, content, is_fixed = found
    etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {"etag": etag, "cache-control": "max-age=31536000, immutable" if is_fixed else "no-cache"}
    if request.headers.get("if-none-match") == etag:
        return Answer(status=304, headers=headers)
    kind = mimetypes.guess_type(plain_name)[0] or "application/octet-stream"
    if kind.startswith("text/") or kind == "application/javascript":
        kind += "; charset=utf-8"
    return Answer(content, media_type=kind, headers=headers, compress=True)


@get("/robots.txt", opt={"guard": PUBLIC})
async def robots() -> Answer:
    """Nothing here is for search engines."""
    return text("User-agent: *\nDisallow: /\n")


@get("/connection_check", opt={"guard": PUBLIC})
async def connection_check() -> Answer:
    """Whether the server can be reached."""
    return no_content()


@get("/public/avatar", opt={"guard": PUBLIC})
async def read_avatar(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """The owner's picture, or what stands for it."""
    query = request.query_params
    fallback = query.get("fallback") or ""
    if fallback not in _FALLBACKS:
        raise BadRequest("Invalid `fallback`")
    for name, values in (("as", ("", "unconfirmed")), ("fx", ("", "translucent")), ("format", ("", "svg", "png"))):
        if (query.get(name) or "") not in values:
            raise BadRequest(f"Invalid `{name}`")
    instance = caller.instance
    held = await instance.store.read(_avatar_of)
    if held is not None and fallback != "anonymous":
        content, mime = held
        etag = f'"{content.sha256[:16]}"'
        headers = {
            "etag": etag, "cache-control": "max-age=300", "content-security-policy": "default-src 'none';sandbox;",
        }  # fmt: skip
        if request.headers.get("if-none-match") == etag:
            return Answer(status=304, headers=headers)
        headers["content-length"] = str(content.size)
        return streamed(instance.contents.read(content, 0, content.size), media_type=mime, headers=headers)
    if fallback == "404":
        raise NotFound("There is no picture")
    name = "" if fallback == "anonymous" else await instance.public_name()
    muted = query.get("fx") == "translucent" or query.get("as") == "unconfirmed"
    return Answer(initials_picture(name, muted=muted).encode(), media_type="image/svg+xml")


@put("/settings/avatar", opt={"guard": TOKEN})
async def change_avatar(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """Another picture of the owner: the raw image. How it begins tells its type when the client does not."""
    (await caller.permit()).require_type("PUT", SETTINGS)
    told = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if told not in PICTURES and told not in _UNTOLD:
        raise _no_picture()
    contents = caller.instance.contents
    picture = _Beginning(body_chunks(request))
    try:
        received = await contents.receive(picture.chunks(), max_bytes=MAX_AVATAR)
    except TooLarge as error:
        raise TooLarge(f"A picture has at most {MAX_AVATAR} bytes") from error
    mime = told if told in PICTURES else picture.type
    if not mime:
        await contents.discard(received)
        raise _no_picture()
    now = caller.instance.env.clock.timestamp()

    def keep(tx: Writer) -> None:
        document = tx.get(SETTINGS, AVATAR)
        tx.put(SETTINGS, AVATAR, {"mime": mime, "updated_at": now}, rev=document.rev if document else None)
        received.hold(tx, SETTINGS, AVATAR)

    try:
        await caller.instance.store.write(keep)
    except BaseException:
        await contents.discard(received)
        raise
    return no_content()


@delete("/settings/avatar", opt={"guard": TOKEN}, status_code=200)
async def remove_avatar(caller: Caller) -> Answer:
    """No picture any more."""
    (await caller.permit()).require_type("PUT", SETTINGS)

    def remove(tx: Writer) -> None:
        document = tx.get(SETTINGS, AVATAR)
        if document is not None:
            tx.release(SETTINGS, AVATAR)
            tx.delete(SETTINGS, AVATAR, document.rev)

    await caller.instance.store.write(remove)
    return no_content()


def initials_picture(name: str, *, muted: bool = False) -> str:
    """An SVG with the initials of a name on a colour of its own; grey and pale when `muted`, or without a name."""
    words = [word for word in name.split() if word[:1].isalnum()]
    letters = (words[0][0] + (words[-1][0] if len(words) > 1 else "")).upper() if words else "?"
    color = _COLORS[sum(name.encode()) % len(_COLORS)] if words and not muted else "#8c8580"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" width="64" height="64">'
        f'<circle cx="32" cy="32" r="32" fill="{color}"/>'
        '<text x="32" y="33" fill="#fff" font-family="system-ui,sans-serif" font-size="26" text-anchor="middle" '
        f'dominant-baseline="central">{escape(letters)}</text></svg>'
    )


def _avatar_of(view: Reader) -> tuple[Content, str] | None:
    document, content = view.get(SETTINGS, AVATAR), view.content(SETTINGS, AVATAR)
    return None if document is None or content is None else (content, str(document.body.get("mime", "image/png")))


class _Beginning:
    """A body on its way, whose first bytes are looked at."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._first = b""

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body."""
        async for chunk in self._chunks:
            if len(self._first) < _SEEN:
                self._first += chunk[: _SEEN - len(self._first)]
            yield chunk

    @property
    def type(self) -> str:
        """The type of the picture that begins like this, empty for anything else."""
        first = self._first
        return next((mime for at, mark, mime in _MARKS if first[at : at + len(mark)] == mark), "")


def _no_picture() -> InvalidParameter:
    return InvalidParameter("The picture must be a bitmap image", parameter="Content-Type")


ROUTES: list[Any] = [static_file, robots, connection_check, read_avatar, change_avatar, remove_avatar]
