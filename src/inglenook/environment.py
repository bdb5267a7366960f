"""What a server is given from outside: configuration, time and randomness.

Nothing below the assembly reads the clock, the random generator or the process environment by itself: the
simulation runs the same code under a virtual clock and a seeded generator (docs/decisions/0002).
"""

from __future__ import annotations

import os
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class Clock:
    """Time, as the server sees it."""

    def now(self) -> datetime:
        """The current moment, in UTC."""
        return datetime.now(UTC)

    def timestamp(self) -> str:
        """The current moment as RFC 3339 in UTC with milliseconds, the form of every stored date."""
        return rfc3339(self.now())

    def monotonic(self) -> float:
        """Seconds from an arbitrary point, for durations only."""
        return time.monotonic()


class Randomness:
    """Where identifiers, keys and secrets come from."""

    def bytes(self, count: int) -> bytes:
        """`count` unpredictable bytes."""
        return secrets.token_bytes(count)

    def document_id(self) -> str:
        """32 lower-case hexadecimal digits (spec/01 §2.1)."""
        return self.bytes(16).hex()

    def file_id(self) -> str:
        """A UUID version 4 in its 36 characters form (spec/02 §1.3 leaves the version open)."""
        return str(uuid.UUID(bytes=self.bytes(16), version=4))

    def uniform(self) -> float:
        """A number in [0, 1), for jitter."""
        return int.from_bytes(self.bytes(7), "big") / (1 << 56)


def rfc3339(moment: datetime) -> str:
    """A moment as RFC 3339 in UTC with milliseconds and `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


EXTENSIONS = ("batch", "chunks", "status", "refusal")
"""What can be spoken with servers of the same make, beyond the protocol (spec/11 §1)."""


@dataclass(frozen=True)
class Config:
    """The effective configuration (spec/10 §2). `inglenook.cli.settings` reads it from flags, environment and file."""

    data: Path = field(default_factory=lambda: default_data_folder(os.environ))
    host: str = "127.0.0.1"
    port: int = 8080
    dev: bool = False
    subdomains: str = "nested"
    database_url: str = ""
    blobs_url: str = ""
    bus_url: str = ""
    workers: int = 1
    role: str = "all"
    smtp_url: str = ""
    log_level: str = "info"
    log_format: str = ""
    metrics: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    trusted_proxies: tuple[str, ...] = ()
    extensions: tuple[str, ...] = EXTENSIONS
    contexts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    versions_to_keep: int = 20
    seconds_between_versions: float = 15 * 60.0

    @property
    def scheme(self) -> str:
        """The scheme of every URL of this server: `http` in development, else `https`."""
        return "http" if self.dev else "https"

    def context(self, name: str) -> Mapping[str, Any]:
        """The settings of a context, else those of `default`, else none."""
        return self.contexts.get(name or "default") or self.contexts.get("default") or {}


def default_data_folder(environ: Mapping[str, str]) -> Path:
    """`$XDG_DATA_HOME/inglenook`, by the XDG rules."""
    base = environ.get("XDG_DATA_HOME") or str(Path(environ.get("HOME", "/root")) / ".local" / "share")
    return Path(base) / "inglenook"


@dataclass(frozen=True)
class Environment:
    """Configuration, time and randomness, handed down from the assembly."""

    config: Config
    clock: Clock = field(default_factory=Clock)
    random: Randomness = field(default_factory=Randomness)


Wakeup = Callable[[], None]
