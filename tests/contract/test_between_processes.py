"""What processes tell each other: wake-ups, short-lived values and leases, over Redis and over PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.services import schema_url

from inglenook.environment import Clock
from inglenook.kernel.errors import Unavailable
from inglenook.storage import leases, postgres_bus, redis_bus
from inglenook.storage.bus import Bus, Ephemeral, ShortLived
from inglenook.storage.documents.postgres import PostgresStores
from inglenook.storage.leases import Leases, LeaseTable, LocalLeases

from .backends import SteppedClock, environment

pytestmark = pytest.mark.anyio
TODO = "io.cozy.todos"
WAYS = ["redis", "postgres"]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that messages of other connections bring about."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """The URL of the server of a way."""

    def find(way: str) -> str:
        if way == "redis":
            return request.getfixturevalue("redis_url")
        return schema_url(request.getfixturevalue("TEST_POSTGRES_URL"), tmp_path)

    return find


@asynccontextmanager
async def joined(way: str, url: str, bus: Bus, me: str) -> AsyncIterator[Any]:
    """A bus that is joined with those of other processes."""
    if way == "redis":
        async with redis_bus.connect(url) as redis:
            relay = redis_bus.RedisRelay(redis, bus, me)
            await relay.start()
            yield relay
            await relay.stop()
    else:
        relay = postgres_bus.PostgresRelay(url, bus, me)
        await relay.start()
        yield relay
        await relay.stop()


@asynccontextmanager
async def tables(way: str, url: str) -> AsyncIterator[tuple[ShortLived, LeaseTable]]:
    if way == "redis":
        async with redis_bus.connect(url) as redis:
            await redis.flushall()
            yield redis_bus.RedisValues(redis), redis_bus.RedisLeases(redis)
    elif way == "postgres":
        shared = postgres_bus.PostgresTables(url)
        await shared.start()
        yield postgres_bus.PostgresValues(shared), postgres_bus.PostgresLeases(shared)
        await shared.close()
    else:
        yield Ephemeral(), LocalLeases(Clock())


# -- wake-ups


@pytest.mark.parametrize("way", WAYS)
async def test_a_wake_up_reaches_the_other_processes_and_not_oneself_twice(way: str, url: Callable[[str], str]) -> None:
    heard: dict[str, list[int]] = {"one": [], "two": [], "three": []}
    async with AsyncExitStack() as stack:
        buses: dict[str, Bus] = {}
        for name in heard:
            buses[name] = Bus()
            await stack.enter_async_context(joined(way, url(way), buses[name], name))
            buses[name].listen("alice", heard[name].append)
        buses["one"].wake("bob", 3)
        buses["one"].wake("alice", 7)
        await until(lambda: all(7 in numbers for numbers in heard.values()))
        buses["two"].wake("alice", 8)
        await until(lambda: all(8 in numbers for numbers in heard.values()))
    assert all(numbers == [7, 8] for numbers in heard.values())


@pytest.mark.parametrize("way", WAYS)
async def test_many_wake_ups_become_few_messages_and_the_last_number_arrives(
    way: str, url: Callable[[str], str]
) -> None:
    here, there, heard = Bus(), Bus(), dict[int, int]()
    async with joined(way, url(way), here, "here"), joined(way, url(way), there, "there"):
        for topic in range(500):
            there.listen(f"store:{topic:040}", lambda number, topic=topic: heard.update({topic: number}))
        for number in range(1, 21):
            for topic in range(500):
                here.wake(f"store:{topic:040}", number)
        await until(lambda: len(heard) == 500 and set(heard.values()) == {20})


async def test_a_store_is_told_of_the_commits_of_another_process(tmp_path: Path, url: Callable[[str], str]) -> None:
    address, told = url("postgres"), list[int]()
    async with AsyncExitStack() as stack:
        opened: list[Any] = []
        for name in ("web", "worker"):
            bus = Bus()
            await stack.enter_async_context(joined("postgres", address, bus, name))
            stores = PostgresStores(address, environment(), bus, blob_present=lambda name, sha256: False)
            stack.push_async_callback(stores.close)
            opened.append(await stores.open("alice"))
        web, worker = opened
        worker.subscribe(told.append)
        written = await web.write(lambda tx: tx.put(TODO, "t", {}))
        await until(lambda: written.seq in told)
        assert (await worker.read(lambda view: view.find(TODO, "t"))).rev == written.rev


# -- short-lived values


@pytest.mark.parametrize("way", ["local", *WAYS])
async def test_values_are_kept_taken_and_forgotten(way: str, url: Callable[[str], str]) -> None:
    async with tables(way, "" if way == "local" else url(way)) as (values, _):
        await values.put("k", {"path": ["/é\0"], "n": 1.5}, 60)
        assert await values.get("k") == {"path": ["/é\0"], "n": 1.5}
        await values.put("k", "again", 60)
        assert [await values.take("k"), await values.take("k"), await values.get("k")] == ["again", None, None]
        await values.put("k", 1, 60)
        await values.delete("k")
        await values.delete("k")
        assert await values.get("k") is None
        taken = [values.take("once") for _ in range(10)]
        await values.put("once", "v", 60)
        assert sorted(filter(None, await asyncio.gather(*taken))) == ["v"]
        await values.put("short", "v", 0.05)
        async with asyncio.timeout(10):
            while await values.get("short") is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


# -- leases


@pytest.mark.parametrize("way", ["local", *WAYS])
async def test_a_lease_has_one_holder_until_it_ends_or_is_given_back(way: str, url: Callable[[str], str]) -> None:
    async with tables(way, "" if way == "local" else url(way)) as (_, table):
        assert await table.take(["a", "b"], "one", 60) == {"a", "b"}
        assert await table.take(["b", "c"], "two", 60) == {"c"}
        assert await table.take(["a", "b", "c"], "one", 60) == {"a", "b"}
        await table.give_back(["a", "c"], "one")
        assert await table.take(["a", "b", "c"], "two", 0.05) == {"a", "c"}
        async with asyncio.timeout(10):
            while await table.take(["a"], "one", 60) != {"a"}:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


class Worker:
    """A process that wants leases, and what it works for."""

    def __init__(self, table: LeaseTable, name: str, clock: Clock | None = None) -> None:
        self.leases = Leases(table, name, clock or Clock())
        self.working: set[str] = set()
        self.most = 0

    def want(self, *names: str) -> None:
        for name in names:
            self.leases.want(name, lambda name=name: self.begin(name), lambda name=name: self.end(name))

    async def begin(self, name: str) -> None:
        self.working.add(name)

    async def end(self, name: str) -> None:
        self.working.discard(name)


async def test_another_process_takes_over_what_one_gives_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)
    table = LocalLeases(Clock())
    one, two = Worker(table, "one"), Worker(table, "two")
    await one.leases.start()
    one.want("a", "b")
    await until(lambda: one.working == {"a", "b"})
    await two.leases.start()
    two.want("a", "b")
    await asyncio.sleep(0)
    assert two.working == set()
    assert one.leases.holds("a")
    assert not two.leases.holds("a")
    await one.leases.renounce("a")
    assert one.working == {"b"}
    await until(lambda: two.working == {"a"})
    await one.leases.stop()
    assert one.working == set()
    await until(lambda: two.working == {"a", "b"})
    await two.leases.stop()


async def test_another_process_takes_over_when_one_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "SECONDS", 0.6)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.1)
    table = LocalLeases(Clock())
    one, two = Worker(table, "one"), Worker(table, "two")
    for worker in (one, two):
        await worker.leases.start()
        worker.want("a")
    await until(lambda: one.working == {"a"})
    assert one.leases._task is not None
    one.leases._task.cancel()  # it renews no more
    await until(lambda: two.working == {"a"})
    assert not one.leases.holds("a")
    await two.leases.stop()


class Failing(LocalLeases):
    """A table that is out of reach from some moment on."""

    reachable = True

    async def take(self, names: Any, holder: str, seconds: float) -> set[str]:
        if not self.reachable:
            raise Unavailable("gone")
        return await super().take(names, holder, seconds)


async def test_who_cannot_renew_stops_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SteppedClock()
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.01)
    monkeypatch.setattr(leases, "MARGIN_SECONDS", 2.0)
    table = Failing(clock)
    worker = Worker(table, "one", clock)
    await worker.leases.start()
    worker.want("a")
    await until(lambda: worker.working == {"a"})
    table.reachable = False
    clock.step(leases.SECONDS - 2.5)
    assert worker.leases.holds("a")
    for _ in range(3):
        await asyncio.sleep(0.02)
    assert worker.working == {"a"}
    clock.step(0.6)
    await until(lambda: worker.working == set())
    assert not worker.leases.holds("a")
    table.reachable = True
    await until(lambda: worker.working == {"a"})
    await worker.leases.stop()
