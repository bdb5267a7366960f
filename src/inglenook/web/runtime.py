"""The assembly of a server: stores, peers, instances and what works in the background.

A `Runtime` is what the web application and the commands work with. It knows no HTTP; `web.serve` puts it behind a
port, and a command that finds no server running makes one for itself, without background parts.
"""

from __future__ import annotations

import os
import platform
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

import inglenook
from inglenook.environment import Environment
from inglenook.identity.instances import Instances
from inglenook.kernel.errors import DomainError
from inglenook.peers import extensions
from inglenook.peers.peers import Peers
from inglenook.peers.states import PeerState, joined
from inglenook.peers.transport import Transport
from inglenook.replication import frames
from inglenook.storage.hub import HubClient
from inglenook.web import backends, parts, shapes
from inglenook.web.tending import Tending

PEERS, RETRY = "peers", "retry peer"
"""What the processes of a server ask each other."""


class Runtime:
    """Everything a server is made of. `await start()` before use, `await stop()` at the end.

    `hub` joins the processes of one server. For simulations `transport` takes the place of the network, and with
    `threads` False all runs on the event loop."""

    def __init__(
        self,
        env: Environment,
        transport: Transport | None = None,
        *,
        hub: HubClient | None = None,
        threads: bool = True,
    ) -> None:
        self.env = env
        self.folder: Path = env.config.data
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.hub = hub
        self.backends = backends.choose(env, hub, threads=threads)
        self.stores = self.backends.stores
        self.blobs = self.backends.blobs
        self.ephemeral = self.backends.values
        self.peers = Peers(env, transport)
        self.instances = Instances(
            env, self.stores, self.blobs, self.peers, parts.indexes(), parts.hooks(), ephemeral=self.ephemeral,
            threads=threads,
        )  # fmt: skip
        self.parts: list[parts.Part] = []
        self._ending = AsyncExitStack()

    async def start(self, *, background: bool = True) -> None:
        """Open the registry; with `background`, begin what works beside the requests."""
        shapes.make_ready()
        self._ending.push_async_callback(self.backends.stop)
        self._ending.push_async_callback(self.peers.close)
        await self.backends.start()
        if self.hub is not None:
            self.hub.replies |= {PEERS: self._reply_states, RETRY: self._reply_retry}
        parts.join(self)
        await self.instances.start()
        if background:
            background_parts = self._background()
            shapes.make_ready()
            for part in background_parts:
                await part.start()
                self.parts.append(part)
                self._ending.push_async_callback(part.stop)

    def _background(self) -> list[parts.Part]:
        """What runs beside the requests in this process, by its role."""
        leases = self.backends.leases
        if leases is None:
            return parts.background(self)
        if self.env.config.role == "web":
            return [Tending(self.instances, None)]
        return [*parts.background(self), Tending(self.instances, leases)]

    async def stop(self) -> None:
        """End the parts in the reverse order of their start, then close the stores."""
        await self._ending.aclose()

    async def peer_states(self) -> list[PeerState]:
        """What all processes of this server know of other servers, by name."""
        told = [*self.peers.states()]
        if self.hub is not None:
            for theirs in await self.hub.gather(PEERS):
                told += msgspec.convert(theirs, list[PeerState])
        return joined(told)

    async def retry_peer(self, host: str) -> bool:
        """Try another server again now, in all processes; False when nothing is known of it."""
        tried = [self.peers.retry(host)]
        if self.hub is not None:
            tried += await self.hub.gather(RETRY, host)
        return any(tried)

    async def _reply_states(self) -> Any:
        return msgspec.to_builtins(self.peers.states())

    async def _reply_retry(self, host: str) -> bool:
        return self.peers.retry(host)

    def version(self) -> dict[str, str]:
        """What `GET /version` tells."""
        mode = "development" if self.env.config.dev else "production"
        runtime = f"{platform.python_implementation()} {platform.python_version()}"
        return {"version": inglenook.__version__, "build_mode": mode, "runtime_version": runtime}

    def about(self) -> dict[str, Any]:
        """What `GET /.well-known/inglenook` tells other servers (spec/11 §1)."""
        config = self.env.config
        contact = config.context("").get("contact")
        return {
            "product": "Inglenook",
            "version": inglenook.__version__,
            "extensions": extensions.spoken(config),
            "limits": {"max_batch_bytes": frames.MAX_BATCH_BYTES, "max_batch_items": frames.MAX_BATCH_ITEMS},
            **({"contact": contact} if isinstance(contact, str) and contact else {}),
        }

    async def status(self) -> dict[str, Any]:
        """What `GET /status` tells: the time that each service takes to answer, or which one does not."""
        seconds, failing = await self.probe()
        latencies = {name: f"{took * 1000:.3f}ms" for name, took in seconds.items()}
        if failing:
            return {
                "status": "KO",
                "message": "failing: " + ", ".join(failing),
                "failing": failing,
                "latencies": latencies,
            }
        return {"status": "OK", "message": "OK", "latencies": latencies}

    async def probe(self) -> tuple[dict[str, float], dict[str, str]]:
        """The seconds that each service takes to answer, and why the others do not."""
        seconds: dict[str, float] = {}
        failing: dict[str, str] = {}
        clock = self.env.clock
        for name, probe in (("database", self._probe_database), ("storage", self._probe_storage)):
            started = clock.monotonic()
            try:
                await probe()
            except (DomainError, OSError) as error:
                failing[name] = str(error)
            else:
                seconds[name] = clock.monotonic() - started
        return seconds, failing

    async def _probe_database(self) -> None:
        await self.instances.count()

    async def _probe_storage(self) -> None:
        if os.statvfs(self.folder).f_bavail == 0:
            raise OSError("The disk of the data folder is full")
