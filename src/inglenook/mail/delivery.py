"""Handing mails over: to a mail server, or into a folder when none is configured (spec/10 §2, RFC 5321).

A postman either takes a message, or says that it shall be tried later, or that it never will be taken.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import SMTP
from email.policy import default as DEFAULT_POLICY
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib

from inglenook.environment import Config
from inglenook.kernel.errors import UpstreamFailed
from inglenook.mail.compose import Envelope

TIME_OUT = 30.0
"""Seconds for each step of a conversation with the mail server."""

DEFAULT_PORTS = {"smtp": 25, "smtps": 465}
SUBMISSION = 587
KEPT = 1000
"""Mails kept in the folder; the oldest make room."""

MOMENT = "%Y%m%dT%H%M%S.%f"
"""How the names of kept mails begin, so that they sort by time."""

DROPPED = "-"
LOCAL = ("localhost", "127.0.0.1", "::1")


class MailDelayed(UpstreamFailed):
    """The mail server did not take the message now."""


class MailRefused(UpstreamFailed):
    """The mail server will never take the message."""


class Postman(Protocol):
    """Takes messages away."""

    async def deliver(self, envelope: Envelope) -> None:
        """Hand one message over. Raises MailDelayed, MailRefused."""
        ...


def postman(config: Config) -> Postman:
    """The one that the configuration asks for. Raises ValueError for an address that cannot be read."""
    if not config.smtp_url:
        return MailFolder(folder_of(config))
    server = parse_server(config.smtp_url)
    return Drop() if server.host == DROPPED else SmtpPostman(server)


# -- a mail server


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mails leave through. `encryption`: `tls` from the first byte, `starttls`, or `none`."""

    host: str
    port: int
    encryption: str
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"MailServer({self.host}:{self.port}, {self.encryption})"


def parse_server(url: str) -> MailServer:
    """`smtp://user:pass@host:587?starttls=1`, `smtps://…` (spec/10 §2). Raises ValueError.

    A password leaves this machine encrypted only, unless the URL says `starttls=0`."""
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError("A mail server is smtp://host or smtps://host")
    asked = parse_qs(parts.query).get("starttls", [""])[-1].lower()
    if parts.scheme == "smtps":
        encryption = "tls"
    elif asked in ("1", "true", "on", "yes") or (asked == "" and parts.password and parts.hostname not in LOCAL):
        encryption = "starttls"
    else:
        encryption = "none"
    port = parts.port or (SUBMISSION if encryption == "starttls" else DEFAULT_PORTS[parts.scheme])
    return MailServer(parts.hostname, port, encryption, unquote(parts.username or ""), unquote(parts.password or ""))


class SmtpPostman:
    """Hands messages over to a mail server, with one connection for each."""

    def __init__(self, server: MailServer) -> None:
        self._server = server

    async def deliver(self, envelope: Envelope) -> None:
        """Hand one message over, as `Postman.deliver`."""
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user or None,
            password=server.password or None,
            use_tls=server.encryption == "tls",
            start_tls=server.encryption == "starttls",
            local_hostname=envelope.sender.rpartition("@")[2],
            timeout=TIME_OUT,
        )
        try:
            async with client:
                await client.send_message(
                    envelope.message, sender=envelope.sender, recipients=list(envelope.recipients)
                )
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [refused.code for refused in error.recipients]
            raise _judged(max(codes) if all(code >= 500 for code in codes) else 450, "recipients") from error
        except (aiosmtplib.SMTPConnectResponseError, aiosmtplib.SMTPAuthenticationError) as error:
            raise MailDelayed(f"The mail server does not let us in ({error.code})") from error
        except aiosmtplib.SMTPNotSupported as error:
            raise MailRefused("The mail server cannot carry this message") from error
        except aiosmtplib.SMTPResponseException as error:
            raise _judged(error.code, "message") from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise MailDelayed(f"The mail server cannot be reached ({type(error).__name__})") from error


def _judged(code: int, what: str) -> MailDelayed | MailRefused:
    if code >= 500:
        return MailRefused(f"The mail server refused the {what} ({code})")
    return MailDelayed(f"The mail server did not take the {what} now ({code})")


class Drop:
    """Throws mails away: the server `-` (spec/07 §4.1)."""

    async def deliver(self, envelope: Envelope) -> None:
        """Do nothing."""


# -- a folder


@dataclass(frozen=True, slots=True)
class KeptMail:
    """A mail in the folder, for `inglenook mails`."""

    at: datetime
    domain: str
    to: str
    subject: str
    text: str
    path: Path


def folder_of(config: Config) -> Path:
    """Where mails are kept when no mail server is configured."""
    return config.data / "mails"


class MailFolder:
    """Keeps messages as files that mail programs can open, the newest `KEPT` of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def deliver(self, envelope: Envelope) -> None:
        """Keep one message, as `Postman.deliver`."""
        try:
            await asyncio.to_thread(self._keep, envelope)
        except OSError as error:
            raise MailDelayed(f"The mail cannot be kept ({error.strerror})") from error

    def _keep(self, envelope: Envelope) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        id = str(envelope.message["Message-ID"]).strip("<>").partition("@")[0]
        moment = envelope.at.astimezone(UTC).strftime(MOMENT)
        name = f"{moment}-{''.join(c for c in id if c.isalnum() or c == '.')}"
        unfinished = self._folder / f"{name}.part"
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(envelope.message.as_bytes(policy=SMTP))
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self._folder / f"{name}.eml")
        for old in sorted(self._folder.glob("*.eml"))[:-KEPT]:
            old.unlink(missing_ok=True)


def kept_mails(config: Config, *, domain: str = "", limit: int = 100) -> list[KeptMail]:
    """The mails of the folder, newest first; those of one instance when `domain` is given. Reads files: not for the
    event loop."""
    found: list[KeptMail] = []
    for path in sorted(folder_of(config).glob("*.eml"), reverse=True):
        mail = _read(path)
        if mail is not None and domain in ("", mail.domain):
            found.append(mail)
        if len(found) >= limit:
            break
    return found


def forget_mails(config: Config, domain: str) -> None:
    """Delete the mails of an instance that is taken down. Touches files: not for the event loop."""
    for mail in kept_mails(config, domain=domain, limit=KEPT):
        mail.path.unlink(missing_ok=True)


def _read(path: Path) -> KeptMail | None:
    try:
        message = message_from_bytes(path.read_bytes(), policy=DEFAULT_POLICY)
        at = datetime.strptime(path.name.partition("-")[0], MOMENT).replace(tzinfo=UTC)
    except (FileNotFoundError, ValueError):  # deleted meanwhile, or put there by somebody else
        return None
    body = message.get_body(("plain", "html"))
    return KeptMail(
        at=at,
        domain=str(message["X-Cozy"] or ""),
        to=str(message["To"] or ""),
        subject=str(message["Subject"] or ""),
        text=body.get_content() if body else "",
        path=path,
    )
