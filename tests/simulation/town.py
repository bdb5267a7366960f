"""The town: a crowd in which people come by groups of contacts and by other members, move to other addresses, or go for
good, and in which those who may only read change what they have in spite of that.

At the end each owner touches everything once more: what he has must then be with all who are in, whatever they did.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from inglenook.sharing import documents

from .agreements import ALBUMS, Agreement, index_of, rule
from .crowd import Crowd, CrowdPlan
from .deeds import FILES, Broken
from .departures import Departures
from .invariants import album_items, root_of, sharing_of
from .residue import nothing_is_left_over, watch_checkpoints
from .virtual_time import VirtualLoop
from .world import ROOT, Server

GROUPS = "io.cozy.contacts.groups"
CONTACTS = "io.cozy.contacts"
PATIENCE = 30 * 3600.0
"""Seconds that everything has in the end: moves that nobody hears of end after a day."""


class Town(Crowd):
    """Runs one seed."""

    def __init__(self, seed: str, plan: CrowdPlan, loop: VirtualLoop) -> None:
        super().__init__(seed, plan, loop)
        self.plan = replace(plan, other_makes=self.random.random() < 0.3)
        self.departures = Departures(self.deeds, self.agreements)
        self.ownerless = self.departures.ownerless
        self.groups: dict[str, tuple[Agreement, Server]] = {}
        self.checkpoints: dict[tuple[str, str], int] = {}
        self.world.network.still_over = self.is_still_over

    async def share_something(self) -> None:
        """One more sharing; some are with a group of contacts."""
        if self.random.random() < 0.4 and len(self.world.servers) > 2:
            await self.share_with_group(self.random.choice(self.world.servers))
        else:
            await super().share_something()

    # -- what happens

    async def one_step(self) -> None:
        """A departure, or anything that happens in a crowd."""
        await self.departures.look()
        people = [server for server in self.world.servers if server.runtime is not None and not server.moving]
        person = self.random.choice(people) if people else None
        chance = self.random.random()
        if person is not None and chance < 0.03 and not self.is_of_another_make(person):
            await self.departures.begin_move(person)
        elif person is not None and chance < 0.036 and len(self.world.servers) > 2:
            await self.departures.remove(person)
        elif self.departures.under_way and chance < 0.08:
            await self.departures.crash_target()
        else:
            await super().one_step()
        await self.look()

    def is_of_another_make(self, server: Server) -> bool:
        """Whether a server has habits of its own, which do not move."""
        return self.world.habits.are_of(server)

    async def look(self) -> None:
        """See what has happened meanwhile: moves that have ended, members whom the work behind a group has revoked."""
        await self.departures.look()
        for agreement in self.agreements.all:
            if agreement.owner.runtime is None:
                continue
            sharing = await self.agreements.stored(agreement)
            for guest in agreement.guests:
                index = index_of(sharing, guest)
                if index is None:
                    continue
                if sharing.members[index].status == "revoked":
                    self.world.network.forbid(agreement.owner.domain, guest.domain, agreement.id)
                elif guest.name not in agreement.downgraded:
                    agreement.readers.discard(guest.name)
                    agreement.readers |= {guest.name} if sharing.members[index].read_only else set()
        for server in self.world.servers:
            if server.runtime is not None:
                await watch_checkpoints(server, self.checkpoints)

    async def is_still_over(self, origin: str, host: str, sharing_id: str) -> bool:
        """Whether a membership that has ended has not begun again, as the sender knows it."""
        by_domain = {server.domain: server for server in (*self.world.servers, *self.world.others)}
        sender, receiver = by_domain[origin], by_domain.get(host)
        if sender.runtime is None or receiver is None:
            return False
        instance = await sender.instance()
        sharing = await instance.store.read(lambda view: documents.get(view, sharing_id))
        if sharing is None:
            return True
        if not sharing.owner:
            return not sharing.active and not sharing.unanswered
        index = index_of(sharing, receiver)
        return index is None or sharing.members[index].status == "revoked"

    async def change_members(self) -> None:
        """Somebody comes or goes by a group or by another member; or what happens in a crowd."""
        if not self.agreements.all:
            return
        kind = self.random.choice(("group", "group", "by a member", "crowd", "crowd"))
        if kind == "group" and self.groups:
            await self.change_group(self.random.choice(list(self.groups)))
        elif kind == "by a member":
            await self.add_by_member(self.random.choice(self.agreements.all))
        else:
            await super().change_members()

    async def change(self, server: Server) -> None:
        """One change by a person; also by one who may only read, of anything."""
        among = [a for a in self.agreements.all if server is a.owner or server in a.guests]
        copies = [a for a in among if not a.may_write(server)]
        if not copies or self.random.random() < 0.6:
            await super().change(server)
            return
        agreement = self.random.choice(copies)
        if await sharing_of(server, agreement.id) is None:
            return
        agreement.meddled.add(server.name)
        self.deeds.tell(f"{server.name} may only read, and changes:")
        if agreement.kind == "album":
            await self.change_album(server, agreement)
        elif agreement.kind in ("documents", "circle"):
            await self.change_document(server, agreement)
        elif agreement.kind == "file":
            await self.change_single_file(server, agreement)
        else:
            await self.change_folder(server, agreement, [agreement])

    # -- groups, and members who bring others

    async def share_with_group(self, owner: Server) -> None:
        """A folder for a group of contacts."""
        deeds, others = self.deeds, [server for server in self.world.servers if server is not owner]
        title = f"For a group {len(self.agreements.all)}"
        root = await deeds.mkdir(owner, ROOT, title)
        assert root is not None
        await deeds.upload(owner, root, "a")
        group = str((await owner.ok("POST", f"/data/{GROUPS}/", {"name": title}))["id"])
        guests = [server for server in others if self.random.random() < 0.6] or others[:1]
        for guest in guests:
            await self.put_in_group(owner, guest, group, inside=True)
        read_only = self.random.random() < 0.3
        related = {"data": [{"id": group, "type": GROUPS}]}
        data = {
            "type": "io.cozy.sharings",
            "attributes": {"description": title, "open_sharing": True, "rules": [rule(title, [root])]},
            "relationships": {"read_only_recipients" if read_only else "recipients": related},
        }
        made = await owner.ok("POST", "/sharings/", {"data": data})
        agreement = Agreement("folder", owner, guests, id=str(made["data"]["id"]))
        agreement.readers = {guest.name for guest in guests} if read_only else set()
        deeds.tell(f"{owner.name} shares {title} ({agreement.id}) with {[g.name for g in guests]}, {read_only=}")
        for guest in guests:
            await self.agreements.accept(agreement, guest)
        self.agreements.all.append(agreement)
        self.groups[group] = (agreement, owner)

    async def change_group(self, group: str) -> None:
        """Somebody is put into a group, or taken out of it."""
        agreement, whose = self.groups[group]
        people = [server for server in self.world.servers if server is not agreement.owner and server is not whose]
        if agreement not in self.agreements.all or whose not in self.world.servers:
            return
        if whose.runtime is None or whose.moving or not people:
            return
        guest = self.random.choice(people)
        inside = group not in await self.groups_of(whose, guest)
        if not await self.put_in_group(whose, guest, group, inside=inside) or not inside:
            return
        self.comes(agreement, guest)

    async def put_in_group(self, whose: Server, guest: Server, group: str, *, inside: bool) -> bool:
        """Put a contact into a group of an address book, or take it out."""
        contact = await self.world.contact(whose, guest)
        instance = await whose.instance()
        document = await instance.store.read(lambda view: view.get(CONTACTS, contact["id"]))
        if document is None:
            return False
        groups = [id for id in await self.groups_of(whose, guest) if id != group] + [group] * inside
        related = {"groups": {"data": [{"_id": id, "_type": GROUPS} for id in groups]}}
        body = {**document.body, "_id": document.id, "_rev": document.rev, "relationships": related}
        self.deeds.tell(f"{whose.name}: {guest.name} in the group {group}: {inside}")
        return await self.deeds.attempt(whose, "PUT", f"/data/{CONTACTS}/{document.id}", body) is not None

    async def groups_of(self, whose: Server, guest: Server) -> list[str]:
        """The groups that a contact is in."""
        contact = await self.world.contact(whose, guest)
        instance = await whose.instance()
        document = await instance.store.read(lambda view: view.get(CONTACTS, contact["id"]))
        related: Any = document.body.get("relationships", {}) if document is not None else {}
        return [entry["_id"] for entry in related.get("groups", {}).get("data", ())]

    async def add_by_member(self, agreement: Agreement) -> None:
        """A member of an open sharing brings somebody else, or a group of his own."""
        can = [g for g in agreement.guests if agreement.may_write(g) and g.runtime is not None and not g.moving]
        if not can:
            return
        member = self.random.choice(can)
        people = [server for server in self.world.servers if server not in (agreement.owner, member)]
        if not people or await sharing_of(member, agreement.id) is None:
            return
        newcomer = self.random.choice(people)
        related = await self.world.contact(member, newcomer)
        if self.random.random() < 0.3 and agreement.kind == "folder":
            group = str((await member.ok("POST", f"/data/{GROUPS}/", {"name": f"of {member.name}"}))["id"])
            await self.put_in_group(member, newcomer, group, inside=True)
            self.groups[group] = (agreement, member)
            related = {"id": group, "type": GROUPS}
        data = {"type": "io.cozy.sharings", "id": agreement.id, "relationships": {"recipients": {"data": [related]}}}
        response = await member.call("POST", f"/sharings/{agreement.id}/recipients", {"data": data})
        self.deeds.tell(f"{member.name} brings {newcomer.name} into {agreement.id}: {response.status}")
        self.comes(agreement, newcomer)  # also when the owner has heard it and the answer was lost

    def comes(self, agreement: Agreement, guest: Server) -> None:
        """Somebody is going to be invited."""
        if guest not in agreement.guests:
            agreement.guests.append(guest)
        if (agreement, guest) not in self.agreements.unanswered:
            self.agreements.unanswered.append((agreement, guest))

    # -- the end

    async def calm(self) -> None:
        """Moves end; then everything is as in a crowd; then each owner touches everything, and time goes by."""
        self.world.calm()
        for server in (*self.world.servers, *(at.target for at in self.departures.under_way)):
            if server.runtime is None:
                await server.start()
        await asyncio.sleep(PATIENCE)
        await self.look()
        if self.departures.under_way:
            raise Broken(f"{[at.person.name for at in self.departures.under_way]} still move")
        await self.departures.switch_off()
        await super().calm()
        await self.look()
        for agreement in self.agreements.all:
            if await sharing_of(agreement.owner, agreement.id) is not None:
                await self.touch(agreement)
        await asyncio.sleep(PATIENCE)
        await self.look()

    async def touch(self, agreement: Agreement) -> None:
        """The owner changes everything that is shared a little."""
        owner, deeds = agreement.owner, self.deeds
        deeds.counter += 1
        last = f"last {deeds.counter}"
        if agreement.doctype != FILES:
            instance = await owner.instance()
            found = await instance.store.read(lambda view: view.all_docs(agreement.doctype))
            sharing = await sharing_of(owner, agreement.id)
            values = sharing.rules[0].values if sharing is not None else []
            by_field = agreement.kind == "circle"
            for document in found:
                if (document.body.get("circle") if by_field else document.id) in values:
                    changes = {"name" if agreement.doctype == ALBUMS else "v": last}
                    await self.update(owner, agreement.doctype, document.id, changes)
            for item in await album_items(owner, agreement.id):
                await deeds.patch(owner, item, {"tags": [last]})
            return
        single = await self.single_file(owner, agreement) if agreement.kind == "file" else None
        root = await root_of(owner, agreement.id)
        items = [single] if single is not None else await deeds.walk(owner, root) if root is not None else []
        for item in items:
            await deeds.patch(owner, item, {"tags": [last]})

    async def is_member(self, agreement: Agreement, guest: Server) -> bool:
        """Whether a guest is in a sharing. Who has meddled is not left out."""
        meddled, agreement.meddled = agreement.meddled, set()
        found = await super().is_member(agreement, guest)
        agreement.meddled = meddled
        return found

    async def check(self) -> None:
        """All invariants after the quiet. Raises Broken."""
        await super().check()
        for server in self.world.servers:
            await nothing_is_left_over(server)
