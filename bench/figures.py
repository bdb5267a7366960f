"""What a measurement gives: figures of several contestants for the same work, with the goal for ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from inglenook.sharing.members import MAX_MEMBERS

OURS, SYNCTHING, FLOOR = "inglenook", "syncthing", "floor"
CONTESTANTS = (OURS, SYNCTHING, FLOOR)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured. Durations in seconds, sizes in bytes; `members` without the owner."""

    files: int = 1000
    file_size: int = 10 * 1000
    middling: int = 100  # files of 1 MB
    large: int = 1024**3
    changes: int = 50
    seconds: float = 4.0
    connections: int = 16
    many: int = 10_000
    very_many: int = 20_000
    members: int = MAX_MEMBERS - 1


QUICK = Size(
    files=200, middling=20, large=128 * 1024**2, changes=12, seconds=1.5, many=500, very_many=2_000, members=10
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: a value for each contestant, in `unit`.

    `more_is_better` tells how to read it. `goal` is what ours shall reach, by the ratio to a contestant or by value.
    """

    work: str
    unit: str
    values: dict[str, float]
    goal: str = ""
    more_is_better: bool = False

    def ratio(self, contestant: str) -> float | None:
        """How many times the contestant's value ours is; None without both."""
        ours, theirs = self.values.get(OURS), self.values.get(contestant)
        return None if ours is None or not theirs else ours / theirs

    def to_json(self) -> dict[str, Any]:
        """As JSON keeps it, with the ratios."""
        ratios = {name: self.ratio(name) for name in (SYNCTHING, FLOOR) if self.ratio(name) is not None}
        return {**asdict(self), "ratios": ratios}


Say = Callable[[str], None]
"""Is told what is being measured."""


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
