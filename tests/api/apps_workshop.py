"""A small web app on the disk, archives of it, and the words to install and visit it."""

from __future__ import annotations

import hashlib
import html
import io
import json
import re
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
from tests.browser_forms import Browser
from tests.servers import Person

from inglenook.apps import installing
from inglenook.identity import commands
from inglenook.storage.documents.contract import Document

PAGE = (
    '<!DOCTYPE html><html lang="{{.Locale}}"><head><title>KIND {{.AppName}}</title></head>'
    '<body><div role="application" data-cozy="{{.CozyData}}"></div></body></html>'
)
RULES = {
    "files": {"description": "Work with files", "type": "io.cozy.files"},
    "tests": {"type": "io.cozy.tests", "verbs": ["GET", "POST"]},
}
FILES = {
    "index.html": PAGE.replace("KIND", "private"),
    "private.txt": "for the owner\n",
    "public/index.html": PAGE.replace("KIND", "public"),
    "public/doc.txt": "for all\n",
    "assets/app.js": "console.log('app')\n" * 200,
    "assets/app.0123456789abcdef.js": "console.log('fixed')\n",
    "icons/icon.svg": '<svg xmlns="http://www.w3.org/2000/svg"/>\n',
}


def manifest(slug: str = "mini", **more: Any) -> dict[str, Any]:
    """The manifest of the app."""
    return {
        "name": "Mini", "name_prefix": "Test", "slug": slug, "type": "webapp", "version": "1.2.3", "editor": "Ed",
        "icon": "icons/icon.svg", "permissions": RULES, "locales": {"fr": {"name": "Menu"}},
        "routes": {
            "/": {"folder": "/", "index": "index.html", "public": False},
            "/public": {"folder": "/public", "index": "index.html", "public": True},
            "/assets": {"folder": "/assets", "public": True},
        },
        **more,
    }  # fmt: skip


def write_app(folder: Path, *, files: Mapping[str, str] = FILES, **more: Any) -> Path:
    """The app in a folder."""
    for name, content in {"manifest.webapp": json.dumps(manifest(**more)), **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def packed(*, top: str = "", mode: str = "w:gz", extra: Callable[[tarfile.TarFile], None] | None = None,
           **more: Any) -> bytes:  # fmt: skip
    """The app as an archive, below the folder `top`; `extra` may add what does not belong there."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in {"manifest.webapp": json.dumps(manifest(**more)), **FILES}.items():
            add(tar, top + name, content.encode())
        if extra:
            extra(tar)
    return target.getvalue()


def add(tar: tarfile.TarFile, name: str, content: bytes = b"", **fields: Any) -> None:
    """One entry of an archive; `fields` are those of `TarInfo`."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    for field, value in fields.items():
        setattr(entry, field, value)
    tar.addfile(entry, io.BytesIO(content))


def install(person: Person, source: Path | str, slug: str = "mini") -> Document:
    """Install from a folder or archive on the disk, or from any source."""
    where = source.as_uri() if isinstance(source, Path) else source
    return person.server.do(lambda _: installing.install(person.instance, slug, where))


def operator(person: Person, *scopes: str) -> str:
    """A token of the command line."""
    return commands.cli_token(person.instance, scopes or ("io.cozy.apps",))


def visit(browser: Browser, path: str = "/", slug: str = "mini", method: str = "GET", **rest: Any) -> httpx.Response:
    """A request on the host of an app."""
    headers = {"Host": browser.person.instance.app_host(slug), **rest.pop("headers", {})}
    return browser.request(method, path, headers=headers, **rest)


def boot_data(page: str) -> dict[str, Any]:
    """What a client finds in the page of an app."""
    found = re.search(r'data-cozy="([^"]+)"', page)
    assert found, page[:300]
    return json.loads(html.unescape(found[1]))


def publish(website: dict[str, Any], version: str, *, sha256: str = "", channel: str = "stable", **more: Any) -> None:
    """Put a version of the app into the registry."""
    archive = packed(version=version, top="mini/", **more)
    website[f"/mini-{version}.tar.gz"] = (200, archive)
    release = {
        "slug": "mini", "type": "webapp", "version": version, "url": f"{website['']}/mini-{version}.tar.gz",
        "sha256": sha256 or hashlib.sha256(archive).hexdigest(), "manifest": manifest(version=version, **more),
    }  # fmt: skip
    website[f"/registry/mini/{channel}/latest"] = (200, json.dumps(release).encode())
    website[f"/registry/mini/{version}"] = (200, json.dumps(release).encode())
