"""The tags of music: ID3v2, Vorbis comments (Ogg, FLAC) and the atoms of MP4, read from the first bytes of a file.

Sources: https://id3.org/id3v2.4.0-structure, https://xiph.org/vorbis/doc/v-comment.html, RFC 9639 (FLAC), and
ISO/IEC 14496-12 with the `ilst` atoms of MP4 music.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

_ID3 = {
    "TALB": "album", "TPE1": "artist", "TCOM": "composer", "TCON": "genre", "TIT2": "title", "TDRC": "year",
    "TYER": "year", "TRCK": "track", "TAL": "album", "TP1": "artist", "TCM": "composer", "TCO": "genre",
    "TT2": "title", "TYE": "year", "TRK": "track",
}  # fmt: skip
_VORBIS = {
    "album": "album", "artist": "artist", "composer": "composer", "genre": "genre", "title": "title",
    "date": "year", "year": "year", "tracknumber": "track",
}  # fmt: skip
_MP4 = {
    b"\xa9alb": "album", b"\xa9ART": "artist", b"\xa9wrt": "composer", b"\xa9gen": "genre", b"\xa9nam": "title",
    b"\xa9day": "year", b"trkn": "track",
}  # fmt: skip
_ENCODINGS = ("latin-1", "utf-16", "utf-16-be", "utf-8")
_CONTAINERS = (b"moov", b"udta", b"meta", b"ilst")


def read_tags(head: bytes) -> dict[str, Any] | None:
    """`album`, `artist`, `composer`, `genre`, `title` (texts), `year` and `track` (numbers), each when it is there;
    None when the file is of no known form."""
    try:
        if head.startswith(b"ID3"):
            found = dict(_id3(head))
        elif head.startswith(b"fLaC"):
            found = dict(_flac(head))
        elif head.startswith(b"OggS"):
            found = dict(_ogg(head))
        elif head[4:8] == b"ftyp":
            found = dict(_mp4(head))
        else:
            return None
    except (struct.error, IndexError, ValueError):
        return None
    return _cleaned(found)


def _cleaned(found: dict[str, str]) -> dict[str, Any]:
    tags: dict[str, Any] = {}
    for name, value in found.items():
        text = value.strip("\0 ")
        if name in ("year", "track"):
            digits = text.partition("/")[0][:4] if name == "year" else text.partition("/")[0]
            if digits.isascii() and digits.isdigit() and int(digits):
                tags[name] = int(digits)
        elif text:
            tags[name] = text
    return tags


def _id3(head: bytes) -> Iterator[tuple[str, str]]:
    version = head[3]
    size = _synchsafe(head[6:10])
    position, end = 10, min(10 + size, len(head))
    name_length, header = (3, 6) if version == 2 else (4, 10)
    while position + header < end:
        name = head[position : position + name_length].decode("latin-1")
        if not name.strip("\0"):
            return
        if version == 2:
            length = int.from_bytes(head[position + 3 : position + 6], "big")
        elif version == 3:
            length = int.from_bytes(head[position + 4 : position + 8], "big")
        else:
            length = _synchsafe(head[position + 4 : position + 8])
        position += header
        value = head[position : position + length]
        position += length
        if name in _ID3 and len(value) > 1 and value[0] < len(_ENCODINGS):
            text = value[1:].decode(_ENCODINGS[value[0]], "replace")
            yield _ID3[name], text.split("\0")[0] if value[0] in (0, 3) else text


def _synchsafe(data: bytes) -> int:
    return sum((byte & 0x7F) << shift for byte, shift in zip(data, (21, 14, 7, 0), strict=True))


def _flac(head: bytes) -> Iterator[tuple[str, str]]:
    position = 4
    while position + 4 <= len(head):
        kind, length = head[position] & 0x7F, int.from_bytes(head[position + 1 : position + 4], "big")
        if kind == 4:
            yield from _comments(head[position + 4 : position + 4 + length])
        if head[position] & 0x80:
            return
        position += 4 + length


def _ogg(head: bytes) -> Iterator[tuple[str, str]]:
    for mark in (b"\x03vorbis", b"OpusTags"):
        start = head.find(mark)
        if start >= 0:
            yield from _comments(_without_pages(head, start + len(mark)))
            return


def _without_pages(head: bytes, start: int) -> bytes:
    """The bytes from a position on, without the page headers between them."""
    whole = bytearray()
    position = 0
    while head[position : position + 4] == b"OggS" and position + 27 <= len(head):
        segments = head[26 + position]
        body = position + 27 + segments
        length = sum(head[position + 27 : body])
        if body + length > start:
            whole += head[max(body, start) : body + length]
        position = body + length
    return bytes(whole)


def _comments(block: bytes) -> Iterator[tuple[str, str]]:
    (vendor,) = struct.unpack_from("<I", block, 0)
    position = 4 + vendor
    (count,) = struct.unpack_from("<I", block, position)
    position += 4
    for _ in range(min(count, 1000)):
        if position + 4 > len(block):
            return
        (length,) = struct.unpack_from("<I", block, position)
        comment = block[position + 4 : position + 4 + length].decode("utf-8", "replace")
        position += 4 + length
        key, equals, value = comment.partition("=")
        if equals and key.lower() in _VORBIS:
            yield _VORBIS[key.lower()], value


def _mp4(data: bytes) -> Iterator[tuple[str, str]]:
    for kind, body in _atoms(data):
        if kind in _CONTAINERS:
            yield from _mp4(body[4:] if kind == b"meta" else body)
        elif kind in _MP4:
            for inner, value in _atoms(body):
                if inner == b"data" and kind == b"trkn" and len(value) >= 12:
                    yield "track", str(int.from_bytes(value[10:12], "big"))
                elif inner == b"data":
                    yield _MP4[kind], value[8:].decode("utf-8", "replace")


def _atoms(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        if length < 8:
            return
        yield data[position + 4 : position + 8], data[position + 8 : position + length]
        position += length
