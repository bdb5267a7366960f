"""What people do with their files: each deed is a request of the person's client, and is told in the story.

Every content is one that was never there before, so that after the quiet it can be looked for by its MD5; what a
person has replaced or destroyed on purpose is given up.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any
from urllib.parse import quote

import msgspec

from inglenook.files import tree
from inglenook.files.documents import Item
from inglenook.storage.documents.contract import Reader

from .world import Server, World

TRASH = "io.cozy.files.trash-dir"
FILES = "io.cozy.files"
LARGE = 1024 * 1024
"""Bytes from which on contents travel in pieces (spec/11 §3)."""


class Broken(AssertionError):
    """An invariant does not hold."""


class Deeds:
    """Does things, remembers what must not be lost, and tells the story."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.random
        self.contents: dict[str, str] = {}
        self.given_up: set[str] = set()
        self.story: list[str] = []
        self.counter = 0

    def tell(self, what: str) -> None:
        """Add to the story that a failure tells."""
        self.story.append(f"{self.world.loop.passed:10.2f}  {what}")

    def fresh(self, server: Server) -> str:
        """A content that was never there before."""
        self.counter += 1
        return f"content {self.counter} by {server.name}"

    async def attempt(self, server: Server, method: str, path: str, body: Any = None, raw: bytes | None = None) -> Any:
        """A request that may be refused (a taken name, a thing that is gone); gives the answer when it succeeds."""
        response = await server.call(method, path, body, raw=raw)
        said = msgspec.json.encode(body).decode() if body else raw or ""
        self.tell(f"{server.name}: {method} {path} {said} {response.status}")
        if response.status >= 500 and not (response.status == 503 and server.moving):
            raise Broken(f"{server.name}: {method} {path}: {response.status} {response.body[:500]!r}")
        return (msgspec.json.decode(response.body) if response.body else {}) if response.status < 300 else None

    # -- files and folders

    async def upload(self, server: Server, place: str, name: str, content: str = "") -> str | None:
        """A new file, whose content must never be lost; gives its id."""
        content = content or self.fresh(server)
        made = await self.attempt(server, "POST", f"/files/{place}?Type=file&Name={quote(name)}", raw=content.encode())
        if made is None:
            return None
        self.contents[md5(content)] = content
        return str(made["data"]["id"])

    async def mkdir(self, server: Server, place: str, name: str) -> str | None:
        """A new folder; gives its id."""
        made = await self.attempt(server, "POST", f"/files/{place}?Type=directory&Name={quote(name)}")
        return None if made is None else str(made["data"]["id"])

    async def overwrite(self, server: Server, item: Item) -> None:
        """New content for a file; what this person saw there before is given up."""
        content = self.fresh(server)
        made = await server.call("PUT", f"/files/{item.id}", raw=content.encode())
        self.tell(f"{server.name}: PUT {item.name} {item.id} {content} {made.status}")
        if made.status == 200:
            self.contents[md5(content)] = content
            self.given_up.add(item.md5sum)

    async def upload_large(self, server: Server, place: str, name: str) -> None:
        """A new file of more than a MiB."""
        self.counter += 1
        content = self.random.randbytes(LARGE + self.random.randrange(LARGE))
        path = f"/files/{place}?Type=file&Name={quote(name)}"
        made = await server.call("POST", path, raw=content)
        self.tell(f"{server.name}: POST {path} large content {self.counter} {made.status}")
        if made.status == 201:
            self.contents[md5_of(content)] = f"large content {self.counter} by {server.name}"

    async def edit_large(self, server: Server, item: Item) -> None:
        """A few bytes somewhere in a large file are others now, or more."""
        instance = await server.instance()
        held = await instance.store.read(lambda view: view.content(FILES, item.id))
        if held is None:
            return
        content = b"".join([piece async for piece in instance.contents.read(held)])
        self.counter += 1
        at, length = self.random.randrange(len(content)), self.random.choice((0, 1, 100))
        content = content[:at] + self.random.randbytes(100) + content[at + length :]
        made = await server.call("PUT", f"/files/{item.id}", raw=content)
        self.tell(f"{server.name}: PUT {item.name} {item.id} edit {self.counter} at {at} {made.status}")
        if made.status == 200:
            self.contents[md5_of(content)] = f"edit {self.counter} by {server.name}"
            self.given_up.add(item.md5sum)

    async def patch(self, server: Server, item: Item, attributes: dict[str, Any]) -> None:
        """Rename, move, or change attributes."""
        self.tell(f"{server.name}: {item.name} -> {attributes}")
        body = {"data": {"type": FILES, "id": item.id, "attributes": attributes}}
        await self.attempt(server, "PATCH", f"/files/{item.id}", body)

    async def trash(self, server: Server, item: Item) -> None:
        """Put into the trash."""
        self.tell(f"{server.name}: trashes {item.name}")
        await self.attempt(server, "DELETE", f"/files/{item.id}")

    async def restore(self, server: Server) -> None:
        """Something from the trash comes back."""
        trashed = await self.children(server, TRASH)
        if trashed:
            await self.attempt(server, "POST", f"/files/trash/{self.random.choice(trashed).id}")

    async def destroy(self, server: Server) -> None:
        """Something in the trash is deleted for ever, on purpose."""
        trashed = await self.children(server, TRASH)
        if trashed:
            item = self.random.choice(trashed)
            inside = [item, *(await self.walk(server, item.id) if item.is_directory else [])]
            self.given_up |= {one.md5sum for one in inside if one.is_file}
            await self.attempt(server, "DELETE", f"/files/trash/{item.id}")

    # -- looking

    async def children(self, server: Server, folder: str) -> list[Item]:
        """All children of a folder, in the order of the wire."""
        return await (await server.instance()).store.read(lambda view: list(tree.children(view, folder)))

    async def walk(self, server: Server, folder: str) -> list[Item]:
        """Everything below a folder, each folder followed by what is in it."""

        def look(view: Reader, id: str) -> list[Item]:
            found: list[Item] = []
            for item in tree.children(view, id):
                found.append(item)
                if item.is_directory:
                    found += look(view, item.id)
            return found

        return await (await server.instance()).store.read(lambda view: look(view, folder))

    async def tree(self, server: Server, folder: str) -> dict[str, str]:
        """Path → MD5 of everything below a folder. Raises Broken when two items have one path."""
        found: dict[str, str] = {}
        paths = {folder: ""}
        for item in await self.walk(server, folder):
            path = paths[item.dir_id] + item.name
            if path in found or path + "/" in found:
                raise Broken(f"{server.name} has two items at {path}")
            if item.is_directory:
                found[path + "/"] = ""
                paths[item.id] = path + "/"
            else:
                found[path] = item.md5sum
        return found


def md5(content: str) -> str:
    """The MD5 of a text, in the wire's form."""
    return md5_of(content.encode())


def md5_of(content: bytes) -> str:
    """The MD5 of a content, in the wire's form."""
    return b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
