"""From the path of a request on an app's host to a file of the app (spec/03 §12.4, steps 4 and 7)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_FINGERPRINT = re.compile(r"\.[0-9a-f]{10,}\.|\.immutable\.", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Target:
    """What a path designates: a file by its path in the app, whether anybody may have it, and whether it is the page
    of its route. `file` ends with a slash when the route has no page."""

    file: str
    public: bool
    is_index: bool


def match(routes: Mapping[str, Any], path: str) -> Target | None:
    """The target of a decoded path, None when no route leads there. The route with the most segments in common wins."""
    wanted = _segments(path)
    best: tuple[list[str], Mapping[str, Any]] | None = None
    for at, route in routes.items():
        segments = _segments(at)
        if wanted[: len(segments)] == segments and (best is None or len(segments) > len(best[0])):
            best = segments, route
    if best is None:
        return None
    segments, route = best
    folder, index = _join("/", str(route.get("folder") or "/")), str(route.get("index") or "")
    rest = wanted[len(segments) :]
    page = _join(folder, index) if index else ""
    file = _join(folder, *rest) if rest else page or folder.rstrip("/") + "/"
    return Target(file, bool(route.get("public")), is_index=bool(page) and file == page)


def is_fixed(file: str) -> bool:
    """Whether the name of a file changes with its content, so that browsers may keep it for ever."""
    return _FINGERPRINT.search(file.rpartition("/")[2]) is not None


def cleaned(path: str) -> str:
    """A path from the root, without empty segments, `.` and `..`."""
    return posixpath.normpath("/" + path.lstrip("/"))


def _segments(path: str) -> list[str]:
    return [segment for segment in cleaned(path).split("/") if segment]


def _join(folder: str, *rest: str) -> str:
    return cleaned("/".join((folder, *rest)))
