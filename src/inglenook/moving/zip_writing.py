"""One part of an export on its way to be made: a zip archive without the large contents (spec/12 §2).

What is made here is the *skeleton* of a part, which is everything but the large contents, and its *map*: where in the
part each of them stands. Both are written to temporary files; whatever the size of the instance, little is in memory.
"""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from inglenook.moving.framing import framed_size
from inglenook.storage.documents.contract import Content

PLACE = struct.Struct(">QQQ32s")
"""A record of the map: offset of a framed content in the part, offset in the skeleton where it is left out, its size in
bytes, its SHA-256."""

_LOCAL = struct.Struct("<IHHHHHIIIHH")
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
_END = struct.Struct("<IHHHHIIH")
_END64 = struct.Struct("<IQHHIIQQQQ")
_LOCATOR64 = struct.Struct("<IIQI")
_CRC_IN_CENTRAL = 16
_CRC_IN_DESCRIPTOR = 4

_STREAMED = 0x0008
_UTF8 = 0x0800
_DEFLATE = 8
_UNIX = 3 << 8
_LARGE = 0xFFFFFFFF
_MANY = 0xFFFF
_PATCH = struct.Struct(">QQQ32s")
_PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Unchecked:
    """A large content whose CRC-32 is not known yet, and where it has to be written."""

    sha256: str
    size: int
    descriptor: int
    central: int


class PartSpool:
    """A part that is being made. `position` is its size in bytes so far, `entries` the number of its entries."""

    def __init__(self, folder: Path) -> None:
        self.position = 0
        self.entries = 0
        self._skeleton: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 -- lives as long as the part
        self._map: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._central: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._unchecked: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._written = 0  # bytes of the skeleton

    def add(self, name: str, data: bytes, moment: datetime, *, executable: bool = False) -> None:
        """Add an entry with its bytes, compressed."""
        with self.open(name, moment, executable=executable) as entry:
            entry.write(data)

    def open(self, name: str, moment: datetime, *, executable: bool = False) -> EntryWriter:
        """Add an entry whose bytes come in pieces; nothing else may be added before it is closed."""
        return EntryWriter(self, name, moment, executable=executable)

    def add_large(self, name: str, content: Content, moment: datetime, *, executable: bool = False) -> None:
        """Add an entry for a content that is left out of the skeleton; `unchecked` lists it."""
        offset = self.begin(name, moment)
        sha256 = bytes.fromhex(content.sha256)
        self._map.write(PLACE.pack(self.position, self._written, content.size, sha256))
        self.position += framed_size(content.size)
        descriptor = self._written
        central = self.finish(name, moment, offset, 0, framed_size(content.size), content.size, executable=executable)
        self._unchecked.write(_PATCH.pack(descriptor, central, content.size, sha256))

    def unchecked(self) -> Iterator[Unchecked]:
        """The large contents, in their order; each is to be `check`ed before `close`."""
        at = 0
        while True:
            self._unchecked.seek(at)
            record = self._unchecked.read(_PATCH.size)
            if not record:
                return
            at += _PATCH.size
            descriptor, central, size, sha256 = _PATCH.unpack(record)
            yield Unchecked(sha256.hex(), size, descriptor, central)

    def check(self, unchecked: Unchecked, crc: int) -> None:
        """Write the CRC-32 of a large content into its places."""
        for file, at in (
            (self._skeleton, unchecked.descriptor + _CRC_IN_DESCRIPTOR),
            (self._central, unchecked.central + _CRC_IN_CENTRAL),
        ):
            file.seek(at)
            file.write(crc.to_bytes(4, "little"))

    def close(self) -> tuple[IO[bytes], IO[bytes]]:
        """Write the directory; gives the skeleton and the map, both at their beginning. `position` is the size of
        the part then."""
        self._skeleton.seek(0, 2)
        start = self.position
        self._central.seek(0)
        while piece := self._central.read(_PIECE):
            self.put(piece)
        size = self.position - start
        if self.entries >= _MANY or start >= _LARGE or size >= _LARGE:
            end64 = self.position
            self.put(_END64.pack(0x06064B50, 44, _UNIX | 45, 45, 0, 0, self.entries, self.entries, size, start))
            self.put(_LOCATOR64.pack(0x07064B50, 0, end64, 1))
        entries = min(self.entries, _MANY)
        self.put(_END.pack(0x06054B50, 0, 0, entries, entries, min(size, _LARGE), min(start, _LARGE), 0))
        self._central.close()
        self._unchecked.close()
        self._skeleton.seek(0)
        self._map.seek(0)
        return self._skeleton, self._map

    def discard(self) -> None:
        """Throw everything away."""
        for file in (self._skeleton, self._map, self._central, self._unchecked):
            file.close()

    # -- for EntryWriter

    def put(self, data: bytes) -> None:
        """Append bytes to the skeleton."""
        self._skeleton.write(data)
        self._written += len(data)
        self.position += len(data)

    def begin(self, name: str, moment: datetime) -> int:
        """Write the header of an entry; gives its offset in the part."""
        offset = self.position
        raw = name.encode()
        time, date = _dos(moment)
        extra = _unix_time(moment)
        self.put(_LOCAL.pack(0x04034B50, 20, _flags(name), _DEFLATE, time, date, 0, 0, 0, len(raw), len(extra)))
        self.put(raw + extra)
        return offset

    def finish(
        self, name: str, moment: datetime, offset: int, crc: int, packed: int, size: int, *, executable: bool
    ) -> int:
        """Write what follows the bytes of an entry; gives the offset of its record in the directory."""
        wide = packed >= _LARGE or size >= _LARGE
        self.put(struct.pack("<IIQQ" if wide else "<IIII", 0x08074B50, crc, packed, size))
        raw, extra = name.encode(), _unix_time(moment)
        sizes = (packed, size, offset)
        if wide or offset >= _LARGE:
            extra = struct.pack("<HHQQQ", 1, 24, size, packed, offset) + extra
            sizes = (_LARGE, _LARGE, _LARGE)
        time, date = _dos(moment)
        mode = (0o100750 if executable else 0o100640) << 16
        version = 45 if sizes[0] == _LARGE else 20
        at = self._central.tell()
        self._central.write(
            _CENTRAL.pack(
                0x02014B50,
                _UNIX | version,
                version,
                _flags(name),
                _DEFLATE,
                time,
                date,
                crc,
                sizes[0],
                sizes[1],
                len(raw),
                len(extra),
                0,
                0,
                0,
                mode,
                sizes[2],
            )
        )
        self._central.write(raw + extra)
        self.entries += 1
        return at


class EntryWriter:
    """An entry whose bytes come in pieces."""

    def __init__(self, part: PartSpool, name: str, moment: datetime, *, executable: bool) -> None:
        self._part = part
        self._name = name
        self._moment = moment
        self._executable = executable
        self._press = zlib.compressobj(6, zlib.DEFLATED, -15)
        self._crc = 0
        self._size = 0
        self._offset = part.begin(name, moment)
        self._start = part.position

    def __enter__(self) -> EntryWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.close()

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        self._part.put(self._press.compress(data))

    def close(self) -> None:
        """End the entry."""
        self._part.put(self._press.flush())
        packed = self._part.position - self._start
        self._part.finish(
            self._name, self._moment, self._offset, self._crc, packed, self._size, executable=self._executable
        )


def _flags(name: str) -> int:
    return _STREAMED if name.isascii() else _STREAMED | _UTF8


def _dos(moment: datetime) -> tuple[int, int]:
    """The time and the date as zip archives have them since 1980."""
    utc = moment.astimezone(UTC)
    if not 1980 <= utc.year <= 2107:
        utc = datetime(1980 if utc.year < 1980 else 2107, 1, 1, tzinfo=UTC)
    return (utc.hour << 11) | (utc.minute << 5) | (utc.second // 2), ((utc.year - 1980) << 9) | (
        utc.month << 5
    ) | utc.day


def _unix_time(moment: datetime) -> bytes:
    """The extended timestamp: the time of change, in seconds of Unix time."""
    seconds = min(max(int(moment.timestamp()), -(2**31)), 2**31 - 1)
    return struct.pack("<HHBi", 0x5455, 5, 1, seconds)
