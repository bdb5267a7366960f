"""References between files and other documents, directories left out on devices (spec/02 §19, spec/01 §11)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from tests.api.drawer import Drawer, error
from tests.servers import Person

ALBUMS = "io.cozy.photos.albums"
_numbers = itertools.count(1)


@pytest.fixture
def drawer(alice: Person) -> Drawer:
    return Drawer(alice)


@pytest.fixture
def album() -> str:
    return f"album{next(_numbers)}"


def listed(ids: list[str]) -> dict[str, Any]:
    return {"data": [{"id": id, "type": "io.cozy.files"} for id in ids]}


def of_album(album: str, doctype: str = ALBUMS) -> str:
    return f"/data/{doctype}/{album}/relationships/references"


def references(drawer: Drawer, id: str) -> Any:
    return drawer.get(id)["relationships"]["referenced_by"]["data"]


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_reference_is_added_once_and_removed(drawer: Drawer, kind: str) -> None:
    id = (drawer.upload("a") if kind == "file" else drawer.mkdir("a"))["id"]
    url = f"/files/{id}/relationships/referenced_by"
    one, other = {"id": "1", "type": ALBUMS}, {"id": "2", "type": ALBUMS}
    body = drawer.ok("POST", url, json_body={"data": [one, other]})
    assert body == {"data": [one, other], "meta": {"rev": drawer.rev(id), "count": 2}}
    assert drawer.ok("POST", url, json_body={"data": one})["data"] == [one, other]
    shown = drawer.get(id)["attributes"]
    assert ("referenced_by" in shown) is (kind == "directory")
    assert drawer.ok("DELETE", url, json_body={"data": [one, {"id": "x", "type": "y"}]})["data"] == [other]
    assert references(drawer, id) == [other]
    assert drawer.ok("DELETE", url, json_body={"data": other})["data"] == []
    assert references(drawer, id) is None


@pytest.mark.parametrize("body", [{}, {"data": {"id": "a"}}, {"data": [{"type": "b"}]}, {"data": "x"}])
def test_references_that_say_too_little_are_refused(drawer: Drawer, body: Any) -> None:
    file = drawer.upload("a")
    answer = drawer.call("POST", f"/files/{file['id']}/relationships/referenced_by", json_body=body)
    assert answer.status_code in (400, 422)
    error(answer)
    assert drawer.rev(file["id"]) == file["meta"]["rev"]


def test_an_album_gains_and_loses_files(drawer: Drawer, album: str) -> None:
    ids = [drawer.upload(f"f{n}")["id"] for n in range(3)]
    url = of_album(album)
    assert drawer.call("POST", url, json_body=listed(ids)).status_code == 204
    body = drawer.ok("GET", url)
    assert body == {**listed(sorted(ids)), "links": {}, "meta": {"count": 3}}
    assert drawer.call("DELETE", url, json_body=listed(ids[:1])).status_code == 204
    assert [entry["id"] for entry in drawer.ok("GET", url)["data"]] == sorted(ids[1:])
    refused = drawer.call("POST", url, json_body=listed([ids[0], "ghost"]))
    assert (refused.status_code, refused.json()) == (404, {"error": "Not Found(404): file does not exist"})
    assert references(drawer, ids[0]) is None


@pytest.mark.parametrize("sort", ["", "id", "-id", "datetime", "-datetime"])
def test_an_album_is_read_page_by_page_in_any_order(drawer: Drawer, album: str, sort: str) -> None:
    days = [3, 1, 7, 5, 2, 6, 4]
    ids = {
        drawer.upload(f"f{day}", params={"Metadata": f'{{"datetime": "2020-01-0{day}T00:00:00Z"}}'})["id"]: day
        for day in days
    }
    drawer.call("POST", of_album(album), json_body=listed(list(ids)))
    query = f"page[limit]=3&include=files{'&sort=' + sort if sort else ''}"
    url, seen = f"{of_album(album)}?{query}", []
    while url:
        body = drawer.ok("GET", url)
        assert body["meta"]["count"] == 7
        assert [entry["id"] for entry in body["data"]] == [item["id"] for item in body["included"]]
        seen += [entry["id"] for entry in body["data"]]
        url = f"{body['links']['next']}&{query.split('&', 1)[1]}" if body["links"] else ""
    wanted = sorted(ids, key=lambda id: ids[id] if "datetime" in sort else id, reverse=sort.startswith("-"))
    assert seen == wanted


def test_pages_of_an_album_by_number(drawer: Drawer, album: str) -> None:
    ids = sorted(drawer.upload(f"f{n}")["id"] for n in range(5))
    drawer.call("POST", of_album(album), json_body=listed(ids))
    body = drawer.ok("GET", of_album(album) + "?page[skip]=1&page[limit]=2")
    assert [entry["id"] for entry in body["data"]] == ids[1:3]
    assert body["links"]["next"] == f"{of_album(album)}?page%5Blimit%5D=2&page%5Bskip%5D=3"


@pytest.mark.parametrize("query", ["sort=name", "page[limit]=x", "page[cursor]={", "page[cursor]=[[1],%22a%22]"])
def test_a_list_that_makes_no_sense_is_refused(drawer: Drawer, album: str, query: str) -> None:
    answer = drawer.call("GET", f"{of_album(album)}?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("Bad Request(400): ")


def test_an_id_with_a_slash_and_its_old_form(drawer: Drawer) -> None:
    one, old = drawer.upload("one"), drawer.upload("old")
    slashed = f"io.cozy.apps/photos{next(_numbers)}"
    url = of_album(slashed.replace("/", "%2F"), "io.cozy.apps")
    legacy = {"data": {"id": slashed.replace("/", "%2F"), "type": "io.cozy.apps"}}
    drawer.ok("POST", f"/files/{old['id']}/relationships/referenced_by", json_body=legacy)
    assert [entry["id"] for entry in drawer.ok("GET", url)["data"]] == [old["id"]]
    assert drawer.call("POST", url, json_body=listed([one["id"]])).status_code == 204
    assert references(drawer, one["id"]) == [{"id": slashed, "type": "io.cozy.apps"}]
    assert drawer.call("DELETE", url, json_body=listed([one["id"], old["id"]])).status_code == 204
    assert references(drawer, old["id"]) is None


def test_references_need_a_right_on_the_document_or_on_all_files(alice: Person, drawer: Drawer, album: str) -> None:
    body = listed([drawer.upload("a")["id"]])
    url = of_album(album)
    for scope, method, status in (
        (f"{ALBUMS}:PUT:{album}", "POST", 204),
        ("io.cozy.files:PATCH", "POST", 204),
        (f"{ALBUMS}:GET:{album}", "POST", 403),
        (f"{ALBUMS}:PUT:other", "POST", 403),
        (f"io.cozy.files:PATCH:{drawer.id}", "POST", 403),
        (f"{ALBUMS}:DELETE:{album}", "DELETE", 204),
        (f"{ALBUMS}:PUT", "DELETE", 403),
        ("io.cozy.files:PATCH", "DELETE", 204),
        (f"{ALBUMS}:GET:{album}", "GET", 200),
        ("io.cozy.files:GET", "GET", 200),
        (f"{ALBUMS}:PUT", "GET", 403),
    ):
        sent = None if method == "GET" else body
        assert alice.call(method, url, scope, json_body=sent).status_code == status, (scope, method)
    assert alice.call("GET", url, token="").status_code == 401


# -- devices


def test_directories_are_left_out_on_a_device(drawer: Drawer) -> None:
    device = f"device{next(_numbers)}"
    subs = [drawer.mkdir(f"s{n}")["id"] for n in range(3)]
    url = f"/data/io.cozy.oauth.clients/{device}/relationships/not_synchronizing"
    assert drawer.call("POST", url, json_body=listed(subs)).status_code == 204
    body = drawer.ok("GET", url + "?include=files")
    assert [entry["id"] for entry in body["data"]] == sorted(subs)
    assert body["meta"] == {"count": 3}
    assert {item["attributes"]["name"] for item in body["included"]} == {"s0", "s1", "s2"}
    reference = {"id": device, "type": "io.cozy.oauth.clients"}
    assert drawer.get(subs[0])["relationships"]["not_synchronized_on"]["data"] == [reference]
    assert drawer.call("DELETE", url, json_body=listed(subs[1:])).status_code == 204
    own = f"/files/{subs[0]}/relationships/not_synchronized_on"
    assert drawer.ok("POST", own, json_body={"data": reference})["data"] == [reference]
    assert drawer.ok("DELETE", own, json_body={"data": reference})["meta"]["count"] == 0
    assert drawer.ok("GET", url)["data"] == []


def test_a_file_cannot_be_left_out(drawer: Drawer) -> None:
    file = drawer.upload("a")
    url = "/data/io.cozy.oauth.clients/d/relationships/not_synchronizing"
    for method in ("POST", "DELETE"):
        refused = drawer.call(method, url, json_body=listed([file["id"]]))
        assert refused.status_code == 400
        assert refused.json() == {"error": "Bad Request(400): Cannot add not_synchronized_on on files"}
    own = f"/files/{file['id']}/relationships/not_synchronized_on"
    assert drawer.call("POST", own, json_body={"data": {"id": "d", "type": "t"}}).status_code == 404
