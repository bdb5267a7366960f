"""The typed structs of all domains, made ready to be decoded before any thread decodes one.

msgspec looks at the fields of a struct when it first decodes one, and keeps what it found at the class before it is
complete. A second thread that decodes the same struct in that moment reads what is not there yet, and takes the whole
process down. Stores, hashes and commands run in threads, so this is done once, by one thread, at the start.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

PACKAGE = "inglenook"


def make_ready() -> int:
    """Look at the fields of all structs that are imported by now; gives how many there are."""
    count = 0
    for struct in _below(msgspec.Struct):
        if struct.__module__.partition(".")[0] == PACKAGE:
            msgspec.json.Decoder(struct)
            count += 1
    return count


def _below(struct: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for kind in struct.__subclasses__():
        yield kind
        yield from _below(kind)
