"""What an app or a device of the local user needs to read or change a sharing: rights on what is shared itself.

No permission on `io.cozy.sharings` is asked for (spec/04 §1.1, "create-check" and "get-check").
"""

from __future__ import annotations

from collections.abc import Iterable

from inglenook.identity.caller import Caller
from inglenook.kernel.errors import AuthError, BadCredentials, Forbidden
from inglenook.kernel.permissions import VERBS, PermissionSet, Permit, Rule
from inglenook.kernel.rules import SharingRule
from inglenook.sharing.documents import DOCTYPE, Sharing

CLIENTS = ("app", "oauth", "cli")
WRONG_AUDIENCE = "Invalid audience for JWT token"


async def require_full_rights(caller: Caller, rules: Iterable[SharingRule]) -> Permit:
    """Who may create or change the sharing: all verbs on what each rule shares (the create-check).

    Raises what reading a token raises, BadCredentials for another kind of token, Forbidden."""
    permit = await caller.permit()
    if permit.kind not in CLIENTS:
        raise BadCredentials(WRONG_AUDIENCE)
    if permit.client_kind == "sharing":
        raise Forbidden
    if not permit.permissions.includes(PermissionSet(tuple(_needed(rule, VERBS) for rule in rules))):
        raise Forbidden
    return permit


async def require_full_rights_or_forbid(caller: Caller, rules: Iterable[SharingRule]) -> Permit:
    """The create-check for the routes that answer every failure of it by 403 (spec/04 §5, §19)."""
    try:
        return await require_full_rights(caller, rules)
    except AuthError as error:
        raise Forbidden from error


async def require_reading(caller: Caller, sharing: Sharing) -> Permit:
    """Who may read the sharing: a code of one of its members, or GET on what one of its rules shares.

    Raises as `require_full_rights`."""
    permit = await caller.permit()
    if permit.kind in ("share-preview", "share-interact"):
        if permit.source_id != f"{DOCTYPE}/{sharing.id}":
            raise Forbidden
        return permit
    if permit.kind not in CLIENTS:
        raise BadCredentials(WRONG_AUDIENCE)
    if not any(permit.permissions.includes(PermissionSet((_needed(rule, ("GET",)),))) for rule in sharing.rules):
        raise Forbidden
    return permit


def _needed(rule: SharingRule, verbs: tuple[str, ...]) -> Rule:
    selector = "" if rule.selector in ("id", "_id") else rule.selector
    return Rule(type=rule.doctype, verbs=verbs, selector=selector, values=tuple(rule.values))
