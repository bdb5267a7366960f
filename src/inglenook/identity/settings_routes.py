"""Routes of the settings: the instance, its capabilities, flags, sessions and devices (spec/03 §7.8, §14)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import msgspec
from litestar import Request, delete, get, post, put

from inglenook.identity import clients, email_change, forms, letters, login, one_time, pages, redirects, sessions
from inglenook.identity import settings as service
from inglenook.identity.caller import Caller
from inglenook.identity.client_routes import remember_activity
from inglenook.identity.clients import CLIENT_DEVICES, CLIENTS
from inglenook.identity.creation import auth_mode, auth_mode_name
from inglenook.identity.instance import INSTANCE_SETTINGS, SETTINGS, Instance
from inglenook.identity.permission_routes import page_limit
from inglenook.identity.sessions import SESSIONS
from inglenook.identity.translations import translate
from inglenook.kernel import jsonapi as documents
from inglenook.kernel.errors import AuthError, BadRequest, DocumentNotFound, Forbidden, Gone, NotFound
from inglenook.storage.documents.contract import Writer
from inglenook.wire import JSONAPI, SESSION, TOKEN, Answer, jsonapi, no_content, read_body, redirect

_LIMIT = 1_000_000  # bytes of a body


@get("/settings/instance", opt={"guard": TOKEN})
async def read_instance(caller: Caller) -> Answer:
    """The settings of the instance."""
    permit = await caller.permit()
    if permit.kind in ("share", "share-preview", "share-interact"):
        return await _instance_answer(caller, service.visitor_attributes)
    return await _instance_answer(caller, service.instance_attributes)


@put("/settings/instance", opt={"guard": TOKEN})
async def change_instance(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """A whole new settings document."""
    permit = await caller.permit()
    permit.require_id("PUT", SETTINGS, INSTANCE_SETTINGS)
    received = documents.parse_document(await read_body(request, _LIMIT))
    attributes = dict(received.attributes)
    rev = received.rev or str(attributes.pop("_rev", "") or "")
    await service.replace_settings(caller.instance, attributes, rev, by_operator=permit.kind == "cli")
    return await _instance_answer(caller, service.instance_attributes)


@put("/settings/instance/auth_mode", opt={"guard": TOKEN})
async def change_auth_mode(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """The second factor by mail, switched on (with the code that was mailed) or off."""
    (await caller.permit()).require_type("PUT", SETTINGS)
    instance = caller.instance
    sent = await forms.read_object(request)
    name = sent.get("auth_mode")
    mode = auth_mode(name if isinstance(name, str) else "")
    if mode == instance.doc.auth_mode:
        return no_content()
    if auth_mode_name(mode) == "two_factor_mail":
        email = await instance.email()
        code = sent.get("two_factor_activation_code")
        if not code:
            now = instance.env.clock.now().timestamp()
            values = {"TwoFactorActivationPasscode": one_time.activation_passcode(instance, email, now)}
            await instance.store.write(
                lambda tx: letters.post(tx, "two_factor_mail_confirmation", values, now) and None
            )
            return no_content()
        if not isinstance(code, str) or not one_time.right_activation(instance, email, code):
            return Answer(status=422, media_type=JSONAPI)
    await instance.registry.modify(instance, lambda doc: msgspec.structs.replace(doc, auth_mode=mode))
    return no_content()


@put("/settings/instance/sign_tos", opt={"guard": TOKEN})
async def sign_terms(caller: Caller) -> Answer:
    """The latest terms of service, signed."""
    if (await caller.permit()).kind not in ("oauth", "cli"):
        raise Forbidden
    await caller.instance.registry.modify(
        caller.instance, lambda doc: msgspec.structs.replace(doc, tos=doc.tos_latest or doc.tos)
    )
    return no_content()


@get("/settings/capabilities", opt={"guard": TOKEN})
async def read_capabilities(caller: Caller) -> Answer:
    """What the server can do."""
    await caller.permit()
    return _settings_answer("capabilities", service.capabilities(caller.instance))


@get("/settings/context", opt={"guard": TOKEN})
async def read_context(caller: Caller) -> Answer:
    """The configuration of the context."""
    await _any_token(caller)
    return _settings_answer("context", service.context_attributes(caller.instance))


@get("/settings/flags", opt={"guard": TOKEN})
async def read_flags(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """The feature flags."""
    await _any_token(caller)
    included = []
    if request.query_params.get("include"):
        included = [documents.resource(SETTINGS, name, flags) for name, flags in service.flag_sources(caller.instance)]
    return _settings_answer("flags", service.flags(caller.instance), included)


@get("/settings/warnings", opt={"guard": TOKEN})
async def read_warnings(caller: Caller) -> Answer:
    """What waits for the owner, as errors; nothing is a 404. An instance that has moved tells it too."""
    with suppress(Gone):
        await caller.permit()
    instance = caller.instance
    if not service.pending_terms(instance):
        return Answer(b'{"errors": []}', status=404, media_type=JSONAPI)
    return jsonapi({"errors": [service.terms_warning(instance)]}, 402)


@get("/settings/onboarded", opt={"guard": SESSION})
async def end_onboarding(caller: Caller) -> Answer:
    """The end of the onboarding, for a logged-in browser."""
    if (answer := await sessions.require_login(caller)) is not None:
        return answer
    instance = caller.instance
    await instance.registry.modify(instance, lambda doc: msgspec.structs.replace(doc, onboarding_finished=True))
    configured = instance.context_settings.get("onboarded_redirection")
    target = redirects.app_address(instance, configured, caller.domain) if isinstance(configured, str) else ""
    return redirect(target or instance.app_url("home", host=caller.domain))


# -- sessions


@get("/settings/sessions", opt={"guard": TOKEN})
async def list_sessions(caller: Caller) -> Answer:
    """The sessions of browsers."""
    (await caller.permit()).require_type("GET", SESSIONS)
    found = await caller.instance.store.scan(lambda view: view.all_docs(SESSIONS, limit=1000))
    return jsonapi(documents.listing([_session(document.id, document.rev, document.body) for document in found]))


@get("/settings/sessions/current", opt={"guard": SESSION})
async def read_session(caller: Caller) -> Answer:
    """The session of this browser."""
    session = await caller.session()
    if session is None:
        raise NotFound("There is no session")
    return jsonapi(documents.document(_session(session.id, session.rev, session.body)))


# -- devices


@get("/settings/clients", opt={"guard": TOKEN})
async def list_clients(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """The OAuth clients of the instance."""
    (await caller.permit()).require_type("GET", CLIENTS)
    limit = page_limit(request.query_params.get("page[limit]"), 100, 1000)
    start = request.query_params.get("page[cursor]") or ""
    found = await caller.instance.store.read(lambda view: view.all_docs(CLIENTS, start=start, limit=limit + 1))
    links: dict[str, str] = {}
    if len(found) > limit:
        links["next"] = f"/settings/clients?page[limit]={limit}&page[cursor]={quote(found[limit].id)}"
    items = [
        documents.resource(
            CLIENTS,
            document.id,
            clients.listed_client(document),
            document.rev,
            {"self": f"/settings/clients/{document.id}"},
        )
        for document in found[:limit]
    ]
    return jsonapi(documents.document(items, links=links, meta={"count": len(items)}))


@delete("/settings/clients/{client_id:str}", opt={"guard": TOKEN}, status_code=200)
async def revoke_client(client_id: str, caller: Caller) -> Answer:
    """The end of a device, wanted by the owner."""
    (await caller.permit()).require_type("DELETE", CLIENTS)

    def revoke(tx: Writer) -> None:
        if not clients.delete_client(tx, client_id):
            raise DocumentNotFound

    await caller.instance.store.write(revoke)
    await remember_activity(caller)
    return no_content()


@post("/settings/synchronized", opt={"guard": TOKEN})
async def note_synchronization(caller: Caller) -> Answer:
    """A device tells that it is up to date."""
    permit = await caller.permit()
    if permit.kind != "oauth":
        raise Forbidden
    now = caller.instance.env.clock.timestamp()
    await caller.instance.store.write(
        lambda tx: clients.update_client(tx, permit.client_id, {"synchronized_at": now}) and None
    )
    return no_content()


@get("/settings/clients-usage", opt={"guard": TOKEN})
async def read_clients_usage(caller: Caller) -> Answer:
    """How many devices are connected, and how many may be."""
    (await caller.permit()).require_id("GET", SETTINGS, "io.cozy.settings.clients-usage")
    instance = caller.instance
    count = await instance.store.read(lambda view: view.index_count(CLIENT_DEVICES))
    limit = instance.doc.feature_flags.get("cozy.oauthclients.max")
    attributes: dict[str, Any] = {"count": count, "limitReached": False, "limitExceeded": False}
    if isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0:
        attributes |= {"limit": limit, "limitReached": count >= limit, "limitExceeded": count > limit}
    return _settings_answer("clients-usage", attributes)


# -- another mail address


@post("/settings/email", opt={"guard": TOKEN})
async def ask_email_change(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """Another mail address, to be confirmed from its mailbox."""
    (await caller.permit()).require_type("POST", SETTINGS)
    sent = await forms.read_object(request)
    email, received = sent.get("email"), sent.get("passphrase")
    if not isinstance(received, str) or not received or not await login.check_passphrase(caller, received):
        raise BadRequest("Invalid passphrase")
    if not isinstance(email, str) or not email_change.is_address(email):
        raise BadRequest("The mail address cannot be used")
    await email_change.ask(caller.instance, email)
    return no_content()


@post("/settings/email/resend", opt={"guard": TOKEN})
async def resend_email_change(caller: Caller) -> Answer:
    """The mail of confirmation, once more."""
    (await caller.permit()).require_type("POST", SETTINGS)
    await email_change.resend(caller.instance)
    return no_content()


@delete("/settings/email", opt={"guard": TOKEN}, status_code=200)
async def drop_email_change(caller: Caller) -> Answer:
    """The old address stays."""
    (await caller.permit()).require_type("POST", SETTINGS)
    await email_change.drop(caller.instance)
    return no_content()


@get("/settings/email/confirm", opt={"guard": SESSION})
async def confirm_email_change(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """The new address is confirmed by the link that was mailed to it."""
    if (answer := await sessions.require_login(caller)) is not None:
        return answer
    if not await email_change.confirm(caller.instance, request.query_params.get("token") or ""):
        locale = caller.instance.locale
        title = translate(locale, "email.invalid.title")
        return pages.error_page(caller, 400, title, translate(locale, "email.invalid"))
    return redirect(caller.instance.app_url("settings", fragment="/profile", host=caller.domain), 307)


# -- private parts


async def _instance_answer(caller: Caller, shown: Callable[[Instance, Mapping[str, Any]], dict[str, Any]]) -> Answer:
    settings = await caller.instance.settings()
    attributes = shown(caller.instance, settings)
    links = {"self": "/settings/instance"}
    return jsonapi(
        documents.document(documents.resource(SETTINGS, INSTANCE_SETTINGS, attributes, settings.get("_rev"), links))
    )


def _settings_answer(name: str, attributes: dict[str, Any], included: list[documents.Object] | None = None) -> Answer:
    links = {"self": f"/settings/{name}"}
    return jsonapi(
        documents.document(documents.resource(SETTINGS, f"io.cozy.settings.{name}", attributes, links=links), included)
    )


def _session(id: str, rev: str, body: dict[str, Any]) -> documents.Object:
    resource = documents.resource(SESSIONS, id, None, rev)
    return {**resource, "attributes": {"_id": id, "_rev": rev, **body}}


async def _any_token(caller: Caller) -> None:
    """Whoever has a valid token of any kind. Raises Forbidden for all others (spec/03 §14)."""
    try:
        await caller.permit()
    except AuthError as error:
        raise Forbidden from error


ROUTES: list[Any] = [
    read_instance, change_instance, change_auth_mode, sign_terms, read_capabilities, read_context, read_flags,
    read_warnings, end_onboarding, list_sessions, read_session, list_clients, revoke_client, note_synchronization,
    read_clients_usage, ask_email_change, resend_email_change, drop_email_change, confirm_email_change,
]  # fmt: skip
