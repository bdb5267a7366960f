"""The instances of this server: who lives here, found by host, made, changed and taken down (spec/03 §1, §4).

The registry is a document store of its own with one document per instance. An instance is opened when a request
or a journal reader first needs it. Other domains take part in its life through three lists of async functions:
`on_created` (before anybody can reach the instance), `on_opened`, `on_modified` and `on_destroyed`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from inglenook.identity.instance import Instance, InstanceDoc, store_name
from inglenook.kernel.errors import Conflict, InvalidParameter, NotFound
from inglenook.kernel.names import domain_name
from inglenook.storage.contents import Contents
from inglenook.storage.documents.contract import Document, Hook, Index, Reader, Writer

if TYPE_CHECKING:
    from inglenook.environment import Environment
    from inglenook.identity.caller import SharingMembers
    from inglenook.peers.peers import Peers
    from inglenook.storage.blobs.contract import BlobStores
    from inglenook.storage.bus import ShortLived
    from inglenook.storage.documents.contract import DocumentStore, DocumentStores

REGISTRY = "registry"
INSTANCES = "instances"

LifeStep = Callable[[Instance], Awaitable[None]]
_PAGE = 500
_MAX_CACHED_HOSTS = 10_000


@dataclass(frozen=True, slots=True)
class HostMatch:
    """What a Host header designates.

    `slug` is the web app of an app host, empty for the instance itself. `domain` is the name by which the instance
    was called (its domain or an alias): pages and cookies use it. `old` tells that this name is a former one:
    answer 308 to the same path on the current domain.
    """

    instance: Instance
    slug: str
    domain: str
    old: bool = False


class Seed(Protocol):
    """Fills the store of a new instance, before it can be reached."""

    def __call__(self, instance: Instance) -> Awaitable[None]:
        """Write the first documents."""
        ...


def _names(doc_id: str, body: dict[str, Any]) -> Iterable[bytes]:
    """The keys of the registry's index: every name, and the prefix, that no other instance may take."""
    for name in {body["domain"], body.get("old_domain") or "", *body.get("domain_aliases", ())}:
        if name:
            yield b"name\x00" + str(name).encode()
    yield b"prefix\x00" + str(body["prefix"]).encode()


REGISTRY_INDEXES = (Index("instances-by-name", INSTANCES, _names, version=1),)


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
    ) -> None:
        self.env = env
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
        self._open: dict[str, Instance] = {}
        self._ids: dict[str, str] = {}  # of the open instances, by prefix
        self._opening: dict[str, asyncio.Lock] = {}
        self._hosts: dict[str, HostMatch] = {}
        self._registry: DocumentStore | None = None
        self._changing = asyncio.Lock()
        self._destroying: set[str] = set()
        self._seen = 0  # the sequence up to which the registry is known here

    async def start(self) -> None:
        """Open the registry and finish what a crash interrupted."""
        self._registry = await self.stores.open(REGISTRY, indexes=REGISTRY_INDEXES)
        self._registry.subscribe(lambda seq: self._hosts.clear())
        for document in await self._documents():
            if _decode(document).deleting:
                await self._destroy(await self._instance(document))

    @property
    def registry(self) -> DocumentStore:
        """The registry's store, also the place of records that belong to the whole server."""
        assert self._registry is not None, "Instances.start() was not awaited"
        return self._registry

    # -- finding
    async def by_host(self, host: str) -> HostMatch | None:
        """What a Host header designates, None for an unknown host (spec/03 §1.2)."""
        host = self._normal(host)
        match = self._hosts.get(host)
        if match is None:
            match = await self._look_up(host)
            if match is None:
                return None
            if len(self._hosts) >= _MAX_CACHED_HOSTS:
                self._hosts.clear()
            self._hosts[host] = match
        return match

    async def get(self, domain: str) -> Instance:
        """The instance of a domain or alias. Raises NotFound."""
        document = await self._by_name(self._normal(domain))
        if document is None or _decode(document).deleting:
            raise NotFound(f"Instance {domain} was not found")
        return await self._instance(document)

    async def by_prefix(self, prefix: str) -> Instance:
        """The instance whose store has this name. Raises NotFound."""
        found = await self.registry.read(
            lambda view: view.index_docs(REGISTRY_INDEXES[0], start=b"prefix\x00" + prefix.encode(), limit=1)
        )
        if not found or _decode(found[0][1]).prefix != prefix:
            raise NotFound(f"Instance {prefix} was not found")
        return await self._instance(found[0][1])

    async def list(self) -> list[Instance]:
        """All instances, by domain; opens each of them."""
        return [await self._instance(document) for document in await self._documents()]

    def opened(self) -> list[Instance]:
        """The instances that are open in this process now."""
        return list(self._open.values())

    async def documents(self) -> list[InstanceDoc]:
        """The registry documents of all instances by domain, without opening any."""
        return [_decode(document) for document in await self._documents()]

    async def count(self) -> int:
        """How many instances live here."""
        return (await self.registry.read(lambda view: view.status(INSTANCES))).live

    # -- life
    async def create(self, doc: InstanceDoc, seed: Seed) -> Instance:
        """Make an instance: its store is filled by `seed` and `on_created`, then it becomes reachable.

        `doc` comes without prefix and secrets (`identity.creation` builds it). Raises InvalidParameter (a domain
        that cannot be one), Conflict (a name in use). What a crash left half done is thrown away by the next try.
        """
        domain = self.check_domain(doc.domain)
        aliases = [self.check_domain(alias) for alias in doc.domain_aliases]
        random = self.env.random
        doc = msgspec.structs.replace(
            doc,
            domain=domain,
            domain_aliases=aliases,
            old_domain=self._normal(doc.old_domain) if doc.old_domain else "",
            prefix=prefix_of(domain),
            session_secret=random.bytes(64),
            oauth_secret=random.bytes(128),
            cli_secret=random.bytes(128),
            created_at=self.env.clock.timestamp(),
        )
        async with self._changing, self.stores.making(doc.prefix):
            await self.registry.read(lambda view: _check_free(view, doc, own_id=""))
            if self.stores.exists(doc.prefix):
                await self.stores.destroy(doc.prefix)
                await self.blobs.of(doc.prefix).destroy()
            instance = await self._assemble(random.document_id(), "", doc)
            await seed(instance)
            for step in self.on_created:
                await step(instance)

            def enter(tx: Writer) -> Document:
                _check_free(tx, instance.doc, own_id="")
                return tx.put(INSTANCES, instance.id, instance.doc.body())

            instance.rev = (await self.registry.write(enter)).rev
            self._open[instance.id] = instance
            self._ids[instance.prefix] = instance.id
            self._hosts.clear()
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
            new = change(_decode(document))
            _check_free(tx, new, own_id=instance.id)
            body = new.body()
            if body == document.body:
                return document, new
            return tx.put(INSTANCES, instance.id, body, rev=document.rev), new

        written = await self.registry.write(apply)
        if written is None:  # still being made: nothing is in the registry yet
            instance.doc = change(instance.doc)
        else:
            self._hosts.clear()
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
        doc = instance.doc
        last = max(doc.generation, doc.former_generation) + 1  # of a draft, maybe
        for generation in {doc.generation, max(doc.former_generation, 0), last}:
            await self._destroy_store(store_name(doc.prefix, generation))

        await self.registry.write(lambda tx: _take_out(tx, instance.id))
        self._open.pop(instance.id, None)
        self._opening.pop(instance.id, None)
        self._hosts.clear()

    async def _destroy_store(self, name: str) -> None:
        await self.stores.destroy(name)
        await self.blobs.of(name).destroy()

    # -- all data replaced (spec/12 §11)
    async def draft(self, instance: Instance) -> Instance:
        """A second set of data for an instance, empty, that nobody can reach; what an earlier one left is thrown
        away."""
        doc = instance.doc
        generation = max(doc.generation, doc.former_generation) + 1
        await self._destroy_store(store_name(doc.prefix, generation))
        return await self._assemble(instance.id, "", msgspec.structs.replace(doc, generation=generation))

    async def discard(self, draft: Instance) -> None:
        """Throw a draft away."""
        await self._destroy_store(draft.doc.store_name)

    async def discard_abandoned(self, instance: Instance) -> bool:
        """Throw the draft of a process that was killed away; False when there is none."""
        doc = instance.doc
        name = store_name(doc.prefix, max(doc.generation, doc.former_generation) + 1)
        if not self.stores.exists(name):
            return False
        await self._destroy_store(name)
        return True

    async def adopt(self, instance: Instance, draft: Instance, *, keep_until: str) -> None:
        """Make a draft the data of its instance, in one write of the registry. The data before it is kept until a
        moment (RFC 3339); what was kept of an earlier time goes."""
        before = instance.doc

        def switch(doc: InstanceDoc) -> InstanceDoc:
            return msgspec.structs.replace(
                doc,
                generation=draft.doc.generation,
                former_generation=doc.generation,
                former_until=keep_until,
            )

        await self.modify(instance, switch)
        if before.former_generation >= 0:
            await self._destroy_store(store_name(before.prefix, before.former_generation))

    async def take_back(self, instance: Instance) -> None:
        """Make the former data current again; the present one takes its place. Raises Conflict when there is none."""

        def switch(doc: InstanceDoc) -> InstanceDoc:
            if doc.former_generation < 0:
                raise Conflict("There is no former data of this instance any more")
            return msgspec.structs.replace(doc, generation=doc.former_generation, former_generation=doc.generation)

        await self.modify(instance, switch)

    async def forget_former(self, instance: Instance) -> None:
        """Throw the former data of an instance away."""
        former = instance.doc.former_generation
        if former < 0:
            return
        await self.modify(instance, lambda doc: msgspec.structs.replace(doc, former_generation=-1, former_until=""))
        await self._destroy_store(store_name(instance.prefix, former))

    # -- all data put back from a backup (spec/10 §3)
    async def check_restorable(self, documents: Sequence[Document]) -> None:
        """Raise Conflict when an instance that stays has a name of one that is to come back from a backup."""

        def check(view: Reader) -> None:
            for document in documents:
                doc = _decode(document)
                present = _with_prefix(view, doc.prefix)
                _check_free(view, doc, own_id=present.id if present else "")

        await self.registry.read(check)

    async def restore(self, document: Document, fill: Callable[[str], Awaitable[None]]) -> None:
        """Put back an instance as the registry of a backup has it; `fill` makes the store of a name, and its blobs.

        It takes the place of the one with the same prefix, if there is one, in one write of the registry when all is
        there. Nobody is told that this one goes. Raises Conflict."""
        async with self._changing:
            present = await self.registry.read(lambda view: _with_prefix(view, _decode(document).prefix))
            before = _decode(present) if present is not None else None
            generation = 0 if before is None else max(before.generation, before.former_generation) + 1
            doc = msgspec.structs.replace(
                _decode(document),
                generation=generation,
                former_generation=-1 if before is None else before.generation,
                former_until="" if before is None else self.env.clock.timestamp(),  # after a crash it is tidied away
                deleting=False,
            )
            await self.check_restorable([document])
            await self._destroy_store(doc.store_name)
            await fill(doc.store_name)

            def enter(tx: Writer) -> Document:
                current = _with_prefix(tx, doc.prefix)
                own = current is not None and current.id == document.id
                if current is not None and not own:
                    tx.delete(INSTANCES, current.id, current.rev)
                _check_free(tx, doc, own_id=document.id)
                return tx.put(INSTANCES, document.id, doc.body(), rev=current.rev if own and current else None)

            entered = await self.registry.write(enter)
            self._hosts.clear()
            if present is not None and present.id != document.id and (former := self._open.get(present.id)):
                await self._forget(former)
            instance = await self._instance(entered)
            if before is not None and before.former_generation >= 0:
                await self._destroy_store(store_name(doc.prefix, before.former_generation))
            await self.forget_former(instance)

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
        instance.contents = Contents(instance.store, self.blobs.of(name), self.env)
        for step in self.on_opened:
            await step(instance)
        if self.claims is None or self.claims.holds(instance):
            await self.claimed(instance)

    def check_domain(self, domain: str) -> str:
        """A domain in its normal form. Raises InvalidParameter `domain`."""
        normal = domain_name(domain)
        if self.env.config.subdomains == "flat" and "-" in normal.partition(".")[0]:
            raise InvalidParameter("In flat mode the first label of a domain has no hyphen", parameter="domain")
        return self._without_default_port(normal)

    # -- background work, and other processes
    async def tended(self) -> list[Instance]:
        """The instances that this process works for in the background now, by domain; opens each of them."""
        if self.claims is not None:
            return self.at_work()
        return [instance for instance in await self.list() if not instance.doc.deleting]

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

    async def look_around(self) -> dict[str, str]:
        """The instances of the registry: prefix by id. `look_again` tells what comes after."""

        def read(view: Reader) -> int:
            return view.status(INSTANCES).last_seq

        self._seen = await self.registry.read(read)
        return {document.id: document.body["prefix"] for document in await self._documents()}

    async def look_again(self) -> dict[str, str | None]:
        """Take notice of what other processes have done to the registry; gives the instances that have changed: prefix
        by id, None for one that is gone."""
        changed: dict[str, str | None] = {}

        def read(view: Reader) -> list[tuple[int, Document | None]]:
            feed = view.changes(INSTANCES, since=self._seen, limit=_PAGE)
            return [(entry.seq, view.winner(INSTANCES, entry.id)) for entry in feed]

        while page := await self.registry.read(read):
            for seq, document in page:
                self._seen = seq
                if document is None or document.id in self._destroying:
                    continue
                gone = document.deleted or _decode(document).deleting
                changed[document.id] = None if gone else document.body["prefix"]
                await self._notice(document, gone=gone)
        return changed

    async def _notice(self, document: Document, *, gone: bool) -> None:
        self._hosts.clear()
        instance = self._open.get(document.id)
        if instance is None:
            return
        if gone:
            await self._forget(instance)
        elif instance.rev != document.rev:
            await self._take(instance, document.rev, _decode(document))
            for step in self.on_modified:
                await step(instance)

    async def _forget(self, instance: Instance) -> None:
        """Close an instance that another process has destroyed."""
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
    async def _instance(self, document: Document) -> Instance:
        instance = self._open.get(document.id)
        if instance is None:
            lock = self._opening.setdefault(document.id, asyncio.Lock())
            async with lock:
                instance = self._open.get(document.id)
                if instance is None:
                    doc = _decode(document)
                    if former := self._open.get(self._ids.get(doc.prefix, "")):
                        await self._forget(former)  # another process has destroyed it and made a new one of that name
                    instance = await self._assemble(document.id, document.rev, doc)
                    self._open[document.id] = instance
                    self._ids[doc.prefix] = document.id
                    if not instance.doc.deleting:
                        await self._run_opened(instance)
        if instance.rev != document.rev:
            await self._take(instance, document.rev, _decode(document))
        return instance

    async def _assemble(self, id: str, rev: str, doc: InstanceDoc) -> Instance:
        store = await self.stores.open(doc.store_name, indexes=self.indexes, hooks=self.hooks)
        contents = Contents(store, self.blobs.of(doc.store_name), self.env)
        return Instance(
            id=id, rev=rev, doc=doc, store=store, contents=contents, peers=self.peers,
            ephemeral=self.ephemeral, env=self.env, registry=self,
        )  # fmt: skip

    # -- looking up
    async def _look_up(self, host: str) -> HostMatch | None:
        slug, rest = self._split(host)
        for name, app in ((rest, slug), (host, "")):
            document = await self._by_name(name) if name else None
            if document is None:
                continue
            doc = _decode(document)
            if doc.deleting:
                return None
            old = name == doc.old_domain and name != doc.domain and name not in doc.domain_aliases
            return HostMatch(await self._instance(document), app, doc.domain if old else name, old)
        return None

    def _split(self, host: str) -> tuple[str, str]:
        label, dot, rest = host.partition(".")
        if not dot:
            return "", ""
        if self.env.config.subdomains == "flat":
            own, hyphen, slug = label.partition("-")
            return (slug, f"{own}.{rest}") if hyphen and slug else ("", "")
        return label, rest

    async def _by_name(self, name: str) -> Document | None:
        return await self.registry.read(lambda view: _find(view, name))

    async def _documents(self) -> list[Document]:
        def read(view: Reader) -> list[Document]:
            found: list[Document] = []
            after = ""
            while page := view.all_docs(INSTANCES, start=after, limit=_PAGE):
                found += page
                after = page[-1].id + "\x00"
            return found

        return sorted(await self.registry.scan(read), key=lambda document: document.body["domain"])

    def _normal(self, name: str) -> str:
        name = name.strip().lower().rstrip(".")
        if "xn--" in name:
            try:
                name = domain_name(name)
            except InvalidParameter:
                return name
        return self._without_default_port(name)

    def _without_default_port(self, name: str) -> str:
        return name.removesuffix(":80" if self.env.config.scheme == "http" else ":443")


def prefix_of(domain: str) -> str:
    """The name of the databases of an instance, fixed when it is made (spec/03 §4.1)."""
    return "cozy" + hashlib.sha256(domain.encode()).digest()[:16].hex()


def _decode(document: Document) -> InstanceDoc:
    return msgspec.json.decode(document.raw, type=InstanceDoc)


def _find(view: Reader, name: str) -> Document | None:
    key = b"name\x00" + name.encode()
    found = view.index_docs(REGISTRY_INDEXES[0], start=key, end=key + b"\x00", limit=1)
    return found[0][1] if found else None


def _with_prefix(view: Reader, prefix: str) -> Document | None:
    """The registry's document of the instance that has a prefix."""
    key = b"prefix\x00" + prefix.encode()
    found = view.index_docs(REGISTRY_INDEXES[0], start=key, end=key + b"\x00", limit=1)
    return found[0][1] if found else None


def _take_out(tx: Writer, id: str) -> None:
    document = tx.get(INSTANCES, id)
    if document is not None:
        tx.delete(INSTANCES, id, document.rev)


def _check_free(view: Reader, doc: InstanceDoc, *, own_id: str) -> None:
    for key in _names("", {"domain": doc.domain, "old_domain": doc.old_domain, "domain_aliases": doc.domain_aliases,
                           "prefix": doc.prefix}):  # fmt: skip
        for entry in view.index(REGISTRY_INDEXES[0], start=key, end=key + b"\x00", limit=2):
            if entry.id != own_id:
                raise Conflict(f"Domain {doc.domain} already exists")
