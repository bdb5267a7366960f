"""Where an app comes from: a folder of this machine, an archive, one of the built-in apps (spec/03 §12.2, spec/10).

A source is opened as a `Package`: the bytes of the manifest, and the files one after the other, each a stream.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from inglenook.apps import archives, manifest, policy, registries
from inglenook.kernel.errors import BadRequest, InvalidParameter, NotFound, TooLarge
from inglenook.peers.errors import PeerForbiddenAddress
from inglenook.peers.peers import TRANSFER

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

PIECE = 256 * 1024
MAX_FILES = 20_000
"""Of one app."""

NO_MANIFEST = f"There is no {manifest.NAME} there"
NO_REGISTRY = "No registry of apps is configured: install from file:///folder, https://….tar.gz or builtin:"


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """A file of a package: its path from the root of the app (`/index.html`), its content in pieces."""

    path: str
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Package:
    """An app, ready to be read once. `is_folder`: its version says nothing of whether its files have changed."""

    manifest: bytes
    files: Callable[[], AsyncIterator[PackagedFile]]
    is_folder: bool


def default(slug: str) -> str:
    """Where an app comes from when nobody says: built in, else the registry."""
    return f"builtin:{slug}" if _built_in(slug) else f"registry://{slug}/stable"


def check(source: str) -> str:
    """The source itself. Raises InvalidParameter `Source` when it is of no known kind."""
    scheme, colon, rest = source.partition(":")
    if not colon or scheme not in ("file", "http", "https", "builtin", "registry"):
        raise _bad(f"{source} is no source of an app: file:///folder, https://….tar.gz, builtin: or registry://")
    if scheme != "builtin" and not rest.startswith("//"):
        raise _bad(f"Write {scheme}://…")
    if any(character < " " for character in source):
        raise _bad("The source contains a control character")
    if scheme == "registry":
        registries.read(source)
    if scheme in ("http", "https") and not policy.origin_of(source):
        raise _bad(f"{source} is no address of a server")
    return source


@asynccontextmanager
async def opened(instance: Instance, slug: str, source: str) -> AsyncGenerator[Package]:
    """Open a source.

    Raises InvalidParameter (no such kind of source), NotFound (nothing there, no manifest), BadRequest (an archive
    that cannot be read, or with something in it that is no plain file), TooLarge, UpstreamFailed."""
    scheme = check(source).partition(":")[0]
    match scheme:
        case "registry":
            if not registries.addresses(instance.context_settings):
                raise NotFound(NO_REGISTRY)
            release = await registries.find(instance, source)
            async with _download(instance, f"{release.url.partition('#')[0]}#{release.sha256.lower()}") as package:
                yield package
        case "builtin":
            name = manifest.check_slug(source.removeprefix("builtin:").strip("/") or slug)
            folder = _built_in(name)
            if folder is None:
                raise NotFound(f"There is no built-in app {name}")
            yield await _folder(folder)
        case "file":
            path = _local_path(source)
            if await asyncio.to_thread(path.is_dir):
                yield await _folder(path)
            else:
                async with archives.unpacked(_read(path), instance.env.config.data) as archive:
                    yield _archive(archive)
        case _:
            async with _download(instance, source) as package:
                yield package


def digest_of(source: str) -> str:
    """The SHA-256 that a source on the web promises in its fragment, empty when it promises none.

    Raises InvalidParameter for one that cannot be read."""
    digest = source.partition("#")[2].lower()
    if digest and (len(digest) != 64 or not set(digest) <= set("0123456789abcdef")):
        raise _bad("What follows # in the source is no SHA-256")
    return digest


async def same_release(instance: Instance, source: str, version: str) -> bool:
    """Whether a source of a registry still means this version: then nothing has to be fetched. Raises as `opened`."""
    if not source.startswith("registry://") or not registries.addresses(instance.context_settings):
        return False
    return (await registries.find(instance, source)).version == version


# -- folders


async def _folder(folder: Path) -> Package:
    listed = await asyncio.to_thread(_list, folder)
    if manifest.NAME not in listed:
        raise NotFound(NO_MANIFEST)
    raw = await asyncio.to_thread(_read_start, folder / manifest.NAME)

    async def files() -> AsyncIterator[PackagedFile]:
        for name in listed:
            yield PackagedFile("/" + name, _read(folder / name))

    return Package(raw, files, is_folder=True)


def _list(folder: Path) -> list[str]:
    """The paths of all files below a folder, relative to it, with slashes. Raises BadRequest, TooLarge."""
    root = folder.resolve()
    found: list[str] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != ".git")
        for name in (*folders, *sorted(names)):
            path = Path(parent, name)
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise BadRequest(f"{path.relative_to(folder)} leads out of the folder of the app")
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file():
                found.append(archives.checked_path(path.relative_to(folder).as_posix()))
        if len(found) > MAX_FILES:
            raise TooLarge(f"The app has more than {MAX_FILES} files")
    return found


def _built_in(slug: str) -> Path | None:
    folder = Path(str(resources.files("inglenook"))) / "webapps" / slug
    return folder if (folder / manifest.NAME).is_file() else None


def _local_path(source: str) -> Path:
    parts = urlsplit(source.partition("#")[0])
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path.startswith("/") or "\0" in path:
        raise _bad("Write the complete path: file:///folder")
    found = Path(path)
    if not found.exists():
        raise NotFound(f"There is no {found}")
    if not found.is_dir() and not found.is_file():
        raise _bad(f"{found} is neither a folder nor an archive")
    return found


async def _read(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while piece := await asyncio.to_thread(file.read, PIECE):
            yield piece


def _read_start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(manifest.MAX_BYTES + 1)


# -- archives


def _archive(archive: archives.Archive) -> Package:
    return Package(archive.manifest, lambda: _unpack(archive), is_folder=False)


async def _unpack(archive: archives.Archive) -> AsyncIterator[PackagedFile]:
    async for path, chunks in archive.files():
        yield PackagedFile(path, chunks)


@asynccontextmanager
async def _download(instance: Instance, source: str) -> AsyncGenerator[Package]:
    expected = digest_of(source)
    url = source.partition("#")[0]
    async with AsyncExitStack() as stack:
        asking = instance.peers.stream("GET", url, headers={"Accept-Encoding": "identity"}, timeout=TRANSFER)
        try:
            stream = await stack.enter_async_context(asking)
        except PeerForbiddenAddress as error:
            raise _bad(error.detail) from error
        if stream.status != 200:
            raise NotFound(f"The archive cannot be had: {urlsplit(url).hostname} answered {stream.status}")
        unpacking = archives.unpacked(stream.chunks(), instance.env.config.data, expected_sha256=expected)
        async with unpacking as archive:
            yield _archive(archive)


def _bad(message: str) -> InvalidParameter:
    return InvalidParameter(message, parameter="Source")
