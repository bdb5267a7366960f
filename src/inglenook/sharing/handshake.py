"""The handshake between servers as a table: each step, how often it is tried, and what it does (DESIGN, idea 3).

    step            what it does                                         when it fails for good
    invite          request to the member's server, else a mail          the member stays uninvited
    tell-members    the list of members                                  the member keeps an older list
    describe        the description                                      the member keeps the old one
    revoke-notice   tells a member that it is over                       his credentials are dead all the same
    leave-notice    tells the owner that the local user has left         the owner still lists him
    refusal-notice  tells the owner that the local user has declined     the owner goes on waiting
    follow-contact  a contact entered or left a group of the sharing     nothing changes
    rename-group    a group of the sharing has a new name                the old name stays
    vault-…         the vault has new keys, or lost a contact            the sharing of passwords goes on
    send-key        tells the owner of an organization our public key    he cannot confirm us
    auto-accept     accepts a drive from somebody who is trusted         the drive waits for its user
    moved-notice    tells a member that we have moved here               he looks for us at the old address

How a member's status moves is the table in `kernel.members`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from inglenook.identity.instance import Instance
from inglenook.sharing import (
    attempts,
    contact_groups,
    description,
    invitations,
    members_list,
    moved_notice,
    organizations,
    revocation,
    steps,
    trust,
    vault,
)
from inglenook.sharing.steps import Step

STEPS: Mapping[str, Step] = {
    invitations.STEP: invitations.LINE,
    members_list.STEP: members_list.LINE,
    description.STEP: description.LINE,
    revocation.REVOKE_NOTICE: revocation.REVOKE_LINE,
    revocation.LEAVE_NOTICE: revocation.LEAVE_LINE,
    revocation.REFUSAL_NOTICE: revocation.REFUSAL_LINE,
    contact_groups.FOLLOW: contact_groups.FOLLOW_LINE,
    contact_groups.RENAME: contact_groups.RENAME_LINE,
    organizations.STEP: organizations.LINE,
    trust.STEP: trust.LINE,
    vault.CONTACT_GONE: vault.CONTACT_LINE,
    vault.KEYS_REPLACED: vault.KEYS_LINE,
    moved_notice.STEP: moved_notice.LINE,
}

log = structlog.get_logger("inglenook.sharing")

NOTICES = (revocation.REVOKE_NOTICE, revocation.LEAVE_NOTICE, revocation.REFUSAL_NOTICE)
PATIENCE = 2.0  # seconds that a person waits for other servers to hear that it is over

_under_way: set[asyncio.Task[object]] = set()


async def give_notice(instance: Instance, sharing_id: str) -> None:
    """Send the notices of a sharing that wait now, side by side, and return when they are there or after a moment:
    what takes longer goes on by itself."""
    waiting = await instance.store.read(lambda view: steps.of_sharing(view, sharing_id))
    tasks = [
        asyncio.create_task(attempts.attempt_claim(instance, claim, STEPS[claim.waiting.step]))
        for claim in waiting
        if claim.waiting.step in NOTICES and not claim.waiting.attempts
    ]
    if not tasks:
        return
    for task in tasks:
        _under_way.add(task)
        task.add_done_callback(_ended)
    await asyncio.wait(tasks, timeout=PATIENCE)


def _ended(task: asyncio.Task[object]) -> None:
    """A notice that could not be noted as sent, because its instance was closed meanwhile, waits for the runner."""
    _under_way.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.info("a notice was left to the runner", cause=repr(error))
