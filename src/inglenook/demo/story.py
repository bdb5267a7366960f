"""The story of the demonstration: an invitation, a first copy, changes on both sides, a conflict, a comparison."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from inglenook.demo import material
from inglenook.demo.invitation import accept, invitation
from inglenook.demo.material import Made
from inglenook.demo.person import Entry, Person, RequestRefused
from inglenook.demo.stage import Stage

PATIENCE = 60.0
"""Seconds that anything may take to arrive."""
LOOK = 0.005
"""Seconds between two looks whether a change has arrived."""
UPLOADS = 4
CONFLICT = "Shopping list.md"
LATE = "Plans/Route.md"


class StoryFailed(Exception):
    """Something did not arrive; the text is for people."""


@dataclass
class Story:
    """What is known in the course of it: `expected` is the SHA-256 of every file that both sides shall have."""

    stage: Stage
    alice: Person
    bob: Person
    folder: Path
    expected: dict[str, str] = field(default_factory=dict[str, str])
    sharing: str = ""

    async def play(self) -> bool:
        """All acts; gives whether both sides are equal at the end."""
        await self.servers()
        made = await self.folder_of_files()
        await self.invite()
        await self.first_copy(made)
        await self.changes()
        await self.conflict()
        return await self.compare()

    # -- the acts

    async def servers(self) -> None:
        """Two processes, two data folders, two people."""
        self.stage.act("Two servers, two people")
        started = time.monotonic()
        await asyncio.gather(*(self._settle(person) for person in self.people))
        seconds = time.monotonic() - started
        for person in self.people:
            self.stage.done(f"{person.name} at {person.url}", seconds, f"process {person.server.pid}")
            self.stage.note(f"  everything of {person.name} is in {person.server.data}")

    async def folder_of_files(self) -> Made:
        """Make the folder, and upload it to alice's server."""
        self.stage.act("A folder of files")
        started = time.monotonic()
        home = self.folder / "files" / material.TITLE
        await asyncio.to_thread(home.mkdir, parents=True)
        made = await asyncio.to_thread(material.make, home)
        took = time.monotonic() - started
        self.stage.done(f"{len(made.files)} files in {len(made.folders)} folders are made in {home}", took)
        with self.stage.progress(f"alice uploads “{material.TITLE}”", made.size) as moving:
            self.alice.shared = await self.alice.make_folder(material.TITLE)
            self.alice.place = f"/{material.TITLE}"
            ids = {"": self.alice.shared}
            for path in made.folders:
                above, _, name = path.rpartition("/")
                ids[path] = await self.alice.make_folder(name, ids[above])
            limit = asyncio.Semaphore(UPLOADS)

            async def upload(path: str) -> None:
                async with limit:
                    await self.alice.upload(made.folder / path, ids[path.rpartition("/")[0]], moving.by)

            await asyncio.gather(*(upload(path) for path in made.files))
        self.expected = dict(made.files)
        return made

    async def invite(self) -> None:
        """Alice shares the folder with a mail address; bob follows the mail."""
        self.stage.act("The invitation")
        started = time.monotonic()
        title = material.TITLE
        self.sharing = await self.alice.share(title, self.alice.shared, self.bob.email)
        self.stage.done(f"alice shares “{title}” with {self.bob.email}, in both directions", time.monotonic() - started)
        started = time.monotonic()
        subject, link = await invitation(self.alice, self.bob.email)
        self.stage.done(f"a mail reaches bob: “{subject}”", time.monotonic() - started)
        started = time.monotonic()

        def step(text: str) -> None:
            nonlocal started
            self.stage.done(f"bob {text}", time.monotonic() - started)
            started = time.monotonic()

        await accept(link, self.bob, step)

    async def first_copy(self, made: Made) -> None:
        """Everything comes to bob's server."""
        self.stage.act("The first copy")
        with self.stage.progress("the folder comes to bob's server", made.size) as moving:

            async def arrived() -> bool:
                if not self.bob.shared and not await self.bob.received(self.sharing):
                    return False
                tree = await self.bob.tree()
                files = [entry for entry in tree.values() if not entry.folder]
                moving.to(sum(entry.size for entry in files), f"{len(files)} of {len(made.files)} files")
                return len(tree) == len(made.files) + len(made.folders)

            await self._until(arrived, "the folder at bob's server", look=0.05)

    async def changes(self) -> None:
        """Each of them changes something; the other one sees it."""
        self.stage.act("Changes on both sides")
        alice, bob = self.alice, self.bob
        day = f"Pictures/{material.DAYS[0]}"
        text = (await alice.read(LATE)).decode() + "4. Mont-Saint-Michel, at low tide\n"
        await self._edit(alice, LATE, text.encode())
        await self._edit(bob, "Read me first.md", b"# Summer by the sea\n\nBob was here.\n")

        await self._change(
            bob,
            "renames the folder “Pictures” to “Photographs”",
            lambda: bob.change("Pictures", name="Photographs"),
            lambda: self._is_there(alice, f"{day.replace('Pictures', 'Photographs')}/Picture 01.png"),
        )
        self._renamed("Pictures/", "Photographs/")
        await self._change(
            alice,
            "moves the boat ticket out of “Plans”",
            lambda: alice.change(material.TICKET, dir_id=alice.shared),
            lambda: self._is_there(bob, "Boat ticket.pdf"),
        )
        self._renamed(material.TICKET, "Boat ticket.pdf")
        picture = material.picture(99)
        folder = (await bob.must_find(material.EMPTY_FOLDER))["id"]
        await self._change(
            bob,
            "puts a picture into the empty folder",
            lambda: bob.write("Beach.png", picture, folder),
            lambda: self._is_there(alice, f"{material.EMPTY_FOLDER}/Beach.png"),
        )
        self.expected[f"{material.EMPTY_FOLDER}/Beach.png"] = _sha256(picture)
        doomed = "Plans/Ideas/Rainy day.txt"
        await self._change(
            alice,
            "throws the plans for a rainy day away",
            lambda: alice.trash(doomed),
            lambda: self._is_gone(bob, doomed),
        )
        del self.expected[doomed]

    async def conflict(self) -> None:
        """The same file is changed by both while the other server does not run."""
        self.stage.act("A file changed at both servers while they do not see each other")
        alice, bob = self.alice, self.bob
        await bob.server.kill()
        self.stage.done("bob's server is killed, as a power cut would (kill -9)")
        started = time.monotonic()
        await alice.overwrite(CONFLICT, b"- bread\n- cider\n- candles, says alice\n")
        alone = "Written while bob was away.md"
        note = b"Waits for bob's server.\n"
        await alice.write(alone, note, alice.shared)
        self.stage.done(f"alice changes “{CONFLICT}” and writes another file", time.monotonic() - started)
        await alice.server.stop()
        self.stage.done("alice's server is stopped")
        await bob.server.start()
        started = time.monotonic()
        await bob.overwrite(CONFLICT, b"- bread\n- cider\n- torches, says bob\n")
        self.stage.done(f"bob's server is back, and bob changes “{CONFLICT}” too", time.monotonic() - started)
        started = time.monotonic()
        await alice.server.start()
        await self._until(self._both_versions_everywhere, "both versions of the file at both servers")
        await self._until(lambda: self._is_there(bob, alone), alone)
        took = time.monotonic() - started
        self.stage.done("alice's server is back: both now have both versions, and the other file", took)
        self.expected[alone] = _sha256(note)
        for path in await alice.tree():
            if _is_copy_of(CONFLICT, path) or path == CONFLICT:
                self.expected[path] = _sha256(await alice.read(path))
                self.stage.note(f"{path}: {(await bob.read(path)).decode().splitlines()[-1]}")

    async def compare(self) -> bool:
        """Both sides, and what is expected, byte for byte."""
        self.stage.act("Side by side")
        await self._until(self._same_listing, "equal listings")
        mine, theirs = await self.alice.tree(), await self.bob.tree()
        files = {path: entry for path, entry in mine.items() if not entry.folder}
        size = sum(entry.size for entry in files.values())
        with self.stage.progress("every file is read from both servers and compared", 2 * size) as moving:
            sides = ((self.alice, mine), (self.bob, theirs))
            digests = [await self._digests(person, tree, moving.by) for person, tree in sides]
        self.stage.trees(self.alice.url, mine, self.bob.url, theirs)
        folders = [{path for path, entry in tree.items() if entry.folder} for tree in (mine, theirs)]
        good = digests[0] == digests[1] == self.expected and folders[0] == folders[1]
        if good:
            text = f"{len(files)} files in {len(folders[0])} folders are equal on both servers, byte for byte"
        else:
            text = f"Not equal: {', '.join(sorted(self._differing(*digests)))}"
        self.stage.verdict(text, good=good)
        return good

    # -- the means

    @property
    def people(self) -> tuple[Person, Person]:
        """Both of them."""
        return self.alice, self.bob

    async def _settle(self, person: Person) -> None:
        await person.server.start()
        await person.move_in()

    def _other(self, person: Person) -> Person:
        return self.bob if person is self.alice else self.alice

    async def _edit(self, who: Person, path: str, content: bytes) -> None:
        other = self._other(who)

        async def arrived() -> bool:
            return await other.read(path) == content

        await self._change(who, f"edits “{path}”", lambda: who.overwrite(path, content), arrived)
        self.expected[path] = _sha256(content)

    async def _change(
        self, who: Person, text: str, act: Callable[[], Awaitable[object]], arrived: Callable[[], Awaitable[bool]]
    ) -> None:
        """A change, and the time from its acceptance until the other server shows it."""
        await act()
        started = time.monotonic()
        await self._until(arrived, f"what {who.name} did: {text}")
        self.stage.done(f"{who.name} {text}", time.monotonic() - started, f"seen by {self._other(who).name} after")

    async def _until(self, check: Callable[[], Awaitable[bool]], what: str, *, look: float = LOOK) -> None:
        deadline = time.monotonic() + PATIENCE
        while not await check():
            if time.monotonic() > deadline:
                raise StoryFailed(f"Not there within {PATIENCE:.0f} s: {what}")
            await asyncio.sleep(look)

    async def _is_there(self, person: Person, path: str) -> bool:
        return await person.find(path) is not None

    async def _is_gone(self, person: Person, path: str) -> bool:
        return await person.find(path) is None

    async def _both_versions_everywhere(self) -> bool:
        for person in self.people:
            versions = [path for path in await person.tree() if path == CONFLICT or _is_copy_of(CONFLICT, path)]
            try:
                contents = {await person.read(path) for path in versions}
            except (KeyError, RequestRefused):  # renamed since it was listed
                return False
            if not all(any(word in content for content in contents) for word in (b"alice", b"bob")):
                return False
        return await self._same_listing()

    async def _same_listing(self) -> bool:
        mine, theirs = await self.alice.tree(), await self.bob.tree()
        return {path: entry.md5 for path, entry in mine.items()} == {path: entry.md5 for path, entry in theirs.items()}

    async def _digests(self, person: Person, tree: dict[str, Entry], watch: Callable[[int], None]) -> dict[str, str]:
        return {path: await person.digest(entry.id, watch) for path, entry in tree.items() if not entry.folder}

    def _renamed(self, before: str, after: str) -> None:
        self.expected = {
            after + path.removeprefix(before) if path.startswith(before) else path: digest
            for path, digest in self.expected.items()
        }

    def _differing(self, mine: dict[str, str], theirs: dict[str, str]) -> set[str]:
        paths = {*mine, *theirs, *self.expected}
        return {path for path in paths if not mine.get(path) == theirs.get(path) == self.expected.get(path)}


def _is_copy_of(name: str, path: str) -> bool:
    """Whether a path is the conflict copy of a file at the top of the shared folder (spec/05 §12)."""
    base, _, ending = name.rpartition(".")
    return re.fullmatch(rf"{re.escape(base)} \(\d+\)\.{re.escape(ending)}", path) is not None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
