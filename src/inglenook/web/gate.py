"""What every request passes on its way to a route, and every answer on its way out.

The gate finds the instance by its host (spec/03 §1.2), keeps encoded slashes inside path segments (spec/01 §1.6),
answers pre-flights, adds the security and CORS headers (spec/03 §2.5) and a request id, logs, and refuses the
success of a guarded route whose handler never asked for the caller's permit.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from litestar import Litestar, Request
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, NotFoundException

from inglenook import wire
from inglenook.identity.caller import token_of
from inglenook.kernel.errors import DomainError
from inglenook.peers import extensions
from inglenook.peers.peers import USER_AGENT
from inglenook.web import cors, errors, hosts, paths
from inglenook.web.metrics import Metrics
from inglenook.web.runtime import Runtime
from inglenook.wire import Answer

log = structlog.get_logger("inglenook.web")

_HEALTH = {name + end: name for name in ("/version", "/status", "/.well-known/inglenook") for end in ("", "/")}
"""What every host answers, by its paths: cozy-client-js asks with a final slash."""
_ABOUT_LIFETIME = 3600  # seconds for which what the server is may be kept

_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_HSTS = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
_NOTHING_ALLOWED = (
    b"content-security-policy",
    b"default-src 'none';frame-src 'none';frame-ancestors 'none';base-uri 'none';",
)
_PAGE_POLICY = (
    b"content-security-policy",
    b"default-src 'self';frame-src 'none';frame-ancestors 'none';base-uri 'none';img-src 'self' data:;",
)
_NEVER_KEPT = ("/auth/", "/settings/", "/permissions")
"""Paths whose answers carry tokens, codes, or what depends on a cookie: no cache may keep them (RFC 6749 §5.1)."""
_NO_STORE = (b"cache-control", b"private, no-store")


class Gate:
    """The ASGI application. `active` are the tasks that serve a request or a websocket now."""

    def __init__(self, runtime: Runtime, routes: Litestar) -> None:
        self.runtime = runtime
        self.routes = routes
        self.active: set[asyncio.Task[Any]] = set()
        self._websockets: set[asyncio.Task[Any]] = set()
        self.clock = runtime.env.clock
        self.random = runtime.env.random
        self.metrics = Metrics() if runtime.env.config.metrics else None
        self.only_health = runtime.env.config.role == "worker"  # requests are for the processes of the other roles
        self.headers = [_NO_SNIFFING] if runtime.env.config.dev else [_NO_SNIFFING, _HSTS]
        announcement = extensions.announcement(runtime.env.config)
        self.to_servers = [(extensions.HEADER.lower().encode(), announcement.encode())] if announcement else []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request or websocket."""
        if scope["type"] == "lifespan":
            return
        task = asyncio.current_task()
        assert task is not None
        self.active.add(task)
        try:
            if scope["type"] == "http":
                await Passage(self, scope, receive, send).go()
            else:
                self._websockets.add(task)
                await self._websocket(scope, receive, send)
        finally:
            self.active.discard(task)
            self._websockets.discard(task)
            # what the parts of a request know of each other goes with it: else they would wait, and an unread body with
            # its connection, for the search for garbage
            scope.get("state", {}).clear()

    def close_websockets(self) -> None:
        """End every websocket, at the end of the server; clients come back by themselves."""
        for task in list(self._websockets):
            task.cancel()

    async def find(self, scope: Any) -> Answer | None:
        """Find what the host designates and leave it in the scope; an answer when that is the end of the request.

        Raises BadRequest (an impossible path), NotFoundException (slashes where no route has them)."""
        if b"%" in scope["raw_path"]:
            scope["path"] = paths.decoded(scope["raw_path"])
        path = scope["path"]
        if (about := _HEALTH.get(path)) and scope.get("method") in ("GET", "HEAD"):
            return await self._health(about)
        if self.only_health:
            raise NotFoundException
        accept = header(scope, b"accept").decode("latin-1")
        match = await self.runtime.instances.by_host(header(scope, b"host").decode("latin-1"))
        if match is None:
            # the pages of errors have their style and picture from the host that they are on
            return None if path.startswith("/assets/") else hosts.unknown_host(accept)
        if match.old:
            return hosts.moved_host(match, _target(scope))
        scope["state"]["host"] = match
        if match.instance.doc.blocked and (
            refusal := hosts.blocked(match, path, accept, token_of(ASGIConnection(scope)))
        ):
            return refusal
        if match.instance.doc.moving and (refusal := hosts.read_only(match, scope.get("method", "GET"), path)):
            return refusal
        if match.instance.doc.tos_latest and (refusal := hosts.terms(match, path)):
            return refusal
        if match.slug:
            return await hosts.app_page(scope, match)
        if not paths.has_route_shape(path):
            raise NotFoundException
        return None

    async def _health(self, about: str) -> Answer:
        """Which every host answers (spec/10 §4, spec/11 §1)."""
        if about == "/version":
            return wire.plain_json(self.runtime.version())
        if about != "/status":
            lifetime = {"cache-control": f"public, max-age={_ABOUT_LIFETIME}"}
            return wire.plain_json(self.runtime.about(), headers=lifetime)
        status = await self.runtime.status()
        return wire.plain_json(status, 200 if status["status"] == "OK" else 503)

    async def _websocket(self, scope: Any, receive: Any, send: Any) -> None:
        scope.setdefault("state", {})["request_id"] = self.random.bytes(8).hex()
        try:
            refused = await self.find(scope) is not None
        except (DomainError, HTTPException):
            refused = True
        if refused:
            await receive()
            await send({"type": "websocket.close", "code": 4404, "reason": "Not Found"})
        else:
            await self.routes(scope, receive, send)


class Passage:
    """One HTTP request on its way through the gate."""

    __slots__ = ("gate", "origin", "receive", "refused", "request_id", "scope", "send", "started", "status")

    def __init__(self, gate: Gate, scope: Any, receive: Any, send: Any) -> None:
        self.gate = gate
        self.scope = scope
        self.receive = receive
        self.send = send
        self.origin = header(scope, b"origin")
        self.request_id = gate.random.bytes(8).hex()
        self.started = gate.clock.monotonic()
        self.status = 0
        self.refused = False

    async def go(self) -> None:
        """Let the request through to its answer."""
        self.scope.setdefault("state", {})["request_id"] = self.request_id
        try:
            await self._serve()
        finally:
            for action in self.scope["state"].get("at_end", ()):
                action()
            took = (self.gate.clock.monotonic() - self.started) * 1000
            match = self.scope["state"].get("host")
            if self.gate.metrics is not None:
                route = str(self.scope.get("path_template", ""))
                self.gate.metrics.request(self.scope["method"], route, self.status, took / 1000)
            log.info(
                "request",
                instance=match.instance.domain if match else "",
                method=self.scope["method"],
                route=self.scope.get("path_template", ""),
                status=self.status,
                ms=round(took, 1),
                request_id=self.request_id,
            )

    async def _serve(self) -> None:
        """Whatever goes wrong before the answer has begun becomes an answer, as behind the routes; what goes wrong
        later cuts it off."""
        try:
            target = await self._early_answer() or self.gate.routes
            await target(self.scope, self.receive, self._dress)
        except Exception as error:  # the outermost edge: nothing else stands between a fault and the client
            if self.status:
                raise
            await errors.answer(Request(self.scope), error)(self.scope, self.receive, self._dress)

    async def _early_answer(self) -> Answer | None:
        scope = self.scope
        if answer := await self.gate.find(scope):
            return answer
        if scope["method"] == "OPTIONS" and self.origin:
            asked = header(scope, b"access-control-request-headers")
            headers = cors.preflight(scope["path"], self.origin, asked)
            return _Preflight(headers) if headers else None
        return None

    async def _dress(self, message: Any) -> None:
        """Send a message of the answer on, its headers completed."""
        if message["type"] != "http.response.start":
            if not self.refused:
                await self.send(message)
        elif message["status"] < 400 and self._unguarded():
            await errors.answer(Request(self.scope), _NeverAsked())(self.scope, self.receive, self._dress)
            self.refused = True
        else:
            self.status = message["status"]
            message["headers"] = self._complete(message["headers"])
            await self.send(message)

    def _unguarded(self) -> bool:
        handler = self.scope.get("route_handler")
        if handler is None or handler.opt.get("guard") not in (wire.TOKEN, wire.PEER):
            return False
        caller = self.scope["state"].get("caller")
        return caller is None or not caller.asked

    def _for_a_server(self) -> bool:
        """Whether another server asks, which is told what can be done beyond the protocol (spec/11 §1)."""
        handler = self.scope.get("route_handler")
        if handler is not None and handler.opt.get("guard") == wire.PEER:
            return True
        return header(self.scope, b"user-agent") == USER_AGENT.encode()

    def _complete(self, given: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        headers = [*given, *self.gate.headers, (b"x-request-id", self.request_id.encode())]
        if self._for_a_server():
            headers += self.gate.to_servers
        own_policy = page = kept = False
        for name, value in given:
            if name == b"content-security-policy":
                own_policy = True
            elif name == b"cache-control":
                kept = True
            elif name == b"content-type":
                page = value.startswith(b"text/html")
        if not own_policy:
            headers.append(_PAGE_POLICY if page else _NOTHING_ALLOWED)
        if not kept and self.scope["path"].startswith(_NEVER_KEPT):
            headers.append(_NO_STORE)
        if self.origin and self.scope["method"] != "OPTIONS":
            match = self.scope["state"].get("host")
            if match is not None and not match.slug:
                headers += cors.simple(self.scope["path"], self.scope["method"], self.origin)
        return headers


class _NeverAsked(Exception):
    """A guarded route answered with success without asking what the caller may do."""


class _Preflight(Answer):
    """204 with headers of which one name occurs several times."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: cors.Headers) -> None:
        super().__init__(status=204)
        self.pairs = pairs

    def start(self, length: int | None) -> dict[str, Any]:
        return {"type": "http.response.start", "status": 204, "headers": self.pairs}


def header(scope: Any, wanted: bytes) -> bytes:
    """The first value of a request header, empty when it is absent."""
    for name, value in scope["headers"]:
        if name == wanted:
            return value
    return b""


def _target(scope: Any) -> str:
    """The path and query as they were sent."""
    query = scope["query_string"]
    return (scope["raw_path"] + (b"?" + query if query else b"")).decode("latin-1")
