"""The one place where an error becomes an answer (spec/01 §3 and §15.3, spec/02 §9.1, spec/03 §2.2 and §2.4).

Three families of bodies exist. Below `/data` the document store's; elsewhere JSON:API for what is wrong with the
thing asked, and "plain" (by `Accept`: JSON, an HTML page, or text) for who is asking and for routing.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import structlog
from litestar import Request
from litestar.exceptions import HTTPException, SerializationException, ValidationException

from inglenook import wire
from inglenook.identity import pages
from inglenook.identity.host_names import HostMatch
from inglenook.kernel import errors
from inglenook.wire import Answer, status_of, title_of

log = structlog.get_logger("inglenook.web")

_MISSING = re.compile(r".*Missing required \w+ parameter '([^']+)'")

MALFORMED = "JSON input is malformed or is missing mandatory fields"


def answer(request: Request[Any, Any, Any], error: BaseException) -> Answer:
    """The answer to a request that ended in `error`, whatever it is. What nobody expected is logged."""
    scope = request.scope
    path: str = scope["path"]
    accept = request.headers.get("accept", "")
    request_id: str = scope["state"].get("request_id", "")  # pyright: ignore[reportTypedDictNotRequiredAccess]
    host: HostMatch | None = scope["state"].get("host")  # pyright: ignore[reportTypedDictNotRequiredAccess]
    if not is_data(path) or (host is not None and host.slug):
        return _elsewhere(error, accept, request_id, host)
    opt = scope["route_handler"].opt if "route_handler" in scope else {}
    plain = opt.get("errors") == "store" or scope["state"].get("errors") == "store"  # pyright: ignore[reportTypedDictNotRequiredAccess]
    return _below_data(error, request_id, plain=plain)


def is_data(path: str) -> bool:
    """Whether a path belongs to the document store's routes, which have errors of their own."""
    return path.startswith("/data/") or path == "/data"


def plain(
    status: int, message: str, accept: str, headers: dict[str, str] | None = None, host: HostMatch | None = None
) -> Answer:
    """An error of the plain family: `{"error": …}`, a page or a text, by what is accepted."""
    if wire.JSON in accept:
        return wire.plain_json({"error": message}, status, headers)
    if "text/html" in accept:
        answer = page(status, message, host)
        answer.headers.update(headers or {})
        return answer
    return wire.text(message, status, headers)


def page(status: int, message: str, host: HostMatch | None = None) -> Answer:
    """A small page for people who met an error; `host` is what the request was for, None where nobody lives."""
    if host is None:
        return pages.refusal(status, message)
    origin = host.instance.url("", host=host.domain) if host.slug else ""
    return pages.refusal(status, message, host.instance.locale, host.domain, origin)


def _elsewhere(error: BaseException, accept: str, request_id: str, host: HostMatch | None) -> Answer:
    match error:
        case errors.AuthError():
            return plain(status_of(error), error.detail, accept, _headers(error), host)
        case errors.DomainError() if host and host.slug:
            return plain(status_of(error), error.detail, accept, _headers(error), host)
        case errors.DomainError():
            return _jsonapi(error)
        case HTTPException(status_code=404 | 405):
            return plain(error.status_code, wire.TITLES[error.status_code], accept, _allow(error), host)
        case HTTPException(status_code=status) if status < 500:
            return _jsonapi(_translate(error))
        case msgspec.MsgspecError() | SerializationException():
            return _jsonapi(_translate(error))
        case _:
            detail = _unexpected(error, request_id)
            if host and host.slug:
                return plain(500, detail, accept, None, host)
            return _jsonapi(errors.Unprocessed(detail))


def _below_data(error: BaseException, request_id: str, *, plain: bool) -> Answer:
    """`plain`: errors have the store's own two members. A route says so for all its requests
    (`opt={"errors": "store"}`) or for one (`scope["state"]["errors"]`)."""
    match error:
        case errors.AuthError():
            return _coded(status_of(error), error.detail, _headers(error))
        case errors.Gone():
            return _titled(410, "Cozy has been moved", "The Cozy has been moved to a new address")
        case errors.DomainError(title=str(title)):
            status = status_of(error)
            body = {"error": title, "reason": error.detail}
            if not plain:
                body = {"ok": False, "status": str(status), **body}
            return wire.plain_json(body, status, _headers(error))
        case errors.Unprocessed():
            return wire.plain_json({"error": error.detail}, 500)
        case errors.DomainError():
            return _titled(status_of(error), title_of(error), error.detail, _headers(error))
        case HTTPException(status_code=404 | 405):
            return _coded(404, "Not Found")
        case HTTPException(status_code=status) if status < 500:
            translated = _translate(error)
            return _titled(status_of(translated), title_of(translated), translated.detail)
        case msgspec.MsgspecError() | SerializationException():
            translated = _translate(error)
            return _titled(status_of(translated), title_of(translated), translated.detail)
        case _:
            return wire.plain_json({"error": _unexpected(error, request_id)}, 500)


def _jsonapi(error: errors.DomainError) -> Answer:
    status = status_of(error)
    source: dict[str, str] = {}
    if error.parameter is not None:
        source["parameter"] = error.parameter
    if error.pointer is not None:
        source["pointer"] = error.pointer
    item: dict[str, Any] = {"status": str(status), "title": title_of(error), "detail": error.detail, "source": source}
    code = error.code or ("moved" if isinstance(error, errors.Gone) else None)
    if code:
        item["code"] = code
    if error.related:
        item["links"] = {"related": error.related}
    body = msgspec.json.encode({"errors": [item]})
    return Answer(body, status=status, media_type=wire.JSONAPI, headers=_headers(error))


def _coded(status: int, message: str, headers: dict[str, str] | None = None) -> Answer:
    return wire.plain_json({"error": f"code={status}, message={message}"}, status, headers)


def _titled(status: int, title: str, detail: str, headers: dict[str, str] | None = None) -> Answer:
    return wire.plain_json({"error": f"{title}({status}): {detail}"}, status, headers)


def _headers(error: errors.DomainError) -> dict[str, str] | None:
    match error:
        case errors.ExpiredToken(challenges=True):
            value = 'Bearer error="invalid_token" error_description="The access token expired"'
            return {"www-authenticate": value}
        case errors.InvalidToken(detail="Invalid JWT token", challenges=True):
            return {"www-authenticate": 'Bearer error="invalid_token"'}
        case errors.TooManyRequests():
            return {"retry-after": str(getattr(error, "retry_after", None) or 60)}
        case errors.TooSlow():
            return {"connection": "close"}  # RFC 9110 §15.5.9: what may come yet is no next request
        case _:
            return None


def _allow(error: HTTPException) -> dict[str, str] | None:
    allowed = (error.headers or {}).get("allow")
    if not allowed:
        return None
    return {"allow": ", ".join(sorted(name for name in allowed.split(", ") if name != "OPTIONS"))}


def _translate(error: BaseException) -> errors.DomainError:
    """What the framework or a decoder refused, as a domain error."""
    match error:
        case ValidationException(extra=[{"key": str(key)}, *_]):
            return errors.BadRequest(f"The parameter {key} is missing or has an impossible value")
        case ValidationException(detail=detail) if missing := _MISSING.match(detail):
            return errors.BadRequest(f"The parameter {missing[1]} is missing")
        case HTTPException(status_code=413):
            return errors.TooLarge("The request body is too large")
        case HTTPException(status_code=415):
            return errors.UnsupportedMediaType("The request body is of a type that is not read here")
        case _:
            return errors.BadRequest(MALFORMED)


def _unexpected(error: BaseException, request_id: str) -> str:
    log.error("request failed", request_id=request_id, exc_info=(type(error), error, error.__traceback__))
    return f"Internal Server Error (request {request_id})"
