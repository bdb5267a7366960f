"""Routes of intents (spec/03 §13)."""

from __future__ import annotations

from typing import Any

from litestar import Request, get, post

from inglenook.apps import intents
from inglenook.apps.documents import APPS
from inglenook.apps.intents import INTENTS
from inglenook.identity import permission_documents
from inglenook.identity.caller import Caller
from inglenook.kernel import jsonapi as json_documents
from inglenook.kernel.errors import AuthError, DocumentNotFound, Forbidden
from inglenook.kernel.permissions import Permit
from inglenook.storage.documents.contract import Document, Reader
from inglenook.wire import TOKEN, Answer, jsonapi, read_body

_LIMIT = 64 * 1024  # bytes of a body


@post("/intents", opt={"guard": TOKEN})
async def create_intent(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """A new intent, with the apps that can serve it."""
    permit = await _any_permit(caller)
    asked = intents.wish(json_documents.parse_attributes(await read_body(request, _LIMIT)))
    client = permit.source_id if permit.source_id.startswith(f"{APPS}/") else ""
    instance = caller.instance
    document = await instance.store.write(lambda tx: intents.ask(tx, instance, asked, client, caller.domain))
    return await _answer(caller, document)


@get("/intents/{id:str}", opt={"guard": TOKEN})
async def read_intent(id: str, caller: Caller) -> Answer:
    """An intent, for an app that can serve it."""
    permit = await _any_permit(caller)
    document = await caller.instance.store.read(lambda view: view.get(INTENTS, id))
    if document is None:
        raise DocumentNotFound
    if not intents.is_service(document.body, permit.source_id):
        raise Forbidden
    return await _answer(caller, document)


async def _any_permit(caller: Caller) -> Permit:
    """Whoever has a valid token. Raises Forbidden for all others."""
    try:
        permit = await caller.permit()
    except AuthError as error:
        raise Forbidden from error
    if permit.kind == "register":
        raise Forbidden
    return permit


async def _answer(caller: Caller, document: Document) -> Answer:
    instance = caller.instance
    client = str(document.body.get("client") or "")
    links: dict[str, str] | None = None
    if client:

        def find(view: Reader) -> Document | None:
            return permission_documents.of_source(view, "app", client)

        rights = await instance.store.read(find)
        links = {"self": f"/intents/{document.id}"}
        if rights is not None:
            links["permissions"] = f"/permissions/{rights.id}"
    attributes = {**document.body, "client": intents.client_origin(instance, client, caller.domain)}
    resource = json_documents.resource(INTENTS, document.id, attributes, document.rev, links)
    return jsonapi(json_documents.document(resource))


ROUTES: list[Any] = [create_intent, read_intent]
