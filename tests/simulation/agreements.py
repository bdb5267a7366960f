"""Sharings of all kinds between the people of a scenario: made, accepted, changed, ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from inglenook.kernel.errors import DomainError
from inglenook.sharing import answer, documents
from inglenook.sharing.documents import Sharing

from .deeds import FILES, Deeds
from .world import ROOT, Server

ALBUMS = "io.cozy.photos.albums"
TESTS = "io.cozy.tests"


@dataclass
class Agreement:
    """A sharing of a scenario. `readers` may only read from the beginning; `downgraded` could write before; who has
    `meddled` has changed his copy without the right to."""

    kind: str
    owner: Server
    guests: list[Server]
    id: str = ""
    doctype: str = FILES
    readers: set[str] = field(default_factory=set[str])
    downgraded: set[str] = field(default_factory=set[str])
    meddled: set[str] = field(default_factory=set[str])
    one_way: bool = False

    def may_write(self, server: Server) -> bool:
        """Whether what a person changes is to be seen by the others."""
        if server is self.owner:
            return True
        return not self.one_way and server.name not in self.readers | self.downgraded


def rule(title: str, values: list[str], *, doctype: str = FILES, ways: str = "sync", **more: str) -> dict[str, Any]:
    """A rule of a sharing."""
    return {"title": title, "doctype": doctype, "values": values, "add": ways, "update": ways, "remove": ways, **more}


class Agreements:
    """Makes sharings, and changes who is in them."""

    def __init__(self, deeds: Deeds) -> None:
        self.deeds = deeds
        self.world = deeds.world
        self.random = deeds.random
        self.all: list[Agreement] = []
        self.unanswered: list[tuple[Agreement, Server]] = []

    # -- kinds

    async def folder(self, owner: Server, guests: list[Server], *, one_way: bool = False) -> Agreement:
        """A folder with a few things in it."""
        title = f"Folder {len(self.all)}"
        root = await self.deeds.mkdir(owner, ROOT, title)
        assert root is not None
        await self.deeds.upload(owner, root, "a")
        sub = await self.deeds.mkdir(owner, root, "Sub")
        assert sub is not None
        await self.deeds.upload(owner, sub, "deep.txt")
        return await self.share_folder(owner, guests, root, title, one_way=one_way)

    async def share_folder(
        self, owner: Server, guests: list[Server], root: str, title: str, *, one_way: bool = False
    ) -> Agreement:
        """A folder that is there already, also one that came from somebody else."""
        ways = "push" if one_way else "sync"
        return await self.make(
            Agreement("folder", owner, guests, one_way=one_way), title, [rule(title, [root], ways=ways)]
        )

    async def file(self, owner: Server, guests: list[Server]) -> Agreement:
        """One file alone."""
        title = f"alone {len(self.all)}.txt"
        id = await self.deeds.upload(owner, ROOT, title)
        assert id is not None
        return await self.make(Agreement("file", owner, guests), title, [rule(title, [id])])

    async def album(self, owner: Server, guests: list[Server]) -> Agreement:
        """An album, and the photos that refer to it."""
        title = f"Album {len(self.all)}"
        album = (await owner.ok("POST", f"/data/{ALBUMS}/", {"name": title}))["id"]
        for name in ("one.jpg", "two.jpg"):
            photo = await self.deeds.upload(owner, ROOT, f"{title} {name}")
            await refer(self.deeds, owner, "POST", str(photo), album)
        rules = [
            rule(title, [album], doctype=ALBUMS),
            rule("photos", [f"{ALBUMS}/{album}"], selector="referenced_by"),
        ]
        return await self.make(Agreement("album", owner, guests, doctype=ALBUMS), title, rules)

    async def documents(self, owner: Server, guests: list[Server], doctype: str, *, by_field: bool) -> Agreement:
        """Documents that are no files, by their ids or by a field."""
        title = f"Documents {len(self.all)}"
        made = [await owner.ok("POST", f"/data/{doctype}/", {"circle": title, "v": n}) for n in range(3)]
        values, more = ([title], {"selector": "circle"}) if by_field else ([entry["id"] for entry in made], {})
        kind = "circle" if by_field else "documents"
        return await self.make(
            Agreement(kind, owner, guests, doctype=doctype), title, [rule(title, values, doctype=doctype, **more)]
        )

    async def make(self, agreement: Agreement, title: str, rules: list[dict[str, Any]]) -> Agreement:
        """Share by some rules, some members as readers, and accept everywhere."""
        if self.random.random() < 0.3:
            agreement.readers = {server.name for server in agreement.guests if self.random.random() < 0.5}
        agreement.id = await self.world.invite(agreement.owner, title, rules, agreement.guests, agreement.readers)
        self.deeds.tell(
            f"{agreement.owner.name} shares {title} ({agreement.id}) with {[g.name for g in agreement.guests]},"
            f" readers {sorted(agreement.readers)}, one way {agreement.one_way}"
        )
        for guest in agreement.guests:
            await self.accept(agreement, guest)
        self.all.append(agreement)
        return agreement

    # -- members

    async def accept(self, agreement: Agreement, guest: Server) -> bool:
        """A guest accepts, by the state that the owner has sent."""
        stored = await self.stored(agreement)
        index = index_of(stored, guest)
        if index is None:
            return True
        status = stored.members[index].status
        if status == "revoked" or (status == "ready" and await self.takes_part(agreement, guest)):
            return True
        try:
            await answer.accept(await guest.instance(), agreement.id, stored.credentials[index - 1].state)
        except DomainError as error:
            self.deeds.tell(f"{guest.name} cannot accept {agreement.id} yet: {error.detail}")
            return False
        self.deeds.tell(f"{guest.name} accepts {agreement.id}")
        return True

    async def takes_part(self, agreement: Agreement, guest: Server) -> bool:
        """Whether a guest knows that the owner has taken the answer (when it was lost, it is given again), or that all
        is over."""
        instance = await guest.instance()
        sharing = await instance.store.read(lambda view: documents.get(view, agreement.id))
        return sharing is None or not sharing.unanswered

    async def stored(self, agreement: Agreement) -> Sharing:
        """The sharing as its owner has it."""
        instance = await agreement.owner.instance()
        return await instance.store.read(lambda view: documents.load(view, agreement.id))

    async def revoke(self, agreement: Agreement, guest: Server) -> None:
        """The owner ends it for one member."""
        index = index_of(await self.stored(agreement), guest)
        path = f"/sharings/{agreement.id}/recipients/{index}"
        if index is not None and await self.deeds.attempt(agreement.owner, "DELETE", path) is not None:
            self.world.network.forbid(agreement.owner.domain, guest.domain, agreement.id)

    async def end(self, agreement: Agreement) -> None:
        """The owner ends it for all."""
        if await self.deeds.attempt(agreement.owner, "DELETE", f"/sharings/{agreement.id}/recipients") is not None:
            for guest in agreement.guests:
                self.world.network.forbid(agreement.owner.domain, guest.domain, agreement.id)

    async def leave(self, agreement: Agreement, guest: Server) -> None:
        """A member goes."""
        path = f"/sharings/{agreement.id}/recipients/self"
        if await self.deeds.attempt(guest, "DELETE", path) is not None:
            self.world.network.forbid(guest.domain, agreement.owner.domain, agreement.id)

    async def set_read_only(self, agreement: Agreement, guest: Server, read_only: bool) -> None:
        """The owner takes or gives the right to write."""
        if guest.name in agreement.readers or agreement.one_way:
            return
        index = index_of(await self.stored(agreement), guest)
        if index is None:
            return
        path = f"/sharings/{agreement.id}/recipients/{index}/readonly"
        if read_only:
            agreement.downgraded.add(guest.name)  # also when nobody knows whether it has arrived
        response = await agreement.owner.call("POST" if read_only else "DELETE", path)
        self.deeds.tell(
            f"{agreement.owner.name}: {guest.name} may {'read' if read_only else 'write'} {response.status}"
        )
        if not read_only and response.status < 300:
            agreement.downgraded.discard(guest.name)

    async def add_again(self, agreement: Agreement, guest: Server) -> None:
        """The owner invites somebody whose membership has ended."""
        contact = await self.world.contact(agreement.owner, guest)
        data = {"type": "io.cozy.sharings", "id": agreement.id, "relationships": {"recipients": {"data": [contact]}}}
        path = f"/sharings/{agreement.id}/recipients"
        self.world.network.allow(agreement.owner.domain, guest.domain, agreement.id)
        if await self.deeds.attempt(agreement.owner, "POST", path, {"data": data}) is not None:
            agreement.readers.discard(guest.name)
            agreement.downgraded.discard(guest.name)
            self.unanswered.append((agreement, guest))

    async def answer_all(self) -> None:
        """Accept what could not be accepted before."""
        waiting, self.unanswered = self.unanswered, []
        for agreement, guest in waiting:
            down = agreement.owner.runtime is None or guest.runtime is None or guest.moving
            if down or not await self.accept(agreement, guest):
                self.unanswered.append((agreement, guest))


def index_of(sharing: Sharing, guest: Server) -> int | None:
    """The index of a person among the members."""
    found = [i for i, member in enumerate(sharing.members) if i and member.email == guest.email]
    return found[-1] if found else None


async def refer(deeds: Deeds, server: Server, method: str, file_id: str, album: str) -> None:
    """Put a photo in an album (POST), or take it out (DELETE)."""
    body = {"data": [{"id": album, "type": ALBUMS}]}
    await deeds.attempt(server, method, f"/files/{file_id}/relationships/referenced_by", body)
