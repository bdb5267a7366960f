"""Queries, lists, the changes feed, and what /data shows of files (spec/02 §10, §14.6–§14.8)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.api.drawer import ROOT, TRASH, Drawer, error
from tests.servers import Person

from inglenook.files.feed import FeedOptions, FilesFeed, SeenFrom


@pytest.fixture
def drawer(alice: Person) -> Drawer:
    return Drawer(alice)


# -- queries


def index(drawer: Drawer, *fields: str) -> None:
    answer = drawer.call("POST", "/data/io.cozy.files/_index", json_body={"index": {"fields": list(fields)}})
    assert answer.status_code == 200, answer.text


def find(drawer: Drawer, selector: dict[str, Any], params: dict[str, str] | None = None, **rest: Any) -> Any:
    return drawer.ok("POST", "/files/_find", json_body={"selector": selector, **rest}, params=params)


def test_a_query_finds_files_with_their_path_and_directories(drawer: Drawer) -> None:
    index(drawer, "dir_id", "name")
    sub = drawer.mkdir("a")
    file = drawer.upload("b")
    body = find(drawer, {"dir_id": drawer.id, "name": {"$gt": None}})
    assert body["meta"] == {"count": 2}
    assert body["links"] == {}
    assert body["data"] == [sub, {**file, "attributes": {**file["attributes"], "path": f"{drawer.path}/b"}}]


def test_a_query_for_some_fields_gives_little_more(drawer: Drawer) -> None:
    index(drawer, "dir_id", "name")
    sub = drawer.mkdir("a", Tags="t")
    file = drawer.upload("b")
    selector = {"dir_id": drawer.id, "name": {"$gt": None}}
    one, other = find(drawer, selector, fields=["name", "path", "cozyMetadata.createdOn"])["data"]
    created_on = sub["attributes"]["cozyMetadata"]["createdOn"]
    common = {"dir_id": drawer.id, "cozyMetadata": {"createdOn": created_on}}
    assert one["attributes"] == {"type": "directory", "name": "a", "path": f"{drawer.path}/a", **common}
    assert "links" not in one
    assert other["attributes"] == {
        "type": "file", "name": "b", "path": f"{drawer.path}/b", "class": "text", "size": "5", "trashed": False,
        **common,
    }  # fmt: skip
    assert other["links"] == {"self": f"/files/{file['id']}"}
    assert other["meta"] == {"rev": file["meta"]["rev"]}
    (bare,) = find(drawer, {"dir_id": drawer.id, "name": "b"}, fields=["name"])["data"]
    assert bare["relationships"]["parent"]["data"]["id"] == ""


def test_pages_of_a_query(drawer: Drawer) -> None:
    index(drawer, "dir_id", "name")
    for n in range(5):
        drawer.upload(f"f{n}")
    selector = {"dir_id": drawer.id, "name": {"$gt": None}}
    first = find(drawer, selector, limit=2)
    assert first["meta"] == {"count": 2147483646}
    url = first["links"]["next"]
    assert url.startswith("/files/_find?page[cursor]=")
    second = drawer.ok("POST", url, json_body={"selector": selector, "limit": 2})
    names = [item["attributes"]["name"] for item in (*first["data"], *second["data"])]
    assert names == ["f0", "f1", "f2", "f3"]
    rest = find(drawer, selector, {"page[skip]": "4", "page[limit]": "1500"}, limit=1)
    assert [item["attributes"]["name"] for item in rest["data"]] == ["f4"]
    assert rest["meta"] == {"count": 5}
    counted = find(drawer, selector, execution_stats=True)["meta"]["execution_stats"]
    assert counted["results_returned"] == 5


def test_a_query_finds_directories_by_their_path(drawer: Drawer) -> None:
    index(drawer, "path")
    sub = drawer.mkdir("sub")
    inner = drawer.mkdir("inner", into=sub["id"])
    drawer.change(drawer.id, name=drawer.name + "-renamed")
    path = f"{drawer.path}-renamed/sub"
    assert [item["id"] for item in find(drawer, {"path": path})["data"]] == [sub["id"]]
    below = find(drawer, {"path": {"$gte": path + "/", "$lt": path + "0"}})["data"]
    assert [item["id"] for item in below] == [inner["id"]]
    assert find(drawer, {"path": f"{drawer.path}/sub"})["data"] == []


def test_queries_that_are_refused(alice: Person, drawer: Drawer) -> None:
    unindexed = drawer.call("POST", "/files/_find", json_body={"selector": {"nobody.indexed.this": "x"}})
    assert error(unindexed) == {
        "status": "400", "title": "no_index", "detail": "no matching index found, create an index", "source": {},
    }  # fmt: skip
    unsorted = drawer.call("POST", "/files/_find", json_body={"selector": {"name": "x"}, "sort": ["unknown"]})
    assert error(unsorted)["title"] == "no_usable_index"
    assert error(drawer.call("POST", "/files/_find", json_body={}))["title"] == "missing_required_key"
    assert drawer.call("POST", "/files/_find", content=b"{").status_code == 400
    limited = alice.post("/files/_find", f"io.cozy.files:GET:{drawer.id}", json_body={"selector": {"name": "x"}})
    assert limited.status_code == 403


def test_items_by_their_ids(drawer: Drawer) -> None:
    file = drawer.upload("a")
    body = drawer.ok("POST", "/files/_all_docs?include_docs=true", json_body={"keys": [file["id"], "ghost", TRASH]})
    assert [item["id"] for item in body["data"]] == [file["id"]]
    assert body["data"][0]["attributes"]["path"] == f"{drawer.path}/a"
    assert body["meta"] == {"count": 1}
    everything = drawer.ok("POST", "/files/_all_docs", json_body={})
    ids = [item["id"] for item in everything["data"]]
    assert {ROOT, drawer.id, file["id"]} <= set(ids)
    assert TRASH not in ids
    assert everything["meta"]["count"] == len(ids) == len(set(ids))
    assert drawer.call("POST", "/files/_all_docs", content=b"{").status_code == 400


# -- what /data shows


def test_a_long_list_is_compressed_on_its_way(drawer: Drawer) -> None:
    for accepted, encoding in (("gzip", "gzip"), ("identity", None)):
        answer = drawer.call("POST", "/files/_all_docs", headers={"Accept-Encoding": accepted})
        assert answer.headers.get("content-encoding") == encoding
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.json()["meta"]["count"] == len(answer.json()["data"]) > 2


def test_raw_documents_have_the_path_of_directories(drawer: Drawer) -> None:
    sub = drawer.mkdir("sub")
    file = drawer.upload("file", into=sub["id"])
    drawer.change(drawer.id, name=drawer.name + " moved")
    shown = drawer.ok("GET", f"/data/io.cozy.files/{sub['id']}")
    assert shown["path"] == f"{drawer.path} moved/sub"
    assert "path" not in drawer.ok("GET", f"/data/io.cozy.files/{file['id']}")
    keys = {"keys": [sub["id"]]}
    row = drawer.ok("POST", "/data/io.cozy.files/_all_docs?include_docs=true", json_body=keys)["rows"][0]
    assert row["doc"]["path"] == f"{drawer.path} moved/sub"
    assert drawer.ok("GET", f"/data/io.cozy.files/{TRASH}")["path"] == "/.cozy_trash"


def test_files_cannot_be_written_through_data(drawer: Drawer) -> None:
    answer = drawer.call("PUT", f"/data/io.cozy.files/{drawer.id}", json_body={"type": "directory"})
    assert answer.status_code == 403


# -- the feed


def feed(drawer: Drawer, **params: str) -> Any:
    return drawer.ok("GET", "/files/_changes", params=params)


def test_the_feed_tells_each_document_once_at_its_last_change(drawer: Drawer) -> None:
    since = feed(drawer)["last_seq"]
    file, gone = drawer.upload("a"), drawer.upload("b")
    drawer.change(file["id"], name="renamed")
    drawer.destroy(gone["id"])
    body = feed(drawer, since=since, include_docs="true")
    assert body["pending"] == 0
    assert [row["id"] for row in body["results"]] == [file["id"], gone["id"]]
    kept, deleted = body["results"]
    assert kept["doc"]["name"] == "renamed"
    assert kept["changes"] == [{"rev": kept["doc"]["_rev"]}]
    assert "deleted" not in kept
    assert deleted["deleted"] is True
    assert deleted["doc"] == {"_id": gone["id"], "_rev": deleted["changes"][0]["rev"], "_deleted": True}
    assert [row["doc"] for row in feed(drawer, since=since)["results"]] == [None, None]
    assert feed(drawer, since=body["last_seq"])["results"] == []
    page = feed(drawer, since=since, limit="1")
    assert (len(page["results"]), page["pending"]) == (1, 1)
    assert len(feed(drawer, since=page["last_seq"])["results"]) == 1


def test_the_feed_can_be_narrowed(drawer: Drawer) -> None:
    since = feed(drawer)["last_seq"]
    sub = drawer.mkdir("sub")
    file = drawer.upload("a", into=sub["id"])
    gone = drawer.upload("b")
    drawer.destroy(gone["id"])
    trashed = drawer.upload("c")
    drawer.trash(trashed["id"])
    rows = feed(drawer, since=since, include_docs="true", include_file_path="no", fields="name,md5sum")["results"]
    docs = {row["id"]: row["doc"] for row in rows}
    assert docs[file["id"]] == {
        "name": "a", "md5sum": file["attributes"]["md5sum"], "path": f"{drawer.path}/sub/a", "type": "file",
        "dir_id": sub["id"],
    }  # fmt: skip
    assert docs[gone["id"]] == {}
    living = feed(drawer, since=since, include_docs="true", skip_deleted="false", skip_trashed="1")["results"]
    assert [row["id"] for row in living] == [sub["id"], file["id"]]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("skip_trashed=true", "Invalid options: include_docs should be set to true"),
        ("include_file_path=1&include_docs=yes", "Invalid options: include_docs should be set to true"),
        ("filter=x", "Unsupported query parameter 'filter'"),
        ("limit=x", "Invalid limit value 'x': it is not an integer"),
    ],
)
def test_a_feed_that_makes_no_sense_is_refused(drawer: Drawer, query: str, detail: str) -> None:
    answer = drawer.call("GET", f"/files/_changes?{query}")
    assert (answer.status_code, error(answer)["detail"]) == (400, detail)


def test_what_a_device_leaves_out_looks_deleted_to_it(alice: Person, drawer: Drawer) -> None:
    since = feed(drawer)["last_seq"]
    sub = drawer.mkdir("sub")
    deep = drawer.upload("deep", into=drawer.mkdir("inner", into=sub["id"])["id"])
    beside = drawer.upload("beside")
    reference = {"data": {"id": alice.client_id, "type": "io.cozy.oauth.clients"}}
    drawer.ok("POST", f"/files/{sub['id']}/relationships/not_synchronized_on", json_body=reference)
    for url in ("/files/_changes", "/data/io.cozy.files/_changes"):
        rows = drawer.ok("GET", url, params={"since": since, "include_docs": "true"})["results"]
        by_id = {row["id"]: row for row in rows}
        for id in (sub["id"], deep["id"]):
            assert by_id[id]["deleted"] is True
            assert set(by_id[id]["doc"]) == {"_id", "_rev", "_deleted"}
        assert "deleted" not in by_id[beside["id"]]
    drawer.ok("DELETE", f"/files/{sub['id']}/relationships/not_synchronized_on", json_body=reference)
    rows = feed(drawer, since=since, include_docs="true")["results"]
    assert not any(row.get("deleted") for row in rows)


def test_through_a_drive_everything_else_looks_deleted(alice: Person, drawer: Drawer) -> None:
    since = feed(drawer)["last_seq"]
    root = drawer.mkdir("shared")
    inside = drawer.upload("inside", into=root["id"])
    outside = drawer.upload("outside")

    def rows(seen_from: SeenFrom) -> dict[str, Any]:
        options = FeedOptions.read({"since": since})
        reading = FilesFeed(options, seen_from=seen_from)
        page = alice.server.do(lambda _: alice.instance.store.read(reading.page))
        return {row["id"]: row for row in map(json.loads, page)}

    seen = rows(SeenFrom(root["id"], "drive1"))
    assert seen[inside["id"]]["doc"].items() >= {"driveId": "drive1", "path": f"{drawer.path}/shared/inside"}.items()
    for id in (root["id"], outside["id"]):
        assert seen[id]["deleted"] is True
        assert set(seen[id]["doc"]) == {"_id", "_rev", "_deleted"}
    (only,) = rows(SeenFrom(outside["id"], "drive2", is_file=True)).values()
    assert only["doc"].items() >= {"_id": outside["id"], "driveId": "drive2"}.items()
