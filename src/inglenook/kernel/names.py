"""Names of files, folders and domains: what is allowed, and how a free one is found (spec/02 §3, spec/03 §1.1).

Two names are the same only when their bytes are the same. `taken` tells whether a name is in use in the folder.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from typing import Protocol
from urllib.parse import quote

from inglenook.kernel.errors import BadRequest, Conflict, InvalidParameter

Taken = Callable[[str], bool]

MAX_TRIES = 1000

_COPY = {
    "de": "Kopie",
    "en": "copy",
    "es": "copia",
    "fr": "copie",
    "ja": "コピー",
    "nl": "kopie",
    "ru": "копия",
    "vi": "bản sao",
}
_CANCELLED_SHARING = {
    "de": "Freigabe abgebrochen",
    "en": "cancelled sharing",
    "es": "Se ha cancelado el compartir",
    "fr": "partage annulé",
}
_FORBIDDEN_IN_NAME = re.compile(r"[/\x00\r\n]")
_NUMBERED = re.compile(r"(.*) \((\d{1,15})\)", re.DOTALL | re.ASCII)
_CONFLICT_MARK = re.compile(r"(.+) \(\d+\)", re.DOTALL | re.ASCII)
_FORBIDDEN_IN_DOMAIN = re.compile(r"[\s\x00-\x20\x7f/,;&?#@|='\"\\<>]")
_FORBIDDEN_IN_HEADER = re.compile(r"[^!-~]|[\"/\\]")


class Random(Protocol):
    """Where digits come from."""

    def bytes(self, count: int) -> bytes:
        """`count` random bytes."""
        ...


# -- names of files and folders


def is_name(name: str) -> bool:
    """Whether a file or folder may have this name."""
    return bool(name) and name not in (".", "..") and _FORBIDDEN_IN_NAME.search(name) is None


def check_name(name: str) -> None:
    """Raises InvalidParameter (`name`) when no file or folder may have this name."""
    if not is_name(name):
        raise InvalidParameter("Invalid filename: empty or contains an illegal character", parameter="name")


def split_extension(name: str) -> tuple[str, str]:
    """The name before its last dot, and the rest with the dot: `("a.tar", ".gz")`, `("", ".env")`, `("a", "")`."""
    base, dot, extension = name.rpartition(".")
    return (base, dot + extension) if dot else (name, "")


def conflict_name(name: str, *, is_file: bool, taken: Taken) -> str:
    """The first free one of `name (2).ext`, `name (3).ext` …; a number that is there already is counted on from.

    A folder has no extension (what replication puts in the trash is named as a file even so). Raises Conflict after
    1000 tries."""
    base, extension = split_extension(name) if is_file else (name, "")
    number = 2
    numbered = _NUMBERED.fullmatch(base)
    if numbered:
        base, number = numbered[1], int(numbered[2]) + 1
    return _first_free((f"{base} ({n}){extension}" for n in range(number, number + MAX_TRIES)), taken)


def numbered_name(name: str, *, taken: Taken, last: int = MAX_TRIES) -> str:
    """The name itself when it is free, else the first free one of `name (2)` … `name (<last>)`, with the number
    behind the whole name: for the folders and shortcuts of sharings. Raises Conflict."""
    return _first_free((name if n == 1 else f"{name} ({n})" for n in range(1, last + 1)), taken)


def trash_name(name: str, random: Random) -> str:
    """The name with nine random digits behind it: what goes to the trash, or comes from it, onto a taken name."""
    return f"{name} ({int.from_bytes(random.bytes(8), 'big') % 10**9:09d})"


def strip_conflict_mark(name: str) -> str:
    """The name without the ` (<digits>)` at its end, when a valid name remains: how a restored item is called."""
    marked = _CONFLICT_MARK.fullmatch(name)
    return marked[1] if marked and is_name(marked[1]) else name


def copy_name(name: str, locale: str) -> str:
    """The name of a copy: `a.tar (copy).gz`, in the language of the instance (English for one that is not known)."""
    base, extension = split_extension(name)
    return f"{base} ({_COPY.get(locale, _COPY['en'])}){extension}"


def cancelled_name(name: str, locale: str, *, taken: Taken) -> str:
    """A free name for a folder whose sharing has ended: `Plans (cancelled sharing)`. Raises Conflict."""
    return numbered_name(f"{name} ({_CANCELLED_SHARING.get(locale, _CANCELLED_SHARING['en'])})", taken=taken)


def clean_path(path: str) -> str:
    """An absolute path without `//`, `.`, `..` and a slash at its end. Raises BadRequest for a relative one."""
    if not path.startswith("/"):
        raise BadRequest("Path should be absolute")
    return "/" + posixpath.normpath(path).lstrip("/")


def download_disposition(name: str, attachment: bool) -> str:
    """The value of `Content-Disposition` (spec/02 §15.1)."""
    plain = _FORBIDDEN_IN_HEADER.sub("", name) or "download"
    value = f'{"attachment" if attachment else "inline"}; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"


# -- domains of instances


def domain_name(value: str) -> str:
    """The domain of an instance in its normal form: lower case, labels in Unicode, with the port if there is one.

    Raises InvalidParameter (`domain`)."""
    domain = value.strip().lower()
    host, colon, port = domain.partition(":")
    host = ".".join(_unicode_label(label) for label in host.split("."))
    if not host or host.startswith(".") or ".." in host or _FORBIDDEN_IN_DOMAIN.search(host):
        raise InvalidParameter("Invalid domain", parameter="domain")
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise InvalidParameter("Invalid domain", parameter="domain")
    return host + colon + port


def _unicode_label(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return label[4:].encode("ascii").decode("punycode").lower()
    except UnicodeError:
        return label


def _first_free(names: Iterable[str], taken: Taken) -> str:
    for name in names:
        if not taken(name):
            return name
    raise Conflict("file already exists")
