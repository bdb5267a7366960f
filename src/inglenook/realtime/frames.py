"""The frames of the websocket: what clients send, and what they are told of mistakes (spec/07 §2.1)."""

from __future__ import annotations

from typing import Any

import msgspec

AUTH, SUBSCRIBE, UNSUBSCRIBE = "AUTH", "SUBSCRIBE", "UNSUBSCRIBE"


class Target(msgspec.Struct, frozen=True):
    """The doctype and the id (or none) of a subscription."""

    type: str = ""
    id: str = ""


class First(msgspec.Struct, frozen=True):
    """The first frame: its payload is a token."""

    method: str = ""
    payload: str = ""


class Later(msgspec.Struct, frozen=True):
    """Any other frame."""

    method: str = ""
    payload: Target = Target()


def read_first(text: str) -> First | None:
    """The first frame, None when it is not a flat object of texts."""
    try:
        return msgspec.json.decode(text, type=First)
    except msgspec.DecodeError:
        return None


def method_of(text: str) -> str:
    """The method of a frame that is no first frame, as it was sent; empty when there is none."""
    try:
        return msgspec.json.decode(text, type=_Method).method
    except msgspec.DecodeError:
        return ""


def read_later(text: str) -> Later | None:
    """A later frame, None when it is not one."""
    try:
        return msgspec.json.decode(text, type=Later)
    except msgspec.DecodeError:
        return None


def unauthorized() -> str:
    """The token is not good; it is not repeated."""
    source = {"method": AUTH, "payload": ""}
    return _error("401 Unauthorized", "unauthorized", "The authentication has failed", source)


def not_allowed_first(method: str) -> str:
    """The first frame was another one."""
    return _error(*_not_allowed(method), {"method": method, "payload": ""})


def not_allowed(frame: Later) -> str:
    """There is no such method."""
    return _error(*_not_allowed(frame.method), _source(frame))


def without_type(frame: Later) -> str:
    """The doctype is missing."""
    title = "The type parameter is mandatory for SUBSCRIBE"
    return _error("404 Page Not Found", "page not found", title, _source(frame))


def forbidden(frame: Later) -> str:
    """The permit does not reach so far."""
    title = f"The application can't subscribe to {frame.payload.type}"
    return _error("403 Forbidden", "forbidden", title, _source(frame))


class _Method(msgspec.Struct):
    method: str = ""


def _not_allowed(method: str) -> tuple[str, str, str]:
    return "405 Method Not Allowed", "method not allowed", f"The {method} method is not supported"


def _source(frame: Later) -> dict[str, Any]:
    return {"method": frame.method, "payload": {"type": frame.payload.type, "id": frame.payload.id}}


def _error(status: str, code: str, title: str, source: dict[str, Any]) -> str:
    payload = {"status": status, "code": code, "title": title, "source": source}
    return msgspec.json.encode({"event": "error", "payload": payload}).decode()
