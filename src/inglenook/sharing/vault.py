"""What happens to the vault of the local user happens to the organizations shared with it (spec/04 §19.8, §22).

A hook of the store. The first keys are told to the owners of the organizations. New keys in place of others make
what was shared unreadable: those sharings end. A contact of the vault that is deleted is revoked wherever the local
user shares an organization with it; this is a step, since the other servers have to be told.
"""

from __future__ import annotations

from inglenook.identity.instance import SETTINGS, VAULT_SETTINGS, Instance
from inglenook.kernel.collation import raw_key
from inglenook.kernel.members import State
from inglenook.sharing import documents, members, organizations, revocation, steps
from inglenook.sharing.documents import BY_DOCTYPE, ORGANIZATIONS, Sharing
from inglenook.sharing.organizations import CIPHERS, CONTACTS, MOST
from inglenook.sharing.steps import Claim, Outcome
from inglenook.storage.documents.contract import Change, Reader, Writer

CONTACT_GONE = "vault-contact-gone"
KEYS_REPLACED = "vault-keys-replaced"


def follow(tx: Writer, change: Change) -> None:
    """The store's hook."""
    if change.new.doctype == CONTACTS and change.new.deleted and change.old is not None:
        _follow_contact(tx, change.old.body.get("email"), change.new.id)
    elif change.new.doctype == SETTINGS and change.new.id == VAULT_SETTINGS and not change.new.deleted:
        _follow_keys(tx, change)


def _follow_contact(tx: Writer, email: object, contact_id: str) -> None:
    if not isinstance(email, str) or not email:
        return
    for sharing in _active(tx, ORGANIZATIONS):
        if sharing.owner:
            steps.queue(tx, 0.0, CONTACT_GONE, sharing.id, 0, mark=contact_id, data={"email": email})


def _follow_keys(tx: Writer, change: Change) -> None:
    had = change.old.body.get("public_key") if change.old is not None else None
    has = change.new.body.get("public_key")
    if not has or had == has:
        return
    if had:
        for sharing in _active(tx, CIPHERS):
            steps.queue(tx, 0.0, KEYS_REPLACED, sharing.id, 0)
        return
    for sharing in _active(tx, ORGANIZATIONS):
        if not sharing.owner:
            steps.queue(tx, 0.0, organizations.STEP, sharing.id, 0, instance=sharing.members[0].instance)


async def revoke_contact(instance: Instance, claim: Claim) -> Outcome:
    """Revoke the members with the mail address of a contact that was deleted from the vault."""
    email = claim.waiting.data["email"]

    def write(tx: Writer) -> None:
        sharing = documents.get(tx, claim.waiting.sharing)
        if sharing is None or not sharing.active or not sharing.owner:
            return
        for index, member in enumerate(sharing.members):
            if index and member.status == State.READY and members.same_email(member.email, email):
                revocation.revoke_member(tx, instance, sharing, index, rest=0.0)
                sharing = documents.load(tx, sharing.id)

    await instance.store.write(write)
    return Outcome.DONE


async def stop_unreadable(instance: Instance, claim: Claim) -> Outcome:
    """End or leave a sharing of passwords that the new keys cannot open."""
    ending = revocation.Ending(instance.env.clock.timestamp(), instance.locale)
    await instance.store.write(lambda tx: revocation.stop_here(tx, ending, claim.waiting.sharing))
    return Outcome.DONE


def _active(view: Reader, doctype: str) -> list[Sharing]:
    key = raw_key(doctype)
    found = view.index_docs(BY_DOCTYPE, start=key, end=key + b"\0", limit=MOST)
    return [sharing for _, document in found if (sharing := documents.of_document(document)).active]


CONTACT_LINE = steps.Step(revoke_contact, on_refused="the member stays in the organization")
KEYS_LINE = steps.Step(stop_unreadable, on_refused="the sharing of passwords goes on")
