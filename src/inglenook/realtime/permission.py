"""Who may listen to what (spec/07 §2.2)."""

from __future__ import annotations

from inglenook.files import access, tree
from inglenook.files.documents import FILES
from inglenook.identity.instance import INSTANCE_SETTINGS, PASSPHRASE_SETTINGS, SETTINGS
from inglenook.kernel.errors import DomainError
from inglenook.kernel.permissions import Permit
from inglenook.realtime import interest
from inglenook.storage.documents.contract import Reader

FREE = frozenset({"io.cozy.sharings.initial_sync", "io.cozy.auth.confirmations"})
SHARINGS = "io.cozy.sharings"
AS_FILES = frozenset({"io.cozy.files.thumbnails", "io.cozy.notes.events"})


def may_listen(view: Reader, permit: Permit, doctype: str, id: str) -> bool:
    """Whether a permit allows a subscription; an empty id stands for the whole doctype."""
    if doctype in FREE:
        return True
    if doctype in AS_FILES:
        doctype = FILES
    elif (doctype, id) == (SETTINGS, PASSPHRASE_SETTINGS):
        id = INSTANCE_SETTINGS
    elif doctype == interest.STATUS:
        if id and _may_read_a_rule(view, permit, id):
            return True
        doctype = SHARINGS
    if permit.allows_type("GET", doctype):
        return True
    if not id:
        return False
    if doctype == FILES:
        return _may_read_file(view, permit, id)
    return permit.allows_id("GET", doctype, id)


def _may_read_file(view: Reader, permit: Permit, id: str) -> bool:
    try:
        item = tree.find(view, id)
        access.require(permit, "GET", item, tree.Lineage(view))
    except DomainError:
        return False
    return True


def _may_read_a_rule(view: Reader, permit: Permit, sharing_id: str) -> bool:
    """Whether a permit allows to read what one of the rules of a sharing shares: then its status may be read too."""
    sharing = view.get(SHARINGS, sharing_id)
    rules = sharing.body.get("rules", []) if sharing is not None else []
    return any(permit.allows_type("GET", rule.get("doctype", "")) for rule in rules)
