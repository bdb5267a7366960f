"""What one member does in a shared folder, the others see: real servers, both directions (spec/05 §21)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx
import pytest

from .conftest import Town
from .people import ROOT, TRASH, Person, Shared, folder_rule, md5, share_folder
from .processes import eventually


@pytest.fixture(scope="module")
def work(town: Town) -> Shared:
    """A folder of alice's that bob shares; tests use subfolders."""
    return share_folder(town.alice, "Work", [town.bob])


@dataclass
class Corner:
    """A subfolder of the shared one for one test: `here` at who acts, `there` at who must see it."""

    shared: Shared
    me: Person
    other: Person
    here: str
    there: str

    def agree(self, *names: str) -> None:
        """The acting side has these names, and the other side gets the same."""
        mine = self.me.tree(self.here)
        assert set(mine) == set(names)
        eventually(lambda: self.other.tree(self.there) == mine, f"{self.other.name} has {sorted(mine)}")
        assert self.me.tree(self.here) == mine, "what was sent does not come back changed"

    def settled(self, path: str) -> None:
        """Both sides have the same revision of something."""

        def same() -> bool:
            mine, theirs = self.me.find(self.here, path), self.other.find(self.there, path)
            return self.me.rev(mine) == self.other.rev(theirs)

        eventually(same, f"the same revision of {path}")


@pytest.fixture(params=["owner", "recipient"])
def corner(request: pytest.FixtureRequest, work: Shared) -> Corner:
    """A subfolder with `a.txt` and `Sub/in.txt`, of the owner, then of the recipient."""
    owner, recipient = work.members
    me, other = (owner, recipient) if request.param == "owner" else (recipient, owner)
    name = f"{request.node.originalname} {request.param}"
    here = me.mkdir(name, work.place(me))
    me.upload("a.txt", b"first", here)
    sub = me.mkdir("Sub", here)
    me.upload("in.txt", b"inside", sub)
    there = eventually(lambda: other.find(work.place(other), name), f"the folder {name}")
    corner = Corner(work, me, other, here, there)
    corner.agree("a.txt", "Sub", "Sub/in.txt")
    return corner


def test_a_new_file_arrives_with_its_revision_and_another_id(corner: Corner) -> None:
    id = corner.me.upload("new.txt", b"new", corner.here)
    corner.agree("a.txt", "Sub", "Sub/in.txt", "new.txt")
    there = corner.other.find(corner.there, "new.txt")
    assert there != id
    assert corner.other.rev(there) == corner.me.rev(id)
    assert corner.other.read(there) == b"new"


def test_an_empty_file_and_empty_folders_arrive(corner: Corner) -> None:
    corner.me.upload("empty.txt", b"", corner.here)
    corner.me.mkdir("Deeper", corner.me.mkdir("Empty", corner.here))
    corner.agree("a.txt", "Sub", "Sub/in.txt", "empty.txt", "Empty", "Empty/Deeper")


def test_a_new_content_arrives_and_the_old_one_is_a_version(corner: Corner) -> None:
    id = corner.me.find(corner.here, "a.txt")
    there = corner.other.find(corner.there, "a.txt")
    corner.me.overwrite(id, b"second")
    corner.agree("a.txt", "Sub", "Sub/in.txt")
    assert corner.other.rev(there) == corner.me.rev(id)
    versions = corner.other.show(there)["relationships"]["old_versions"]["data"]
    old = corner.other.call("GET", f"/files/download/{versions[0]['id']}")
    assert old.content == b"first"


def test_renamed_moved_and_changed_at_once_arrives_as_one_state(corner: Corner) -> None:
    id, there = corner.me.find(corner.here, "a.txt"), corner.other.find(corner.there, "a.txt")
    corner.me.change(id, name="b.txt")
    corner.me.overwrite(id, b"third")
    corner.me.change(id, dir_id=corner.me.find(corner.here, "Sub"))
    corner.agree("Sub", "Sub/in.txt", "Sub/b.txt")
    assert corner.other.find(corner.there, "Sub/b.txt") == there, "the same file, not a copy"


def test_a_renamed_and_moved_folder_keeps_what_is_inside(corner: Corner) -> None:
    inside = corner.other.find(corner.there, "Sub/in.txt")
    outer = corner.me.mkdir("Outer", corner.here)
    corner.me.change(corner.me.find(corner.here, "Sub"), name="Renamed", dir_id=outer)
    corner.agree("a.txt", "Outer", "Outer/Renamed", "Outer/Renamed/in.txt")
    assert corner.other.find(corner.there, "Outer/Renamed/in.txt") == inside


def test_what_is_moved_out_goes_to_the_trash_of_the_other_and_comes_back(corner: Corner) -> None:
    id = corner.me.find(corner.here, "a.txt")
    name = f"{corner.shared.title} {corner.me.name} out.txt"
    corner.me.change(id, dir_id=ROOT, name=name)
    corner.agree("Sub", "Sub/in.txt")
    assert "a.txt" in {name.partition(" (")[0] + ".txt" for name in corner.other.children(TRASH)} | set(
        corner.other.children(TRASH)
    )
    corner.me.overwrite(id, b"changed outside")
    corner.me.change(id, dir_id=corner.here, name="back.txt")
    corner.agree("Sub", "Sub/in.txt", "back.txt")


def test_a_folder_moved_out_and_in_again_is_there_with_all_that_is_inside(corner: Corner) -> None:
    id = corner.me.find(corner.here, "Sub")
    corner.me.change(id, dir_id=ROOT, name=f"Sub out of {corner.me.name}")
    corner.agree("a.txt")
    corner.me.upload("more.txt", b"more", id)
    corner.me.change(id, dir_id=corner.here, name="Sub")
    corner.agree("a.txt", "Sub", "Sub/in.txt", "Sub/more.txt")


def test_trashed_restored_and_destroyed(corner: Corner) -> None:
    id = corner.me.find(corner.here, "a.txt")
    corner.me.trash(id)
    corner.agree("Sub", "Sub/in.txt")
    corner.me.restore(id)
    corner.agree("a.txt", "Sub", "Sub/in.txt")
    corner.me.trash(id)
    corner.me.destroy(id)
    corner.agree("Sub", "Sub/in.txt")


def test_a_trashed_folder_takes_its_content_along_and_brings_it_back(corner: Corner) -> None:
    id = corner.me.find(corner.here, "Sub")
    corner.me.trash(id)
    corner.agree("a.txt")
    corner.me.restore(id)
    corner.agree("a.txt", "Sub", "Sub/in.txt")
    corner.settled("Sub/in.txt")  # what comes back has a revision more, which has to come around
    corner.me.overwrite(corner.me.find(corner.here, "Sub/in.txt"), b"alive")
    corner.agree("a.txt", "Sub", "Sub/in.txt")


def test_the_other_side_can_change_what_came_back(corner: Corner) -> None:
    id = corner.me.find(corner.here, "Sub")
    corner.me.trash(id)
    corner.agree("a.txt")
    corner.me.restore(id)
    corner.agree("a.txt", "Sub", "Sub/in.txt")
    corner.other.overwrite(corner.other.find(corner.there, "Sub/in.txt"), b"from the other side")
    corner.other.change(corner.other.find(corner.there, "Sub"), name="Sub 2")
    expected = ("file", "19", md5(b"from the other side"))
    eventually(lambda: corner.me.tree(corner.here).get("Sub 2/in.txt") == expected, "the change of the other side")


AWKWARD = [
    "caf\u00e9.txt",
    "cafe\u0301.txt",
    "CAF\u00c9.txt",
    "case.txt",
    "Case.txt",
    "\U0001f9e6 sock.txt",
    ".hidden",
    "..two dots",
    "x (2).txt",
    "x.txt",
    " spaces ",
    "tab\there",
    'quote"and\\backslash',
    "a?b#c%2F&d=e+f.txt",
    "\u202eright to left",
    "x" * 255,
    "\u00e9" * 127,
    "con.txt",
    "no extension",
    "many.dots.tar.gz",
]


def test_awkward_names_arrive_byte_for_byte(corner: Corner) -> None:
    for name in AWKWARD:
        corner.me.upload(name, name.encode(), corner.here)
    corner.me.mkdir("Dossier \u00e9t\u00e9.d", corner.here)
    corner.agree("a.txt", "Sub", "Sub/in.txt", *AWKWARD, "Dossier \u00e9t\u00e9.d")


def test_both_sides_create_the_same_name_and_both_files_live(corner: Corner) -> None:
    corner.me.upload("same.txt", b"mine", corner.here)
    answer = corner.other.call("POST", f"/files/{corner.there}?Type=file&Name=same.txt", content=b"theirs")
    if answer.status_code == 409:  # the first one was there already
        corner.other.upload("same (2).txt", b"theirs", corner.there)
    else:
        assert answer.status_code == 201, answer.text

    def both() -> bool:
        mine, theirs = corner.me.tree(corner.here), corner.other.tree(corner.there)
        hashes = {entry[2] for path, entry in mine.items() if path.startswith("same")}
        return mine == theirs and hashes == {md5(b"mine"), md5(b"theirs")}

    eventually(both, "two files with the same names on both sides")


def test_both_sides_change_the_same_file_and_both_contents_live(corner: Corner) -> None:
    id, there = corner.me.find(corner.here, "a.txt"), corner.other.find(corner.there, "a.txt")
    corner.me.overwrite(id, b"by me")
    corner.other.overwrite(there, b"by the other")

    def both() -> bool:
        mine, theirs = corner.me.tree(corner.here), corner.other.tree(corner.there)
        if mine != theirs:
            return False
        hashes = {entry[2] for entry in mine.values() if entry[0] == "file"}
        overtaken = md5(b"by me") not in hashes or md5(b"by the other") not in hashes
        return not overtaken or no_conflict_was_there(corner, id, there)

    eventually(both, "the same on both sides, with both contents")


def no_conflict_was_there(corner: Corner, id: str, there: str) -> bool:
    """One change arrived before the other was made: then the first content is a version of the second."""
    counts = [
        len(person.show(file)["relationships"].get("old_versions", {}).get("data") or [])
        for person, file in ((corner.me, id), (corner.other, there))
    ]
    return max(counts) >= 1


def test_the_shared_folder_itself_may_be_renamed_by_each(town: Town, work: Shared) -> None:
    folder = share_folder(town.alice, "Own names", [town.bob])
    town.bob.change(folder.place(town.bob), name="As bob likes it", dir_id=ROOT)
    town.alice.upload("later.txt", b"later", folder.place(town.alice))
    folder.agree("later.txt")
    assert town.alice.show(folder.place(town.alice))["attributes"]["name"] == "Own names"
    assert town.bob.show(folder.place(town.bob))["attributes"]["name"] == "As bob likes it"


def test_an_invitation_by_mail_leads_through_the_pages_of_both_servers(town: Town) -> None:
    alice, carol = town.alice, town.carol
    root = alice.mkdir("By mail")
    alice.upload("hello.txt", b"hello", root)
    address = "carol.by.mail@example.com"
    sharing = alice.share("By mail", [folder_rule("By mail", root)], [alice.contact("carol", address)])
    link = re.search(r"https?://\S+/sharings/\S+/discovery\?state=[\w-]+", town.mails.last_to(address))
    assert link is not None
    path = link[0].removeprefix(alice.url)
    with httpx.Client(base_url=alice.server.origin, headers={"Host": alice.domain}, trust_env=False) as browser:
        page = browser.get(path)
        assert page.status_code == 200
        sent = browser.post(
            f"/sharings/{sharing}/discovery", data={"state": path.rpartition("=")[2], "slug": carol.url}
        )
    assert sent.status_code == 302, sent.text
    assert sent.headers["location"].startswith(carol.url)
    carol.agree(sent.headers["location"].removeprefix(carol.url))
    arrived = eventually(lambda: carol.at("/Inbox of sharings/By mail/hello.txt"), "the file")
    assert carol.read(arrived["id"]) == b"hello"
