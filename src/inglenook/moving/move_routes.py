"""Routes of a move: from the wizard's page to the confirmation, and the end told by the other side (spec/12 §7, §9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from litestar import get, post

from inglenook import wire
from inglenook.files.quota import disk_usage, quota_of
from inglenook.identity import clients, consent, forms, letters, one_time, pages, redirects, sessions, throttle, tokens
from inglenook.identity.caller import Caller, granted
from inglenook.identity.clients import CLIENTS
from inglenook.identity.consent import ConsentRequest
from inglenook.identity.instance import Instance
from inglenook.identity.translations import translate
from inglenook.kernel.errors import AuthError, BadCredentials, DomainError, Gone, InvalidParameter, UpstreamFailed
from inglenook.moving import moves
from inglenook.moving.export_routes import HttpRequest, too_often, within_limit
from inglenook.moving.moves import Move
from inglenook.moving.summary import IMPORTS
from inglenook.peers.addresses import host_of, origin_of
from inglenook.peers.errors import PeerForbiddenAddress
from inglenook.storage.documents.contract import Document, Writer
from inglenook.wire import Answer

SCOPE = "io.cozy.exports.requests io.cozy.imports"
REQUESTS = "io.cozy.exports.requests"
CODE = "move-codes"
CODE_SECONDS = 600.0
SECRET = "move-secrets"  # noqa: S105
SECRET_SECONDS = 300.0
REQUESTS_PER_HOUR = 5
SOFTWARE = "github.com/cozy/cozy-stack"


# -- from the wizard


@get("/move/authorize", opt={"guard": wire.SESSION})
async def authorize_page(caller: Caller, request: HttpRequest) -> Answer:
    """The wizard wants to move this instance: its owner is asked, unless the operator knows the wizard."""
    if (login := await sessions.require_login(caller)) is not None:
        return login
    state, target = _wanted(request.query_params)
    if _host(_wizard(caller.instance)) == _host(target):
        return await _authorized(caller, request, state, target)
    return pages.page(caller, "move_authorize.html", state=state, redirect_uri=target, host=urlsplit(target).netloc)


@post("/move/authorize", opt={"guard": wire.SESSION})
async def authorize(caller: Caller, request: HttpRequest) -> Answer:
    """The owner agrees."""
    if (login := await sessions.require_login(caller)) is not None:
        return login
    state, target = _wanted(await forms.read_fields(request))
    return await _authorized(caller, request, state, target)


@post("/move/initialize", opt={"guard": wire.SESSION})
async def initialize(caller: Caller, request: HttpRequest) -> Answer:
    """From the settings to the wizard, with a client and a code for it."""
    instance = caller.instance
    if await caller.session() is None:
        return wire.redirect(caller.url("/auth/login", {"redirect": instance.app_url("settings", host=caller.domain)}))
    wizard = _wizard(instance)
    if not wizard:
        return refused(caller, "no_wizard", 404)
    if not await within_limit(instance):
        return too_often(request)
    client, now = await _new_client(instance, wizard), instance.env.clock.now().timestamp()
    consented = ConsentRequest(client, f"{wizard}/fake", "", SCOPE, "", {})
    code = await instance.store.write(lambda tx: consent.give_code(tx, consented, now))
    query = {
        "client_id": client.id,
        "client_secret": str(client.body["client_secret"]),
        "code": code,
        **await _facts(instance),
        "cozy_url": caller.url("/"),
    }
    return wire.redirect(f"{wizard}/initialize?{urlencode(query)}", 307)


@post("/move/request", opt={"guard": wire.PUBLIC})
async def ask_move(caller: Caller, request: HttpRequest) -> Answer:
    """The wizard knows both sides: the owner is asked by mail."""
    instance = caller.instance
    fields = await forms.read_fields(request)
    if not await throttle.allowed(instance, "move-request", REQUESTS_PER_HOUR, 3600.0):
        return refused(caller, "too_many", 429)
    try:
        client_id, own_token = await _own_side(instance, fields)
        if not fields.get("target_url", "").strip():
            raise Refusal("missing", name="target_url")
        target = target_of(instance, fields["target_url"].strip())
    except Refusal as refusal:
        return refused(caller, refusal.key, 400, **refusal.values)
    if not fields.get("target_token"):
        return refused(caller, "missing", 400, name="target_token")
    vault = not forms.is_true(fields.get("ignore_vault", "")) and await moves.vault_in_use(instance)
    kept = {
        "client_id": client_id, "own_token": own_token, "target": target, "token": fields["target_token"],
        "vault": vault,
    }  # fmt: skip
    secret = await one_time.make_code(instance, SECRET, SECRET_SECONDS, kept)
    values = {
        "ConfirmLink": caller.url("/move/go", {"secret": secret}), "PublicName": await instance.public_name(),
        "Source": instance.domain, "Target": urlsplit(target).netloc,
    }  # fmt: skip
    now = instance.env.clock.now().timestamp()
    await instance.store.write(lambda tx: letters.post(tx, "move_confirm", values, now) and None)
    return pages.page(caller, "move_sent.html")


# -- from the mail


@get("/move/go", opt={"guard": wire.SECRET})
async def confirm_page(caller: Caller, request: HttpRequest) -> Answer:
    """What the link of the mail opens: what is going to happen, and a button. Programs that look at links start
    nothing."""
    secret = request.query_params.get("secret") or ""
    if await caller.session() is None:
        return wire.text("You must be authenticated", 401)
    kept = await one_time.peek_code(caller.instance, SECRET, secret)
    if not isinstance(kept, dict):
        return refused(caller, "secret", 400)
    return pages.page(
        caller,
        "move_confirm.html",
        secret=secret,
        source=caller.instance.domain,
        target=urlsplit(kept["target"]).netloc,
    )


@post("/move/go", opt={"guard": wire.SECRET})
async def confirm(caller: Caller, request: HttpRequest) -> Answer:
    """The owner confirms: the move begins. The secret is used up."""
    instance = caller.instance
    if await caller.session() is None:
        return wire.text("You must be authenticated", 401)
    fields = await forms.read_fields(request)
    secret = fields.get("secret") or request.query_params.get("secret") or ""
    good, kept = await one_time.take_code(instance, SECRET, secret)
    if not good or not isinstance(kept, dict):
        return refused(caller, "secret", 400)
    move = Move(
        role="source", other=kept["target"], client_id=kept["client_id"], own_token=kept["own_token"],
        token=kept["token"], vault=kept["vault"], since=instance.env.clock.now().timestamp(),
    )  # fmt: skip
    try:
        await moves.begin(instance, move)
    except UpstreamFailed:
        return refused(caller, "unreachable", 400)
    except DomainError:
        return refused(caller, "moving", 409)
    return wire.redirect(f"{kept['target']}/move/importing")


# -- from the other side


@post("/move/finalize", opt={"guard": wire.TOKEN})
async def finalize(caller: Caller, request: HttpRequest) -> Answer:
    """The target has everything."""
    subdomain = request.query_params.get("subdomain") or "nested"
    if subdomain not in ("flat", "nested"):
        raise InvalidParameter("flat or nested is expected", parameter="subdomain")
    try:
        permit = await caller.permit()
    except Gone:
        claims = tokens.verify(caller.instance, caller.token, tokens.ACCESS)
        move = await moves.current(caller.instance)
        if move is None or move.client_id != claims.sub or move.state != "done":
            raise
        return wire.no_content()  # told twice
    permit.require_type("POST", IMPORTS)
    await moves.finalize(caller.instance, permit, subdomain)
    return wire.no_content()


@post("/move/abort", opt={"guard": wire.TOKEN})
async def abort(caller: Caller) -> Answer:
    """The other side has given up."""
    permit = await caller.permit()
    permit.require_type("POST", IMPORTS)
    await moves.abort_asked(caller.instance, permit)
    return wire.no_content()


# -- afterwards


@get("/move/vault", opt={"guard": wire.SESSION})
async def vault_page(caller: Caller) -> Answer:
    """How to take the passwords along, shown once."""
    if (login := await sessions.require_login(caller)) is not None:
        return login
    instance = caller.instance
    if "import_vault" in await instance.settings():
        await moves.forget_settings(instance, "import_vault")
    onward = await redirects.default_landing(instance, caller.domain)
    return pages.page(caller, "move_vault.html", onward=onward)


# -- private parts


class Refusal(Exception):
    """Why a request of a wizard cannot be taken, as the key of a text."""

    def __init__(self, key: str, **values: str) -> None:
        super().__init__(key)
        self.key = key
        self.values = values


def refused(caller: Caller, key: str, status: int, **values: str) -> Answer:
    """The page that says why a move cannot go on."""
    locale = caller.instance.locale
    title = translate(locale, "moving.error.title")
    return pages.error_page(caller, status, title, translate(locale, f"moving.error.{key}", **values))


def _wizard(instance: Instance) -> str:
    """The address of the configured wizard, without a final slash; empty when there is none."""
    configured = instance.context_settings.get("move")
    url = configured.get("url") if isinstance(configured, Mapping) else None
    return url.rstrip("/") if isinstance(url, str) else ""


def _wanted(fields: Mapping[str, str]) -> tuple[str, str]:
    """State and address of return. Raises BadCredentials."""
    state, target = fields.get("state") or "", fields.get("redirect_uri") or ""
    try:
        parts = urlsplit(target)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        fine = False
    if not fine or any(character <= " " or character == "\\" for character in target):
        raise BadCredentials("bad url: bad scheme")
    return state, target


async def _authorized(caller: Caller, request: HttpRequest, state: str, target: str) -> Answer:
    instance = caller.instance
    if not await within_limit(instance):
        return too_often(request)
    code = await one_time.make_code(instance, CODE, CODE_SECONDS, target)
    more = {"state": state, "code": code, **await _facts(instance)}
    return wire.redirect(redirects.with_query(target.partition("#")[0], more) + "#")


async def _facts(instance: Instance) -> dict[str, str]:
    """What the wizard shows: whether there are passwords, bytes in use, and the quota."""
    usage = await instance.store.read(disk_usage)
    facts = {"vault": str(await moves.vault_in_use(instance)).lower(), "used": str(usage.total)}
    quota = quota_of(instance)
    return {**facts, "quota": str(quota)} if quota else facts


async def _own_side(instance: Instance, fields: Mapping[str, str]) -> tuple[str, str]:
    """The client and the token by which the target tells us the end. Raises Refusal."""
    if code := fields.get("code"):
        good, _ = await one_time.take_code(instance, CODE, code)
        if not good:
            raise Refusal("code")
        client = await _new_client(instance, _wizard(instance) or "http://localhost")
        return client.id, tokens.issue(instance, tokens.ACCESS, client.id, scope=SCOPE)
    for name in ("client_id", "client_secret", "token"):
        if not fields.get(name):
            raise Refusal("missing", name=name)
    client = await instance.store.read(lambda view: view.get(CLIENTS, fields["client_id"]))
    if client is None or not clients.right_secret(client, fields["client_secret"]):
        raise Refusal("client")
    try:
        permit = (await granted(instance, fields["token"], {})).permit
        permit.require_type("POST", IMPORTS)
        permit.require_type("POST", REQUESTS)
    except AuthError as error:
        raise Refusal("token") from error
    if permit.client_id != client.id:
        raise Refusal("token")
    return client.id, fields["token"]


def target_of(instance: Instance, given: str) -> str:
    """The origin of the instance to move to. Raises Refusal."""
    try:
        origin, host = origin_of(given), host_of(given)
    except PeerForbiddenAddress as error:
        raise Refusal("target") from error
    own = {instance.doc.domain, instance.doc.old_domain, *instance.doc.domain_aliases}
    if host in own or urlsplit(origin).netloc in own:
        raise Refusal("target")
    return origin


async def own_client(instance: Instance) -> tuple[str, str]:
    """A client of ours for one move, and the token by which the target tells us its end."""
    client = await _new_client(instance, _wizard(instance) or "https://move.invalid")
    return client.id, tokens.issue(instance, tokens.ACCESS, client.id, scope=SCOPE)


async def _new_client(instance: Instance, wizard: str) -> Document:
    declared = {"redirect_uris": [f"{wizard}/fake"], "client_name": "Move", "software_id": SOFTWARE}

    def create(tx: Writer) -> Document:
        return clients.create_client(tx, instance, declared, pending=False)

    return await instance.store.write(create)


def _host(url: str) -> str:
    return urlsplit(url).netloc.lower()


ROUTES: list[Any] = [
    authorize_page, authorize, initialize, ask_move, confirm_page, confirm, finalize, abort, vault_page,
]  # fmt: skip
