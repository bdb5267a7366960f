"""A mail server that keeps what it gets."""

from __future__ import annotations

from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from .processes import eventually


class Postbox:
    """Listens on a port of this machine between `start` and `stop`."""

    def __init__(self, port: int) -> None:
        self.url = f"smtp://127.0.0.1:{port}"
        self._kept: list[tuple[list[str], bytes]] = []
        self._controller = Controller(self, hostname="127.0.0.1", port=port)

    def start(self) -> None:
        """Begin to listen."""
        self._controller.start()

    def stop(self) -> None:
        """End."""
        self._controller.stop()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep a mail (the hook of aiosmtpd)."""
        content = envelope.content
        self._kept.append(
            (list(envelope.rcpt_tos), content if isinstance(content, bytes) else (content or "").encode())
        )
        return "250 OK"

    def last_to(self, address: str) -> str:
        """The text of the last mail to an address, awaited."""

        def found() -> list[bytes]:
            return [content for recipients, content in self._kept if address in recipients]

        eventually(found, f"a mail to {address}")
        message = BytesParser(policy=default).parsebytes(found()[-1])
        assert isinstance(message, EmailMessage)
        body = message.get_body(("plain",))
        assert body is not None
        return body.get_content()
