"""Routes of the login: the front door, the form, the second factor, the way out (spec/03 §5 GET /, §6)."""

from __future__ import annotations

from typing import Any

from litestar import Request, delete, get, post

from inglenook.identity import csrf, forms, login, one_time, pages, redirects, sessions, throttle
from inglenook.identity.caller import Caller, is_register_token
from inglenook.identity.translations import translate
from inglenook.kernel.errors import AuthError, BadCredentials
from inglenook.storage.announcements import announce
from inglenook.wire import PUBLIC, SECRET, TOKEN, Answer, no_content, plain_json, redirect

LOGIN_PAGE = "login.html"


@get("/", opt={"guard": PUBLIC})
async def front_door(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """Where a visitor of the bare domain goes: the onboarding, the home page, or the login."""
    doc = caller.instance.doc
    if not doc.onboarding_finished and doc.register_token:
        if is_register_token(caller.instance, request.query_params.get("registerToken") or ""):
            return redirect(caller.url("/auth/passphrase") + f"?{_query(request)}")
        return need_onboarding(caller)
    if await caller.session() is not None:
        return redirect(await redirects.default_landing(caller.instance, caller.domain))
    kept = {name: request.query_params[name] for name in ("jwt", "email_verified_code") if name in request.query_params}
    return redirect(caller.url("/auth/login", kept or None))


@get("/auth/login", opt={"guard": PUBLIC})
async def login_form(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """The login page."""
    protection = csrf.Csrf(caller)
    if not caller.instance.doc.onboarding_finished:
        return protection.protect(need_onboarding(caller))
    wanted = request.query_params.get("redirect") or ""
    try:
        target = await redirects.landing(caller.instance, wanted, caller.domain)
    except BadCredentials as error:
        return protection.protect(pages.plain_refusal(caller, 400, error.detail))
    if await caller.session() is not None:
        return protection.protect(redirect(target))
    return await _login_page(caller, protection, target if wanted else "")


@post("/auth/login", opt={"guard": SECRET}, status_code=200)
async def log_in(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """The passphrase, given."""
    protection = csrf.Csrf(caller)
    fields = await forms.read_fields(request)
    protection.check(fields)
    as_json = forms.only_json(request)
    wanted = fields.get("redirect", "")
    try:
        target = await redirects.landing(caller.instance, wanted, caller.domain)
    except BadCredentials as error:
        return protection.protect(pages.plain_refusal(caller, 400, error.detail))
    if await caller.session() is not None:
        return protection.protect(_go(target, as_json))
    try:
        right = await login.check_passphrase(
            caller, fields.get("passphrase", ""), clear=forms.is_true(fields.get("clear", ""))
        )
    except throttle.MustWait as wait:
        message = translate(caller.instance.locale, "login.wait", seconds=wait.seconds)
        answer = await _refused(caller, protection, message, target if wanted else "", as_json, 429)
        answer.headers["retry-after"] = str(wait.seconds)
        return answer
    if not right:
        message = translate(caller.instance.locale, "login.wrong")
        return await _refused(caller, protection, message, target if wanted else "", as_json, 401)
    long_run = forms.is_true(fields.get("long-run-session", ""))
    match await login.second_factor(caller, fields.get("trusted-device-token", "")):
        case login.SecondFactorNeeded(token=token):
            query = {"long_run_session": str(long_run).lower(), "redirect": target, "two_factor_token": token}
            return protection.protect(_go(caller.url("/auth/twofactor", query), as_json))
        case "limit":
            message = translate(caller.instance.locale, "login.wait", seconds=3600)
            return await _refused(caller, protection, message, target if wanted else "", as_json, 429)
        case _:
            pass
    session = await login.start_session(caller, long_run=long_run, target=target)
    answer = _go(target, as_json)
    answer.set_cookie(sessions.session_cookie(caller.instance, session, caller.domain))
    return protection.protect(answer)


@delete("/auth/login", opt={"guard": TOKEN}, status_code=200)
async def log_out(caller: Caller) -> Answer:
    """The end of this browser's session, asked by an app."""
    if (refusal := await _only_apps(caller)) is not None:
        return refusal
    if (session := await caller.session()) is not None:
        await caller.instance.store.write(lambda tx: sessions.end_session(tx, session.id))
        caller.remember_session(None)
    answer = no_content()
    answer.set_cookie(sessions.dead_cookie(caller.instance, caller.domain))
    return answer


@delete("/auth/login/others", opt={"guard": TOKEN}, status_code=200)
async def log_out_others(caller: Caller) -> Answer:
    """The end of all sessions but this one."""
    if (refusal := await _only_apps(caller)) is not None:
        return refusal
    session = await caller.session()
    if session is None:
        return plain_json({"error": "Could not retrieve session"}, 401)
    await caller.instance.store.write(lambda tx: sessions.end_sessions(tx, but=session.id))
    return no_content()


@get("/auth/twofactor", opt={"guard": PUBLIC})
async def second_factor_form(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """The page that asks for the mailed code."""
    token = request.query_params.get("two_factor_token") or ""
    if not token:
        return plain_json("Missing twoFactorToken", 400)
    await redirects.landing(caller.instance, request.query_params.get("redirect") or "", caller.domain)
    return _second_factor_page(caller, {**dict(request.query_params), "two-factor-token": token})


@post("/auth/twofactor", opt={"guard": SECRET}, status_code=200)
async def give_second_factor(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """The mailed code, given: a session, or the confirmation that the passphrase was asked for."""
    fields = await forms.read_fields(request)
    as_json = forms.only_json(request)
    instance = caller.instance
    if instance.doc.auth_mode != login.AUTH_MODES["two_factor_mail"]:
        return plain_json({"error": "Two factor authentication is not enabled"}, 401)
    target = await redirects.landing(instance, fields.get("redirect", ""), caller.domain)
    token = fields.get("two-factor-token", "")
    outcome = await one_time.check_second_factor(instance, token, fields.get("two-factor-passcode", ""))
    if outcome != "right":
        message = translate(instance.locale, "twofactor.wrong")
        if as_json:
            return plain_json({"error": message}, 401)
        return _second_factor_page(caller, fields, message, 401)
    if forms.is_true(fields.get("confirm", "")):
        return await confirmed(caller, fields.get("state", ""), target, as_json)
    long_run = forms.is_true(fields.get("long_run_session", "") or fields.get("long-run-session", ""))
    session = await login.start_session(caller, long_run=long_run, target=target)
    body = {"redirect": target}
    trusted = forms.is_true(fields.get("two-factor-generate-trusted-device-token", ""))
    if trusted:
        body["two_factor_trusted_device_token"] = login.trusted_device_token(caller)
    answer = plain_json(body) if as_json else redirect(target)
    if trusted and not as_json:
        answer.set_cookie(login.trusted_device_cookie(caller))
    answer.set_cookie(sessions.session_cookie(instance, session, caller.domain))
    return answer


async def confirmed(caller: Caller, state: str, target: str, as_json: bool) -> Answer:
    """The passphrase was given again: back to the one who asked, with a code that proves it."""
    now = caller.instance.env.clock.now()
    await caller.instance.store.write(lambda tx: announce(tx, now, "CREATED", "io.cozy.auth.confirmations", state))
    code = await one_time.make_code(caller.instance, one_time.CONFIRM_CODE, one_time.CONFIRM_CODE_SECONDS, state)
    return _go(redirects.with_query(target, {"code": code, "state": state}), as_json)


def need_onboarding(caller: Caller) -> Answer:
    """The page of an instance that has no passphrase yet."""
    return pages.page(caller, "need_onboarding.html")


async def _login_page(caller: Caller, protection: csrf.Csrf, target: str, error: str = "", status: int = 200) -> Answer:
    instance = caller.instance
    return pages.page(
        caller, LOGIN_PAGE, status=status, csrf=protection,
        frames=instance.app_url("dataproxy", "/reset", host=caller.domain) + " ",
        name=await instance.public_name(), redirect=target, error=error,
        for_sharing=redirects.leads_to_sharing(instance, target),
        email_verified_code=caller.request.query_params.get("email_verified_code") or "", **login.hashing(instance),
    )  # fmt: skip


async def _refused(
    caller: Caller, protection: csrf.Csrf, message: str, target: str, as_json: bool, status: int
) -> Answer:
    if as_json:
        return protection.protect(plain_json({"error": message}, status))
    return await _login_page(caller, protection, target, message, status)


def _second_factor_page(caller: Caller, fields: dict[str, Any], error: str = "", status: int = 200) -> Answer:
    names = ("two-factor-token", "redirect", "long_run_session", "confirm", "state", "client_id")
    hidden = {name: fields[name] for name in names if fields.get(name)}
    trust = not fields.get("confirm")
    wanted = {name: fields[name] for name in ("state", "redirect") if fields.get(name)}
    back = caller.url("/auth/login" if trust else "/auth/confirm", wanted)
    return pages.page(caller, "twofactor.html", status=status, hidden=hidden, error=error, trust=trust, back=back)


async def _only_apps(caller: Caller) -> Answer | None:
    """A refusal unless the caller is an app of this instance."""
    try:
        permit = await caller.permit()
    except AuthError:
        permit = None
    if permit is None or permit.kind != "app":
        return plain_json({"error": "The user can logout only from client-side apps"}, 401)
    return None


def _go(target: str, as_json: bool) -> Answer:
    return plain_json({"redirect": target}) if as_json else redirect(target)


def _query(request: Request[Any, Any, Any]) -> str:
    return request.scope["query_string"].decode("ascii", "replace")


ROUTES: list[Any] = [
    front_door, login_form, log_in, log_out, log_out_others, second_factor_form, give_second_factor,
]  # fmt: skip
