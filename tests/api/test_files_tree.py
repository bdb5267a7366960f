"""The tree of files as other domains write it: received revisions, fixed directories, checks (spec/02 §2, §20, §22)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.drawer import ROOT, TRASH, Drawer, error
from tests.servers import Person, RunningServer

from inglenook.files import tree
from inglenook.files.check import check_files
from inglenook.files.documents import FILES, NO_LONGER_SHARED_ID, SHARED_WITH_ME_ID, Item
from inglenook.files.fixed_directories import ensure_no_longer_shared, ensure_shared_with_me
from inglenook.files.repair import repair
from inglenook.files.store import create_item, update_item
from inglenook.kernel.errors import Conflict, DocumentConflict, NotFound, PreconditionFailed
from inglenook.storage.documents.contract import Body, Reader, Writer


@pytest.fixture
def drawer(alice: Person) -> Drawer:
    return Drawer(alice)


def write(person: Person, change: Any) -> Any:
    return person.server.do(lambda _: person.instance.store.write(change))


def read(person: Person, query: Any) -> Any:
    return person.server.do(lambda _: person.instance.store.read(query))


def folder(name: str, dir_id: str) -> Body:
    return {"type": "directory", "name": name, "dir_id": dir_id, "created_at": "2026-01-01T00:00:00Z"}


# -- revisions made elsewhere


def test_a_received_revision_becomes_the_current_one(alice: Person, drawer: Drawer) -> None:
    def create(tx: Writer) -> Item:
        return create_item(tx, "received1", folder("a", drawer.id), chain=["3-aaa", "4-bbb"])

    assert write(alice, create).rev == "4-bbb"
    assert drawer.get("received1")["meta"]["rev"] == "4-bbb"

    def rename(tx: Writer) -> Item:
        return update_item(tx, tree.find(tx, "received1"), folder("b", drawer.id), chain=["4-bbb", "5-ccc"])

    assert write(alice, rename).rev == "5-ccc"
    assert drawer.names() == ["b"]


def test_a_received_rename_makes_no_revision_below(alice: Person, drawer: Drawer) -> None:
    top = drawer.mkdir("top")
    sub = drawer.mkdir("sub", into=top["id"])
    chain = [top["meta"]["rev"], "2-aaa"]

    def rename(tx: Writer) -> Item:
        return update_item(tx, tree.find(tx, top["id"]), folder("renamed", drawer.id), chain=chain)

    write(alice, rename)
    now = drawer.get(sub["id"])
    assert now["meta"]["rev"] == sub["meta"]["rev"]
    assert now["attributes"]["path"] == f"{drawer.path}/renamed/sub"


def test_a_revision_that_would_not_win_is_refused_whole(alice: Person, drawer: Drawer) -> None:
    top = drawer.mkdir("top")
    item = Item(top["id"], top["meta"]["rev"], folder("top", drawer.id))
    drawer.change(top["id"], tags=["newer"])
    for chain in ([item.rev, "2-zzz"], []):
        with pytest.raises(DocumentConflict):
            write(alice, lambda tx, chain=chain: update_item(tx, item, folder("late", drawer.id), chain=chain))
    with pytest.raises(DocumentConflict):
        write(alice, lambda tx: create_item(tx, item.id, folder("again", drawer.id), chain=["9-fff"]))
    assert drawer.names() == ["top"]


def test_the_rules_of_the_tree_hold_for_received_items_too(alice: Person, drawer: Drawer) -> None:
    top = drawer.mkdir("top")
    sub = drawer.mkdir("sub", into=top["id"])

    def move(dir_id: str, name: str) -> Any:
        def change(tx: Writer) -> Item:
            item = tree.find(tx, top["id"])
            return update_item(tx, item, folder(name, dir_id), chain=[item.rev, "9-abc"])

        return change

    with pytest.raises(PreconditionFailed):
        write(alice, move(sub["id"], "top"))
    with pytest.raises(NotFound):
        write(alice, move("nowhere", "top"))
    drawer.upload("taken")
    with pytest.raises(Conflict):
        write(alice, move(drawer.id, "taken"))
    assert drawer.rev(top["id"]) == top["meta"]["rev"]


# -- fixed directories


def test_a_new_instance_has_a_first_tree(server: RunningServer) -> None:
    bob5 = server.add("bob5", locale="fr")
    root = Drawer(bob5).ok("GET", f"/files/{ROOT}")
    names = {child["attributes"]["name"]: child["attributes"] for child in root["included"]}
    assert set(names) - {"drawer"} >= {"Administratif", "Photos"}
    reference = {"id": "io.cozy.apps/administrative", "type": "io.cozy.apps"}
    assert names["Administratif"]["referenced_by"] == [reference]


def test_a_context_can_do_without_the_first_directories(tmp_path_factory: pytest.TempPathFactory) -> None:
    contexts = {"default": {"init_administrative_folder": False, "init_photos_folder": False}}
    server = RunningServer(tmp_path_factory.mktemp("bare"), contexts=contexts).start()
    try:
        root = server.add("bare").get(f"/files/{ROOT}", FILES).json()
        assert "included" not in root
        assert root["data"]["attributes"]["referenced_by"][0]["id"] == "io.cozy.apps/administrative"
    finally:
        server.stop()


def test_the_directories_of_sharings_are_made_when_needed_and_come_back_empty(server: RunningServer) -> None:
    bob2 = server.add("bob2")
    drawer = Drawer(bob2)
    inbox = write(bob2, lambda tx: ensure_shared_with_me(tx, bob2.instance))
    assert (inbox.id, inbox.name, inbox.dir_id) == (SHARED_WITH_ME_ID, "Inbox of sharings", ROOT)
    ended = write(bob2, lambda tx: ensure_no_longer_shared(tx, bob2.instance))
    assert (ended.id, ended.dir_id) == (NO_LONGER_SHARED_ID, SHARED_WITH_ME_ID)
    file = drawer.upload("inside", into=SHARED_WITH_ME_ID)
    drawer.trash(SHARED_WITH_ME_ID)
    assert write(bob2, lambda tx: ensure_no_longer_shared(tx, bob2.instance)).dir_id == ROOT
    back = write(bob2, lambda tx: ensure_shared_with_me(tx, bob2.instance))
    assert (back.id, back.dir_id) == (SHARED_WITH_ME_ID, ROOT)
    assert drawer.names(SHARED_WITH_ME_ID) == []
    assert drawer.get(file["id"])["attributes"].items() >= {"trashed": True, "dir_id": TRASH}.items()
    refused = drawer.call("DELETE", f"/files/trash/{SHARED_WITH_ME_ID}")
    assert refused.status_code == 400
    error(refused)


def test_a_directory_that_has_the_place_is_used(server: RunningServer) -> None:
    alice5 = server.add("alice5")
    mine = Drawer(alice5).mkdir("Inbox of sharings", into=ROOT)
    assert write(alice5, lambda tx: ensure_shared_with_me(tx, alice5.instance)).id == mine["id"]


# -- checks


def findings(person: Person) -> list[dict[str, Any]]:
    async def check(_: Any) -> list[dict[str, Any]]:
        return [finding.to_json() async for finding in check_files(person.instance)]

    return person.server.do(check)


def test_a_whole_tree_has_no_findings(server: RunningServer) -> None:
    alice2 = server.add("alice2")
    drawer = Drawer(alice2)
    file = drawer.upload("a", b"x" * 100_000)
    drawer.overwrite(file["id"], b"other")
    drawer.trash(drawer.mkdir("gone")["id"])
    drawer.upload("twin", b"same")
    drawer.upload("twin2", b"same")
    assert findings(alice2) == []
    assert drawer.ok("GET", "/files/fsck?NoCache=true") == []


def test_what_is_broken_is_found_and_mended(server: RunningServer) -> None:
    carol3 = server.add("carol3")
    drawer = Drawer(carol3)
    ids = [drawer.upload(f"f{n}", b"12345")["id"] for n in range(6)]

    def spoil(tx: Writer) -> None:
        def put(id: str, **changes: Any) -> None:
            item = tree.find(tx, id)
            tx.put(FILES, id, {**item.body, **changes}, rev=item.rev)

        put(ids[0], trashed=True)
        put(ids[1], path="/somewhere")
        put(ids[2], dir_id="missing")
        put(ids[3], name="f4")
        put(ids[5], size="7")
        tx.release(FILES, ids[4])

    write(carol3, spoil)
    found = {finding["file_doc"]["_id"]: finding for finding in findings(carol3)}
    assert found[ids[0]]["type"] == "trashed_not_in_trash"
    assert found[ids[0]]["expected_fullpath"] == f"{drawer.path}/f0"
    assert found[ids[1]]["type"] == "index_file_with_path"
    assert found[ids[2]]["type"] == "index_orphan_tree"
    assert found[ids[3]]["type"] == "index_duplicate_name"
    assert found[ids[4]]["type"] == "filesystem_missing"
    assert found[ids[5]]["content_mismatch"].items() >= {"size_index": 7, "size_file": 5}.items()
    (mismatch,) = drawer.ok("GET", "/files/fsck", params={"NoCache": "true"})
    assert mismatch["type"] == "content_mismatch"

    async def mend(_: Any) -> list[bool]:
        return [await repair(carol3.instance, finding) async for finding in check_files(carol3.instance)]

    assert True in server.do(mend)
    left = {finding["type"] for finding in findings(carol3)}
    assert left == {"filesystem_missing"}
    assert drawer.get(ids[2])["attributes"]["dir_id"] == ROOT


def test_a_missing_content_is_not_found(server: RunningServer) -> None:
    bob3 = server.add("bob3")
    drawer = Drawer(bob3)
    file = drawer.upload("a")
    write(bob3, lambda tx: tx.release(FILES, file["id"]))
    assert error(drawer.call("GET", f"/files/download/{file['id']}"))["detail"] == "file does not exist"
    assert drawer.call("POST", f"/files/{file['id']}/copy").status_code == 404


def test_paths_of_orphans_are_unknown(alice: Person, drawer: Drawer) -> None:
    sub = drawer.mkdir("sub")

    def orphan(tx: Writer) -> None:
        tx.put(FILES, "orphan", folder("orphan", "missing"))

    write(alice, orphan)

    def look(view: Reader) -> tuple[str | None, str | None]:
        lineage = tree.Lineage(view)
        return lineage.path(tree.find(view, "orphan")), lineage.path(tree.find(view, sub["id"]))

    assert read(alice, look) == (None, f"{drawer.path}/sub")
    assert "path" not in drawer.get("orphan")["attributes"]
