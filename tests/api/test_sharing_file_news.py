"""Something new in a shared folder is told to its owner, where the context asks for it (spec/04 §23.3)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.api.sharing_town import (
    ALL,
    Body,
    Scripted,
    Town,
    carol2,
    contact,
    eventually,
    folder,
    join,
    mail_to,
    people,
    rule,
    share,
    state_of,
)
from tests.servers import Person, RunningServer

__all__ = ["carol2"]

NOTICES = "io.cozy.notifications"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """Alice's server tells of new files, bob's does not."""
    told = {"default": {"sharing_notifications": {"enabled": True}}}
    here = RunningServer(tmp_path_factory.mktemp("here"), contexts=told).start()
    there = RunningServer(tmp_path_factory.mktemp("there")).start()
    yield Town(
        here.add("alice", passphrase="cozy"), there.add("bob", passphrase="cozy"),
        there.add("carol", passphrase="cozy"), here, there,
    )  # fmt: skip
    there.stop()
    here.stop()


def notices(person: Person) -> list[Body]:
    """The notifications of a person, by the names of the files."""
    found = person.get(f"/data/{NOTICES}/_all_docs?include_docs=true", NOTICES)
    rows = found.json().get("rows", []) if found.status_code == 200 else []
    return [row["doc"] for row in rows if not row["id"].startswith("_design/")]


def upload(person: Person, name: str, parent: str) -> str:
    """A new file in a folder."""
    headers = {"Content-Type": "text/plain"}
    sent = person.post(f"/files/{parent}?Type=file&Name={name}", *ALL, content=b"new", headers=headers)
    assert sent.status_code == 201, sent.text
    return sent.json()["data"]["id"]


def test_a_new_file_is_told_once_with_a_link(town: Town, carol2: Scripted) -> None:
    alice = town.alice
    root = folder(alice, "Watched", "before.txt")
    invited = contact(alice, "carol2", email=carol2.email, url=carol2.url)
    sharing = share(alice, people(invited), [rule(root, doctype="io.cozy.files")], description="Watched")
    upload(alice, "nobody takes part yet.txt", root)
    carol2.join(alice, sharing)
    id = upload(alice, "news.txt", root)
    upload(alice, "elsewhere.txt", "io.cozy.files.root-dir")
    made = alice.post(f"/files/{root}?Type=directory&Name=Sub", *ALL).json()["data"]["id"]
    eventually(lambda: len(notices(alice)) == 2, "two notifications")
    told = {one["data"]["FileName"]: one for one in notices(alice)}
    assert set(told) == {"news.txt", "Sub"}
    assert told["news.txt"]["category"] == "sharing-file-changed"
    assert told["news.txt"]["source_id"] == f"cozy/stack/drive/sharing-file-changed/{sharing}/{id}"
    assert told["news.txt"]["title"] == "Something new in “Watched”"
    assert told["news.txt"]["data"]["FileURL"].endswith(f"/#/folder/{root}/file/{id}")
    assert told["Sub"]["data"]["FileURL"].endswith(f"/#/folder/{made}")
    assert "was added to" in mail_to(alice, "alice@example.com", count=2)


def test_what_a_recipient_adds_is_told_to_the_owner_alone(town: Town) -> None:
    alice, bob = town.alice, town.bob
    root = folder(alice, "Both", "one.txt")
    invited = contact(alice, "bob", url=bob.url)
    sharing = share(alice, people(invited), [rule(root, doctype="io.cozy.files")], description="Both")
    assert state_of(alice, sharing)
    join(alice, bob, sharing)
    place = eventually(
        lambda: bob.get("/files/metadata", *ALL, params={"Path": "/Inbox of sharings/Tests/one.txt"}).json().get("data")
    )
    upload(bob, "from bob.txt", place["attributes"]["dir_id"])
    eventually(lambda: "from bob.txt" in {one["data"]["FileName"] for one in notices(alice)})
    assert notices(bob) == []
