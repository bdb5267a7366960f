"""What is known of each other server: health, budget, who waits for it (spec/10 §3, `peers ls` and `peers retry`)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

import msgspec

from inglenook.peers.circuit import Circuit

EXCHANGES = 16
"""Small requests in flight to one host, at most."""

TRANSFERS = 8
"""Transfers of contents in flight to one host, at most: they must not keep the small requests waiting."""

REMEMBERED = 4096
"""Hosts whose state is kept while nothing goes on with them."""

WEIGHT = 0.2

Recovery = Callable[[], None]


class PeerState(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of `peers ls`.

    `latency_ms` is a moving average of answered requests, `failures` those in a row, `waiting` how many wait for
    the host's recovery. `state`: `ok`, `failing` (some failures, still tried), `open` (left alone until `next_try`).
    """

    host: str
    state: str
    in_flight: int
    latency_ms: float | None = None
    failures: int = 0
    last_success: datetime | None = None
    last_error: str = ""
    last_error_at: datetime | None = None
    next_try: datetime | None = None
    waiting: int = 0
    extensions: dict[str, int] = {}


_BY_HARM = ("ok", "failing", "open")


def joined(states: Iterable[PeerState]) -> list[PeerState]:
    """What several processes know of hosts, as one list by name: the worst state, the latest success and error."""
    by_host: dict[str, list[PeerState]] = {}
    for state in states:
        by_host.setdefault(state.host, []).append(state)
    return [_one(by_host[host]) for host in sorted(by_host)]


def _one(states: list[PeerState]) -> PeerState:
    if len(states) == 1:
        return states[0]
    worst = max(states, key=lambda state: (_BY_HARM.index(state.state), state.failures))
    latencies = [state.latency_ms for state in states if state.latency_ms is not None]
    wrong = [state for state in states if state.last_error_at is not None]
    latest = max(wrong, key=lambda state: state.last_error_at or datetime.min, default=worst)
    return msgspec.structs.replace(
        worst,
        in_flight=sum(state.in_flight for state in states),
        waiting=sum(state.waiting for state in states),
        latency_ms=sum(latencies) / len(latencies) if latencies else None,
        last_success=max((state.last_success for state in states if state.last_success is not None), default=None),
        last_error=latest.last_error,
        last_error_at=latest.last_error_at,
        extensions=next((state.extensions for state in states if state.extensions), {}),
    )


class Host:
    """The state of one other server. Its budgets are its own: what hangs here holds up nobody else."""

    __slots__ = (
        "ailing",
        "circuit",
        "exchanges",
        "extensions",
        "in_flight",
        "last_error",
        "last_error_at",
        "last_success",
        "latency",
        "name",
        "nudged",
        "recoveries",
        "transfers",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.circuit = Circuit()
        self.exchanges = asyncio.Semaphore(EXCHANGES)
        self.transfers = asyncio.Semaphore(TRANSFERS)
        self.in_flight = 0
        self.latency: float | None = None
        self.ailing = False
        self.nudged = float("-inf")
        self.last_success: datetime | None = None
        self.last_error = ""
        self.last_error_at: datetime | None = None
        self.extensions: dict[str, int] = {}
        self.recoveries: list[Recovery] = []

    def observe(self, seconds: float) -> None:
        """Take the duration of an answered request into the average."""
        self.latency = seconds if self.latency is None else self.latency + WEIGHT * (seconds - self.latency)

    @property
    def idle(self) -> bool:
        """Whether nothing goes on with this host that must not be forgotten."""
        return not (self.in_flight or self.recoveries)


class Hosts:
    """The states of all hosts, the least used ones forgotten."""

    def __init__(self) -> None:
        self._hosts: OrderedDict[str, Host] = OrderedDict()

    def __iter__(self) -> Iterator[Host]:
        return iter(list(self._hosts.values()))

    def known(self, name: str) -> Host | None:
        """The state of a host that was in use lately."""
        return self._hosts.get(name)

    def get(self, name: str) -> Host:
        """The state of a host, a fresh one for a new name."""
        host = self._hosts.get(name)
        if host is None:
            self._forget_some()
            host = self._hosts[name] = Host(name)
        self._hosts.move_to_end(name)
        return host

    def _forget_some(self) -> None:
        if len(self._hosts) < REMEMBERED:
            return
        for name, host in list(self._hosts.items())[: REMEMBERED // 8]:
            if host.idle:
                del self._hosts[name]
