"""Uploading and overwriting (spec/02 §4, §5, §7, §9, §13)."""

from __future__ import annotations

import base64
import io
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image
from tests.api.drawer import TRASH, Drawer, error, md5
from tests.servers import Person


@pytest.fixture
def drawer(alice: Person) -> Drawer:
    return Drawer(alice)


def test_a_new_file_is_described_as_it_is(alice: Person, drawer: Drawer) -> None:
    data = drawer.upload("hello.txt", b"hello world", params={"Tags": " b , a,,b"})
    attributes = data["attributes"]
    assert (
        attributes.items()
        >= {
            "type": "file",
            "name": "hello.txt",
            "dir_id": drawer.id,
            "size": "11",
            "md5sum": md5(b"hello world"),
            "mime": "text/plain",
            "class": "text",
            "executable": False,
            "trashed": False,
            "encrypted": False,
            "tags": ["b", "a"],
        }.items()
    )
    assert "path" not in attributes
    assert "metadata" not in attributes
    assert attributes["created_at"] == attributes["updated_at"]
    cozy = attributes["cozyMetadata"]
    assert cozy["createdOn"] == cozy["uploadedOn"] == f"{alice.url}/"
    assert cozy["createdAt"] == cozy["updatedAt"] == cozy["uploadedAt"]
    assert data["meta"]["rev"].startswith("1-")
    assert data["links"] == {"self": f"/files/{data['id']}"}
    assert data["relationships"] == {
        "parent": {
            "links": {"related": f"/files/{drawer.id}"},
            "data": {"id": drawer.id, "type": "io.cozy.files"},
        },
        "referenced_by": {"links": {"self": f"/files/{data['id']}/relationships/references"}, "data": None},
    }
    assert drawer.read(data["id"]) == b"hello world"


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 2_500_000])
def test_contents_on_both_sides_of_the_limit_come_back_whole(drawer: Drawer, size: int) -> None:
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    data = drawer.upload(f"{size}.bin", content)
    assert (data["attributes"]["size"], data["attributes"]["md5sum"]) == (str(size), md5(content))
    assert drawer.read(data["id"]) == content


def test_a_body_in_chunks_needs_no_length(drawer: Drawer) -> None:
    def chunks() -> Iterator[bytes]:
        yield from (bytes([n]) * 7000 for n in range(20))

    data = drawer.upload("chunks", chunks())
    assert drawer.read(data["id"]) == b"".join(chunks())


def test_an_upload_keeps_its_digest_or_is_refused(drawer: Drawer) -> None:
    assert drawer.send("right", b"abc", headers={"Content-MD5": md5(b"abc")}).status_code == 201
    wrong = drawer.send("wrong", b"abc", headers={"Content-MD5": md5(b"abd")})
    assert (wrong.status_code, error(wrong)["source"]) == (412, {"parameter": "Content-MD5"})
    for malformed in ("AAAA", "x" * 24, base64.b64encode(b"x" * 17).decode()):
        refused = drawer.send("malformed", b"abc", headers={"Content-MD5": malformed})
        assert (refused.status_code, error(refused)["source"]) == (422, {"parameter": "Content-MD5"})
    assert drawer.names() == ["right"]


@pytest.mark.parametrize("told", [4, 6])
def test_a_wrong_size_is_refused(drawer: Drawer, told: int) -> None:
    refused = drawer.send("a", iter([b"12345"]), params={"Size": str(told)})
    assert (refused.status_code, error(refused)["source"]) == (412, {"parameter": "Content-Length"})
    assert drawer.names() == []


def test_an_upload_that_breaks_off_leaves_nothing(alice: Person, drawer: Drawer) -> None:
    head = (
        f"POST /files/{drawer.id}?Type=file&Name=half HTTP/1.1\r\nHost: {alice.domain}\r\nContent-Length: 100000\r\n"
        f"Authorization: Bearer {alice.token('io.cozy.files')}\r\nContent-Type: text/plain\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", alice.server.port), 10) as connection:
        connection.sendall(head.encode() + b"x" * 70_000)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(10)
        while connection.recv(4096):
            pass
    assert drawer.names() == []
    drawer.upload("half", b"whole")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\nb", "a\rb"])
def test_a_forbidden_name_is_refused_for_files_and_directories(drawer: Drawer, name: str) -> None:
    for refused in (drawer.send(name), drawer.make(name)):
        assert (refused.status_code, error(refused)["source"]) == (422, {"parameter": "name"})


def test_a_taken_name_is_a_conflict_whatever_takes_it(drawer: Drawer) -> None:
    drawer.upload("file")
    drawer.mkdir("directory")
    for refused in (drawer.send("file"), drawer.make("file"), drawer.send("directory"), drawer.make("directory")):
        assert refused.status_code == 409
        assert error(refused)["detail"] == "file already exists"
    drawer.upload("FILE")


def test_of_uploads_at_the_same_time_with_one_name_one_wins(drawer: Drawer) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda n: drawer.send("race", bytes([n]) * 100_000), range(6)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409, 409]
    assert drawer.names() == ["race"]


def test_a_file_goes_only_into_a_living_directory(drawer: Drawer) -> None:
    file = drawer.upload("file")
    gone = drawer.mkdir("gone")
    drawer.trash(gone["id"])
    for into, detail in (
        ("nowhere", "Parent directory with given DirID does not exist"),
        (file["id"], "Parent directory with given DirID does not exist"),
        (gone["id"], "Parent directory is in the trash"),
        (TRASH, "Parent directory is in the trash"),
    ):
        refused = drawer.send("a", into=into)
        assert (refused.status_code, error(refused)["detail"]) == (404, detail)
    assert drawer.make("a", into=TRASH).status_code == 404


def test_dates_come_from_the_query_then_the_header_then_the_clock(drawer: Drawer) -> None:
    header = {"Date": "Mon, 19 Sep 2016 12:35:08 GMT"}
    query = {"CreatedAt": "2020-01-02T03:04:05.678901234+02:00"}
    both = drawer.upload("a", params=query, headers=header)["attributes"]
    assert (both["created_at"], both["updated_at"]) == (query["CreatedAt"], "2016-09-19T12:35:08Z")
    none = drawer.upload("b", params={"CreatedAt": "yesterday", "UpdatedAt": "2020-13-01T00:00:00Z"})["attributes"]
    assert none["created_at"] == none["updated_at"] > "2026"


@pytest.mark.parametrize(
    ("name", "sent", "mime", "klass"),
    [
        ("a.txt", "text/plain; charset=utf-8", "text/plain", "text"),
        ("a.pdf", "application/octet-stream", "application/pdf", "pdf"),
        ("a.PNG", None, "image/png", "image"),
        ("a.url", "text/plain", "application/internet-shortcut", "shortcut"),
        ("a.x", "what/ever", "what/ever", "what"),
        ("a", None, "application/octet-stream", "files"),
    ],
)
def test_the_type_comes_from_the_header_or_the_name(
    drawer: Drawer, name: str, sent: str | None, mime: str, klass: str
) -> None:
    attributes = drawer.upload(name, mime=sent)["attributes"]
    assert (attributes["mime"], attributes["class"]) == (mime, klass)


def test_a_malformed_type_is_refused(drawer: Drawer) -> None:
    refused = drawer.send("a", mime="text/")
    assert (refused.status_code, error(refused)["source"]) == (422, {"parameter": "mime"})


def test_metadata_are_sent_with_the_file_or_before_it(drawer: Drawer) -> None:
    at_once = drawer.upload("a", params={"Metadata": '{"kind": {"deep": 1}}'})
    assert at_once["attributes"]["metadata"] == {"kind": {"deep": 1}}
    body = {"data": {"type": "io.cozy.files.metadata", "attributes": {"kind": "report", "carbonCopy": True}}}
    before = drawer.ok("POST", "/files/upload/metadata", 201, json_body=body)["data"]
    assert before["type"] == "io.cozy.files.metadata"
    assert before["meta"] == {}
    for name in ("b", "c"):
        data = drawer.upload(name, params={"MetadataID": before["id"]})
        assert data["attributes"]["metadata"] == {"kind": "report"}, "certified keys need a right of their own"
    directory = drawer.mkdir("d", MetadataID=before["id"])
    assert directory["attributes"]["metadata"] == {"kind": "report"}


@pytest.mark.parametrize("params", [{"MetadataID": "0" * 16}, {"Metadata": "{"}, {"Metadata": "[1]"}])
def test_metadata_that_are_not_there_or_no_object_are_refused(drawer: Drawer, params: dict[str, str]) -> None:
    refused = drawer.send("a", params=params)
    assert refused.status_code == 422
    assert error(refused)["source"] == {"parameter": next(iter(params))}
    assert drawer.names() == []


def test_a_certified_source_may_set_certified_metadata(alice: Person, drawer: Drawer) -> None:
    token = alice.token("io.cozy.files", "io.cozy.certified.carbon_copy:POST")
    data = drawer.upload("a", params={"Metadata": '{"carbonCopy": true, "electronicSafe": true}'}, token=token)
    assert data["attributes"]["metadata"] == {"carbonCopy": True}


def test_an_unknown_kind_of_thing_cannot_be_made(drawer: Drawer) -> None:
    refused = drawer.call("POST", f"/files/{drawer.id}", params={"Type": "link", "Name": "a"}, content=b"x")
    assert (refused.status_code, error(refused)["source"]) == (422, {"pointer": "/data/attributes/type"})


# -- what a content tells of itself


def picture(format: str, **options: Any) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (7, 5), "red").save(sink, format, **options)
    return sink.getvalue()


def test_a_picture_tells_its_size(drawer: Drawer) -> None:
    data = drawer.upload("a.png", picture("PNG"), mime="image/png", params={"Metadata": '{"mine": 1, "width": 9}'})
    attributes = data["attributes"]
    assert attributes["metadata"] == {
        "mine": 1,
        "width": 7,
        "height": 5,
        "datetime": attributes["created_at"],
        "extractor_version": 2,
    }
    assert set(data["links"]) == {"self", "tiny", "small", "medium", "large"}


def test_a_photo_tells_when_where_and_how_it_was_taken(drawer: Drawer) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769).update({0x9003: "2019:05:06 07:08:09", 0x9011: "+02:00", 0x9209: 16})
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 30.0, 0.0), 3: "W", 4: (2.0, 15.0, 0.0)})
    attributes = drawer.upload("a.jpg", picture("JPEG", exif=exif), mime="image/jpeg")["attributes"]
    assert attributes["metadata"] == {
        "datetime": "2019-05-06T07:08:09+02:00",
        "width": 7,
        "height": 5,
        "orientation": 6,
        "flash": "Off, Did not fire",
        "gps": {"lat": 48.5, "long": -2.25},
        "extractor_version": 2,
    }
    assert attributes["created_at"] == "2019-05-06T07:08:09+02:00"
    assert attributes["updated_at"] > "2026"


def test_a_damaged_picture_is_kept(drawer: Drawer) -> None:
    data = drawer.upload("a.jpg", b"\xff\xd8\xff no picture", mime="image/jpeg")
    assert "metadata" not in data["attributes"]


def test_music_tells_who_made_it(drawer: Drawer) -> None:
    def frame(name: bytes, text: str) -> bytes:
        value = b"\x03" + text.encode()
        return name + len(value).to_bytes(4, "big") + b"\0\0" + value

    frames = frame(b"TIT2", "Été") + frame(b"TPE1", "Someone") + frame(b"TRCK", "3/9") + frame(b"TYER", "1999")
    head = b"ID3\x03\0\0" + bytes([0, 0, len(frames) >> 7, len(frames) & 127])
    data = drawer.upload("a.mp3", head + frames + b"sound", mime="audio/mpeg")
    assert data["attributes"]["metadata"] == {
        "title": "Été",
        "artist": "Someone",
        "track": 3,
        "year": 1999,
        "extractor_version": 2,
    }


def test_a_shortcut_to_an_app_of_the_same_instance_tells_which(alice: Person, drawer: Drawer) -> None:
    url = alice.url.replace("://", "://drive.")
    content = f"[InternetShortcut]\r\nURL={url}/#/folder/1\r\n".encode()
    data = drawer.upload("a.url", content, mime=None)
    assert data["attributes"]["metadata"]["target"] == {"app": "drive", "cozyMetadata": {"instance": alice.domain}}


# -- overwriting


def test_new_content_keeps_name_place_and_birth_and_loses_what_is_not_sent_again(drawer: Drawer) -> None:
    options = {"Tags": "a", "Executable": "true", "Metadata": '{"x": 1}', "CreatedAt": "2020-01-01T00:00:00Z"}
    old = drawer.upload("a.txt", b"old", params=options)
    answer = drawer.overwrite(old["id"], b"newer", params={"Name": "other", "CreatedAt": "2021-01-01T00:00:00Z"})
    assert answer.status_code == 200
    attributes = answer.json()["data"]["attributes"]
    assert attributes.items() >= {"name": "a.txt", "dir_id": drawer.id, "size": "5", "executable": False}.items()
    assert attributes["created_at"] == "2020-01-01T00:00:00Z"
    assert "tags" not in attributes
    assert "metadata" not in attributes
    assert attributes["cozyMetadata"]["createdAt"] == old["attributes"]["cozyMetadata"]["createdAt"]
    assert drawer.read(old["id"]) == b"newer"


def test_an_overwrite_can_be_tied_to_a_revision(drawer: Drawer) -> None:
    file = drawer.upload("a", b"one")
    first = file["meta"]["rev"]
    assert drawer.overwrite(file["id"], b"two", headers={"If-Match": first}).status_code == 200
    for late in ({"headers": {"If-Match": first}}, {"params": {"rev": first}}):
        refused = drawer.overwrite(file["id"], b"three", **late)
        assert (refused.status_code, error(refused)["source"]) == (412, {"parameter": "If-Match"})
    assert drawer.overwrite(file["id"], b"four", headers={"If-Match": ""}).status_code == 200
    assert drawer.read(file["id"]) == b"four"


def test_only_a_living_file_can_be_overwritten(drawer: Drawer) -> None:
    file = drawer.upload("a")
    drawer.trash(file["id"])
    assert error(drawer.overwrite(file["id"], b"x"))["detail"] == "Parent directory is in the trash"
    for id in (drawer.id, "nowhere"):
        assert drawer.overwrite(id, b"x").status_code == 404


def test_of_overwrites_at_the_same_time_the_first_wins(drawer: Drawer) -> None:
    file = drawer.upload("a", b"old")
    started = threading.Event()

    def slow() -> Iterator[bytes]:
        yield b"slow"
        assert drawer.overwrite(file["id"], b"quick").status_code == 200
        started.set()
        yield b" one"

    late = drawer.call("PUT", f"/files/{file['id']}", content=slow(), headers={"Content-Type": "text/plain"})
    assert started.is_set()
    assert (late.status_code, error(late)["title"]) == (409, "conflict")
    assert drawer.read(file["id"]) == b"quick"


def test_what_happens_to_a_file_while_its_new_content_comes_stays(drawer: Drawer) -> None:
    file = drawer.upload("a.txt", b"old")
    into = drawer.mkdir("into")["id"]

    def renamed_meanwhile(name: str) -> Iterator[bytes]:
        yield b"new "
        drawer.change(file["id"], name=name, dir_id=into)
        yield b"content"

    path, headers = f"/files/{file['id']}", {"Content-Type": "text/plain"}
    written = drawer.ok("PUT", path, content=renamed_meanwhile("b.txt"), headers=headers)["data"]["attributes"]
    assert (written["name"], written["dir_id"], written["size"]) == ("b.txt", into, "11")
    assert drawer.read(file["id"]) == b"new content"
    headers["If-Match"] = drawer.rev(file["id"])
    late = drawer.call("PUT", path, content=renamed_meanwhile("c.txt"), headers=headers)
    assert (late.status_code, error(late)["title"]) == (409, "conflict")
    assert drawer.get(file["id"])["attributes"]["name"] == "c.txt"
    assert drawer.read(file["id"]) == b"new content"


def test_a_right_that_ends_while_the_content_comes_is_looked_at_again(alice: Person, drawer: Drawer) -> None:
    inside = drawer.mkdir("inside")["id"]
    file = drawer.upload("a.txt", b"old", into=inside)

    def moved_meanwhile() -> Iterator[bytes]:
        yield b"new "
        drawer.change(file["id"], dir_id=drawer.id)
        yield b"content"

    refused = alice.put(f"/files/{file['id']}", f"io.cozy.files:ALL:{inside}", content=moved_meanwhile())
    assert refused.status_code == 403
    assert drawer.read(file["id"]) == b"old"


# -- directories


def test_a_new_directory_is_told_in_its_short_form(alice: Person, drawer: Drawer) -> None:
    data = drawer.mkdir("Bills", Tags="a,b", CreatedAt="2026-01-02T03:04:05Z")
    attributes = data["attributes"]
    assert attributes["path"] == f"{drawer.path}/Bills"
    assert (attributes["tags"], attributes["created_at"]) == (["a", "b"], "2026-01-02T03:04:05Z")
    assert "trashed" not in attributes
    assert data["links"] == {"self": f"/files/{data['id']}"}
    assert set(data["relationships"]) == {"referenced_by"}
    assert "uploadedAt" not in attributes["cozyMetadata"]


def test_a_directory_is_made_by_its_path(drawer: Drawer) -> None:
    def by_path(path: str, **params: str) -> Any:
        return drawer.call("POST", "/files/", params={"Type": "directory", "Path": drawer.path + path, **params})

    assert by_path("/a/b").status_code == 404
    assert by_path("/a", Tags="t").json()["data"]["attributes"]["tags"] == ["t"]
    assert by_path("/a").status_code == 409
    made = by_path("/a/b//c/./d/", Recursive="true")
    assert made.status_code == 201
    assert made.json()["data"]["attributes"]["path"] == f"{drawer.path}/a/b/c/d"
    assert "createdOn" not in made.json()["data"]["attributes"]["cozyMetadata"]
    assert by_path("/a/b/c/d", Recursive="true").json()["data"]["id"] == made.json()["data"]["id"]
    drawer.upload("file")
    assert by_path("/file/x", Recursive="true").status_code == 404
    assert by_path("/file", Recursive="true").status_code == 404
    assert error(by_path("/file"))["detail"] == "file already exists"
    assert by_path("/file/x").status_code == 404


def test_paths_that_are_made_at_the_same_time_are_all_made(drawer: Drawer) -> None:
    def make(n: int) -> int:
        params = {"Type": "directory", "Path": f"{drawer.path}/a/b/c{n % 3}", "Recursive": "true"}
        return drawer.call("POST", "/files/", params=params).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(make, range(16))) == {201}
    assert drawer.names(drawer.at("/a/b")["id"]) == ["c0", "c1", "c2"]


def test_a_directory_by_path_needs_a_token(drawer: Drawer) -> None:
    params = {"Type": "directory", "Path": f"{drawer.path}/x", "Recursive": "true"}
    assert drawer.call("POST", "/files/", params=params, token="").status_code == 401
    assert drawer.person.post("/files/", "io.cozy.files:GET", params=params).status_code == 403
    assert drawer.names() == []


def test_a_directory_that_lies_too_deep_is_refused(drawer: Drawer) -> None:
    deep = f"{drawer.path}/" + "/".join("d" * 510)
    params = {"Type": "directory", "Path": deep, "Recursive": "true"}
    assert drawer.call("POST", "/files/", params=params).status_code == 201
    refused = drawer.call("POST", "/files/", params={**params, "Path": deep + "/d"})
    assert (refused.status_code, error(refused)["source"]) == (422, {"parameter": "path"})
