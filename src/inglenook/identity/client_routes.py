"""Routes by which OAuth clients register and manage themselves (spec/03 §7.2, §7.3; RFC 7591, RFC 7592)."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, delete, get, post, put

from inglenook.identity import clients, linked_apps, throttle, tokens
from inglenook.identity.caller import Caller, token_of
from inglenook.identity.clients import CLIENTS, ClientRefused, linked_app
from inglenook.identity.forms import content_type, read_object
from inglenook.identity.permission_documents import of_source
from inglenook.kernel.errors import AuthError, BadRequest, DocumentConflict, Forbidden, NotFound
from inglenook.storage.documents.contract import Document, Writer
from inglenook.wire import JSON, PUBLIC, REGISTRATION, TOKEN, Answer, no_content, plain_json, text

REGISTRATIONS_PER_HOUR = 50


@post("/auth/register", opt={"guard": PUBLIC})
async def register(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """A new client of this instance."""
    return await _register(request, caller)


@post("/auth/registerFromWebApp", opt={"guard": TOKEN})
async def register_from_app(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """A new client, made by the settings app."""
    permit = await caller.permit()
    if permit.kind != "app" or permit.slug != "settings":
        raise Forbidden
    return await _register(request, caller)


@get("/auth/register/{client_id:str}", opt={"guard": REGISTRATION})
async def read_registration(client_id: str, caller: Caller) -> Answer:
    """What the server keeps about a client, for that client."""
    client = await caller.instance.store.read(lambda view: view.get(CLIENTS, client_id))
    if client is None:
        return plain_json({"error": "Client not found"}, 404)
    if not _is_own_token(caller, client_id):
        return plain_json({"error": "invalid_token"}, 401)
    return plain_json(clients.wire_client(caller.instance, client))


@put("/auth/register/{client_id:str}", opt={"guard": REGISTRATION})
async def update_registration(client_id: str, request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """A full new declaration of a client."""
    instance = caller.instance
    client = await instance.store.read(lambda view: view.get(CLIENTS, client_id))
    if client is None:
        return plain_json({"error": "Client not found"}, 404)
    if not _is_own_token(caller, client_id):
        return plain_json({"error": "invalid_token"}, 401)
    if (refusal := await _refused_form(request)) is not None:
        return refusal
    if not await throttle.allowed(instance, "oauth-client", REGISTRATIONS_PER_HOUR, 3600.0):
        return _limited(request)
    sent = await _declaration(request)
    if isinstance(sent, Answer):
        return sent

    def replace(tx: Writer) -> Document:
        current = tx.get(CLIENTS, client_id)
        if current is None:
            raise NotFound("Client not found")
        return clients.replace_client(tx, instance, current, sent)

    try:
        if linked_app(sent) != linked_app(client.body):
            await linked_apps.check_software(instance, sent)
        changed = await instance.store.write(replace)
    except ClientRefused as error:
        return _refusal(error)
    except NotFound:
        return plain_json({"error": "Client not found"}, 404)
    except DocumentConflict:
        return plain_json({"error": "conflict"}, 409)
    return plain_json(clients.wire_client(instance, changed))


@delete("/auth/register/{client_id:str}", opt={"guard": REGISTRATION}, status_code=200)
async def unregister(client_id: str, caller: Caller) -> Answer:
    """The end of a client, asked by itself."""
    instance = caller.instance
    if await instance.store.read(lambda view: view.get(CLIENTS, client_id)) is None:
        return no_content()
    if not _is_own_token(caller, client_id):
        return plain_json({"error": "invalid_token"}, 401)
    await instance.store.write(lambda tx: clients.delete_client(tx, client_id))
    await remember_activity(caller)
    return no_content()


@post("/auth/tokens/konnectors/{slug:str}", opt={"guard": TOKEN})
async def konnector_token(slug: str, caller: Caller) -> Answer:
    """A token of an installed konnector, for who may do everything (spec/03 §7.9)."""
    (await caller.permit()).require_maximal()
    source = f"io.cozy.konnectors/{slug}"
    if await caller.instance.store.read(lambda view: of_source(view, "konnector", source)) is None:
        raise NotFound("Application is not installed")
    return plain_json(tokens.issue(caller.instance, tokens.KONNECTOR, slug), 201)


async def remember_activity(caller: Caller) -> None:
    """Note that a client, now gone, was active until now."""
    now = caller.instance.env.clock.timestamp()
    await caller.instance.registry.modify(
        caller.instance, lambda doc: msgspec.structs.replace(doc, last_activity_from_deleted_oauth_clients=now)
    )


async def _register(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    if (refusal := await _refused_form(request)) is not None:
        return refusal
    instance = caller.instance
    sent = await _declaration(request)
    if isinstance(sent, Answer):
        return sent
    if sent.get("allow_login_scope"):
        return _plain(request, 401, "Not authorized to create client with given parameters")
    try:
        clients.checked(instance, sent)
        await linked_apps.check_software(instance, sent)
    except ClientRefused as error:
        return _refusal(error)
    now = instance.env.clock.now().timestamp()

    def create(tx: Writer) -> Document | None:
        if not throttle.count(tx, "oauth-client", REGISTRATIONS_PER_HOUR, 3600.0, now):
            return None
        clients.drop_abandoned(tx, now)
        return clients.create_client(tx, instance, sent, pending=True)

    client = await instance.store.write(create)
    if client is None:
        return _limited(request)
    return plain_json(clients.wire_client(instance, client, with_registration_token=True), 201)


async def _refused_form(request: Request[Any, Any, Any]) -> Answer | None:
    accept = request.headers.get("accept")
    if accept is not None and accept.strip() != "*/*" and JSON not in accept:
        return plain_json({"error": "bad_accept_header"}, 400)
    if content_type(request) != JSON:
        return plain_json({"error": "bad_content_type"}, 400)
    return None


async def _declaration(request: Request[Any, Any, Any]) -> dict[str, Any] | Answer:
    try:
        return await read_object(request)
    except BadRequest:
        return plain_json({"error": "invalid_client_metadata"}, 400)


def _is_own_token(caller: Caller, client_id: str) -> bool:
    try:
        claims = tokens.verify(caller.instance, token_of(caller.request), tokens.REGISTRATION)
    except AuthError:
        return False
    return claims.sub == client_id


def _refusal(error: ClientRefused) -> Answer:
    body = {"error": error.error}
    if error.detail:
        body["error_description"] = error.detail
    return plain_json(body, 400)


def _limited(request: Request[Any, Any, Any]) -> Answer:
    return _plain(request, 404, "Not found")


def _plain(request: Request[Any, Any, Any], status: int, message: str) -> Answer:
    if JSON in request.headers.get("accept", ""):
        return plain_json({"error": message}, status)
    return text(message, status)


ROUTES: list[Any] = [
    register,
    register_from_app,
    read_registration,
    update_registration,
    unregister,
    konnector_token,
]
