"""Routes that turn the passphrase into something else than a session: session codes, confirmations, the tokens of
the owner's own application (spec/03 §6.8)."""

from __future__ import annotations

from typing import Any

from litestar import Request, get, post

from inglenook.identity import clients, csrf, forms, login, one_time, pages, redirects, throttle
from inglenook.identity.caller import Caller
from inglenook.identity.creation import auth_mode_name
from inglenook.identity.login_routes import confirmed
from inglenook.identity.translations import translate
from inglenook.kernel.errors import AuthError, BadRequest
from inglenook.wire import PUBLIC, SECRET, Answer, no_content, plain_json, redirect


@post("/auth/session_code", opt={"guard": SECRET})
async def session_code(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """A code that opens a session on an app page, for who may do everything or knows the passphrase."""
    if not await _is_maximal(caller):
        try:
            sent = await forms.read_object(request)
        except BadRequest:
            sent = {}
        refusal = await _check_credentials(caller, sent)
        if refusal is not None:
            return refusal
    code = await one_time.make_code(caller.instance, one_time.SESSION_CODE, one_time.SESSION_CODE_SECONDS)
    return plain_json({"session_code": code}, 201)


@post("/auth/login/flagship", opt={"guard": SECRET})
async def log_in_application(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """Tokens for the owner's own application, a session code for any other client."""
    sent = await forms.read_object(request)
    instance = caller.instance
    client_id, secret = sent.get("client_id"), sent.get("client_secret")
    for name, value in (("client_id", client_id), ("client_secret", secret)):
        if not isinstance(value, str) or not value:
            return plain_json({"error": f"the {name} parameter is mandatory"}, 400)
    client = await instance.store.read(lambda view: view.get(clients.CLIENTS, str(client_id)))
    if client is None:
        return plain_json({"error": "the client must be registered"}, 400)
    if not clients.right_secret(client, str(secret)):
        return plain_json({"error": "invalid client_secret"}, 400)
    if not await login.check_passphrase(caller, _text(sent.get("passphrase"))):
        return plain_json({"error": translate(instance.locale, "login.wrong")}, 401)
    if auth_mode_name(instance.doc.auth_mode) == "two_factor_mail":
        token, passcode = _text(sent.get("two_factor_token")), _text(sent.get("two_factor_passcode"))
        if not token:
            return plain_json({"two_factor_token": await one_time.mail_second_factor(instance) or ""}, 401)
        if await one_time.check_second_factor(instance, token, passcode) != "right":
            return plain_json({"error": translate(instance.locale, "twofactor.wrong")}, 403)
    if client.body.get("flagship"):
        return plain_json(clients.issue_pair(instance, client.id, "*").wire())
    code = await one_time.make_code(instance, one_time.SESSION_CODE, one_time.SESSION_CODE_SECONDS)
    return plain_json({"session_code": code}, 202)


@get("/auth/confirm", opt={"guard": PUBLIC})
async def confirm_form(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """The page that asks for the passphrase again."""
    protection = csrf.Csrf(caller)
    state = request.query_params.get("state") or ""
    wanted = request.query_params.get("redirect") or ""
    if not state:
        return protection.protect(_missing_state(caller))
    await redirects.landing(caller.instance, wanted, caller.domain)
    return _confirm_page(caller, protection, state, wanted)


@post("/auth/confirm", opt={"guard": SECRET})
async def confirm(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """The passphrase, given again."""
    protection = csrf.Csrf(caller)
    fields = await forms.read_fields(request)
    protection.check(fields)
    instance, as_json = caller.instance, forms.only_json(request)
    state = fields.get("state", "")
    if not state:
        return protection.protect(_missing_state(caller))
    target = await redirects.landing(instance, fields.get("redirect", ""), caller.domain)
    clear = forms.is_true(fields.get("clear", ""))
    if not await login.check_passphrase(caller, fields.get("passphrase", ""), clear=clear):
        message = translate(instance.locale, "login.wrong")
        if as_json:
            return protection.protect(plain_json({"error": message}, 401))
        return _confirm_page(caller, protection, state, fields.get("redirect", ""), message, 401)
    match await login.second_factor(caller):
        case login.SecondFactorNeeded(token=token):
            query = {"two_factor_token": token, "confirm": "true", "state": state, "redirect": target}
            address = caller.url("/auth/twofactor", query)
            return protection.protect(plain_json({"redirect": address}) if as_json else redirect(address))
        case "limit":
            raise throttle.MustWait(3600)
        case _:
            return protection.protect(await confirmed(caller, state, target, as_json))


@get("/auth/confirm/{code:str}", opt={"guard": SECRET})
async def check_confirmation(code: str, caller: Caller) -> Answer:
    """Whether a code proves that the passphrase was just given."""
    if await one_time.known_code(caller.instance, one_time.CONFIRM_CODE, code):
        return no_content()
    return plain_json({"error": "invalid code"}, 401)


async def _is_maximal(caller: Caller) -> bool:
    try:
        return (await caller.permit()).is_maximal
    except AuthError:
        return False


async def _check_credentials(caller: Caller, sent: dict[str, Any]) -> Answer | None:
    instance = caller.instance
    received = _text(sent.get("passphrase"))
    if not received or not await login.check_passphrase(caller, received):
        return plain_json({"error": "Not authorized"}, 401)
    if auth_mode_name(instance.doc.auth_mode) != "two_factor_mail":
        return None
    token, passcode = _text(sent.get("two_factor_token")), _text(sent.get("two_factor_passcode"))
    if token and await one_time.check_second_factor(instance, token, passcode) == "right":
        return None
    mailed = await one_time.mail_second_factor(instance)
    return plain_json({"error": "two factor needed", "two_factor_token": mailed or ""}, 403)


def _confirm_page(
    caller: Caller, protection: csrf.Csrf, state: str, wanted: str, error: str = "", status: int = 200
) -> Answer:
    return pages.page(
        caller, "confirm.html", status=status, csrf=protection, state=state, redirect=wanted, error=error,
        **login.hashing(caller.instance),
    )  # fmt: skip


def _missing_state(caller: Caller) -> Answer:
    locale = caller.instance.locale
    message = translate(locale, "authorize.error.mandatory", name="state")
    return pages.error_page(caller, 400, translate(locale, "authorize.error"), message)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


ROUTES: list[Any] = [session_code, log_in_application, confirm_form, confirm, check_confirmation]
