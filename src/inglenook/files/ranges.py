"""Conditional and range requests on a content (RFC 9110 §13 and §14), decided without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from inglenook.wire import lists_tag

MOST_RANGES = 32


@dataclass(frozen=True, slots=True)
class Validators:
    """What identifies the state of a content: its entity tag with quotes (empty: none) and its date in whole
    seconds (None: unknown)."""

    etag: str
    modified: datetime | None


@dataclass(frozen=True, slots=True)
class Whole:
    """Send everything."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Send these pieces (start, end excluded), one or several."""

    pieces: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class NotModified:
    """304."""


@dataclass(frozen=True, slots=True)
class Failed:
    """412."""


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """416."""


Decision = Whole | Parts | NotModified | Failed | Unsatisfiable


def decide(headers: Mapping[str, str], validators: Validators, size: int) -> Decision:
    """What a GET or HEAD with these headers (lower-case names) gets of a content of `size` bytes."""
    if_match = headers.get("if-match", "")
    if if_match:
        if not lists_tag(if_match, validators.etag, weak=False):
            return Failed()
    elif _later(validators.modified, headers.get("if-unmodified-since", "")) is True:
        return Failed()
    if_none_match = headers.get("if-none-match", "")
    if if_none_match:
        if lists_tag(if_none_match, validators.etag):
            return NotModified()
    elif _later(validators.modified, headers.get("if-modified-since", "")) is False:
        return NotModified()
    asked = headers.get("range", "")
    if not asked or size == 0 or not _if_range_holds(headers.get("if-range", ""), validators):
        return Whole()
    return parse_range(asked, size)


def parse_range(value: str, size: int) -> Whole | Parts | Unsatisfiable:
    """The pieces that a Range header names; what is no range of bytes is ignored, or 416 when malformed."""
    unit, equals, ranges = value.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return Unsatisfiable() if unit.strip().lower() == "bytes" else Whole()
    pieces: list[tuple[int, int]] = []
    specs = [spec.strip() for spec in ranges.split(",")]
    if len(specs) > MOST_RANGES:
        return Whole()
    for spec in specs:
        if not spec:
            continue
        first, dash, last = spec.partition("-")
        first, last = first.strip(), last.strip()
        if not dash or not _digits(first, empty=True) or not _digits(last, empty=True) or not (first or last):
            return Unsatisfiable()
        if not first:
            start, end = max(size - int(last), 0), size
            if int(last) == 0:
                continue
        else:
            start = int(first)
            end = min(int(last) + 1, size) if last else size
            if last and int(last) < start:
                return Unsatisfiable()
        if start < size:
            pieces.append((start, end))
    if not pieces:
        return Unsatisfiable()
    if sum(end - start for start, end in pieces) > size:
        return Whole()
    return Parts(tuple(pieces))


def http_date(moment: datetime) -> str:
    """A date as HTTP writes it (RFC 9110 §5.6.7)."""
    utc = moment.astimezone(UTC)
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[utc.weekday()]
    month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[utc.month - 1]
    return f"{day}, {utc.day:02d} {month} {utc.year:04d} {utc.hour:02d}:{utc.minute:02d}:{utc.second:02d} GMT"


def _later(modified: datetime | None, value: str) -> bool | None:
    """Whether the content changed after a date; None when one of them is not known."""
    if modified is None or not value:
        return None
    moment = _read_date(value)
    return None if moment is None else modified > moment


def _if_range_holds(value: str, validators: Validators) -> bool:
    if not value:
        return True
    if value.startswith(('"', "W/")):
        return value == validators.etag
    return validators.modified is not None and _read_date(value) == validators.modified


def _read_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _digits(text: str, *, empty: bool) -> bool:
    return (not text and empty) or (text.isascii() and text.isdigit() and len(text) <= 18)
