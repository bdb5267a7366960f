"""The OpenAPI document of the HTTP API, made from the routes: paths, methods, what they are for, who may call them.

Bodies of answers are described by the specification, not repeated here; errors have two forms (spec/03 §2.2), both
named. What requests carry is told by `openapi_inputs`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from litestar.handlers import HTTPRouteHandler

import inglenook
from inglenook.web import parts
from inglenook.web.openapi_inputs import query_parameters, request_body
from inglenook.wire import JSON, JSONAPI, PEER, PUBLIC, REGISTRATION, SECRET, SESSION, TOKEN

Object = dict[str, Any]

WHO = {
    PUBLIC: "Anyone.",
    TOKEN: "A bearer of a permission: the token of an app, a client or a link.",
    SESSION: "A logged-in browser.",
    PEER: "The server of another member of the sharing.",
    SECRET: "Whoever holds the secret in the address or the body.",
    REGISTRATION: "An OAuth client, by its registration token or secret.",
}
"""Who may call a route, by its guard."""

SECURITY: Mapping[str, Sequence[Object]] = {
    TOKEN: ({"bearer": []},),
    PEER: ({"bearer": []},),
    SESSION: ({"session": []},),
    REGISTRATION: ({"bearer": []},),
}

ERROR: Object = {
    "description": "What is wrong: JSON:API errors; for tokens and rights a plain message by `Accept`.",
    "content": {
        JSONAPI: {"schema": {"$ref": "#/components/schemas/Errors"}},
        JSON: {"schema": {"$ref": "#/components/schemas/PlainError"}},
    },
}

COMPONENTS: Object = {
    "securitySchemes": {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "session": {"type": "apiKey", "in": "cookie", "name": "cozysessid"},
    },
    "schemas": {
        "Errors": {
            "type": "object",
            "required": ["errors"],
            "properties": {"errors": {"type": "array", "items": {"$ref": "#/components/schemas/Error"}}},
        },
        "Error": {
            "type": "object",
            "required": ["status", "title", "source"],
            "properties": {
                "status": {"type": "string"},
                "title": {"type": "string"},
                "detail": {"type": "string"},
                "code": {"type": "string"},
                "source": {"type": "object"},
                "links": {"type": "object"},
            },
        },
        "PlainError": {
            "anyOf": [
                {"type": "object", "required": ["error"], "properties": {"error": {"type": ["string", "object"]}}},
                {"type": "string"},
            ]
        },
    },
}


def document() -> Object:
    """The whole document, OpenAPI 3.1, paths in alphabetical order."""
    paths: dict[str, Object] = {}
    for handler in parts.routes():
        for path, method, operation in operations(handler):
            paths.setdefault(path, {})[method] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Inglenook", "version": inglenook.__version__, "license": {"name": "Apache-2.0"}},
        "paths": {path: paths[path] for path in sorted(paths)},
        "components": COMPONENTS,
    }


def operations(handler: object) -> Iterator[tuple[str, str, Object]]:
    """Path, method and description of each operation of a route."""
    if not isinstance(handler, HTTPRouteHandler) or handler.opt.get("refuses"):
        return
    guard = str(handler.opt.get("guard", PUBLIC))
    text = inspect.getdoc(handler.fn) or ""
    summary, _, rest = text.partition("\n\n")
    for given in handler.paths:
        path = _address(re.sub(r"\{(\w+):\w+\}", r"{\1}", given))
        for method in sorted(str(m) for m in handler.http_methods):
            operation: Object = {
                "summary": " ".join(summary.split()),
                "description": " ".join(f"{rest} {WHO[guard]}".split()),
                "operationId": f"{handler.fn.__name__}_{method.lower()}_{re.sub(r'[^a-z0-9]+', '_', path.lower())}",
                "tags": [path.split("/")[1] or "root"],
                "parameters": [
                    {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
                    for name in re.findall(r"\{(\w+)\}", path)
                ]
                + query_parameters(path, handler.fn.__name__),
                "responses": {"2XX": {"description": "Done."}, "4XX": ERROR},
            }
            if (body := request_body(path, handler.fn.__name__)) is not None:
                operation["requestBody"] = body
            if guard in SECURITY:
                operation["security"] = list(SECURITY[guard])
            yield path, method.lower(), operation


def _address(path: str) -> str:
    """The path of a route as it is called: some end with a slash (spec/01 §1.6)."""
    return path + "/" if path in ("/data", "/data/{doctype}", "/files") else path
