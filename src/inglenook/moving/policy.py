"""Which documents of an archive are taken in, and how they are changed (spec/12 §8, §13).

An archive can say anything. Documents by which it could get at the instance or at other people (OAuth clients, codes,
jobs, permissions) are taken in only for a move, and only as far as a sharing needs them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inglenook.files.documents import CLIENTS, FILES, SHARINGS, VERSIONS, set_or_drop
from inglenook.identity.instance import INSTANCE_SETTINGS, VAULT_SETTINGS
from inglenook.identity.public_routes import AVATAR
from inglenook.kernel.doctypes import UNREADABLE
from inglenook.moving.snapshot import LEFT_OUT, STEPS, TRACKING
from inglenook.moving.units import Unit, text_member
from inglenook.storage.documents.contract import Body

CONTACTS = "io.cozy.contacts"
PERMISSIONS = "io.cozy.permissions"
TRIGGERS = "io.cozy.triggers"
APPS = ("io.cozy.apps", "io.cozy.konnectors")
SHARING_WORKERS = ("share-track", "share-replicate", "share-upload")

LAST = (TRACKING, TRIGGERS, PERMISSIONS, SHARINGS, STEPS)
"""Taken in when all the others are there, in this order."""

_NEVER = frozenset({"io.cozy.jobs", "instances", "io.cozy.notifications"})
_KEPT_SETTINGS = frozenset({INSTANCE_SETTINGS, VAULT_SETTINGS, AVATAR})
_OLD_KEY = frozenset(
    f"com.bitwarden.{name}" for name in ("ciphers", "folders", "profiles", "organizations", "contacts")
)
_MOVED = frozenset({TRACKING, PERMISSIONS, SHARINGS, CLIENTS, STEPS})
_UNTRUSTED_METADATA = ("carbonCopy", "electronicSafe")


@dataclass(frozen=True, slots=True)
class Newcomer:
    """The instance that an archive comes to, as far as documents need it. `source` is the origin of the instance that
    moves here, empty when none does; `import_id` names the summary."""

    domain: str
    prefix: str
    origin: str
    email: str
    source: str = ""
    import_id: str = ""

    @property
    def moves(self) -> bool:
        """Whether the archive comes by a move, sharings included."""
        return bool(self.source)


def is_taken(doctype: str, *, moves: bool) -> bool:
    """Whether documents of a doctype may be taken in at all."""
    if doctype in _MOVED:
        return moves
    if doctype in _NEVER or doctype in _OLD_KEY or doctype in LEFT_OUT:
        return False
    return doctype in (FILES, VERSIONS) or doctype not in UNREADABLE


def changed(unit: Unit, to: Newcomer) -> Body | None:
    """The body under which a document (no file, version or sharing) is taken in, None when it is left out."""
    body = unit.body
    match unit.doctype:
        case "io.cozy.settings":
            return None if unit.id in _KEPT_SETTINGS else body
        case "io.cozy.triggers":
            return _trigger(body, to)
        case "io.cozy.contacts" if body.get("me") is True:
            return own_contact(body, to)
        case _:
            return body


def file_body(body: Body, to: Newcomer) -> Body:
    """The body of a file or directory, without what is not believed and, unless it moves, without its sharings."""
    kept = {name: value for name, value in body.items() if name not in ("path", "internal_vfs_id")}
    metadata = kept.get("metadata")
    if isinstance(metadata, dict):
        set_or_drop(kept, "metadata", {k: v for k, v in metadata.items() if k not in _UNTRUSTED_METADATA})
    if not to.moves:
        for member, gone in (("referenced_by", SHARINGS), ("not_synchronized_on", CLIENTS)):
            listed = kept.get(member)
            if isinstance(listed, list):
                set_or_drop(kept, member, [one for one in listed if not _is_reference(one, gone)])
    return kept


def own_contact(body: Body, to: Newcomer) -> Body:
    """The contact that stands for the owner, with the address and the mail of the instance it has come to."""
    contact = dict(body)
    if to.email:
        others = [
            {name: value for name, value in entry.items() if name != "primary"}
            for entry in _entries(body.get("email"))
            if entry.get("primary") is not True and entry.get("address") != to.email
        ]
        contact["email"] = [{"address": to.email, "primary": True}, *others]
    contact["cozy"] = [{"url": to.origin, "primary": True}]
    return contact


def _trigger(body: Body, to: Newcomer) -> Body | None:
    worker = text_member(body, "worker")
    if worker != "konnector" and not (to.moves and worker in SHARING_WORKERS):
        return None
    return {**body, "domain": to.domain, "prefix": to.prefix}


def _is_reference(value: Any, doctype: str) -> bool:
    return isinstance(value, dict) and value.get("type") == doctype


def _entries(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
