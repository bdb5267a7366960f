"""People who go: to another address, with everything they have (spec/12 §9, §10), or for good (spec/10 §3).

A move is the real one: the old address makes its export, the new one fetches it and tells the end, all over the
network as it is, with crashes on both sides. Whoever has moved is the same `Server` at the new address; what is left
at the old one only answers who comes there.
"""

from __future__ import annotations

from dataclasses import dataclass

from inglenook.identity import clients
from inglenook.identity.commands import create_oauth_client
from inglenook.kernel.errors import DomainError
from inglenook.moving import moves
from inglenook.moving.moves import Move

from .agreements import Agreements
from .deeds import Deeds
from .invariants import everything
from .world import Server

IMPORTS = "io.cozy.imports"


@dataclass
class UnderWay:
    """A move that has not ended yet: somebody, and the server at the new address."""

    person: Server
    target: Server


class Departures:
    """Begins moves, looks how far they are, and takes people away."""

    def __init__(self, deeds: Deeds, agreements: Agreements) -> None:
        self.deeds = deeds
        self.agreements = agreements
        self.world = deeds.world
        self.random = deeds.random
        self.under_way: list[UnderWay] = []
        self.moves = 0
        self.ownerless: set[str] = set()

    # -- to another address

    async def begin_move(self, person: Server) -> None:
        """Somebody begins to move; when the new address does not answer, nothing has happened."""
        self.moves += 1
        label = f"{person.name}-{self.moves}"
        extensions = person.extensions if self.random.random() < 0.5 else ()
        target = Server(
            self.world, person.name, self.world.folder / label, self.random.choice((0.0, -40.0, 3600.0)), extensions,
            label=label,
        )  # fmt: skip
        self.world.others.append(target)
        await self.world.furnish(target)
        client_id, own_token = await token_for_moves(person)
        _, token = await token_for_moves(target)
        instance = await person.instance()
        move = Move(
            role="source", other=f"http://{target.domain}", client_id=client_id, own_token=own_token, token=token,
            since=instance.env.clock.now().timestamp(),
        )  # fmt: skip
        try:
            await moves.begin(instance, move)
        except DomainError as error:
            self.deeds.tell(f"{person.name} cannot move to {target.domain}: {error.detail}")
            await self.give_up(target)
            return
        self.deeds.tell(f"{person.name} moves to {target.domain}")
        person.moving = True
        self.under_way.append(UnderWay(person, target))

    async def look(self) -> None:
        """See what has become of the moves under way."""
        for at in list(self.under_way):
            if at.person.runtime is None:
                continue
            doc = (await at.person.instance()).doc
            if doc.moving:
                continue
            at.person.moving = False
            self.under_way.remove(at)
            if doc.moved:
                await self.end(at)
            else:
                self.deeds.tell(f"{at.person.name} has not moved")
                await self.give_up(at.target)

    async def end(self, at: UnderWay) -> None:
        """The person is at the new address from now on."""
        person, target = at.person, at.target
        self.deeds.tell(f"{person.name} has moved to {target.domain}")
        old, new = person.domain, target.domain
        for names in ("folder", "skew", "extensions", "label", "starts", "runtime", "tasks"):
            mine, other = getattr(person, names), getattr(target, names)
            setattr(person, names, other)
            setattr(target, names, mine)
        network = self.world.network
        network.gone.add(old)
        network.forbidden |= {
            (new if origin == old else origin, new if host == old else host, sharing)
            for origin, host, sharing in network.forbidden
        }

    async def give_up(self, server: Server) -> None:
        """A server is needed no longer."""
        if server.runtime is not None:
            await server.crash()

    async def crash_target(self) -> None:
        """A server that somebody is moving to crashes, or comes up again."""
        target = self.random.choice(self.under_way).target
        self.deeds.tell(f"{target.domain} {'crashes' if target.runtime else 'starts'}")
        await (target.crash() if target.runtime else target.start())

    async def switch_off(self) -> None:
        """What people have left behind goes."""
        for server in self.world.others:
            await self.give_up(server)

    # -- for good

    async def remove(self, person: Server) -> None:
        """Somebody's instance is deleted. What nobody else has of it is given up; its sharings go on without it."""
        here = await everything(person)
        elsewhere: set[str] = set()
        for server in self.world.servers:
            if server is not person:
                elsewhere |= await kept_by(server)
        self.deeds.given_up |= here - elsewhere
        self.deeds.tell(f"the instance of {person.name} is deleted")
        assert person.runtime is not None
        await person.runtime.instances.destroy(await person.instance())
        self.world.servers.remove(person)
        self.world.others.append(person)
        self.world.network.gone.add(person.domain)
        for agreement in list(self.agreements.all):
            if person in agreement.guests:
                agreement.guests.remove(person)
            if agreement.owner is person or not agreement.guests:
                self.agreements.all.remove(agreement)
            if agreement.owner is person:
                self.ownerless.add(agreement.id)
        self.agreements.unanswered = [
            (agreement, guest)
            for agreement, guest in self.agreements.unanswered
            if guest is not person and agreement.owner is not person
        ]


async def token_for_moves(server: Server) -> tuple[str, str]:
    """A client that may move an instance, and a token of it."""
    instance = await server.instance()
    client = await create_oauth_client(instance, "http://mover.localhost/", "Mover", "github.com/example/mover")
    return client.id, clients.issue_pair(instance, client.id, IMPORTS).access_token


async def kept_by(server: Server) -> set[str]:
    """What somebody has, also while the server is down."""
    down = server.runtime is None
    if down:
        await server.start()
    found = await everything(server)
    if down:
        await server.crash()
    return found
