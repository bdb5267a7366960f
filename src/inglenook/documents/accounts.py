"""`io.cozy.accounts`: documents with credentials of other services (spec/01 §12).

Their secret members are encrypted at rest, in NaCl boxes made with a key pair that is derived from a secret of
the instance; whichever route brings them, they are encrypted before they are stored. What is deleted is kept in
`io.cozy.accounts.soft_deleted`, so that a konnector can still clean up.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import msgspec
from nacl.encoding import RawEncoder
from nacl.exceptions import CryptoError
from nacl.hash import blake2b
from nacl.public import Box, PrivateKey

from inglenook.documents import bodies
from inglenook.documents.bodies import Incoming
from inglenook.documents.presenting import assemble, encode_json
from inglenook.environment import Environment
from inglenook.kernel import revisions
from inglenook.kernel.errors import DocumentNotFound
from inglenook.kernel.permissions import Permit
from inglenook.storage.documents.contract import Body, Document, Reader, Writer

ACCOUNTS = "io.cozy.accounts"
SOFT_DELETED = "io.cozy.accounts.soft_deleted"
TRIGGERS = "io.cozy.triggers"
CLIENTS = "io.cozy.oauth.clients"

_SECRETS = ("secret", "dob", "code", "answer", "access_token", "refresh_token", "appSecret", "session")
_SUFFIX = "_encrypted"
_MAGIC = b"nacl"
_NONCE = 24  # bytes
_PAGE = 100


class Vault:
    """Encrypts and decrypts the secrets of accounts with keys derived from a secret of the instance.

    `nonce` gives fresh random bytes."""

    def __init__(self, secret: bytes, nonce: Callable[[int], bytes]) -> None:
        ours, theirs = (
            PrivateKey(blake2b(secret, key=purpose, encoder=RawEncoder))
            for purpose in (b"accounts: encryptor", b"accounts: decryptor")
        )
        self._lock = Box(ours, theirs.public_key)
        self._open = Box(theirs, ours.public_key)
        self._nonce = nonce

    # -- encryption
    def encrypt(self, body: Body) -> Body:
        """A copy of an account with its secrets encrypted, in itself and in its `data` (spec/01 §12.1)."""
        auth, data = body.get("auth"), body.get("data")
        if not isinstance(auth, dict):
            return dict(body)
        encrypted = {**body, "auth": self._encrypt_members(cast("Body", auth))}
        if isinstance(data, dict):
            encrypted["data"] = self.encrypt(cast("Body", data))
        return encrypted

    def _encrypt_members(self, auth: Body) -> Body:
        fresh: Body = {}
        kept: Body = {}
        for name, value in auth.items():
            if name == "password" and isinstance(value, str):
                login = auth.get("login")
                user = login.encode() if isinstance(login, str) else b""
                fresh["credentials" + _SUFFIX] = self._seal(len(user).to_bytes(4, "big") + user + value.encode())
            elif name in _SECRETS:
                fresh[name + _SUFFIX] = self._seal(encode_json(value))
            else:
                kept[name] = value
        members = {**kept, **fresh}
        return {name: members[name] for name in sorted(members)}

    def _seal(self, plain: bytes) -> str:
        nonce = self._nonce(_NONCE)
        return base64.b64encode(_MAGIC + nonce + self._lock.encrypt(plain, nonce).ciphertext).decode()

    # -- decryption
    def decrypt(self, body: Body) -> Body:
        """A copy of an account with its secrets in clear; what cannot be decrypted stays as it is."""
        auth, data = body.get("auth"), body.get("data")
        if not isinstance(auth, dict):
            return dict(body)
        decrypted = {**body, "auth": self._decrypt_members(cast("Body", auth))}
        if isinstance(data, dict):
            decrypted["data"] = self.decrypt(cast("Body", data))
        return decrypted

    def _decrypt_members(self, auth: Body) -> Body:
        members: Body = {}
        for name, value in auth.items():
            if not name.endswith(_SUFFIX):
                members[name] = value
                continue
            plain = self._unseal(value) if isinstance(value, str) else None
            short = name.removesuffix(_SUFFIX)
            if not isinstance(value, str):
                members[short] = value
            elif plain is None:
                members[name] = value
            elif short == "credentials":
                size = int.from_bytes(plain[:4], "big")
                members["login"] = plain[4 : 4 + size].decode(errors="replace")
                members["password"] = plain[4 + size :].decode(errors="replace")
            else:
                members[short] = msgspec.json.decode(plain)
        return members

    def _unseal(self, text: str) -> bytes | None:
        try:
            sealed = base64.b64decode(text, validate=True)
            if not sealed.startswith(_MAGIC):
                return None
            nonce, box = sealed[len(_MAGIC) : len(_MAGIC) + _NONCE], sealed[len(_MAGIC) + _NONCE :]
            return self._open.decrypt(box, nonce)
        except (binascii.Error, CryptoError, ValueError):
            return None


# -- the four routes of one document


def read(tx: Reader, permit: Permit, id: str, rev: str | None) -> Document:
    """An account, or with `rev` that revision of it or of its soft-deleted copy (spec/01 §12.2).

    Raises Forbidden before DocumentNotFound, BadDocument."""
    document = _soft_deleted(tx, id, rev) if rev else None
    if document is None and rev:
        document = tx.revision(ACCOUNTS, id, revisions.normalise(rev))
        document = None if document is None or document.deleted else document
    elif document is None:
        document = tx.get(ACCOUNTS, id)
    if document is None:
        permit.require_document("GET", ACCOUNTS, id, {})
        if rev:
            raise DocumentNotFound
        document = tx.find(ACCOUNTS, id)
    if not permit.allows_id("GET", ACCOUNTS, id):
        permit.require_document("GET", ACCOUNTS, id, document.body)
    return document


def has_plain_secrets(body: Body) -> bool:
    """Whether something in an account still waits for its encryption."""
    auth, data = body.get("auth"), body.get("data")
    if not isinstance(auth, dict):
        return False
    names = cast("Body", auth)
    if isinstance(names.get("password"), str) or any(name in names for name in _SECRETS):
        return True
    return isinstance(data, dict) and has_plain_secrets(cast("Body", data))


def encrypt_stored(tx: Writer, vault: Vault, document: Document) -> Document:
    """Store an account again with its secrets encrypted. Raises DocumentConflict when it has changed meanwhile."""
    return tx.put(ACCOUNTS, document.id, vault.encrypt(document.body), rev=document.rev)


def shown(vault: Vault, document: Document, *, in_clear: bool) -> bytes:
    """The JSON text of an account with `_type`, its secrets encrypted or in clear."""
    raw = encode_json(vault.decrypt(document.body)) if in_clear else document.raw
    return assemble(document, raw, {"_type": ACCOUNTS})


def sees_secrets(permit: Permit, include: str | None) -> bool:
    """Whether a reader gets secrets in clear: a konnector, or a web app that asks for them."""
    return permit.kind == "konnector" or (permit.kind == "app" and include == "credentials")


def completed(vault: Vault, body: Body, metadata: Body | None) -> Body:
    """An account as it is stored: encrypted, with its `name`; `metadata`, if given, is its `cozyMetadata`."""
    stored = vault.encrypt(body)
    auth = stored.get("auth")
    if isinstance(auth, dict):
        members = cast("Body", auth)
        identifier = stored.get("identifier")
        name = members.get(identifier) if isinstance(identifier, str) and identifier else members.get("login")
        if isinstance(name, str):
            stored["name"] = name
    if metadata is not None:
        stored["cozyMetadata"] = metadata
    return cast("Body", bodies.sorted_keys(stored))


def incoming(vault: Vault, sent: Incoming, metadata: Body | None) -> Incoming:
    """An account of a request with many documents as it is stored: `completed`, with `metadata` where it has none.

    Without `metadata` (a revision made elsewhere) everything stays as it is but the secrets; so does a tombstone."""
    if metadata is None or sent.deleted:
        return replace(sent, body=vault.encrypt(sent.body))
    return replace(sent, body=completed(vault, sent.body, None if "cozyMetadata" in sent.body else metadata))


def fresh_metadata(view: Reader, env: Environment, permit: Permit) -> Body:
    """A new `cozyMetadata`, in the name of the caller's app (spec/01 §13)."""
    now = env.clock.timestamp()
    metadata: Body = {"createdAt": now, "doctypeVersion": "", "metadataVersion": 1, "updatedAt": now}
    slug, version = permit.slug, ""
    client = view.get(CLIENTS, permit.client_id) if permit.client_id else None
    if client is not None:
        version = str(client.body.get("software_version") or "")
        if not slug and "cozy-desktop" in str(client.body.get("software_id") or ""):
            slug = "cozy-desktop"
    if slug:
        metadata["createdByApp"] = slug
        entry: dict[str, Any] = {"slug": slug, "date": now}
        if version:
            metadata["createdByAppVersion"] = entry["version"] = version
        metadata["updatedByApps"] = [entry]
    return metadata


# -- deletion


def deleted(tx: Writer, stored: Document) -> None:
    """What goes with the deletion of an account, in the same transaction; nothing for other doctypes (§12.5), nor when
    only a conflicting revision of it is gone.

    `stored` is the account as it was."""
    if stored.doctype != ACCOUNTS or stored.body.get("manual_cleaning") is True:
        return
    if tx.get(ACCOUNTS, stored.id) is not None:
        return
    _delete_triggers(tx, stored.id)
    if not stored.body.get("account_type"):
        return
    copy = {**stored.body, "soft_deleted_rev": stored.rev}
    former = tx.get(SOFT_DELETED, stored.id)
    tx.put(SOFT_DELETED, stored.id, copy, rev=None if former is None else former.rev)


def _delete_triggers(tx: Writer, account_id: str) -> None:
    after = ""
    while page := tx.all_docs(TRIGGERS, start=after, limit=_PAGE):
        after = page[-1].id + "\0"
        for trigger in page:
            message = trigger.body.get("message")
            if (
                trigger.body.get("worker") == "konnector"
                and isinstance(message, dict)
                and cast("Body", message).get("account") == account_id
            ):
                tx.delete(TRIGGERS, trigger.id, trigger.rev)


def _soft_deleted(view: Reader, id: str, rev: str) -> Document | None:
    copy = view.get(SOFT_DELETED, id)
    if copy is None or copy.body.get("soft_deleted_rev") != rev:
        return None
    body = {name: value for name, value in copy.body.items() if name != "soft_deleted_rev"}
    return Document(ACCOUNTS, id, rev, encode_json(body), body=body)
