"""Changing, moving, copying, trashing, restoring, destroying; old versions (spec/02 §12, §16, §17, §18)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.drawer import ROOT, TRASH, Drawer, error
from tests.moves import eventually
from tests.servers import Person, RunningServer

from inglenook.files import below


@pytest.fixture
def drawer(alice: Person) -> Drawer:
    return Drawer(alice)


# -- attributes


def test_a_patch_changes_what_it_names(drawer: Drawer) -> None:
    file = drawer.upload("a.txt", params={"CreatedAt": "2020-01-01T00:00:00Z", "Metadata": '{"a": 1, "b": 2}'})
    data = drawer.change(
        file["id"],
        name="b.txt",
        tags=[" x ", "x", ""],
        metadata={"b": 3},
        executable=True,
        encrypted=True,
        updated_at="2021-01-01T00:00:00Z",
        cozyMetadata={"favorite": True, "createdOn": "ignored"},
        size="99",
        md5sum="ignored",
        trashed=True,
        path="/ignored",
        created_at="2022-01-01T00:00:00Z",
    )
    attributes = data["attributes"]
    assert (
        attributes.items()
        >= {
            "name": "b.txt",
            "tags": ["x"],
            "metadata": {"b": 3},
            "executable": True,
            "encrypted": True,
            "trashed": False,
            "size": "5",
            "updated_at": "2021-01-01T00:00:00Z",
            "created_at": "2020-01-01T00:00:00Z",
        }.items()
    )
    assert attributes["cozyMetadata"]["favorite"] is True
    assert attributes["cozyMetadata"]["createdOn"] == file["attributes"]["cozyMetadata"]["createdOn"]
    assert data["meta"]["rev"].startswith("2-")
    plain = drawer.change(file["id"], tags=[], metadata={}, cozyMetadata={"favorite": False})["attributes"]
    assert {"tags", "metadata"}.isdisjoint(plain)
    assert "favorite" not in plain["cozyMetadata"]


def test_a_patch_without_effect_is_a_new_revision(drawer: Drawer) -> None:
    file = drawer.upload("a")
    assert drawer.change(file["id"])["meta"]["rev"].startswith("2-")


def test_another_extension_is_another_type(drawer: Drawer) -> None:
    file = drawer.upload("a.txt", mime="what/ever")
    assert drawer.change(file["id"], name="b.txt")["attributes"]["mime"] == "what/ever"
    assert drawer.change(file["id"], name="b.PDF")["attributes"]["class"] == "pdf"
    assert drawer.change(file["id"], **{"class": "ignored"})["attributes"]["mime"] == "application/pdf"


@pytest.mark.parametrize(
    "attributes", [{"name": 1}, {"tags": "a"}, {"tags": [1]}, {"metadata": []}, {"executable": "true"}, {"dir_id": 3}]
)
def test_an_attribute_of_the_wrong_type_changes_nothing(drawer: Drawer, attributes: dict[str, Any]) -> None:
    file = drawer.upload("a")
    assert drawer.patch(file["id"], **{"encrypted": True, **attributes}).status_code == 400
    assert drawer.rev(file["id"]) == file["meta"]["rev"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"data": 1}', b"{}"])
def test_a_body_that_is_no_patch_is_refused(drawer: Drawer, body: bytes) -> None:
    answer = drawer.call("PATCH", f"/files/{drawer.id}", content=body)
    assert (answer.status_code, error(answer)["title"]) == (400, "Bad Request")


def test_a_change_can_be_tied_to_a_revision(drawer: Drawer) -> None:
    file = drawer.upload("a")
    assert drawer.patch(file["id"], headers={"If-Match": file["meta"]["rev"]}, name="b").status_code == 200
    late = drawer.patch(file["id"], headers={"If-Match": file["meta"]["rev"]}, name="c")
    assert (late.status_code, error(late)["source"]) == (412, {"parameter": "If-Match"})


def test_a_change_cannot_be_older_than_the_creation(drawer: Drawer) -> None:
    file = drawer.upload("a", params={"CreatedAt": "2020-01-01T00:00:00Z", "UpdatedAt": "2019-01-01T00:00:00Z"})
    refused = drawer.patch(file["id"], name="b")
    assert (refused.status_code, error(refused)["source"]) == (422, {"parameter": "UpdatedAt"})
    assert drawer.change(file["id"], name="b", updated_at="2020-01-01T00:00:00Z")["attributes"]["name"] == "b"
    zero = drawer.change(file["id"], updated_at="0001-01-01T00:00:00Z")
    assert zero["attributes"]["updated_at"] == "2020-01-01T00:00:00Z"


def test_certified_metadata_stay_as_they_are(alice: Person, drawer: Drawer) -> None:
    token = alice.token("io.cozy.files", "io.cozy.certified.carbon_copy")
    file = drawer.upload("a", params={"Metadata": '{"carbonCopy": true}'}, token=token)
    kept = drawer.change(file["id"], metadata={"carbonCopy": True, "electronicSafe": True, "x": 1})
    assert kept["attributes"]["metadata"] == {"carbonCopy": True, "x": 1}
    forged = drawer.change(file["id"], metadata={"carbonCopy": "forged"})
    assert "metadata" not in forged["attributes"]


# -- names and places


def test_a_file_is_moved_by_its_directory_or_its_parent(drawer: Drawer) -> None:
    one, other = drawer.mkdir("one"), drawer.mkdir("other")
    file = drawer.upload("a")
    assert drawer.change(file["id"], dir_id=one["id"])["attributes"]["dir_id"] == one["id"]
    parent = {"parent": {"data": {"id": other["id"], "type": "io.cozy.files"}}}
    body = {"data": {"attributes": {"dir_id": drawer.id}, "relationships": parent}}
    moved = drawer.ok("PATCH", f"/files/{file['id']}", json_body=body)["data"]
    assert moved["attributes"]["dir_id"] == other["id"]
    assert drawer.at("/other/a")["id"] == file["id"]


def test_a_directory_takes_what_is_in_it_along(drawer: Drawer) -> None:
    top = drawer.mkdir("top")
    middle = drawer.mkdir("middle", into=top["id"])
    bottom = drawer.mkdir("bottom", into=middle["id"])
    beside = drawer.mkdir("top2")
    file = drawer.upload("file", into=bottom["id"])
    moved = drawer.change(top["id"], name="renamed")
    assert moved["attributes"]["path"] == f"{drawer.path}/renamed"
    assert "contents" in moved["relationships"]
    assert drawer.get(bottom["id"])["attributes"]["path"] == f"{drawer.path}/renamed/middle/bottom"
    assert drawer.at("/renamed/middle/bottom/file")["id"] == file["id"]
    revisions = {id: drawer.rev(id)[:2] for id in (top["id"], middle["id"], bottom["id"], beside["id"], file["id"])}
    assert list(revisions.values()) == ["2-", "2-", "2-", "1-", "1-"], "directories below change, files do not"


def test_moves_that_cannot_be(drawer: Drawer) -> None:
    top = drawer.mkdir("top")
    sub = drawer.mkdir("sub", into=top["id"])
    drawer.upload("taken", into=sub["id"])
    file = drawer.upload("taken")
    gone = drawer.mkdir("gone")
    drawer.trash(gone["id"])
    for id, attributes, status in (
        (top["id"], {"dir_id": sub["id"]}, 412),
        (top["id"], {"dir_id": top["id"]}, 412),
        (top["id"], {"dir_id": "nowhere"}, 404),
        (file["id"], {"dir_id": "nowhere"}, 404),
        (file["id"], {"dir_id": sub["id"]}, 409),
        (file["id"], {"dir_id": gone["id"]}, 404),
        (file["id"], {"dir_id": ""}, 422),
        (file["id"], {"name": "a/b"}, 422),
        (file["id"], {"name": "top"}, 409),
        (ROOT, {"name": "x"}, 400),
        (TRASH, {"name": "x"}, 400),
        ("nowhere", {"name": "x"}, 404),
    ):
        answer = drawer.patch(id, **attributes)
        assert answer.status_code == status, (attributes, answer.text)
        error(answer)
    assert error(drawer.patch(top["id"], dir_id=sub["id"])) == {
        "status": "412",
        "title": "Precondition Failed",
        "detail": "Forbidden document move",
        "source": {"parameter": "dir-id"},
    }


def test_a_batch_applies_what_it_can_and_lists_the_rest(drawer: Drawer) -> None:
    one, other = drawer.upload("one"), drawer.upload("other")

    def batch(*elements: dict[str, Any]) -> Any:
        return drawer.call("PATCH", "/files/", json_body={"data": list(elements)})

    renamed = batch(
        {"id": one["id"], "attributes": {"name": "x"}},
        {"id": "ghost", "attributes": {}},
        {"id": other["id"], "attributes": {"name": "y"}},
        {"id": other["id"], "attributes": {"name": "x"}},
    )
    assert renamed.status_code == 404
    assert [(e["status"], e["source"]) for e in renamed.json()["errors"]] == [
        ("404", {"parameter": "_id", "pointer": "ghost"}),
        ("409", {"parameter": "_id", "pointer": other["id"]}),
    ]
    assert drawer.names() == ["x", "y"]
    trashed = batch({"id": one["id"], "attributes": {"move_to_trash": True}})
    assert (trashed.status_code, trashed.content) == (204, b"")
    assert batch({"id": one["id"]}).status_code == 400


# -- copies


def test_a_copy_has_the_content_and_little_else(drawer: Drawer) -> None:
    file = drawer.upload("a.tar.gz", b"content", params={"Tags": "t", "Executable": "true", "Metadata": '{"x": 1}'})
    drawer.ok(
        "POST", f"/files/{file['id']}/relationships/referenced_by", json_body={"data": {"id": "1", "type": "io.x"}}
    )
    copy = drawer.ok("POST", f"/files/{file['id']}/copy", 201)["data"]
    attributes = copy["attributes"]
    assert attributes["name"] == "a.tar (copy).gz"
    assert (attributes["tags"], attributes["metadata"], attributes["executable"]) == (["t"], {"x": 1}, True)
    assert copy["relationships"]["referenced_by"]["data"] is None
    assert copy["meta"]["rev"].startswith("1-")
    assert drawer.read(copy["id"]) == b"content"
    again = drawer.ok("POST", f"/files/{file['id']}/copy", 201)["data"]["attributes"]["name"]
    assert again == "a.tar (copy) (2).gz"
    sub = drawer.mkdir("sub")
    named = drawer.ok("POST", f"/files/{file['id']}/copy", 201, params={"DirID": sub["id"], "Name": "b.pdf"})["data"]
    assert named["attributes"].items() >= {"name": "b.pdf", "dir_id": sub["id"], "class": "pdf"}.items()
    drawer.overwrite(file["id"], b"changed")
    assert drawer.read(named["id"]) == b"content"


def test_a_trashed_file_is_copied_alive(drawer: Drawer) -> None:
    file = drawer.upload("a")
    drawer.trash(file["id"])
    copy = drawer.ok("POST", f"/files/{file['id']}/copy", 201, params={"DirID": drawer.id})["data"]["attributes"]
    assert copy["trashed"] is False
    assert "restore_path" not in copy
    assert "trashedAt" not in copy["cozyMetadata"]


def test_copies_that_cannot_be(drawer: Drawer) -> None:
    file = drawer.upload("a")
    for id, params, status in (
        (drawer.id, {}, 404),
        ("nowhere", {}, 404),
        (file["id"], {"DirID": "nowhere"}, 404),
        (file["id"], {"DirID": TRASH}, 404),
        (file["id"], {"Name": "a/b"}, 422),
    ):
        assert drawer.call("POST", f"/files/{id}/copy", params=params).status_code == status


# -- the trash


def test_a_trashed_file_says_who_trashed_it_and_where_it_was(alice: Person, drawer: Drawer) -> None:
    file = drawer.upload("a")
    data = drawer.trash(file["id"])
    attributes = data["attributes"]
    assert attributes.items() >= {"dir_id": TRASH, "trashed": True, "restore_path": drawer.path}.items()
    assert attributes["updated_at"] == file["attributes"]["updated_at"]
    cozy = attributes["cozyMetadata"]
    assert cozy["trashedAt"] == cozy["updatedAt"]
    assert cozy["trashedBy"] == {"kind": "member", "displayName": "Alice", "domain": alice.domain}
    again = drawer.call("DELETE", f"/files/{file['id']}")
    assert (again.status_code, error(again)["detail"]) == (400, "File or directory is already in the trash")
    assert file["id"] in [child["id"] for child in drawer.ok("GET", "/files/trash?page[limit]=1000")["data"]]
    moved = drawer.patch(file["id"], dir_id=drawer.id)
    assert (moved.status_code, error(moved)["detail"]) == (400, "File or directory is already in the trash")
    assert drawer.change(file["id"], name="renamed")["attributes"]["name"] == "renamed"
    back = drawer.restore(file["id"])["attributes"]
    assert back.items() >= {"dir_id": drawer.id, "trashed": False}.items()
    assert "restore_path" not in back
    assert back["cozyMetadata"]["trashedAt"] == cozy["trashedAt"]


def test_a_trashed_directory_takes_all_below_it_along(drawer: Drawer) -> None:
    top = drawer.mkdir("top")
    sub = drawer.mkdir("sub", into=top["id"])
    file = drawer.upload("file", into=sub["id"])
    trashed = drawer.trash(top["id"])
    assert "contents" in trashed["relationships"]
    assert drawer.get(sub["id"])["attributes"]["path"].startswith("/.cozy_trash/top")
    inside = drawer.get(file["id"])
    assert inside["attributes"]["trashed"] is True
    assert {"restore_path", "trashedAt"}.isdisjoint({*inside["attributes"], *inside["attributes"]["cozyMetadata"]})
    assert [drawer.rev(id)[:2] for id in (top["id"], sub["id"], file["id"])] == ["2-", "2-", "2-"]
    drawer.restore(top["id"])
    assert drawer.at("/top/sub/file")["attributes"]["trashed"] is False
    assert [drawer.rev(id)[:2] for id in (top["id"], sub["id"], file["id"])] == ["3-", "3-", "3-"]


def test_an_item_inside_a_trashed_directory_comes_back_alone(drawer: Drawer) -> None:
    top = drawer.mkdir("top")
    sub = drawer.mkdir("sub", into=top["id"])
    file = drawer.upload("file", into=sub["id"])
    drawer.trash(top["id"])
    back = drawer.restore(file["id"])
    assert back["attributes"]["trashed"] is False
    assert drawer.at("/top/sub/file")["id"] == file["id"]
    assert drawer.at("/top/sub")["id"] != sub["id"], "the way back was made anew"


def test_names_that_collide_in_the_trash_and_on_the_way_back(drawer: Drawer) -> None:
    ids = []
    for _ in range(3):
        ids.append(drawer.upload("same.txt")["id"])
        drawer.trash(ids[-1])
    names = [drawer.get(id)["attributes"]["name"] for id in ids]
    assert len(set(names)) == 3
    assert all(name.startswith("same.txt") for name in names)
    back = [drawer.restore(id)["attributes"]["name"] for id in ids]
    assert back[0] == "same.txt"
    assert all(len(name) == len("same.txt (048151623)") for name in back[1:])


def test_only_a_mark_behind_a_space_is_taken_off_a_name(drawer: Drawer) -> None:
    for name, restored in (("photo(1)", "photo(1)"), ("x (2)", "x"), ("y (2).pdf", "y (2).pdf"), ("(1)", "(1)")):
        file = drawer.upload(name)
        drawer.trash(file["id"])
        assert drawer.restore(file["id"])["attributes"]["name"] == restored


def test_what_is_gone_on_the_way_back_is_made_anew_or_left_out(drawer: Drawer) -> None:
    sub = drawer.mkdir("sub")
    file = drawer.upload("a", into=sub["id"])
    drawer.trash(file["id"])
    drawer.destroy(sub["id"])
    drawer.restore(file["id"])
    assert drawer.at("/sub/a")["id"] == file["id"]
    drawer.trash(file["id"])
    drawer.trash(drawer.at("/sub")["id"])
    drawer.upload("sub", b"a file is in the way")
    assert drawer.restore(file["id"])["attributes"]["dir_id"] == ROOT
    drawer.trash(file["id"])


def test_the_trash_is_for_what_can_be_trashed(drawer: Drawer) -> None:
    file = drawer.upload("a")
    for method, path in (
        ("DELETE", f"/files/{ROOT}"),
        ("DELETE", f"/files/{TRASH}"),
        ("POST", f"/files/trash/{file['id']}"),
        ("POST", f"/files/trash/{TRASH}"),
        ("DELETE", f"/files/trash/{TRASH}"),
        ("DELETE", f"/files/trash/{ROOT}"),
    ):
        answer = drawer.call(method, path)
        assert answer.status_code == 400, (method, path)
        error(answer)
    assert drawer.patch(ROOT, permanent_delete=True).status_code == 400
    assert drawer.patch(TRASH, permanent_delete=True).status_code == 400
    drawer.get(ROOT)
    drawer.get(TRASH)


def test_the_directories_below_a_renamed_one_get_a_new_revision_all_in_the_end(
    drawer: Drawer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(below, "AT_ONCE", 3)
    monkeypatch.setattr(below, "SLICE", 2)
    top = drawer.mkdir("top")["id"]
    inner = [drawer.mkdir(f"d{number}", into=top)["id"] for number in range(6)]
    inner += [drawer.mkdir(f"e{number}", into=inner[number])["id"] for number in range(3)]
    file = drawer.upload("a", into=inner[0])
    drawer.change(top, name="renamed")
    assert drawer.at("/renamed/d0/e0")["id"] == inner[6]
    eventually(lambda: all(drawer.rev(id).startswith("2-") for id in inner), "all have a new revision")
    drawer.change(top, name="again")
    eventually(lambda: all(drawer.rev(id).startswith("3-") for id in inner), "all have one more")
    assert drawer.rev(file["id"]) == file["meta"]["rev"]


def test_a_move_into_the_trash_is_a_trashing(drawer: Drawer) -> None:
    file = drawer.upload("a")
    moved = drawer.change(file["id"], dir_id=TRASH)["attributes"]
    assert moved.items() >= {"trashed": True, "restore_path": drawer.path}.items()
    assert drawer.change(drawer.upload("b")["id"], move_to_trash=True)["attributes"]["trashed"] is True


def test_what_is_destroyed_is_gone_with_its_versions(drawer: Drawer) -> None:
    file = drawer.upload("a", b"one")
    drawer.overwrite(file["id"], b"two")
    version = drawer.get(file["id"])["relationships"]["old_versions"]["data"][0]["id"]
    answer = drawer.patch(file["id"], permanent_delete=True, name="ignored")
    assert answer.status_code == 200
    assert answer.json()["data"]["attributes"]["name"] == "a"
    assert answer.json()["data"]["meta"]["rev"].startswith("3-")
    assert drawer.call("GET", f"/files/{file['id']}").status_code == 404
    gone = drawer.person.get(f"/data/io.cozy.files.versions/{version.replace('/', '%2F')}", "io.cozy.files.versions")
    assert gone.status_code == 404


def test_what_is_not_in_the_trash_can_be_destroyed_too(drawer: Drawer) -> None:
    folder = drawer.mkdir("folder")
    file = drawer.upload("a", into=folder["id"])
    drawer.ok("DELETE", f"/files/trash/{folder['id']}", 204)
    assert [drawer.call("GET", f"/files/{id}").status_code for id in (folder["id"], file["id"])] == [404, 404]


def test_a_destroyed_directory_leaves_nothing_behind(drawer: Drawer) -> None:
    top = drawer.mkdir("top")
    sub = drawer.mkdir("sub", into=top["id"])
    file = drawer.upload("a", into=sub["id"])
    late = drawer.call("DELETE", f"/files/trash/{top['id']}", headers={"If-Match": "1-other"})
    assert late.status_code == 412
    drawer.destroy(top["id"])
    assert [drawer.call("GET", f"/files/{id}").status_code for id in (top["id"], sub["id"], file["id"])] == [404] * 3


def test_the_trash_is_emptied_of_all_that_is_in_it(server: RunningServer) -> None:
    drawer = Drawer(server.add("emptier"))
    top = drawer.mkdir("top")
    for n in range(20):
        drawer.upload(f"f{n}", into=top["id"])
    drawer.trash(top["id"])
    drawer.trash(drawer.upload("file")["id"])
    assert drawer.ok("GET", "/files/trash")["meta"]["count"] == 2
    assert drawer.ok("GET", "/settings/disk-usage?include=trash")["data"]["attributes"]["trash"] == "105"
    assert drawer.call("DELETE", "/files/trash").status_code == 204
    assert drawer.ok("GET", "/files/trash")["meta"]["count"] == 0
    usage = drawer.ok("GET", "/settings/disk-usage?include=trash")["data"]["attributes"]
    assert usage == {"used": "0", "files": "0", "versions": "0", "trash": "0"}


# -- versions


def versions(drawer: Drawer, id: str) -> list[dict[str, Any]]:
    """The old versions of a file, oldest first."""
    body = drawer.ok("GET", f"/files/{id}")
    listed = body["data"]["relationships"].get("old_versions", {"data": []})["data"]
    assert [entry["id"] for entry in listed] == [entry["id"] for entry in body.get("included", [])]
    return sorted(body.get("included", []), key=lambda entry: entry["attributes"]["cozyMetadata"]["createdAt"])


def test_an_old_content_is_a_version(drawer: Drawer) -> None:
    file = drawer.upload("a", b"one", params={"Tags": "t", "Metadata": '{"x": 1}'})
    answer = drawer.overwrite(file["id"], b"two").json()
    (version,) = answer["included"]
    assert version["id"] == f"{file['id']}/{file['meta']['rev']}"
    assert version["type"] == "io.cozy.files.versions"
    attributes = version["attributes"]
    assert (attributes["size"], attributes["tags"], attributes["metadata"]) == ("3", ["t"], {"x": 1})
    assert attributes["relationships"] == {"file": {"data": {"_id": file["id"], "_type": "io.cozy.files"}}}
    assert attributes["cozyMetadata"]["uploadedAt"] == file["attributes"]["cozyMetadata"]["uploadedAt"]
    assert drawer.call("GET", f"/files/download/{version['id']}").content == b"one"


def test_of_a_burst_the_first_content_survives(drawer: Drawer) -> None:
    file = drawer.upload("a", b"one")
    for content in (b"two", b"three", b"four"):
        drawer.overwrite(file["id"], content)
    (version,) = versions(drawer, file["id"])
    assert drawer.call("GET", f"/files/download/{version['id']}").content == b"one"


def test_a_tagged_content_is_always_kept(drawer: Drawer) -> None:
    file = drawer.upload("a", b"one")
    drawer.overwrite(file["id"], b"two", params={"Tags": "t"})
    drawer.overwrite(file["id"], b"three")
    assert [v["attributes"]["tags"] for v in versions(drawer, file["id"])] == [None, ["t"]]


def test_the_same_content_again_is_no_version(drawer: Drawer) -> None:
    file = drawer.upload("a", b"same")
    answer = drawer.overwrite(file["id"], b"same").json()
    assert "included" not in answer
    assert answer["data"]["meta"]["rev"].startswith("2-")


def test_a_version_comes_back(drawer: Drawer) -> None:
    file = drawer.upload("a", b"one", params={"Tags": "t", "UpdatedAt": "2027-01-01T00:00:00Z"})
    drawer.overwrite(file["id"], b"other")
    (old,) = versions(drawer, file["id"])
    answer = drawer.ok("POST", f"/files/revert/{old['id']}")
    data = answer["data"]
    assert data["attributes"].items() >= {"size": "3", "tags": ["t"], "updated_at": "2027-01-01T00:00:00Z"}.items()
    assert data["meta"]["rev"].startswith("3-")
    assert drawer.read(file["id"]) == b"one"
    (kept,) = answer["included"]
    assert drawer.call("GET", f"/files/download/{kept['id']}").content == b"other"
    again = drawer.call("POST", f"/files/revert/{old['id']}")
    assert (again.status_code, error(again)["title"]) == (404, "not_found")


def test_versions_are_tagged_and_deleted(drawer: Drawer) -> None:
    file = drawer.upload("a", b"one")
    drawer.overwrite(file["id"], b"two")
    (version,) = versions(drawer, file["id"])
    body = {"data": {"attributes": {"tags": ["sent"]}}}
    tagged = drawer.ok("PATCH", f"/files/{version['id']}", json_body=body)["data"]
    assert tagged["attributes"]["tags"] == ["sent"]
    assert tagged["meta"]["rev"].startswith("2-")
    for bad in ({"data": {"attributes": {}}}, {"data": {"attributes": {"tags": [1]}}}):
        assert drawer.call("PATCH", f"/files/{version['id']}", json_body=bad).status_code == 400
    wrong = drawer.call("PATCH", f"/files/{drawer.id}/1-x", json_body=body)
    assert (wrong.status_code, error(wrong)["detail"]) == (409, "Conflict access to same file or directory")
    assert drawer.call("DELETE", f"/files/{version['id']}").status_code == 204
    assert drawer.call("DELETE", f"/files/{version['id']}").status_code == 404
    assert versions(drawer, file["id"]) == []


def test_all_versions_can_be_deleted_at_once(alice: Person, drawer: Drawer) -> None:
    file = drawer.upload("a", b"one")
    drawer.overwrite(file["id"], b"two")
    assert alice.delete("/files/versions", f"io.cozy.files:DELETE:{drawer.id}").status_code == 403
    assert drawer.call("DELETE", "/files/versions").status_code == 204
    assert versions(drawer, file["id"]) == []
    assert drawer.ok("GET", "/settings/disk-usage")["data"]["attributes"]["versions"] == "0"


def test_new_metadata_for_the_same_content(alice: Person, drawer: Drawer) -> None:
    token = alice.token("io.cozy.files", "io.cozy.certified.carbon_copy")
    file = drawer.upload("a", params={"Metadata": '{"carbonCopy": true, "x": 1}', "Tags": "t"}, token=token)

    def renew(attributes: dict[str, Any], **params: str) -> Any:
        body = {"data": {"type": "io.cozy.files.metadata", "attributes": attributes}}
        return drawer.ok("POST", f"/files/{file['id']}/versions", json_body=body, params=params)

    answer = renew({"qualification": "bill"}, Tags="u,v")
    assert (
        answer["data"]["attributes"].items()
        >= {
            "metadata": {"qualification": "bill", "carbonCopy": True},
            "tags": ["u", "v"],
            "md5sum": file["attributes"]["md5sum"],
        }.items()
    )
    assert "included" not in answer
    forged = renew({"carbonCopy": "forged"})["data"]["attributes"]
    assert forged["metadata"] == {"carbonCopy": True}
    assert renew({"other": 1})["data"]["attributes"]["metadata"] == {"other": 1}
    assert drawer.call("POST", f"/files/{drawer.id}/versions", json_body={"data": {}}).status_code == 400


def test_pruning_keeps_the_newest_and_the_tagged(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("pruning")
    server = RunningServer(folder, versions_to_keep=3, seconds_between_versions=0.0).start()
    try:
        drawer = Drawer(server.add("pruner"))
        file = drawer.upload("a", b"0", params={"Tags": "keep"})
        for n in range(1, 6):
            drawer.overwrite(file["id"], str(n).encode())
        found = versions(drawer, file["id"])
        assert [drawer.call("GET", f"/files/download/{v['id']}").content for v in found] == [b"0", b"4"]
    finally:
        server.stop()


def test_a_taken_name_leads_to_the_item_that_has_it(drawer: Drawer) -> None:
    file, folder = drawer.upload("file"), drawer.mkdir("folder")
    for answer, item in (
        (drawer.send("file"), file),
        (drawer.send("folder"), folder),
        (drawer.make("folder"), folder),
        (drawer.patch(folder["id"], name="file"), file),
        (drawer.patch(drawer.upload("other")["id"], name="folder"), folder),
    ):
        assert answer.status_code == 409
        assert error(answer)["links"] == {"related": f"/files/{item['id']}"}
