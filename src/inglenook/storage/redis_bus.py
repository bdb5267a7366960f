"""Wake-ups, short-lived values and leases over Redis, for several processes.

Redis forgets what it held when it restarts, and may lose a message: wake-ups are hints, short-lived values can be asked
for again, and a lease that is lost is taken anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, cast

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from inglenook.kernel.errors import Unavailable
from inglenook.storage.bus import Bus

CHANNEL = "inglenook:wake-ups"
VALUES = "inglenook:value:"
LEASES = "inglenook:lease:"
REST_SECONDS = 0.5  # before Redis is tried again

PRESENT = "inglenook:workers"

ENTER = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
return redis.call('ZCARD', KEYS[1])
"""
RENEW = """
local held = {}
for i, key in ipairs(KEYS) do
    if #held >= tonumber(ARGV[3]) then break end
    local holder = redis.call('GET', key)
    if not holder or holder == ARGV[1] then
        redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
        held[#held + 1] = i
    end
end
return held
"""
GIVE_BACK = """
for _, key in ipairs(KEYS) do
    if redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end
end
"""

log = structlog.get_logger("inglenook.storage")


class RedisRelay:
    """Brings the wake-ups of a bus to the other processes, and theirs to it."""

    def __init__(self, redis: Redis, bus: Bus, me: str) -> None:
        self._redis = redis
        self._bus = bus
        self._me = me
        self._waiting: dict[str, int] = {}
        self._sending = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin; returns when the wake-ups of others arrive. Raises Unavailable."""
        listening = asyncio.Event()
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._listen(listening))]
        self._bus.relay = self._pass_on
        with _storage_errors():
            await cast("Any", self._redis.ping())
        await listening.wait()

    async def stop(self) -> None:
        """Send what waits, then end."""
        self._bus.relay = None
        with suppress(RedisError, OSError):
            await self._send_waiting()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _pass_on(self, topic: str, number: int) -> None:
        self._waiting[topic] = max(number, self._waiting.get(topic, 0))
        self._sending.set()

    async def _send(self) -> None:
        while True:
            await self._sending.wait()
            self._sending.clear()
            try:
                await self._send_waiting()
            except (RedisError, OSError) as error:
                log.warning("wake-ups wait for Redis", cause=str(error))
                self._sending.set()
                await asyncio.sleep(REST_SECONDS)

    async def _send_waiting(self) -> None:
        if not self._waiting:
            return
        batch, self._waiting = self._waiting, {}
        try:
            message = msgspec.json.encode([self._me, batch])
            await self._redis.publish(CHANNEL, message)
        except BaseException:
            self._waiting = {**batch, **self._waiting}
            raise

    async def _listen(self, listening: asyncio.Event) -> None:
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=False) as messages:
                    await messages.subscribe(CHANNEL)
                    async for message in messages.listen():
                        if message["type"] == "subscribe":
                            listening.set()
                            self._bus.hear_everything()
                        elif message["type"] == "message":
                            self._hear(message["data"])
            except (RedisError, OSError) as error:
                log.warning("no wake-ups from Redis", cause=str(error))
            await asyncio.sleep(REST_SECONDS)

    def _hear(self, data: bytes) -> None:
        sender, topics = msgspec.json.decode(data, type=tuple[str, dict[str, int]])
        if sender != self._me:
            for topic, number in topics.items():
                self._bus.hear(topic, number)


class RedisValues:
    """`ShortLived` values in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def put(self, key: str, value: Any, ttl: float) -> None:
        with _storage_errors():
            await self._redis.set(VALUES + key, msgspec.json.encode(value), px=max(int(ttl * 1000), 1))

    async def get(self, key: str) -> Any:
        with _storage_errors():
            raw = await self._redis.get(VALUES + key)
        return None if raw is None else msgspec.json.decode(raw)

    async def take(self, key: str) -> Any:
        with _storage_errors():
            raw = await self._redis.getdel(VALUES + key)
        return None if raw is None else msgspec.json.decode(raw)

    async def delete(self, key: str) -> None:
        with _storage_errors():
            await self._redis.delete(VALUES + key)


class RedisLeases:
    """The `LeaseTable` of `storage.leases` in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._taken: dict[str, set[str]] = {}
        self._enter = redis.register_script(ENTER)
        self._renew = redis.register_script(RENEW)
        self._give_back = redis.register_script(GIVE_BACK)

    async def enter(self, holder: str, seconds: float) -> int:
        with _storage_errors():
            return cast("int", await self._enter(keys=[PRESENT], args=[holder, int(seconds * 1000)]))

    async def leave(self, holder: str) -> None:
        await self.give_back([*self._taken.pop(holder, ())], holder)
        with _storage_errors():
            await self._redis.zrem(PRESENT, holder)

    async def take(self, names: Sequence[str], holder: str, seconds: float, *, most: int | None = None) -> set[str]:
        args = [holder, int(seconds * 1000), len(names) if most is None else most]
        with _storage_errors():
            held = await self._renew(keys=[LEASES + name for name in names], args=args)
        taken = {names[place - 1] for place in cast("list[int]", held)}
        self._taken.setdefault(holder, set()).update(taken)
        return taken

    async def give_back(self, names: Sequence[str], holder: str) -> None:
        if not names:
            return
        self._taken.get(holder, set[str]()).difference_update(names)
        with _storage_errors():
            await self._give_back(keys=[LEASES + name for name in names], args=[holder])


def connect(url: str) -> Redis:
    """A client of Redis; it connects at the first use."""
    return Redis.from_url(url, socket_connect_timeout=5.0, health_check_interval=15)


@contextmanager
def _storage_errors() -> Generator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise Unavailable(f"Redis is out of reach: {error}") from error
