"""Which document names which content, and where the bytes are: the contents part of a `Writer` in PostgreSQL.

The bytes of a content are either in the database or in the blob store, and they are there before a document can name
them: `hold` refuses what it cannot find.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, LiteralString

from inglenook.environment import Clock
from inglenook.kernel.errors import NotFound
from inglenook.storage.documents.contract import Content
from inglenook.storage.documents.postgres_schema import Connection


class PostgresContents:
    """Contents and their holders in one instance. All methods run inside a transaction.

    `blob_present` says whether the blob store has the bytes of a SHA-256, and saves them from a collector that is
    about to remove them; `noted` is called for each blob that is noted as garbage."""

    def __init__(
        self,
        connection: Connection,
        number: int,
        clock: Clock,
        blob_present: Callable[[str], bool],
        noted: Callable[[], object],
    ) -> None:
        self._cursor = connection.cursor(binary=True)
        self._number = number
        self._clock = clock
        self._blob_present = blob_present
        self._noted = noted

    def hold(self, doctype: str, id: str, content: Content, data: bytes | None) -> None:
        """Make a document name a content. Raises NotFound when its bytes are nowhere."""
        sha256 = content.sha256
        if not self._rows("SELECT 1 FROM contents WHERE instance = %s AND sha256 = %s", sha256):
            if data is None and not self._blob_present(sha256):
                raise NotFound("The content is not here")
            self._cursor.execute(
                "INSERT INTO contents (instance, sha256, md5, size, bytes) VALUES (%s, %s, %s, %s, %s)",
                (self._number, sha256, content.md5, content.size, data),
            )
            if data is None:
                self._run("DELETE FROM garbage WHERE instance = %s AND sha256 = %s", sha256)
        former = self._rows("SELECT sha256 FROM holders WHERE instance = %s AND doctype = %s AND id = %s", doctype, id)
        if former and former[0][0] == sha256:
            return
        self._run(
            "INSERT INTO holders VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (instance, doctype, id) DO UPDATE SET sha256 = excluded.sha256",
            doctype, id, sha256,
        )  # fmt: skip
        if former:
            self._forget_if_unnamed(former[0][0])

    def release(self, doctype: str, id: str) -> None:
        """Make a document name no content."""
        sql = "DELETE FROM holders WHERE instance = %s AND doctype = %s AND id = %s RETURNING sha256"
        for (sha256,) in self._rows(sql, doctype, id):
            self._forget_if_unnamed(sha256)

    def release_all(self, doctype: str) -> None:
        """Make all documents of a doctype name no content."""
        rows = self._rows("DELETE FROM holders WHERE instance = %s AND doctype = %s RETURNING sha256", doctype)
        for sha256 in {sha256 for (sha256,) in rows}:
            self._forget_if_unnamed(sha256)

    def garbage(self, before: float, limit: int) -> list[str]:
        """Blobs that nothing has named since before a moment."""
        sql = "SELECT sha256 FROM garbage WHERE instance = %s AND since < %s ORDER BY since LIMIT %s"
        return [sha256 for (sha256,) in self._rows(sql, float(before), limit)]

    def forget_garbage(self, sha256: str) -> bool:
        """Take a blob off the list; True when its bytes may go."""
        self._run("DELETE FROM garbage WHERE instance = %s AND sha256 = %s", sha256)
        return not self._in_blob_store(sha256)

    def disown(self, sha256: str) -> None:
        """Note as garbage a blob that no document came to name."""
        if not self._in_blob_store(sha256):
            self._put_on_list(sha256)

    def _in_blob_store(self, sha256: str) -> bool:
        """Whether a document needs the bytes in the blob store."""
        sql = "SELECT 1 FROM contents WHERE instance = %s AND sha256 = %s AND bytes IS NULL"
        return bool(self._rows(sql, sha256))

    def _put_on_list(self, sha256: str) -> None:
        self._run(
            "INSERT INTO garbage VALUES (%s, %s, %s)"
            " ON CONFLICT (instance, sha256) DO UPDATE SET since = excluded.since",
            sha256, self._clock.now().timestamp(),
        )  # fmt: skip
        self._noted()

    def _forget_if_unnamed(self, sha256: str) -> None:
        if self._rows("SELECT 1 FROM holders WHERE instance = %s AND sha256 = %s LIMIT 1", sha256):
            return
        sql = "DELETE FROM contents WHERE instance = %s AND sha256 = %s RETURNING bytes IS NOT NULL"
        for (inline,) in self._rows(sql, sha256):
            if not inline:
                self._put_on_list(sha256)

    def _run(self, sql: LiteralString, *values: Any) -> None:
        self._cursor.execute(sql, (self._number, *values))

    def _rows(self, sql: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
        return self._cursor.execute(sql, (self._number, *values)).fetchall()
