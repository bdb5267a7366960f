"""One scenario: people change a shared folder at random while servers crash and the network fails; then it is quiet.

After the quiet all members must have the same tree, and every content that a server has acknowledged must still be
somewhere, unless its own author replaced or destroyed it on purpose.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from .deeds import Deeds
from .invariants import contents_are_there, folders_agree, nothing_is_lost, nothing_waits, root_of
from .network import Faults
from .virtual_time import VirtualLoop
from .world import ROOT, Server, World

NAMES = ("a", "b.txt", "c.txt", "Sub", "été.md", "x (2).txt")
QUIET = 6 * 3600.0


@dataclass
class Plan:
    """The size and the roughness of a scenario."""

    members: int = 3
    steps: int = 25
    crashes: float = 0.05
    cuts: float = 0.08
    faults: Faults = field(default_factory=lambda: Faults(lost_requests=0.03, lost_answers=0.03, longest_delay=2.0))


class Scenario:
    """Runs one seed."""

    def __init__(self, seed: str, plan: Plan, loop: VirtualLoop) -> None:
        self.world = World(seed, loop)
        self.plan = plan
        self.random = self.world.random
        self.sharing_id = ""
        self.deeds = Deeds(self.world)

    async def run(self) -> None:
        """The whole scenario. Raises Broken."""
        names = ("alice", "bob", "carol", "carol2")[: self.plan.members]
        for name in names:
            await self.world.add(name, skew=self.random.choice((0.0, -40.0, 25.0)))
        owner = self.world.servers[0]
        folder = await owner.ok("POST", f"/files/{ROOT}?Type=directory&Name=Shared")
        root = folder["data"]["id"]
        await self.deeds.upload(owner, root, "a", "first")
        sub = await owner.ok("POST", f"/files/{root}?Type=directory&Name=Sub")
        await self.deeds.upload(owner, sub["data"]["id"], "deep.txt", "deep")
        self.sharing_id = await self.world.share(owner, root, "Shared", self.world.servers[1:])
        await asyncio.sleep(60)
        self.world.network.faults = self.plan.faults
        for _ in range(self.plan.steps):
            await self.one_step()
            await asyncio.sleep(self.random.choice((0.0, 0.01, 0.5, 5.0, 40.0)))
        self.world.calm()
        for server in self.world.servers:
            if server.runtime is None:
                await server.start()
        await asyncio.sleep(QUIET)
        await self.check()

    # -- what happens

    async def one_step(self) -> None:
        """A fault, or a change by somebody who is up."""
        server = self.random.choice(self.world.servers)
        chance = self.random.random()
        if chance < self.plan.crashes:
            self.deeds.tell(f"{server.name} crashes" if server.runtime else f"{server.name} starts")
            await (server.crash() if server.runtime else server.start())
        elif chance < self.plan.crashes + self.plan.cuts:
            other = self.random.choice([s for s in self.world.servers if s is not server])
            self.world.network.cut ^= {frozenset((server.domain, other.domain))}
            self.deeds.tell(f"the way {server.name}-{other.name} is cut or mended")
        elif server.runtime is None:
            self.deeds.tell(f"{server.name} starts")
            await server.start()
        else:
            await self.change(server)

    async def change(self, server: Server) -> None:
        """One change of the shared folder by its person."""
        deeds = self.deeds
        root = await root_of(server, self.sharing_id)
        if root is None:
            return
        tree = await deeds.walk(server, root)
        folders = [root, *(item.id for item in tree if item.is_directory)]
        files = [item for item in tree if item.is_file]
        kind = self.random.choices(
            ("create", "mkdir", "overwrite", "rename", "move", "out", "trash", "restore", "in", "copy"),
            (24, 8, 22, 12, 12, 3, 10, 5, 3, 2),
        )[0]
        name, place = self.random.choice(NAMES), self.random.choice(folders)
        if kind == "create":
            await deeds.upload(server, place, name)
        elif kind == "mkdir":
            await deeds.mkdir(server, place, name)
        elif kind == "overwrite" and files:
            await deeds.overwrite(server, self.random.choice(files))
        elif kind == "rename" and tree:
            await deeds.patch(server, self.random.choice(tree), {"name": name})
        elif kind == "move" and tree:
            await deeds.patch(server, self.random.choice(tree), {"dir_id": place})
        elif kind == "out" and tree:
            moved = {"dir_id": ROOT, "name": f"out {deeds.counter}"}
            await deeds.patch(server, self.random.choice(tree), moved)
        elif kind == "trash" and tree:
            await deeds.trash(server, self.random.choice(tree))
        elif kind == "restore":
            await deeds.restore(server)
        elif kind == "copy" and files:
            await deeds.attempt(server, "POST", f"/files/{self.random.choice(files).id}/copy")
        elif kind == "in":
            outside = [item for item in await deeds.children(server, ROOT) if item.name.startswith("out ")]
            if outside:
                await deeds.patch(server, self.random.choice(outside), {"dir_id": place})

    # -- judging

    async def check(self) -> None:
        """All invariants after the quiet. Raises Broken."""
        servers = self.world.servers
        for server in servers[1:]:
            await folders_agree(self.deeds, self.sharing_id, servers[0], server)
        await nothing_is_lost(self.deeds)
        for server in servers:
            await contents_are_there(server)
            await nothing_waits(server)
