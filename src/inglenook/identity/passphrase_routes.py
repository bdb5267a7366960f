"""Routes of the passphrase: the first one, a new one, a forgotten one, its hint (spec/03 §5)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from litestar import Request, get, post, put

from inglenook.identity import clients, csrf, forms, login, one_time, pages, passphrase, redirects, sessions, throttle
from inglenook.identity.caller import Caller, is_register_token
from inglenook.identity.creation import auth_mode_name
from inglenook.identity.instance import PASSPHRASE_SETTINGS, SETTINGS
from inglenook.identity.login_routes import need_onboarding
from inglenook.identity.passphrase import NewPassphrase
from inglenook.identity.translations import translate
from inglenook.kernel import jsonapi as documents
from inglenook.kernel.errors import BadRequest, DomainError, InvalidParameter, NotFound
from inglenook.wire import PUBLIC, SECRET, TOKEN, Answer, jsonapi, no_content, plain_json, redirect, wants_html


@get("/auth/passphrase", opt={"guard": PUBLIC})
async def first_passphrase_form(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """The page where the owner of a new instance chooses the passphrase."""
    protection = csrf.Csrf(caller)
    if caller.instance.doc.onboarding_finished:
        return protection.protect(redirect(await redirects.default_landing(caller.instance, caller.domain)))
    token = request.query_params.get("registerToken") or ""
    if not is_register_token(caller.instance, token):
        return protection.protect(need_onboarding(caller))
    hidden = {"register_token": token, "redirection": request.query_params.get("redirection") or ""}
    return _new_passphrase_page(caller, protection, "onboarding.title", "/settings/passphrase", hidden)


@post("/settings/passphrase", opt={"guard": SECRET})
async def first_passphrase(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """The first passphrase, given with the register token."""
    fields = await forms.read_fields(request)
    instance = caller.instance
    await _use_register_token(caller, fields)
    session = await login.start_session(caller, long_run=True)
    target = await _after_onboarding(caller, fields.get("redirection", ""))
    answer = redirect(target) if wants_html(request) else plain_json({"redirect": target})
    answer.set_cookie(sessions.session_cookie(instance, session, caller.domain))
    return answer


@post("/settings/passphrase/flagship", opt={"guard": SECRET})
async def first_passphrase_by_app(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """The first passphrase, given through a registered application."""
    fields = await forms.read_fields(request)
    instance = caller.instance
    client = await instance.store.read(lambda view: view.get(clients.CLIENTS, fields.get("client_id", "")))
    if client is None:
        return plain_json({"error": "the client must be registered"}, 400)
    if not clients.right_secret(client, fields.get("client_secret", "")):
        return plain_json({"error": "invalid client_secret"}, 400)
    _check_register_token(caller, fields)
    passphrase.check_iterations(_number(fields.get("iterations", "")))
    await _use_register_token(caller, fields)
    if client.body.get("flagship"):
        return plain_json(clients.issue_pair(instance, client.id, "*").wire())
    await instance.store.write(
        lambda tx: clients.update_client(tx, client.id, {"created_at_onboarding": True}) and None
    )
    code = await one_time.make_code(instance, one_time.SESSION_CODE, one_time.SESSION_CODE_SECONDS)
    return plain_json({"session_code": code}, 202)


@get("/settings/passphrase", opt={"guard": TOKEN})
async def hashing_parameters(caller: Caller) -> Answer:
    """How the passphrase is hashed by clients."""
    (await caller.permit()).require_type("GET", SETTINGS)
    attributes = {
        "salt": caller.instance.passphrase_salt, "kdf": 0, "iterations": caller.instance.doc.kdf_iterations,
    }  # fmt: skip
    links = {"self": "/settings/passphrase"}
    return jsonapi(documents.document(documents.resource(SETTINGS, PASSPHRASE_SETTINGS, attributes, links=links)))


@put("/settings/passphrase", opt={"guard": TOKEN})
async def change(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """Another passphrase, given with the current one (or forced, where nobody knows the current one)."""
    permit = await caller.permit()
    permit.require_type("PUT", SETTINGS)
    instance = caller.instance
    sent = await forms.read_object(request)
    fields = {name: str(value) for name, value in sent.items() if isinstance(value, str)}
    iterations = _number(sent.get("iterations"))
    new = fields.get("new_passphrase", "")
    session = await caller.session()
    if sent.get("force") is True:
        if permit.kind != "cli" and not await passphrase.may_be_forced(instance):
            raise BadRequest("The current passphrase is needed")
        key = NewPassphrase(
            new, iterations, fields.get("key", ""), fields.get("publicKey", ""), fields.get("privateKey", "")
        )
        await passphrase.set_passphrase(instance, key)
        answer = no_content()
        if session is not None:
            answer.set_cookie(sessions.session_cookie(instance, session, caller.domain))
        return answer
    token, current = fields.get("two_factor_token", ""), fields.get("current_passphrase", "")
    if auth_mode_name(instance.doc.auth_mode) == "two_factor_mail":
        if not token:
            if not await login.check_passphrase(caller, current):
                raise BadRequest("Invalid passphrase")
            mailed = await one_time.mail_second_factor(instance)
            if mailed is None:
                raise BadRequest("Too many codes were sent, try again later")
            return plain_json({"two_factor_token": base64.b64encode(mailed.encode()).decode()})
        if iterations:
            passphrase.check_iterations(iterations)
        if await one_time.check_second_factor(instance, token, fields.get("two_factor_passcode", "")) != "right":
            raise BadRequest("Invalid two factor passcode")
    else:
        if iterations:
            passphrase.check_iterations(iterations)
        if not await login.check_passphrase(caller, current):
            raise BadRequest("Invalid passphrase")
    await passphrase.change_passphrase(instance, new, iterations, key=fields.get("key", ""))
    if session is None:
        session = await login.start_session(caller, long_run=True)
    answer = no_content()
    answer.set_cookie(sessions.session_cookie(instance, session, caller.domain))
    return answer


@post("/settings/passphrase/check", opt={"guard": TOKEN})
async def check(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """Whether a passphrase is right."""
    (await caller.permit()).require_type("PUT", SETTINGS)
    sent = await forms.read_object(request)
    received = sent.get("passphrase")
    if not isinstance(received, str) or not await login.check_passphrase(caller, received):
        return _json_error(403, "Forbidden", "Invalid passphrase")
    return no_content()


# -- the hint


@get("/settings/hint", opt={"guard": TOKEN})
async def has_hint(caller: Caller) -> Answer:
    """Whether there is a hint; it is never shown."""
    (await caller.permit()).require_type("GET", SETTINGS)
    if not await passphrase.hint(caller.instance):
        raise NotFound("No hint")
    return no_content()


@put("/settings/hint", opt={"guard": TOKEN})
async def change_hint(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """Another hint."""
    (await caller.permit()).require_type("PUT", SETTINGS)
    text = (await forms.read_object(request)).get("hint")
    if not isinstance(text, str):
        raise BadRequest(documents.MALFORMED)
    instance = caller.instance
    guard = throttle.Guard(instance, "hint", caller.visitor.ip)  # refusing a hint answers a guess of the passphrase
    if text and await guard.attempt(lambda: passphrase.is_right(instance, text, clear=True)):
        raise InvalidParameter("The hint cannot be the same as the password", parameter="hint")
    await passphrase.set_hint(instance, text)
    return no_content()


@post("/auth/hint", opt={"guard": PUBLIC})
async def mail_hint(caller: Caller) -> Answer:
    """The hint, mailed to the owner."""
    await passphrase.mail_hint(caller.instance)
    return pages.page(caller, "hint_sent.html")


# -- forgotten


@get("/auth/passphrase_reset", opt={"guard": PUBLIC})
async def reset_form(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """The page of those who forgot their passphrase."""
    has = bool(await passphrase.hint(caller.instance))
    from_app = request.query_params.get("from") or ""
    return pages.page(
        caller, "passphrase_reset.html", csrf=csrf.Csrf(caller), sent=False, has_hint=has, from_app=from_app
    )


@post("/auth/passphrase_reset", opt={"guard": PUBLIC})
async def ask_reset(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """A link to choose another passphrase, mailed to the owner."""
    protection = csrf.Csrf(caller)
    fields = await forms.read_fields(request)
    protection.check(fields)
    await passphrase.ask_reset(caller.instance, from_app=fields.get("from", ""))
    answer = pages.page(caller, "passphrase_reset.html", csrf=protection, sent=True, has_hint=False, from_app="")
    if (session := await caller.session()) is not None:
        await caller.instance.store.write(lambda tx: sessions.end_session(tx, session.id))
        answer.set_cookie(sessions.dead_cookie(caller.instance, caller.domain))
    return answer


@get("/auth/passphrase_renew", opt={"guard": SECRET})
async def renew_form(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """The page that the mailed link opens."""
    protection = csrf.Csrf(caller)
    token = request.query_params.get("token") or ""
    match passphrase.reset_token_state(caller.instance, token):
        case "none":
            return protection.protect(_invalid_reset(caller))
        case "wrong":
            return protection.protect(plain_json({"error": "invalid_token"}, 400))
        case _:
            pass
    hidden = {"passphrase_reset_token": token, "from": request.query_params.get("from") or ""}
    return _new_passphrase_page(caller, protection, "reset.title", "/auth/passphrase_renew", hidden)


@post("/auth/passphrase_renew", opt={"guard": SECRET})
async def renew(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """Another passphrase, given with the mailed token."""
    protection = csrf.Csrf(caller)
    fields = await forms.read_fields(request)
    protection.check(fields)
    instance = caller.instance
    as_json = forms.only_json(request)
    match passphrase.reset_token_state(instance, fields.get("passphrase_reset_token", "")):
        case "none":
            refusal = plain_json({"error": "Invalid reset token"}, 401) if as_json else _invalid_reset(caller)
            return protection.protect(refusal)
        case "wrong":
            return protection.protect(plain_json({"error": "invalid_token"}, 400))
        case _:
            pass
    await passphrase.set_passphrase(instance, _new_passphrase(fields))
    await passphrase.forget_vault_entries(instance)
    if fields.get("from") == "settings":
        target = instance.app_url("settings", fragment="/profile/email", host=caller.domain)
    else:
        target = caller.url("/auth/login")
    return protection.protect(plain_json({"redirect": target}) if as_json else redirect(target))


@get("/public/prelogin", opt={"guard": PUBLIC})
async def prelogin(caller: Caller) -> Answer:
    """What an application needs to know before it asks for the passphrase."""
    doc = caller.instance.doc
    if not doc.onboarding_finished:
        return plain_json({"error": "the instance has not been onboarded"}, 412)
    return plain_json(
        {
            "Kdf": 0, "KdfIterations": doc.kdf_iterations, "OIDC": False, "FranceConnect": False,
            "magic_link": doc.magic_link, "locale": doc.locale, "name": await caller.instance.public_name(),
        }
    )  # fmt: skip


@get("/.well-known/change-password", opt={"guard": PUBLIC})
async def change_password_page(caller: Caller) -> Answer:
    """Where password managers send people to change a password."""
    return redirect(caller.instance.app_url("settings", fragment="/profile/password", host=caller.domain), 302)


# -- private parts


def _check_register_token(caller: Caller, fields: Mapping[str, str]) -> None:
    text = fields.get("register_token", "")
    try:
        token = bytes.fromhex(text)
    except ValueError as error:
        raise BadRequest("Invalid register token") from error
    if not token:
        raise BadRequest("Empty register token")
    if not is_register_token(caller.instance, text):
        raise BadRequest("Invalid register token")


async def _use_register_token(caller: Caller, fields: Mapping[str, str]) -> None:
    _check_register_token(caller, fields)
    await passphrase.set_passphrase(caller.instance, _new_passphrase(fields))


def _new_passphrase(fields: Mapping[str, str]) -> NewPassphrase:
    return NewPassphrase(
        fields.get("passphrase", ""), _number(fields.get("iterations")), fields.get("key", ""),
        fields.get("public_key", ""), fields.get("private_key", ""), fields.get("hint", ""),
    )  # fmt: skip


async def _after_onboarding(caller: Caller, wanted: str) -> str:
    if wanted:
        try:
            return await redirects.landing(caller.instance, wanted, caller.domain)
        except DomainError:
            pass  # an app that is not installed: the usual place then
    configured = caller.instance.context_settings.get("onboarded_redirection")
    if isinstance(configured, str) and configured:
        return redirects.app_address(caller.instance, configured, caller.domain) or configured
    return caller.instance.app_url("home", host=caller.domain)


def _new_passphrase_page(
    caller: Caller, protection: csrf.Csrf, heading: str, action: str, hidden: Mapping[str, str]
) -> Answer:
    locale = caller.instance.locale
    fields = {csrf.FIELD: protection.value, **{name: value for name, value in hidden.items() if value}}
    return pages.page(
        caller, "new_passphrase.html", csrf=protection, heading=translate(locale, heading), action=action,
        hidden=fields, salt=caller.instance.passphrase_salt, iterations=passphrase.DEFAULT_ITERATIONS,
    )  # fmt: skip


def _invalid_reset(caller: Caller) -> Answer:
    locale = caller.instance.locale
    return pages.error_page(caller, 400, translate(locale, "reset.invalid.title"), translate(locale, "reset.invalid"))


def _json_error(status: int, title: str, detail: str) -> Answer:
    return jsonapi({"errors": [documents.error_object(status, title, detail)]}, status)


def _number(value: Any) -> int:
    """A whole number from a field, 0 when there is none. Raises BadRequest."""
    if value in (None, ""):
        return 0
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise BadRequest("The number of iterations cannot be read") from error


ROUTES: list[Any] = [
    first_passphrase_form, first_passphrase, first_passphrase_by_app, hashing_parameters, change, check, has_hint,
    change_hint, mail_hint, reset_form, ask_reset, renew_form, renew, prelogin, change_password_page,
]  # fmt: skip
