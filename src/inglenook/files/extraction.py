"""What a content tells of itself: sizes and EXIF of pictures, tags of music, the target of shortcuts (spec/02 §6).

Works on the first bytes of the content, in a thread. A content that cannot be read tells nothing.
"""

from __future__ import annotations

import asyncio
import io
import math
import re
import struct
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from PIL import ExifTags, Image

from inglenook.files.dates import nanoseconds
from inglenook.files.documents import SHORTCUT_MIME
from inglenook.files.music import read_tags
from inglenook.files.upload import NOTHING_FOUND, Found
from inglenook.identity.instance import Instance
from inglenook.storage.documents.contract import Content

EXTRACTOR_VERSION = 2
HEAD_BYTES = 512 * 1024
PICTURES = ("image/png", "image/gif", "image/jpeg", "image/heic", "image/heif")
MUSIC = ("audio/mp3", "audio/mpeg", "audio/ogg", "audio/x-m4a", "audio/flac")

FLASH = {
    0x00: "No Flash",
    0x01: "Fired",
    0x05: "Fired, Return not detected",
    0x07: "Fired, Return detected",
    0x08: "On, Did not fire",
    0x09: "On, Fired",
    0x0D: "On, Return not detected",
    0x0F: "On, Return detected",
    0x10: "Off, Did not fire",
    0x14: "Off, Did not fire, Return not detected",
    0x18: "Auto, Did not fire",
    0x19: "Auto, Fired",
    0x1D: "Auto, Fired, Return not detected",
    0x1F: "Auto, Fired, Return detected",
    0x20: "No flash function",
    0x30: "Off, No flash function",
    0x41: "Fired, Red-eye reduction",
    0x45: "Fired, Red-eye reduction, Return not detected",
    0x47: "Fired, Red-eye reduction, Return detected",
    0x49: "On, Red-eye reduction",
    0x4D: "On, Red-eye reduction, Return not detected",
    0x4F: "On, Red-eye reduction, Return detected",
    0x50: "Off, Red-eye reduction",
    0x58: "Auto, Did not fire, Red-eye reduction",
    0x59: "Auto, Fired, Red-eye reduction",
    0x5D: "Auto, Fired, Red-eye reduction, Return not detected",
    0x5F: "Auto, Fired, Red-eye reduction, Return detected",
}


def is_read(mime: str) -> bool:
    """Whether contents of a media type tell something."""
    return mime in PICTURES or mime in MUSIC or mime == SHORTCUT_MIME


async def extract(mime: str, head: bytes, created_at: str, origin: str) -> Found:
    """What the beginning of a content tells. `created_at` is the document's date so far, `origin` the URL of the
    instance."""
    if not is_read(mime):
        return NOTHING_FOUND
    return await asyncio.to_thread(_read, mime, head, created_at, origin)


async def extract_head(instance: Instance, content: Content, mime: str, created_at: str) -> Found:
    """What the beginning of a stored content tells. Raises NotFound when the storage has lost it."""
    head = bytearray()
    async for piece in instance.contents.read(content, 0, HEAD_BYTES):
        head += piece
    return await extract(mime, bytes(head), created_at, instance.url())


def _read(mime: str, head: bytes, created_at: str, origin: str) -> Found:
    match mime:
        case "image/png" | "image/gif":
            return _picture(head, created_at)
        case "image/jpeg":
            return _photo(head, created_at)
        case "image/heic" | "image/heif":
            return _heif(head)
        case _ if mime == SHORTCUT_MIME:
            return _shortcut(head, origin)
        case _:
            return _music(head)


def _result(**found: Any) -> dict[str, Any]:
    return {"extractor_version": EXTRACTOR_VERSION, **found}


# -- pictures

_UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    KeyError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)


def _picture(head: bytes, created_at: str) -> Found:
    try:
        with Image.open(io.BytesIO(head)) as image:
            width, height = image.size
    except _UNREADABLE:
        return NOTHING_FOUND
    return Found(_result(datetime=created_at, width=width, height=height), created_at)


def _photo(head: bytes, created_at: str) -> Found:
    try:
        with Image.open(io.BytesIO(head)) as image:
            width, height = image.size
            exif = image.getexif()
            tags, date = _exif(exif)
    except _UNREADABLE:
        return NOTHING_FOUND
    found = _result(datetime=date or created_at, width=width, height=height, **tags)
    return Found(found, date or created_at)


def _heif(head: bytes) -> Found:
    start = head.find(b"Exif\0\0")
    if start < 0:
        return NOTHING_FOUND
    try:
        exif = Image.Exif()
        exif.load(head[start:])
        tags, date = _exif(exif)
        details = exif.get_ifd(ExifTags.IFD.Exif)
    except _UNREADABLE:
        return NOTHING_FOUND
    for name, tag in (("width", ExifTags.Base.ExifImageWidth), ("height", ExifTags.Base.ExifImageHeight)):
        if isinstance(details.get(tag), int):
            tags[name] = details[tag]
    if date:
        tags["datetime"] = date
    return Found(_result(**tags), date)


def _exif(exif: Image.Exif) -> tuple[dict[str, Any], str]:
    """The kept tags, and the date of the picture (empty: unknown)."""
    details: Mapping[int, Any] = exif.get_ifd(ExifTags.IFD.Exif)
    tags: dict[str, Any] = {}
    flash = details.get(ExifTags.Base.Flash)
    if isinstance(flash, int) and flash in FLASH:
        tags["flash"] = FLASH[flash]
    orientation = exif.get(ExifTags.Base.Orientation)
    if isinstance(orientation, int):
        tags["orientation"] = orientation
    position = _position(exif.get_ifd(ExifTags.IFD.GPSInfo))
    if position is not None:
        tags["gps"] = {"lat": position[0], "long": position[1]}
    taken = details.get(ExifTags.Base.DateTimeOriginal)
    zone = details.get(ExifTags.Base.OffsetTimeOriginal)
    if taken is None:
        taken, zone = exif.get(ExifTags.Base.DateTime), details.get(ExifTags.Base.OffsetTime)
    return tags, _date(taken, zone)


_DATE = re.compile(r"(\d{4}):(\d\d):(\d\d) (\d\d):(\d\d):(\d\d)", re.ASCII)
_ZONE = re.compile(r"[+-]\d\d:\d\d|Z", re.ASCII)


def _date(taken: object, zone: object) -> str:
    if not isinstance(taken, str):
        return ""
    match = _DATE.fullmatch(taken.strip("\0 "))
    if match is None:
        return ""
    year, month, day, hour, minute, second = match.groups()
    offset = zone.strip("\0 ") if isinstance(zone, str) else ""
    date = f"{year}-{month}-{day}T{hour}:{minute}:{second}{offset if _ZONE.fullmatch(offset) else 'Z'}"
    return date if nanoseconds(date) is not None else ""


def _position(gps: Mapping[int, Any]) -> tuple[float, float] | None:
    latitude = _degrees(gps.get(ExifTags.GPS.GPSLatitude), gps.get(ExifTags.GPS.GPSLatitudeRef), "S")
    longitude = _degrees(gps.get(ExifTags.GPS.GPSLongitude), gps.get(ExifTags.GPS.GPSLongitudeRef), "W")
    return None if latitude is None or longitude is None else (latitude, longitude)


def _degrees(parts: object, side: object, negative: str) -> float | None:
    if not isinstance(parts, tuple) or len(parts) != 3:
        return None
    try:
        degrees, minutes, seconds = (float(part) for part in parts)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    value = degrees + minutes / 60 + seconds / 3600
    if not math.isfinite(value):
        return None
    return -value if side == negative else value


# -- music and shortcuts


def _music(head: bytes) -> Found:
    tags = read_tags(head)
    return Found(_result(**tags)) if tags is not None else NOTHING_FOUND


def shortcut_url(content: bytes) -> str:
    """The address in a `.url` file; empty when there is none (spec/02 §6)."""
    lines = content.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    if not lines or lines[0].strip().lstrip("\ufeff") != "[InternetShortcut]":
        return ""
    for line in lines[1:]:
        key, equals, value = line.partition("=")
        if equals and key.strip() == "URL":
            return value.strip()
    return ""


def _shortcut(head: bytes, origin: str) -> Found:
    own = urlsplit(origin).netloc
    try:
        host = urlsplit(shortcut_url(head)).netloc
    except ValueError:
        host = ""
    slug = ""
    if host != own:
        nested, dot, rest = host.partition(".")
        label, dash, flat = nested.rpartition("-")
        if dot and rest == own:
            slug = nested
        elif dash and f"{label}.{rest}" == own:
            slug = flat
        else:
            return Found(_result())
    target: dict[str, Any] = {"cozyMetadata": {"instance": own}}
    if slug:
        target["app"] = slug
    return Found(_result(target=target))
