"""Routes of realtime events: the websocket, and notices of apps to each other (spec/07 §2.1, §2.6)."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, get, post, websocket

from inglenook.identity.caller import Caller, caller_of
from inglenook.kernel import doctypes
from inglenook.kernel.errors import BadRequest
from inglenook.realtime.connection import Connection, Socket
from inglenook.storage.announcements import announce
from inglenook.wire import PUBLIC, TOKEN, Answer, no_content, read_body

LARGEST_NOTICE = 256 * 1024
"""Bytes of the body of a notice."""


@websocket("/realtime", opt={"guard": PUBLIC})
async def listen(socket: Socket) -> None:
    """Events of the instance; the first frame has the token."""
    await Connection(socket, caller_of(socket)).serve()


@get("/realtime", opt={"guard": PUBLIC})
async def plain_request() -> Answer:
    """A plain request has no place here (400)."""
    raise BadRequest("This address takes websockets only")


@post("/realtime/{doctype:str}/{doc_id:str}", opt={"guard": TOKEN})
async def notify(request: Request[Any, Any, Any], caller: Caller, doctype: str, doc_id: str) -> Answer:
    """Tell who listens, and keep nothing. Needs POST on the document; 400 for a body that is no JSON object."""
    permit = await caller.permit()
    doctypes.check_name(doctype)
    doctypes.check_readable(doctype)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise BadRequest("The Content-Type must be application/json")
    try:
        body = msgspec.json.decode(await read_body(request, LARGEST_NOTICE), type=dict[str, Any])
    except msgspec.DecodeError:
        raise BadRequest("The body is not a JSON object") from None
    permit.require_document("POST", doctype, doc_id, body)
    now = caller.instance.env.clock.now()
    await caller.instance.store.write(lambda tx: announce(tx, now, "NOTIFIED", doctype, doc_id, body))
    return no_content()


ROUTES = [listen, plain_request, notify]
