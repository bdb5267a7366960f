"""What servers of this make can do together beyond the protocol, and how they tell each other (spec/11 §1).

Every answer to another server names the extensions in a header, so that no request is spent on learning them. An
extension is used when both ends speak it; without it everything works the same, only slower.
"""

from __future__ import annotations

from collections.abc import Mapping

from inglenook.environment import Config

HEADER = "Inglenook-Extensions"

VERSIONS: Mapping[str, int] = {"batch": 1, "chunks": 1, "status": 1, "refusal": 1}
"""What this version speaks; the configuration may leave some of it out."""

LONGEST_HEADER = 1024


def spoken(config: Config) -> dict[str, int]:
    """The extensions that are switched on, with their versions."""
    return {name: version for name, version in VERSIONS.items() if name in config.extensions}


def announcement(config: Config) -> str:
    """The header's value, a dictionary of RFC 8941; empty when nothing is switched on."""
    return ", ".join(f"{name}={version}" for name, version in spoken(config).items())


def announced(header: str) -> dict[str, int]:
    """What a header names, with versions; members of another form are left out."""
    found: dict[str, int] = {}
    for member in header[:LONGEST_HEADER].split(","):
        name, _, version = member.partition(";")[0].strip().partition("=")
        if name and version.isascii() and version.isdigit() and len(version) <= 9:
            found[name] = int(version)
    return found
