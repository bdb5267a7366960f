"""One scenario: people change a shared folder at random while servers crash and the network fails; then it is quiet.

After the quiet all members must have the same tree, and every content that a server has acknowledged must still be
somewhere, unless its own author replaced or destroyed it on purpose.
"""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec

from inglenook.kernel.xor import xor_id
from inglenook.peers.errors import PeerTimeout, PeerUnreachable
from inglenook.replication.engine import receivers
from inglenook.sharing import documents, tracking

from .network import Faults
from .virtual_time import NothingLeft, VirtualLoop
from .world import ROOT, Server, World

TRASH = "io.cozy.files.trash-dir"
NAMES = ("a", "b.txt", "c.txt", "Sub", "été.md", "x (2).txt")
QUIET = 6 * 3600.0


class Broken(AssertionError):
    """An invariant does not hold."""


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
        self.contents: dict[str, str] = {}
        self.given_up: set[str] = set()
        self.story: list[str] = []
        self.counter = 0

    async def run(self) -> None:
        """The whole scenario. Raises Broken."""
        names = ("alice", "bob", "carol", "dave")[: self.plan.members]
        for name in names:
            await self.world.add(name, skew=self.random.choice((0.0, -40.0, 25.0)))
        owner = self.world.servers[0]
        folder = await owner.ok("POST", f"/files/{ROOT}?Type=directory&Name=Shared")
        root = folder["data"]["id"]
        await self.upload(owner, root, "a", "first")
        sub = await owner.ok("POST", f"/files/{root}?Type=directory&Name=Sub")
        await self.upload(owner, sub["data"]["id"], "deep.txt", "deep")
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
            self.tell(f"{server.name} crashes" if server.runtime else f"{server.name} starts")
            await (server.crash() if server.runtime else server.start())
        elif chance < self.plan.crashes + self.plan.cuts:
            other = self.random.choice([s for s in self.world.servers if s is not server])
            self.world.network.cut ^= {frozenset((server.domain, other.domain))}
            self.tell(f"the way {server.name}-{other.name} is cut or mended")
        elif server.runtime is None:
            self.tell(f"{server.name} starts")
            await server.start()
        else:
            await self.change(server)

    async def change(self, server: Server) -> None:
        """One change of the shared folder by its person."""
        root = await self.root_of(server)
        if root is None:
            return
        tree = await self.walk(server, root)
        folders = [root, *(i["id"] for i in tree if i["attributes"]["type"] == "directory")]
        files = [i for i in tree if i["attributes"]["type"] == "file"]
        kind = self.random.choices(
            ("create", "mkdir", "overwrite", "rename", "move", "out", "trash", "restore", "in", "copy"),
            (24, 8, 22, 12, 12, 3, 10, 5, 3, 2),
        )[0]
        name, place = self.random.choice(NAMES), self.random.choice(folders)
        if kind == "create":
            await self.upload(server, place, name, self.fresh(server))
        elif kind == "mkdir":
            await self.attempt(server, "POST", f"/files/{place}?Type=directory&Name={quote(name)}")
        elif kind == "overwrite" and files:
            await self.overwrite(server, self.random.choice(files))
        elif kind == "rename" and tree:
            await self.patch(server, self.random.choice(tree), {"name": name})
        elif kind == "move" and tree:
            await self.patch(server, self.random.choice(tree), {"dir_id": place})
        elif kind == "out" and tree:
            await self.patch(server, self.random.choice(tree), {"dir_id": ROOT, "name": f"out {self.counter}"})
        elif kind == "trash" and tree:
            await self.attempt(server, "DELETE", f"/files/{self.random.choice(tree)['id']}")
        elif kind == "restore":
            await self.restore(server)
        elif kind == "copy" and files:
            await self.attempt(server, "POST", f"/files/{self.random.choice(files)['id']}/copy")
        elif kind == "in":
            outside = [i for i in await self.children(server, ROOT) if i["attributes"]["name"].startswith("out ")]
            if outside:
                await self.patch(server, self.random.choice(outside), {"dir_id": place})

    def fresh(self, server: Server) -> str:
        """A content that was never there before."""
        self.counter += 1
        return f"content {self.counter} by {server.name}"

    def tell(self, what: str) -> None:
        """Add to the story that a failure tells."""
        self.story.append(f"{self.world.loop.passed:10.2f}  {what}")

    async def attempt(self, server: Server, method: str, path: str, body: Any = None, raw: bytes | None = None) -> Any:
        """A request that may be refused (a taken name, a thing that is gone); gives the answer when it succeeds."""
        response = await server.call(method, path, body, raw=raw)
        said = msgspec.json.encode(body).decode() if body else raw or ""
        self.tell(f"{server.name}: {method} {path} {said} {response.status}")
        if response.status >= 500:
            raise Broken(f"{server.name}: {method} {path}: {response.status} {response.body[:500]!r}")
        return msgspec.json.decode(response.body) if response.status < 300 and response.body else None

    async def upload(self, server: Server, place: str, name: str, content: str) -> None:
        """A new file; its content must never be lost."""
        made = await self.attempt(server, "POST", f"/files/{place}?Type=file&Name={quote(name)}", raw=content.encode())
        if made is not None:
            self.contents[md5(content)] = content

    async def overwrite(self, server: Server, item: Any) -> None:
        """New content for a file; what this person saw there before is given up."""
        content = self.fresh(server)
        path = f"/files/{item['id']}"
        made = await server.call("PUT", path, raw=content.encode())
        self.tell(f"{server.name}: PUT {item['attributes']['name']} {content} {made.status}")
        if made.status == 200:
            self.contents[md5(content)] = content
            self.given_up.add(item["attributes"]["md5sum"])

    async def patch(self, server: Server, item: Any, attributes: dict[str, Any]) -> None:
        """Rename or move."""
        self.tell(f"{server.name}: {item['attributes']['name']} -> {attributes}")
        body = {"data": {"type": "io.cozy.files", "id": item["id"], "attributes": attributes}}
        await self.attempt(server, "PATCH", f"/files/{item['id']}", body)

    async def restore(self, server: Server) -> None:
        """Something from the trash comes back."""
        trashed = await self.children(server, TRASH)
        if trashed:
            await self.attempt(server, "POST", f"/files/trash/{self.random.choice(trashed)['id']}")

    # -- looking

    async def root_of(self, server: Server) -> str | None:
        """The shared folder of a member, None while it is not there (any more)."""
        instance = await server.instance()
        sharing = await instance.store.read(lambda view: documents.get(view, self.sharing_id))
        if sharing is None or not sharing.active:
            return None
        root = sharing.rules[0].values[0]
        response = await server.call("GET", f"/files/{root}")
        return root if response.status == 200 else None

    async def children(self, server: Server, folder: str) -> list[Any]:
        """All children of a folder."""
        found = await server.ok("GET", f"/files/{folder}?page%5Blimit%5D=1000")
        return found.get("included") or []

    async def walk(self, server: Server, folder: str) -> list[Any]:
        """Everything below a folder."""
        found: list[Any] = []
        for item in await self.children(server, folder):
            found.append(item)
            if item["attributes"]["type"] == "directory":
                found += await self.walk(server, item["id"])
        return found

    async def tree(self, server: Server, folder: str, prefix: str = "") -> dict[str, str]:
        """Path → MD5 of everything below a folder."""
        found: dict[str, str] = {}
        for item in await self.children(server, folder):
            path = prefix + item["attributes"]["name"]
            if path in found or path + "/" in found:
                raise Broken(f"{server.name} has two items at {path}")
            if item["attributes"]["type"] == "directory":
                found[path + "/"] = ""
                found |= await self.tree(server, item["id"], path + "/")
            else:
                found[path] = item["attributes"]["md5sum"]
        return found

    # -- judging

    async def check(self) -> None:
        """All invariants after the quiet. Raises Broken."""
        trees: dict[str, dict[str, str]] = {}
        for server in self.world.servers:
            root = await self.root_of(server)
            if root is not None:
                trees[server.name] = await self.tree(server, root)
        owner = self.world.servers[0].name
        for name, tree in trees.items():
            if tree != trees[owner]:
                only = {k: v for k, v in tree.items() if trees[owner].get(k) != v}
                lacks = {k: v for k, v in trees[owner].items() if tree.get(k) != v}
                details = await self.explain(name)
                raise Broken(f"{name} differs from {owner}: has {only}, lacks {lacks}\n{details}")
        kept: set[str] = set()
        for server in self.world.servers:
            kept |= await self.everything(server)
        lost = {c for m, c in self.contents.items() if m not in kept and m not in self.given_up}
        if lost:
            raise Broken(f"lost: {sorted(lost)}")
        await self.check_residue()

    async def explain(self, name: str) -> str:
        """The documents that a member and the owner hold differently, with their revisions and tracking."""
        owner, other = self.world.servers[0], next(s for s in self.world.servers if s.name == name)
        here, there = await self.documents_of(owner), await self.documents_of(other)
        lines: list[str] = []
        for id in sorted(here.keys() | there.keys()):
            if here.get(id, ["", ""])[:2] != there.get(id, ["", ""])[:2]:
                lines += [f"{id}", f"   {owner.name}: {here.get(id)}", f"   {name}: {there.get(id)}"]
        return "\n".join(lines)

    async def documents_of(self, server: Server) -> dict[str, list[Any]]:
        """Owner's id → name and folder, revision, history, tracking of all files of a member."""
        instance = await server.instance()
        sharing = await instance.store.read(lambda view: documents.load(view, self.sharing_id))
        key = b"\0" * 16 if sharing.owner else sharing.credentials[0].xor_key

        def look(view: Any) -> dict[str, list[Any]]:
            found: dict[str, list[Any]] = {}
            for entry in view.changes("io.cozy.files", limit=10_000):
                document = view.winner("io.cozy.files", entry.id)
                body = document.body
                place = xor_id(body.get("dir_id") or "", key)
                where = (body.get("name"), place, body.get("md5sum")) if not document.deleted else "deleted"
                shared = tracking.load(view, "io.cozy.files", entry.id)
                history = view.tree("io.cozy.files", entry.id).path(document.rev)
                found[xor_id(entry.id, key)] = [where, document.rev, history, shared.infos, shared.leaf]
            return found

        return await instance.store.read(look)

    async def everything(self, server: Server) -> set[str]:
        """The MD5 of every file and version of a person, the trash included."""
        instance = await server.instance()

        def look(view: Any) -> set[str]:
            found: set[str] = set()
            for doctype in ("io.cozy.files", "io.cozy.files.versions"):
                start = ""
                while page := view.all_docs(doctype, start=start, limit=500):
                    found |= {d.body["md5sum"] for d in page if "md5sum" in d.body}
                    start = page[-1].id + "\0"
            return found

        return await instance.store.read(look)

    async def check_residue(self) -> None:
        """Nothing waits for anybody any more. Raises Broken."""
        for server in self.world.servers:
            instance = await server.instance()
            sharing = await instance.store.read(lambda view: documents.get(view, self.sharing_id))
            if sharing is None or not sharing.active:
                continue
            for index in receivers(sharing):
                kind = tracking.retry_kind(sharing.id, index)
                waiting = await instance.store.read(lambda view, kind=kind: view.records(kind, limit=5))
                if waiting:
                    raise Broken(f"{server.name} still tries to send {[(r.id, r.body) for r in waiting]} to {index}")


def md5(content: str) -> str:
    """The MD5 of a text, in the wire's form."""
    return b64encode(hashlib.md5(content.encode(), usedforsecurity=False).digest()).decode()


def play(seed: str, plan: Plan | None = None, *, story: bool = False) -> str | None:
    """Run one seed; None when all is well, else what is broken with the story that led there.

    With `story` it is printed in any case."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    scenario = Scenario(seed, plan or Plan(), loop)
    try:
        loop.run_until_complete(scenario.run())
    except (Broken, NothingLeft, AssertionError, PeerTimeout, PeerUnreachable) as broken:
        story = "\n".join(scenario.story)
        return f"seed {seed}: {type(broken).__name__}: {broken}\n{story}"
    finally:
        if story:
            print("\n".join(scenario.story))
        loop.run_until_complete(scenario.world.end())
        loop.close()
        asyncio.set_event_loop(None)
    return None
