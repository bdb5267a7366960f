"""The collector of contents that nothing names any more: what it removes, and whom it leaves alone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
from tests import backend
from tests.clocks import SteppedClock
from tests.moves import eventually
from tests.servers import Person, RunningServer

from inglenook.identity.instance import Instance
from inglenook.storage.contents import GRACE_SECONDS
from inglenook.storage.documents.sqlite_store import SqliteStore
from inglenook.web import collector
from inglenook.web.collector import Collector
from inglenook.web.runtime import Runtime

FILES = "io.cozy.files"
LARGE = os.urandom(200_000)  # too large for the database

clock = SteppedClock()

pytestmark = pytest.mark.skipif(backend.chosen.name == "distributed", reason="an hour in one step ends all leases")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = RunningServer(tmp_path_factory.mktemp("data"))
    running.env = replace(running.env, clock=clock)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def rounds(server: RunningServer) -> Collector:
    """A collector whose rounds are those of the test."""

    async def make(runtime: Runtime) -> Collector:
        return Collector(runtime.instances)

    return server.do(make)


def go_round(server: RunningServer, rounds: Collector) -> int:
    async def act(_: Runtime) -> int:
        return await rounds.round()

    return server.do(act)


def blobs_of(server: RunningServer, instance: Instance) -> list[str]:
    async def listed(runtime: Runtime) -> list[str]:
        return [sha256 async for sha256 in runtime.blobs.of(instance.prefix).list()]

    return server.do(listed)


def upload(person: Person, name: str, content: bytes) -> str:
    made = person.post(f"/files/?Type=file&Name={name}", FILES, content=content)
    assert made.status_code == 201, made.text
    return made.json()["data"]["id"]


def destroy(person: Person, id: str) -> None:
    assert person.delete(f"/files/trash/{id}", FILES).status_code == 204


def test_the_bytes_of_a_destroyed_file_go_an_hour_later(
    server: RunningServer, alice: Person, rounds: Collector
) -> None:
    id = upload(alice, "large.bin", LARGE)
    assert go_round(server, rounds) == 0
    destroy(alice, id)
    assert go_round(server, rounds) == 0
    clock.step(GRACE_SECONDS / 2)
    assert go_round(server, rounds) == 0
    assert len(blobs_of(server, alice.instance)) == 1
    clock.step(GRACE_SECONDS / 2 + 1)
    assert go_round(server, rounds) == 1
    assert blobs_of(server, alice.instance) == []


def test_an_upload_that_nothing_came_to_name_goes_an_hour_later(
    server: RunningServer, alice: Person, rounds: Collector
) -> None:
    go_round(server, rounds)

    async def give_up(_: Runtime) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield LARGE

        contents = alice.instance.contents
        await contents.discard(await contents.receive(chunks()))

    server.do(give_up)
    assert go_round(server, rounds) == 0
    clock.step(GRACE_SECONDS + 1)
    assert go_round(server, rounds) == 1
    assert blobs_of(server, alice.instance) == []


def test_a_spared_instance_is_collected_afterwards(server: RunningServer, alice: Person, rounds: Collector) -> None:
    destroy(alice, upload(alice, "spared.bin", LARGE))
    clock.step(GRACE_SECONDS + 1)

    async def during(_: Runtime) -> int:
        async with collector.spare(alice.instance):
            return await rounds.round()

    assert server.do(during) == 0
    assert go_round(server, rounds) == 1


def test_the_storage_of_an_instance_in_which_nothing_happens_stays_asleep(
    server: RunningServer, alice: Person, rounds: Collector
) -> None:
    store = alice.instance.store
    assert isinstance(store, SqliteStore)

    async def wakes(_: Runtime) -> bool:
        while store.awake:  # what else there is to do after a write ends first
            await store.sleep()
            await asyncio.sleep(0)
        await rounds.round()
        return store.awake

    def a_round_wakes_it() -> bool:
        return server.do(wakes)

    def a_round_leaves_it_asleep() -> None:
        eventually(lambda: not a_round_wakes_it(), "nothing happens any more, and the round looks elsewhere")

    assert a_round_wakes_it(), "the first look of a process"
    a_round_leaves_it_asleep()
    id = upload(alice, "kept.bin", LARGE)
    assert a_round_wakes_it(), "something was written"
    a_round_leaves_it_asleep()
    destroy(alice, id)
    assert a_round_wakes_it()
    a_round_leaves_it_asleep()
    assert blobs_of(server, alice.instance) != [], "the bytes are not to go yet"
    clock.step(GRACE_SECONDS + 1)
    assert a_round_wakes_it()
    a_round_leaves_it_asleep()
    assert blobs_of(server, alice.instance) == []


def test_an_instance_that_is_gone_is_not_watched_any_more(server: RunningServer, rounds: Collector) -> None:
    carol = server.add("carol", passphrase="cozy")
    go_round(server, rounds)
    server.do(lambda runtime: runtime.instances.destroy(carol.instance))
    assert go_round(server, rounds) == 0
