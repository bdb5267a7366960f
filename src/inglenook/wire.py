"""What routes speak: answers of each kind, bounded reading of bodies, the guards a route may name.

Routes build their answers here and nowhere else, so that compression, HEAD and content types are decided once
(spec/01 §15, spec/02 §9.2, spec/03 §2). Errors are not answered by hand: a route raises one of
`kernel.errors`, and `web.errors` gives it its status and body.

A handler names its status in the answer; declare `status_code=200` on `@delete` and friends, since Litestar
forbids a body on its default of 204.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import aclosing
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie
from litestar.response import Response

from inglenook.kernel import errors
from inglenook.kernel.errors import BadRequest, TooLarge, TooSlow

JSONAPI = "application/vnd.api+json"
JSON = "application/json"

# -- guards: `opt={"guard": TOKEN}` on every route says who may call it

PUBLIC = "public"
"""Anyone; the handler looks at no credential, or only offers more to a known caller."""
TOKEN = "token"  # noqa: S105
"""A bearer of a permission: the handler must ask `caller.permit()`."""
SESSION = "session"
"""A logged-in browser: the handler asks `caller.session()`."""
PEER = "peer"
"""Another server of a sharing, by its credentials for that sharing: the handler must ask `caller.permit()`."""
SECRET = "secret"  # noqa: S105
"""The address or the body carries a secret of its own: a state, a download key, a one-time code."""
REGISTRATION = "registration"
"""An OAuth client, by its registration token or its client secret."""

GUARDS = frozenset({PUBLIC, TOKEN, SESSION, PEER, SECRET, REGISTRATION})

# -- titles of the JSON:API family (spec/03 §2.2), by status

TITLES: Mapping[int, str] = {
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Request Entity Too Large",
    414: "Request URI Too Long",
    415: "Unsupported Media Type",
    416: "Requested Range Not Satisfiable",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    451: "Unavailable For Legal Reasons",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    507: "Insufficient Storage",
}

# -- statuses of the domain errors

STATUSES: dict[type[errors.DomainError], int] = {
    errors.BadRequest: 400,
    errors.NotFound: 404,
    errors.TooSlow: 408,
    errors.Conflict: 409,
    errors.Gone: 410,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.InvalidParameter: 422,
    errors.InvalidAttribute: 422,
    errors.TooManyRequests: 429,
    errors.Blocked: 451,
    errors.Unavailable: 503,
    errors.OutOfSpace: 507,
    errors.UpstreamFailed: 502,
    errors.Denied: 403,
    errors.Unprocessed: 500,
    errors.AuthError: 401,
    errors.NoToken: 401,
    errors.InvalidToken: 400,
    errors.ExpiredToken: 400,
    errors.BadCredentials: 400,
    errors.Unreadable: 400,
    errors.Forbidden: 403,
}

_OWN_TITLES: dict[type[errors.DomainError], str] = {
    errors.Gone: "Cozy has been moved",
    errors.InvalidParameter: "Invalid Parameter",
    errors.InvalidAttribute: "Invalid Attribute",
    errors.Unprocessed: "Unqualified error",
}

BODY_IDLE_SECONDS = 60.0
"""How long the next piece of a body may take; whoever sends nothing holds a connection for no longer."""
BODY_SECONDS = 180.0
"""How long a body may take that is read as a whole: it is small."""

_IN_URLS = "".join(chr(code) for code in range(0x21, 0x7F))
_COMPRESS_FROM = 256  # bytes; below, the header costs what is saved
_COMPRESS_ASIDE_FROM = 128 * 1024  # bytes; above, compression leaves the event loop
_WATCHED_FROM = 1024 * 1024  # bytes of a stream; a shorter one is sent to its end, listened to or not
_ENCODER = msgspec.json.Encoder()


class Answer(Response[Any]):
    """A complete answer: status, headers, cookies (`set_cookie`) and the bytes of its body.

    It is its own ASGI application, so that Litestar adds nothing to it. A HEAD request gets the same headers
    without the body.
    """

    __slots__ = ("body", "compress")

    def __init__(
        self,
        body: bytes = b"",
        *,
        status: int = 200,
        media_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        compress: bool = False,
    ) -> None:
        self.body = body
        self.compress = compress
        self.status_code = status
        self.media_type = media_type
        self.headers: dict[str, Any] = dict(headers) if headers else {}
        self.cookies = []
        self.background = None
        self.encoding = "utf-8"

    def to_asgi_response(self, *args: Any, **kwargs: Any) -> Any:
        """The answer itself."""
        return self

    def start(self, length: int | None) -> dict[str, Any]:
        """The first ASGI message, `length` being the Content-Length in bytes (None: unknown)."""
        headers = [
            (name.lower().encode("latin-1"), str(value).encode("latin-1")) for name, value in self.headers.items()
        ]
        if self.media_type and "content-type" not in self.headers:
            headers.append((b"content-type", self.media_type.encode("latin-1")))
        if length is not None and "content-length" not in self.headers and self.status_code not in (204, 304):
            headers.append((b"content-length", b"%d" % length))
        headers.extend((b"set-cookie", cookie_line(cookie).encode("latin-1")) for cookie in self.cookies)
        return {"type": "http.response.start", "status": self.status_code, "headers": headers}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send the answer."""
        body = self.body
        if self.compress:
            self.headers["vary"] = "Accept-Encoding"
            if len(body) >= _COMPRESS_FROM and _accepts_gzip(scope):
                if len(body) < _COMPRESS_ASIDE_FROM:
                    body = _gzip(body)
                else:
                    body = await asyncio.to_thread(_gzip, body)
                self.headers["content-encoding"] = "gzip"
        await send(self.start(len(body)))
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


class Streamed(Answer):
    """An answer whose body comes in pieces; the next piece is asked for when the last one is on its way."""

    __slots__ = ("chunks",)

    def __init__(
        self,
        chunks: AsyncIterable[bytes],
        *,
        status: int = 200,
        media_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        compress: bool = False,
    ) -> None:
        super().__init__(status=status, media_type=media_type, headers=headers, compress=compress)
        self.chunks = chunks

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send the answer piece by piece. Whatever ends it early, the source is closed."""
        source = self.chunks
        if self.compress:
            self.headers["vary"] = "Accept-Encoding"
            if _accepts_gzip(scope):
                self.headers["content-encoding"] = "gzip"
                source = _gzipped(source)
        gone: asyncio.Future[None] | None = None
        sent = -1  # bytes; -1 before the start
        try:
            if scope["method"] == "HEAD":
                await send(self.start(None))
                await send({"type": "http.response.body", "body": b""})
                return
            async for chunk in source:
                if sent < 0:  # an error of the source before its first piece is still answered as an error
                    await send(self.start(None))
                    sent = 0
                if chunk:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                    sent += len(chunk)
                if gone is not None and gone.done():
                    return  # nobody listens any more
                if gone is None and sent > _WATCHED_FROM and scope["method"] == "GET":
                    gone = asyncio.ensure_future(_disconnected(receive))
            if sent < 0:
                await send(self.start(None))
            await send({"type": "http.response.body", "body": b""})
        finally:
            if gone is not None:
                gone.cancel()
            if isinstance(source, AsyncGenerator):
                await source.aclose()


def cookie_line(cookie: Cookie) -> str:
    """A cookie as it is sent: an empty value is really empty, attributes in the order and case of spec/03 §6.1."""
    line = f"{cookie.key}={cookie.value or ''}"
    if cookie.path:
        line += f"; Path={cookie.path}"
    if cookie.domain:
        line += f"; Domain={cookie.domain}"
    if cookie.max_age is not None:
        line += f"; Max-Age={cookie.max_age}"
    if cookie.httponly:
        line += "; HttpOnly"
    if cookie.secure:
        line += "; Secure"
    if cookie.samesite:
        line += f"; SameSite={cookie.samesite.capitalize()}"
    return line


def jsonapi(document: Mapping[str, Any] | bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """A JSON:API document (built by `kernel.jsonapi`, or its JSON text), compressed for who accepts it."""
    body = document if isinstance(document, bytes) else _ENCODER.encode(document)
    return Answer(body, status=status, media_type=JSONAPI, headers=headers, compress=True)


def plain_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Any JSON value, or its text as bytes."""
    body = value if isinstance(value, bytes) else _ENCODER.encode(value)
    return Answer(body, status=status, media_type=JSON, headers=headers)


def no_content(headers: Mapping[str, str] | None = None) -> Answer:
    """204."""
    return Answer(status=204, headers=headers)


def text(value: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Plain text."""
    return Answer(value.encode(), status=status, media_type="text/plain; charset=UTF-8", headers=headers)


def html(page: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """An HTML page."""
    return Answer(page.encode(), status=status, media_type="text/html; charset=UTF-8", headers=headers)


def redirect(location: str, status: int = 303, headers: Mapping[str, str] | None = None) -> Answer:
    """Elsewhere; `location` is a complete URL. What a header cannot carry of it is percent-encoded."""
    return Answer(status=status, headers={"location": quote(location, safe=_IN_URLS), **(headers or {})})


def streamed(
    chunks: AsyncIterable[bytes],
    *,
    status: int = 200,
    media_type: str | None = None,
    headers: Mapping[str, str] | None = None,
    compress: bool = False,
) -> Streamed:
    """Bytes that come in pieces, compressed for who accepts it where that is wanted; give `content-length` in
    `headers` when it is known."""
    return Streamed(chunks, status=status, media_type=media_type, headers=headers, compress=compress)


def jsonapi_revalidated(request: Request[Any, Any, Any], document: Mapping[str, Any] | bytes) -> Answer:
    """As `jsonapi`, with an `ETag` of the content; 304 for who has it already (spec/11 §8)."""
    answer = jsonapi(document)
    tag = f'W/"{blake2b(answer.body, digest_size=16).hexdigest()}"'
    if lists_tag(request.headers.get("if-none-match", ""), tag):
        return Answer(status=304, headers={"etag": tag})
    answer.headers["etag"] = tag
    return answer


def lists_tag(value: str, etag: str, *, weak: bool = True) -> bool:
    """Whether an `If-Match` or `If-None-Match` header names an entity tag (RFC 9110 §8.8.3.2), or any by `*`."""
    if not value:
        return False
    if value.strip() == "*":
        return True
    names = (part.strip() for part in value.split(","))
    return any(name.removeprefix("W/") == etag.removeprefix("W/") if weak else name == etag for name in names)


# -- errors


def status_of(error: errors.DomainError) -> int:
    """The HTTP status of a domain error: that of its nearest known class; 500 for one that nobody expected here."""
    return next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)


def title_of(error: errors.DomainError) -> str:
    """The title of a domain error in the JSON:API family."""
    if error.title:
        return error.title
    return next((_OWN_TITLES[kind] for kind in type(error).__mro__ if kind in _OWN_TITLES), TITLES[status_of(error)])


# -- reading


async def body_chunks(request: Request[Any, Any, Any]) -> AsyncIterator[bytes]:
    """The body as it arrives; the sender waits while nobody asks.

    Raises BadRequest when it breaks off, TooSlow when nothing comes for `BODY_IDLE_SECONDS`."""
    while True:
        try:
            async with asyncio.timeout(BODY_IDLE_SECONDS):
                message = await request.receive()
        except TimeoutError as error:
            raise TooSlow("The request body did not arrive in time") from error
        if message["type"] != "http.request":
            raise BadRequest("The request body was interrupted")
        if chunk := message.get("body", b""):
            yield chunk
        if not message.get("more_body", False):
            return


async def read_body(request: Request[Any, Any, Any], limit: int = 1_000_000) -> bytes:
    """The whole body, at most `limit` bytes. Raises TooLarge beyond, BadRequest when it breaks off, TooSlow as
    `body_chunks`, and when all of it takes longer than `BODY_SECONDS`."""
    if declared_length(request) > limit:
        raise TooLarge(f"The request body is larger than {limit} bytes")
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS), aclosing(body_chunks(request)) as chunks:  # pyright: ignore[reportArgumentType]
            async for chunk in chunks:
                size += len(chunk)
                if size > limit:
                    raise TooLarge(f"The request body is larger than {limit} bytes")
                pieces.append(chunk)
    except TimeoutError as error:
        raise TooSlow("The request body did not arrive in time") from error
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def declared_length(request: Request[Any, Any, Any]) -> int:
    """The Content-Length of the request in bytes, -1 when it is absent or unreadable."""
    value = request.headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() else -1


def wants_json(request: ASGIConnection[Any, Any, Any, Any]) -> bool:
    """Whether `Accept` contains `application/json` (spec/03 §2.2)."""
    return JSON in request.headers.get("accept", "")


def wants_html(request: ASGIConnection[Any, Any, Any, Any]) -> bool:
    """Whether `Accept` contains `text/html`."""
    return "text/html" in request.headers.get("accept", "")


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _gzip(body: bytes) -> bytes:
    press = zlib.compressobj(1, zlib.DEFLATED, 31)
    return press.compress(body) + press.flush()


async def _gzipped(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    press = zlib.compressobj(1, zlib.DEFLATED, 31)
    try:
        async for chunk in chunks:
            yield press.compress(chunk)
        yield press.flush()
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


def _accepts_gzip(scope: Any) -> bool:
    for name, value in scope["headers"]:
        if name == b"accept-encoding":
            return b"gzip" in value and b"gzip;q=0" not in value.replace(b" ", b"")
    return False
