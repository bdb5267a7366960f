"""A mail as it is asked for: the message of the `sendmail` worker (spec/07 §4), checked.

Letters wait as records of kind `letters` (see `identity.letters`), written in the transaction of what they tell
about, and are sent by `mail.sender`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from inglenook.kernel.errors import BadRequest

MODES = ("noreply", "pending", "from", "support", "campaign")
CONTENT_TYPES = ("text/plain", "text/html")


class Address(msgspec.Struct, frozen=True):
    """A person and a mailbox."""

    name: str = ""
    email: str = ""


class Part(msgspec.Struct, frozen=True):
    """One of the alternative bodies: `text/plain` or `text/html`."""

    type: str
    body: str = ""


class Attachment(msgspec.Struct, frozen=True):
    """A file that goes with the mail; `content` is standard base64."""

    filename: str
    content: str

    def data(self) -> bytes:
        """The bytes. Raises BadRequest."""
        try:
            return base64.b64decode(self.content, validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadRequest("An attachment is not base64") from error


class Letter(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What to send. `attempts`, `since` (seconds of Unix time) and `last_error` are the sender's own notes."""

    mode: str
    to: list[Address] = []
    subject: str = ""
    parts: list[Part] = []
    attachments: list[Attachment] = []
    template_name: str = ""
    template_values: dict[str, Any] = {}
    locale: str = ""
    layout: str = ""
    recipient_name: str = ""
    date: str = ""
    reply_to: Address | None = None
    attempts: int = 0
    since: float = 0.0
    last_error: str = ""


def parse(message: object) -> Letter:
    """A letter from the message of a `sendmail` job or of a record.

    Raises BadRequest with the text of the reference: unknown mode, unknown content type, nothing to say, nobody to
    say it to. A `dialer` is refused: clients do not choose the server that mails leave through (spec/07 §15, 12).
    """
    if isinstance(message, Mapping) and message.get("dialer") is not None:
        raise BadRequest("The mail server cannot be chosen")
    try:
        letter = msgspec.convert(message, Letter)
    except msgspec.ValidationError as error:
        raise BadRequest(f"The mail cannot be read: {error}") from error
    check(letter)
    return letter


def check(letter: Letter) -> None:
    """Whether a letter can be sent at all. Raises BadRequest."""
    if letter.mode not in MODES:
        raise BadRequest(f"Mail sent with unknown mode {letter.mode}")
    if letter.mode == "from" and not any(address.email for address in letter.to):
        raise BadRequest("Missing mail recipient")
    if letter.template_name:
        return
    if not letter.subject.strip():
        raise BadRequest("Missing mail subject")
    for part in letter.parts:
        if part.type not in CONTENT_TYPES:
            raise BadRequest(f"Unknown body content-type {part.type}")
