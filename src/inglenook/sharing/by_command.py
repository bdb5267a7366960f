"""Sharing by the operator's command: a path and addresses in place of identifiers (spec/10 §3)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from inglenook.contacts import address_book
from inglenook.contacts.address_book import CONTACTS, GROUPS
from inglenook.files import tree
from inglenook.files.documents import ROOT_ID, Item
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest, NotFound
from inglenook.kernel.permissions import MAXIMAL, Permit
from inglenook.kernel.rules import SharingRule
from inglenook.sharing import creation, documents, revocation
from inglenook.sharing.creation import Wanted
from inglenook.sharing.documents import FILES, Sharing
from inglenook.sharing.handshake import give_notice
from inglenook.sharing.people import Invited
from inglenook.sharing.revocation import Ending
from inglenook.storage.documents.contract import Writer

MAIL = re.compile(r"[^\s@]+@[^\s@]+\Z")


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be shared, with whom: `target` is a path or an id, people are named by mail address, by the address
    of their instance, or by the id of a contact or group."""

    target: str
    recipients: tuple[str, ...]
    readers: tuple[str, ...]
    description: str = ""
    open_sharing: bool = False


async def share(instance: Instance, wish: Wish) -> Sharing:
    """Share a file or folder in both directions, and invite. People who are not in the address book are put there.

    Raises NotFound (nothing there, nobody known by that id), BadRequest (nobody to share with) as
    `creation.create`."""
    if not wish.recipients and not wish.readers:
        raise BadRequest("Say with whom: a mail address, the address of an instance, or the id of a contact or group")

    def prepare(tx: Writer) -> tuple[Item, list[Invited]]:
        item = _find(tx, wish.target)
        invited = [_invited(tx, one, read_only=False) for one in wish.recipients]
        return item, [*invited, *(_invited(tx, one, read_only=True) for one in wish.readers)]

    item, invited = await instance.store.write(prepare)
    ways = ("sync", "sync", "sync") if item.is_directory else ("none", "sync", "revoke")
    rule = SharingRule(title=item.name, doctype=FILES, values=[item.id], add=ways[0], update=ways[1], remove=ways[2])
    wanted = Wanted(
        rules=[rule], description=wish.description or item.name, open_sharing=wish.open_sharing, app_slug="drive"
    )
    return await creation.create(instance, Permit(kind="cli", rules=MAXIMAL.rules), wanted, invited)


async def revoke(instance: Instance, sharing_id: str, index: int | None) -> Sharing | None:
    """End a sharing for all, or for the member at an index; leave one of somebody else. Gives what is left of it,
    None when its document is gone with it.

    Raises DocumentNotFound, NotFound (no such member), BadRequest (a single member, on a recipient)."""

    def write(tx: Writer) -> None:
        sharing = documents.load(tx, sharing_id)
        if index is not None:
            revocation.revoke_member(tx, instance, sharing, index)
        elif sharing.owner:
            revocation.end(tx, Ending.of(instance), sharing)
        else:
            revocation.leave(tx, Ending.of(instance), sharing)

    await instance.store.write(write)
    await give_notice(instance, sharing_id)
    return await instance.store.read(lambda view: documents.get(view, sharing_id))


def _find(tx: Writer, target: str) -> Item:
    item = tree.get(tx, target) or tree.by_path(tx, target if target.startswith("/") else f"/{target}")
    if item.id == ROOT_ID:
        raise BadRequest("The root of the files cannot be shared")
    return item


def _invited(tx: Writer, who: str, *, read_only: bool) -> Invited:
    if MAIL.match(who):
        known = address_book.document_by_email(tx, who)
        contact = known.id if known else tx.put(CONTACTS, tx.new_id(), address_book.new_contact(who)).id
        return Invited(contact, group=False, read_only=read_only)
    if who.startswith(("http://", "https://")):
        where = documents.origin_of(who)
        name = where.partition("://")[2].partition(".")[0]
        body = {"fullname": name, "displayName": name, "cozy": [{"url": where, "primary": True}]}
        return Invited(tx.put(CONTACTS, tx.new_id(), body).id, group=False, read_only=read_only)
    if tx.get(CONTACTS, who) is not None:
        return Invited(who, group=False, read_only=read_only)
    if tx.get(GROUPS, who) is not None:
        return Invited(who, group=True, read_only=read_only)
    raise NotFound(f"{who} is no mail address, no address of an instance, and no contact or group")
