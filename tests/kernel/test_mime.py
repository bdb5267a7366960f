"""Media types and classes (spec/02 §5)."""

from __future__ import annotations

import pytest

from inglenook.kernel import mime
from inglenook.kernel.errors import InvalidParameter

OPENXML = "application/vnd.openxmlformats-officedocument."


@pytest.mark.parametrize(
    ("name", "type_", "klass"),
    [
        ("a.pdf", "application/pdf", "pdf"),
        ("a.JPG", "image/jpeg", "image"),
        ("a.url", "application/internet-shortcut", "shortcut"),
        ("a", "application/octet-stream", "files"),
        ("a.", "application/octet-stream", "files"),
        ("a.zip", "application/zip", "zip"),
        ("a.tar.gz", "application/gzip", "zip"),
        ("a.mp3", "audio/mpeg", "audio"),
        ("a.docx", OPENXML + "wordprocessingml.document", "text"),
        ("a.xlsx", OPENXML + "spreadsheetml.sheet", "spreadsheet"),
        ("a.pptx", OPENXML + "presentationml.presentation", "slide"),
        ("a.html", "text/html", "code"),
        ("a.js", "text/javascript", "text"),
        ("n.cozy-note", "text/vnd.cozy.note+markdown", "text"),
        ("a.unknownext", "application/octet-stream", "files"),
    ],
)
def test_the_extension_gives_type_and_class(name: str, type_: str, klass: str) -> None:
    assert mime.mime_of_name(name) == type_
    assert mime.class_of_mime(type_) == klass


def test_an_unknown_type_is_its_own_class() -> None:
    assert mime.class_of_mime("what/ever") == "what"
    assert mime.class_of_mime("whatever") == "whatever"
    assert mime.class_of_mime("text/html; charset=utf-8") == "code"


@pytest.mark.parametrize(
    ("name", "sent", "expected"),
    [
        ("a.txt", "text/plain; charset=utf-8", "text/plain"),
        ("a.pdf", "application/octet-stream", "application/pdf"),
        ("a.pdf", None, "application/pdf"),
        ("a.pdf", "", "application/pdf"),
        ("a.png", "text/plain", "text/plain"),
        ("a.URL", "text/plain", "application/internet-shortcut"),
        ("a.x", "what/ever", "what/ever"),
        ("a.x", "what", "what"),
    ],
)
def test_the_type_of_an_upload(name: str, sent: str | None, expected: str) -> None:
    assert mime.upload_mime(name, sent) == expected


@pytest.mark.parametrize("sent", ["a b/c", "/", "text/", "/x", "é/x", "a/b/c", ";", "text/plain\n"])
def test_a_malformed_type_is_refused(sent: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        mime.check_mime(sent)
    assert (caught.value.parameter, caught.value.detail) == ("mime", "Invalid Content-Type")


def test_tables_of_the_machine_are_read() -> None:
    lines = ["#c", "60:a/first:*.ext", "50:a/second:*.ext", "50:a/cs:*.C:cs", "50:a/glob:*.[ch]", "50:a/x:README*", ""]
    assert mime.parse_globs(lines) == {"ext": "a/first", "C": "a/cs"}
    assert mime.parse_mime_types(["# c", "a/b x y # z", "a/c", "a/d x"]) == {"x": "a/b", "y": "a/b"}
