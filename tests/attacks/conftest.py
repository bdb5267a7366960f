"""A server with two people who do not know each other, and a small app at alice's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.api.apps_workshop import install, write_app
from tests.browser_forms import Browser
from tests.clocks import SteppedClock
from tests.servers import Person, RunningServer


@pytest.fixture(scope="module")
def clock() -> SteppedClock:
    """The time of the server: it passes by steps."""
    return SteppedClock()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, clock: SteppedClock) -> Iterator[RunningServer]:
    """The whole application; its mails wait, since nobody listens on the port of its mail server."""
    running = RunningServer(tmp_path_factory.mktemp("data"), smtp_url="smtp://127.0.0.1:1")
    running.env = replace(running.env, clock=clock)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def app_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app."""
    return write_app(tmp_path_factory.mktemp("mini"))


@pytest.fixture(scope="module")
def alice(server: RunningServer, app_folder: Path) -> Person:
    """The one who is attacked."""
    person = server.add("alice", passphrase="cozy")
    install(person, app_folder)
    return person


@pytest.fixture(scope="module")
def bob(server: RunningServer, app_folder: Path) -> Person:
    """A neighbour on the same server, with the same passphrase."""
    person = server.add("bob", passphrase="cozy")
    install(person, app_folder)
    return person


@pytest.fixture
def owner(alice: Person) -> Browser:
    """Alice's browser, logged in."""
    browser = Browser(alice)
    assert browser.login().status_code == 303
    return browser
