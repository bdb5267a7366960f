"""Shared password organizations: who has which key (spec/04 §22).

The organization is a document of the password app; its `members` are kept by the host of their server. The sharing
brings the public keys together, so that the owner can confirm each member with the key of the organization.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import msgspec

from inglenook.identity import letters
from inglenook.identity.instance import SETTINGS, VAULT_SETTINGS, Instance
from inglenook.kernel import jsonapi
from inglenook.sharing import attempts, documents, links, rights, steps
from inglenook.sharing.documents import ORGANIZATIONS, Body, Member, Sharing
from inglenook.sharing.steps import Claim, Outcome
from inglenook.storage.documents.contract import Document, Reader, Writer
from inglenook.wire import JSONAPI

CONTACTS = "com.bitwarden.contacts"
CIPHERS = "com.bitwarden.ciphers"
ANSWER_TYPE = "io.cozy.sharings.answer"
INVITED, ACCEPTED, CONFIRMED = 0, 1, 2
STEP = "send-key"
MOST = 1000
PAGE = 200


async def my_key(instance: Instance) -> Body:
    """What the answer to a shared organization tells of the local user: his id and the public key of his vault."""
    vault = await instance.store.read(lambda view: view.get(SETTINGS, VAULT_SETTINGS))
    key = vault.body.get("public_key") if vault is not None else ""
    return {"user_id": instance.id, "public_key": key if isinstance(key, str) else ""}


def take_key(tx: Writer, instance: Instance, sharing: Sharing, index: int, sent: Body | None) -> None:
    """Note the key that a member's server has sent; the owner is asked to confirm him by mail."""
    organization = _organization(tx, sharing)
    if organization is None or sent is None:
        return
    member = sharing.members[index]
    user_id, public_key = _text(sent.get("user_id")), _text(sent.get("public_key"))
    entries = _entries(organization)
    host = _host(member)
    entry = dict(entries.get(host) or {})
    key_changed = False
    if public_key and user_id:
        known = tx.get(CONTACTS, user_id)
        key_changed = known is not None and known.body.get("public_key") != public_key
        if known is None or key_changed:
            body = {"email": member.email, "public_key": public_key, "confirmed": False}
            tx.put(CONTACTS, user_id, body, rev=known.rev if known is not None else None)
    if key_changed:
        entry.pop("key", None)
    entry["user_id"] = user_id or entry.get("user_id", "")
    entry["email"], entry["name"] = member.email, member.public_name
    entry["read_only"] = rights.is_read_only(sharing, index)
    entry["status"] = CONFIRMED if entry.get("key") else ACCEPTED if public_key else INVITED
    _put_entries(tx, organization, {**entries, host: entry})
    if entry["status"] == ACCEPTED:
        values = {
            "PublicName": sharing.members[0].public_name,
            "MemberName": member.display_name,
            "Link": instance.app_url(sharing.app_slug or "passwords"),
        }
        letters.post(tx, "sharing_to_confirm", values, instance.env.clock.now().timestamp())


# -- the local user has got keys (`vault` says when)


async def send_key(instance: Instance, claim: Claim) -> Outcome:
    """Tell the owner of an organization the key of the local user."""
    sharing = await instance.store.read(lambda view: documents.get(view, claim.waiting.sharing))
    if sharing is None or sharing.owner or not sharing.active:
        return Outcome.DONE
    attributes = {"bitwarden": await my_key(instance)}
    response = await instance.peers.authorized(
        links.peer_link(instance, sharing, 0),
        "POST",
        f"/sharings/{sharing.id}/public-key",
        headers={"Accept": JSONAPI, "Content-Type": JSONAPI},
        body=msgspec.json.encode(jsonapi.document(jsonapi.resource(ANSWER_TYPE, sharing.id, attributes))),
    )
    return attempts.judge(response.status)


LINE = steps.Step(send_key, on_refused="the owner cannot confirm the member", on_given_up="the owner keeps no key")


# -- leaving


def remove_member(tx: Writer, sharing: Sharing, index: int) -> None:
    """Take a member out of the organization."""
    organization = _organization(tx, sharing) if sharing.owner else None
    if organization is None:
        return
    entries = _entries(organization)
    if entries.pop(_host(sharing.members[index]), None) is not None:
        _put_entries(tx, organization, entries)


def remove_received(tx: Writer, sharing: Sharing) -> None:
    """On a recipient whose sharing has ended, delete the organization with what belongs to it."""
    rule = sharing.organization_rule()
    if rule is None or sharing.owner:
        return
    for organization_id in rule.values:
        organization = tx.get(ORGANIZATIONS, organization_id)
        if organization is not None:
            tx.delete(ORGANIZATIONS, organization_id, organization.rev)
        start = ""
        while page := tx.all_docs(CIPHERS, start=start, limit=PAGE):
            for cipher in page:
                if cipher.body.get("organization_id") == organization_id:
                    tx.delete(CIPHERS, cipher.id, cipher.rev)
            start = page[-1].id + "\0"


def _organization(view: Reader, sharing: Sharing) -> Document | None:
    rule = sharing.organization_rule()
    return view.get(ORGANIZATIONS, rule.values[0]) if rule is not None else None


def _entries(organization: Document) -> dict[str, Any]:
    entries = organization.body.get("members")
    return dict(entries) if isinstance(entries, dict) else {}


def _put_entries(tx: Writer, organization: Document, entries: dict[str, Any]) -> None:
    body = {**organization.body, "members": entries}
    if body != organization.body:
        tx.put(ORGANIZATIONS, organization.id, body, rev=organization.rev)


def _host(member: Member) -> str:
    return urlsplit(member.instance).netloc


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
