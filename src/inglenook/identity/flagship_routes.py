"""The owner's own application: a client that may do everything, after its owner has confirmed it by a mailed code
(spec/03 §7.4, scope `*`)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from litestar import Request, post

from inglenook.identity import clients, consent, csrf, forms, one_time, pages
from inglenook.identity.caller import Caller
from inglenook.identity.consent import ConsentRefused, ConsentRequest
from inglenook.identity.translations import translate
from inglenook.wire import SESSION, Answer, redirect

TOKEN_FIELD = "confirm_token"  # noqa: S105
CODE_FIELD = "confirm_code"


async def ask(caller: Caller, protection: csrf.Csrf, asked: ConsentRequest) -> Answer:
    """Mail a code, and show the page that asks for it."""
    token = await one_time.mail_passcode(caller.instance, one_time.FLAGSHIP, asked.client.id)
    if token is None:
        locale = caller.instance.locale
        message = translate(locale, "login.wait", seconds=3600)
        return protection.protect(pages.error_page(caller, 429, translate(locale, "flagship.title"), message))
    return _page(caller, protection, asked, token)


@post("/auth/authorize/flagship", opt={"guard": SESSION})
async def confirm(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """The mailed code, given: the client is the owner's own from now on, and its question is put to him."""
    protection = csrf.Csrf(caller)
    fields = await forms.read_fields(request)
    protection.check(fields)
    instance = caller.instance
    if await caller.session() is None:
        return protection.protect(pages.error_page(caller, 401, translate(instance.locale, "login.required")))
    try:
        asked = await consent.checked_request(instance, fields)
    except ConsentRefused as error:
        title, message = translate(instance.locale, "authorize.error"), translate(instance.locale, error.key)
        return protection.protect(pages.error_page(caller, 400, title, message))
    back = caller.url("/auth/authorize") + "?" + urlencode({name: text for name, text in asked.fields.items() if text})
    if not asked.must_be_confirmed:
        return protection.protect(redirect(back))
    token, passcode = fields.get(TOKEN_FIELD, ""), "".join(fields.get(CODE_FIELD, "").split())
    outcome = await one_time.check_passcode(instance, one_time.FLAGSHIP, token, passcode, asked.client.id)
    if outcome != "right":
        error = translate(instance.locale, "twofactor.wrong" if outcome == "wrong" else "flagship.burnt")
        return _page(caller, protection, asked, token, error, 401)
    await instance.store.write(lambda tx: clients.update_client(tx, asked.client.id, {"flagship": True}) and None)
    return protection.protect(redirect(back))


def _page(
    caller: Caller, protection: csrf.Csrf, asked: ConsentRequest, token: str, error: str = "", status: int = 200
) -> Answer:
    hidden = {csrf.FIELD: protection.value, **asked.fields, TOKEN_FIELD: token}
    again = caller.url("/auth/authorize") + "?" + urlencode({name: text for name, text in asked.fields.items() if text})
    return pages.page(
        caller, "flagship.html", status=status, csrf=protection, hidden=hidden, error=error, again=again,
        client_name=asked.client.body.get("client_name", ""), cancel=consent.refusal_url(asked.redirect_uri),
    )  # fmt: skip


ROUTES: list[Any] = [confirm]
