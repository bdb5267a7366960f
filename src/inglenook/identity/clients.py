"""OAuth clients: devices of the owner, and the other servers of sharings (spec/03 §7.1, spec/04 §2.7).

Their documents are made here and nowhere else, from named fields, so that no client can give itself what only the
server grants (`flagship` and its like).
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from inglenook.identity import tokens
from inglenook.kernel.collation import raw_key
from inglenook.kernel.errors import DomainError, InvalidParameter
from inglenook.storage.documents.contract import Document, Index, Reader, Writer

if TYPE_CHECKING:
    from inglenook.environment import Environment
    from inglenook.identity.instance import Instance

CLIENTS = "io.cozy.oauth.clients"
ACCESS_CODES = "io.cozy.oauth.access_codes"

PENDING = "pending-clients"
PENDING_SECONDS = 3600.0

REGISTRY = "registry://"
SHARING_KIND = "sharing"
SHARING_SOFTWARE = "github.com/cozy/cozy-stack"
DEVICE_KINDS = frozenset({"browser", "desktop", "mobile"})
GRANT_TYPES = ["authorization_code", "refresh_token"]
RESPONSE_TYPES = ["code"]
PLATFORMS = frozenset({"", "firebase", "apns", "huawei", "ios", "android"})

DECLARED = (
    "redirect_uris", "client_name", "client_kind", "client_uri", "logo_uri", "policy_uri", "software_id",
    "software_version", "notifications", "notification_platform", "notification_device_token",
)  # fmt: skip
"""The fields that a client may say about itself, in the order of the wire."""


class ClientRefused(DomainError):
    """A registration that cannot be accepted: 400 with `{"error": error, "error_description": detail}`."""

    def __init__(self, error: str, detail: str = "") -> None:
        super().__init__(detail)
        self.error = error


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a peer or device is given to call us; `wire()` is the `access_token` object of spec/04 §2.6."""

    access_token: str
    refresh_token: str
    scope: str

    def wire(self) -> dict[str, str]:
        """The JSON form."""
        return {
            "token_type": "bearer",
            "access_token": self.access_token,
            "refresh_token": self.refresh_token,
            "scope": self.scope,
        }


# -- indexes


def _name_keys(doc_id: str, body: dict[str, Any]) -> Iterable[bytes]:
    name = body.get("client_name")
    if isinstance(name, str):
        yield raw_key(name, _padded(1))
        base, number = _numbered(name)
        if number:
            yield raw_key(base, _padded(number))


def _software_keys(doc_id: str, body: dict[str, Any]) -> Iterable[bytes]:
    software = body.get("software_id")
    if isinstance(software, str):
        yield raw_key(software)
    if (slug := linked_app(body)) is not None and software != REGISTRY + slug:
        yield raw_key(REGISTRY + slug)


def _device_keys(doc_id: str, body: dict[str, Any]) -> Iterable[bytes]:
    if body.get("client_kind") in DEVICE_KINDS and body.get("client_name") and not body.get("pending"):
        yield b"device"


CLIENT_NAMES = Index("oauth-clients-by-name", CLIENTS, _name_keys, version=1)
CLIENT_SOFTWARE = Index("oauth-clients-by-software", CLIENTS, _software_keys, version=2)
CLIENT_DEVICES = Index("oauth-clients-devices", CLIENTS, _device_keys, version=1)
CLIENT_INDEXES = (CLIENT_NAMES, CLIENT_SOFTWARE, CLIENT_DEVICES)


# -- making


def create_client(
    tx: Writer, instance: Instance, declared: Mapping[str, Any], *, pending: bool, allow_login_scope: bool = False
) -> Document:
    """Register a client from what it declares: only the fields of `DECLARED` are read, and a client cannot declare
    itself another server of a sharing.

    Raises ClientRefused."""
    body = checked(instance, declared)
    if body.get("client_kind") == SHARING_KIND:
        del body["client_kind"]
    return _create(tx, instance, body, pending=pending, allow_login_scope=allow_login_scope)


def _create(
    tx: Writer, instance: Instance, body: dict[str, Any], *, pending: bool, allow_login_scope: bool = False
) -> Document:
    body["client_name"] = free_name(tx, body["client_name"])
    body["client_secret"] = new_secret(instance.env)
    body["client_secret_expires_at"] = 0
    body["grant_types"] = GRANT_TYPES
    body["response_types"] = RESPONSE_TYPES
    if allow_login_scope:
        body["allow_login_scope"] = True
    if pending:
        body["pending"] = True
    now = instance.env.clock.timestamp()
    metadata = {"doctypeVersion": "1", "metadataVersion": 1, "createdAt": now, "updatedAt": now}
    if slug := linked_app(body):
        metadata["createdByApp"] = slug
    body["cozyMetadata"] = metadata
    client = tx.put(CLIENTS, tx.new_id(), body)
    if pending:
        tx.put_record(PENDING, client.id, {}, due=instance.env.clock.now().timestamp() + PENDING_SECONDS)
    return client


def create_sharing_client(tx: Writer, instance: Instance, peer_instance: str, peer_name: str) -> Document:
    """The client for another server of a sharing (spec/04 §2.7). `peer_instance` is its address, `peer_name` the
    public name of its owner.

    Raises InvalidParameter `url` without address, ClientRefused when the peer is this very instance."""
    if not peer_instance:
        raise InvalidParameter("The Cozy URL is invalid", parameter="url")
    address = peer_instance.rstrip("/")
    declared = {
        "redirect_uris": [f"{address}/sharings/answer"],
        "client_name": f"Sharing {peer_name}",
        "client_kind": SHARING_KIND,
        "software_id": SHARING_SOFTWARE,
        "client_uri": f"{address}/",
    }
    return _create(tx, instance, checked(instance, declared), pending=False)


def issue_pair(instance: Instance, client_id: str, scope: str, issued_at: int | None = None) -> TokenPair:
    """An access and a refresh token for a client. `issued_at` is in seconds of Unix time, now by default."""
    access = tokens.issue(instance, tokens.ACCESS, client_id, scope=scope, issued_at=issued_at)
    refresh = tokens.issue(instance, tokens.REFRESH, client_id, scope=scope, issued_at=issued_at)
    return TokenPair(access, refresh, scope)


def wire_client(instance: Instance, document: Document, *, with_registration_token: bool = False) -> dict[str, Any]:
    """A client as OAuth routes and the answers of sharings give it, secret included (spec/03 §7.2, spec/04 §2.6)."""
    body = document.body
    head: dict[str, Any] = {"client_id": document.id}
    for name in ("client_secret", "client_secret_expires_at"):
        head[name] = body.get(name, 0 if name == "client_secret_expires_at" else "")
    if with_registration_token:
        head["registration_access_token"] = tokens.issue(instance, tokens.REGISTRATION, document.id)
    return {**head, **{name: value for name, value in body.items() if name not in head}}


def listed_client(document: Document) -> dict[str, Any]:
    """A client as its owner sees it in lists: nothing secret."""
    return {
        name: value
        for name, value in document.body.items()
        if name not in ("client_secret", "registration_access_token", "notification_device_token")
    }


# -- changing


def replace_client(tx: Writer, instance: Instance, document: Document, sent: Mapping[str, Any]) -> Document:
    """Take a full new declaration of a client (spec/03 §7.3). Raises ClientRefused."""
    if sent.get("client_id") != document.id:
        raise ClientRefused("invalid_client_id", "client_id is mandatory")
    old = document.body
    body = checked(instance, sent)
    secret = sent.get("client_secret")
    if secret in (None, ""):
        body["client_secret"] = old["client_secret"]
    elif isinstance(secret, str) and hmac.compare_digest(secret.encode(), str(old["client_secret"]).encode()):
        body["client_secret"] = new_secret(instance.env)
    else:
        raise ClientRefused("invalid_client_secret", "client_secret is invalid")
    if SHARING_KIND in (body.get("client_kind"), old.get("client_kind")):
        body.pop("client_kind", None)
        body |= {"client_kind": old["client_kind"]} if "client_kind" in old else {}
    if body["client_name"] != old.get("client_name"):
        body["client_name"] = free_name(tx, body["client_name"])
    body["client_secret_expires_at"] = 0
    body["grant_types"] = GRANT_TYPES
    body["response_types"] = RESPONSE_TYPES
    for kept in ("allow_login_scope", "flagship", "certified_from_store", "created_at_onboarding"):
        if kept in old:
            body[kept] = old[kept]
    body["cozyMetadata"] = {**(old.get("cozyMetadata") or {}), "updatedAt": instance.env.clock.timestamp()}
    return tx.put(CLIENTS, document.id, body, rev=document.rev)


def update_client(tx: Writer, client_id: str, changes: Mapping[str, Any]) -> Document | None:
    """Set members of a client's document (None removes one); None when the client is gone."""
    document = tx.get(CLIENTS, client_id)
    if document is None:
        return None
    body = dict(document.body)
    for name, value in changes.items():
        if value is None:
            body.pop(name, None)
        else:
            body[name] = value
    return document if body == document.body else tx.put(CLIENTS, client_id, body, rev=document.rev)


def delete_client(tx: Writer, client_id: str) -> bool:
    """Remove a client; all its tokens are dead from then on. False when it is not there."""
    document = tx.get(CLIENTS, client_id)
    if document is None:
        return False
    tx.delete(CLIENTS, client_id, document.rev)
    return True


def drop_abandoned(tx: Writer, now: float) -> int:
    """Remove clients that nobody has allowed within an hour of their registration; gives how many were looked at.

    `now` is in seconds of Unix time."""
    due = tx.records_due(PENDING, now, limit=100)
    for record in due:
        tx.delete_record(PENDING, record.id)
        document = tx.get(CLIENTS, record.id)
        if document is not None and document.body.get("pending"):
            tx.delete(CLIENTS, record.id, document.rev)
    return len(due)


# -- rules


def checked(instance: Instance, declared: Mapping[str, Any]) -> dict[str, Any]:
    """The declared fields of a client, verified (spec/03 §7.2). Raises ClientRefused."""
    uris = declared.get("redirect_uris")
    if uris in (None, []):
        raise ClientRefused("invalid_redirect_uri", "redirect_uris is mandatory")
    if not isinstance(uris, list) or not all(isinstance(uri, str) for uri in uris):
        raise ClientRefused("invalid_redirect_uri", "redirect_uris is invalid")
    for uri in uris:
        if not _acceptable_redirect(instance, uri):
            raise ClientRefused("invalid_redirect_uri", f"{uri} is invalid")
    for name in DECLARED[1:]:
        value = declared.get(name)
        if value is not None and name != "notifications" and not isinstance(value, str):
            raise ClientRefused("invalid_client_metadata", f"{name} is invalid")
    for name in ("client_name", "software_id"):
        if not declared.get(name):
            raise ClientRefused("invalid_client_metadata", f"{name} is mandatory")
    platform = (declared.get("notification_platform") or "").lower()
    if platform not in PLATFORMS:
        raise ClientRefused("invalid_client_metadata")
    slug = linked_app(declared)
    if slug in ("store", "settings"):
        raise ClientRefused("unapproved_software_id", "Link with store/settings is forbidden")
    if slug is not None and not _SLUG.match(slug):
        raise ClientRefused("unapproved_software_id", "Application was not found on instance registries")
    body = {name: declared[name] for name in DECLARED if declared.get(name) not in (None, "")}
    if platform:
        body["notification_platform"] = platform
    return body


def linked_app(client: Mapping[str, Any]) -> str | None:
    """The slug of the app that a client is linked to (`registry://<slug>`, a channel may follow), None for none."""
    software = client.get("software_id")
    if not isinstance(software, str) or not software.startswith(REGISTRY):
        return None
    return software.removeprefix(REGISTRY).partition("/")[0]


def free_name(view: Reader, name: str) -> str:
    """The name itself, or the name with the next number behind it when it is taken."""
    if not view.index(CLIENT_NAMES, start=raw_key(name, _padded(1)), end=raw_key(name, _padded(2)), limit=1):
        return name
    highest = view.index_docs(
        CLIENT_NAMES, start=raw_key(name, _padded(1)), end=raw_key(name, "~"), descending=True, limit=1
    )
    taken = highest[0][1].body["client_name"]
    return f"{name}-{max(_numbered(taken)[1], 1) + 1 if taken != name else 2}"


def by_software(view: Reader, software_id: str) -> Document | None:
    """The first client of a piece of software, None when there is none; `registry://<slug>` finds all channels."""
    key = raw_key(software_id)
    found = view.index_docs(CLIENT_SOFTWARE, start=key, end=key + b"\x00", limit=1)
    return found[0][1] if found else None


def new_secret(env: Environment) -> str:
    """24 random bytes in base64url."""
    return base64.urlsafe_b64encode(env.random.bytes(24)).rstrip(b"=").decode()


def right_secret(document: Document, secret: str) -> bool:
    """Whether a client gave its secret."""
    return hmac.compare_digest(secret.encode(), str(document.body.get("client_secret", "")).encode())


_SLUG = re.compile(r"[a-z0-9-]{1,100}\Z", re.ASCII)
_NUMBERED = re.compile(r"(.+)-([1-9][0-9]{0,8})\Z", re.DOTALL)


def _numbered(name: str) -> tuple[str, int]:
    match = _NUMBERED.match(name)
    return (match[1], int(match[2])) if match and int(match[2]) > 1 else (name, 0)


def _padded(number: int) -> str:
    return f"{number:010d}"


def _acceptable_redirect(instance: Instance, uri: str) -> bool:
    if any(character <= " " or character == "\x7f" for character in uri):
        return False
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return False
    if not parts.scheme or "#" in uri or parts.scheme in ("javascript", "data", "vbscript"):
        return False
    if parts.scheme in ("http", "https") and not parts.hostname:
        return False
    host = (parts.hostname or "") + (f":{port}" if port is not None else "")
    return not instance.owns_host(host)
