"""Two servers of the same make, one of them, or none speaking the extensions: the same result, at another price
(spec/11)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .people import Person, Shared, share_folder
from .processes import Server, eventually
from .proxy import Proxy

MEGABYTE = 1024 * 1024


@dataclass
class Street:
    """Alice and bob with a folder, and the way from her to him."""

    shared: Shared
    alice: Person
    bob: Person
    way: Proxy

    @property
    def here(self) -> str:
        """The folder at alice's."""
        return self.shared.place(self.alice)

    def pushed(self) -> int:
        """How often bob's server has taken a push."""
        return self.bob.server.log.count("/_batch/push")

    def sent_during(self, *names: str) -> int:
        """Bytes that went to bob's server until both have these names and the same contents, from the last call on."""
        before = self.way.sent
        self.shared.agree(*names, seconds=60)
        return self.way.sent - before


def build(folder: Path, alice_speaks: str = "all", bob_speaks: str = "all") -> Street:
    """Two servers; bob's is reached over the proxy."""
    servers = [
        Server(folder / name, {"INGLENOOK_EXTENSIONS": spoken})
        for name, spoken in (("alice", alice_speaks), ("bob", bob_speaks))
    ]
    for server in servers:
        server.launch()
    for server in servers:
        server.wait_until_up()
    way = Proxy(servers[1].port)
    servers[1].port = way.port  # which is a part of bob's address
    alice, bob = (Person(server, name).move_in() for server, name in zip(servers, ("alice", "bob"), strict=True))
    return Street(share_folder(alice, "Street", [bob]), alice, bob, way)


def tear_down(street: Street) -> None:
    """End both servers, which must have found no fault in themselves."""
    for person in (street.alice, street.bob):
        person.server.kill()
        assert person.server.errors == []
    street.way.close()


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """Both speak everything."""
    street = build(tmp_path_factory.mktemp("street"))
    yield street
    tear_down(street)


def noise(seed: str, size: int) -> bytes:
    """Bytes without any pattern."""
    return hashlib.shake_128(seed.encode()).digest(size)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("alice_speaks", "bob_speaks"),
    [("all", "all"), ("none", "none"), ("all", "none"), ("none", "all"), ("batch", "all")],
)
def test_the_same_happens_with_and_without_extensions(tmp_path: Path, alice_speaks: str, bob_speaks: str) -> None:
    street = build(tmp_path, alice_speaks, bob_speaks)
    alice, bob, shared = street.alice, street.bob, street.shared
    folder = alice.mkdir("Folder", street.here)
    deep = alice.mkdir("Deep", folder)
    ids = [alice.upload(f"{n}.txt", b"content %d" % n, deep if n % 2 else folder) for n in range(60)]
    large = alice.upload("large.bin", noise("large", 6 * MEGABYTE), street.here, "application/octet-stream")
    shared.agree(seconds=60)
    assert len(bob.tree(shared.place(bob))) == 63
    alice.overwrite(ids[0], b"another content")
    alice.change(ids[1], name="renamed.txt")
    alice.change(ids[3], dir_id=street.here)
    alice.trash(ids[2])
    alice.overwrite(large, noise("large", 6 * MEGABYTE)[:-1000] + b"edited")
    bob.upload("from bob.txt", b"bob", shared.place(bob))
    bob.trash(bob.find(shared.place(bob), "Folder/4.txt"))
    eventually(lambda: "from bob.txt" in alice.tree(street.here), "what bob has made")
    tree = shared.agree(seconds=60)
    assert {"Folder/Deep/renamed.txt", "3.txt", "from bob.txt"} <= set(tree)
    eventually(lambda: "Folder/4.txt" not in alice.tree(street.here), "what bob has removed")
    alice.change(folder, name="Other")
    alice.trash(deep)
    eventually(lambda: "Other/Deep" not in bob.tree(shared.place(bob)), "what alice has removed")
    assert set(shared.agree(seconds=60)) == set(alice.tree(street.here))
    both = alice_speaks != "none" and bob_speaks != "none"
    assert (street.pushed() > 0) == both
    tear_down(street)


def test_an_edit_of_a_large_file_costs_little_more_than_itself(street: Street) -> None:
    content = noise("edited", 24 * MEGABYTE)
    id = street.alice.upload("edited.bin", content, street.here, "application/octet-stream")
    street.shared.agree(seconds=60)
    street.alice.overwrite(id, content[: 10 * MEGABYTE] + noise("edit", 240_000) + content[10 * MEGABYTE + 250_000 :])
    assert street.sent_during() < 1.5 * MEGABYTE


def test_a_content_that_is_there_does_not_travel(street: Street) -> None:
    content = noise("copied", 5 * MEGABYTE)
    id = street.alice.upload("copied.bin", content, street.here, "application/octet-stream")
    street.shared.agree(seconds=60)
    street.alice.do("POST", f"/files/{id}/copy?Name=copy.bin")
    assert street.sent_during() < 100_000
    street.alice.overwrite(id, b"another content")
    street.shared.agree(seconds=60)
    street.alice.overwrite(id, content)  # which is a copy's, and an old version's
    assert street.sent_during() < 100_000


def test_the_rename_of_a_full_folder_costs_nothing_for_what_is_in_it(street: Street) -> None:
    folder = street.alice.mkdir("Full", street.here)
    for n in range(50):
        street.alice.upload(f"{n}.txt", b"%d" % n, folder)
    street.shared.agree(seconds=60)
    before = street.way.sent
    street.alice.change(folder, name="Renamed")
    eventually(lambda: street.bob.find(street.shared.place(street.bob), "Renamed"), "the new name")
    reading = 20_000  # what the test itself asks over the same way
    assert street.way.sent - before < reading
    street.shared.agree(seconds=60)


def test_pieces_that_have_arrived_before_a_cut_are_not_sent_again(street: Street) -> None:
    content = noise("cut", 24 * MEGABYTE)
    id = street.alice.upload("cut.bin", content, street.here, "application/octet-stream")
    street.shared.agree(seconds=60)
    before = street.way.sent
    street.way.cut_after(10 * MEGABYTE)
    street.alice.overwrite(id, content[: 6 * MEGABYTE] + noise("new", 16 * MEGABYTE) + content[22 * MEGABYTE :])
    street.shared.agree(seconds=90)
    assert street.way.cuts >= 1
    assert street.way.sent - before < 22 * MEGABYTE, "16 MiB and a little, not what came before the cut once more"


def test_a_way_that_is_cut_again_and_again_loses_nothing(street: Street) -> None:
    folder = street.alice.mkdir("Cut", street.here)
    cuts = street.way.cuts
    for n in range(200):
        if n % 20 == 0:
            street.way.cut_after(30_000)
        street.alice.upload(f"{n}.txt", noise(f"cut {n}", 2000), folder)
    tree = street.shared.agree(seconds=90)
    assert len([path for path in tree if path.startswith("Cut/")]) == 200
    assert street.way.cuts > cuts
