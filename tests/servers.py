"""Servers for tests: the whole application on a free port of this machine, in a thread of the test process.

Everything is real: stores in a temporary folder, HTTP, peers. Tests talk to it from outside by `Person.get` and its
kin, and reach inside by `RunningServer.do`.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx
import uvloop
from litestar.types import ControllerRouterHandler
from tests import backend, moves

from inglenook.environment import Config, Environment
from inglenook.identity import commands
from inglenook.identity.creation import Wish
from inglenook.identity.instance import Instance
from inglenook.identity.passphrase import NewPassphrase
from inglenook.web import logs
from inglenook.web.app import create_app
from inglenook.web.gate import Gate
from inglenook.web.listener import bind
from inglenook.web.runtime import Runtime
from inglenook.web.serve import listening

T = TypeVar("T")


def free_port() -> int:
    """A port that nobody listens on now, outside of those that the system gives to outgoing connections."""
    while True:
        port = random.randrange(12000, 30000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class RunningServer:
    """A server that answers from `start` to `stop`.

    `routes` replaces those of the domains; `changes` are keys of the configuration."""

    def __init__(
        self, folder: Path, *, routes: Sequence[ControllerRouterHandler] | None = None, **changes: Any
    ) -> None:
        self.port = free_port()
        config = Config(data=folder, port=self.port, dev=True, log_level="error")
        self.env = Environment(replace(config, **{**backend.chosen.keys(folder), **changes}))
        self.gate: Gate
        self.runtime: Runtime
        self._routes = routes
        self._loop = uvloop.new_event_loop()
        self._stop: asyncio.Event
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name=f"server-{self.port}", daemon=True)

    @property
    def origin(self) -> str:
        """The address without an instance."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> RunningServer:
        """Start, and return when requests are answered."""
        logs.configure(self.env.config, sys.__stderr__)
        self._thread.start()
        self._ready.result(120)
        return self

    def stop(self) -> None:
        """Stop gracefully."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(30)
            assert not self._thread.is_alive(), "the server does not stop"

    def do(self, action: Callable[[Runtime], Awaitable[T]]) -> T:
        """Run something inside the server."""

        async def act() -> T:
            return await action(self.runtime)

        return asyncio.run_coroutine_threadsafe(act(), self._loop).result(120)

    def add(self, name: str, *, passphrase: str | None = None, **wish: Any) -> Person:
        """A new instance; `wish` are fields of `identity.creation.Wish`."""
        wish.setdefault("email", f"{name}@example.com")
        wish.setdefault("public_name", name.capitalize())
        if passphrase is not None:
            wish["passphrase"] = NewPassphrase(passphrase)
        domain = f"{name}.localhost:{self.port}"
        instance = self.do(lambda runtime: commands.create_instance(runtime.instances, domain, Wish(**wish)))
        self._loop.call_soon_threadsafe(instance.store.subscribe, moves.note)
        return Person(self, name, instance)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self.runtime = Runtime(self.env)
        await self.runtime.start()
        try:
            self.gate = create_app(self.runtime, self._routes)
            async with listening(self.gate, bind(self.env.config.host, self.env.config.port)):
                self._ready.set_result(None)
                await self._stop.wait()
        finally:
            await self.runtime.stop()


@dataclass
class Person:
    """Somebody with an instance, and the client that they use."""

    server: RunningServer
    name: str
    instance: Instance
    http: httpx.Client = field(init=False)
    _client_id: str = ""
    _tokens: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        self.http = httpx.Client(
            base_url=self.server.origin, headers={"Host": self.domain}, timeout=120, trust_env=False
        )

    @property
    def domain(self) -> str:
        """The domain with its port."""
        return self.instance.domain

    @property
    def url(self) -> str:
        """The origin of the instance."""
        return self.instance.origin

    @property
    def client_id(self) -> str:
        """The OAuth client of this person."""
        if not self._client_id:
            client = commands.create_oauth_client(
                self.instance, "http://localhost", "tests", "github.com/example/tests"
            )
            self._client_id = self.server.do(lambda _: client).id
        return self._client_id

    def start_anew(self) -> None:
        """Forget client and tokens: what the instance knew is gone."""
        self._client_id = ""
        self._tokens.clear()

    def token(self, *scopes: str) -> str:
        """An access token for these scopes."""
        key = " ".join(scopes)
        if key not in self._tokens:
            client_id = self.client_id
            self._tokens[key] = self.server.do(lambda _: commands.oauth_token(self.instance, client_id, scopes))
        return self._tokens[key]

    def call(
        self,
        method: str,
        path: str,
        *scopes: str,
        token: str | None = None,
        json_body: Any = None,
        headers: dict[str, str] | None = None,
        **rest: Any,
    ) -> httpx.Response:
        """A request with a token for the scopes (or the given one; none at all: anonymous)."""
        headers = dict(headers or {})
        token = token if token is not None else self.token(*scopes) if scopes else ""
        if token:
            headers.setdefault("Authorization", f"Bearer {token}")
        if json_body is not None:
            rest["content"] = json.dumps(json_body)
            kind = "application/json" if path.startswith("/data/") else "application/vnd.api+json"
            headers.setdefault("Content-Type", kind)
        return self.http.request(method, path, headers=headers, **rest)

    def get(self, path: str, *scopes: str, **rest: Any) -> httpx.Response:
        """GET."""
        return self.call("GET", path, *scopes, **rest)

    def post(self, path: str, *scopes: str, **rest: Any) -> httpx.Response:
        """POST."""
        return self.call("POST", path, *scopes, **rest)

    def put(self, path: str, *scopes: str, **rest: Any) -> httpx.Response:
        """PUT."""
        return self.call("PUT", path, *scopes, **rest)

    def patch(self, path: str, *scopes: str, **rest: Any) -> httpx.Response:
        """PATCH."""
        return self.call("PATCH", path, *scopes, **rest)

    def delete(self, path: str, *scopes: str, **rest: Any) -> httpx.Response:
        """DELETE."""
        return self.call("DELETE", path, *scopes, **rest)
