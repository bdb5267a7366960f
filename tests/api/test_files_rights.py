"""What limited tokens may do with files, and how much an instance may store (spec/02 §10, §11; spec/03 §10.4)."""

from __future__ import annotations

import pytest
from tests.api.drawer import Drawer, error
from tests.servers import Person, RunningServer


@pytest.fixture
def drawer(alice: Person) -> Drawer:
    return Drawer(alice)


def test_a_right_on_a_directory_covers_all_below_it_and_nothing_else(alice: Person, drawer: Drawer) -> None:
    inside = drawer.mkdir("inside")
    deep = drawer.upload("deep", into=drawer.mkdir("sub", into=inside["id"])["id"])
    beside = drawer.upload("beside")
    token = alice.token(f"io.cozy.files:ALL:{inside['id']}")
    for id, status in ((inside["id"], 200), (deep["id"], 200), (beside["id"], 403), (drawer.id, 403)):
        assert drawer.call("GET", f"/files/{id}", token=token).status_code == status
    assert drawer.send("new", into=inside["id"], token=token).status_code == 201
    assert drawer.send("new", token=token).status_code == 403
    assert drawer.names() == ["inside", "beside"]


def test_each_route_asks_for_its_verb(alice: Person, drawer: Drawer) -> None:
    file = drawer.upload("a")
    body = {"data": {"attributes": {}}}
    reference = {"data": {"id": "1", "type": "t"}}
    for verb, method, path, sent in (
        ("GET", "GET", f"/files/{file['id']}", None),
        ("GET", "GET", f"/files/download/{file['id']}", None),
        ("GET", "POST", f"/files/downloads?Id={file['id']}", None),
        ("PATCH", "PATCH", f"/files/{file['id']}", body),
        ("PATCH", "POST", f"/files/{file['id']}/relationships/referenced_by", reference),
        ("DELETE", "DELETE", f"/files/{file['id']}/relationships/referenced_by", reference),
        ("PUT", "PUT", f"/files/{file['id']}", None),
        ("PUT", "POST", f"/files/{file['id']}/versions", body),
        ("POST", "POST", f"/files/{drawer.id}?Type=directory&Name=sub", None),
        ("PATCH", "DELETE", f"/files/{file['id']}", None),
        ("PATCH", "POST", f"/files/trash/{file['id']}", None),
        ("PATCH", "PATCH", f"/files/{file['id']}", {"data": {"attributes": {"move_to_trash": True}}}),
        ("DELETE", "DELETE", f"/files/trash/{file['id']}", None),
    ):
        others = ",".join(other for other in ("GET", "POST", "PUT", "PATCH", "DELETE") if other != verb)
        refused = alice.call(method, path, f"io.cozy.files:{others}", json_body=sent)
        assert refused.status_code == 403, (verb, method, path)
        assert refused.text == "Forbidden"
        allowed = alice.call(method, path, f"io.cozy.files:{verb}", json_body=sent)
        assert allowed.status_code < 300, (verb, method, path, allowed.text)


def test_a_limited_right_moves_nothing_across_its_border(alice: Person, drawer: Drawer) -> None:
    inside, outside = drawer.mkdir("inside"), drawer.mkdir("outside")
    mine, other = drawer.upload("mine", into=inside["id"]), drawer.upload("secret", into=outside["id"])
    token = alice.token(f"io.cozy.files:ALL:{inside['id']}")
    body = {"data": {"attributes": {"dir_id": outside["id"]}}}
    assert drawer.call("PATCH", f"/files/{mine['id']}", json_body=body, token=token).status_code == 403
    stolen = drawer.call("POST", f"/files/{other['id']}/copy", params={"DirID": inside["id"]}, token=token)
    assert stolen.status_code == 403
    out = drawer.call("POST", f"/files/{mine['id']}/copy", params={"DirID": outside["id"]}, token=token)
    assert out.status_code == 403
    assert drawer.names(inside["id"]) == ["mine"]
    assert drawer.names(outside["id"]) == ["secret"]
    batch = {"data": [{"id": mine["id"], "attributes": {"dir_id": outside["id"]}}]}
    assert drawer.call("PATCH", "/files/", json_body=batch, token=token).status_code == 403


def test_a_right_by_an_attribute(alice: Person, drawer: Drawer) -> None:
    pdf, text = drawer.upload("a.pdf", mime=None), drawer.upload("a.txt")
    token = alice.token("io.cozy.files:GET:application/pdf:mime")
    assert drawer.call("GET", f"/files/{pdf['id']}", token=token).status_code == 200
    assert drawer.call("GET", f"/files/{text['id']}", token=token).status_code == 403
    tagged = drawer.mkdir("tagged", Tags="shared")
    below = drawer.upload("below", into=tagged["id"])
    token = alice.token("io.cozy.files:GET:shared:tags")
    assert drawer.call("GET", f"/files/{below['id']}", token=token).status_code == 200
    assert drawer.call("GET", f"/files/{drawer.id}", token=token).status_code == 403


def test_lists_over_everything_need_a_right_on_everything(alice: Person, drawer: Drawer) -> None:
    token = alice.token(f"io.cozy.files:ALL:{drawer.id}")
    for method, path in (
        ("POST", "/files/_all_docs"),
        ("GET", "/files/_changes"),
        ("GET", "/files/fsck"),
        ("POST", "/files/shared-drives"),
        ("DELETE", "/files/versions"),
        ("DELETE", "/files/trash"),
        ("GET", "/files/trash"),
    ):
        assert drawer.call(method, path, token=token).status_code == 403, path


def test_the_directory_of_drives_is_made_once(drawer: Drawer) -> None:
    one, other = (drawer.ok("POST", "/files/shared-drives")["data"] for _ in range(2))
    assert one == other
    assert (one["id"], one["attributes"]["path"]) == ("io.cozy.files.shared-drives-dir", "/Drives")


# -- how much is stored


@pytest.fixture
def small(server: RunningServer, request: pytest.FixtureRequest) -> Drawer:
    """An instance with room for a thousand bytes."""
    name = request.node.name.replace("_", "-")
    return Drawer(server.add(name, disk_quota=1000))


def used(drawer: Drawer) -> dict[str, str]:
    return drawer.ok("GET", "/settings/disk-usage")["data"]["attributes"]


def test_what_does_not_fit_is_refused(small: Drawer) -> None:
    small.upload("a", b"x" * 600)
    for body in (b"x" * 401, iter([b"x" * 300, b"x" * 300])):
        refused = small.send("b", body)
        assert refused.status_code == 413
        assert error(refused)["detail"] == "The file is too big and exceeds the disk quota"
    assert small.names() == ["a"]
    assert used(small) == {"used": "600", "files": "600", "versions": "0", "quota": "1000"}
    small.upload("b", b"x" * 400)
    assert used(small)["used"] == "1000"


def test_versions_and_copies_take_room(small: Drawer) -> None:
    file = small.upload("a", b"x" * 400)
    assert small.overwrite(file["id"], b"y" * 300).status_code == 200
    assert used(small) == {"used": "700", "files": "300", "versions": "400", "quota": "1000"}
    assert small.overwrite(file["id"], b"z" * 301).status_code == 413
    assert small.call("POST", f"/files/{file['id']}/copy").status_code == 201
    assert small.call("POST", f"/files/{file['id']}/copy").status_code == 413
    assert small.read(file["id"]) == b"y" * 300
