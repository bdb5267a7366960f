"""Many servers in one process, under virtual time: started, crashed, cut off, and compared."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

import msgspec
from litestar import Litestar

from inglenook.environment import EXTENSIONS, Config, Environment
from inglenook.identity.commands import cli_token
from inglenook.identity.creation import Wish, create_instance
from inglenook.identity.instance import Instance
from inglenook.peers.transport import PeerRequest, PeerResponse
from inglenook.sharing import answer, documents
from inglenook.web.app import create_routing
from inglenook.web.gate import Gate
from inglenook.web.runtime import Runtime

from .habits import Habits
from .network import Faults, Network, SimulatedTransport, call
from .virtual_time import SeededRandomness, VirtualClock, VirtualLoop

ROOT = "io.cozy.files.root-dir"
SCOPE = "io.cozy.files io.cozy.contacts io.cozy.contacts.groups io.cozy.sharings io.cozy.tests io.cozy.photos.albums"


@cache
def routing() -> Litestar:
    """The routes, made once for all servers of all scenarios."""
    return create_routing()


@dataclass
class Server:
    """One person's server. `runtime` is None while it is down; `starts` counts its lives. `label` is in its address in
    place of the name after a move; while it is `moving`, nothing can be changed there."""

    world: World
    name: str
    folder: Path
    skew: float
    extensions: tuple[str, ...]
    label: str = ""
    moving: bool = False
    starts: int = 0
    runtime: Runtime | None = None
    tasks: set[asyncio.Task[Any]] = field(default_factory=set[asyncio.Task[Any]])

    @property
    def domain(self) -> str:
        """The domain of its only instance, which is also the name of the host."""
        return f"{self.label or self.name}.localhost:8080"

    @property
    def email(self) -> str:
        """The mail address of its person."""
        return f"{self.name}@example.com"

    async def start(self) -> None:
        """Begin a life on what the life before has left on the disk."""
        self.starts += 1
        env = Environment(
            Config(data=self.folder, dev=True, extensions=self.extensions),
            VirtualClock(self.world.loop, self.skew),
            SeededRandomness(f"{self.world.seed}/{self.label or self.name}/{self.starts}"),
        )
        before = asyncio.all_tasks()
        runtime = Runtime(env, SimulatedTransport(self.world.network, self.domain), threads=False)
        await runtime.start()
        self.tasks = asyncio.all_tasks() - before
        self.runtime = runtime
        self.world.network.hosts[self.domain] = Gate(runtime, routing())

    async def instance(self) -> Instance:
        """Its instance."""
        assert self.runtime is not None
        return await self.runtime.instances.get(self.domain)

    async def set_quota(self, quota: int) -> None:
        """Give more room, or less (0: as much as there is)."""
        assert self.runtime is not None
        instance = await self.instance()
        doc = str(quota) if quota else ""
        await self.runtime.instances.modify(instance, lambda old: msgspec.structs.replace(old, disk_quota=doc))

    async def crash(self) -> None:
        """End at once, as by kill -9: what was not committed is gone."""
        self.world.network.hosts.pop(self.domain, None)
        assert self.runtime is not None
        runtime, self.runtime = self.runtime, None
        await runtime.stop()

    # -- as its owner's client

    async def call(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None) -> PeerResponse:
        """A request of the owner's client."""
        application = self.world.network.hosts[self.domain]
        token = cli_token(await self.instance(), SCOPE.split())
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.api+json"}
        content = raw if raw is not None else msgspec.json.encode(body) if body is not None else b""
        if raw is not None:
            headers["Content-Type"] = "text/plain"
        return await call(application, PeerRequest(method, f"http://{self.domain}{path}", headers, content))

    async def ok(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None) -> Any:
        """The same, which must succeed; gives the decoded answer."""
        response = await self.call(method, path, body, raw=raw)
        assert response.status < 300, f"{self.name}: {method} {path}: {response.status} {response.body[:300]!r}"
        return msgspec.json.decode(response.body) if response.body else None


class World:
    """Servers, their network and their time, all from one seed."""

    def __init__(self, seed: str, loop: VirtualLoop) -> None:
        self.seed = seed
        self.loop = loop
        self.random = random.Random(seed)
        self.network = Network(random.Random(f"{seed}/network"))
        self.habits = Habits(self, seed)
        # all servers speak the extensions, or none, or every other one
        self.spoken = cycle(random.Random(f"{seed}/extensions").choice([(True,), (False,), (True, False)]))
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(prefix="inglenook-simulation-", dir=memory if memory.is_dir() else None))
        self.servers: list[Server] = []
        self.others: list[Server] = []  # left behind by who has moved or is gone, or where somebody is moving to
        self.contacts: dict[tuple[str, str], str] = {}

    async def add(self, name: str, *, skew: float = 0.0, quota: int = 0, other_make: bool = False) -> Server:
        """A server with its person; one of another make has habits of its own."""
        folder = self.folder / name
        server = Server(self, name, folder, skew, EXTENSIONS if next(self.spoken) and not other_make else ())
        if other_make:
            self.network.habits = self.habits
            self.habits.add(server)
        await self.furnish(server, quota)
        self.servers.append(server)
        return server

    async def furnish(self, server: Server, quota: int = 0) -> None:
        """Start a server for the first time, and make the instance of its person there."""
        await server.start()
        assert server.runtime is not None
        wish = Wish(
            email=server.email, public_name=server.name.capitalize(), onboarding_finished=True,
            disk_quota=quota or None,
        )  # fmt: skip
        await create_instance(server.runtime.instances, server.domain, wish)

    async def share(self, owner: Server, folder_id: str, title: str, recipients: list[Server]) -> str:
        """Share a folder both ways, and accept everywhere; gives the id of the sharing."""
        rule = {"title": title, "doctype": "io.cozy.files", "values": [folder_id]}
        rules = [{**rule, "add": "sync", "update": "sync", "remove": "sync"}]
        sharing_id = await self.invite(owner, title, rules, recipients)
        stored = await (await owner.instance()).store.read(lambda view: documents.load(view, sharing_id))
        for index, recipient in enumerate(recipients):
            state = stored.credentials[index].state
            await answer.accept(await recipient.instance(), sharing_id, state)
        return sharing_id

    async def invite(
        self, owner: Server, title: str, rules: list[Any], recipients: list[Server], readers: Collection[str] = ()
    ) -> str:
        """Share, and invite people; gives the id of the sharing."""
        contacts = [(server, await self.contact(owner, server)) for server in recipients]
        relationships = {"recipients": {"data": [c for server, c in contacts if server.name not in readers]}}
        if readers:
            reading = [c for server, c in contacts if server.name in readers]
            relationships["read_only_recipients"] = {"data": reading}
        attributes = {"description": title, "open_sharing": True, "rules": rules}
        data = {"type": "io.cozy.sharings", "attributes": attributes, "relationships": relationships}
        made = await owner.ok("POST", "/sharings/", {"data": data})
        return str(made["data"]["id"])

    async def contact(self, owner: Server, other: Server) -> dict[str, str]:
        """Somebody in the address book of another, as a relationship."""
        known = self.contacts.get((owner.name, other.name))
        if known is None:
            contact = {
                "fullname": other.name,
                "email": [{"address": other.email, "primary": True}],
                "cozy": [{"url": f"http://{other.domain}", "primary": True}],
            }
            made = await owner.ok("POST", "/data/io.cozy.contacts/", contact)
            known = self.contacts[owner.name, other.name] = str(made["id"])
        return {"id": known, "type": "io.cozy.contacts"}

    def calm(self) -> None:
        """End all faults of the network."""
        self.network.faults = Faults()
        self.network.cut.clear()

    async def end(self) -> None:
        """Stop everything and remove what was on the disk."""
        self.habits.end()
        self.network.end()
        for server in (*self.servers, *self.others):
            if server.runtime is not None:
                await server.crash()
        shutil.rmtree(self.folder, ignore_errors=True)
