"""Mails leave: durably, once per letter, later when the mail server is not there, or into a folder (spec/07 §4)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as DEFAULT
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from tests import moves

from inglenook.environment import Clock, Config, Environment
from inglenook.identity import creation, letters
from inglenook.identity.creation import Wish
from inglenook.identity.instance import Instance
from inglenook.identity.instances import Instances
from inglenook.identity.letters import LETTERS
from inglenook.mail import delivery, outbox
from inglenook.mail.delivery import kept_mails
from inglenook.mail.letter import Letter
from inglenook.mail.sender import MailSender
from inglenook.peers.peers import Peers
from inglenook.storage.blobs.local import LocalBlobStores
from inglenook.storage.bus import Ephemeral
from inglenook.storage.documents.sqlite import SqliteStores

pytestmark = pytest.mark.anyio
DEADLINE = 10.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Postbox:
    """A mail server that remembers what it got and answers as told."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], EmailMessage]] = []
        self.attempts = 0
        self.answer = "250 OK"
        self.recipient_answer = "250 OK"
        self.controller = Controller(self, hostname="127.0.0.1", port=0)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.recipient_answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        else:
            self.attempts += 1
        return self.recipient_answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.attempts += 1
        assert isinstance(envelope.content, bytes)
        if self.answer.startswith("250"):
            message = message_from_bytes(envelope.content, policy=DEFAULT)
            self.mails.append((list(envelope.rcpt_tos), message))  # type: ignore[arg-type]
        moves.note()
        return self.answer

    def open(self, port: int = 0) -> int:
        """Listen, and give the port."""
        port = port or free_port()
        self.controller = Controller(self, hostname="127.0.0.1", port=port)
        self.controller.start()
        return port


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


class ShiftedClock(Clock):
    """Real time, ahead by what the test says."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> Any:
        return super().now() + timedelta(seconds=self.ahead)


class House:
    """A server with alice on it, that can be stopped and started again."""

    def __init__(self, folder: Path, smtp_url: str, stack: AsyncExitStack) -> None:
        self.clock = ShiftedClock()
        self.config = Config(data=folder, dev=True, smtp_url=smtp_url)
        self._stack = stack
        self._open = AsyncExitStack()
        stack.push_async_callback(self.stop)

    async def start(self, *, sending: bool = True) -> Instance:
        env = Environment(self.config, clock=self.clock)
        stores, peers = SqliteStores(self.config.data, env), Peers(env)
        self._open.push_async_callback(stores.close)
        self._open.push_async_callback(peers.close)
        blobs, ephemeral = LocalBlobStores(self.config.data), Ephemeral(self.clock)
        self.instances = Instances(env, stores, blobs, peers, ephemeral=ephemeral)
        await self.instances.start()
        if sending:
            sender = MailSender(self.instances, delivery.postman(self.config))
            await sender.start()
            self._open.push_async_callback(sender.stop)
        if await self.instances.count():
            alice = await self.instances.get("alice.localhost")
        else:
            wish = Wish(email="alice@example.org", public_name="Alice")
            alice = await creation.create_instance(self.instances, "alice.localhost", wish)
        alice.store.subscribe(moves.note)
        return alice

    async def stop(self) -> None:
        await self._open.aclose()


@pytest.fixture
async def stack() -> AsyncGenerator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def postbox(stack: AsyncExitStack) -> Postbox:
    box = Postbox()
    stack.callback(lambda: box.controller.stop(no_assert=True))
    return box


async def until(check: Callable[[], Any]) -> Any:
    """The first true value of a check, which is looked at whenever a store or the mail server has moved."""
    async with asyncio.timeout(DEADLINE):
        while True:
            seen = moves.count()
            found = check()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.to_thread(moves.wait_after, seen, DEADLINE)


async def post(instance: Instance, to: str = "bob@example.org", subject: str = "Hello") -> str:
    letter = {"mode": "from", "to": [{"name": "Bob", "email": to}], "subject": subject,
              "parts": [{"type": "text/plain", "body": "words"}]}  # fmt: skip
    now = instance.env.clock.now().timestamp()
    return await instance.store.write(lambda tx: outbox.queue_mail(tx, letter, now))


async def outbox_of(instance: Instance) -> list[outbox.Waiting]:
    return await instance.store.read(outbox.waiting)


async def test_a_letter_written_in_a_transaction_leaves_at_once(
    tmp_path: Path, stack: AsyncExitStack, postbox: Postbox
) -> None:
    house = House(tmp_path, f"smtp://127.0.0.1:{postbox.open()}", stack)
    alice = await house.start()
    now = alice.env.clock.now().timestamp()
    await alice.store.write(lambda tx: letters.post(tx, "two_factor", {"TwoFactorPasscode": "123456"}, now))
    await until(lambda: postbox.mails)
    [(recipients, message)] = postbox.mails
    assert recipients == ["alice@example.org"]
    assert message["X-Cozy"] == "alice.localhost"
    assert "123456" in message.get_body(("plain",)).get_content()
    await until(lambda: outbox_empty(alice))
    assert len(postbox.mails) == 1


async def outbox_empty(instance: Instance) -> bool:
    return not await outbox_of(instance)


async def test_a_letter_that_is_rolled_back_is_not_sent(
    tmp_path: Path, stack: AsyncExitStack, postbox: Postbox
) -> None:
    house = House(tmp_path, f"smtp://127.0.0.1:{postbox.open()}", stack)
    alice = await house.start()

    def change_of_mind(tx: Any) -> None:
        outbox.queue_mail(tx, {"mode": "noreply", "subject": "first"}, 0.0)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await alice.store.write(change_of_mind)
    await post(alice, subject="second")
    await until(lambda: postbox.mails)
    await until(lambda: outbox_empty(alice))
    assert [message["Subject"] for _, message in postbox.mails] == ["second"]


async def test_letters_wait_for_a_mail_server_that_is_away(
    tmp_path: Path, stack: AsyncExitStack, postbox: Postbox
) -> None:
    port = postbox.open()
    postbox.controller.stop()
    house = House(tmp_path, f"smtp://127.0.0.1:{port}", stack)
    alice = await house.start()
    for number in range(3):
        await post(alice, subject=f"mail {number}")

    async def tried() -> bool:
        return all(letter.last_error for letter in await outbox_of(alice))

    await until(tried)
    assert "cannot be reached" in (await outbox_of(alice))[0].last_error
    postbox.open(port)
    house.clock.ahead += 60  # the pause between two attempts
    await post(alice, subject="mail 3")  # any commit makes the sender look
    await until(lambda: len(postbox.mails) == 4)
    assert {message["Subject"] for _, message in postbox.mails} == {f"mail {number}" for number in range(4)}


async def test_letters_are_tried_again_without_any_further_commit(
    tmp_path: Path, stack: AsyncExitStack, postbox: Postbox
) -> None:
    postbox.answer = "451 not now"
    house = House(tmp_path, f"smtp://127.0.0.1:{postbox.open()}", stack)
    alice = await house.start()
    await post(alice)
    await until(lambda: postbox.attempts)
    postbox.answer = "250 OK"
    await until(lambda: postbox.mails)  # after about a second
    assert postbox.mails[0][1]["Message-ID"] is not None


async def test_letters_survive_a_stop(tmp_path: Path, stack: AsyncExitStack, postbox: Postbox) -> None:
    house = House(tmp_path, f"smtp://127.0.0.1:{postbox.open()}", stack)
    alice = await house.start(sending=False)
    await post(alice)
    await house.stop()
    assert not postbox.mails
    await house.start()
    await until(lambda: postbox.mails)


async def test_a_letter_that_is_refused_is_given_up_and_the_next_one_leaves(
    tmp_path: Path, stack: AsyncExitStack, postbox: Postbox
) -> None:
    postbox.recipient_answer = "550 nobody here"
    house = House(tmp_path, f"smtp://127.0.0.1:{postbox.open()}", stack)
    alice = await house.start()
    await post(alice, to="gone@example.org")
    await until(lambda: outbox_empty(alice))
    [failure] = await alice.store.read(outbox.failures)
    assert (failure.to, failure.what) == (["gone@example.org"], "message")
    assert "550" in failure.error
    postbox.recipient_answer = "250 OK"
    await post(alice)
    await until(lambda: postbox.mails)


async def test_what_cannot_be_sent_at_all_is_given_up(tmp_path: Path, stack: AsyncExitStack, postbox: Postbox) -> None:
    house = House(tmp_path, f"smtp://127.0.0.1:{postbox.open()}", stack)
    alice = await house.start()
    await post(alice, to="no address")

    def strange(tx: Any) -> None:
        tx.put_record(LETTERS, "x", {"mode": 7}, due=0.0)
        letters.post(tx, "no_such_template", {}, 0.0)

    await alice.store.write(strange)
    await until(lambda: outbox_empty(alice))
    assert len(await alice.store.read(outbox.failures)) == 3
    assert postbox.attempts == 0


async def test_after_three_days_a_letter_is_given_up(tmp_path: Path, stack: AsyncExitStack, postbox: Postbox) -> None:
    postbox.answer = "451 not now"
    house = House(tmp_path, f"smtp://127.0.0.1:{postbox.open()}", stack)
    alice = await house.start()
    await post(alice)

    async def tried() -> bool:
        return any(letter.last_error for letter in await outbox_of(alice))

    await until(tried)
    house.clock.ahead += 3 * 24 * 3600 + 1
    await alice.store.write(lambda tx: tx.create_doctype("io.cozy.tests"))
    await until(lambda: outbox_empty(alice))
    assert len(await alice.store.read(outbox.failures)) == 1


async def test_an_attempt_is_written_down_before_it_is_made(tmp_path: Path, stack: AsyncExitStack) -> None:
    """So that a crash in the middle of an attempt does not lead to an attempt after each start."""
    house = House(tmp_path, "", stack)
    alice = await house.start(sending=False)
    await post(alice)
    now = alice.env.clock.now().timestamp()
    claimed = await alice.store.write(lambda tx: outbox.claim(tx, now, 0.5))
    assert claimed is not None
    assert await alice.store.write(lambda tx: outbox.claim(tx, now, 0.5)) is None
    [waiting] = await outbox_of(alice)
    assert waiting.attempts == 1
    again = await alice.store.write(lambda tx: outbox.claim(tx, now + 1.01, 0.5))
    assert again is not None
    assert again.id == claimed.id


async def test_without_a_mail_server_mails_are_kept_for_the_operator(tmp_path: Path, stack: AsyncExitStack) -> None:
    house = House(tmp_path, "", stack)
    alice = await house.start()
    await post(alice, subject="Kept é")
    [mail] = await until(lambda: kept_mails(house.config, domain="alice.localhost"))
    assert (mail.subject, mail.to, mail.text.strip()) == ("Kept é", "Bob <bob@example.org>", "words")
    assert mail.path.stat().st_mode & 0o777 == 0o600
    assert mail.path.parent == tmp_path / "mails"
    assert kept_mails(house.config, domain="bob.localhost") == []
    await house.instances.destroy(alice)
    assert kept_mails(house.config) == []


async def test_the_server_named_dash_takes_mails_to_nowhere(tmp_path: Path, stack: AsyncExitStack) -> None:
    house = House(tmp_path, "smtp://-", stack)
    alice = await house.start()
    await post(alice)
    await until(lambda: outbox_empty(alice))
    assert kept_mails(house.config) == []
    assert await alice.store.read(outbox.failures) == []


async def test_lists_of_what_waits_show_no_content(tmp_path: Path, stack: AsyncExitStack) -> None:
    house = House(tmp_path, "", stack)
    alice = await house.start(sending=False)
    letter = Letter(mode="noreply", template_name="two_factor", template_values={"TwoFactorPasscode": "123456"})
    await alice.store.write(lambda tx: outbox.queue_mail(tx, letter, 5.0))
    [waiting] = await outbox_of(alice)
    assert waiting.what == "two_factor"
    assert "123456" not in repr(waiting)
