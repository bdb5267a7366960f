"""How many requests of other servers are served at a time: one that floods slows nobody else (spec/11 §7).

Counted in each process, for each member of a sharing and for each instance. A server that keeps to the protocol stays
far below; what is beyond is answered 429, and may come again after a second.
"""

from __future__ import annotations

from collections import Counter

from inglenook.identity.caller import Caller
from inglenook.kernel.errors import TooManyRequests

OF_A_MEMBER = 64
OF_ALL = 512

_open: Counter[tuple[str, ...]] = Counter()


class TooManyOpen(TooManyRequests):
    """A server has too many requests open at a time: 429 with `Retry-After`."""

    retry_after = 1


def take_place(caller: Caller, sharing_id: str, index: int) -> None:
    """Count a request until its answer has gone. Raises TooManyOpen."""
    prefix = caller.instance.prefix
    places = ((prefix, sharing_id, str(index)), (prefix,))
    if any(_open[place] >= limit for place, limit in zip(places, (OF_A_MEMBER, OF_ALL), strict=True)):
        raise TooManyOpen("Too many requests at a time")
    _open.update(places)

    def leave() -> None:
        _open.subtract(places)
        for place in places:
            if not _open[place]:
                del _open[place]

    caller.at_end(leave)
