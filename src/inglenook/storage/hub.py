"""Wake-ups, short-lived values and leases between the processes of one server on one machine, without any other
server: the process that started them, the *hub*, holds all three, and each of the others has a connection to it.

A message is its length (4 bytes, big-endian) and JSON. A process tells `{"wake": {topic: number}}`, `{"ready": true}`,
or asks `{"ask": n, "do": name, "with": [arguments]}`; the hub passes wake-ups on, answers `{"answer": n, "value": …}`.
What one process asks all the others (`gather`) reaches them as `{"question": n, "about": name, "with": [arguments]}`,
and comes back as `{"reply": n, "value": …}`.
The end of a connection is the end of the process at its other end: its leases are free at once, and a process that
loses the hub ends (`HubClient.ended`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import structlog

from inglenook.environment import Clock
from inglenook.kernel.errors import DomainError, Unavailable
from inglenook.storage.bus import Bus, Ephemeral
from inglenook.storage.leases import TOPIC, LocalLeases

LONGEST = 64 * 1024 * 1024  # bytes of a message; more is not one of ours
PATIENCE = 5.0  # seconds for the others to reply

Reply = Callable[..., Awaitable[Any]]
"""What a process replies to a question of another one: JSON, from the arguments of the question."""

log = structlog.get_logger("inglenook.storage")


class Hub:
    """The side of the process that started the others."""

    def __init__(self, clock: Clock) -> None:
        self._values = Ephemeral(clock)
        self._leases = LocalLeases(clock)
        self._members: dict[int, asyncio.StreamWriter] = {}
        self._numbers = itertools.count(1)
        self._questions: dict[int, _Question] = {}
        self._gathering: set[asyncio.Task[None]] = set()

    async def serve(self, connection: socket.socket, ready: asyncio.Event) -> None:
        """Serve a process until its connection ends; `ready` is set when it says that it answers requests."""
        reader, writer = await asyncio.open_unix_connection(sock=connection)
        number = next(self._numbers)
        holders: set[str] = set()
        self._members[number] = writer
        try:
            while True:
                message = await _receive(reader)
                match message:
                    case {"wake": topics}:
                        self._pass_on(topics, number)
                    case {"ask": question, "do": "gather", "with": [about, arguments]}:
                        self._begin_to_gather(number, question, about, arguments)
                    case {"reply": question, "value": value}:
                        if question in self._questions:
                            self._questions[question].take(number, value)
                    case {"ask": question, "do": name, "with": arguments}:
                        _send(writer, {"answer": question, "value": await self._do(name, arguments, holders)})
                    case _:
                        ready.set()
        except (EOFError, ConnectionError):
            pass
        finally:
            del self._members[number]
            writer.close()
            for question in self._questions.values():
                question.give_up(number)
            for holder in holders:
                await self._leases.leave(holder)
            if holders:
                self._pass_on({TOPIC: 0}, number)

    async def _do(self, name: str, arguments: list[Any], holders: set[str]) -> Any:
        match name, arguments:
            case "put", [key, value, ttl]:
                await self._values.put(key, value, ttl)
            case "get", [key]:
                return await self._values.get(key)
            case "take", [key]:
                return await self._values.take(key)
            case "delete", [key]:
                await self._values.delete(key)
            case "enter", [holder, seconds]:
                holders.add(holder)
                return await self._leases.enter(holder, seconds)
            case "leave", [holder]:
                await self._leases.leave(holder)
            case "lease", [names, holder, seconds, most]:
                holders.add(holder)
                return sorted(await self._leases.take(names, holder, seconds, most=most))
            case "give back", [names, holder]:
                await self._leases.give_back(names, holder)
            case _:
                raise ValueError(f"Nobody asks this: {name}")
        return None

    def _begin_to_gather(self, asker: int, asked: int, about: str, arguments: list[Any]) -> None:
        task = asyncio.create_task(self._gather(asker, asked, about, arguments))
        self._gathering.add(task)
        task.add_done_callback(self._gathering.discard)

    async def _gather(self, asker: int, asked: int, about: str, arguments: list[Any]) -> None:
        """Ask all but one process, and answer with what they reply in time."""
        number = next(self._numbers)
        others = {one: writer for one, writer in self._members.items() if one != asker}
        question = self._questions[number] = _Question(set(others))
        try:
            for writer in others.values():
                _send(writer, {"question": number, "about": about, "with": arguments})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await question.over.wait()
        finally:
            del self._questions[number]
        if asker in self._members:
            _send(self._members[asker], {"answer": asked, "value": question.replies})

    def _pass_on(self, topics: dict[str, int], sender: int) -> None:
        for number, writer in self._members.items():
            if number != sender:
                _send(writer, {"wake": topics})


class _Question:
    """A question to several processes, and what they have replied so far."""

    def __init__(self, asked: set[int]) -> None:
        self.replies: list[Any] = []
        self.over = asyncio.Event()
        self._missing = asked
        self.give_up(0)

    def take(self, member: int, value: Any) -> None:
        """A reply has come, None for none."""
        if value is not None:
            self.replies.append(value)
        self.give_up(member)

    def give_up(self, member: int) -> None:
        """A process will not reply any more."""
        self._missing.discard(member)
        if not self._missing:
            self.over.set()


class HubClient:
    """The connection of a process to its hub; `bus` is told of the wake-ups of the others, and they of its own.

    `ended` is set when the hub is gone; `replies` are this process's own to what others may ask, by name."""

    def __init__(self, connection: socket.socket, bus: Bus) -> None:
        self.bus = bus
        self.replies: dict[str, Reply] = {}
        self.ended = asyncio.Event()
        self._connection = connection
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[str, int] = {}
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count(1)
        self._task: asyncio.Task[None] | None = None
        self._replying: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin; from here on the wake-ups of others arrive."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._connection)
        self._task = asyncio.create_task(self._listen(reader), name="hub")
        self.bus.relay = self._pass_on

    async def stop(self) -> None:
        """Send what waits, then end."""
        self.bus.relay = None
        if self._writer is not None:
            self._send_wakes()
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()
        for task in [*self._replying, *([self._task] if self._task is not None else [])]:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def ready(self) -> None:
        """Say that this process answers requests."""
        assert self._writer is not None
        _send(self._writer, {"ready": True})

    async def ask(self, name: str, *arguments: Any) -> Any:
        """Have the hub do something. Raises Unavailable when it is gone."""
        if self._writer is None or self.ended.is_set():
            raise Unavailable("The first process of this server is gone")
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            _send(self._writer, {"ask": number, "do": name, "with": arguments})
            return await answer
        finally:
            del self._asked[number]

    async def gather(self, about: str, *arguments: Any) -> list[Any]:
        """What all the other processes reply to a question; one that does not in time is left out. Raises
        Unavailable."""
        return await self.ask("gather", about, arguments)

    async def _reply(self, question: int, about: str, arguments: list[Any]) -> None:
        try:
            value = await self.replies[about](*arguments)
        except (KeyError, DomainError, OSError) as error:
            log.warning("a question of another process was not answered", about=about, cause=repr(error))
            value = None
        if self._writer is not None:
            _send(self._writer, {"reply": question, "value": value})

    def _pass_on(self, topic: str, number: int) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._send_wakes)
        self._waiting[topic] = max(number, self._waiting.get(topic, 0))

    def _send_wakes(self) -> None:
        if self._waiting and self._writer is not None:
            topics, self._waiting = self._waiting, {}
            _send(self._writer, {"wake": topics})

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                match await _receive(reader):
                    case {"wake": topics}:
                        for topic, number in topics.items():
                            self.bus.hear(topic, number)
                    case {"question": number, "about": about, "with": arguments}:
                        task = asyncio.create_task(self._reply(number, about, arguments))
                        self._replying.add(task)
                        task.add_done_callback(self._replying.discard)
                    case {"answer": number, "value": value}:
                        answer = self._asked.get(number)
                        if answer is not None and not answer.done():
                            answer.set_result(value)
                    case _:
                        continue
        except (EOFError, ConnectionError):
            pass
        finally:
            self.ended.set()
            for answer in self._asked.values():
                if not answer.done():
                    answer.set_exception(Unavailable("The first process of this server is gone"))


class HubValues:
    """`ShortLived` values at the hub."""

    def __init__(self, hub: HubClient) -> None:
        self._hub = hub

    async def put(self, key: str, value: Any, ttl: float) -> None:
        await self._hub.ask("put", key, value, ttl)

    async def get(self, key: str) -> Any:
        return await self._hub.ask("get", key)

    async def take(self, key: str) -> Any:
        return await self._hub.ask("take", key)

    async def delete(self, key: str) -> None:
        await self._hub.ask("delete", key)


class HubLeases:
    """The `LeaseTable` of `storage.leases` at the hub."""

    def __init__(self, hub: HubClient) -> None:
        self._hub = hub

    async def enter(self, holder: str, seconds: float) -> int:
        return await self._hub.ask("enter", holder, seconds)

    async def leave(self, holder: str) -> None:
        await self._hub.ask("leave", holder)

    async def take(self, names: Sequence[str], holder: str, seconds: float, *, most: int | None = None) -> set[str]:
        return set(await self._hub.ask("lease", list(names), holder, seconds, most))

    async def give_back(self, names: Sequence[str], holder: str) -> None:
        await self._hub.ask("give back", list(names), holder)


def _send(writer: asyncio.StreamWriter, message: Any) -> None:
    if not writer.is_closing():
        payload = msgspec.json.encode(message)
        writer.write(len(payload).to_bytes(4, "big") + payload)


async def _receive(reader: asyncio.StreamReader) -> Any:
    """The next message. Raises EOFError at the end, ConnectionError."""
    try:
        length = int.from_bytes(await reader.readexactly(4), "big")
        if length > LONGEST:
            raise EOFError
        return msgspec.json.decode(await reader.readexactly(length))
    except asyncio.IncompleteReadError:
        raise EOFError from None
