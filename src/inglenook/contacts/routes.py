"""The one route of contacts (spec/07 §6.1); all others are `/data/io.cozy.contacts`."""

from __future__ import annotations

from litestar import post

from inglenook.contacts import address_book
from inglenook.contacts.address_book import CONTACTS
from inglenook.identity import creation
from inglenook.identity.caller import Caller
from inglenook.identity.instance import INSTANCE_SETTINGS, SETTINGS, Instance
from inglenook.kernel import jsonapi
from inglenook.kernel.permissions import Permit
from inglenook.storage.documents.contract import Document, Writer
from inglenook.wire import TOKEN, Answer
from inglenook.wire import jsonapi as answer

SELF = "/contacts/myself"


@post("/contacts/myself", opt={"guard": TOKEN}, status_code=200)
async def myself(instance: Instance, caller: Caller) -> Answer:
    """The contact that stands for the owner; it is made when there is none. Needs GET on it (else 403)."""
    permit = await caller.permit()
    document = await instance.store.read(address_book.myself)
    if document is None:
        document = await instance.store.write(lambda tx: _make(tx, instance, permit))
    permit.require_document("GET", CONTACTS, document.id, document.body)
    resource = jsonapi.resource(CONTACTS, document.id, document.body, rev=document.rev, links={"self": SELF})
    return answer(jsonapi.document(resource))


def _make(tx: Writer, instance: Instance, permit: Permit) -> Document:
    """The contact, made unless somebody else was quicker; nothing is made for who may not see it."""
    known = address_book.myself(tx)
    if known is not None:
        return known
    settings = tx.get(SETTINGS, INSTANCE_SETTINGS)
    body = creation.myself(instance, settings.body if settings else {})
    id = tx.new_id()
    permit.require_document("GET", CONTACTS, id, body)
    return tx.put(CONTACTS, id, body)


ROUTES = [myself]
