"""Somebody with an instance, as the client of their own server: files by the HTTP API (spec/02), sharing (spec/04)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from inglenook.demo.processes import ServerProcess
from inglenook.peers.network import Resolver, SystemLookup

ROOT = "io.cozy.files.root-dir"
JSON_API = "application/vnd.api+json"
SCOPES = ("io.cozy.files", "io.cozy.contacts", "io.cozy.sharings")
PIECE = 512 * 1024
"""Bytes read from a file, or from an answer, at a time."""

Watch = Callable[[int], None]
"""Is told of bytes that have moved."""


class RequestRefused(Exception):
    """A server did not answer with success."""

    def __init__(self, method: str, url: str, status: int, body: bytes) -> None:
        super().__init__(f"{method} {url}: {status} {body[:300].decode('utf-8', 'replace')}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder as a listing shows it. `md5` is in base64, None for a folder."""

    id: str
    folder: bool
    size: int
    md5: str | None


@dataclass(slots=True)
class Person:
    """`name` at `name.localhost:port`. `shared` is the id of the shared folder on this side, and `place` its path."""

    name: str
    server: ServerProcess
    passphrase: str
    shared: str = ""
    place: str = ""
    _token: str = ""
    _http: aiohttp.ClientSession | None = field(default=None, repr=False)

    @property
    def domain(self) -> str:
        """The domain with its port."""
        return f"{self.name}.localhost:{self.server.port}"

    @property
    def url(self) -> str:
        """The address of the instance."""
        return f"http://{self.domain}"

    @property
    def email(self) -> str:
        """The mail address."""
        return f"{self.name}@example.com"

    async def move_in(self) -> None:
        """Get an instance on the server, and a token for its API, by operator commands."""
        command = self.server.command
        about = ("--email", self.email, "--public-name", self.name.capitalize(), "--passphrase", self.passphrase)
        await command("instances", "add", self.domain, *about)
        client = await command(
            "instances", "client-oauth", self.domain, "http://localhost", "demonstration", "github.com/example/demo"
        )
        self._token = await command("instances", "token-oauth", self.domain, client, *SCOPES)

    async def leave(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()

    # -- requests

    def headers(self, kind: str) -> dict[str, str]:
        """The headers of a request with the token whose body has this media type."""
        return {"Authorization": f"Bearer {self._token}", "Accept": JSON_API, "Content-Type": kind}

    def open(self, method: str, path: str, *, body: Any = None, kind: str = JSON_API, length: int | None = None) -> Any:
        """A request with the token, as a context that gives the answer."""
        if self._http is None:
            self._http = new_session()
        headers = self.headers(kind)
        if length is not None:
            headers["Content-Length"] = str(length)
        return self._http.request(method, self.url + path, data=body, headers=headers)

    async def call(self, method: str, path: str, **request: Any) -> Any:
        """A request with the token; gives the decoded answer. Raises RequestRefused, aiohttp.ClientError."""
        async with self.open(method, path, **request) as response:
            content = await response.read()
            if response.status >= 400:
                raise RequestRefused(method, path, response.status, content)
            return msgspec.json.decode(content) if content else None

    # -- files

    async def make_folder(self, name: str, parent: str = ROOT) -> str:
        """Make a folder; gives its id."""
        made = await self.call("POST", f"/files/{parent}?Type=directory&Name={quote(name, safe='')}")
        return made["data"]["id"]

    async def upload(self, path: Path, parent: str, watch: Watch, *, name: str | None = None) -> str:
        """Upload a file of this machine, streamed; gives its id."""
        named = quote(name or path.name, safe="")
        size = (await asyncio.to_thread(path.stat)).st_size
        body = pieces_of(path, watch) if size else b""
        made = await self.call(
            "POST", f"/files/{parent}?Type=file&Name={named}", body=body, kind="application/octet-stream", length=size
        )
        return made["data"]["id"]

    async def write(self, name: str, content: bytes, parent: str) -> str:
        """Upload a small new file; gives its id."""
        named = quote(name, safe="")
        made = await self.call(
            "POST", f"/files/{parent}?Type=file&Name={named}", body=content, kind="application/octet-stream"
        )
        return made["data"]["id"]

    async def overwrite(self, path: str, content: bytes) -> None:
        """Give a file of the shared folder another content."""
        found = await self.must_find(path)
        await self.call("PUT", f"/files/{found['id']}", body=content, kind="application/octet-stream")

    async def change(self, path: str, **attributes: Any) -> None:
        """Change attributes of a file or folder of the shared folder: `name`, `dir_id`, …"""
        found = await self.must_find(path)
        data = {"data": {"type": "io.cozy.files", "id": found["id"], "attributes": attributes}}
        await self.call("PATCH", f"/files/{found['id']}", body=msgspec.json.encode(data))

    async def trash(self, path: str) -> None:
        """Put a file or folder of the shared folder into the trash."""
        found = await self.must_find(path)
        await self.call("DELETE", f"/files/{found['id']}")

    async def find(self, path: str) -> dict[str, Any] | None:
        """The file or folder at a path below the shared folder, None when there is none."""
        whole = quote(f"{self.place}/{path}" if path else self.place, safe="")
        try:
            return (await self.call("GET", f"/files/metadata?Path={whole}"))["data"]
        except RequestRefused as refused:
            if refused.status != 404:
                raise
            return None

    async def must_find(self, path: str) -> dict[str, Any]:
        """The file or folder at a path below the shared folder. Raises KeyError."""
        found = await self.find(path)
        if found is None:
            raise KeyError(f"{self.name} has no {path}")
        return found

    async def read(self, path: str) -> bytes:
        """The content of a small file of the shared folder."""
        found = await self.must_find(path)
        async with self.open("GET", f"/files/download/{found['id']}") as response:
            response.raise_for_status()
            return await response.read()

    async def tree(self) -> dict[str, Entry]:
        """Everything below the shared folder, by relative path."""
        entries: dict[str, Entry] = {}
        folders = [("", self.shared)]
        while folders:
            prefix, id = folders.pop()
            async for item in self._children(id):
                attributes = item["attributes"]
                path = prefix + attributes["name"]
                is_folder = attributes["type"] == "directory"
                size = 0 if is_folder else int(attributes["size"])
                entries[path] = Entry(item["id"], is_folder, size, attributes.get("md5sum"))
                if is_folder:
                    folders.append((f"{path}/", item["id"]))
        return entries

    async def digest(self, id: str, watch: Watch) -> str:
        """The SHA-256 of a file's content, downloaded piece by piece."""
        hash = hashlib.sha256()
        async with self.open("GET", f"/files/download/{id}") as response:
            response.raise_for_status()
            async for piece in response.content.iter_chunked(PIECE):
                hash.update(piece)
                watch(len(piece))
        return hash.hexdigest()

    async def _children(self, id: str) -> AsyncIterator[dict[str, Any]]:
        path: str | None = f"/files/{id}?page[limit]=100"
        while path:
            page = await self.call("GET", path)
            data = page["data"]
            if isinstance(data, dict):  # the folder itself; the pages after the first are lists of the children
                for item in page.get("included", []):
                    yield item
                path = data["relationships"]["contents"]["links"].get("next")
            else:
                for item in data:
                    yield item
                path = page.get("links", {}).get("next")

    # -- sharing

    async def share(self, title: str, folder: str, email: str) -> str:
        """Share a folder in both directions with somebody of whom only the mail address is known; gives the id."""
        name = email.partition("@")[0].capitalize()
        contact = {"fullname": name, "email": [{"address": email, "primary": True}]}
        made = await self.call(
            "POST", "/data/io.cozy.contacts/", body=msgspec.json.encode(contact), kind="application/json"
        )
        rule = {"title": title, "doctype": "io.cozy.files", "values": [folder]}
        rule |= {"add": "sync", "update": "sync", "remove": "sync"}
        recipients = [{"type": "io.cozy.contacts", "id": made["id"]}]
        data = {
            "type": "io.cozy.sharings",
            "attributes": {"description": title, "open_sharing": True, "app_slug": "drive", "rules": [rule]},
            "relationships": {"recipients": {"data": recipients}},
        }
        sharing = await self.call("POST", "/sharings/", body=msgspec.json.encode({"data": data}))
        return sharing["data"]["id"]

    async def received(self, sharing: str) -> bool:
        """Whether the folder of a sharing has arrived here; then `shared` and `place` are known."""
        try:
            rules = (await self.call("GET", f"/sharings/{sharing}"))["data"]["attributes"]["rules"]
            folder = (await self.call("GET", f"/files/{rules[0]['values'][0]}?page[limit]=1"))["data"]
        except RequestRefused as refused:
            if refused.status != 404:
                raise
            return False
        self.shared, self.place = folder["id"], folder["attributes"]["path"]
        return True


def new_session() -> aiohttp.ClientSession:
    """A client that finds the names under `.localhost`, with a memory for cookies."""
    connector = aiohttp.TCPConnector(resolver=Resolver(SystemLookup()), limit=8)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120))


async def pieces_of(path: Path, watch: Watch) -> AsyncIterator[bytes]:
    """The content of a file of this machine, piece by piece."""
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, PIECE):
            yield piece
            watch(len(piece))
