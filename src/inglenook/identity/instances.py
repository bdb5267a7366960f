"""The instances of this server: who lives here, found by host, made, changed and taken down (spec/03 §1, §4).

The registry is a document store of its own with one document per instance. An instance is opened when a request
or a journal reader first needs it. Other domains take part in its life through three lists of async functions:
`on_created` (before anybody can reach the instance), `on_opened`, `on_modified` and `on_destroyed`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from inglenook.identity import generations, registry_documents
from inglenook.identity.host_names import HostMatch, HostNames
from inglenook.identity.instance import Instance, InstanceDoc
from inglenook.identity.registry_documents import (
    INSTANCES,
    REGISTRY,
    REGISTRY_INDEXES,
    all_of,
    check_free,
    decode,
    prefix_of,
    take_out,
)
from inglenook.kernel.errors import DomainError, NotFound
from inglenook.storage.contents import Contents
from inglenook.storage.documents.contract import Document, Hook, Index, Writer

if TYPE_CHECKING:
    from inglenook.environment import Environment
    from inglenook.identity.caller import SharingMembers
    from inglenook.identity.linked_apps import LinkedApps
    from inglenook.peers.peers import Peers
    from inglenook.storage.blobs.contract import BlobStores
    from inglenook.storage.bus import ShortLived
    from inglenook.storage.documents.contract import DocumentStore, DocumentStores

LifeStep = Callable[[Instance], Awaitable[None]]

log = structlog.get_logger("inglenook.identity")


class Seed(Protocol):
    """Fills the store of a new instance, before it can be reached."""

    def __call__(self, instance: Instance) -> Awaitable[None]:
        """Write the first documents."""
        ...


class Claims(Protocol):
    """Which instances this process works for in the background, when others serve the same data."""

    def holds(self, instance: Instance) -> bool:
        """Whether it works for an instance now."""
        ...


class Instances:
    """All the instances. `await start()` before the first use."""

    def __init__(
        self,
        env: Environment,
        stores: DocumentStores,
        blobs: BlobStores,
        peers: Peers,
        indexes: Sequence[Index] = (),
        hooks: Sequence[Hook] = (),
        *,
        ephemeral: ShortLived,
        threads: bool = True,
    ) -> None:
        self.env = env
        self._threads = threads
        self.stores = stores
        self.blobs = blobs
        self.peers = peers
        self.ephemeral = ephemeral
        self.indexes = list(indexes)
        self.hooks = list(hooks)
        self.on_created: list[LifeStep] = []
        self.on_opened: list[LifeStep] = []
        self.on_modified: list[LifeStep] = []
        self.on_destroyed: list[LifeStep] = []
        self.on_claimed: list[LifeStep] = []
        self.on_released: list[LifeStep] = []
        self.claims: Claims | None = None
        """Set when several processes work in the background: each runs `on_claimed` for the instances that are its
        own, and `on_released` when they are not any more. Without it, `on_claimed` runs when an instance opens."""
        self.sharing_members: SharingMembers | None = None
        """Set by the sharing domain: what a preview or interact code means to the sharing (spec/03 §8.3 step 5)."""
        self.linked_apps: LinkedApps | None = None
        """Set by the domain of apps: the apps that OAuth clients may be linked to."""
        self._open: dict[str, Instance] = {}
        self._ids: dict[str, str] = {}  # of the open instances, by prefix
        self._opening: dict[str, asyncio.Lock] = {}
        self._registry: DocumentStore | None = None
        self.hosts = HostNames(env.config, self.of_document)
        self.changing = asyncio.Lock()
        """Held while an instance is made or put back."""
        self._destroying: set[str] = set()

    async def start(self) -> None:
        """Open the registry and finish what a crash interrupted."""
        self._registry = await self.stores.open(REGISTRY, indexes=REGISTRY_INDEXES)
        self._registry.subscribe(lambda seq: self.hosts.forget())
        for document in await self._documents():
            if decode(document).deleting:
                await self._destroy(await self.of_document(document))

    @property
    def registry(self) -> DocumentStore:
        """The registry's store, also the place of records that belong to the whole server."""
        assert self._registry is not None, "Instances.start() was not awaited"
        return self._registry

    # -- finding
    async def by_host(self, host: str) -> HostMatch | None:
        """What a Host header designates, None for an unknown host (spec/03 §1.2)."""
        return await self.hosts.find(self.registry, host)

    async def get(self, domain: str) -> Instance:
        """The instance of a domain or alias. Raises NotFound."""
        document = await self._by_name(domain)
        if document is None or decode(document).deleting:
            raise NotFound(f"Instance {domain} was not found")
        return await self.of_document(document)

    async def by_prefix(self, prefix: str) -> Instance:
        """The instance whose store has this name. Raises NotFound."""
        found = await self.registry.read(lambda view: registry_documents.by_prefix(view, prefix))
        if found is None:
            raise NotFound(f"Instance {prefix} was not found")
        return await self.of_document(found)

    def opened(self) -> list[Instance]:
        """The instances that are open in this process now."""
        return list(self._open.values())

    async def documents(self) -> list[InstanceDoc]:
        """The registry documents of all instances by domain, without opening any."""
        return [decode(document) for document in await self._documents()]

    async def count(self) -> int:
        """How many instances live here."""
        return (await self.registry.read(lambda view: view.status(INSTANCES))).live

    # -- life
    async def create(self, doc: InstanceDoc, seed: Seed) -> Instance:
        """Make an instance: its store is filled by `seed` and `on_created`, then it becomes reachable.

        `doc` comes without prefix and secrets (`identity.creation` builds it). Raises InvalidParameter (a domain
        that cannot be one), Conflict (a name in use). What a crash left half done is thrown away by the next try.
        """
        domain = self.hosts.check_domain(doc.domain)
        aliases = [self.hosts.check_domain(alias) for alias in doc.domain_aliases]
        random = self.env.random
        doc = msgspec.structs.replace(
            doc,
            domain=domain,
            domain_aliases=aliases,
            old_domain=self.hosts.normal(doc.old_domain) if doc.old_domain else "",
            prefix=prefix_of(domain),
            session_secret=random.bytes(64),
            oauth_secret=random.bytes(128),
            cli_secret=random.bytes(128),
            created_at=self.env.clock.timestamp(),
        )
        async with self.changing, self.stores.making(doc.prefix):
            await self.registry.read(lambda view: check_free(view, doc, own_id=""))
            if self.stores.exists(doc.prefix):
                await self.stores.destroy(doc.prefix)
                await self.blobs.of(doc.prefix).destroy()
            instance = await self.assemble(random.document_id(), "", doc)
            await seed(instance)
            for step in self.on_created:
                await step(instance)

            def enter(tx: Writer) -> Document:
                check_free(tx, instance.doc, own_id="")
                return tx.put(INSTANCES, instance.id, instance.doc.body())

            instance.rev = (await self.registry.write(enter)).rev
            self._open[instance.id] = instance
            self._ids[instance.prefix] = instance.id
            self.hosts.forget()
        await self._run_opened(instance)
        return instance

    async def modify(self, instance: Instance, change: Callable[[InstanceDoc], InstanceDoc]) -> InstanceDoc:
        """Change the registry document: `change` is given the current one and returns the new one.

        Raises InvalidParameter and Conflict as `create`, and what `change` raises."""

        def apply(tx: Writer) -> tuple[Document, InstanceDoc] | None:
            document = tx.get(INSTANCES, instance.id)
            if document is None:
                if instance.rev:
                    raise NotFound(f"Instance {instance.domain} was not found")
                return None
            new = change(decode(document))
            check_free(tx, new, own_id=instance.id)
            body = new.body()
            if body == document.body:
                return document, new
            return tx.put(INSTANCES, instance.id, body, rev=document.rev), new

        written = await self.registry.write(apply)
        if written is None:  # still being made: nothing is in the registry yet
            instance.doc = change(instance.doc)
        else:
            self.hosts.forget()
            await self._take(instance, written[0].rev, written[1])
            for step in self.on_modified:
                await step(instance)
        return instance.doc

    async def destroy(self, instance: Instance) -> None:
        """Take an instance down with everything in it. It cannot be reached any more from the first moment on; a
        crash in between is finished by the next start."""
        self._destroying.add(instance.id)
        try:
            await self.modify(instance, lambda doc: msgspec.structs.replace(doc, deleting=True))
            await self._destroy(instance)
        finally:
            self._destroying.discard(instance.id)

    async def _destroy(self, instance: Instance) -> None:
        for step in self.on_destroyed:
            await step(instance)
        for name in generations.all_stores(instance.doc):
            await self.destroy_store(name)
        await self.registry.write(lambda tx: take_out(tx, instance.id))
        self._open.pop(instance.id, None)
        self._opening.pop(instance.id, None)
        self.hosts.forget()

    async def destroy_store(self, name: str) -> None:
        """Delete a store with its blobs, if it is there."""
        await self.stores.destroy(name)
        await self.blobs.of(name).destroy()

    async def _take(self, instance: Instance, rev: str, doc: InstanceDoc) -> None:
        """Take over what the registry says of an open instance."""
        had_moved = instance.doc.moved
        instance.rev, instance.doc = rev, doc
        await self._follow_generation(instance)
        tends = self.claims is None or self.claims.holds(instance)
        if had_moved != doc.moved and tends and not doc.deleting:  # what it does in the background is another thing now
            await self.released(instance)
            await self.claimed(instance)

    async def _follow_generation(self, instance: Instance) -> None:
        """Open the data that the registry names, when it is another than what is open."""
        if instance.generation == instance.doc.generation or instance.doc.deleting or not instance.rev:
            return
        await self.released(instance)
        name, instance.generation = instance.doc.store_name, instance.doc.generation
        instance.store = await self.stores.open(name, indexes=self.indexes, hooks=self.hooks)
        instance.contents = Contents(instance.store, self.blobs.of(name), self.env, threads=self._threads)
        for step in self.on_opened:
            await step(instance)
        if self.claims is None or self.claims.holds(instance):
            await self.claimed(instance)

    # -- background work, and other processes
    async def tended(self) -> list[Instance]:
        """The instances that this process works for in the background now, by domain; opens each of them, but for one
        that cannot be opened: it keeps no other waiting."""
        if self.claims is not None:
            return self.at_work()
        found: list[Instance] = []
        for document in await self._documents():
            if decode(document).deleting:
                continue
            try:
                found.append(await self.of_document(document))
            except DomainError as error:
                log.warning("instance_not_opened", instance=decode(document).domain, cause=str(error))
        return found

    def at_work(self) -> list[Instance]:
        """The open instances that this process works for in the background now."""
        claims = self.claims
        return [instance for instance in self.opened() if claims is None or claims.holds(instance)]

    async def claimed(self, instance: Instance) -> None:
        """Begin what is done in the background for an instance."""
        for step in self.on_claimed:
            await step(instance)

    async def released(self, instance: Instance) -> None:
        """End what is done in the background for an instance: another process does it."""
        for step in self.on_released:
            await step(instance)

    def is_being_destroyed(self, id: str) -> bool:
        """Whether this process is taking an instance down."""
        return id in self._destroying

    async def notice(self, document: Document, *, gone: bool) -> None:
        """Take notice of what another process has written into the registry."""
        self.hosts.forget()
        instance = self._open.get(document.id)
        if instance is None:
            return
        if gone:
            await self.close(instance)
        elif instance.rev != document.rev:
            await self._take(instance, document.rev, decode(document))
            for step in self.on_modified:
                await step(instance)

    async def close(self, instance: Instance) -> None:
        """Close an instance whose place in the registry is gone."""
        self._open.pop(instance.id, None)
        self._opening.pop(instance.id, None)
        await self.released(instance)
        await instance.store.close()

    async def _run_opened(self, instance: Instance) -> None:
        for step in self.on_opened:
            await step(instance)
        if self.claims is None:
            await self.claimed(instance)

    # -- opening
    def open_one(self, id: str) -> Instance | None:
        """The instance with an id, if it is open here."""
        return self._open.get(id)

    async def of_document(self, document: Document) -> Instance:
        """The instance of a document of the registry; opens it."""
        instance = self._open.get(document.id)
        if instance is None:
            lock = self._opening.setdefault(document.id, asyncio.Lock())
            async with lock:
                instance = self._open.get(document.id)
                if instance is None:
                    doc = decode(document)
                    if former := self._open.get(self._ids.get(doc.prefix, "")):
                        await self.close(former)  # another process has destroyed it and made a new one of that name
                    instance = await self.assemble(document.id, document.rev, doc)
                    self._open[document.id] = instance
                    self._ids[doc.prefix] = document.id
                    if not instance.doc.deleting:
                        await self._run_opened(instance)
        if instance.rev != document.rev:
            await self._take(instance, document.rev, decode(document))
        return instance

    async def assemble(self, id: str, rev: str, doc: InstanceDoc) -> Instance:
        """An instance with its data opened, which nobody can reach yet."""
        store = await self.stores.open(doc.store_name, indexes=self.indexes, hooks=self.hooks)
        contents = Contents(store, self.blobs.of(doc.store_name), self.env, threads=self._threads)
        return Instance(
            id=id, rev=rev, doc=doc, store=store, contents=contents, peers=self.peers,
            ephemeral=self.ephemeral, env=self.env, registry=self,
        )  # fmt: skip

    async def _by_name(self, name: str) -> Document | None:
        name = self.hosts.normal(name)
        return await self.registry.read(lambda view: registry_documents.by_name(view, name))

    async def _documents(self) -> list[Document]:
        return await self.registry.scan(all_of)
