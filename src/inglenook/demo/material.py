"""The folder that is shared: pictures, a PDF, texts in many scripts, a long recording; made on the spot.

Everything can be opened by the usual programs. The same seed gives the same bytes.
"""

from __future__ import annotations

import array
import hashlib
import math
import random
import struct
import sys
import wave
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TITLE = "Summer by the sea"

RATE = 44_100
WAVES_SECONDS = 10
RECORDING_BLOCKS = 114
"""Blocks of ten seconds: 19 minutes, 100 MB."""

WIDTH, HEIGHT = 720, 480

DAYS = ("1 Arrival", "2 Harbour", "3 Îles Chausey")
PICTURES_A_DAY = 6

TEXTS = {
    "Read me first.md": "# Summer by the sea\n\nEverything from the three days. Please add your own pictures.\n",
    "Shopping list.md": "- bread\n- cider\n- a map of the coast\n",
    "Plans/Route.md": "1. Saint-Malo\n2. Cancale\n3. Îles Chausey, by boat\n",
    "Plans/Tides.csv": "day,high,low\n1,07:12,13:40\n2,07:55,14:22\n3,08:41,15:08\n",
    "Plans/Ideas/Rainy day.txt": "The museum, the aquarium, or a long breakfast.\n",
    "Letters/Grüße aus Köln.txt": "Schöne Grüße, und bis bald!\n",
    "Letters/Γεια σου.txt": "Τα λέμε στη θάλασσα.\n",
    "Letters/旅行の計画.txt": "海まで電車で二時間。\n",
    "Letters/رسالة.txt": "إلى اللقاء على الشاطئ\n",
    "Letters/🌊 waves & 🐚 shells.txt": "Names may carry anything but a slash.\n",
    "Letters/An empty page.txt": "",
}

EMPTY_FOLDER = "Pictures of the next journey"
RECORDING = "Recordings/Sound of the sea.wav"
TICKET = "Plans/Boat ticket.pdf"


@dataclass(frozen=True, slots=True)
class Made:
    """What was made below `folder`: sub-folders (parents first), and the SHA-256 of each file, by relative path."""

    folder: Path
    folders: list[str]
    files: dict[str, str]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum((self.folder / path).stat().st_size for path in self.files)


def make(folder: Path) -> Made:
    """Make the folder, about 100 MB. Takes a second or two: not for an event loop."""
    for path, text in TEXTS.items():
        _write(folder / path, text.encode())
    for day, name in enumerate(DAYS):
        for number in range(PICTURES_A_DAY):
            seed = day * PICTURES_A_DAY + number
            _write(folder / f"Pictures/{name}/Picture {seed + 1:02d}.png", picture(seed))
    _write(folder / TICKET, pdf(["Boat to the islands", "Two persons, there and back", "Departure 9:15, quay 3"]))
    _write_recording(folder / RECORDING)
    (folder / EMPTY_FOLDER).mkdir()
    inside = sorted(folder.rglob("*"))
    return Made(
        folder,
        [_relative(path, folder) for path in inside if path.is_dir()],
        {_relative(path, folder): _digest(path) for path in inside if path.is_file()},
    )


def picture(seed: int) -> bytes:
    """A PNG: the sun over the sea, at an hour that the seed decides."""
    chance = random.Random(seed)  # noqa: S311 (a picture, not a secret)
    evening = chance.random()
    top, horizon = (_mix((70, 130, 200), (40, 20, 80), evening), _mix((190, 220, 240), (250, 150, 70), evening))
    deep, near = (_mix((20, 90, 130), (20, 20, 60), evening), _mix((90, 170, 190), (120, 60, 80), evening))
    sun = (chance.randrange(100, WIDTH - 100), int(HEIGHT * (0.2 + 0.3 * evening)), chance.randrange(25, 55))
    middle = int(HEIGHT * 0.58)
    rows = [_sky_row(y, middle, top, horizon, sun) for y in range(middle)]
    rows += [_sea_row(y - middle, HEIGHT - middle, deep, near, sun[0], chance) for y in range(middle, HEIGHT)]
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 6)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(kind, data) for kind, data in chunks)


def pdf(lines: list[str]) -> bytes:
    """A PDF of one page with a few lines of Latin text (ISO 32000-1, §7.5)."""
    shown = " ".join(f"({line}) Tj 0 -28 Td" for line in lines)
    text = f"BT /F1 20 Tf 72 760 Td {shown} ET".encode("latin-1")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(text), text),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = bytearray(b"%PDF-1.4\n"), list[int]()
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(out)


def surf() -> bytes:
    """Ten seconds of waves on a beach: 16-bit mono samples that can be repeated without a click."""
    chance = random.Random(7)  # noqa: S311 (a sound, not a secret)
    level, samples = 0.0, array.array("h")
    for number in range(RATE * WAVES_SECONDS):
        level = 0.94 * level + chance.uniform(-1.0, 1.0)
        swell = 0.5 - 0.5 * math.cos(2 * math.pi * number / (RATE * WAVES_SECONDS / 2))
        samples.append(int(5000 * level * swell * swell))
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


def _write_recording(path: Path) -> None:
    path.parent.mkdir(parents=True)
    block = surf()
    with wave.open(str(path), "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(RATE)
        recording.setnframes(RATE * WAVES_SECONDS * RECORDING_BLOCKS)
        for _ in range(RECORDING_BLOCKS):
            recording.writeframesraw(block)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


Colour = tuple[int, int, int]


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    mixed = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    red, green, blue = mixed
    return red, green, blue


def _sky_row(y: int, height: int, top: Colour, horizon: Colour, sun: tuple[int, int, int]) -> bytes:
    row = bytearray(bytes(_mix(top, horizon, y / height)) * WIDTH)
    x, centre, radius = sun
    if abs(y - centre) < radius:
        half = int(math.sqrt(radius * radius - (y - centre) ** 2))
        row[3 * (x - half) : 3 * (x + half)] = bytes((255, 236, 179)) * (2 * half)
    return bytes(row)


def _sea_row(y: int, height: int, deep: Colour, near: Colour, glitter: int, chance: random.Random) -> bytes:
    row = bytearray(bytes(_mix(deep, near, y / height)) * WIDTH)
    for start in _sparks(y, glitter, chance):
        row[3 * start : 3 * start + 12] = bytes((255, 220, 170)) * 4
    return bytes(row)


def _sparks(y: int, glitter: int, chance: random.Random) -> Iterator[int]:
    for _ in range(3):
        yield min(WIDTH - 5, max(0, glitter + chance.randrange(-20 - y, 21 + y)))


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
