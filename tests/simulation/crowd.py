"""The wide scenario: several people, several sharings of all kinds over the same things, members who come and go.

Folders are shared two ways or one way, inside each other and on to third people; photo albums, single files and
documents as well. Rights are taken and given, memberships end while changes are on their way, servers crash, their
clocks differ, their disks are full, and now and then days go by.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from inglenook.files.documents import Item

from .agreements import ALBUMS, TESTS, Agreement, Agreements, index_of, refer
from .deeds import FILES, LARGE, Broken, Deeds
from .invariants import (
    album_items,
    albums_agree,
    contents_are_there,
    folders_agree,
    nothing_is_lost,
    nothing_waits,
    revisions_agree,
    root_of,
    sharing_of,
)
from .network import Faults
from .virtual_time import VirtualLoop
from .world import ROOT, Server, World

NAMES = ("a", "b.txt", "c.txt", "Sub", "été.md", "x (2).txt", "A", "deep.txt")
CONTACTS = "io.cozy.contacts"
QUIET = 6 * 3600.0
DAY = 86400.0

FILE_DEEDS = {
    "create": 20, "mkdir": 8, "fill": 4, "overwrite": 20, "rename": 12, "move": 12, "between": 5, "out": 4, "in": 5,
    "trash": 9, "restore": 6, "destroy": 2, "copy": 2, "replace": 3, "swap": 2, "tag": 3, "many": 2, "root": 1,
}  # fmt: skip

LARGE_DEEDS = {"large": 6, "edit": 60}


@dataclass
class CrowdPlan:
    """The size and the roughness of a scenario."""

    people: tuple[int, ...] = (2, 3, 3, 4)
    sharings: tuple[int, ...] = (1, 2, 3)
    steps: int = 22
    crashes: float = 0.05
    cuts: float = 0.07
    memberships: float = 0.05
    other_makes: bool = False
    large: bool = False
    faults: Faults = field(default_factory=lambda: Faults(lost_requests=0.03, lost_answers=0.03, longest_delay=2.0))


class Crowd:
    """Runs one seed."""

    def __init__(self, seed: str, plan: CrowdPlan, loop: VirtualLoop) -> None:
        self.world = World(seed, loop)
        self.plan = plan
        self.random = self.world.random
        self.deeds = Deeds(self.world)
        self.agreements = Agreements(self.deeds)
        self.ownerless: set[str] = set()

    async def run(self) -> None:
        """The whole scenario. Raises Broken."""
        await self.begin()
        self.world.network.faults = self.plan.faults
        for _ in range(self.plan.steps):
            await self.one_step()
            await asyncio.sleep(self.random.choice((0.0, 0.0, 0.01, 0.5, 5.0, 40.0)))
            if self.random.random() < 0.01:
                await self.let_days_go_by()
        await self.calm()
        await self.check()
        await self.check_alive()

    async def begin(self) -> None:
        """People, and what they share at first, in good weather."""
        names = ("alice", "bob", "carol", "carol2")[: self.random.choice(self.plan.people)]
        strange = self.random.choice(names) if self.plan.other_makes else ""
        for name in names:
            skew = self.random.choice((0.0, 0.0, -40.0, 25.0, 3 * 3600.0, -DAY))
            quota = self.random.choice((0, 0, 0, 0, 0, 400))
            quota = 0 if self.plan.large else quota
            await self.world.add(name, skew=skew, quota=quota, other_make=name == strange)
        for _ in range(self.random.choice(self.plan.sharings)):
            await self.share_something()
            await asyncio.sleep(self.random.choice((0.0, 1.0, 60.0)))
        for agreement in self.agreements.all if self.plan.large else ():
            root = await root_of(agreement.owner, agreement.id)
            if agreement.kind == "folder" and root is not None:
                await self.deeds.upload_large(agreement.owner, root, "large.bin")
        await asyncio.sleep(60)

    async def share_something(self) -> None:
        """One more sharing, of a random kind."""
        make, servers = self.agreements, self.world.servers
        owner = self.random.choice(servers)
        others = [server for server in servers if server is not owner]
        guests = [server for server in others if self.random.random() < 0.7] or [self.random.choice(others)]
        kind = self.random.choices(
            ("folder", "inner", "onward", "one way", "file", "album", "documents", "circle", "contacts"),
            (40, 12, 14, 8, 6, 12, 5, 6, 3),
        )[0]
        if kind == "inner" and (inner := await self.folder_to_share(owner, received=False)):
            await make.share_folder(owner, guests, inner, f"Inner {len(make.all)}")
        elif kind == "onward" and (inner := await self.folder_to_share(owner, received=True)):
            origins = {a.owner.name for a in make.all}
            onward = [guest for guest in guests if guest.name not in origins]
            if onward:
                await make.share_folder(owner, onward, inner, f"Onward {len(make.all)}")
        elif kind == "one way":
            await make.folder(owner, guests, one_way=True)
        elif kind == "file":
            await make.file(owner, guests)
        elif kind == "album":
            await make.album(owner, guests)
        elif kind == "documents":
            await make.documents(owner, guests, TESTS, by_field=False)
        elif kind == "circle":
            await make.documents(owner, guests, TESTS, by_field=True)
        elif kind == "contacts":
            await make.documents(owner, guests, CONTACTS, by_field=False)
        else:
            await make.folder(owner, guests)

    async def folder_to_share(self, owner: Server, *, received: bool) -> str | None:
        """A folder inside of one that this person shares, or one that was received."""
        found: list[str] = []
        for agreement in self.agreements.all:
            if agreement.kind != "folder" or (agreement.owner is owner) == received or not agreement.may_write(owner):
                continue
            root = await root_of(owner, agreement.id)
            if root is not None and (not received or owner in agreement.guests):
                found += [root] * received
                found += [item.id for item in await self.deeds.walk(owner, root) if item.is_directory]
        return self.random.choice(found) if found else None

    # -- what happens

    async def one_step(self) -> None:
        """A fault, a change of who is in, or a change by somebody who is up."""
        plan = self.plan
        server = self.random.choice(self.world.servers)
        chance = self.random.random()
        if chance < plan.crashes:
            self.deeds.tell(f"{server.name} crashes" if server.runtime else f"{server.name} starts")
            await (server.crash() if server.runtime else server.start())
        elif chance < plan.crashes + plan.cuts:
            other = self.random.choice([s for s in self.world.servers if s is not server])
            self.world.network.cut ^= {frozenset((server.domain, other.domain))}
            self.deeds.tell(f"the way {server.name}-{other.name} is cut or mended")
        elif chance < plan.crashes + plan.cuts + plan.memberships:
            await self.change_members()
        elif server.runtime is None:
            self.deeds.tell(f"{server.name} starts")
            await server.start()
        else:
            await self.change(server)
        await self.agreements.answer_all()

    async def let_days_go_by(self) -> None:
        """In good weather (else everybody tries everything twice a minute) time passes until tokens are too old."""
        self.world.calm()
        for server in self.world.servers:
            if server.runtime is None:
                await server.start()
        await asyncio.sleep(8 * DAY)
        self.world.network.faults = self.plan.faults

    async def change_members(self) -> None:
        """Somebody is revoked, leaves, is invited again, may only read, may write again; or all is over."""
        if not self.agreements.all:
            return
        agreement = self.random.choice(self.agreements.all)
        guest = self.random.choice(agreement.guests)
        kind = self.random.choices(
            ("revoke", "leave", "again", "reader", "writer", "end", "trash"), (18, 15, 25, 20, 15, 3, 4)
        )[0]
        if agreement.owner.runtime is None or guest.runtime is None:
            return
        if kind == "leave":
            await self.agreements.leave(agreement, guest)
        elif kind == "revoke":
            await self.agreements.revoke(agreement, guest)
        elif kind in ("reader", "writer"):
            await self.agreements.set_read_only(agreement, guest, kind == "reader")
        elif kind == "end":
            await self.agreements.end(agreement)
        elif kind == "trash" and agreement.kind == "folder":
            whose = self.random.choice((agreement.owner, guest))
            root = await root_of(whose, agreement.id)
            if root is not None:
                await self.deeds.attempt(whose, "DELETE", f"/files/{root}")
        elif kind == "again":
            stored = await self.agreements.stored(agreement)
            index = index_of(stored, guest)
            if stored.active and index is not None and stored.members[index].status == "revoked":
                await self.agreements.add_again(agreement, guest)

    async def change(self, server: Server) -> None:
        """One change by a person, in something that is shared with this person."""
        among = [a for a in self.agreements.all if server is a.owner or server in a.guests]
        if self.random.random() < 0.2:
            copies = [a for a in among if not a.may_write(server) and a.kind == "folder"]
            if copies:
                agreement = self.random.choice(copies)
                agreement.meddled.add(server.name)
                await self.change_folder(server, agreement, [agreement])
                return
        mine = [a for a in among if a.may_write(server) and await sharing_of(server, a.id)]
        if not mine:
            return
        agreement = self.random.choice(mine)
        if agreement.kind == "album":
            await self.change_album(server, agreement)
        elif agreement.kind in ("documents", "circle"):
            await self.change_document(server, agreement)
        elif agreement.kind == "file":
            await self.change_single_file(server, agreement)
        else:
            await self.change_folder(server, agreement, [a for a in mine if a.kind == "folder"])

    async def change_folder(self, server: Server, agreement: Agreement, all_mine: list[Agreement]) -> None:
        """One change in a shared folder."""
        deeds, random = self.deeds, self.random
        root = await root_of(server, agreement.id)
        if root is None:
            return
        tree = await deeds.walk(server, root)
        folders = [root, *(item.id for item in tree if item.is_directory)]
        files = [item for item in tree if item.is_file]
        weights = {**FILE_DEEDS, **LARGE_DEEDS} if self.plan.large else FILE_DEEDS
        kind = random.choices(list(weights), list(weights.values()))[0]
        name, place = random.choice(NAMES), random.choice(folders)
        if kind == "create":
            await deeds.upload(server, place, name)
        elif kind == "mkdir":
            await deeds.mkdir(server, place, name)
        elif kind == "fill":
            made = await deeds.mkdir(server, place, name)
            if made:
                await deeds.upload(server, made, random.choice(NAMES))
        elif kind == "many":
            for _ in range(4):
                await deeds.upload(server, random.choice(folders), random.choice(NAMES))
        elif kind == "overwrite" and files:
            await deeds.overwrite(server, random.choice(files))
        elif kind == "large":
            await deeds.upload_large(server, place, name)
        elif kind == "edit":
            large = [item for item in files if item.size >= LARGE]
            if large:
                await deeds.edit_large(server, random.choice(large))
        elif kind == "copy" and files:
            await deeds.attempt(server, "POST", f"/files/{random.choice(files).id}/copy")
        elif kind == "replace" and files:
            old = random.choice(files)
            await deeds.trash(server, old)
            await deeds.upload(server, old.dir_id, old.name)
        elif kind == "swap" and len(files) > 1:
            await self.swap(server, *random.sample(files, 2))
        elif kind in ("rename", "move", "between", "out", "trash", "tag") and tree:
            await self.change_item(server, kind, random.choice(tree), name, place, all_mine)
        elif kind == "restore":
            await deeds.restore(server)
        elif kind == "destroy":
            await deeds.destroy(server)
        elif kind == "in":
            outside = [item for item in await deeds.children(server, ROOT) if item.name.startswith("out ")]
            if outside:
                await deeds.patch(server, random.choice(outside), {"dir_id": place})
        elif kind == "root":
            item = next((i for i in await deeds.walk(server, ROOT) if i.id == root), None)
            if item is not None:
                await deeds.patch(server, item, {"name": f"{name} {deeds.counter}"})

    async def change_item(
        self, server: Server, kind: str, item: Item, name: str, place: str, all_mine: list[Agreement]
    ) -> None:
        """One change of a file or folder that is there."""
        deeds = self.deeds
        if kind == "rename":
            await deeds.patch(server, item, {"name": name})
        elif kind == "move":
            await deeds.patch(server, item, {"dir_id": place})
        elif kind == "tag":
            await deeds.patch(server, item, {"tags": [name]})
        elif kind == "trash":
            await deeds.trash(server, item)
        elif kind == "out":
            await deeds.patch(server, item, {"dir_id": ROOT, "name": f"out {deeds.counter}"})
        elif kind == "between":
            other = self.random.choice(all_mine)
            root = await root_of(server, other.id)
            shared = {await root_of(server, a.id) for a in self.agreements.all if a.kind == "folder"}
            inside = {i.id for i in await deeds.walk(server, item.id)} | {item.id} if item.is_directory else {item.id}
            if root is not None and shared.isdisjoint(inside):
                await deeds.patch(server, item, {"dir_id": root})

    async def swap(self, server: Server, one: Item, other: Item) -> None:
        """Two files take each other's names."""
        await self.deeds.patch(server, one, {"name": f"passing {self.deeds.counter}"})
        await self.deeds.patch(server, other, {"name": one.name})
        await self.deeds.patch(server, one, {"name": other.name})

    async def change_album(self, server: Server, agreement: Agreement) -> None:
        """One change of a shared album or its photos."""
        deeds, random = self.deeds, self.random
        sharing = await sharing_of(server, agreement.id)
        assert sharing is not None
        album = sharing.rules[0].values[0]
        there = await album_items(server, agreement.id)
        kind = random.choices(("add", "take out", "put back", "overwrite", "rename", "trash", "title"),
                              (30, 15, 10, 15, 10, 10, 10))[0]  # fmt: skip
        if kind == "add":
            made = await deeds.upload(server, ROOT, f"photo {deeds.counter}.jpg")
            if made:
                await refer(deeds, server, "POST", made, album)
        elif kind == "put back":
            loose = [i for i in await deeds.children(server, ROOT) if i.name.startswith("photo ")]
            if loose:
                await refer(deeds, server, "POST", random.choice(loose).id, album)
        elif kind == "title":
            await self.update(server, ALBUMS, album, {"name": f"{deeds.counter} by {server.name}"})
        elif there:
            photo = random.choice(there)
            if kind == "take out":
                await refer(deeds, server, "DELETE", photo.id, album)
            elif kind == "overwrite":
                await deeds.overwrite(server, photo)
            elif kind == "rename":
                await deeds.patch(server, photo, {"name": f"photo {random.choice(NAMES)}"})
            elif kind == "trash":
                await deeds.trash(server, photo)

    async def change_document(self, server: Server, agreement: Agreement) -> None:
        """One change of a shared document."""
        deeds, random = self.deeds, self.random
        instance = await server.instance()
        documents = await instance.store.read(lambda view: view.all_docs(agreement.doctype))
        sharing = await sharing_of(server, agreement.id)
        assert sharing is not None
        values = sharing.rules[0].values
        by_field = agreement.kind == "circle"
        mine = [d for d in documents if (d.body.get("circle") if by_field else d.id) in values]
        deeds.counter += 1
        if by_field and random.random() < 0.25:
            body = {"circle": values[0], "v": f"{deeds.counter} by {server.name}"}
            await deeds.attempt(server, "POST", f"/data/{agreement.doctype}/", body)
        elif mine:
            document = random.choice(mine)
            if random.random() < 0.12:
                path = f"/data/{agreement.doctype}/{document.id}?rev={document.rev}"
                await deeds.attempt(server, "DELETE", path)
            else:
                await self.update(server, agreement.doctype, document.id, {"v": f"{deeds.counter} by {server.name}"})

    async def update(self, server: Server, doctype: str, id: str, changes: dict[str, Any]) -> None:
        """Change members of a document, if it is there."""
        instance = await server.instance()
        document = await instance.store.read(lambda view: view.get(doctype, id))
        if document is not None:
            body = {**document.body, "_id": id, "_rev": document.rev, **changes}
            await self.deeds.attempt(server, "PUT", f"/data/{doctype}/{id}", body)

    async def change_single_file(self, server: Server, agreement: Agreement) -> None:
        """One change of a file that is shared by itself."""
        item = await self.single_file(server, agreement)
        if item is None:
            return
        if self.random.random() < 0.6:
            await self.deeds.overwrite(server, item)
        else:
            await self.deeds.patch(server, item, {"name": f"alone {self.deeds.counter} {self.random.choice(NAMES)}"})

    async def single_file(self, server: Server, agreement: Agreement) -> Item | None:
        """The file of a sharing of one file."""
        root = await root_of(server, agreement.id)
        instance = await server.instance()
        document = await instance.store.read(lambda view: view.get(FILES, root)) if root else None
        return Item.of(document) if document is not None else None

    # -- the end

    async def calm(self) -> None:
        """The weather is good again, everybody is up, may write, has room and has answered; then much time goes by."""
        self.world.calm()
        self.deeds.tell("calm")
        for server in self.world.servers:
            if server.runtime is None:
                await server.start()
            await server.set_quota(0)
        await asyncio.sleep(600)
        await self.agreements.answer_all()
        for agreement in self.agreements.all:
            for guest in agreement.guests:
                if guest.name in agreement.downgraded and await sharing_of(agreement.owner, agreement.id):
                    await self.agreements.set_read_only(agreement, guest, read_only=False)
        await asyncio.sleep(QUIET)

    async def check(self) -> None:
        """All invariants after the quiet. Raises Broken."""
        if self.world.network.offences:
            raise Broken("\n".join(self.world.network.offences))
        for agreement in self.agreements.all:
            for guest in agreement.guests:
                if await self.is_member(agreement, guest):
                    await self.check_pair(agreement, guest)
        await nothing_is_lost(self.deeds)
        for server in self.world.servers:
            await contents_are_there(server)
            await nothing_waits(server, ownerless=self.ownerless)

    async def is_member(self, agreement: Agreement, guest: Server) -> bool:
        """Whether a guest is in a sharing; both sides must say the same. Raises Broken."""
        stored = await self.agreements.stored(agreement)
        index = index_of(stored, guest)
        here = stored.active and index is not None and stored.members[index].status == "ready"
        there = await sharing_of(guest, agreement.id) is not None
        if here != there and (agreement, guest) not in self.agreements.unanswered:
            raise Broken(f"{agreement.id}: {agreement.owner.name} says {here} of {guest.name}, who says {there}")
        return here and there and guest.name not in agreement.downgraded | agreement.meddled

    async def check_pair(self, agreement: Agreement, guest: Server) -> None:
        """Whether the owner and a guest have the same. Raises Broken."""
        if agreement.kind == "folder":
            await folders_agree(self.deeds, agreement.id, agreement.owner, guest, reader=not agreement.may_write(guest))
        elif agreement.kind == "album":
            await albums_agree(agreement.id, agreement.owner, guest, reader=not agreement.may_write(guest))
        elif agreement.kind == "file":
            one, other = await self.single_file(agreement.owner, agreement), await self.single_file(guest, agreement)
            same_rev = guest.name in agreement.meddled or (one and other and one.rev == other.rev)
            if one and other and ((one.name, one.md5sum) != (other.name, other.md5sum) or not same_rev):
                raise Broken(f"{agreement.owner.name} has {one.body} {one.rev}, {guest.name} {other.body} {other.rev}")
        else:
            await revisions_agree(agreement.id, agreement.owner, guest, reader=not agreement.may_write(guest))

    async def check_alive(self) -> None:
        """Everybody who may can still write, and the others get it. Raises Broken."""
        for agreement in self.agreements.all:
            for server in (agreement.owner, *agreement.guests):
                root = await root_of(server, agreement.id)
                if agreement.kind == "folder" and root is not None and agreement.may_write(server):
                    await self.deeds.upload(server, root, f"last words of {server.name}")
        await asyncio.sleep(1200)
        await self.check()
