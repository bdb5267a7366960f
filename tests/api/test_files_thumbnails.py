"""Thumbnails of pictures and PDF files, made in the background (spec/02 §15.9, §21), and single pages of a PDF."""

from __future__ import annotations

import base64
import io
import struct
import time
import zipfile
import zlib
from pathlib import Path

import httpx
import pypdfium2
import pytest
from PIL import Image, ImageCms
from tests.api.drawer import Drawer, error
from tests.servers import Person, RunningServer

from inglenook.files import rendering, thumbnails
from inglenook.files.thumbnails import THUMBNAILS
from inglenook.storage.announcements import announcements

PATIENCE = 60.0
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9j"
    "AAAAAERAAAEAAQAAAAABoQABAAAAAAAAABoAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/Wlw"
    "cnAAAADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AA"
    "AAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAA"
    "QAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWB"
    "AgMFhAAAACJtZGF0AAAAFigBrxmA70mlv//jCV/5kfv87rWmPm4="
)
"""A green picture of 64 by 48."""


@pytest.fixture
def drawer(alice: Person) -> Drawer:
    return Drawer(alice)


def picture(
    size: tuple[int, int], kind: str = "PNG", mode: str = "RGB", color: object = "red", **options: object
) -> bytes:
    sink = io.BytesIO()
    Image.new(mode, size, color).save(sink, kind, **options)  # pyright: ignore[reportArgumentType]
    return sink.getvalue()


def pdf(*sizes: tuple[int, int]) -> bytes:
    """A PDF with pages of these sizes, in points."""
    pages = [Image.new("RGB", size, "blue") for size in sizes]
    sink = io.BytesIO()
    pages[0].save(sink, "PDF", save_all=True, append_images=pages[1:], resolution=72.0)
    return sink.getvalue()


def page_sizes(content: bytes) -> list[tuple[int, int]]:
    """The sizes of the pages of a PDF, in points."""
    with pypdfium2.PdfDocument(content) as document:
        return [(round(page.get_width()), round(page.get_height())) for page in document]


def shown(drawer: Drawer, id: str, format: str, status: int = 200) -> httpx.Response:
    """The answer for a thumbnail, once it has this status."""
    end = time.monotonic() + PATIENCE
    while True:
        answer = drawer.call("GET", drawer.get(id)["links"][format], token="")
        if answer.status_code == status:
            return answer
        assert (answer.status_code, answer.headers["content-type"]) == (404, "image/png")
        assert time.monotonic() < end, f"no thumbnail of {id}"


def size_of(answer: httpx.Response) -> tuple[int, int]:
    opened = Image.open(io.BytesIO(answer.content))
    assert opened.format == "JPEG"
    return opened.size


def kept(drawer: Drawer, id: str) -> dict[str, int]:
    """The sizes in bytes of the thumbnails that are stored."""

    def read(view: object) -> dict[str, int]:
        found = {format: thumbnails.thumbnail(view, id, format) for format in thumbnails.FORMATS}  # pyright: ignore[reportArgumentType]
        return {format: content.size for format, content in found.items() if content is not None}

    return drawer.person.server.do(lambda _: drawer.person.instance.store.read(read))


def test_a_picture_has_thumbnails_that_fit_their_boxes(drawer: Drawer) -> None:
    file = drawer.upload("a.png", picture((3000, 1000), mode="RGBA", color=(0, 0, 255, 128)), mime="image/png")
    for format, size in (("large", (1920, 640)), ("medium", (1280, 427)), ("small", (640, 213)), ("tiny", (96, 32))):
        answer = shown(drawer, file["id"], format)
        assert answer.headers["content-type"] == "image/jpeg"
        assert size_of(answer) == size
        link = drawer.get(file["id"])["links"][format]
        again = drawer.call("GET", link, token="", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
        part = drawer.call("GET", link, token="", headers={"Range": "bytes=0-9"})
        assert (part.status_code, part.content) == (206, answer.content[:10])
    red, green, blue = Image.open(io.BytesIO(shown(drawer, file["id"], "tiny").content)).getpixel((48, 16))  # pyright: ignore[reportGeneralTypeIssues]
    assert abs(red - 127) < 8
    assert abs(green - 127) < 8
    assert blue > 240


def test_nobody_has_to_ask_for_the_thumbnails_of_a_new_picture(drawer: Drawer) -> None:
    instance = drawer.person.instance
    since = drawer.person.server.do(lambda _: instance.store.read(lambda view: view.last_seq()))
    file = drawer.upload("a.png", picture((200, 100)), mime="image/png")
    document = drawer.upload("a.pdf", pdf((300, 400)), mime="application/pdf")
    wanted = sorted([*((file["id"], format) for format in thumbnails.FORMATS), (document["id"], "tiny")])
    told: list[tuple[str, str]] = []
    end = time.monotonic() + PATIENCE
    while told != wanted:
        found = drawer.person.server.do(lambda _: instance.store.read(lambda view: announcements(view, since, 100)))
        told = sorted((a.id, a.doc["format"]) for _, a in found if (a.verb, a.doctype) == ("CREATED", THUMBNAILS))
        assert time.monotonic() < end, f"told of {told}"
    assert set(kept(drawer, file["id"])) == set(thumbnails.FORMATS)
    assert drawer.rev(file["id"]).startswith("1-")


def test_a_small_picture_is_enlarged_for_tiny_alone(drawer: Drawer) -> None:
    file = drawer.upload("a.gif", picture((10, 20), "GIF"), mime="image/gif")
    assert size_of(shown(drawer, file["id"], "tiny")) == (48, 96)
    assert size_of(shown(drawer, file["id"], "large")) == (10, 20)


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "BMP", "AVIF", "HEIF"])
def test_pictures_of_many_kinds_have_thumbnails(drawer: Drawer, kind: str) -> None:
    content = HEIC if kind == "HEIF" else picture((300, 200), kind)
    file = drawer.upload(f"a.{kind.lower()}", content, mime=None)
    assert file["attributes"]["class"] == "image"
    width, height = size_of(shown(drawer, file["id"], "small"))
    assert width > height


def test_a_photo_stands_upright_in_the_usual_colours(drawer: Drawer) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = picture((400, 200), "JPEG", exif=exif, icc_profile=profile)
    file = drawer.upload("a.jpg", content, mime="image/jpeg")
    answer = shown(drawer, file["id"], "small")
    assert size_of(answer) == (200, 400)
    opened = Image.open(io.BytesIO(answer.content))
    assert not opened.getexif()
    assert "icc_profile" not in opened.info


def test_a_new_content_has_new_thumbnails(drawer: Drawer) -> None:
    file = drawer.upload("a.png", picture((100, 10)), mime="image/png")
    for width in (100, 200):
        drawer.overwrite(file["id"], picture((width, 10)), mime="image/png")
        assert size_of(shown(drawer, file["id"], "small")) == (width, 10)
    drawer.destroy(file["id"])
    assert kept(drawer, file["id"]) == {}


def test_a_file_in_the_trash_gets_no_thumbnails(drawer: Drawer) -> None:
    file = drawer.upload("a.png", b"", mime="image/png")
    drawer.trash(file["id"])
    drawer.call("GET", file["links"]["small"], token="")
    assert shown(drawer, file["id"], "small", 404)


def test_of_a_pdf_the_first_page_is_shown(drawer: Drawer) -> None:
    file = drawer.upload("a.pdf", pdf((300, 400), (500, 100)), mime="application/pdf")
    assert size_of(shown(drawer, file["id"], "tiny")) == (72, 96)
    assert set(kept(drawer, file["id"])) == {"tiny"}
    first = drawer.call("GET", file["links"]["large"], token="")
    assert (first.status_code, first.headers["content-type"]) == (404, "image/png")
    assert size_of(shown(drawer, file["id"], "large")) == (810, 1080)
    assert set(kept(drawer, file["id"])) == {"tiny", "large"}


def test_what_cannot_be_shown_small_has_a_placeholder(drawer: Drawer) -> None:
    for name in ("broken.jpg", "text.pdf"):
        file = drawer.upload(name, b"nothing to see", mime=None)
        answer = drawer.call("GET", file["links"]["small"], token="")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "image/png")
        assert Image.open(io.BytesIO(answer.content)).format == "PNG"
        again = drawer.call("GET", file["links"]["small"], token="", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
        end = time.monotonic() + PATIENCE
        while kept(drawer, file["id"]).get("small") != 0:
            assert time.monotonic() < end, "not known as unreadable"
        assert drawer.call("GET", file["links"]["small"], token="").status_code == 404


def test_a_picture_that_asks_for_too_much_harms_nobody(drawer: Drawer, tmp_path: Path) -> None:
    bomb = _huge_png(60_000, 60_000)
    (tmp_path / "bomb.png").write_bytes(bomb)
    box = rendering.Box(96, 96, 80, True, str(tmp_path / "tiny"))
    with pytest.raises(rendering.Unreadable):
        rendering.carry_out(rendering.Order(str(tmp_path / "bomb.png"), False, [box]))
    file = drawer.upload("bomb.png", bomb, mime="image/png")
    fine = drawer.upload("fine.png", picture((100, 100)), mime="image/png")
    shown(drawer, fine["id"], "tiny")
    assert shown(drawer, file["id"], "tiny", 404)


def test_one_page_of_a_pdf_is_downloaded_alone(drawer: Drawer) -> None:
    file = drawer.upload("two.pdf", pdf((300, 400), (500, 100)), mime="application/pdf")
    answer = drawer.call("GET", f"/files/download/{file['id']}", params={"Page": "2"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    assert "etag" not in answer.headers
    assert "content-disposition" not in answer.headers
    assert page_sizes(answer.content) == [(500, 100)]
    link = drawer.ok("POST", "/files/downloads", params={"Id": file["id"]})["links"]["related"]
    assert page_sizes(drawer.call("GET", link, token="", params={"Page": "1"}).content) == [(300, 400)]
    head = drawer.call("HEAD", f"/files/download/{file['id']}", params={"Page": "2"})
    assert (head.status_code, head.content) == (200, b"")
    text = drawer.upload("a.txt")
    for id, page in ((file["id"], "x"), (file["id"], "0"), (file["id"], "3"), (text["id"], "1")):
        refused = drawer.call("GET", f"/files/download/{id}", params={"Page": page})
        assert (refused.status_code, error(refused)["source"]) == (422, {"parameter": "Page"})


def test_pages_of_pdf_files_go_into_an_archive(drawer: Drawer) -> None:
    file = drawer.upload("two.pdf", pdf((300, 400), (500, 100)), mime="application/pdf")
    asked = {"name": "some", "ids": [file["id"]], "pages": [{"id": file["id"], "page": 2}]}
    answer = drawer.ok("POST", "/files/archive", json_body={"data": {"attributes": asked}})
    assert answer["data"]["attributes"] == {**asked, "files": None}
    archive = zipfile.ZipFile(io.BytesIO(drawer.call("GET", answer["links"]["related"], token="").content))
    assert archive.namelist() == ["some/two.pdf", "some/two (2).pdf"]
    assert page_sizes(archive.read("some/two (2).pdf")) == [(500, 100)]
    wrong = {"data": {"attributes": {"pages": [{"id": drawer.upload("a.txt")["id"], "page": 1}]}}}
    assert drawer.call("POST", "/files/archive", json_body=wrong).status_code == 422


def test_the_secret_of_a_thumbnail_opens_its_own_file_only(drawer: Drawer) -> None:
    one, other = (drawer.upload(name, b"", mime="image/png") for name in ("a.png", "b.png"))
    secret = one["links"]["small"].split("/")[-2]
    wrong = drawer.call("GET", f"/files/{other['id']}/thumbnails/{secret}/small", token="")
    assert (wrong.status_code, error(wrong)["detail"]) == (400, "Wrong download token")
    unknown = drawer.call("GET", f"/files/{one['id']}/thumbnails/{secret}/huge", token="")
    assert (unknown.status_code, error(unknown)["detail"]) == (404, "Format does not exist")


def test_what_is_not_done_when_the_server_stops_is_done_after_the_next_start(tmp_path: Path) -> None:
    server = RunningServer(tmp_path / "data").start()
    drawer = Drawer(server.add("alice"))
    ids = [drawer.upload(f"{n}.png", picture((2000, 2000 + n)), mime="image/png")["id"] for n in range(5)]
    server.stop()
    again = RunningServer(tmp_path / "data", port=server.port).start()
    try:
        instance = again.do(lambda runtime: runtime.instances.get(drawer.person.domain))
        drawer.person = Person(again, "alice", instance)
        end = time.monotonic() + PATIENCE
        while any(set(kept(drawer, id)) != set(thumbnails.FORMATS) for id in ids):
            assert time.monotonic() < end, "thumbnails are missing"
        assert all(all(kept(drawer, id).values()) for id in ids)
    finally:
        again.stop()


def _huge_png(width: int, height: int) -> bytes:
    """A small file that says to be a huge picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
