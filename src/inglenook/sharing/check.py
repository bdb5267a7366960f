"""What can be wrong with a sharing as one server stores it (spec/03 §16, spec/04 §27)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from inglenook.identity.clients import CLIENTS
from inglenook.kernel import rules
from inglenook.kernel.errors import BadRequest
from inglenook.kernel.members import State
from inglenook.sharing.documents import Credentials, Member, Sharing
from inglenook.storage.documents.contract import Reader

Finding = dict[str, Any]
STATES = frozenset(State)


def faults_of(view: Reader, sharing: Sharing) -> Iterator[Finding]:
    """The faults of a sharing: `id` and `type`, and `member` (its index) where it is about one."""
    if not _has_valid_rules(sharing):
        yield _finding(sharing, "invalid_rules")
    if not sharing.active:
        return
    if len(sharing.members) < 2:
        yield _finding(sharing, "not_enough_members")
        return
    for index, member in enumerate(sharing.members):
        yield from _faults_of_member(sharing, index, member)
    if sharing.drive:
        return
    expected = len(sharing.members) - 1 if sharing.owner else 1
    if len(sharing.credentials) != expected:
        yield _finding(sharing, "invalid_number_of_credentials")
        return
    for index, credentials in enumerate(sharing.credentials, 1 if sharing.owner else 0):
        if not sharing.owner or sharing.members[index].status == State.READY:
            yield from _faults_of_credentials(view, sharing, index, credentials)


def _has_valid_rules(sharing: Sharing) -> bool:
    try:
        rules.validate(sharing.rules)
    except BadRequest:
        return False
    return True


def _faults_of_member(sharing: Sharing, index: int, member: Member) -> Iterator[Finding]:
    if member.status not in STATES or (member.status == State.OWNER) != (index == 0):
        yield _finding(sharing, "invalid_member_status", index)
    elif member.status == State.MAIL_NOT_SENT and sharing.owner:
        yield _finding(sharing, "mail_not_sent", index)
    if member.instance:
        address = urlsplit(member.instance)
        if address.scheme not in ("http", "https") or not address.hostname:
            yield _finding(sharing, "invalid_instance_for_member", index)
    elif member.status in (State.OWNER, State.READY):
        yield _finding(sharing, "missing_instance_for_member", index)


def _faults_of_credentials(view: Reader, sharing: Sharing, index: int, credentials: Credentials) -> Iterator[Finding]:
    if credentials.client is None or not credentials.client.client_id:
        yield _finding(sharing, "missing_oauth_client", index)
    if credentials.access_token is None or not credentials.access_token.access_token:
        yield _finding(sharing, "missing_access_token", index)
    if not credentials.inbound_client_id or view.get(CLIENTS, credentials.inbound_client_id) is None:
        yield _finding(sharing, "missing_inbound_client_id", index)


def _finding(sharing: Sharing, type: str, member: int | None = None) -> Finding:
    return {"id": sharing.id, "type": type, **({} if member is None else {"member": member})}
