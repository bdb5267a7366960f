"""Three people, each with a server process of their own; and a mail server that keeps what it gets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pytest
from tests.servers import free_port

from .people import Person
from .postbox import Postbox
from .processes import Server

EXTENSIONS = {"on": ("all", "all", "all"), "off": ("none", "none", "none"), "mixed": ("all", "none", "all")}
"""What alice's, bob's and carol's servers speak beyond the protocol, by the variable EXTENSIONS."""


@dataclass(frozen=True)
class Town:
    """The people that tests share: each test uses folders of its own, and leaves the servers running."""

    alice: Person
    bob: Person
    carol: Person
    mails: Postbox


@pytest.fixture(scope="session")
def mails() -> Iterator[Postbox]:
    """The mail server."""
    postbox = Postbox(free_port())
    postbox.start()
    yield postbox
    postbox.stop()


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory, mails: Postbox) -> Iterator[Town]:
    """Alice, bob and carol on three servers."""
    folder = tmp_path_factory.mktemp("town")
    names = ("alice", "bob", "carol")
    spoken = EXTENSIONS[os.environ.get("EXTENSIONS", "on")]
    servers = [
        Server(folder / name, {"INGLENOOK_SMTP_URL": mails.url, "INGLENOOK_EXTENSIONS": extensions})
        for name, extensions in zip(names, spoken, strict=True)
    ]
    for server in servers:
        server.launch()
    for server in servers:
        server.wait_until_up()
    people = [Person(server, name).move_in() for server, name in zip(servers, names, strict=True)]
    yield Town(*people, mails)
    for server in servers:
        server.kill()
    for server in servers:
        assert server.errors == []


NewPerson = Callable[..., Person]


@pytest.fixture
def new_person(tmp_path: Path) -> Iterator[NewPerson]:
    """Makes people on servers of their own, that a test may kill: `new_person(name, quota="10MB")`."""
    servers: list[Server] = []
    spoken = cycle(EXTENSIONS[os.environ.get("EXTENSIONS", "on")][:2])

    def make(name: str, *, extensions: str = "", **more: str) -> Person:
        server = Server(tmp_path / name, {"INGLENOOK_EXTENSIONS": extensions or next(spoken)})
        servers.append(server)
        server.start()
        return Person(server, name).move_in(**more)

    yield make
    for server in servers:
        server.kill()
