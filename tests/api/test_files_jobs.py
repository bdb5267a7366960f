"""What files can do by themselves, as jobs: zip, unzip, old trash, missing thumbnails (spec/02 §21, spec/07 §3.4)."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from tests.api.drawer import TRASH, Drawer
from tests.servers import Person, RunningServer

from inglenook.files import thumbnails
from inglenook.files.settings import duration
from inglenook.files.workers import WORKERS
from inglenook.kernel.errors import DomainError, TooLarge


@pytest.fixture
def drawer(alice: Person) -> Drawer:
    return Drawer(alice)


def run(drawer: Drawer, worker: str, **message: Any) -> None:
    """Run a job to its end."""
    drawer.person.server.do(lambda _: WORKERS[worker](drawer.person.instance, message))


def zipped(**members: bytes) -> bytes:
    """A zip file; `__` in a name is a slash."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name.replace("__", "/"), (2020, 5, 17, 10, 30, 4)), content)
    return sink.getvalue()


def paths(drawer: Drawer, id: str, above: str = "") -> dict[str, dict[str, Any]]:
    """What is below a directory, by its path."""
    found: dict[str, dict[str, Any]] = {}
    for child in drawer.ok("GET", f"/files/{id}/relationships/contents?page[limit]=1000")["data"]:
        path = above + child["attributes"]["name"]
        found[path] = child
        if child["attributes"]["type"] == "directory":
            found |= paths(drawer, child["id"], path + "/")
    return found


def test_files_are_packed_under_the_paths_that_are_asked_for(drawer: Drawer) -> None:
    one, two = drawer.upload("one.txt", b"1"), drawer.upload("two.txt", b"2" * 100_000)
    files = {"/deep/first.txt": one["id"], "second.txt": {"id": two["id"]}}
    for name in ("all.zip", "all (2).zip"):
        run(drawer, "zip", files=files, dir_id=drawer.id, filename="all.zip")
        packed = drawer.at("/" + name)
        assert packed["attributes"].items() >= {"mime": "application/zip", "class": "zip"}.items()
        archive = zipfile.ZipFile(io.BytesIO(drawer.read(packed["id"])))
        assert {path: archive.read(path) for path in archive.namelist()} == {
            "deep/first.txt": b"1",
            "second.txt": b"2" * 100_000,
        }


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"files": {}, "filename": "a.zip"},
        {"files": {"a": "nowhere"}, "filename": "a.zip"},
        {"files": {"a": 1}, "filename": "a.zip"},
        {"files": {"a": "nowhere"}, "filename": "a/b.zip"},
        {"files": {"a": "nowhere"}, "filename": "a.zip", "dir_id": "nowhere"},
    ],
)
def test_a_zip_job_that_cannot_be_done_leaves_nothing(drawer: Drawer, message: dict[str, Any]) -> None:
    message.setdefault("dir_id", drawer.id)
    with pytest.raises(DomainError):
        run(drawer, "zip", **message)
    assert drawer.names() == []


def test_an_archive_is_unpacked_with_its_folders_dates_and_types(drawer: Drawer) -> None:
    content = zipped(**{"a.txt": b"A", "deep__er__b.png": b"B", "empty__": b""})
    source, to = drawer.upload("x.zip", content, mime="application/zip"), drawer.mkdir("to")
    run(drawer, "unzip", zip=source["id"], destination=to["id"])
    found = paths(drawer, to["id"])
    assert set(found) == {"a.txt", "deep", "deep/er", "deep/er/b.png", "empty"}
    assert drawer.read(found["a.txt"]["id"]) == b"A"
    attributes = found["deep/er/b.png"]["attributes"]
    assert (attributes["mime"], attributes["class"]) == ("image/png", "image")
    assert attributes["created_at"] == attributes["updated_at"] == "2020-05-17T10:30:04Z"


def test_an_archive_that_is_unpacked_twice_changes_what_differs_alone(drawer: Drawer) -> None:
    source, to = drawer.upload("x.zip", zipped(a=b"A", b=b"B", c__d=b"D"), mime="application/zip"), drawer.mkdir("to")
    drawer.upload("c", b"in the way", into=to["id"])
    run(drawer, "unzip", zip=source["id"], destination=to["id"])
    before = paths(drawer, to["id"])
    assert set(before) == {"a", "b", "c", "c - folder", "c - folder/d"}
    run(drawer, "unzip", zip=source["id"], destination=to["id"])
    assert paths(drawer, to["id"]) == before
    drawer.overwrite(before["a"]["id"], b"another")
    run(drawer, "unzip", zip=source["id"], destination=to["id"])
    after = set(paths(drawer, to["id"])) - set(before)
    assert len(after) == 1
    assert after.pop().startswith("a - conflict - ")


def test_no_name_in_an_archive_leads_out_of_the_destination(drawer: Drawer) -> None:
    content = zipped(**{"..__..__up.txt": b"1", "__root.txt": b"2", ".__x__..__y": b"3"})
    source, to = drawer.upload("x.zip", content, mime="application/zip"), drawer.mkdir("to")
    run(drawer, "unzip", zip=source["id"], destination=to["id"])
    assert set(paths(drawer, to["id"])) == {"up.txt", "root.txt", "x", "x/y"}
    assert drawer.names() == ["to", "x.zip"]


def test_what_is_no_archive_is_not_unpacked(drawer: Drawer) -> None:
    to, text = drawer.mkdir("to"), drawer.upload("a.zip", b"no archive")
    trashed = drawer.trash(drawer.mkdir("gone")["id"])
    good = drawer.upload("b.zip", zipped(a=b""), mime="application/zip")
    for message in (
        {"zip": text["id"], "destination": to["id"]},
        {"zip": good["id"], "destination": text["id"]},
        {"zip": good["id"], "destination": trashed["id"]},
        {"zip": good["id"], "destination": TRASH},
        {"zip": to["id"], "destination": to["id"]},
        {"zip": good["id"]},
        {},
    ):
        with pytest.raises(DomainError):
            run(drawer, "unzip", **message)
    assert paths(drawer, to["id"]) == {}


@pytest.fixture
def tidy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    contexts = {"default": {"files": {"auto_clean_trashed_after": "30D"}}, "small": {"files": {"versioning": {}}}}
    contexts["small"]["files"] = {"versioning": {"max_number_to_keep": 2, "min_delay_between_two_versions": 0}}
    server = RunningServer(tmp_path_factory.mktemp("tidy"), contexts=contexts).start()
    yield server
    server.stop()


def test_what_has_been_in_the_trash_for_long_is_destroyed(tidy: RunningServer) -> None:
    drawer = Drawer(tidy.add("alice"))
    young = drawer.upload("young", params={"UpdatedAt": "2001-01-01T00:00:00Z", "CreatedAt": "2001-01-01T00:00:00Z"})
    folder = drawer.mkdir("folder")
    drawer.upload("in it", into=folder["id"])
    old, back = drawer.upload("old"), drawer.upload("back")
    for item in (young, folder, old, back):
        drawer.trash(item["id"])

    def age(id: str) -> None:
        def write(tx: Any) -> None:
            document = tx.find("io.cozy.files", id)
            stamp = {**document.body["cozyMetadata"], "trashedAt": "2020-01-01T00:00:00Z"}
            tx.put("io.cozy.files", id, {**document.body, "cozyMetadata": stamp}, rev=document.rev)

        tidy.do(lambda _: drawer.person.instance.store.write(write))

    for item in (folder, old, back):
        age(item["id"])
    drawer.restore(back["id"])
    run(drawer, "clean-old-trashed")
    assert drawer.names(TRASH) == ["young"]
    assert drawer.names() == ["back"]


def test_a_context_says_how_many_versions_are_kept(tidy: RunningServer) -> None:
    kept: dict[str, int] = {}
    for name, context in (("alice", ""), ("bob", "small")):
        drawer = Drawer(tidy.add(name, context=context))
        file = drawer.upload("a", b"0")
        for content in (b"1", b"2", b"3"):
            drawer.overwrite(file["id"], content)
        kept[name] = len(drawer.ok("GET", f"/files/{file['id']}")["included"])
    assert kept == {"alice": 1, "bob": 1}
    file = drawer.upload("b", b"0")
    drawer.overwrite(file["id"], b"1")
    drawer.overwrite(file["id"], b"2")
    (version,) = drawer.ok("GET", f"/files/{file['id']}")["included"]
    assert drawer.call("GET", f"/files/download/{version['id']}").content == b"1"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15m", 900.0),
        ("1h30m", 5400.0),
        ("30D", 2_592_000.0),
        ("3M", 7_776_000.0),
        (5, 5.0),
        ("", None),
        ("soon", None),
    ],
)
def test_durations_are_read(text: object, seconds: float | None) -> None:
    assert duration(text) == seconds


def test_missing_thumbnails_are_made_and_metadata_read_again(drawer: Drawer) -> None:
    sink = io.BytesIO()
    Image.new("RGB", (30, 20)).save(sink, "PNG")
    file = drawer.upload("a.png", sink.getvalue(), mime="image/png")
    drawer.change(file["id"], metadata={"stale": True})
    instance = drawer.person.instance

    def forget(tx: Any) -> None:
        for format in thumbnails.FORMATS:
            tx.release(thumbnails.THUMBNAILS, f"{file['id']}/{format}")

    drawer.person.server.do(lambda _: instance.store.write(forget))
    run(drawer, "thumbnailck", with_metadata=True)
    metadata = drawer.get(file["id"])["attributes"]["metadata"]
    assert metadata.items() >= {"width": 30, "height": 20, "extractor_version": 2}.items()
    assert "stale" not in metadata
    assert drawer.call("GET", drawer.get(file["id"])["links"]["small"], token="").status_code == 200


def test_a_zip_that_does_not_fit_is_not_kept(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = RunningServer(tmp_path_factory.mktemp("small")).start()
    try:
        drawer = Drawer(server.add("alice", disk_quota=3000))
        file = drawer.upload("a", random.Random(1).randbytes(2000))
        with pytest.raises(TooLarge):
            run(drawer, "zip", files={"a": file["id"], "b": file["id"]}, dir_id=drawer.id, filename="a.zip")
        assert drawer.names() == ["a"]
    finally:
        server.stop()
