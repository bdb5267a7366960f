"""The part of the server that sends the mails which instances have written down (spec/07 §4).

It is told of every commit and looks whether letters are due; a crash or a lost hint only delays it. Letters of one
instance leave one after the other, those of different instances side by side, a few at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from inglenook.environment import Environment
from inglenook.identity.instance import INSTANCE_SETTINGS, SETTINGS, Instance
from inglenook.identity.instances import Instances
from inglenook.identity.letters import LETTERS
from inglenook.kernel.errors import BadRequest, DomainError
from inglenook.mail import compose, delivery, outbox
from inglenook.mail.compose import Correspondent
from inglenook.mail.delivery import MailDelayed, MailRefused, Postman
from inglenook.mail.outbox import Claimed
from inglenook.storage.documents.contract import Reader

AT_ONCE = 4
"""Instances whose mails leave at the same time."""

PATIENCE_AT_END = 5.0
"""Seconds that a mail on its way is given when the server stops."""

REST_AFTER_FAULT = 60.0

log = structlog.get_logger("inglenook.mail")


class Server(Protocol):
    """What this part needs of the running server."""

    @property
    def env(self) -> Environment: ...
    @property
    def instances(self) -> Instances: ...


def make(server: Server) -> MailSender:
    """The part, for the assembly."""
    return MailSender(server.instances, delivery.postman(server.env.config))


class MailSender:
    """Sends what waits in the outboxes of all instances."""

    def __init__(self, instances: Instances, postman: Postman) -> None:
        self._instances = instances
        self._env = instances.env
        self._postman = postman
        self._watched: dict[str, tuple[Instance, Callable[[], None]]] = {}
        self._changed: set[str] = set()
        self._due: dict[str, float] = {}
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Watch all instances; opening them goes on in the background."""
        self._instances.on_claimed.append(self.watch)
        self._instances.on_released.append(self.leave)
        self._instances.on_destroyed.append(self.forget)
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._open_all())]

    async def stop(self) -> None:
        """Let the mails on their way arrive; the others wait for the next start."""
        self._instances.on_claimed.remove(self.watch)
        self._instances.on_released.remove(self.leave)
        self._instances.on_destroyed.remove(self.forget)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _, end in self._watched.values():
            end()
        sending = list(self._sending.values())
        if sending:
            await asyncio.wait(sending, timeout=PATIENCE_AT_END)
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)

    async def watch(self, instance: Instance) -> None:
        """Send the letters of an instance from now on."""
        prefix = instance.prefix
        if prefix not in self._watched:
            self._watched[prefix] = (instance, instance.store.subscribe(lambda _: self._look_at(prefix)))
            self._look_at(prefix)

    async def forget(self, instance: Instance) -> None:
        """Stop sending for an instance that is taken down, and delete the mails kept for it."""
        await self.leave(instance)
        await asyncio.to_thread(delivery.forget_mails, self._env.config, instance.domain)

    async def leave(self, instance: Instance) -> None:
        """Stop sending for an instance; another process does it."""
        _, end = self._watched.pop(instance.prefix, (None, lambda: None))
        end()
        self._due.pop(instance.prefix, None)
        task = self._sending.get(instance.prefix)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # -- watching

    def _look_at(self, prefix: str) -> None:
        self._changed.add(prefix)
        self._wake.set()

    async def _open_all(self) -> None:
        for instance in await self._instances.tended():
            await self.watch(instance)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            now = self._now()
            look = self._changed | {prefix for prefix, due in self._due.items() if due <= now}
            self._changed = set()
            for prefix in look:
                try:
                    await self._look(prefix)
                except DomainError as error:
                    log.warning("mails_not_looked_at", store=prefix, cause=str(error))
                    self._due[prefix] = self._now() + REST_AFTER_FAULT
            await self._rest()

    async def _rest(self) -> None:
        """Wait for a commit, or until the next letter is due."""
        seconds = min(self._due.values(), default=float("inf")) - self._now()
        try:
            async with asyncio.timeout(None if seconds == float("inf") else max(seconds, 0.0)):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _look(self, prefix: str) -> None:
        watched = self._watched.get(prefix)
        self._due.pop(prefix, None)
        if watched is None or prefix in self._sending:
            return
        due = await watched[0].store.read(lambda view: view.next_due(LETTERS))
        if due is None:
            return
        if due > self._now():
            self._due[prefix] = due
            return
        task = asyncio.create_task(self._send_due(watched[0]))
        self._sending[prefix] = task
        task.add_done_callback(lambda done: self._sent(prefix, done))

    def _sent(self, prefix: str, task: asyncio.Task[None]) -> None:
        self._sending.pop(prefix, None)
        error = None if task.cancelled() else task.exception()
        if error is None:
            self._look_at(prefix)
            return
        log.error("mails_not_sent", error=type(error).__name__, exc_info=error)
        self._due[prefix] = self._now() + REST_AFTER_FAULT
        self._wake.set()

    # -- sending

    async def _send_due(self, instance: Instance) -> None:
        async with self._places:
            while True:
                now, jitter = self._now(), self._env.random.uniform()
                claimed = await instance.store.write(lambda tx, n=now, j=jitter: outbox.claim(tx, n, j))
                if claimed is None:
                    return
                await self._send(instance, claimed)

    async def _send(self, instance: Instance, claimed: Claimed) -> None:
        what = outbox.what_of(claimed.letter)
        try:
            who = await instance.store.read(lambda view: correspondent_of(view, instance))
            for envelope in compose.compose(claimed.letter, who, id=claimed.id, now=self._env.clock.now()):
                await self._postman.deliver(envelope)
        except MailDelayed as error:
            now, jitter, reason = self._now(), self._env.random.uniform(), error.detail
            kept = await instance.store.write(lambda tx: outbox.postpone(tx, claimed, reason, now, jitter))
            log.warning("mail_delayed" if kept else "mail_given_up", instance=instance.domain, what=what, error=reason)
        except (MailRefused, BadRequest) as error:
            now, reason = self._now(), error.detail
            await instance.store.write(lambda tx: outbox.give_up(tx, claimed.id, claimed.letter, reason, now))
            log.warning("mail_given_up", instance=instance.domain, what=what, error=reason)
        else:
            await instance.store.write(lambda tx: outbox.done(tx, claimed))
            log.info("mail_sent", instance=instance.domain, what=what)

    def _now(self) -> float:
        return self._env.clock.now().timestamp()


def correspondent_of(view: Reader, instance: Instance) -> Correspondent:
    """An instance as the sender of mails."""
    settings = view.get(SETTINGS, INSTANCE_SETTINGS)
    return compose.correspondent(
        domain=instance.domain,
        origin=instance.origin,
        locale=instance.locale,
        settings=settings.body if settings else {},
        context=instance.context_settings,
    )
