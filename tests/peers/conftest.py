"""The worlds of the tests of `peers`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import pytest

from inglenook.environment import Config, Environment
from inglenook.peers.peers import Peers
from peers.street import FakeClock, Street


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def peers() -> AsyncGenerator[Peers]:
    """The door of a server in development: loopback may be contacted."""
    door = Peers(Environment(Config(dev=True)))
    yield door
    await door.close()


@pytest.fixture
async def timed(clock: FakeClock) -> AsyncGenerator[Peers]:
    """The same under a clock of the test."""
    door = Peers(Environment(Config(dev=True), clock=clock))
    yield door
    await door.close()


@pytest.fixture
async def street() -> AsyncGenerator[Street]:
    async with AsyncExitStack() as stack:
        yield Street(stack)
