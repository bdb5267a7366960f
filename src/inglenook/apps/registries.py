"""Registries of apps: which version of an app there is, and where its archive lies (spec/03 §12.2).

The registries of an instance are the addresses `registries` of its context, asked in their order until one knows the
app. `registry://drive/stable` means the latest version of a channel, `registry://drive/stable/1.2.3` or
`registry://drive/1.2.3` that very version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from inglenook.apps import policy
from inglenook.kernel.errors import InvalidParameter, NotFound, UpstreamFailed

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

CHANNELS = ("stable", "beta", "dev")
_SECONDS = 15.0
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~-]{0,100}\Z", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a source `registry://…` names; `version` is empty for the latest one of the channel."""

    slug: str
    channel: str = CHANNELS[0]
    version: str = ""


class Release(msgspec.Struct):
    """A version of an app, as a registry tells it; `sha256` is that of the archive at `url`."""

    version: str
    url: str
    sha256: str
    slug: str = ""
    type: str = "webapp"
    manifest: dict[str, Any] = {}


def addresses(settings: Mapping[str, Any]) -> list[str]:
    """The registries of a context, without a final slash."""
    given = settings.get("registries")
    listed = [given] if isinstance(given, str) else given if isinstance(given, list | tuple) else []
    return [str(one).rstrip("/") for one in listed if policy.origin_of(one)]


def read(source: str) -> Wanted:
    """What a source names. Raises InvalidParameter `Source`."""
    slug, *more = source.removeprefix("registry://").strip("/").split("/")
    channel = more.pop(0) if more and more[0] in CHANNELS else CHANNELS[0]
    version = more.pop(0) if more else ""
    if version == "latest":
        version = ""
    if more or not re.fullmatch(r"[a-z0-9-]{1,100}", slug) or (version and not _VERSION.match(version)):
        raise InvalidParameter("Write registry://SLUG, /CHANNEL and /VERSION if need be", parameter="Source")
    return Wanted(slug, channel, version)


async def find(instance: Instance, source: str) -> Release:
    """The release that a source means now. Raises NotFound (no registry knows it), UpstreamFailed, InvalidParameter."""
    wanted = read(source)
    path = quote(f"/registry/{wanted.slug}/" + (wanted.version or f"{wanted.channel}/latest"))
    for address in addresses(instance.context_settings):
        answer = await instance.peers.request(
            "GET", address + path, headers={"Accept": "application/json"}, timeout=_SECONDS, max_body=4 * 1024 * 1024
        )
        if answer.status == 404:
            continue
        try:
            release = msgspec.json.decode(answer.body, type=Release) if answer.status == 200 else None
        except msgspec.MsgspecError as error:
            raise UpstreamFailed(f"The registry {address} cannot be understood") from error
        if release is None or not _SHA256.match(release.sha256.lower()) or not policy.origin_of(release.url):
            raise UpstreamFailed(f"The registry {address} does not tell where the app is")
        return release
    raise NotFound(f"No registry knows the app {wanted.slug}")


async def knows(instance: Instance, slug: str) -> bool:
    """Whether some registry of the instance has an app; one that cannot be asked has none."""
    try:
        await find(instance, f"registry://{slug}")
    except (NotFound, UpstreamFailed, InvalidParameter):
        return False
    return True
