"""A fresh directory of a person for each test of files, and the words to talk about it."""

from __future__ import annotations

import base64
import hashlib
import itertools
from typing import Any

import httpx
from tests.servers import Person

ROOT = "io.cozy.files.root-dir"
TRASH = "io.cozy.files.trash-dir"
FILES = "io.cozy.files"
_numbers = itertools.count(1)


def md5(content: bytes) -> str:
    """The MD5 of a content as the wire writes it."""
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def error(answer: httpx.Response) -> dict[str, Any]:
    """The first error of a refusal, whose form is checked."""
    assert answer.status_code >= 400, answer.text
    assert answer.headers["content-type"] == "application/vnd.api+json", answer.text
    first = answer.json()["errors"][0]
    assert first["status"] == str(answer.status_code)
    assert first["title"]
    assert "source" in first
    return first


class Drawer:
    """One directory, nothing in it at first. All requests may do everything with files, unless `token` is given."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.name = f"drawer-{next(_numbers)}"
        self.path = "/" + self.name
        self.id = ROOT
        self.id = self.mkdir(self.name)["id"]

    # -- requests
    def call(self, method: str, path: str, **rest: Any) -> httpx.Response:
        """A request of a client that may do everything with files."""
        return self.person.call(method, path, *(() if "token" in rest else (FILES,)), **rest)

    def ok(self, method: str, path: str, status: int = 200, **rest: Any) -> Any:
        """The JSON of a request that must end with this status."""
        answer = self.call(method, path, **rest)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    # -- making
    def send(
        self, name: str, content: Any = b"hello", *, into: str = "", mime: str | None = "text/plain", **rest: Any
    ) -> httpx.Response:
        """An upload, whatever its answer. `params` and `headers` are added."""
        params = {"Type": "file", "Name": name, **rest.pop("params", {})}
        headers = {**({"Content-Type": mime} if mime else {}), **rest.pop("headers", {})}
        return self.call("POST", f"/files/{into or self.id}", params=params, headers=headers, content=content, **rest)

    def upload(self, name: str, content: Any = b"hello", **rest: Any) -> dict[str, Any]:
        """A new file."""
        answer = self.send(name, content, **rest)
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]

    def overwrite(self, id: str, content: bytes, *, mime: str = "text/plain", **rest: Any) -> httpx.Response:
        """New content for a file, whatever the answer."""
        headers = {"Content-Type": mime, **rest.pop("headers", {})}
        return self.call("PUT", f"/files/{id}", content=content, headers=headers, **rest)

    def make(self, name: str, *, into: str = "", **params: Any) -> httpx.Response:
        """A directory, whatever the answer."""
        return self.call("POST", f"/files/{into or self.id}", params={"Type": "directory", "Name": name, **params})

    def mkdir(self, name: str, *, into: str = "", **params: Any) -> dict[str, Any]:
        """A new directory."""
        answer = self.make(name, into=into, **params)
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]

    # -- changing
    def patch(self, id: str, *, headers: dict[str, str] | None = None, **attributes: Any) -> httpx.Response:
        """A PATCH, whatever its answer."""
        body = {"data": {"type": FILES, "id": id, "attributes": attributes}}
        return self.call("PATCH", f"/files/{id}", json_body=body, headers=headers)

    def change(self, id: str, **attributes: Any) -> dict[str, Any]:
        """A PATCH that succeeds."""
        answer = self.patch(id, **attributes)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def trash(self, id: str) -> dict[str, Any]:
        """Send to the trash."""
        return self.ok("DELETE", f"/files/{id}")["data"]

    def restore(self, id: str) -> dict[str, Any]:
        """Bring back from the trash."""
        return self.ok("POST", f"/files/trash/{id}")["data"]

    def destroy(self, id: str) -> None:
        """Send to the trash, and delete from there for ever."""
        self.trash(id)
        self.ok("DELETE", f"/files/trash/{id}", 204)

    # -- looking
    def get(self, id: str) -> dict[str, Any]:
        """A file or directory as it is now."""
        return self.ok("GET", f"/files/{id}")["data"]

    def at(self, path: str) -> dict[str, Any]:
        """What is at a path below this drawer."""
        return self.ok("GET", "/files/metadata", params={"Path": self.path + path})["data"]

    def read(self, id: str) -> bytes:
        """The content of a file."""
        answer = self.call("GET", f"/files/download/{id}")
        assert answer.status_code == 200, answer.text
        return answer.content

    def names(self, id: str = "") -> list[str]:
        """The names of what is in a directory, in order."""
        url, found = f"/files/{id or self.id}/relationships/contents?page[limit]=100", []
        while url:
            page = self.ok("GET", url)
            found += [child["attributes"]["name"] for child in page["data"]]
            url = page["links"].get("next", "")
        return found

    def rev(self, id: str) -> str:
        """The current revision."""
        return self.get(id)["meta"]["rev"]
