"""What processes tell each other: wake-ups, short-lived values and leases, over a hub, Redis and PostgreSQL."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
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
from inglenook.storage.documents.sqlite import SqliteStores
from inglenook.storage.hub import Hub, HubClient, HubLeases, HubValues
from inglenook.storage.leases import Leases, LeaseTable, LocalLeases

from .backends import SteppedClock, environment

pytestmark = pytest.mark.anyio
TODO = "io.cozy.todos"


class Happenings:
    """Tells whoever waits that something has happened."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def happened(self, *deeds: object) -> None:
        """It has; `deeds` are what was done by then."""
        self._event.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, looking whenever something has happened."""
        async with asyncio.timeout(30):
            while not condition():
                await self._event.wait()
                self._event.clear()


async def over_time(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask until what another server forgets by itself is forgotten."""
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - that server tells nobody
            await asyncio.sleep(0.01)


class Way:
    """A way to join processes. `bus` gives one that is joined with the others, `tables` the values and leases."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind = kind
        self.url = url
        self._hub = Hub(Clock())
        self._serving: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def bus(self, me: str) -> AsyncIterator[Bus]:
        """The bus of a process."""
        bus = Bus()
        if self.kind == "hub":
            async with self.at_hub(bus):
                yield bus
        elif self.kind == "redis":
            async with redis_bus.connect(self.url) as redis:
                relay = redis_bus.RedisRelay(redis, bus, me)
                await relay.start()
                yield bus
                await relay.stop()
        else:
            relay = postgres_bus.PostgresRelay(self.url, bus, me)
            await relay.start()
            yield bus
            await relay.stop()

    @asynccontextmanager
    async def tables(self) -> AsyncIterator[tuple[ShortLived, LeaseTable]]:
        """What the processes agree on."""
        if self.kind == "hub":
            async with self.at_hub(Bus()) as hub:
                yield HubValues(hub), HubLeases(hub)
        elif self.kind == "redis":
            async with redis_bus.connect(self.url) as redis:
                await redis.flushall()
                yield redis_bus.RedisValues(redis), redis_bus.RedisLeases(redis)
        elif self.kind == "postgres":
            shared = postgres_bus.PostgresTables(self.url)
            await shared.start()
            yield postgres_bus.PostgresValues(shared), postgres_bus.PostgresLeases(shared)
            await shared.close()
        else:
            yield Ephemeral(), LocalLeases(Clock())

    @asynccontextmanager
    async def at_hub(self, bus: Bus) -> AsyncIterator[HubClient]:
        here, there = socket.socketpair()
        serving = asyncio.create_task(self._hub.serve(here, asyncio.Event()))
        hub = HubClient(there, bus)
        await hub.start()
        yield hub
        await hub.stop()
        await serving


@pytest.fixture
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Way:
    kind: str = request.param
    match kind:
        case "redis":
            return Way(kind, request.getfixturevalue("redis_url"))
        case "postgres":
            return Way(kind, schema_url(request.getfixturevalue("TEST_POSTGRES_URL"), tmp_path))
        case _:
            return Way(kind, "")


over_each_way = pytest.mark.parametrize("way", ["hub", "redis", "postgres"], indirect=True)
and_in_one_process = pytest.mark.parametrize("way", ["local", "hub", "redis", "postgres"], indirect=True)


# -- wake-ups


@over_each_way
async def test_a_wake_up_reaches_the_other_processes_and_not_oneself_twice(way: Way) -> None:
    heard: dict[str, list[int]] = {"one": [], "two": [], "three": []}
    news = Happenings()
    async with AsyncExitStack() as stack:
        buses: dict[str, Bus] = {}
        for name in heard:
            bus = buses[name] = await stack.enter_async_context(way.bus(name))
            bus.listen("alice", lambda number, name=name: news.happened(heard[name].append(number)))
        buses["one"].wake("bob", 3)
        buses["one"].wake("alice", 7)
        await news.until(lambda: all(7 in numbers for numbers in heard.values()))
        buses["two"].wake("alice", 8)
        await news.until(lambda: all(8 in numbers for numbers in heard.values()))
    assert all(numbers == [7, 8] for numbers in heard.values())


@over_each_way
async def test_many_wake_ups_become_few_messages_and_the_last_number_arrives(way: Way) -> None:
    heard: dict[int, int] = {}
    news = Happenings()
    async with way.bus("here") as here, way.bus("there") as there:
        for topic in range(500):
            there.listen(
                f"store:{topic:040}",
                lambda number, topic=topic: news.happened(heard.update({topic: number})),
            )
        for number in range(1, 21):
            for topic in range(500):
                here.wake(f"store:{topic:040}", number)
        await news.until(lambda: len(heard) == 500 and set(heard.values()) == {20})


@over_each_way
async def test_a_store_is_told_of_the_commits_of_another_process(
    way: Way, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    told, news = list[int](), Happenings()
    async with AsyncExitStack() as stack:
        opened: list[Any] = []
        for name in ("web", "worker"):
            bus = await stack.enter_async_context(way.bus(name))
            if way.kind == "postgres":
                stores = PostgresStores(way.url, environment(), bus, blob_present=lambda name, sha256: False)
            else:
                stores = SqliteStores(tmp_path, environment(), bus=bus, among_others=True)
            stack.push_async_callback(stores.close)
            opened.append(await stores.open("alice"))
        web, worker = opened
        worker.subscribe(lambda seq: news.happened(told.append(seq)))
        written = await web.write(lambda tx: tx.put(TODO, "t", {}))
        await news.until(lambda: written.seq in told)
        assert (await worker.read(lambda view: view.find(TODO, "t"))).rev == written.rev


# -- short-lived values


@and_in_one_process
async def test_values_are_kept_taken_and_forgotten(way: Way) -> None:
    async with way.tables() as (values, _):
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

        async def is_over() -> bool:
            return await values.get("short") is None

        await over_time(is_over)


# -- leases


@and_in_one_process
async def test_a_lease_has_one_holder_until_it_ends_or_is_given_back(way: Way) -> None:
    async with way.tables() as (_, table):
        assert await table.take(["a", "b"], "one", 60) == {"a", "b"}
        assert await table.take(["b", "c"], "two", 60) == {"c"}
        assert await table.take(["a", "b", "c"], "one", 60) == {"a", "b"}
        await table.give_back(["a", "c"], "one")
        assert await table.take(["a", "b", "c"], "two", 0.05) == {"a", "c"}

        async def is_over() -> bool:
            return await table.take(["a"], "one", 60) == {"a"}

        await over_time(is_over)


@and_in_one_process
async def test_no_more_leases_are_taken_than_asked_for(way: Way) -> None:
    async with way.tables() as (_, table):
        assert await table.take(["a"], "one", 60) == {"a"}
        assert len(await table.take(["a", "b", "c", "d"], "two", 60, most=2)) == 2
        assert await table.take(["a", "b", "c", "d"], "two", 60, most=0) == set()
        assert len(await table.take(["a", "b", "c", "d"], "three", 60, most=9)) == 1


@and_in_one_process
async def test_the_table_knows_how_many_want_to_work(way: Way) -> None:
    async with way.tables() as (_, table):
        assert [await table.enter(name, 60) for name in ("one", "two", "one", "three")] == [1, 2, 2, 3]
        assert await table.take(["a", "b"], "two", 60) == {"a", "b"}
        await table.leave("two")
        assert await table.enter("one", 60) == 2
        assert await table.take(["a", "b"], "one", 60) == {"a", "b"}
        await table.enter("short", 0.05)

        async def is_over() -> bool:
            return await table.enter("one", 60) == 2

        await over_time(is_over)


class Worker:
    """A process that wants leases, and what it works for."""

    def __init__(self, table: LeaseTable, name: str, news: Happenings, clock: Clock | None = None) -> None:
        self.leases = Leases(table, name, clock or Clock())
        self.working: set[str] = set()
        self._news = news

    def want(self, *names: str) -> None:
        """Want leases."""
        for name in names:
            self.leases.want(name, lambda name=name: self.begin(name), lambda name=name: self.end(name))

    async def begin(self, name: str) -> None:
        """A lease is here."""
        self.working.add(name)
        self._news.happened()

    async def end(self, name: str) -> None:
        """A lease is lost."""
        self.working.discard(name)
        self._news.happened()


async def test_each_process_has_its_part_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)
    table, news = LocalLeases(Clock()), Happenings()
    names = [f"n{n}" for n in range(10)]
    workers = [Worker(table, f"w{n}", news) for n in range(3)]
    for count, most in ((1, 10), (2, 5), (3, 4)):
        workers[count - 1].want(*names)
        await workers[count - 1].leases.start()

        def are_shared_out(most: int = most) -> bool:
            parts = [len(worker.working) for worker in workers]
            return sum(parts) == len(names) and max(parts) == most

        await news.until(are_shared_out)
        assert set().union(*(worker.working for worker in workers)) == set(names)
    await workers[0].leases.stop()
    await news.until(lambda: sorted(len(worker.working) for worker in workers) == [0, 5, 5])
    for worker in workers[1:]:
        await worker.leases.stop()


async def test_another_process_takes_over_what_one_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)
    table, news = LocalLeases(Clock()), Happenings()
    one, two = Worker(table, "one", news), Worker(table, "two", news)
    await one.leases.start()
    one.want("a", "b")
    await news.until(lambda: one.working == {"a", "b"})
    await one.leases.renounce("a")
    assert one.working == {"b"}
    await two.leases.start()
    two.want("a", "b")
    await news.until(lambda: two.working == {"a"})
    assert one.leases.holds("b")
    assert not two.leases.holds("b")
    await one.leases.stop()
    assert one.working == set()
    await news.until(lambda: two.working == {"a", "b"})
    await two.leases.stop()


async def test_another_process_takes_over_when_one_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "SECONDS", 0.6)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.1)
    table, news = LocalLeases(Clock()), Happenings()
    one, two = Worker(table, "one", news), Worker(table, "two", news)
    for worker in (one, two):
        await worker.leases.start()
        worker.want("a")
    await news.until(lambda: one.working == {"a"})
    assert one.leases._task is not None
    one.leases._task.cancel()  # it renews no more
    await news.until(lambda: two.working == {"a"})
    assert not one.leases.holds("a")
    await two.leases.stop()


@pytest.mark.parametrize("way", ["hub"], indirect=True)
async def test_what_a_dead_process_had_at_the_hub_is_free_at_once(way: Way) -> None:
    async with way.tables() as (_, table):
        async with way.tables() as (_, other):
            assert await other.enter("two", 60) == 1
            assert await other.take(["a"], "two", 60) == {"a"}
            assert await table.take(["a"], "one", 60) == set()
        assert await table.take(["a"], "one", 60) == {"a"}
        assert await table.enter("one", 60) == 1


class Failing(LocalLeases):
    """A table that is out of reach from some moment on."""

    reachable = True

    def __init__(self, clock: Clock, news: Happenings) -> None:
        super().__init__(clock)
        self._news = news
        self.refused = 0

    async def enter(self, holder: str, seconds: float) -> int:
        if not self.reachable:
            self.refused += 1
            self._news.happened()
            raise Unavailable("gone")
        return await super().enter(holder, seconds)

    async def take(self, names: Sequence[str], holder: str, seconds: float, *, most: int | None = None) -> set[str]:
        if not self.reachable:
            raise Unavailable("gone")
        return await super().take(names, holder, seconds, most=most)


async def test_who_cannot_renew_stops_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, news = SteppedClock(), Happenings()
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.01)
    monkeypatch.setattr(leases, "MARGIN_SECONDS", 2.0)
    table = Failing(clock, news)
    worker = Worker(table, "one", news, clock)
    await worker.leases.start()
    worker.want("a")
    await news.until(lambda: worker.working == {"a"})
    table.reachable = False
    clock.step(leases.SECONDS - 2.5)
    assert worker.leases.holds("a")
    await news.until(lambda: table.refused >= 3)
    assert worker.working == {"a"}
    clock.step(0.6)
    await news.until(lambda: worker.working == set())
    assert not worker.leases.holds("a")
    table.reachable = True
    await news.until(lambda: worker.working == {"a"})
    await worker.leases.stop()


# -- questions to all the others


async def test_a_question_is_answered_by_all_the_others() -> None:
    way, asked = Way("hub", ""), list[int]()

    async def double(number: int, *, name: str) -> Any:
        asked.append(number)
        return [name, 2 * number]

    async with way.at_hub(Bus()) as one, way.at_hub(Bus()) as two, way.at_hub(Bus()) as three:
        assert await one.gather("double", 4) == [], "who does not know the question is left out"
        two.replies["double"] = lambda number: double(number, name="two")
        three.replies["double"] = lambda number: double(number, name="three")
        assert sorted(await one.gather("double", 4)) == [["three", 8], ["two", 8]]
        assert await two.gather("double", 5) == [["three", 10]]
        assert sorted(asked) == [4, 4, 5]


async def test_who_does_not_answer_or_dies_is_left_out() -> None:
    way, begun = Way("hub", ""), asyncio.Event()

    async def never() -> Any:
        begun.set()
        await asyncio.Event().wait()

    async def at_once() -> Any:
        return "here"

    async with way.at_hub(Bus()) as one, way.at_hub(Bus()) as two:
        two.replies["?"] = at_once
        async with way.at_hub(Bus()) as three:
            three.replies["?"] = never
            answer = asyncio.create_task(one.gather("?"))
            await begun.wait()
        assert await answer == ["here"]
        assert await one.gather("?") == ["here"]
