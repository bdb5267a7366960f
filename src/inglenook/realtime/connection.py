"""One websocket of a listener: it says who it is, then what it wants to hear (spec/07 §2.1).

Each connection reads the journal at its own pace from a sequence of its own: one that is slow or hangs holds up
nobody, misses nothing, and costs no memory but its place.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect

from inglenook.identity.caller import Caller
from inglenook.identity.instance import Instance
from inglenook.identity.instances import Instances
from inglenook.kernel.errors import DomainError
from inglenook.kernel.permissions import Permit
from inglenook.realtime import frames, interest
from inglenook.realtime.events import Event, events_after
from inglenook.realtime.permission import may_listen
from inglenook.realtime.subscriptions import Subscriptions
from inglenook.storage.documents.contract import Reader

PROTOCOL = "io.cozy.websocket"
WRITE_SECONDS = 10.0
"""How long a frame may take to leave; then the other end is taken for dead."""
LONGEST_FRAME = 64 * 1024
"""Characters of a client's frame (a token with a long scope is some thousands)."""
MOST_SUBSCRIPTIONS = 10_000
GOING_AWAY, ENDED, TOO_LONG, REPLACED = 1001, 1008, 1009, 1012
"""Codes of a close frame (RFC 6455 §7.4.1, and the registry of IANA for 1012: come again)."""

Socket = WebSocket[Any, Any, Any]


_listening: WeakKeyDictionary[Instance, set[Connection]] = WeakKeyDictionary()


def join(instances: Instances) -> None:
    """Take part in the life of instances: who listens to data that is replaced or gone is told to come again."""

    async def replaced(instance: Instance) -> None:
        for connection in list(_listening.get(instance, ())):
            connection.end_unless_current()

    async def gone(instance: Instance) -> None:
        for connection in list(_listening.get(instance, ())):
            connection.end(GOING_AWAY)

    instances.on_opened.append(replaced)
    instances.on_destroyed.append(gone)


class Connection:
    """A listener, from its first frame to its end."""

    def __init__(self, socket: Socket, caller: Caller) -> None:
        self._socket = socket
        self._caller = caller
        self._store = caller.instance.store
        self._subscriptions = Subscriptions()
        self._moved = asyncio.Event()
        self._ending: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._since = 0

    def end_unless_current(self) -> None:
        """End when the data that is listened to is not that of the instance any more (an import has replaced it): the
        client connects again, and reads anew what it shows."""
        if self._store is not self._caller.instance.store:
            self.end(REPLACED)

    def end(self, code: int) -> None:
        """End soon, with this code."""
        if not self._ending.done():
            self._ending.set_result(code)

    async def serve(self) -> None:
        """Accept the websocket, and go on until one of the ends closes it."""
        offered = self._socket.scope.get("subprotocols") or []
        await self._socket.accept(subprotocols=PROTOCOL if PROTOCOL in offered else None)
        others = _listening.setdefault(self._caller.instance, set())
        others.add(self)
        self.end_unless_current()
        try:
            with suppress(WebSocketDisconnect, _Over):
                await self._go_on()
        finally:
            others.discard(self)

    async def _go_on(self) -> None:
        permit = await self._authenticate()
        self._since = await self._store.read(lambda view: view.last_seq())
        unsubscribe = self._store.subscribe(lambda _: self._moved.set())
        telling = asyncio.create_task(self._tell())
        listening = asyncio.create_task(self._listen(permit))
        try:
            done, _ = await asyncio.wait([telling, listening, self._ending], return_when=asyncio.FIRST_COMPLETED)
            for task in (telling, listening):
                if task in done:
                    task.result()
        finally:
            unsubscribe()
            telling.cancel()
            listening.cancel()
            await asyncio.gather(telling, listening, return_exceptions=True)
        if self._ending.done():
            await self._close(self._ending.result())

    async def _authenticate(self) -> Permit:
        text = await self._next()
        first = frames.read_first(text)
        if first is None or first.method.upper() != frames.AUTH:
            await self._end(frames.not_allowed_first(first.method if first else frames.method_of(text)))
        else:
            try:
                if first.payload:
                    return (await self._caller.granted_to(first.payload)).permit
            except DomainError:
                pass
            await self._end(frames.unauthorized())
        raise _Over

    async def _listen(self, permit: Permit) -> None:
        """Take the wishes of the client, in their order."""
        while True:
            frame = frames.read_later(await self._next())
            if frame is None:
                await self._close(ENDED)
                return
            refusal = await self._obey(frame, permit)
            if refusal:
                await self._send(refusal)

    async def _obey(self, frame: frames.Later, permit: Permit) -> str:
        """Do what a frame asks for; gives the refusal when it may not be."""
        method, doctype, id = frame.method.upper(), frame.payload.type, frame.payload.id
        if method not in (frames.SUBSCRIBE, frames.UNSUBSCRIBE):
            return frames.not_allowed(frame)
        if not doctype:
            return frames.without_type(frame)
        if not await self._store.read(lambda view: may_listen(view, permit, doctype, id)):
            return frames.forbidden(frame)
        if method == frames.UNSUBSCRIBE:
            self._subscriptions.remove(doctype, id)
        elif len(self._subscriptions) < MOST_SUBSCRIPTIONS:
            self._subscriptions.add(doctype, id)
            await interest.note(self._caller.instance, doctype)
        else:
            return frames.forbidden(frame)
        return ""

    async def _tell(self) -> None:
        """Send what happens."""
        while True:
            self._moved.clear()
            while await self._tell_page():
                pass
            await self._moved.wait()

    async def _tell_page(self) -> bool:
        """Send the events of the next page; False when there was none."""
        since, wanted = self._since, self._subscriptions.want

        def read(view: Reader) -> tuple[list[Event], int]:
            return events_after(view, since, wanted)

        events, self._since = await self._store.read(read)
        for event in events:
            await self._send(event.frame())
        return self._since > since

    async def _next(self) -> str:
        """The next frame. Ends the connection when it is too long or no text."""
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise _Over
        text = message.get("text")
        if text is None or len(text) > LONGEST_FRAME:
            await self._close(ENDED if text is None else TOO_LONG)
            raise _Over
        return text

    async def _send(self, text: str) -> None:
        try:
            await asyncio.wait_for(self._socket.send_data(text, mode="text"), WRITE_SECONDS)
        except (TimeoutError, OSError, RuntimeError) as error:  # the server's words for a socket that is gone
            raise _Over from error

    async def _end(self, last_words: str) -> None:
        await self._send(last_words)
        await self._close(ENDED)

    async def _close(self, code: int) -> None:
        with suppress(WebSocketDisconnect, OSError, RuntimeError):
            await self._socket.close(code)


class _Over(Exception):
    """The connection has ended."""
