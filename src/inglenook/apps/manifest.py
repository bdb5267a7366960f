"""The manifest of a web app: read, checked, and asked (spec/03 §12.1).

What an author wrote is kept, unknown keys included; what the server relies on is checked when the app comes in, so
that serving can trust the stored document.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from inglenook.kernel.errors import AuthError, BadRequest, InvalidParameter
from inglenook.kernel.permissions import PermissionSet, parse_rules

NAME = "manifest.webapp"
"""The name of the file in the folder of the app."""

MAX_BYTES = 2 * 1024 * 1024
DEFAULT_ROUTES: Mapping[str, Any] = {"/": {"folder": "/", "index": "index.html", "public": False}}
MAX_ROUTES = 200

Manifest = dict[str, Any]

_SLUG = re.compile(r"[a-z0-9-]{1,100}\Z", re.ASCII)
_TEXTS = ("name", "name_prefix", "editor", "icon", "version", "client_url_flag")
_SERVERS_OWN = ("source", "state", "available_version", "checksum", "created_at", "updated_at", "error")


def check_slug(slug: str) -> str:
    """The slug itself. Raises InvalidParameter `slug`."""
    if not _SLUG.match(slug):
        raise InvalidParameter("A slug is made of lower-case letters, digits and hyphens", parameter="slug")
    return slug


def read(raw: bytes, slug: str) -> Manifest:
    """The manifest that a file holds, under the slug that was asked for. Raises BadRequest."""
    if len(raw) > MAX_BYTES:
        raise BadRequest(f"The manifest is larger than {MAX_BYTES} bytes")
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest("The manifest is not JSON") from error
    if not isinstance(value, dict):
        raise BadRequest("The manifest is not a JSON object")
    manifest: Manifest = {
        name: member for name, member in value.items() if not name.startswith("_") and name not in _SERVERS_OWN
    }
    if manifest.setdefault("type", "webapp") != "webapp":
        raise BadRequest(f"The manifest is of the type {manifest['type']}, not webapp")
    for name in _TEXTS:
        if not isinstance(manifest.get(name, ""), str):
            raise BadRequest(f"The member {name} of the manifest is not a text")
    manifest["slug"] = slug
    manifest.setdefault("name", slug)
    manifest.setdefault("version", "")
    manifest["permissions"] = permissions(manifest).to_json()
    manifest["routes"] = _routes(manifest.get("routes"))
    _check_intents(manifest.get("intents"))
    return manifest


def permissions(manifest: Mapping[str, Any]) -> PermissionSet:
    """The rules that the app asks for. Raises BadRequest when they cannot be read."""
    try:
        rules = parse_rules(manifest.get("permissions") or {})
    except AuthError as error:
        raise BadRequest(f"The permissions of the manifest cannot be read: {error.detail}") from error
    if rules.is_maximal:
        raise BadRequest("A manifest cannot ask for all rights at once")
    return rules


def name_in(manifest: Mapping[str, Any], locale: str) -> str:
    """The name of the app in a language, else the one without language."""
    locales = manifest.get("locales")
    translated = locales.get(locale) if isinstance(locales, dict) else None
    name = translated.get("name") if isinstance(translated, dict) else None
    return name if isinstance(name, str) and name else str(manifest.get("name") or manifest["slug"])


def text(manifest: Mapping[str, Any], name: str) -> str:
    """A text of the manifest, empty when it is absent."""
    return str(manifest.get(name) or "")


def terms_version(manifest: Mapping[str, Any]) -> str:
    """The version of the terms of use, empty when there are none."""
    terms = manifest.get("terms")
    return str(terms.get("version") or "") if isinstance(terms, dict) else ""


def _routes(value: Any) -> dict[str, Any]:
    if not value:
        return {path: dict(route) for path, route in DEFAULT_ROUTES.items()}
    if not isinstance(value, dict) or len(value) > MAX_ROUTES:
        raise BadRequest("The routes of the manifest cannot be read")
    routes: dict[str, Any] = {}
    for path, route in value.items():
        if not isinstance(route, dict):
            raise BadRequest(f"The route {path} of the manifest is not an object")
        folder, index = route.get("folder") or "/", route.get("index") or ""
        public = route.get("public") or False
        if not isinstance(folder, str) or not isinstance(index, str) or not isinstance(public, bool):
            raise BadRequest(f"The route {path} of the manifest cannot be read")
        routes[path] = {**route, "folder": folder, "index": index, "public": public}
    return routes


def _check_intents(value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, list):
        raise BadRequest("The intents of the manifest are not a list")
    for intent in value:
        types = intent.get("type") if isinstance(intent, dict) else None
        if isinstance(types, str):
            types = [types]
        right = (
            isinstance(intent, dict)
            and isinstance(intent.get("action"), str)
            and isinstance(intent.get("href", "/"), str)
            and isinstance(types, list)
            and all(isinstance(type, str) for type in types)
        )
        if not right:
            raise BadRequest("An intent of the manifest cannot be read")
