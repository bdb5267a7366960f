"""From a letter to the messages that are handed to a mail server (spec/07 §4.1, RFC 5322)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address as HeaderAddress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Any

from inglenook.kernel.errors import BadRequest
from inglenook.mail import templates
from inglenook.mail.letter import Address, Letter, Part

PRODUCT = "Inglenook"
NOBODY = Address()


@dataclass(frozen=True, slots=True)
class Correspondent:
    """The instance in whose name a mail is sent, as far as mails need it."""

    domain: str
    origin: str
    locale: str
    public_name: str
    email: str
    pending_email: str
    noreply: Address
    reply_to: Address = NOBODY

    @property
    def host(self) -> str:
        """The domain without its port."""
        return self.domain.partition(":")[0]


def correspondent(
    *, domain: str, origin: str, locale: str, settings: Mapping[str, Any], context: Mapping[str, Any]
) -> Correspondent:
    """The facts of an instance, from its settings document and the configuration of its context (spec/07 §4.1)."""
    host = domain.partition(":")[0]
    address = templates.text_of(context, "noreply_address") or f"noreply@{host}"
    return Correspondent(
        domain=domain,
        origin=origin,
        locale=locale,
        public_name=templates.text_of(settings, "public_name") or host.partition(".")[0],
        email=templates.text_of(settings, "email"),
        pending_email=templates.text_of(settings, "pending_email"),
        noreply=Address(templates.text_of(context, "noreply_name") or PRODUCT, address),
        reply_to=Address(templates.text_of(context, "reply_to_name"), templates.text_of(context, "reply_to")),
    )


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message with who it goes from and to, for the mail server; `at` is when it is handed over."""

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage
    at: datetime


def compose(letter: Letter, who: Correspondent, *, id: str, now: datetime) -> list[Envelope]:
    """The messages of a letter: one, or two in mode `support`. `id` makes the same Message-ID at each attempt.

    Raises BadRequest when the letter cannot be sent: no address, unknown template, nothing to say."""
    if letter.mode == "support":
        return [_to_support(letter, who, id, now), _message(letter, who, f"{id}.answer", now)]
    return [_message(letter, who, id, now)]


def _message(letter: Letter, who: Correspondent, id: str, now: datetime) -> Envelope:
    recipients, sender, reply_to = _addresses(letter, who)
    subject, parts = _words(letter, who, recipients)
    message = _envelope_headers(who, sender, recipients, reply_to, subject, _date(letter.date, now), id)
    _fill(message, parts)
    for attachment in letter.attachments:
        message.add_attachment(
            attachment.data(), maintype="application", subtype="octet-stream", filename=_plain(attachment.filename)
        )
    return Envelope(who.noreply.email, tuple(mailbox(one.email) for one in recipients), message, now)


def _addresses(letter: Letter, who: Correspondent) -> tuple[list[Address], Address, Address]:
    """To, From and Reply-To by the mode."""
    own = who.reply_to if who.reply_to.email else letter.reply_to or NOBODY
    match letter.mode:
        case "from":
            to = [address for address in letter.to if address.email]
            if not to:
                raise BadRequest("Missing mail recipient")
            return to, Address(who.public_name, who.noreply.email), Address(who.public_name, who.email)
        case "pending":
            if not who.pending_email:
                raise BadRequest(f"Domain {who.domain} has no pending email in its settings")
            return [Address(who.public_name, who.pending_email)], who.noreply, own
        case "noreply" | "campaign" | "support":
            if not who.email:
                raise BadRequest(f"Domain {who.domain} has no email in its settings")
            return [Address(who.public_name, who.email)], who.noreply, own
        case _:
            raise BadRequest(f"Mail sent with unknown mode {letter.mode}")


def _words(letter: Letter, who: Correspondent, recipients: list[Address]) -> tuple[str, list[Part]]:
    if not letter.template_name:
        if not letter.subject.strip():
            raise BadRequest("Missing mail subject")
        return letter.subject, letter.parts
    name = letter.recipient_name or templates.text_of(letter.template_values, "RecipientName") or recipients[0].name
    rendered = templates.render(
        letter.template_name,
        {"InstanceURL": who.origin, "Locale": who.locale, **letter.template_values},
        locale=letter.locale or who.locale,
        recipient=name,
        domain=who.domain,
    )
    return rendered.subject, [Part("text/plain", rendered.text), Part("text/html", rendered.html)]


def _to_support(letter: Letter, who: Correspondent, id: str, now: datetime) -> Envelope:
    """The request itself, from the user to those who help (spec/07 §4.1, mode `support`)."""
    if not who.reply_to.email:
        raise BadRequest("No support address is configured")
    user = Address(who.public_name, who.email)
    subject = templates.translate(who.locale, "mail.support.subject", subject=letter.subject or who.domain)
    prefix = templates.translate(who.locale, "mail.support.from", domain=who.domain)
    body = f"{prefix}\n\n{templates.text_of(letter.template_values, 'Body')}\n"
    sender = Address(who.public_name, who.noreply.email)
    message = _envelope_headers(who, sender, [who.reply_to], user, subject, now, id)
    _fill(message, [Part("text/plain", body)])
    return Envelope(who.noreply.email, (mailbox(who.reply_to.email),), message, now)


def _envelope_headers(
    who: Correspondent,
    sender: Address,
    recipients: list[Address],
    reply_to: Address,
    subject: str,
    date: datetime,
    id: str,
) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = header_address(sender)
    message["To"] = [header_address(one) for one in recipients]
    message["Subject"] = _plain(subject)
    message["Date"] = format_datetime(date)
    message["Message-ID"] = f"<{id}@{who.host}>"
    if reply_to.email:
        message["Reply-To"] = header_address(reply_to)
    message["X-Cozy"] = who.domain
    message["Auto-Submitted"] = "auto-generated"
    return message


def _fill(message: EmailMessage, parts: list[Part]) -> None:
    """The parts as alternatives, in their order."""
    if not parts:
        message.set_content("")
    for number, part in enumerate(parts):
        subtype = part.type.removeprefix("text/")
        if number:
            message.add_alternative(part.body, subtype=subtype)
        else:
            message.set_content(part.body, subtype=subtype)


def _date(text: str, now: datetime) -> datetime:
    try:
        date = datetime.fromisoformat(text) if text else now
    except ValueError as error:
        raise BadRequest("The date of the mail cannot be read") from error
    return date if date.tzinfo else now


def header_address(address: Address) -> HeaderAddress:
    """An address for a header: an `email` that is already `Name <address>` is used as it is. Raises BadRequest."""
    inner = mailbox(address.email)
    name = parseaddr(_plain(address.email))[0] if address.email.rstrip().endswith(">") else _plain(address.name)
    user, _, domain = inner.rpartition("@")
    try:
        return HeaderAddress(display_name=name, username=user, domain=domain)
    except (ValueError, IndexError) as error:  # IndexError: the parser of the library gives up on some texts
        raise BadRequest(f"{inner} is not a mail address") from error


def mailbox(email: str) -> str:
    """The bare address, as the mail server needs it. Raises BadRequest."""
    text = _plain(email).strip()
    inner = parseaddr(text)[1] if text.endswith(">") else text
    user, at, domain = inner.rpartition("@")
    if not (user and at and domain) or len(inner) > 320 or any(c in ' <>,;"()[]\\' or c < "!" for c in inner):
        raise BadRequest(f"{inner or 'An empty text'} is not a mail address")
    return inner


def _plain(text: str) -> str:
    """A text for a header: one line, nothing that controls."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
