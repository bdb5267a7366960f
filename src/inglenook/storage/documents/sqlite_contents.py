"""Which document names which content, and where the bytes are: the contents part of a `Writer` in SQLite.

The bytes of a content are either in the file or in the blob store, and they are there before a document can name
them: `hold` refuses what it cannot find.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apsw

from inglenook.environment import Clock
from inglenook.kernel.errors import NotFound
from inglenook.storage.documents.contract import Content


class SqliteContents:
    """Contents and their holders. All methods run inside a transaction.

    `blob_present` says whether the blob store has the bytes of a SHA-256, and saves them from a collector that is
    about to remove them; `noted` is called for each blob that is noted as garbage."""

    def __init__(
        self,
        connection: apsw.Connection,
        clock: Clock,
        blob_present: Callable[[str], bool],
        noted: Callable[[], object],
    ) -> None:
        self._execute = connection.execute
        self._clock = clock
        self._blob_present = blob_present
        self._noted = noted

    def hold(self, doctype: str, id: str, content: Content, data: bytes | None) -> None:
        """Make a document name a content. Raises NotFound when its bytes are nowhere."""
        number: int | None = self._execute("SELECT number FROM contents WHERE sha256 = ?", (content.sha256,)).get
        if number is None:
            if data is None and not self._blob_present(content.sha256):
                raise NotFound("The content is not here")
            number = self._execute(
                "INSERT INTO contents (sha256, md5, size, bytes) VALUES (?, ?, ?, ?) RETURNING number",
                (content.sha256, content.md5, content.size, data),
            ).get
            if data is None:
                self._execute("DELETE FROM garbage WHERE sha256 = ?", (content.sha256,))
        former: int | None = self._execute(
            "SELECT content FROM holders WHERE doctype = ? AND id = ?", (doctype, id)
        ).get
        if former == number:
            return
        self._execute("INSERT OR REPLACE INTO holders VALUES (?, ?, ?)", (doctype, id, number))
        if former is not None:
            self._forget_if_unnamed(former)

    def release(self, doctype: str, id: str) -> None:
        """Make a document name no content."""
        number: int | None = self._execute(
            "DELETE FROM holders WHERE doctype = ? AND id = ? RETURNING content", (doctype, id)
        ).get
        if number is not None:
            self._forget_if_unnamed(number)

    def release_all(self, doctype: str) -> None:
        """Make all documents of a doctype name no content."""
        released: list[Any] = self._execute(
            "DELETE FROM holders WHERE doctype = ? RETURNING content", (doctype,)
        ).fetchall()
        for number in {number for (number,) in released}:
            self._forget_if_unnamed(number)

    def garbage(self, before: float, limit: int) -> list[str]:
        """Blobs that nothing has named since before a moment."""
        rows = self._execute("SELECT sha256 FROM garbage WHERE since < ? ORDER BY since LIMIT ?", (before, limit))
        return [sha256 for (sha256,) in rows]

    def forget_garbage(self, sha256: str) -> bool:
        """Take a blob off the list; True when its bytes may go."""
        self._execute("DELETE FROM garbage WHERE sha256 = ?", (sha256,))
        return not self._in_blob_store(sha256)

    def disown(self, sha256: str) -> None:
        """Note as garbage a blob that no document came to name."""
        if not self._in_blob_store(sha256):
            self._put_on_list(sha256)

    def _in_blob_store(self, sha256: str) -> bool:
        """Whether a document needs the bytes in the blob store."""
        sql = "SELECT 1 FROM contents WHERE sha256 = ? AND bytes IS NULL"
        return self._execute(sql, (sha256,)).get is not None

    def _put_on_list(self, sha256: str) -> None:
        now = self._clock.now().timestamp()
        self._execute("INSERT OR REPLACE INTO garbage VALUES (?, ?)", (sha256, now))
        self._noted()

    def _forget_if_unnamed(self, number: int) -> None:
        if self._execute("SELECT 1 FROM holders WHERE content = ? LIMIT 1", (number,)).get is not None:
            return
        forgotten: list[Any] = self._execute(
            "DELETE FROM contents WHERE number = ? RETURNING sha256, bytes IS NOT NULL", (number,)
        ).fetchall()
        for sha256, inline in forgotten:
            if not inline:
                self._put_on_list(sha256)
