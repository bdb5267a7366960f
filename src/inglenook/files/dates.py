"""The dates of files and directories: what clients may send, and how two of them compare (spec/02 §4)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9})\d*)?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1_000_000_000


def nanoseconds(date: str) -> int | None:
    """An RFC 3339 date as nanoseconds of Unix time; None when it cannot be read."""
    match = _RFC3339.fullmatch(date)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, off_hours, off_minutes = match.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=UTC)
    except ValueError:
        return None
    shift = 0
    if sign:
        shift = (int(off_hours) * 3600 + int(off_minutes) * 60) * (1 if sign == "+" else -1)
    whole = (moment - _EPOCH) // timedelta(seconds=1) - shift
    return whole * SECOND + int((fraction or "0").ljust(9, "0"))


def from_query(value: str) -> str:
    """A date of a query parameter as it is; empty when it is absent or cannot be read."""
    return value if value and nanoseconds(value) is not None else ""


def from_header(value: str) -> str:
    """The `Date` header (RFC 1123) as RFC 3339; empty when it is absent or cannot be read."""
    if not value:
        return ""
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return ""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def older(first: str, second: str) -> bool:
    """Whether a date comes before another; False when one of them cannot be read."""
    one, two = nanoseconds(first), nanoseconds(second)
    return one is not None and two is not None and one < two


def seconds_between(first: str, second: str) -> float:
    """Seconds from a date to a later one; infinite when one of them cannot be read."""
    one, two = nanoseconds(first), nanoseconds(second)
    return float("inf") if one is None or two is None else (two - one) / SECOND


def whole_second(date: str) -> datetime:
    """The moment of a date, without fractions, in UTC: what HTTP dates can say. Unreadable: 1970."""
    return _EPOCH + timedelta(seconds=(nanoseconds(date) or 0) // SECOND)
