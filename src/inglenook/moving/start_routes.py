"""A move without a wizard: the owner names the new address, and agrees there (spec/12 §11, "without a mover").

The other server is asked by plain OAuth: a client is registered there, its owner allows it to import, and comes back
with a code. What follows is the same confirmation as that of a wizard's move.
"""

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec
from litestar import get, post

from inglenook import wire
from inglenook.identity import forms, one_time, pages, sessions
from inglenook.identity.caller import Caller
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import UpstreamFailed
from inglenook.moving import moves
from inglenook.moving.export_routes import HttpRequest, too_often, within_limit
from inglenook.moving.move_routes import SECRET, SECRET_SECONDS, Refusal, own_client, refused, target_of
from inglenook.wire import Answer

T = TypeVar("T")

STARTS = "move-starts"
START_SECONDS = 1800.0
SCOPE = "io.cozy.imports:POST"
SOFTWARE = "github.com/inglenook/move"


class _Client(msgspec.Struct):
    client_id: str
    client_secret: str


class _Tokens(msgspec.Struct):
    access_token: str


@get("/move/start", opt={"guard": wire.SESSION})
async def start_page(caller: Caller) -> Answer:
    """Where to?"""
    if (login := await sessions.require_login(caller)) is not None:
        return login
    return pages.page(caller, "move_start.html", error="", target="")


@post("/move/start", opt={"guard": wire.SESSION})
async def start(caller: Caller, request: HttpRequest) -> Answer:
    """To the new address, to agree there."""
    if (login := await sessions.require_login(caller)) is not None:
        return login
    instance = caller.instance
    given = (await forms.read_fields(request)).get("target", "").strip()
    try:
        target = target_of(instance, given)
    except Refusal:
        return pages.page(caller, "move_start.html", status=400, error="target", target=given)
    if not await within_limit(instance):
        return too_often(request)
    try:
        client = await _register(caller, target)
    except UpstreamFailed:
        return pages.page(caller, "move_start.html", status=400, error="unreachable", target=given)
    kept = {"target": target, "client_id": client.client_id, "client_secret": client.client_secret}
    state = await one_time.make_code(instance, STARTS, START_SECONDS, kept)
    query = {
        "client_id": client.client_id, "redirect_uri": caller.url("/move/back"), "state": state,
        "response_type": "code", "scope": SCOPE,
    }  # fmt: skip
    return wire.redirect(f"{target}/auth/authorize?{urlencode(query)}")


@get("/move/back", opt={"guard": wire.SESSION})
async def back(caller: Caller, request: HttpRequest) -> Answer:
    """From the new address, with its consent: the confirmation is next."""
    if (login := await sessions.require_login(caller)) is not None:
        return login
    instance, query = caller.instance, request.query_params
    good, kept = await one_time.take_code(instance, STARTS, query.get("state") or "")
    if not good or not isinstance(kept, dict) or not query.get("code"):
        return refused(caller, "code", 400)
    try:
        token = await _exchange(instance, kept, str(query["code"]))
    except UpstreamFailed:
        return refused(caller, "unreachable", 400)
    client_id, own_token = await own_client(instance)
    move = {
        "client_id": client_id, "own_token": own_token, "target": kept["target"], "token": token,
        "vault": await moves.vault_in_use(instance),
    }  # fmt: skip
    secret = await one_time.make_code(instance, SECRET, SECRET_SECONDS, move)
    return wire.redirect(caller.url("/move/go", {"secret": secret}))


async def _register(caller: Caller, target: str) -> _Client:
    body = {
        "redirect_uris": [caller.url("/move/back")],
        "client_name": f"Move from {caller.domain}",
        "software_id": SOFTWARE,
        "client_kind": "web",
    }
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    answer = await caller.instance.peers.request(
        "POST", f"{target}/auth/register", headers=headers, body=msgspec.json.encode(body)
    )
    return _read(answer.status, 201, answer.body, _Client, target)


async def _exchange(instance: Instance, kept: dict[str, Any], code: str) -> str:
    form = {
        "grant_type": "authorization_code", "code": code, "client_id": kept["client_id"],
        "client_secret": kept["client_secret"],
    }  # fmt: skip
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    answer = await instance.peers.request(
        "POST", f"{kept['target']}/auth/access_token", headers=headers, body=urlencode(form).encode()
    )
    return _read(answer.status, 200, answer.body, _Tokens, kept["target"]).access_token


def _read(status: int, expected: int, body: bytes, kind: type[T], target: str) -> T:
    if status != expected:
        raise UpstreamFailed(f"{urlsplit(target).netloc} answered {status}")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise UpstreamFailed(f"{urlsplit(target).netloc} does not answer as a server of this kind") from error


ROUTES: list[Any] = [start_page, start, back]
