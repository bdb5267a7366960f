"""Routes of OAuth 2: the owner's consent, and the exchange of codes and refresh tokens (spec/03 §7.4 to §7.6)."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import unquote_plus, urlencode

from litestar import Request, get, post

from inglenook.identity import (
    clients,
    consent,
    csrf,
    flagship_routes,
    forms,
    linked_apps,
    news_of_devices,
    one_time,
    pages,
    sessions,
    tokens,
)
from inglenook.identity.caller import Caller
from inglenook.identity.clients import CLIENTS, SHARING_KIND, ClientRefused
from inglenook.identity.consent import ConsentRefused, ConsentRequest
from inglenook.identity.translations import LOCALES, translate
from inglenook.kernel.errors import AuthError, DomainError
from inglenook.storage.documents.contract import Document, Writer
from inglenook.wire import PUBLIC, REGISTRATION, SESSION, Answer, plain_json, redirect, status_of

MOVED_WINDOW_DAYS = 7


@get("/auth/authorize", opt={"guard": PUBLIC})
async def consent_page(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """The question to the owner: may this client have these rights?"""
    protection = csrf.Csrf(caller)
    instance = caller.instance
    query = {name: request.query_params[name] for name in request.query_params}
    if (code := query.pop("session_code", None)) is not None:
        return protection.protect(await _by_session_code(caller, code, query))
    try:
        asked = await consent.checked_request(instance, query)
    except ConsentRefused as error:
        return protection.protect(_refused(caller, error))
    if (answer := await sessions.require_login(caller)) is not None:
        return protection.protect(answer)
    if asked.must_be_confirmed:
        return await flagship_routes.ask(caller, protection, asked)
    if asked.is_login or asked.client.body.get("created_at_onboarding"):
        return protection.protect(await _allow(caller, asked, request))
    limit = await instance.store.read(lambda view: consent.device_limit_reached(view, instance))
    if limit is not None:
        locale = instance.locale
        message = translate(locale, "authorize.limit", limit=limit)
        return protection.protect(pages.error_page(caller, 200, translate(locale, "authorize.limit.title"), message))
    return await _consent_form(caller, protection, asked)


@post("/auth/authorize", opt={"guard": SESSION})
async def allow(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """The owner's yes: a code for the client."""
    protection = csrf.Csrf(caller)
    fields = await forms.read_fields(request)
    protection.check(fields)
    if await caller.session() is None:
        locale = caller.instance.locale
        return protection.protect(pages.error_page(caller, 401, translate(locale, "login.required")))
    try:
        asked = await consent.checked_request(caller.instance, fields)
        if asked.must_be_confirmed:
            raise ConsentRefused("authorize.error.everything")
    except ConsentRefused as error:
        return protection.protect(_refused(caller, error))
    return protection.protect(await _allow(caller, asked, request))


@get("/.well-known/oauth-authorization-server", opt={"guard": PUBLIC})
async def describe(caller: Caller) -> Answer:
    """Where a client finds what it needs to register and to ask for tokens (RFC 8414)."""
    return plain_json(
        {
            "issuer": caller.url("").rstrip("/"),
            "authorization_endpoint": caller.url("/auth/authorize"),
            "token_endpoint": caller.url("/auth/access_token"),
            "registration_endpoint": caller.url("/auth/register"),
            "response_types_supported": clients.RESPONSE_TYPES,
            "response_modes_supported": ["query"],
            "grant_types_supported": clients.GRANT_TYPES,
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "code_challenge_methods_supported": ["S256"],
            "ui_locales_supported": list(LOCALES),
        }
    )


@post("/auth/access_token", opt={"guard": REGISTRATION})
async def access_token(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """Tokens for a code or a refresh token. The client gives its secret in the form, or by Basic authentication."""
    fields = {**_basic_credentials(request), **await forms.read_fields(request)}
    for name in ("grant_type", "client_id", "client_secret"):
        if not fields.get(name):
            return _error(f"the {name} parameter is mandatory")
    instance = caller.instance
    client = await instance.store.read(lambda view: view.get(CLIENTS, fields["client_id"]))
    if client is None:
        return _error("the client must be registered")
    if not clients.right_secret(client, fields["client_secret"]):
        return _error("invalid client_secret")
    match fields["grant_type"]:
        case "authorization_code":
            return await _by_code(caller, client, fields)
        case "refresh_token":
            return await _by_refresh_token(caller, client, fields.get("refresh_token", ""))
        case _:
            return _error("invalid grant type")


# -- consent


async def _by_session_code(caller: Caller, code: str, query: dict[str, str]) -> Answer:
    """A short session for the code, then the same address without it. The code is used up in any case."""
    instance = caller.instance
    good, _ = await one_time.take_code(instance, one_time.SESSION_CODE, code)
    answer = redirect(caller.url("/auth/authorize") + (f"?{urlencode(query)}" if query else ""))
    if good and await caller.session() is None:
        now = instance.env.clock.timestamp()
        who = caller.visitor

        def open_it(tx: Writer) -> sessions.Session:
            session = sessions.open_session(tx, now, "short")
            sessions.record_login(tx, session, who, now, client_id=query.get("client_id", ""))
            return session

        session = await instance.store.write(open_it)
        answer.set_cookie(sessions.session_cookie(instance, session, caller.domain))
    return answer


async def _consent_form(caller: Caller, protection: csrf.Csrf, asked: ConsentRequest) -> Answer:
    client = asked.client.body
    try:
        rights = await consent.rights_of(caller.instance, asked)
    except DomainError as error:
        return protection.protect(_no_linked_app(caller, error))
    host = consent.logo_host(client)
    hidden = {csrf.FIELD: protection.value, **asked.fields}
    return pages.page(
        caller, "authorize.html", csrf=protection, images=host, hidden=hidden,
        logo=client.get("logo_uri") if host else "",
        client_name=client.get("client_name", ""), client_uri=client.get("client_uri", ""),
        rights=rights, redirect_uri=asked.redirect_uri,
        cancel=consent.refusal_url(asked.redirect_uri),
    )  # fmt: skip


async def _allow(caller: Caller, asked: ConsentRequest, request: Request[Any, Any, Any]) -> Answer:
    instance = caller.instance
    fallback = ""
    if slug := clients.linked_app(asked.client.body):
        try:
            if instance.registry.linked_apps is not None:
                await instance.registry.linked_apps.install(instance, slug)
        except DomainError as error:
            return _no_linked_app(caller, error)
        fallback = instance.app_url(slug, host=caller.domain)
    now = instance.env.clock.now().timestamp()
    changes: dict[str, Any] = {"pending": None}
    if system := consent.system_of(caller.visitor.user_agent):
        changes["client_os"] = system

    def give(tx: Writer) -> str:
        if not asked.is_login:
            news_of_devices.note_client(tx, instance, asked.client, now)
        clients.update_client(tx, asked.client.id, changes)
        return consent.give_code(tx, asked, now)

    target = consent.answer_url(asked, await instance.store.write(give), fallback)
    return plain_json({"deeplink": target}) if forms.only_json(request) else redirect(target, 302)


def _no_linked_app(caller: Caller, error: DomainError) -> Answer:
    locale = caller.instance.locale
    return pages.error_page(caller, status_of(error), translate(locale, "authorize.app.title"), error.detail)


def _refused(caller: Caller, error: ConsentRefused) -> Answer:
    locale = caller.instance.locale
    message = translate(locale, error.key, **error.values)
    return pages.error_page(caller, 400, translate(locale, "authorize.error"), message)


# -- tokens


async def _by_code(caller: Caller, client: Document, fields: dict[str, str]) -> Answer:
    if not fields.get("code"):
        return _error("the code parameter is mandatory")
    instance = caller.instance
    if not await linked_apps.ready(instance, client.body):
        return _error("the linked app is not installed")
    now = instance.env.clock.now().timestamp()

    def exchange(tx: Writer) -> str:
        scope = consent.take_code(tx, fields["code"], client.id, fields.get("code_verifier", ""), now)
        clients.update_client(tx, client.id, {"last_refreshed_at": instance.env.clock.timestamp(), "pending": None})
        return scope

    try:
        scope = await instance.store.write(exchange)
    except ClientRefused as error:
        return _error(error.error)
    pair = clients.issue_pair(instance, client.id, scope)
    return plain_json(
        {
            "token_type": "bearer", "scope": scope, "access_token": pair.access_token,
            "refresh_token": pair.refresh_token,
        }
    )  # fmt: skip


async def _by_refresh_token(caller: Caller, client: Document, token: str) -> Answer:
    instance = caller.instance
    renewed = False
    try:
        claims = tokens.verify(instance, token, tokens.REFRESH)
        if claims.sub != client.id:
            return _error("invalid refresh token")
        scope = claims.scope
        renewed = claims.iss != instance.domain
    except AuthError:
        moved = await _moved_scope(caller, client, token)
        if moved is None:
            return _error("invalid refresh token")
        scope, renewed = moved, True
    if linked := linked_apps.scope_of(client.body):
        if not await linked_apps.ready(instance, client.body):
            return _error("the linked app is not installed")
        scope = linked
    now = instance.env.clock.timestamp()
    await instance.store.write(lambda tx: clients.update_client(tx, client.id, {"last_refreshed_at": now}) and None)
    pair = clients.issue_pair(instance, client.id, scope)
    body = {"token_type": "bearer", "scope": scope, "access_token": pair.access_token}
    if renewed:
        body["refresh_token"] = pair.refresh_token
    return plain_json(body)


async def _moved_scope(caller: Caller, client: Document, token: str) -> str | None:
    """The scope of a refresh token that the server this sharing came from vouches for, None when it does not
    (spec/04 §20.3)."""
    claims = tokens.unverified(token)
    if client.body.get("client_kind") != SHARING_KIND or claims is None or claims.sub != client.id:
        return None
    parts = claims.scope.split(":")
    if len(parts) != 3 or parts[0] != "io.cozy.sharings":
        return None
    instance = caller.instance
    sharing = await instance.store.read(lambda view: view.get("io.cozy.sharings", parts[2]))
    moved_from = sharing.body.get("moved_from") if sharing else None
    updated = sessions.moment(sharing.body.get("updated_at")) if sharing else None
    if not isinstance(moved_from, str) or not moved_from or updated is None:
        return None
    if (instance.env.clock.now() - updated).days >= MOVED_WINDOW_DAYS:
        return None
    form = {
        "grant_type": "refresh_token", "refresh_token": token, "client_id": client.id,
        "client_secret": str(client.body.get("client_secret", "")),
    }  # fmt: skip
    try:
        answer = await instance.peers.request(
            "POST", moved_from.rstrip("/") + "/auth/access_token",
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            body=urlencode(form).encode(),
        )  # fmt: skip
        vouched = answer.status == 200 and bool(json.loads(answer.body).get("access_token"))
    except (DomainError, ValueError, AttributeError):
        return None
    return claims.scope if vouched else None


def _basic_credentials(request: Request[Any, Any, Any]) -> dict[str, str]:
    """The client's id and secret by HTTP Basic, both form-encoded first (RFC 6749 §2.3.1); empty without."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return {}
    try:
        id, _, secret = base64.b64decode(value.strip()).decode().partition(":")
    except ValueError:
        return {}
    return {"client_id": unquote_plus(id), "client_secret": unquote_plus(secret)}


def _error(message: str) -> Answer:
    return plain_json({"error": message}, 400)


ROUTES: list[Any] = [consent_page, allow, describe, access_token]
