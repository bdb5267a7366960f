"""What the parts of a server tell each other in passing: wake-ups, and values that live for a short time.

Neither is ever the only place where something is known: a lost wake-up delays, never loses, and a lost value makes
its owner ask again (an upload key, a download secret, spec/02 §6). This is the form for one process; several are joined
by a relay (`storage.redis_bus`, `storage.postgres_bus`).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from inglenook.environment import Clock

MOST_VALUES = 100_000  # values kept; beyond that those that end first go first


class Bus:
    """Wake-ups by topic. A wake-up carries a number: "topic X has moved to N".

    `relay`, when there is one, is given each wake-up to bring it to the other processes; it must not block."""

    def __init__(self) -> None:
        self.relay: Callable[[str, int], None] | None = None
        self._listeners: dict[str, dict[object, Callable[[int], None]]] = {}

    def wake(self, topic: str, number: int = 0) -> None:
        """Call all who listen to a topic, those of this process at once; they must not block."""
        self.hear(topic, number)
        if self.relay is not None:
            self.relay(topic, number)

    def hear(self, topic: str, number: int) -> None:
        """Call those of this process who listen to a topic."""
        for callback in list(self._listeners.get(topic, {}).values()):
            callback(number)

    def hear_everything(self) -> None:
        """Call all who listen, with the number 0: wake-ups of other processes may have been lost."""
        for topic in list(self._listeners):
            self.hear(topic, 0)

    def listen(self, topic: str, callback: Callable[[int], None]) -> Callable[[], None]:
        """Be told of wake-ups; gives the function that ends it."""
        key = object()
        self._listeners.setdefault(topic, {})[key] = callback

        def end() -> None:
            listeners = self._listeners.get(topic, {})
            listeners.pop(key, None)
            if not listeners:
                self._listeners.pop(topic, None)

        return end


def topic_of(name: str) -> str:
    """The topic on which the commits of a store are told."""
    return f"store:{name}"


class ShortLived(Protocol):
    """Values that end by themselves: JSON values under string keys, each with its time to live.

    The methods raise Unavailable when another process holds the values and is out of reach."""

    async def put(self, key: str, value: Any, ttl: float) -> None:
        """Keep a JSON value for `ttl` seconds, in place of the one under that key."""
        ...

    async def get(self, key: str) -> Any:
        """The value under a key, None when there is none or its time is over."""
        ...

    async def take(self, key: str) -> Any:
        """`get` and `delete` at once: of several who take, one gets the value."""
        ...

    async def delete(self, key: str) -> None:
        """Forget a value; nothing happens when it is not there."""
        ...


class Ephemeral:
    """The `ShortLived` values of one process."""

    def __init__(self, clock: Clock | None = None, *, most: int = MOST_VALUES) -> None:
        self._clock = clock or Clock()
        self._most = most
        self._values: dict[str, tuple[float, bytes]] = {}
        self._ends: list[tuple[float, str]] = []

    async def put(self, key: str, value: Any, ttl: float) -> None:
        now = self._clock.monotonic()
        self._values[key] = (now + ttl, msgspec.json.encode(value))
        heapq.heappush(self._ends, (now + ttl, key))
        self._forget(now)

    async def get(self, key: str) -> Any:
        end, raw = self._values.get(key, (0.0, b""))
        return msgspec.json.decode(raw) if raw and end > self._clock.monotonic() else None

    async def take(self, key: str) -> Any:
        value = await self.get(key)
        self._values.pop(key, None)
        return value

    async def delete(self, key: str) -> None:
        self._values.pop(key, None)

    def _forget(self, now: float) -> None:
        while self._ends and (self._ends[0][0] <= now or len(self._values) > self._most):
            end, key = heapq.heappop(self._ends)
            if self._values.get(key, (0.0, b""))[0] == end:
                del self._values[key]
        if len(self._ends) > 2 * self._most:  # keys written again and again
            self._ends = [(end, key) for key, (end, _) in self._values.items()]
            heapq.heapify(self._ends)
