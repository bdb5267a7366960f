"""What the operator decides about files, for all instances or for those of a context (spec/02 §17.1, §21; spec/10 §2).

A context is a table of the configuration; `[contexts.NAME.files]` holds what is said here of `NAME`:

    [contexts.family.files]
    auto_clean_trashed_after = "30D"
    [contexts.family.files.versioning]
    max_number_to_keep = 5
    min_delay_between_two_versions = "1h"
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

DAY = 86_400.0
_UNITS = {
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": DAY,
    "D": DAY,
    "W": 7 * DAY,
    "M": 30 * DAY,
    "Y": 365 * DAY,
}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdDWMY])", re.ASCII)

log = structlog.get_logger("inglenook.files")


@dataclass(frozen=True, slots=True)
class VersionLimits:
    """How many contents of a file are kept, the current one included, and the seconds between two versions that are
    kept although nobody has tagged them."""

    keep: int = 20
    seconds: float = 15 * 60.0


def version_limits(instance: Instance) -> VersionLimits:
    """The limits of versions: those of the context, else those of the server."""
    config = instance.env.config
    versioning = table(table(instance.context_settings, "files"), "versioning")
    keep = versioning.get("max_number_to_keep")
    seconds = duration(versioning.get("min_delay_between_two_versions"))
    return VersionLimits(
        keep if isinstance(keep, int) and not isinstance(keep, bool) and keep >= 0 else config.versions_to_keep,
        config.seconds_between_versions if seconds is None else seconds,
    )


def seconds_in_trash(instance: Instance) -> float | None:
    """The seconds after which what is in the trash is destroyed; None: never."""
    return duration(table(instance.context_settings, "files").get("auto_clean_trashed_after"))


def duration(value: object) -> float | None:
    """Seconds of a duration: a number of seconds, or a text such as `15m`, `1h30m`, `30D`, `3M` (days, months of 30
    days); None when it is absent. One that cannot be read is as absent, and said in the log."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str) or not value:
        return None
    parts = _PART.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        log.warning("a duration of the configuration cannot be read", value=value)
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def table(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A table in a table of the configuration, empty when there is none."""
    value = settings.get(name)
    return value if isinstance(value, dict) else {}
