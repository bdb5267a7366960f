"""Sending a part of an export: whole or by ranges, with what lets a download be taken up again (spec/12 §7, §11)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from inglenook import wire
from inglenook.files.ranges import Failed, NotModified, Parts, Unsatisfiable, Validators, decide
from inglenook.moving import parts
from inglenook.moving.parts import Part
from inglenook.wire import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inglenook.identity.instance import Instance

ZIP = "application/zip"


def send(instance: Instance, headers: Mapping[str, str], part: Part, name: str) -> Answer:
    """The answer to a GET or HEAD with these headers (names in lower case) of a part, under a name in plain ASCII."""
    shown = {
        "etag": part.etag,
        "accept-ranges": "bytes",
        "cache-control": "private, no-transform",
        "content-disposition": f"attachment; filename=\"{name}\"; filename*=UTF-8''{quote(name, safe='')}",
        "content-security-policy": framing(instance),
    }
    match decide(headers, Validators(part.etag, None), part.size):
        case NotModified():
            return Answer(status=304, headers=shown)
        case Failed():
            return Answer(status=412, headers=shown)
        case Unsatisfiable():
            return Answer(status=416, headers={**shown, "content-range": f"bytes */{part.size}"})
        case Parts(pieces=((start, end),)):
            shown["content-range"] = f"bytes {start}-{end - 1}/{part.size}"
            status = 206
        case _:  # several pieces at once: the whole is a right answer too (RFC 9110 §14.2)
            start, end, status = 0, part.size, 200
    shown["content-length"] = str(end - start)
    return wire.streamed(parts.read(instance.contents, part, start, end), status=status, media_type=ZIP, headers=shown)


def framing(instance: Instance) -> str:
    """The settings app may show the download in a frame of its own."""
    return (
        "default-src 'none';frame-src 'none';base-uri 'none';"
        f"frame-ancestors {instance.app_url('settings').rstrip('/')};"
    )


def part_name(name: str, number: int, count: int) -> str:
    """The name of the file of a part, by its number from 1."""
    return f"{name}.zip" if count == 1 else f"{name} - part{number:03d}.zip"
