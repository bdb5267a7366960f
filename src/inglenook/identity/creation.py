"""A new instance, or a changed one: what is asked for, what is written (spec/03 §4.2, §4.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from inglenook.identity import passphrase
from inglenook.identity.instance import AUTH_MODES, INSTANCE_SETTINGS, SETTINGS, Instance, InstanceDoc
from inglenook.identity.passphrase import NewPassphrase
from inglenook.kernel.errors import BadRequest, InvalidParameter
from inglenook.storage.documents.contract import Writer

if TYPE_CHECKING:
    from inglenook.identity.instances import Instances

CONTACTS = "io.cozy.contacts"
_LOCALE = re.compile(
    r"[a-z]{2,3}([-_][A-Za-z]{2,4})?", re.ASCII
)  # texts exist in English and French, others read English

DATABASES = (
    "io.cozy.apps", "io.cozy.konnectors", "io.cozy.oauth.clients", "io.cozy.jobs", "io.cozy.triggers",
    "io.cozy.permissions", "io.cozy.sharings", "io.cozy.sessions.logins", "io.cozy.notifications", "io.cozy.files",
    "io.cozy.settings",
)  # fmt: skip
"""The doctypes that every instance has from the start."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What an instance shall be. `settings` are free keys of the settings document; those of spec/03 §4.2 that
    belong to the instance itself are lifted out of them. None: leave as it is (default for a new instance)."""

    locale: str | None = None
    email: str | None = None
    public_name: str | None = None
    phone: str | None = None
    timezone: str | None = None
    context: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    domain_aliases: list[str] | None = None
    old_domain: str | None = None
    org_domain: str | None = None
    org_id: str | None = None
    uuid: str | None = None
    oidc_id: str | None = None
    franceconnect_id: str | None = None
    auth_mode: str | None = None
    magic_link: bool | None = None
    tos: str | None = None
    tos_latest: str | None = None
    disk_quota: int | None = None
    """Bytes; 0 or less for none."""
    sponsorships: list[str] | None = None
    feature_sets: list[str] | None = None
    feature_flags: Mapping[str, Any] | None = None
    no_auto_update: bool | None = None
    onboarding_finished: bool | None = None
    blocked: bool | None = None
    blocking_reason: str | None = None
    passphrase: NewPassphrase | None = None


async def create_instance(instances: Instances, domain: str, wish: Wish) -> Instance:
    """Make an instance. Without a passphrase it waits for its owner behind its register token.

    Raises InvalidParameter (domain, locale …), Conflict (domain in use)."""
    settings = settings_of(wish)
    doc = lift(_changed(InstanceDoc(domain=domain, prefix=""), wish), settings)
    if wish.passphrase is None:
        doc = msgspec.structs.replace(doc, register_token=instances.env.random.bytes(16))

    async def seed(instance: Instance) -> None:
        await instance.store.write(lambda tx: _write_first_documents(tx, instance, settings))
        if wish.passphrase is not None:
            await passphrase.set_passphrase(instance, wish.passphrase)

    return await instances.create(doc, seed)


async def modify_instance(instance: Instance, wish: Wish) -> InstanceDoc:
    """Change what the wish names. Raises as `create_instance`."""
    settings = settings_of(wish)

    def change(doc: InstanceDoc) -> InstanceDoc:
        return lift(_changed(doc, wish), dict(settings))

    doc = await instance.registry.modify(instance, change)
    lift(doc, settings)  # takes the lifted keys out
    if settings:
        await update_settings(instance, settings)
    return doc


async def update_settings(instance: Instance, changes: Mapping[str, Any]) -> None:
    """Set keys of the settings document."""

    def write(tx: Writer) -> None:
        document = tx.get(SETTINGS, INSTANCE_SETTINGS)
        body = {**(document.body if document else {}), **changes}
        if document is None or body != document.body:
            tx.put(SETTINGS, INSTANCE_SETTINGS, body, rev=document.rev if document else None)

    await instance.store.write(write)


def settings_of(wish: Wish) -> dict[str, Any]:
    """The settings document that a wish asks for, keys to be lifted included."""
    settings = dict(wish.settings)
    named = {"email": wish.email, "public_name": wish.public_name, "phone": wish.phone, "tz": wish.timezone}
    settings.update({name: value for name, value in named.items() if value})
    return settings


def lift(doc: InstanceDoc, settings: dict[str, Any]) -> InstanceDoc:
    """Move the keys that belong to the instance from its settings into its document (spec/03 §4.2).

    Takes them out of `settings`. Raises BadRequest for a value of another type."""
    changes: dict[str, Any] = {}
    for name in ("context", "locale", "uuid", "oidc_id", "tos", "tos_latest"):
        value = settings.pop(name, None)
        if value is not None:
            changes[name] = _text(name, value)
    for name in ("sponsorships", "feature_sets"):
        value = settings.get(name)
        if isinstance(value, list):
            changes[name] = [_text(name, item) for item in settings.pop(name)]
    if isinstance(settings.get("onboarding_finished"), bool):
        changes["onboarding_finished"] = settings.pop("onboarding_finished")
    automatic = settings.pop("auto_update", None)
    if automatic is not None:
        changes["no_auto_update"] = str(automatic).lower() in ("false", "0", "f")
    mode = settings.pop("auth_mode", None)
    if mode is not None:
        changes["auth_mode"] = auth_mode(_text("auth_mode", mode))
    if len(changes.get("tos", "")) == 8:
        changes["tos"] = f"1.0.0-{changes['tos']}"
    if "locale" in changes:
        _check_locale(changes["locale"])
    return msgspec.structs.replace(doc, **changes)


def auth_mode(name: str) -> int:
    """The number of an authentication mode. Raises BadRequest for an unknown one."""
    if name not in AUTH_MODES:
        raise BadRequest(f"Unknown authentication mode: {name}")
    return AUTH_MODES[name]


def auth_mode_name(mode: int) -> str:
    """The name of an authentication mode."""
    return next((name for name, number in AUTH_MODES.items() if number == mode), "basic")


def _changed(doc: InstanceDoc, wish: Wish) -> InstanceDoc:
    names = (
        "locale", "context", "domain_aliases", "old_domain", "org_domain", "org_id", "uuid", "oidc_id",
        "franceconnect_id", "magic_link", "tos", "tos_latest", "sponsorships", "feature_sets", "no_auto_update",
        "onboarding_finished", "blocked", "blocking_reason",
    )  # fmt: skip
    changes: dict[str, Any] = {name: value for name in names if (value := getattr(wish, name)) is not None}
    if wish.disk_quota is not None:
        changes["disk_quota"] = str(wish.disk_quota) if wish.disk_quota > 0 else ""
    if wish.auth_mode is not None:
        changes["auth_mode"] = auth_mode(wish.auth_mode)
    if wish.feature_flags is not None:
        changes["feature_flags"] = merged_flags(doc.feature_flags, wish.feature_flags)
    if "locale" in changes:
        changes["locale"] = changes["locale"] or "en"
        _check_locale(changes["locale"])
    return msgspec.structs.replace(doc, **changes)


def merged_flags(flags: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Flags with changes applied; a null value takes a flag away."""
    return {name: value for name, value in {**flags, **changes}.items() if value is not None}


def _write_first_documents(tx: Writer, instance: Instance, settings: dict[str, Any]) -> None:
    for doctype in DATABASES:
        tx.create_doctype(doctype)
    tx.put(SETTINGS, INSTANCE_SETTINGS, settings)
    tx.put(CONTACTS, tx.new_id(), myself(instance, settings))


def myself(instance: Instance, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The contact that stands for the owner (spec/07 §6.1)."""
    email, name = str(settings.get("email") or ""), str(settings.get("public_name") or "")
    contact: dict[str, Any] = {"me": True}
    if email:
        contact["email"] = [{"address": email, "primary": True}]
    if name or email:
        contact["fullname"] = name or email.partition("@")[0]
        contact["displayName"] = name or email
    contact["cozy"] = [{"url": instance.origin, "primary": True}]
    contact["indexes"] = {"byFamilyNameGivenNameEmailCozyUrl": email or instance.origin}
    return contact


def _check_locale(locale: str) -> None:
    if not _LOCALE.fullmatch(locale):
        raise InvalidParameter("A locale is a language such as en or fr", parameter="locale")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"The setting {name} must be a text")
    return value
