"""How what an archive has comes into a store: into an empty one as it is (spec/12 §8), or beside what is there
(`moving.merging`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from inglenook.documents import attachments
from inglenook.documents.bodies import Incoming
from inglenook.files.documents import FILES, TRASH_ID, VERSIONS
from inglenook.files.store import create_item
from inglenook.files.tree import Lineage
from inglenook.storage.documents.contract import Body, Writer

if TYPE_CHECKING:
    from inglenook.moving.policy import Newcomer
    from inglenook.moving.units import Unit
    from inglenook.storage.contents import Received

Write = Callable[[Writer], None]


class LeftAlone(Exception):
    """Raised by a write that had nothing to do; its text says why, if that is worth telling."""


class Way(Protocol):
    """A way in: for each thing of an archive the write that takes it in, which may raise LeftAlone and DomainError."""

    def fixed(self, unit: Unit, body: Body) -> Write:
        """The root or the trash."""
        ...

    def document(self, unit: Unit, body: Body, to: Newcomer) -> Write:
        """Any document but files and versions."""
        ...

    def directory(self, id: str, rev: str, body: Body) -> Write:
        """A folder."""
        ...

    def file(self, id: str, rev: str, body: Body, received: Received) -> Write:
        """A file with its content."""
        ...

    def version(self, unit: Unit, body: Body, received: Received) -> Write:
        """An old version with its content."""
        ...


class AsItIs:
    """The way into an empty store."""

    def fixed(self, unit: Unit, body: Body) -> Write:
        """The root or the trash, as the archive knows it."""
        return lambda tx: put(tx, unit.doctype, unit.id, unit.rev, body)

    def document(self, unit: Unit, body: Body, to: Newcomer) -> Write:
        """A document under its revision."""
        return lambda tx: put(tx, unit.doctype, unit.id, unit.rev, body, unit.attachments)

    def directory(self, id: str, rev: str, body: Body) -> Write:
        """A folder under its revision."""
        return lambda tx: create(tx, id, rev, body)

    def file(self, id: str, rev: str, body: Body, received: Received) -> Write:
        """A file under its revision."""

        def write(tx: Writer) -> None:
            create(tx, id, rev, body)
            received.hold(tx, FILES, id)

        return write

    def version(self, unit: Unit, body: Body, received: Received) -> Write:
        """An old version under its revision."""

        def write(tx: Writer) -> None:
            put(tx, VERSIONS, unit.id, unit.rev, body)
            received.hold(tx, VERSIONS, unit.id)

        return write


def create(tx: Writer, id: str, rev: str, body: Body) -> None:
    """Write a file or directory with the marks that its place asks for. Raises as `create_item`."""
    body = dict(body)
    if body["type"] == "file":
        in_trash = any(one.id == TRASH_ID for one in Lineage(tx).up_from(str(body["dir_id"])))
        body["trashed"] = in_trash
        if not in_trash:
            body.pop("restore_path", None)
    create_item(tx, id, body, chain=[rev] if rev else ())


def put(tx: Writer, doctype: str, id: str, rev: str, body: Body, attached: Body | None = None) -> None:
    """Write a document, with its attachments, under the revision it had, so that what is known of it elsewhere stays
    true."""
    sent = Incoming(id, rev, None, deleted=False, body=body, attachments=attached)
    if not rev or tx.winner(doctype, id) is not None:
        attachments.put(tx, doctype, id, sent)
    else:
        attachments.graft(tx, doctype, id, [rev], sent)
