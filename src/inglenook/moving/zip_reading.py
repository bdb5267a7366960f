"""Reading zip archives that come from anywhere, with little memory (spec/12 §2, §12, §13).

Entries are read in the order of the directory, which must be that of their bytes: the format pairs a document with
the content behind it. What makes readers of archives misbehave is refused: entries that lie over each other, a
directory that says something else than the entries, links, encryption, bytes that swell beyond what was announced.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from inglenook.kernel.errors import BadRequest

MOST_ENTRIES = 20_000_000
MOST_DIRECTORY = 8 * 1024 * 1024 * 1024
LONGEST_NAME = 8192  # bytes
PIECE = 256 * 1024

_END = struct.Struct("<IHHHHIIH")
_END64 = struct.Struct("<IQHHIIQQQQ")
_LOCATOR64 = struct.Struct("<IIQI")
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
_LOCAL = struct.Struct("<IHHHHHIIIHH")
_LARGE = 0xFFFFFFFF
_MANY = 0xFFFF
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 0x0041  # the bits of weak and of strong encryption
_UTF8 = 0x0800
_MOST_RATIO = 1100  # deflate cannot do more than 1032 to 1


class BadArchive(BadRequest):
    """The archive cannot be read: it is damaged, or made to do harm."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry: its name, its size in bytes, and where it is."""

    name: str
    size: int
    packed: int
    crc: int
    method: int
    offset: int
    raw_name: bytes


class ZipReader:
    """An archive on the local disk. Not for several threads at once."""

    def __init__(self, path: Path) -> None:
        """Open an archive. Raises BadArchive, OSError."""
        self._file: IO[bytes] = path.open("rb")
        try:
            self._size = self._file.seek(0, 2)
            self._count, self._start, self._end = self._find_directory()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def entries(self) -> Iterator[Entry]:
        """All entries, read from the directory a few at a time. Raises BadArchive."""
        at, free = self._start, 0  # `free`: the first byte that no entry before has
        for _ in range(self._count):
            entry, at = self._central(at)
            if entry.offset < free:
                raise BadArchive("The entries of the archive lie over each other")
            free = entry.offset + _LOCAL.size + len(entry.raw_name) + entry.packed
            if free > self._start:
                raise BadArchive("An entry of the archive is where its directory is")
            yield entry
        if at != self._end:
            raise BadArchive("The directory of the archive is not complete")

    def pieces(self, entry: Entry) -> Iterator[bytes]:
        """The bytes of an entry, checked against its size and CRC-32 at the end. Raises BadArchive."""
        self._file.seek(entry.offset)
        head = _LOCAL.unpack(self._exactly(_LOCAL.size))
        names, extra = head[9], head[10]
        if head[0] != 0x04034B50 or head[3] != entry.method or self._exactly(names) != entry.raw_name:
            raise BadArchive(f"The archive is damaged at {entry.name}")
        at = entry.offset + _LOCAL.size + names + extra
        inflate = zlib.decompressobj(-15) if entry.method == _DEFLATED else None
        left, size, crc = entry.packed, 0, 0
        try:
            while left:
                self._file.seek(at)
                packed = self._exactly(min(left, PIECE))
                at, left = at + len(packed), left - len(packed)
                while packed:
                    data = packed if inflate is None else inflate.decompress(packed, PIECE)
                    packed = b"" if inflate is None else inflate.unconsumed_tail
                    size += len(data)
                    if size > entry.size:
                        raise BadArchive(f"{entry.name} is larger than it says")
                    crc = zlib.crc32(data, crc)
                    if data:
                        yield data
        except zlib.error as error:
            raise BadArchive(f"The archive is damaged at {entry.name}") from error
        if size != entry.size or crc != entry.crc or (inflate is not None and not inflate.eof):
            raise BadArchive(f"The archive is damaged at {entry.name}")

    def read(self, entry: Entry, limit: int) -> bytes:
        """All bytes of an entry of at most `limit` bytes. Raises BadArchive."""
        if entry.size > limit:
            raise BadArchive(f"{entry.name} is too large")
        return b"".join(self.pieces(entry))

    # -- private parts

    def _find_directory(self) -> tuple[int, int, int]:
        """The number of entries, and where the directory begins and ends."""
        tail_size = min(self._size, _END.size + 0xFFFF)
        self._file.seek(self._size - tail_size)
        tail = self._exactly(tail_size)
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or len(tail) - at < _END.size:
            raise BadArchive("This is no zip archive, or it is not complete")
        _, disk, first_disk, here, count, size, start, _ = _END.unpack_from(tail, at)
        end = self._size - tail_size + at
        if disk or first_disk or here != count:
            raise BadArchive("The archive goes over several disks")
        if count == _MANY or _LARGE in (size, start):
            count, size, start, end = self._find_directory64(end, count, size, start)
        if start + size != end or count > MOST_ENTRIES or size > MOST_DIRECTORY or count * _CENTRAL.size > size:
            raise BadArchive("The directory of the archive is damaged")
        return count, start, end

    def _find_directory64(self, end: int, count: int, size: int, start: int) -> tuple[int, int, int, int]:
        at = end - _LOCATOR64.size
        if at < 0:
            return count, size, start, end
        self._file.seek(at)
        signature, disk, end64, _ = _LOCATOR64.unpack(self._exactly(_LOCATOR64.size))
        if signature != 0x07064B50:
            return count, size, start, end
        if disk or end64 > at - _END64.size:
            raise BadArchive("The directory of the archive is damaged")
        self._file.seek(end64)
        fields = _END64.unpack(self._exactly(_END64.size))
        if fields[0] != 0x06064B50 or fields[4] or fields[5] or fields[6] != fields[7]:
            raise BadArchive("The directory of the archive is damaged")
        return fields[7], fields[8], fields[9], end64

    def _central(self, at: int) -> tuple[Entry, int]:
        if at + _CENTRAL.size > self._end:
            raise BadArchive("The directory of the archive is not complete")
        self._file.seek(at)
        fields = _CENTRAL.unpack(self._exactly(_CENTRAL.size))
        (signature, _, _, flags, method, _, _, crc, packed, size, names, extras, comment, _, _, mode, offset) = fields
        after = at + _CENTRAL.size + names + extras + comment
        if signature != 0x02014B50 or after > self._end:
            raise BadArchive("The directory of the archive is damaged")
        raw_name = self._exactly(names)
        if names > LONGEST_NAME or not names:
            raise BadArchive("An entry of the archive has an impossible name")
        if _LARGE in (packed, size, offset):
            size, packed, offset = _wide(self._exactly(extras), size, packed, offset)
        name = _decoded(raw_name, utf8=bool(flags & _UTF8))
        if flags & _ENCRYPTED or method not in (_STORED, _DEFLATED):
            raise BadArchive(f"{name} is packed in a way that is not read here")
        if (mode >> 16) & 0o170000 not in (0, 0o100000, 0o040000):
            raise BadArchive(f"{name} is no plain file")
        if (method == _STORED and packed != size) or size > packed * _MOST_RATIO + PIECE:
            raise BadArchive(f"{name} cannot have the size that it says")
        return Entry(name, size, packed, crc, method, offset, raw_name), after

    def _exactly(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise BadArchive("The archive is not complete")
        return data


def _wide(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Sizes and offset with those of the zip64 field in place of what did not fit."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            field = extra[at + 4 : at + 4 + length]
            values = list(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
            given = [values.pop(0) if value == _LARGE and values else value for value in (size, packed, offset)]
            return given[0], given[1], given[2]
        at += 4 + length
    return size, packed, offset


def _decoded(raw: bytes, *, utf8: bool) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        if utf8:
            raise BadArchive("An entry of the archive has a name that is no text") from error
        return raw.decode("cp437")
