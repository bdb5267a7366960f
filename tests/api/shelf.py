"""A fresh doctype of a person for each test of documents, and the words to talk about it."""

from __future__ import annotations

import itertools
from typing import Any
from urllib.parse import quote

import httpx
from tests.servers import Person

_numbers = itertools.count(1)
SCOPE = "io.cozy.tests.*"


class Shelf:
    """One doctype, nothing in it at first."""

    def __init__(self, person: Person, doctype: str | None = None, scope: str = SCOPE) -> None:
        self.person = person
        self.doctype = doctype or f"io.cozy.tests.shelf{next(_numbers)}"
        self.scope = scope

    def call(self, method: str, tail: str, json_body: Any = None, **rest: Any) -> httpx.Response:
        """A request below the doctype, as a client that may do everything with it unless a token is given."""
        scopes = () if "token" in rest else (self.scope,)
        return self.person.call(method, f"/data/{self.doctype}{tail}", *scopes, json_body=json_body, **rest)

    def get(self, tail: str, **rest: Any) -> Any:
        """The JSON of a successful GET."""
        return _json(self.call("GET", tail, **rest), 200)

    def post(self, tail: str, json_body: Any, status: int = 200, **rest: Any) -> Any:
        """The JSON of a POST with this status."""
        return _json(self.call("POST", tail, json_body, **rest), status)

    def create(self, **fields: Any) -> dict[str, Any]:
        """A new document."""
        return self.post("/", fields, 201)["data"]

    def put(self, id: str, **fields: Any) -> dict[str, Any]:
        """A document under a chosen id, or its next revision when `_id` and `_rev` are given."""
        return _json(self.call("PUT", "/" + quote(id, safe=""), fields), 200)["data"]

    def read(self, id: str) -> dict[str, Any]:
        """The document as it is now."""
        return self.get("/" + quote(id, safe=""))

    def remove(self, document: dict[str, Any]) -> str:
        """Delete a document; gives the revision of the tombstone."""
        answer = self.call("DELETE", f"/{quote(document['_id'], safe='')}", params={"rev": document["_rev"]})
        return _json(answer, 200)["rev"]

    def bulk(self, *documents: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
        """Write many documents."""
        return self.post("/_bulk_docs", {"docs": list(documents), **options}, 201)

    def replicate(self, *documents: dict[str, Any]) -> None:
        """Write revisions that were made elsewhere."""
        assert self.bulk(*documents, new_edits=False) == []

    def ids(self, **query: str) -> list[str]:
        """The ids of `_all_docs`."""
        return [row["id"] for row in self.get("/_all_docs", params=query)["rows"]]

    def changes(self, **query: str) -> dict[str, Any]:
        """The feed."""
        return self.get("/_changes", params=query)

    def index(self, *fields: Any, ddoc: str, **definition: Any) -> dict[str, Any]:
        """Make an index."""
        return self.post("/_index", {"index": {"fields": list(fields), **definition}, "ddoc": ddoc})

    def find(self, selector: dict[str, Any], **options: Any) -> dict[str, Any]:
        """The answer of a query."""
        return self.post("/_find", {"selector": selector, **options})

    def refusal(self, method: str, tail: str, json_body: Any = None, **rest: Any) -> tuple[int, str, str]:
        """Status, error and reason of a request that fails."""
        answer = self.call(method, tail, json_body, **rest)
        body = answer.json()
        assert answer.status_code >= 400, answer.text
        assert answer.headers["content-type"] == "application/json"
        return answer.status_code, body["error"], body.get("reason", "")


def _json(answer: httpx.Response, status: int) -> Any:
    assert answer.status_code == status, f"{answer.request.method} {answer.request.url}: {answer.text}"
    return answer.json()
