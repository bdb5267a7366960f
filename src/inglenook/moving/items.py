"""The files and directories of an archive while it is checked and taken in: a temporary database on the disk.

An archive may have more of them than fit in memory, in an order that only says that parents come first, and with
faults: names that are taken or impossible, parents that are missing, circles. `settle` finds for each one a place and
a name that this server allows; nothing is lost by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw

from inglenook.files.documents import ROOT_ID, TRASH_ID, TRASH_NAME
from inglenook.files.tree import MAX_DEPTH
from inglenook.kernel.errors import DomainError
from inglenook.kernel.names import check_name

_PAGE = 500
_MOST_TOLD = 2000


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory with its place: the text of its document is the archive's."""

    id: str
    dir_id: str
    name: str
    raw: bytes


class Items:
    """The database. Every method may be called in any thread, one at a time."""

    def __init__(self, path: Path) -> None:
        self._db = apsw.Connection(str(path))
        self._db.execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16000")
        self._db.execute(
            "CREATE TABLE items (id TEXT PRIMARY KEY, directory INTEGER, dir_id TEXT, name TEXT, raw BLOB,"
            " depth INTEGER) WITHOUT ROWID;"
            "CREATE TABLE versions (id TEXT PRIMARY KEY) WITHOUT ROWID;"
            "CREATE TABLE clients (id TEXT PRIMARY KEY) WITHOUT ROWID"
        )
        self._db.execute("BEGIN")

    def close(self) -> None:
        """Close it."""
        self._db.close()

    def add_directory(self, id: str, dir_id: str, name: str, raw: bytes) -> bool:
        """Note a directory; False when its id was there before."""
        return self._add(id, 1, dir_id, name, raw)

    def add_file(self, id: str, dir_id: str, name: str) -> bool:
        """Note a file; False when its id was there before."""
        return self._add(id, 0, dir_id, name, b"")

    def add_version(self, id: str) -> bool:
        """Note an old version; False when it was there before."""
        self._db.execute("INSERT OR IGNORE INTO versions VALUES (?)", (id,))
        return self._db.changes() > 0

    def has_file(self, id: str) -> bool:
        """Whether a file of this id is in the archive."""
        return self._db.execute("SELECT 1 FROM items WHERE id = ? AND NOT directory", (id,)).get is not None

    def want_client(self, id: str) -> None:
        """Note an OAuth client that an imported sharing needs."""
        self._db.execute("INSERT OR IGNORE INTO clients VALUES (?)", (id,))

    def wants_client(self, id: str) -> bool:
        """Whether a sharing needs this OAuth client."""
        return self._db.execute("SELECT 1 FROM clients WHERE id = ?", (id,)).get is not None

    def settle(self) -> Iterator[tuple[str, str]]:
        """Find a place and a name for everything; tells what had to be changed: the id and why."""
        self._db.execute("CREATE INDEX children ON items (dir_id, name)")
        yield from self._to_the_root()
        self._depths()
        yield from self._lost_directories()
        yield from self._impossible_names()
        yield from self._taken_names()
        self._db.execute("CREATE INDEX depths ON items (depth) WHERE directory")

    def place(self, id: str) -> tuple[str, str] | None:
        """Directory and name of a file, None for one that is not in the archive."""
        return self._db.execute("SELECT dir_id, name FROM items WHERE id = ? AND NOT directory", (id,)).fetchone()  # pyright: ignore[reportReturnType]

    def path(self, id: str) -> str:
        """The path of a file or directory, as far as it is known here: empty for one that is not."""
        names: list[str] = []
        while id != ROOT_ID and len(names) <= MAX_DEPTH:
            if id == TRASH_ID:
                names.append(TRASH_NAME)
                break
            row = self._db.execute("SELECT dir_id, name FROM items WHERE id = ?", (id,)).fetchone()
            if row is None:
                break
            id, name = str(row[0]), str(row[1])
            names.append(name)
        return "".join(f"/{name}" for name in reversed(names))

    def directories(self, after: tuple[int, str]) -> list[tuple[int, Directory]]:
        """Some directories with their depth, parents first, after one already seen (`(0, "")` at the beginning)."""
        rows = self._db.execute(
            "SELECT depth, id, dir_id, name, raw FROM items WHERE directory AND (depth, id) > (?, ?)"
            " ORDER BY depth, id LIMIT ?",
            (*after, _PAGE),
        )
        return [(depth, Directory(id, dir_id, name, raw)) for depth, id, dir_id, name, raw in rows]  # pyright: ignore[reportArgumentType, reportReturnType]

    # -- private parts

    def _add(self, id: str, directory: int, dir_id: str, name: str, raw: bytes) -> bool:
        self._db.execute("INSERT OR IGNORE INTO items VALUES (?, ?, ?, ?, ?, NULL)", (id, directory, dir_id, name, raw))
        return self._db.changes() > 0

    def _to_the_root(self) -> Iterator[tuple[str, str]]:
        """What names a directory that is not there goes into the root."""
        fixed = (ROOT_ID, TRASH_ID)
        self._db.execute(
            "CREATE TEMP TABLE lost AS SELECT id FROM items WHERE dir_id NOT IN (?, ?) AND NOT EXISTS"
            " (SELECT 1 FROM items AS parent WHERE parent.id = items.dir_id AND parent.directory)",
            fixed,
        )
        yield from self._told("SELECT id FROM lost", (), "its directory is not in the archive")
        self._db.execute("UPDATE items SET dir_id = ? WHERE id IN (SELECT id FROM lost)", (ROOT_ID,))

    def _depths(self) -> None:
        level = 1
        self._db.execute("UPDATE items SET depth = 1 WHERE directory AND dir_id IN (?, ?)", (ROOT_ID, TRASH_ID))
        while self._db.changes() and level < MAX_DEPTH - 2:
            self._db.execute(
                "UPDATE items SET depth = ?1 + 1 WHERE directory AND depth IS NULL AND dir_id IN"
                " (SELECT id FROM items WHERE depth = ?1)",
                (level,),
            )
            level += 1

    def _lost_directories(self) -> Iterator[tuple[str, str]]:
        """Directories in circles, or too deep, go into the root."""
        yield from self._told(
            "SELECT id FROM items WHERE directory AND depth IS NULL",
            (),
            "its directories make a circle, or are too deep",
        )
        self._db.execute("UPDATE items SET dir_id = ?, depth = 1 WHERE directory AND depth IS NULL", (ROOT_ID,))

    def _impossible_names(self) -> Iterator[tuple[str, str]]:
        after = ""
        while rows := self._db.execute(
            "SELECT id, name FROM items WHERE id > ? ORDER BY id LIMIT ?", (after, _PAGE)
        ).fetchall():
            for id, name in rows:
                possible = possible_name(str(name), str(id))
                if possible != name:
                    self._db.execute("UPDATE items SET name = ? WHERE id = ?", (possible, id))
                    yield str(id), "its name cannot be used here"
            after = str(rows[-1][0])

    def _taken_names(self) -> Iterator[tuple[str, str]]:
        """Of several with one name in one directory, all but one get another name."""
        again = (
            "SELECT id, dir_id, name FROM items AS one WHERE EXISTS (SELECT 1 FROM items AS other"
            " WHERE other.dir_id = one.dir_id AND other.name = one.name AND other.id < one.id) LIMIT ?"
        )
        while rows := self._db.execute(again, (_PAGE,)).fetchall():
            for id, dir_id, name in rows:
                free = self._free_name(str(dir_id), str(name))
                self._db.execute("UPDATE items SET name = ? WHERE id = ?", (free, id))
                yield str(id), "its name is taken"

    def _free_name(self, dir_id: str, name: str) -> str:
        stem, dot, extension = name.rpartition(".")
        if not stem:
            stem, dot, extension = name, "", ""
        low, high = 1, 2  # doubling, then halving: many of one name cost little
        while self._is_taken(dir_id, f"{stem} ({high}){dot}{extension}"):
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            if self._is_taken(dir_id, f"{stem} ({middle}){dot}{extension}"):
                low = middle
            else:
                high = middle
        return f"{stem} ({high}){dot}{extension}"

    def _is_taken(self, dir_id: str, name: str) -> bool:
        return self._db.execute("SELECT 1 FROM items WHERE dir_id = ? AND name = ?", (dir_id, name)).get is not None

    def _told(self, sql: str, values: tuple[str, ...], why: str) -> Iterator[tuple[str, str]]:
        for (id,) in self._db.execute(f"{sql} LIMIT {_MOST_TOLD}", values).fetchall():
            yield str(id), why


def possible_name(name: str, id: str) -> str:
    """The name itself when this server allows it, else one that is as like it as can be."""
    for candidate in (name, "".join("_" if character in "/\0\n\r" else character for character in name)[:200].strip()):
        try:
            check_name(candidate)
        except DomainError:
            continue
        if candidate.encode("utf-8", "replace").decode() == candidate:
            return candidate
    return f"recovered-{id[:64].replace('/', '_')}"
