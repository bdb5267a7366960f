"""Slowing down who guesses, and counting who asks too often (spec/03 §17, decisions of spec/00).

Guesses of a secret are counted for each address, in the instance's own store, so that a restart forgets nothing.
The first ones are free; then each one makes its address wait longer. Nothing an address does makes another wait,
except that after very many wrong guesses from everywhere, addresses never seen to succeed have fewer free ones:
nobody can lock the owner out, and many machines together gain little.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from inglenook.kernel.errors import TooManyRequests
from inglenook.storage.documents.contract import Reader, Writer

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

THROTTLE = "throttle"
COUNTER = "rate-counter"

_FORGET_AFTER = 3600.0  # seconds without a wrong guess after which an address starts anew
_KNOWN_FOR = 90 * 86_400.0
_FREE = 20
_FREE_UNDER_ATTACK = 3
_ATTACK = 500  # wrong guesses from everywhere within `_FORGET_AFTER`
_LONGEST_WAIT = 900.0
_SWEEP = 20

_locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


class MustWait(TooManyRequests):
    """Too many wrong guesses from here: 429 with `Retry-After: seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = max(1, int(seconds + 0.999))
        self.retry_after = self.seconds
        super().__init__(f"Too many attempts, please try again in {self.seconds} seconds")


@dataclass(frozen=True, slots=True)
class Guard:
    """Guards one secret (`login`, `link:<id>` …) of an instance against guesses from one address."""

    instance: Instance
    secret: str
    address: str

    async def attempt(self, verify: Callable[[], Awaitable[bool]]) -> bool:
        """Let one guess be verified, and count it when it is wrong; gives what `verify` found. Raises MustWait.

        The guesses of one address are verified one after the other, so that many at once gain nothing."""
        key = f"{self.instance.prefix}\x00{_key(self.secret, place_of(self.address))}"
        lock = _locks.get(key) or asyncio.Lock()
        _locks[key] = lock
        async with lock:
            await self._check()
            right = await verify()
            await (self._right() if right else self._wrong())
        return right

    async def _check(self) -> None:
        now = _seconds(self.instance)
        wait = await self.instance.store.read(lambda view: _wait(view, self.secret, self._place, now))
        if wait > 0:
            raise MustWait(wait)

    async def _wrong(self) -> None:
        now = _seconds(self.instance)
        await self.instance.store.write(lambda tx: _count_wrong(tx, self.secret, self._place, now))

    async def _right(self) -> None:
        """Forget the wrong guesses of this address and remember it as one that knows the secret."""
        now = _seconds(self.instance)
        key = _key(self.secret, self._place)
        record = await self.instance.store.read(lambda view: view.record(THROTTLE, key))
        if record is not None and record.body["known"] > now - _KNOWN_FOR / 3 and not record.body["wrong"]:
            return

        def forget(tx: Writer) -> None:
            _keep(tx, key, wrong=0, last=now, known=now)
            _sweep(tx, now)

        await self.instance.store.write(forget)

    @property
    def _place(self) -> str:
        return place_of(self.address)


def place_of(address: str) -> str:
    """What is counted together: an IPv4 address, or the /64 network that one IPv6 subscriber has."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


def count(tx: Writer, counter: str, limit: int, period: float, now: float) -> bool:
    """Count one event of a limited kind; False when it is over `limit` within the fixed period (seconds)."""
    record = tx.record(COUNTER, counter)
    body = record.body if record else None
    if body is None or body["until"] <= now:
        body = {"count": 0, "until": now + period}
    if body["count"] >= limit:
        return False
    tx.put_record(COUNTER, counter, {**body, "count": body["count"] + 1}, due=body["until"])
    return True


async def allowed(instance: Instance, counter: str, limit: int, period: float) -> bool:
    """`count` in a transaction of its own."""
    now = _seconds(instance)
    return await instance.store.write(lambda tx: count(tx, counter, limit, period, now))


def _wait(view: Reader, secret: str, place: str, now: float) -> float:
    record = view.record(THROTTLE, _key(secret, place))
    if record is None or now - (body := record.body)["last"] > _FORGET_AFTER:
        return 0.0
    free = _FREE
    if body["known"] <= now - _KNOWN_FOR:
        everywhere = view.record(THROTTLE, _key(secret, "*"))
        if everywhere is not None and now < everywhere.body["until"] and everywhere.body["wrong"] >= _ATTACK:
            free = _FREE_UNDER_ATTACK
    beyond = body["wrong"] - free
    if beyond < 0:
        return 0.0
    return body["last"] + min(2.0 ** min(beyond, 12), _LONGEST_WAIT) - now


def _count_wrong(tx: Writer, secret: str, place: str, now: float) -> None:
    record = tx.record(THROTTLE, _key(secret, place))
    body: dict[str, Any] = record.body if record else {"wrong": 0, "last": now, "known": 0.0}
    before = 0 if now - body["last"] > _FORGET_AFTER else body["wrong"]
    _keep(tx, _key(secret, place), wrong=before + 1, last=now, known=body["known"])
    total = tx.record(THROTTLE, _key(secret, "*"))
    all_wrong: dict[str, Any] = total.body if total else {"wrong": 0, "until": now + _FORGET_AFTER}
    if all_wrong["until"] <= now:
        all_wrong = {"wrong": 0, "until": now + _FORGET_AFTER}
    all_wrong["wrong"] += 1
    tx.put_record(THROTTLE, _key(secret, "*"), all_wrong, due=all_wrong["until"])
    _sweep(tx, now)


def _keep(tx: Writer, key: str, *, wrong: int, last: float, known: float) -> None:
    due = max(last + _FORGET_AFTER, known + _KNOWN_FOR if known else 0.0)
    tx.put_record(THROTTLE, key, {"wrong": wrong, "last": last, "known": known}, due=due)


def _sweep(tx: Writer, now: float) -> None:
    for record in tx.records_due(THROTTLE, now, limit=_SWEEP):
        tx.delete_record(THROTTLE, record.id)
    for record in tx.records_due(COUNTER, now, limit=_SWEEP):
        tx.delete_record(COUNTER, record.id)


def _key(secret: str, place: str) -> str:
    return f"{secret}\x00{place}"


def _seconds(instance: Instance) -> float:
    return instance.env.clock.now().timestamp()
