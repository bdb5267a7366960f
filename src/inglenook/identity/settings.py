"""The settings of an instance as clients see and change them (spec/03 §14)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from inglenook.identity.creation import auth_mode_name, lift
from inglenook.identity.instance import INSTANCE_SETTINGS, SETTINGS
from inglenook.identity.redirects import DEFAULT_APP
from inglenook.kernel import jsonapi
from inglenook.kernel.errors import DocumentConflict
from inglenook.storage.documents.contract import Document, Writer

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance, InstanceDoc

OPERATOR_ONLY = ("auth_mode", "tos", "tos_latest", "uuid", "context", "sponsorships", "feature_sets", "oidc_id")
"""Keys that only the operator's command line may set."""
KEPT = ("email", "pending_email")
COMPUTED = ("password_defined", "org_domain", "org_id", "legal_notice_url", "oidc_logout_url")
SHOWN_TO_VISITORS = (
    "public_name", "locale", "default_redirection", "onboarding_finished", "password_defined", "auto_update",
    "auth_mode", "tos", "tos_latest", "context", "tracking", "legal_notice_url", "moved_to", "moved_to_subdomain_type",
)  # fmt: skip
"""What the holder of a link or an invitation is told of the settings."""
TERMS_GRACE = timedelta(days=30)
"""How long after their date new terms of service may wait for a signature."""
_NOT_ONBOARDING = "onboarding_finished"


def instance_attributes(instance: Instance, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of `GET /settings/instance`."""
    doc = instance.doc
    attributes: dict[str, Any] = dict(settings)
    attributes |= {
        "locale": doc.locale, "onboarding_finished": doc.onboarding_finished, "auto_update": not doc.no_auto_update,
        "auth_mode": auth_mode_name(doc.auth_mode), "tos": doc.tos, "tos_latest": doc.tos_latest, "uuid": doc.uuid,
        "oidc_id": doc.oidc_id, "org_domain": doc.org_domain, "org_id": doc.org_id, "context": doc.context,
    }  # fmt: skip
    if doc.password_defined is not None:
        attributes["password_defined"] = doc.password_defined
    if doc.sponsorships:
        attributes["sponsorships"] = doc.sponsorships
    attributes["default_redirection"] = default_redirection(instance, settings)
    for name in ("legal_notice_url", "oidc_logout_url"):
        if value := instance.context_settings.get(name):
            attributes[name] = value
    return attributes


def visitor_attributes(instance: Instance, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of `GET /settings/instance` for the holder of a link or an invitation: whose place this is and
    how it speaks, nothing that the owner tells only to his own apps (mail address, phone, identifiers)."""
    shown = instance_attributes(instance, settings)
    return {name: shown[name] for name in SHOWN_TO_VISITORS if name in shown}


def default_redirection(instance: Instance, settings: Mapping[str, Any]) -> str:
    """`slug/path#fragment` of the place where one lands after the login."""
    for wish in (settings.get("default_redirection"), instance.context_settings.get("default_redirection")):
        if isinstance(wish, str) and wish and "://" not in wish:
            return wish
    return f"{DEFAULT_APP}/"


async def replace_settings(instance: Instance, sent: Mapping[str, Any], rev: str, *, by_operator: bool) -> Document:
    """Take a whole new settings document, lifting what belongs to the instance (spec/03 §14, PUT /settings/instance).

    Raises DocumentConflict for an old revision when something would change, BadRequest for a value of another type."""
    body = {name: value for name, value in sent.items() if name not in COMPUTED and not name.startswith("_")}
    if not by_operator:
        for name in OPERATOR_ONLY:
            body.pop(name, None)
        body.pop(_NOT_ONBOARDING, None)
    if isinstance(body.get("auto_update"), bool):
        body["auto_update"] = str(body["auto_update"]).lower()
    current = await instance.store.read(lambda view: view.get(SETTINGS, INSTANCE_SETTINGS))
    old = current.body if current else {}
    if "default_redirection" not in old and body.get("default_redirection") == default_redirection(instance, old):
        body.pop("default_redirection")  # read by the client as a computed value, sent back unchanged
    lifted: dict[str, Any] = dict(body)
    changed_doc = lift(instance.doc, lifted)  # refuses bad values before anything is written
    if not by_operator:
        lifted |= {name: old[name] for name in KEPT if name in old}
        for name in KEPT:
            if name not in old:
                lifted.pop(name, None)

    def write(tx: Writer) -> Document:
        document = tx.get(SETTINGS, INSTANCE_SETTINGS)
        if document is not None and document.body == lifted:
            return document
        if document is not None and rev != document.rev:
            raise DocumentConflict
        return tx.put(SETTINGS, INSTANCE_SETTINGS, lifted, rev=document.rev if document else None)

    written = await instance.store.write(write)
    if changed_doc != instance.doc:

        def change(doc: InstanceDoc) -> InstanceDoc:
            return lift(doc, dict(body))

        await instance.registry.modify(instance, change)
    return written


def capabilities(instance: Instance) -> dict[str, bool]:
    """What this server can do for the instance."""
    return {
        "file_versioning": True,
        "flat_subdomains": instance.env.config.subdomains == "flat",
        "can_auth_with_password": True,
        "can_auth_with_magic_links": False,
        "can_auth_with_oidc": False,
    }


def context_attributes(instance: Instance) -> dict[str, Any]:
    """The free keys of the instance's context; what holds secrets of the server stays out."""
    hidden = ("antivirus", "office", "sharing")
    shown = {name: value for name, value in instance.context_settings.items() if name not in hidden}
    return {"antivirus": _antivirus(instance.context_settings.get("antivirus")), **shown}


def _antivirus(configured: Any) -> dict[str, Any]:
    """What clients may know of the antivirus: not where its daemon listens."""
    table: Mapping[str, Any] = configured if isinstance(configured, Mapping) else {}
    told = table.get("notifications")
    by_mail = isinstance(told, Mapping) and told.get("email_on_infected") is True
    shown = {name: table[name] for name in ("max_file_size", "actions") if name in table}
    return {"enabled": table.get("enabled") is True, **shown, "notifications": {"email_on_infected": by_mail}}


def flags(instance: Instance) -> dict[str, Any]:
    """The feature flags: those of the instance over those of its context."""
    merged = {**_context_flags(instance), **instance.doc.feature_flags}
    return {name: value for name, value in merged.items() if value is not None}


def _context_flags(instance: Instance) -> dict[str, Any]:
    """The flags of the context. One that is a list of `{ratio, value}` has each value for that part of the instances;
    the domain decides which ones, so that an instance keeps its own."""
    configured = instance.context_settings.get("features")
    given: Mapping[str, Any] = configured if isinstance(configured, Mapping) else {}
    return {name: _weighted(value, instance.domain) for name, value in given.items()}


def _weighted(value: Any, domain: str) -> Any:
    parts: list[Any] = value if isinstance(value, list) else []
    if not parts or not all(isinstance(part, Mapping) and isinstance(part.get("ratio"), int | float) for part in parts):
        return value
    place = zlib.crc32(domain.encode()) / 2**32
    for part in parts:
        place -= part["ratio"]
        if place < 0:
            return part.get("value")
    return None


def flag_sources(instance: Instance) -> list[tuple[str, dict[str, Any]]]:
    """Where the flags come from, for `include=…`: name of the source and its flags."""
    return [
        ("io.cozy.settings.flags.instance", dict(instance.doc.feature_flags)),
        ("io.cozy.settings.flags.context", _context_flags(instance)),
    ]


def pending_terms(instance: Instance) -> bool:
    """Whether newer terms of service wait for the owner's signature."""
    latest, signed = instance.doc.tos_latest, instance.doc.tos
    return bool(latest) and _version(latest) > _version(signed)


def terms_warning(instance: Instance) -> dict[str, Any]:
    """The error object that tells of newer terms."""
    warning = jsonapi.error_object(402, "TOS Updated", "Terms of services have been updated", code="tos-updated")
    manager = instance.context_settings.get("manager_url")
    return {**warning, "links": {"self": manager}} if isinstance(manager, str) else warning


def terms_overdue(instance: Instance) -> bool:
    """Whether newer terms wait for the owner's signature since longer than `TERMS_GRACE`.

    Their date ends their version (`2.0.0-20260101`); terms without one never are overdue."""
    if not pending_terms(instance):
        return False
    try:
        since = datetime.strptime(instance.doc.tos_latest.rpartition("-")[2], "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return False
    return instance.env.clock.now() > since + TERMS_GRACE


def _version(terms: str) -> tuple[int, ...]:
    """The numbers of `1.0.0-20201231`, the date included."""
    return tuple(int(part) for part in terms.replace("-", ".").split(".") if part.isdigit())
