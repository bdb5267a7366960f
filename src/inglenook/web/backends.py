"""Where a server keeps its data, chosen by three addresses of the configuration (docs/decisions/0010).

Without any, everything is in the data folder and in this process. With `database_url` on PostgreSQL, any number of
processes serve the same instances; `blobs_url` puts large contents into an object store, and `bus_url` lets the
processes wake each other over Redis (without it, over PostgreSQL). Several processes of one server over its data folder
are joined by the hub that started them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

from inglenook.environment import Config, Environment
from inglenook.storage.blobs.local import LocalBlobStores
from inglenook.storage.bus import Bus, Ephemeral, ShortLived
from inglenook.storage.documents.sqlite import SqliteStores
from inglenook.storage.hub import HubClient, HubLeases, HubValues
from inglenook.storage.leases import Leases

if TYPE_CHECKING:
    from inglenook.storage.blobs.contract import BlobStores
    from inglenook.storage.documents.contract import DocumentStores

NEEDED = {"postgresql": "psycopg", "s3": "obstore", "redis": "redis", "rediss": "redis"}
"""The packages that the schemes of the addresses need; they come with the extra `distributed`."""

Step = Callable[[], Awaitable[object]]
BlobPresent = Callable[[str, str], bool]


@dataclass
class Backends:
    """The stores of a server, and what joins it with other processes.

    `leases` are there when several processes may work for the same instances. `steps` are what `start` does, each with
    what ends it."""

    stores: DocumentStores
    blobs: BlobStores
    values: ShortLived
    leases: Leases | None = None
    steps: list[tuple[Step | None, Step]] = field(default_factory=list[tuple[Step | None, Step]])
    _begun: list[Step] = field(default_factory=list[Step])

    async def start(self) -> None:
        """Connect. Raises Unavailable."""
        for begin, end in self.steps:
            self._begun.append(end)
            if begin is not None:
                await begin()

    async def stop(self) -> None:
        """Close what was begun, in the reverse order."""
        while self._begun:
            await self._begun.pop()()


def is_shared(config: Config) -> bool:
    """Whether other processes work with the same data."""
    return config.database_url.startswith("postgresql:")


def missing(config: Config) -> list[str]:
    """The packages that the configuration needs and that are not installed."""
    addresses = (config.database_url, config.blobs_url, config.bus_url)
    needed = {NEEDED.get(address.partition(":")[0]) for address in addresses}
    return sorted(name for name in needed if name is not None and find_spec(name) is None)


def choose(env: Environment, hub: HubClient | None = None, *, threads: bool = True) -> Backends:
    """The backends of a configuration, not connected yet. With `hub`, this is one of several processes of a server."""
    blobs, present = _blobs(env)
    if not is_shared(env.config):
        if hub is not None:
            return _over_hub(env, hub, blobs, present)
        stores = SqliteStores(env.config.data, env, threads=threads, blob_present=present)
        return Backends(stores, blobs, Ephemeral(env.clock), steps=[(None, stores.close)])
    return _over_redis(env, blobs, present) if env.config.bus_url else _over_postgres(env, blobs, present)


def _blobs(env: Environment) -> tuple[BlobStores, BlobPresent]:
    if env.config.blobs_url.startswith("s3:"):
        from inglenook.storage.blobs.objects import ObjectBlobStores

        objects = ObjectBlobStores(env.config.blobs_url, env)
        return objects, objects.present
    local = LocalBlobStores(env.config.data, env.clock)
    return local, lambda name, sha256: local.of(name).keep(sha256)


def _over_hub(env: Environment, hub: HubClient, blobs: BlobStores, present: BlobPresent) -> Backends:
    stores = SqliteStores(env.config.data, env, blob_present=present, bus=hub.bus, among_others=True)
    leases = Leases(HubLeases(hub), env.random.document_id(), env.clock, hub.bus)
    return Backends(stores, blobs, HubValues(hub), leases, [(None, stores.close)])


def _over_redis(env: Environment, blobs: BlobStores, present: BlobPresent) -> Backends:
    from inglenook.storage import redis_bus
    from inglenook.storage.documents.postgres import PostgresStores

    me, bus, redis = env.random.document_id(), Bus(), redis_bus.connect(env.config.bus_url)
    relay = redis_bus.RedisRelay(redis, bus, me)
    stores = PostgresStores(env.config.database_url, env, bus, blob_present=present)
    return Backends(
        stores,
        blobs,
        redis_bus.RedisValues(redis),
        Leases(redis_bus.RedisLeases(redis), me, env.clock, bus),
        [(None, redis.aclose), (relay.start, relay.stop), (None, stores.close)],
    )


def _over_postgres(env: Environment, blobs: BlobStores, present: BlobPresent) -> Backends:
    from inglenook.storage import postgres_bus
    from inglenook.storage.documents.postgres import PostgresStores

    me, bus, url = env.random.document_id(), Bus(), env.config.database_url
    tables, relay = postgres_bus.PostgresTables(url), postgres_bus.PostgresRelay(url, bus, me)
    stores = PostgresStores(url, env, bus, blob_present=present)
    return Backends(
        stores,
        blobs,
        postgres_bus.PostgresValues(tables),
        Leases(postgres_bus.PostgresLeases(tables), me, env.clock, bus),
        [(tables.start, tables.close), (relay.start, relay.stop), (None, stores.close)],
    )
