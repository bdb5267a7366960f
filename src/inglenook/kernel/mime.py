"""Media types and classes of files, by name and by what the client says (spec/02 §5). Contents are never looked at.

The built-in table decides first, so that all servers agree on what people use; rare extensions are looked up in the
table of the machine, read once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from inglenook.kernel.errors import InvalidParameter

DEFAULT = "application/octet-stream"
NOTE = "text/vnd.cozy.note+markdown"
SHORTCUT = "application/internet-shortcut"

_OPENXML = "application/vnd.openxmlformats-officedocument."
_OPENDOCUMENT = "application/vnd.oasis.opendocument."

_BUILT_IN = {
    "7z": "application/x-7z-compressed",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "cozy-note": NOTE,
    "css": "text/css",
    "csv": "text/csv",
    "doc": "application/msword",
    "docx": _OPENXML + "wordprocessingml.document",
    "epub": "application/epub+zip",
    "flac": "audio/flac",
    "gif": "image/gif",
    "gz": "application/gzip",
    "heic": "image/heif",
    "heif": "image/heif",
    "htm": "text/html",
    "html": "text/html",
    "ico": "image/vnd.microsoft.icon",
    "ics": "text/calendar",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript",
    "json": "application/json",
    "m4a": "audio/mp4",
    "md": "text/markdown",
    "mjs": "text/javascript",
    "mkv": "video/x-matroska",
    "mov": "video/quicktime",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "odg": _OPENDOCUMENT + "graphics",
    "odp": _OPENDOCUMENT + "presentation",
    "ods": _OPENDOCUMENT + "spreadsheet",
    "odt": _OPENDOCUMENT + "text",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "ogv": "video/ogg",
    "opus": "audio/ogg",
    "pdf": "application/pdf",
    "png": "image/png",
    "ppt": "application/vnd.ms-powerpoint",
    "pptx": _OPENXML + "presentationml.presentation",
    "rtf": "application/rtf",
    "svg": "image/svg+xml",
    "tar": "application/x-tar",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "txt": "text/plain",
    "url": SHORTCUT,
    "vcf": "text/vcard",
    "wasm": "application/wasm",
    "wav": "audio/wav",
    "webm": "video/webm",
    "webp": "image/webp",
    "xls": "application/vnd.ms-excel",
    "xlsx": _OPENXML + "spreadsheetml.sheet",
    "xml": "text/xml",
    "zip": "application/zip",
}

_CLASSES = {
    DEFAULT: "files",
    SHORTCUT: "shortcut",
    "application/gzip": "zip",
    "application/js": "code",
    "application/msword": "text",
    "application/pdf": "pdf",
    "application/vnd.ms-excel": "spreadsheet",
    "application/vnd.ms-powerpoint": "slide",
    _OPENDOCUMENT + "graphics": "slide",
    _OPENDOCUMENT + "presentation": "slide",
    _OPENDOCUMENT + "spreadsheet": "spreadsheet",
    _OPENDOCUMENT + "text": "text",
    _OPENXML + "presentationml.presentation": "slide",
    _OPENXML + "spreadsheetml.sheet": "spreadsheet",
    _OPENXML + "wordprocessingml.document": "text",
    "application/x-7z-compressed": "zip",
    "application/x-apple-diskimage": "binary",
    "application/x-iwork-keynote-sffkey": "slide",
    "application/x-iwork-numbers-sffnumbers": "spreadsheet",
    "application/x-iwork-pages-sffpages": "text",
    "application/x-msdownload": "binary",
    "application/x-rar-compressed": "zip",
    "application/x-ruby": "code",
    "application/x-tar": "zip",
    "application/zip": "zip",
    "text/css": "code",
    "text/html": "code",
    "text/x-c": "code",
    "text/x-go": "code",
    "text/x-python": "code",
    "text/xml": "code",
}

_TOKEN = r"[!#$%&'*+\-.^_`{|}~0-9A-Za-z]+"  # noqa: S105  (a token of RFC 2045)
_MEDIA_TYPE = re.compile(rf"{_TOKEN}(?:/{_TOKEN})?")


def mime_of_name(name: str) -> str:
    """The media type that the extension of a name stands for; `application/octet-stream` for an unknown one."""
    _, dot, extension = name.rpartition(".")
    if not dot or not extension:
        return DEFAULT
    lower = extension.lower()
    return _BUILT_IN.get(lower) or _machine().get(extension) or _machine().get(lower) or DEFAULT


def class_of_mime(mime: str) -> str:
    """The class of a media type; parameters behind `;` are not looked at."""
    plain = mime.partition(";")[0].strip()
    return _CLASSES.get(plain) or plain.partition("/")[0]


def check_mime(mime: str) -> None:
    """Raises InvalidParameter (`mime`) when this is no media type: `type` or `type/subtype` of RFC 2045 tokens."""
    if _MEDIA_TYPE.fullmatch(mime) is None:
        raise InvalidParameter("Invalid Content-Type", parameter="mime")


def upload_mime(name: str, content_type: str | None) -> str:
    """The media type of what is uploaded under a name with this `Content-Type`. Raises as `check_mime`."""
    if not content_type or content_type == DEFAULT:
        return mime_of_name(name)
    if name.lower().endswith(".url"):
        return SHORTCUT
    mime = content_type.partition(";")[0].strip()
    check_mime(mime)
    return mime


def parse_globs(lines: Iterable[str]) -> dict[str, str]:
    """Extension to media type, from lines `weight:type:*.extension[:flags]`; the first line of an extension wins."""
    table: dict[str, str] = {}
    for line in lines:
        fields = line.strip().split(":")
        if len(fields) < 3 or line.startswith("#") or not fields[2].startswith("*."):
            continue
        extension = fields[2][2:]
        if extension and not set(extension) & set("*?[]"):
            table.setdefault(extension, fields[1])
    return table


def parse_mime_types(lines: Iterable[str]) -> dict[str, str]:
    """Extension to media type, from lines `type extension extension …` with `#` comments."""
    table: dict[str, str] = {}
    for line in lines:
        mime, *extensions = line.partition("#")[0].split() or [""]
        for extension in extensions:
            table.setdefault(extension, mime)
    return table


@cache
def _machine() -> dict[str, str]:
    """The table of the machine: shared-mime-info, else `mime.types`, else nothing."""
    for path, parse in (("/usr/share/mime/globs2", parse_globs), ("/etc/mime.types", parse_mime_types)):
        try:
            with Path(path).open(encoding="utf-8", errors="replace") as lines:
                return parse(lines)
        except OSError:
            continue
    return {}
