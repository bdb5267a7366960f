"""Sharing by link: permission documents with codes, made, changed and revoked by who may (spec/03 §10.5, §11)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from litestar.datastructures import Cookie

from inglenook.environment import rfc3339
from inglenook.identity import auth_message, passphrase_hash, sessions, tokens
from inglenook.identity.permission_documents import PERMISSIONS, rules_of, shown
from inglenook.identity.sessions import moment
from inglenook.kernel import doctypes
from inglenook.kernel.errors import BadRequest, Forbidden, InvalidAttribute, InvalidParameter
from inglenook.kernel.permissions import FILES, LARGER, PermissionSet, Permit, parse_rule, parse_rules
from inglenook.storage.documents.contract import Document, Writer

if TYPE_CHECKING:
    from inglenook.environment import Randomness
    from inglenook.identity.instance import Instance

ONLY_PARENT = "Permissions can be updated only by its parent"
ONLY_APPS = "Only apps can create sharing permissions"
PATCH_SHAPE = "The patch doc should have property 'codes' or 'permissions', not both"

MAX_CODES = 100
TINY_LIFE = timedelta(hours=1)
CREATORS = frozenset({"app", "konnector", "oauth", "cli"})

Attributes = dict[str, Any]


# -- creating


def link_body(
    instance: Instance,
    creator: Permit,
    sent: Mapping[str, Any],
    *,
    names: Sequence[str] = ("",),
    ttl: str = "",
    tiny: bool = False,
    password_hash: str = "",
) -> Attributes:
    """The document of a new link: rules checked against its creator's, a long and a short code for each name.

    `password_hash` is the scrypt text of the link's password. Raises Forbidden (not a creator of links, rules larger
    than its own, reserved doctype), BadCredentials (malformed rules), InvalidParameter `ttl`, InvalidAttribute
    `expires_at`."""
    if creator.kind not in CREATORS:
        raise Forbidden(ONLY_APPS)
    rules = parse_rules(sent.get("permissions"))
    check_subset(creator.permissions, rules)
    return assemble(instance, rules, creator_source(creator), creator_slug(creator), sent,
                    names=names, ttl=ttl, tiny=tiny, password_hash=password_hash)  # fmt: skip


def assemble(
    instance: Instance,
    rules: PermissionSet,
    source_id: str,
    slug: str,
    sent: Mapping[str, Any],
    *,
    names: Sequence[str],
    ttl: str = "",
    tiny: bool = False,
    password_hash: str = "",
) -> Attributes:
    """The document of a link whose rules are already allowed. Raises as `link_body` for `ttl` and dates."""
    now = instance.env.clock.now()
    life = duration(ttl) if ttl else None
    short_length = 6 if tiny and life is not None and life <= TINY_LIFE else 12
    body: Attributes = {"type": "share", "source_id": source_id, "permissions": rules.to_json()}
    if life is not None:
        body["expires_at"] = rfc3339(now + life)
    elif sent.get("expires_at"):
        body["expires_at"] = checked_date(sent["expires_at"])
    if len(names) > MAX_CODES:
        raise InvalidParameter(f"At most {MAX_CODES} codes can be made at once", parameter="codes")
    body["codes"] = {name: new_code(instance, name) for name in names}
    body["shortcodes"] = {name: short_code(instance.env.random, short_length) for name in names}
    if password_hash:
        body["password"] = base64.b64encode(password_hash.encode()).decode()
    stamp = rfc3339(now)
    given = sent.get("cozyMetadata")
    body["cozyMetadata"] = {
        **(given if isinstance(given, dict) else {}),
        "doctypeVersion": "1",
        "metadataVersion": 1,
        "createdAt": stamp,
        "createdByApp": slug,
        "updatedAt": stamp,
        "updatedByApps": [{"slug": slug, "date": stamp, "instance": instance.domain}],
    }
    return body


def check_subset(parent: PermissionSet, child: PermissionSet) -> None:
    """Refuse rules that give more than `parent` has, or are on a doctype that apps may not write. Raises Forbidden."""
    if not parent.includes(child):
        raise Forbidden(LARGER)
    for rule in child.rules:
        if rule.type != FILES:
            doctypes.check_writable(rule.type)


def creator_source(permit: Permit) -> str:
    """The `source_id` of what this caller makes: its app, its client, nothing for the command line."""
    return "" if permit.kind == "cli" else permit.source_id


def creator_slug(permit: Permit) -> str:
    """Who made it, for the metadata: the app's slug, or the subject of the token."""
    return permit.slug or permit.client_id


def new_code(instance: Instance, subject: str) -> str:
    """A long code; its random claim keeps codes of one name and second apart (spec/03 §19.16)."""
    return tokens.issue(instance, tokens.SHARE, subject, unique=instance.env.random.bytes(12).hex())


def short_code(random: Randomness, length: int = 12) -> str:
    """12 letters and digits, or 6 digits."""
    alphabet = "0123456789" if length == 6 else "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    limit = 256 - 256 % len(alphabet)
    letters = ""
    while len(letters) < length:
        letters += "".join(alphabet[byte % len(alphabet)] for byte in random.bytes(2 * length) if byte < limit)
    return letters[:length]


# -- changing


def patched(
    document: Document, caller: Permit, patch: Mapping[str, Any], now: str, *, password_hash: str | None = None
) -> Attributes:
    """The new body of a permission document. `password_hash` is the scrypt text of a new password, "" to remove it.

    Raises BadRequest (nothing, or codes and permissions together), Forbidden (not the caller's, or more than it
    has), InvalidAttribute, BadCredentials."""
    keys = [key for key in ("codes", "permissions", "password", "expires_at") if patch.get(key) is not None]
    if not keys or ("codes" in keys and "permissions" in keys):
        raise BadRequest(PATCH_SHAPE)
    check_owned(document, caller)
    body = dict(document.body)
    if "codes" in keys:
        _keep_codes(body, patch["codes"])
    if "permissions" in keys:
        body["permissions"] = _patched_rules(body, caller, patch["permissions"])
    if "password" in keys:
        body.pop("password", None)
        if password_hash:
            body["password"] = base64.b64encode(password_hash.encode()).decode()
    if "expires_at" in keys:
        body.pop("expires_at", None)
        if patch["expires_at"] != "":
            body["expires_at"] = checked_date(patch["expires_at"])
    metadata = dict(body.get("cozyMetadata") or {})
    metadata["updatedAt"] = now
    by_apps = [dict(entry) for entry in metadata.get("updatedByApps") or () if isinstance(entry, dict)]
    if by_apps:
        by_apps[0]["date"] = now
        metadata["updatedByApps"] = by_apps
    body["cozyMetadata"] = metadata
    return body


def check_owned(document: Document, caller: Permit) -> None:
    """Whether the caller may change or revoke a document: it made it, owns the app, or its rights cover the link.

    Raises Forbidden."""
    target = document.body
    if target.get("type") != "share":
        # the rules of an app change by the app itself, or by a client of the owner that may change permissions;
        # codes of sharings by nobody
        own = target.get("type") in ("app", "konnector") and caller.kind in ("app", "konnector", "oauth", "cli")
        same = bool(caller.source_id) and caller.source_id == target.get("source_id")
        owners = caller.kind in ("oauth", "cli") and caller.allows_type("PATCH", PERMISSIONS)
        if own and (caller.is_maximal or same or owners):
            return
        raise Forbidden(ONLY_PARENT)
    if caller.kind not in ("app", "oauth", "cli"):
        raise Forbidden(ONLY_PARENT)
    same_source = bool(caller.source_id) and caller.source_id == target.get("source_id")
    if not same_source and not caller.permissions.includes(PermissionSet(rules_of(target))):
        raise Forbidden(ONLY_PARENT)


def revoke(tx: Writer, document: Document) -> None:
    """Delete a permission document: its codes open nothing from now on."""
    tx.delete(PERMISSIONS, document.id, document.rev)


def _keep_codes(body: Attributes, sent: Any) -> None:
    """Take over the codes that stay. Values must be codes of this very document: codes are made by the server."""
    if not isinstance(sent, dict):
        raise BadRequest(PATCH_SHAPE)
    own = set(body.get("codes", {}).values())
    if not all(isinstance(value, str) and value in own for value in sent.values()):
        raise InvalidAttribute("A code can only be kept or removed", pointer="/data/attributes/codes")
    body["codes"] = sent
    if "shortcodes" in body:
        body["shortcodes"] = {name: short for name, short in body["shortcodes"].items() if name in sent}


def _patched_rules(body: Attributes, caller: Permit, sent: Any) -> dict[str, Any]:
    if not isinstance(sent, dict):
        raise BadRequest(PATCH_SHAPE)
    rules = dict(body.get("permissions") or {})
    for title, rule in sent.items():
        if isinstance(rule, dict) and rule.get("type"):
            new = parse_rule(title, rule)
            if not caller.permissions.includes(PermissionSet((new,))):
                raise Forbidden(LARGER)
            if new.type != FILES and body.get("type") == "share":
                doctypes.check_writable(new.type)
            rules[title] = new.to_json()
        elif title in rules:
            del rules[title]
    return rules


# -- passwords of links


async def hash_password(instance: Instance, password: str) -> str:
    """The scrypt text of a link's password."""
    return await passphrase_hash.server_hash(password, instance.env.random.bytes(passphrase_hash.SALT_BYTES))


async def right_password(document: Document, password: str) -> bool:
    """Whether this is the password of the link."""
    return await passphrase_hash.check(_stored(document), password)


def password_cookie(instance: Instance, document: Document, host: str) -> Cookie:
    """What a visitor gets for the right password. A new password of the link makes it worthless."""
    name = f"pass{document.id}"
    now = int(instance.env.clock.now().timestamp())
    value = auth_message.sign(instance.session_key, name, document.id.encode(), now, _password_mark(document))
    return Cookie(
        key=name, value=value, path="/", domain=sessions.cookie_domain(instance, host), httponly=True,
        samesite="lax", secure=not instance.env.config.dev,
    )  # fmt: skip


def has_password_cookie(instance: Instance, document: Document, cookies: Mapping[str, str]) -> bool:
    """Whether the visitor has given the password of this link."""
    name = f"pass{document.id}"
    value = auth_message.verify(instance.session_key, name, cookies.get(name, ""), _password_mark(document))
    return value == document.id.encode()


def _stored(document: Document) -> str:
    try:
        return base64.b64decode(str(document.body.get("password", ""))).decode()
    except ValueError:
        return ""


def _password_mark(document: Document) -> bytes:
    return hashlib.sha256(str(document.body.get("password", "")).encode()).digest()[:16]


# -- dates


_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(Y|M|W|D|h|ms|us|µs|ns|m|s)")
_UNITS = {
    "Y": 365 * 86_400.0, "M": 30 * 86_400.0, "W": 7 * 86_400.0, "D": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0,
    "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9,
}  # fmt: skip
_LONGEST = 100 * 365 * 86_400.0


def duration(text: str) -> timedelta:
    """A duration such as `1D`, `2W` or `1h30m`. Raises InvalidParameter `ttl` when it is none, or not positive."""
    seconds, position = 0.0, 0
    while match := _DURATION.match(text, position):
        seconds += float(match[1]) * _UNITS[match[2]]
        position = match.end()
    if position != len(text) or not 0 < seconds <= _LONGEST:
        raise InvalidParameter("The time to live cannot be read", parameter="ttl")
    return timedelta(seconds=seconds)


def checked_date(value: Any) -> str:
    """An expiry date as it is kept. Raises InvalidAttribute when it is no RFC 3339 date."""
    parsed: datetime | None = moment(value)
    if parsed is None:
        raise InvalidAttribute("The date cannot be read", pointer="/data/attributes/expires_at")
    return str(value)


def answer_attributes(document: Document) -> Attributes:
    """The attributes of an answer to who made or changed the link: codes included."""
    return shown(document.body, with_codes=True)
