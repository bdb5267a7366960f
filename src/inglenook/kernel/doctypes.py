"""Names of doctypes, and the ones that only the server itself reads or writes (spec/01 §1.2-1.3, spec/03 §10.6)."""

from __future__ import annotations

import re

from inglenook.kernel.errors import Forbidden

_NAME = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+)*", re.ASCII)

UNREADABLE = frozenset(
    {
        "com.bitwarden.profiles",
        "instances",
        "io.cozy.account_types",
        "io.cozy.accounts.soft_deleted",
        "io.cozy.apps.logs",
        "io.cozy.apps.open",
        "io.cozy.auth.confirmations",
        "io.cozy.certified.carbon_copy",
        "io.cozy.certified.electronic_safe",
        "io.cozy.files.archives",
        "io.cozy.files.sizes",
        "io.cozy.files.thumbnails",
        "io.cozy.intents",
        "io.cozy.jobs.events",
        "io.cozy.konnectors.maintenance",
        "io.cozy.notes.events",
        "io.cozy.notes.telepointers",
        "io.cozy.notes.url",
        "io.cozy.oauth.access_codes",
        "io.cozy.oauth.clients",
        "io.cozy.office.url",
        "io.cozy.permissions",
        "io.cozy.remote.secrets",
        "io.cozy.sessions",
        "io.cozy.shared",
        "io.cozy.sharings",
        "io.cozy.sharings.answer",
        "io.cozy.sharings.initial_sync",
        "io.cozy.sharings.moved",
        "io.cozy.support",
        "io.cozy.triggers.state",
    }
)
"""Neither readable nor writable through the data API."""

READ_ONLY = frozenset(
    {
        "com.bitwarden.contacts",
        "io.cozy.apps",
        "io.cozy.files",
        "io.cozy.files.versions",
        "io.cozy.jobs",
        "io.cozy.konnectors",
        "io.cozy.notes.images",
        "io.cozy.notes.steps",
        "io.cozy.notifications",
        "io.cozy.remote.requests",
        "io.cozy.sessions.logins",
        "io.cozy.triggers",
    }
)
"""Readable, not writable through the data API."""


def is_name(doctype: str) -> bool:
    """Whether this is a well-formed name of a doctype."""
    return _NAME.fullmatch(doctype) is not None


def is_type(type: str) -> bool:
    """Whether this may be the type of a permission rule: a name, or `prefix.*` with three dots at least."""
    if type.endswith(".*"):
        return type.count(".") >= 3 and is_name(type[:-2])
    return is_name(type)


def is_writable(doctype: str) -> bool:
    """Whether applications may write documents of this type."""
    return is_name(doctype) and doctype not in UNREADABLE and doctype not in READ_ONLY


def check_name(doctype: str) -> None:
    """Raises Forbidden when the name is malformed."""
    if not is_name(doctype):
        raise Forbidden(f"{doctype} is not a valid doctype name")


def check_readable(doctype: str) -> None:
    """Raises Forbidden when documents of this type are never shown through the data API."""
    check_name(doctype)
    if doctype in UNREADABLE:
        raise Forbidden(f"reserved doctype {doctype} unreadable")


def check_writable(doctype: str) -> None:
    """Raises Forbidden when documents of this type are never written through the data API."""
    check_name(doctype)
    if doctype in UNREADABLE or doctype in READ_ONLY:
        raise Forbidden(f"reserved doctype {doctype} unwritable")
