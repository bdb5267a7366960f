"""The documents `io.cozy.permissions`: found by source or code, read as rules, shown to clients (spec/03 §10.1, §11).

Apps own one each, links one each, and a sharing one for previews and one for editing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from inglenook.identity.sessions import moment
from inglenook.kernel.collation import raw_key
from inglenook.kernel.errors import BadCredentials, Forbidden
from inglenook.kernel.permissions import Rule, parse_rules
from inglenook.storage.documents.contract import Document, Index, Reader, Writer

PERMISSIONS = "io.cozy.permissions"
SHARINGS = "io.cozy.sharings"


def _code_keys(doc_id: str, body: dict[str, Any]) -> Iterable[bytes]:
    if str(body.get("type", "")).startswith("share"):
        yield from (raw_key("long", str(code)) for code in set(_values(body.get("codes"))))
        yield from (raw_key("short", str(code)) for code in set(_values(body.get("shortcodes"))))


def _source_keys(doc_id: str, body: dict[str, Any]) -> Iterable[bytes]:
    yield raw_key(str(body.get("type", "")), str(body.get("source_id") or ""))


def _link_keys(doc_id: str, body: dict[str, Any]) -> Iterable[bytes]:
    if body.get("type") == "share":
        for rule in _rule_objects(body):
            yield raw_key("type", str(rule.get("type", "")))
            if not rule.get("selector"):
                for value in rule.get("values") or ():
                    yield raw_key("id", str(rule.get("type", "")), str(value))


CODES = Index("permissions-by-code", PERMISSIONS, _code_keys, version=1)
SOURCES = Index("permissions-by-source", PERMISSIONS, _source_keys, version=1)
LINKS = Index("permissions-links", PERMISSIONS, _link_keys, version=1)
PERMISSION_INDEXES = (CODES, SOURCES, LINKS)


# -- finding


def of_source(view: Reader, kind: str, source_id: str) -> Document | None:
    """The permission document of a kind for a source such as `io.cozy.apps/drive`."""
    found = view.index_docs(SOURCES, start=(key := raw_key(kind, source_id)), end=key + b"\x00", limit=1)
    return found[0][1] if found else None


def all_of_source(view: Reader, kind: str, source_id: str, limit: int = 100) -> list[Document]:
    """All permission documents of a kind for a source."""
    key = raw_key(kind, source_id)
    return [document for _, document in view.index_docs(SOURCES, start=key, end=key + b"\x00", limit=limit)]


def by_code(view: Reader, code: str) -> Document:
    """The document that lists a long code. Raises Forbidden (none), BadCredentials (several)."""
    found = _listing(view, "long", code)
    if not found:
        raise Forbidden(f"no permission doc for token {code}")
    if len(found) > 1:
        raise BadCredentials(f"Bad state: several permission docs for token {code}")
    return found[0]


def long_code(view: Reader, short: str) -> str:
    """The long code that a short one stands for. Raises as `by_code`."""
    found = _listing(view, "short", short)
    if len(found) > 1:
        raise BadCredentials(f"Bad state: several permission docs for shortcode {short}")
    for document in found:
        for name, value in document.body.get("shortcodes", {}).items():
            if value == short and (code := document.body.get("codes", {}).get(name)):
                return str(code)
    raise Forbidden(f"no permission doc for shortcode {short}")


def links_of_doctype(
    view: Reader, doctype: str, *, after: tuple[bytes, str] | None, limit: int
) -> list[tuple[bytes, Document]]:
    """The links with a rule for exactly this doctype, in a stable order."""
    key = raw_key("type", doctype)
    return view.index_docs(LINKS, start=key, end=key + b"\x00", after=after, limit=limit)


def links_of_document(view: Reader, doctype: str, id: str, limit: int = 100) -> list[Document]:
    """The links that name a document by its id."""
    key = raw_key("id", doctype, id)
    return [document for _, document in view.index_docs(LINKS, start=key, end=key + b"\x00", limit=limit)]


# -- reading


def rules_of(body: Mapping[str, Any]) -> tuple[Rule, ...]:
    """The rules of a permission document, in their order."""
    return parse_rules(body.get("permissions") or {}).rules


def expired(body: Mapping[str, Any], now: datetime) -> bool:
    """Whether a document's `expires_at` is past; a date that cannot be read is past (spec/03 §10.1)."""
    if "expires_at" not in body:
        return False
    end = moment(body["expires_at"])
    return end is None or end <= now


def shown(body: Mapping[str, Any], *, with_codes: bool) -> dict[str, Any]:
    """The attributes that clients see: never the password's hash, the codes only where the route gives them."""
    hidden = () if with_codes else ("codes", "shortcodes")
    attributes = {name: value for name, value in body.items() if name not in hidden}
    if attributes.get("password"):
        attributes["password"] = True
    return attributes


def links_section(id: str, body: Mapping[str, Any]) -> dict[str, str]:
    """The `links` of a permission document."""
    source = str(body.get("source_id") or "")
    section = {"self": f"/permissions/{id}"}
    if source.startswith(f"{SHARINGS}/"):
        section["related"] = "/sharings/" + source.removeprefix(f"{SHARINGS}/")
    return section


# -- writing


def put_for_app(tx: Writer, source_id: str, permissions: Mapping[str, Any], now: str, *, kind: str = "app") -> Document:
    """Write the permission document of an app from its manifest, in place of an older one."""
    old = of_source(tx, kind, source_id)
    slug = source_id.rpartition("/")[2]
    body: dict[str, Any] = {"type": kind, "source_id": source_id, "permissions": dict(permissions)}
    if old is None:
        body["cozyMetadata"] = {
            "doctypeVersion": "1", "metadataVersion": 1, "createdAt": now, "createdByApp": slug, "updatedAt": now,
        }  # fmt: skip
        return tx.put(PERMISSIONS, tx.new_id(), body)
    body["cozyMetadata"] = {**(old.body.get("cozyMetadata") or {}), "updatedAt": now}
    return tx.put(PERMISSIONS, old.id, body, rev=old.rev)


def _listing(view: Reader, kind: str, code: str) -> list[Document]:
    key = raw_key(kind, code)
    return [document for _, document in view.index_docs(CODES, start=key, end=key + b"\x00", limit=2)]


def _values(codes: Any) -> list[Any]:
    return list(codes.values()) if isinstance(codes, dict) else []


def _rule_objects(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    rules = body.get("permissions")
    return [rule for rule in rules.values() if isinstance(rule, dict)] if isinstance(rules, dict) else []
