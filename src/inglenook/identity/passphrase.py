"""The passphrase of an instance: set, checked, changed, reset, hinted at (spec/03 §5).

Whatever sets a passphrase draws a new session secret: all cookies and app tokens end, OAuth tokens and links go on.
"""

from __future__ import annotations

import hmac
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from inglenook.identity import letters, throttle
from inglenook.identity.instance import AUTH_MODES, PASSPHRASE_SETTINGS, SETTINGS, VAULT_SETTINGS, InstanceDoc
from inglenook.identity.passphrase_hash import (
    DEFAULT_ITERATIONS,
    MAX_ITERATIONS,
    MIN_ITERATIONS,
    SALT_BYTES,
    check,
    client_hash,
    looks_hashed,
    master_key,
    needs_renewal,
    server_hash,
)
from inglenook.identity.sessions import moment
from inglenook.identity.vault_keys import make_vault_keys
from inglenook.kernel.errors import BadRequest, InvalidParameter
from inglenook.storage.announcements import announce
from inglenook.storage.documents.contract import Writer

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

RESET_LIFE = timedelta(minutes=15)
MAX_PASSPHRASE = 4096  # characters
VAULT_ENTRIES = ("com.bitwarden.ciphers", "com.bitwarden.folders")
"""What the vault keeps encrypted."""


@dataclass(frozen=True, slots=True)
class NewPassphrase:
    """A passphrase to set. It is clear text when `iterations` is 0 or `key` is empty (what the command line and pages
    without script send); else what a browser made of it, with the vault's keys."""

    passphrase: str
    iterations: int = 0
    key: str = ""
    public_key: str = ""
    private_key: str = ""
    hint: str = ""


# -- checking


async def is_right(instance: Instance, received: str, *, clear: bool = False) -> bool:
    """Whether this is the passphrase. `received` is what a browser sends; with `clear` it may also be the passphrase
    itself, from a page without script."""
    stored = instance.doc.passphrase_hash.decode("ascii", "replace")
    if not stored or not received or len(received) > MAX_PASSPHRASE:
        return False
    candidates: list[str] = []
    if clear and instance.doc.kdf_iterations:
        candidates.append(await client_hash(received, instance.passphrase_salt, instance.doc.kdf_iterations))
    if not clear or not instance.doc.kdf_iterations or looks_hashed(received):
        candidates.append(received)
    for candidate in candidates:
        if await check(stored, candidate):
            await _renew(instance, stored, candidate)
            return True
    return False


async def _renew(instance: Instance, stored: str, received: str) -> None:
    """Keep the same passphrase by today's standards: other scrypt parameters, or once kept without browser hash."""
    if instance.doc.kdf_iterations == 0:
        received = await client_hash(received, instance.passphrase_salt)
    elif not needs_renewal(stored):
        return
    renewed = await server_hash(received, instance.env.random.bytes(SALT_BYTES))

    def renew(doc: InstanceDoc) -> InstanceDoc:
        if doc.passphrase_hash != stored.encode():  # changed meanwhile
            return doc
        iterations = doc.kdf_iterations or DEFAULT_ITERATIONS
        return msgspec.structs.replace(doc, passphrase_hash=renewed.encode(), kdf_iterations=iterations)

    await instance.registry.modify(instance, renew)


# -- setting


async def set_passphrase(instance: Instance, new: NewPassphrase, *, defined: bool = True) -> None:
    """Set the passphrase and finish the onboarding. `defined` is False for a random one that nobody knows.

    Raises BadRequest (empty), InvalidParameter `KdfIterations`."""
    if not new.passphrase:
        raise BadRequest("Missing new passphrase")
    if len(new.passphrase) > MAX_PASSPHRASE:
        raise BadRequest("The passphrase is too long")
    received, iterations = new.passphrase, new.iterations
    vault = {"key": new.key, "public_key": new.public_key, "private_key": new.private_key}
    if not iterations or not new.key:
        iterations = DEFAULT_ITERATIONS
        received = await client_hash(new.passphrase, instance.passphrase_salt, iterations)
        made = await make_vault_keys(
            await master_key(new.passphrase, instance.passphrase_salt, iterations), instance.env.random
        )
        vault = {"key": made.key, "public_key": made.public_key, "private_key": made.private_key}
    check_iterations(iterations)
    if new.hint:
        vault["passphrase_hint"] = new.hint
    await _store(instance, received, iterations, vault)
    first = defined and not instance.doc.password_defined
    await instance.registry.modify(
        instance,
        lambda doc: msgspec.structs.replace(
            doc, onboarding_finished=True, password_defined=defined, register_token=b""
        ),
    )
    if first:
        now = instance.env.clock.now()
        await instance.store.write(lambda tx: announce(tx, now, "CREATED", SETTINGS, PASSPHRASE_SETTINGS))


async def change_passphrase(instance: Instance, received: str, iterations: int, *, key: str = "") -> None:
    """Replace the passphrase by another one, stored as given (spec/03 §5, PUT /settings/passphrase step 4).

    Raises BadRequest (empty), InvalidParameter `KdfIterations`."""
    if not received or len(received) > MAX_PASSPHRASE:
        raise BadRequest("Missing new passphrase")
    if iterations:
        check_iterations(iterations)
    await _store(instance, received, iterations, {"key": key} if key else {})
    await instance.registry.modify(instance, lambda doc: msgspec.structs.replace(doc, password_defined=True))


async def may_be_forced(instance: Instance) -> bool:
    """Whether a new passphrase may be set without the current one: nobody knows it (spec/03 §5, `force`)."""
    if instance.doc.password_defined is not None:
        return not instance.doc.password_defined
    if not (instance.doc.magic_link or instance.doc.oidc_id or instance.doc.auth_mode == AUTH_MODES["two_factor_oidc"]):
        return False
    vault = await instance.store.read(lambda view: view.get(SETTINGS, VAULT_SETTINGS))
    return not (vault and vault.body.get("extension_installed"))


def check_iterations(iterations: int) -> None:
    """Raises InvalidParameter `KdfIterations` when a number of iterations is too low or too high."""
    if iterations < MIN_ITERATIONS:
        raise InvalidParameter("The KdfIterations number is too low", parameter="KdfIterations")
    if iterations > MAX_ITERATIONS:
        raise InvalidParameter("The KdfIterations number is too high", parameter="KdfIterations")


async def _store(instance: Instance, received: str, iterations: int, vault: dict[str, str]) -> None:
    random = instance.env.random
    hashed = await server_hash(received, random.bytes(SALT_BYTES))
    stamp = str(uuid.UUID(bytes=random.bytes(16), version=4))

    def replace(doc: InstanceDoc) -> InstanceDoc:
        return msgspec.structs.replace(
            doc, passphrase_hash=hashed.encode(), kdf_iterations=iterations, session_secret=random.bytes(64),
            passphrase_reset_token=b"", passphrase_reset_time="",
        )  # fmt: skip

    await instance.registry.modify(instance, replace)
    changes = {name: value for name, value in vault.items() if value}

    def note(tx: Writer) -> None:
        document = tx.get(SETTINGS, VAULT_SETTINGS)
        body: dict[str, Any] = {
            **(document.body if document else {}),
            **changes,
            "passphrase_kdf": 0,
            "passphrase_kdf_iterations": iterations,
            "security_stamp": stamp,
        }
        tx.put(SETTINGS, VAULT_SETTINGS, body, rev=document.rev if document else None)

    await instance.store.write(note)


# -- forgotten


async def ask_reset(instance: Instance, *, from_app: str = "") -> None:
    """Mail a link that lets the owner choose a new passphrase within 15 minutes.

    Nothing happens while an earlier link is still good, or before the onboarding."""
    now = instance.env.clock.now()
    if not instance.doc.onboarding_finished or instance.doc.register_token or _reset_pending(instance):
        return
    token = instance.env.random.bytes(16)
    until = now + RESET_LIFE
    await instance.registry.modify(
        instance,
        lambda doc: msgspec.structs.replace(
            doc, passphrase_reset_token=token, passphrase_reset_time=until.isoformat().replace("+00:00", "Z")
        ),
    )
    query = {"from": from_app, "token": token.hex()} if from_app else {"token": token.hex()}
    values = {"PassphraseResetLink": instance.url("/auth/passphrase_renew", query)}
    await instance.store.write(lambda tx: letters.post(tx, "passphrase_reset", values, now.timestamp()) and None)


def reset_token_state(instance: Instance, token: str) -> str:
    """`right`, `wrong`, or `none` when the text is no token or no reset is pending."""
    try:
        raw = bytes.fromhex(token)
    except ValueError:
        return "none"
    if not raw or not _reset_pending(instance):
        return "none"
    return "right" if hmac.compare_digest(raw, instance.doc.passphrase_reset_token) else "wrong"


async def forget_vault_entries(instance: Instance) -> None:
    """Delete what was encrypted with a passphrase that is forgotten: nobody can read it any more."""

    def forget(tx: Writer) -> None:
        for doctype in VAULT_ENTRIES:
            start = ""
            while page := tx.all_docs(doctype, start=start, limit=200):
                for document in page:
                    tx.delete(doctype, document.id, document.rev)
                start = page[-1].id + "\x00"

    await instance.store.write(forget)


def _reset_pending(instance: Instance) -> bool:
    until = moment(instance.doc.passphrase_reset_time)
    return bool(instance.doc.passphrase_reset_token) and until is not None and until > instance.env.clock.now()


# -- the hint


async def hint(instance: Instance) -> str:
    """The hint that the owner left for himself, empty for none."""
    document = await instance.store.read(lambda view: view.get(SETTINGS, VAULT_SETTINGS))
    return str(document.body.get("passphrase_hint") or "") if document else ""


async def set_hint(instance: Instance, text: str) -> None:
    """Keep a hint that is not the passphrase itself."""

    def note(tx: Writer) -> None:
        document = tx.get(SETTINGS, VAULT_SETTINGS)
        body = {**(document.body if document else {}), "passphrase_hint": text}
        tx.put(SETTINGS, VAULT_SETTINGS, body, rev=document.rev if document else None)

    await instance.store.write(note)


async def mail_hint(instance: Instance) -> None:
    """Mail the hint to the owner, at most twice an hour."""
    text = await hint(instance)
    now = instance.env.clock.now().timestamp()
    if not await throttle.allowed(instance, "send-hint", 2, 3600.0):
        return
    values = {"BaseURL": instance.url("/"), "Hint": text, "CozyPass": False}
    await instance.store.write(lambda tx: letters.post(tx, "passphrase_hint", values, now) and None)
