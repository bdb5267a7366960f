"""Reading, listing and downloading (spec/02 §8, §14, §15)."""

from __future__ import annotations

import io
import unicodedata
import zipfile
from typing import Any

import httpx
import pytest
from tests.api.drawer import FILES, ROOT, TRASH, Drawer, error, md5
from tests.servers import Person

CONTENT = bytes(range(256)) * 400


@pytest.fixture
def drawer(alice: Person) -> Drawer:
    return Drawer(alice)


# -- one at a time


def test_a_file_is_read_by_id_and_by_path(drawer: Drawer) -> None:
    file = drawer.upload("a b.txt")
    assert drawer.get(file["id"]) == file
    assert drawer.at("/a b.txt") == file
    assert drawer.at("//x/../a b.txt") == file
    head = drawer.call("HEAD", f"/files/{file['id']}")
    assert (head.status_code, head.content) == (200, b"")


def test_what_is_told_of_a_file_or_folder_can_be_revalidated(drawer: Drawer) -> None:
    file = drawer.upload("a.txt")
    for path, params in (
        (f"/files/{file['id']}", {}),
        (f"/files/{drawer.id}", {}),
        ("/files/metadata", {"Path": drawer.path + "/a.txt"}),
        ("/files/metadata", {"Path": drawer.path}),
    ):
        answer = drawer.call("GET", path, params=params)
        etag = answer.headers["etag"]
        head = drawer.call("HEAD", path, params=params)
        assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", etag)
        for listed, status in ((etag, 304), ("*", 304), ('"other"', 200)):
            again = drawer.call("GET", path, params=params, headers={"If-None-Match": listed})
            assert (again.status_code, bool(again.content)) == (status, status == 200)
        drawer.change(file["id"], tags=[path, *params.values()])
        assert drawer.call("GET", path, params=params, headers={"If-None-Match": etag}).status_code == 200


def test_what_is_not_there_is_not_found(drawer: Drawer) -> None:
    for answer in (
        drawer.call("GET", "/files/nowhere"),
        drawer.call("GET", "/files/metadata", params={"Path": drawer.path + "/x"}),
        drawer.call("GET", "/files/nowhere/size"),
    ):
        assert error(answer) | {"detail": "file does not exist", "title": "Not Found"} == error(answer)
    for params in ({"Path": "relative"}, {}):
        relative = drawer.call("GET", "/files/metadata", params=params)
        assert (relative.status_code, error(relative)["detail"]) == (400, "Path should be absolute")


@pytest.mark.parametrize("id", ["_design", "_local", "_x"])
def test_ids_of_the_store_are_no_ids_of_files(drawer: Drawer, id: str) -> None:
    refs = {"data": [{"id": "_design/x", "type": FILES}]}
    for method, path, body in (
        ("GET", f"/files/{id}", None),
        ("DELETE", f"/files/{id}", None),
        ("PATCH", f"/files/{id}", {"data": {"attributes": {"name": "x"}}}),
        ("GET", f"/files/download/{id}", None),
    ):
        answer = drawer.call(method, path, json_body=body)
        assert answer.status_code == 400, (method, path)
        assert error(answer)["title"] == "bad_id"
    assert drawer.call("POST", "/data/io.cozy.x/1/relationships/references", json_body=refs).status_code == 400
    assert drawer.ok("POST", "/files/_all_docs", json_body={"keys": [id, drawer.id]})["meta"]["count"] == 1


def test_a_missing_token_is_told_before_a_missing_file(drawer: Drawer) -> None:
    answer = drawer.call("GET", "/files/nowhere", token="")
    assert (answer.status_code, answer.text) == (401, "No token in request")


def test_a_directory_shows_a_page_of_what_is_in_it(drawer: Drawer) -> None:
    sub = drawer.mkdir("sub")
    for name in ("b", "a", "c"):
        drawer.upload(name)
    body = drawer.ok("GET", f"/files/{drawer.id}", params={"page[limit]": "3"})
    data = body["data"]
    assert data["attributes"]["path"] == drawer.path
    assert data["relationships"]["parent"] == {
        "links": {"self": f"/files/{ROOT}"},
        "data": {"id": ROOT, "type": "io.cozy.files"},
    }
    contents = data["relationships"]["contents"]
    assert contents["meta"] == {"count": 4}
    assert [child["id"] for child in contents["data"]] == [child["id"] for child in body["included"]]
    assert body["included"][0]["id"] == sub["id"]
    assert body["included"][0] == sub
    assert [child["attributes"]["name"] for child in body["included"]] == ["sub", "a", "b"]
    assert data["relationships"]["not_synchronized_on"]["data"] is None
    following = drawer.ok("GET", body["links"]["next"])
    assert [child["attributes"]["name"] for child in following["included"]] == ["c"]
    assert following["links"] == {}
    assert drawer.ok("GET", contents["links"]["next"])["data"] == following["included"]


def test_the_root_hides_the_trash_and_its_pages_are_full(alice: Person, drawer: Drawer) -> None:
    body = drawer.ok("GET", f"/files/{ROOT}", params={"page[limit]": "2"})
    assert len(body["included"]) == 2
    whole = drawer.ok("GET", f"/files/{ROOT}", params={"page[limit]": "1000"})
    assert TRASH not in [child["id"] for child in whole["included"]]
    assert whole["data"]["relationships"]["contents"]["meta"]["count"] == len(whole["included"])
    assert whole["data"]["relationships"]["parent"] == {"data": None}
    assert whole["data"]["attributes"]["path"] == "/"


def test_names_are_listed_directories_first_and_by_their_collation(drawer: Drawer) -> None:
    for name in ("b", "B", "a", "é", "e", "10", "2", "_", "Z"):
        drawer.upload(name)
    drawer.mkdir("z")
    drawer.mkdir("A")
    assert drawer.names() == ["A", "z", "_", "10", "2", "a", "b", "B", "e", "é", "Z"]


@pytest.mark.parametrize("way", ["cursor", "skip"])
def test_pages_go_through_everything_once(drawer: Drawer, way: str) -> None:
    names = [f"f{n:02}" for n in range(11)]
    for name in names:
        drawer.upload(name)
    url, seen = f"/files/{drawer.id}?page[limit]=4" + ("&page[skip]=0" if way == "skip" else ""), []
    while url:
        body = drawer.ok("GET", url)
        seen += [child["attributes"]["name"] for child in body["included"]]
        url = body["links"].get("next")
        assert url is None or way in url
    assert seen == names


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("page[limit]=x", "page limit is not a number"),
        ("page[skip]=x", "page skip is not a number"),
        ("page[cursor]={", "bad json cursor {"),
        ("page[cursor]=[1]", "bad cursor length [1]"),
        ("page[cursor]=[[],1]", "bad cursor id [[],1]"),
        ("page[cursor]=[[],%22x%22]", "bad json cursor []"),
    ],
)
def test_a_page_that_makes_no_sense_is_refused(drawer: Drawer, query: str, detail: str) -> None:
    answer = drawer.call("GET", f"/files/{drawer.id}?{query}")
    assert (answer.status_code, error(answer)["detail"]) == (400, detail)


def test_names_in_two_normal_forms_are_two_names(drawer: Drawer) -> None:
    forms = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    ids = [drawer.upload(name, name.encode())["id"] for name in forms]
    assert [drawer.at("/" + name)["id"] for name in forms] == ids
    drawer.trash(ids[0])
    assert drawer.names() == [forms[1]]
    drawer.change(ids[1], name=forms[0])
    assert drawer.at("/" + forms[0])["id"] == ids[1]


def test_the_content_of_a_file_cannot_be_listed(drawer: Drawer) -> None:
    file = drawer.upload("a")
    answer = drawer.call("GET", f"/files/{file['id']}/relationships/contents")
    assert (answer.status_code, error(answer)["detail"]) == (400, f"cant read children of file {file['id']}")


def test_the_size_of_a_directory_counts_all_below_it(drawer: Drawer) -> None:
    sub = drawer.mkdir("sub")
    drawer.upload("a", b"x" * 10)
    drawer.upload("b", b"x" * 80, into=sub["id"])
    data = drawer.ok("GET", f"/files/{drawer.id}/size")["data"]
    assert data == {"type": "io.cozy.files.sizes", "id": drawer.id, "attributes": {"size": "90"}, "meta": {}}


# -- contents


def download(drawer: Drawer, id: str, headers: dict[str, str] | None = None, **params: str) -> httpx.Response:
    headers = {"Accept-Encoding": "identity", **(headers or {})}
    return drawer.call("GET", f"/files/download/{id}", headers=headers, params=params)


def test_a_download_has_the_headers_of_its_file(drawer: Drawer) -> None:
    file = drawer.upload("a.bin", CONTENT, mime="application/octet-stream", headers={
        "Date": "Mon, 19 Sep 2016 12:35:08 GMT"
    })  # fmt: skip
    answer = download(drawer, file["id"])
    assert answer.content == CONTENT
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["etag"] == f'"{md5(CONTENT)}"'
    assert answer.headers["last-modified"] == "Mon, 19 Sep 2016 12:35:08 GMT"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-disposition"] == 'inline; filename="a.bin"'
    assert download(drawer, file["id"], Dl="1").headers["content-disposition"] == 'attachment; filename="a.bin"'
    head = drawer.call("HEAD", f"/files/download/{file['id']}", headers={"Accept-Encoding": "identity"})
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(CONTENT)), b"")


@pytest.mark.parametrize(
    ("asked", "part", "shown"),
    [
        ("bytes=0-9", slice(0, 10), "bytes 0-9/102400"),
        ("bytes=102390-", slice(102390, None), "bytes 102390-102399/102400"),
        ("bytes=-5", slice(-5, None), "bytes 102395-102399/102400"),
        ("bytes=0-999999", slice(None), "bytes 0-102399/102400"),
    ],
)
def test_a_part_of_a_content_is_sent_when_asked(drawer: Drawer, asked: str, part: slice, shown: str) -> None:
    file = drawer.upload("a", CONTENT)
    answer = download(drawer, file["id"], {"Range": asked})
    assert (answer.status_code, answer.headers["content-range"]) == (206, shown)
    assert answer.content == CONTENT[part]
    assert answer.headers["content-length"] == str(len(CONTENT[part]))


def test_several_parts_are_sent_as_one_answer(drawer: Drawer) -> None:
    file = drawer.upload("a", CONTENT)
    answer = download(drawer, file["id"], {"Range": "bytes=1-2,100000-100003"})
    assert answer.status_code == 206
    boundary = answer.headers["content-type"].removeprefix("multipart/byteranges; boundary=")
    parts = answer.content.split(b"--" + boundary.encode())
    assert parts[1].endswith(b"Content-Range: bytes 1-2/102400\r\n\r\n\x01\x02\r\n")
    assert parts[2].endswith(b"\r\n\r\n" + CONTENT[100000:100004] + b"\r\n")
    assert answer.headers["content-length"] == str(len(answer.content))


def test_a_part_outside_of_the_content_is_refused(drawer: Drawer) -> None:
    file = drawer.upload("a", b"12345")
    for asked in ("bytes=5-", "bytes=7-9", "bytes=3-2", "bytes=x"):
        answer = download(drawer, file["id"], {"Range": asked})
        assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */5")
    assert download(drawer, file["id"], {"Range": "lines=1-2"}).status_code == 200
    empty = drawer.upload("empty", b"")
    assert download(drawer, empty["id"], {"Range": "bytes=0-"}).status_code == 200


def test_conditions_are_held_against_the_content(drawer: Drawer) -> None:
    file = drawer.upload("a", b"12345")
    etag, date = f'"{md5(b"12345")}"', download(drawer, file["id"]).headers["last-modified"]
    past = "Mon, 19 Sep 2016 12:35:08 GMT"
    for headers, status in (
        ({"If-None-Match": etag}, 304),
        ({"If-None-Match": f'"x", W/{etag}'}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-None-Match": '"x"', "If-Modified-Since": date}, 200),
        ({"If-Modified-Since": date}, 304),
        ({"If-Modified-Since": past}, 200),
        ({"If-Match": etag}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Unmodified-Since": past}, 412),
        ({"If-Unmodified-Since": date}, 200),
        ({"Range": "bytes=1-", "If-Range": etag}, 206),
        ({"Range": "bytes=1-", "If-Range": '"x"'}, 200),
        ({"Range": "bytes=1-", "If-Range": date}, 206),
        ({"Range": "bytes=1-", "If-Range": past}, 200),
    ):
        assert download(drawer, file["id"], headers).status_code == status, headers


def test_only_a_file_can_be_downloaded(drawer: Drawer) -> None:
    for id in (drawer.id, "nowhere"):
        assert error(download(drawer, id))["detail"] == "file does not exist"
    file = drawer.upload("a")
    for page, status in (("x", 422), ("1", 422)):
        assert download(drawer, file["id"], Page=page).status_code == status


def test_a_download_by_path_honours_a_right_on_a_directory(alice: Person, drawer: Drawer) -> None:
    drawer.upload("a", b"content")
    params = {"Path": f"{drawer.path}/a"}
    answer = alice.get("/files/download", f"io.cozy.files:GET:{drawer.id}", params=params)
    assert answer.content == b"content"
    assert "form-action 'none'" in answer.headers["content-security-policy"]
    assert alice.get("/files/download", "io.cozy.files:GET:other", params=params).status_code == 403


# -- secret links


def link(drawer: Drawer, **params: str) -> str:
    return drawer.ok("POST", "/files/downloads", params=params)["links"]["related"]


def test_a_secret_link_needs_no_token_and_serves_more_than_once(drawer: Drawer) -> None:
    file = drawer.upload("a.txt", b"content")
    for params in ({"Id": file["id"]}, {"Path": f"{drawer.path}/a.txt"}):
        url = link(drawer, **params)
        assert url.endswith("/a.txt")
        for _ in range(2):
            answer = drawer.call("GET", url, token="")
            assert (answer.status_code, answer.content) == (200, b"content")
        assert "frame-ancestors *" in answer.headers["content-security-policy"]
        saved = drawer.call("GET", url + "?Dl=1", token="")
        assert saved.headers["content-disposition"] == 'attachment; filename="a.txt"'
        assert "frame-ancestors *" not in saved.headers["content-security-policy"]


def test_a_secret_link_is_bound_to_the_path_of_its_file(drawer: Drawer) -> None:
    file = drawer.upload("a", b"content")
    url = link(drawer, Id=file["id"])
    drawer.change(file["id"], name="b")
    assert drawer.call("GET", url, token="").status_code == 404


def test_a_secret_link_to_an_old_version(drawer: Drawer) -> None:
    file = drawer.upload("a", b"old")
    drawer.overwrite(file["id"], b"new")
    version = drawer.get(file["id"])["relationships"]["old_versions"]["data"][0]["id"]
    answer = drawer.call("GET", link(drawer, VersionId=version, Filename="was.txt"), token="")
    assert answer.content == b"old"
    assert answer.headers["content-disposition"] == 'inline; filename="was.txt"'
    direct = drawer.call("GET", f"/files/download/{version}")
    assert (direct.content, direct.headers["etag"]) == (b"old", f'"{md5(b"new")}"')
    assert error(drawer.call("GET", f"/files/download/{file['id']}/9-none"))["title"] == "not_found"


def test_links_that_open_nothing(alice: Person, drawer: Drawer) -> None:
    wrong = drawer.call("GET", "/files/downloads/0123456789abcdef/x", token="")
    assert (wrong.status_code, error(wrong)["detail"]) == (400, "Wrong download token")
    assert drawer.call("POST", "/files/downloads").status_code == 400
    assert drawer.call("POST", "/files/downloads", params={"Id": "nowhere"}).status_code == 404
    assert drawer.call("POST", "/files/downloads", params={"Id": drawer.id}).status_code == 404
    file = drawer.upload("a")
    assert alice.post("/files/downloads", "io.cozy.contacts", params={"Id": file["id"]}).status_code == 403


# -- archives


def archive(drawer: Drawer, headers: dict[str, str] | None = None, **attributes: Any) -> httpx.Response:
    return drawer.call("POST", "/files/archive", json_body={"data": {"attributes": attributes}}, headers=headers)


def unzipped(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as found:
        assert found.testzip() is None
        return {name: found.read(name) for name in found.namelist()}


def test_an_archive_has_all_that_is_below_its_entries(drawer: Drawer) -> None:
    sub = drawer.mkdir("sub é")
    drawer.mkdir("empty", into=sub["id"])
    drawer.upload("deep.bin", CONTENT, into=sub["id"])
    drawer.upload("a.txt", b"a")
    answer = archive(drawer, name="out", ids=[sub["id"]], files=[f"{drawer.path}/a.txt"])
    body = answer.json()
    assert body["data"]["attributes"] == {
        "name": "out",
        "ids": [sub["id"]],
        "files": [f"{drawer.path}/a.txt"],
        "pages": None,
    }
    sent = drawer.call("GET", body["links"]["related"], token="")
    assert sent.headers["content-type"] == "application/zip"
    assert sent.headers["content-disposition"] == 'attachment; filename="out.zip"'
    assert unzipped(sent.content) == {
        "out/sub é/": b"",
        "out/sub é/empty/": b"",
        "out/sub é/deep.bin": CONTENT,
        "out/a.txt": b"a",
    }
    at_once = archive(drawer, {"Accept": "application/zip"}, ids=[sub["id"]])
    assert set(unzipped(at_once.content)) == {"archive/sub é/", "archive/sub é/empty/", "archive/sub é/deep.bin"}


def test_archives_that_cannot_be_made(alice: Person, drawer: Drawer) -> None:
    assert archive(drawer, name="x").json() == "Can't create an archive with no files"
    assert archive(drawer, name="a/b", ids=[drawer.id]).json() == "The archive filename can't contain a /"
    assert archive(drawer, ids=["nowhere"]).status_code == 404
    assert archive(drawer, ids="x").status_code == 400
    body = {"data": {"attributes": {"ids": [drawer.id]}}}
    assert alice.post("/files/archive", "io.cozy.files:GET:other", json_body=body).status_code == 403
    assert drawer.call("GET", "/files/archive/0123456789abcdef/x.zip", token="").status_code == 400
