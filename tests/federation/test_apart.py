"""Both sides work on while they do not see each other; when they meet again they end alike, and nothing is lost
(spec/05 §17, §23: the pairs of changes after which other servers differ for good)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .conftest import NewPerson
from .people import TRASH, Person, share_folder
from .processes import eventually


@dataclass
class Side:
    """One person with the folder of one case: ids are looked up by path before the two are apart."""

    person: Person
    folder: str
    ids: dict[str, str] = field(default_factory=dict[str, str])

    def learn(self, paths: list[str]) -> bool:
        """Note the ids of what is in the folder; False while something is missing."""
        self.ids = {path: self.person.find(self.folder, path) for path in paths}
        return all(self.ids.values())

    def rename(self, path: str, name: str) -> None:
        """Rename."""
        self.person.change(self.ids[path], name=name)

    def move(self, path: str, to: str) -> None:
        """Move into a folder; an empty path is the folder of the case."""
        self.person.change(self.ids[path], dir_id=self.ids[to] if to else self.folder)

    def write(self, path: str, content: str) -> None:
        """Overwrite."""
        self.person.overwrite(self.ids[path], content.encode())

    def trash(self, path: str) -> None:
        """Put into the trash."""
        self.person.trash(self.ids[path])

    def make(self, name: str, content: str, parent: str = "") -> None:
        """A new file."""
        self.person.upload(name, content.encode(), self.ids[parent] if parent else self.folder)

    def mkdir(self, name: str, parent: str = "") -> None:
        """A new folder."""
        self.ids[name] = self.person.mkdir(name, self.ids[parent] if parent else self.folder)


Act = Callable[[Side], None]


def acts(*steps: Act) -> Act:
    """Several steps as one."""

    def act(side: Side) -> None:
        for step in steps:
            step(side)

    return act


CASES: dict[str, tuple[Act, Act]] = {
    "two folders moved into each other": (lambda s: s.move("L", "R"), lambda s: s.move("R", "L")),
    "a folder trashed, a file moved into it": (lambda s: s.trash("L"), lambda s: s.move("a.txt", "L")),
    "a file moved into it, a folder trashed": (lambda s: s.move("a.txt", "L"), lambda s: s.trash("L")),
    "a folder trashed, a file made in it": (lambda s: s.trash("L"), lambda s: s.make("n.txt", "new", "L")),
    "a file made in it, a folder trashed": (lambda s: s.make("n.txt", "new", "L"), lambda s: s.trash("L")),
    "a folder trashed, a file in it written": (lambda s: s.trash("L"), lambda s: s.write("L/in.txt", "newer")),
    "a file in it written, a folder trashed": (lambda s: s.write("L/in.txt", "newer"), lambda s: s.trash("L")),
    "renamed to two names": (lambda s: s.rename("a.txt", "x.txt"), lambda s: s.rename("a.txt", "y.txt")),
    "a folder renamed to two names": (lambda s: s.rename("L", "X"), lambda s: s.rename("L", "Y")),
    "moved to two places": (lambda s: s.move("a.txt", "L"), lambda s: s.move("a.txt", "R")),
    "written twice": (lambda s: s.write("a.txt", "one"), lambda s: s.write("a.txt", "two")),
    "written and moved": (lambda s: s.write("a.txt", "one"), lambda s: s.move("a.txt", "L")),
    "written and renamed": (lambda s: s.write("a.txt", "one"), lambda s: s.rename("a.txt", "x.txt")),
    "written often and once": (
        acts(*(lambda s, n=n: s.write("a.txt", f"state {n}") for n in range(5))),
        lambda s: s.write("a.txt", "two"),
    ),
    "trashed and written": (lambda s: s.trash("a.txt"), lambda s: s.write("a.txt", "two")),
    "trashed by both": (lambda s: s.trash("a.txt"), lambda s: s.trash("a.txt")),
    "the same name for two": (lambda s: s.rename("a.txt", "x.txt"), lambda s: s.rename("b.txt", "x.txt")),
    "the same new name": (lambda s: s.make("n.txt", "one"), lambda s: s.make("n.txt", "two")),
    "the same new name and content": (lambda s: s.make("n.txt", "one"), lambda s: s.make("n.txt", "one")),
    "the same new folder with files": (
        acts(lambda s: s.mkdir("N"), lambda s: s.make("1.txt", "one", "N")),
        acts(lambda s: s.mkdir("N"), lambda s: s.make("2.txt", "two", "N")),
    ),
    "a name given away and taken": (
        acts(lambda s: s.rename("a.txt", "x.txt"), lambda s: s.make("a.txt", "another")),
        lambda s: s.write("a.txt", "two"),
    ),
    "names swapped by both": (
        acts(lambda s: s.rename("L", "T"), lambda s: s.rename("R", "L"), lambda s: s.rename("L", "R")),
        acts(
            lambda s: s.rename("a.txt", "T"),
            lambda s: s.rename("b.txt", "a.txt"),
            lambda s: s.rename("a.txt", "b.txt"),
        ),
    ),
    "a folder for a file": (lambda s: s.mkdir("n"), lambda s: s.make("n", "a file")),
    "a folder moved below what the other moved": (
        acts(lambda s: s.move("L", "R")),
        acts(lambda s: s.move("R", "D"), lambda s: s.move("D", "L")),
    ),
}
PATHS = ["L", "L/in.txt", "R", "D", "a.txt", "b.txt"]


def prepare(person: Person, folder: str) -> None:
    """What every case begins with."""
    for name in ("L", "R", "D"):
        id = person.mkdir(name, folder)
        if name == "L":
            person.upload("in.txt", b"inside", id)
    for name in ("a.txt", "b.txt"):
        person.upload(name, f"first {name}".encode(), folder)


def contents(person: Person, *folders: str) -> set[str]:
    """The md5 of everything in some folders and below."""
    return {entry[2] for folder in folders for entry in person.tree(folder).values() if entry[0] == "file"}


def versions(person: Person, folder: str) -> set[str]:
    """The md5 of the old versions of all files in a folder and below."""
    found: set[str] = set()
    for item in person.children(folder).values():
        if item["attributes"]["type"] == "directory":
            found |= versions(person, item["id"])
        else:
            shown = person.do("GET", f"/files/{item['id']}")
            found |= {v["attributes"]["md5sum"] for v in shown.get("included") or () if "md5sum" in v["attributes"]}
    return found


def test_whatever_two_do_while_apart_they_end_alike_and_lose_nothing(new_person: NewPerson) -> None:
    alice, bob = new_person("alice"), new_person("bob")
    top = alice.mkdir("Apart")
    folders = {name: alice.mkdir(name, top) for name in CASES}
    for folder in folders.values():
        prepare(alice, folder)
    shared = share_folder(alice, "Apart", [bob])
    shared.agree(seconds=60)
    mine = {name: Side(alice, folder) for name, folder in folders.items()}
    theirs = {name: Side(bob, bob.find(shared.place(bob), name)) for name in CASES}
    assert all(side.learn(PATHS) for side in (*mine.values(), *theirs.values()))
    bob.server.kill()
    for name, (act, _) in CASES.items():
        act(mine[name])
    written = contents(alice, top, TRASH)
    alice.server.kill()
    bob.server.start()
    for name, (_, act) in CASES.items():
        act(theirs[name])
    written |= contents(bob, shared.place(bob), TRASH)
    alice.server.start()

    def different() -> list[str]:
        here, there = alice.tree(top), bob.tree(shared.place(bob))
        return sorted(path for path in {*here, *there} if here.get(path) != there.get(path))

    try:
        eventually(lambda: not different(), seconds=60)
    except AssertionError:
        assert different() == [], "the trees differ"
    kept = contents(alice, top, TRASH) | contents(bob, shared.place(bob), TRASH)
    kept |= versions(alice, top) | versions(bob, shared.place(bob))
    assert written <= kept, "a content that was there on one side is nowhere any more"
    assert alice.server.errors == bob.server.errors == []
