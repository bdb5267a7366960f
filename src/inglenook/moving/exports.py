"""The document of an export, and the link under which it is found (spec/12 §5, §6)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from inglenook.environment import rfc3339
from inglenook.identity import auth_message
from inglenook.identity.sessions import moment
from inglenook.kernel.doctypes import is_name
from inglenook.kernel.errors import BadRequest, InvalidAttribute
from inglenook.storage.documents.contract import Document, Index, Reader, Writer

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

EXPORTS = "io.cozy.exports"

EXPORTING = "exporting"
DONE = "done"
ERROR = "error"
EXPIRED = "expired"

LIFE = timedelta(days=7)
SMALLEST_PART = 64 * 1024 * 1024
USUAL_PART = 1024 * 1024 * 1024
LONGEST_MAC = 256  # characters
_MAC_NAME = "exports"


class NotALink(BadRequest):
    """What stands where the secret of an export should be is none, by its form."""


class WrongMac(BadRequest):
    """The secret was not made by this instance, or is too old."""


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What an export shall be. `parts_size` in bytes (0: by the rule), `seconds` how long it is kept (0: 7 days);
    `doctypes` empty for all. `secrets`: with the credentials that a move needs."""

    parts_size: int = 0
    seconds: float = 0.0
    doctypes: tuple[str, ...] = ()
    secrets: bool = False


@dataclass(slots=True)
class Counts:
    """What is in an export: documents without those of files and versions, files and versions, in numbers and
    bytes. `left_out` are the paths (at most some) of what could not be read."""

    documents: int = 0
    documents_size: int = 0
    files: int = 0
    files_size: int = 0
    by_doctype: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    left_out: list[str] = field(default_factory=list[str])

    def count(self, doctype: str, size: int) -> None:
        """Count a document."""
        one = self.by_doctype.setdefault(doctype, [0, 0])
        one[0] += 1
        one[1] += size
        self.documents += 1
        self.documents_size += size


def _states(id: str, body: dict[str, Any]) -> Iterable[bytes]:
    yield str(body.get("created_at", "")).encode()


EXPORTS_BY_DATE = Index("exports-by-date", EXPORTS, _states)


def read_request(attributes: dict[str, Any]) -> ExportRequest:
    """The request in the attributes of POST /move/exports; `max_age` is in nanoseconds. Raises InvalidAttribute."""
    size, age, doctypes = (attributes.get(name) for name in ("parts_size", "max_age", "with_doctypes"))
    for name, value in (("parts_size", size), ("max_age", age)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            raise InvalidAttribute("A number is expected", pointer=f"/data/attributes/{name}")
    if doctypes is not None and not (
        isinstance(doctypes, list) and all(isinstance(name, str) and is_name(name) for name in doctypes)
    ):
        raise InvalidAttribute("A list of doctypes is expected", pointer="/data/attributes/with_doctypes")
    return ExportRequest(size or 0, (age or 0) / 1e9, tuple(sorted(set(doctypes or ()))))


def effective_size(asked: int, usage: int) -> int:
    """The bytes of contents in a part, for an instance that uses `usage` bytes (spec/12 §4, §11)."""
    if asked >= SMALLEST_PART:
        return asked
    if usage <= USUAL_PART:
        return USUAL_PART
    return int(USUAL_PART * (usage / USUAL_PART) ** 0.5)


# -- the document


def begin(tx: Writer, instance: Instance, asked: ExportRequest, parts_size: int) -> Document:
    """Write the document of an export that begins."""
    now = instance.env.clock.now()
    age = min(timedelta(seconds=asked.seconds), LIFE) if asked.seconds else LIFE
    body: dict[str, Any] = {
        "domain": instance.domain,
        "parts_size": parts_size,
        "parts_cursors": [],
        "state": EXPORTING,
        "created_at": rfc3339(now),
        "expires_at": rfc3339(now + age),
        "total_size": -1,
    }
    if asked.doctypes:
        body["with_doctypes"] = list(asked.doctypes)
    return tx.put(EXPORTS, tx.new_id(), body)


def finish(tx: Writer, id: str, cursors: Sequence[str], counts: Counts, seconds: float) -> Document | None:
    """Write that an export is done; None when it is not there any more."""
    document = tx.get(EXPORTS, id)
    if document is None or document.body.get("state") != EXPORTING:
        return None
    body = {
        **document.body,
        "parts_cursors": list(cursors),
        "state": DONE,
        "total_size": counts.documents_size,
        "creation_duration": int(seconds * 1e9),
        "documents_count": counts.documents,
        "files_count": counts.files,
        "files_size": counts.files_size,
    }
    return tx.put(EXPORTS, id, body, rev=document.rev)


def end(tx: Writer, id: str, state: str, error: str = "") -> None:
    """Write that an export has failed or expired."""
    document = tx.get(EXPORTS, id)
    if document is not None and document.body.get("state") != state:
        body = {**document.body, "state": state, **({"error": error} if error else {})}
        tx.put(EXPORTS, id, body, rev=document.rev)


def newest_first(view: Reader, limit: int = 100) -> list[Document]:
    """The exports of an instance."""
    return [document for _, document in view.index_docs(EXPORTS_BY_DATE, descending=True, limit=limit)]


def is_over(document: Document, now: datetime) -> bool:
    """Whether an export cannot be downloaded any more."""
    expires = moment(document.body.get("expires_at"))
    return document.body.get("state") == EXPIRED or expires is None or expires <= now


# -- the link


def mac_of(instance: Instance, id: str) -> str:
    """The secret of the link of an export."""
    now = int(instance.env.clock.now().timestamp())
    inner = auth_message.sign(instance.session_key, _MAC_NAME, id.encode(), now)
    return base64.urlsafe_b64encode(inner.encode()).decode()


def id_of(instance: Instance, mac: str) -> str:
    """The export that a secret stands for. Raises NotALink, WrongMac."""
    try:
        inner = base64.b64decode(mac, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise NotALink("exports: the link cannot be read") from error
    value = auth_message.verify(instance.session_key, _MAC_NAME, inner)
    if value is None:
        raise WrongMac("exports: invalid mac")
    signed = base64.urlsafe_b64decode(inner + "=" * (-len(inner) % 4))
    age = instance.env.clock.now().timestamp() - int.from_bytes(signed[:8], "big")
    if age > LIFE.total_seconds():
        raise WrongMac("exports: invalid mac")
    return value.decode("ascii", "replace")


def link_of(instance: Instance, mac: str) -> str:
    """The address that is sent by mail: a page of the settings app."""
    return instance.app_url("settings", fragment=f"/exports/{mac}")


def manifest_address(link: str) -> str:
    """From the link, or the address of the manifest itself, to the address of the manifest (spec/12 §7).

    Raises BadRequest when it is neither."""
    try:
        parts = urlsplit(link.strip())
        host, fragment = parts.netloc, parts.fragment
        _ = parts.port
    except ValueError as error:
        raise BadRequest("This is no link of an export") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in host:
        raise BadRequest("This is no link of an export")
    if fragment.startswith("/exports/"):
        mac = fragment.removeprefix("/exports/")
        label, dot, rest = host.partition(".")
        if label == "settings":
            host = rest
        elif label.endswith("-settings"):
            host = label.removesuffix("-settings") + dot + rest
    else:
        mac = parts.path.removeprefix("/move/exports/")
        if mac == parts.path:
            raise BadRequest("This is no link of an export")
    if not mac or "/" in mac or len(mac) > 2 * LONGEST_MAC:
        raise BadRequest("This is no link of an export")
    return urlunsplit((parts.scheme, host, f"/move/exports/{mac}", "", ""))


def data_address(manifest: str) -> str:
    """From the address of the manifest to that of the parts."""
    return manifest.replace("/move/exports/", "/move/exports/data/", 1)
