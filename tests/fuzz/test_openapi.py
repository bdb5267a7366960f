"""Requests made up from the OpenAPI document: none ends in a fault of the server, every answer has its form.

What is made up is bent towards things that exist, so that requests get past the first check.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from tests.servers import Person, RunningServer

from inglenook.web.openapi import document

EXAMPLES = 8  # requests of each operation
CONFORMS = ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"]
BINARY = ("thumbnails", "/download", "/archive/{")  # answers that are contents
DOCTYPES = ("io.cozy.tests.fuzz", "io.cozy.tests.fuzz", "io.cozy.tests.other", "io.cozy.files", "io.cozy.sharings")
IDS = ("a", "b", "gone", "conflicting", "_design/by_n")
SCOPES = ("io.cozy.tests.*", "io.cozy.files", "io.cozy.files.versions", "io.cozy.doctypes")


def described() -> dict[str, Any]:
    """The document, of the routes below /data and /files alone."""
    whole = document()
    paths = {path: item for path, item in whole["paths"].items() if path.startswith(("/data", "/files"))}
    return {**whole, "paths": paths}


schema = schemathesis.openapi.from_dict(described())
schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
CHOSEN = [check for check in CHECKS.get_all() if check.__name__ in CONFORMS]


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Somebody with some documents and files."""
    server = RunningServer(tmp_path_factory.mktemp("data")).start()
    alice = server.add("alice", passphrase="cozy")
    docs = [{"_id": "a", "n": 1}, {"_id": "b", "n": "é", "tags": [1, {"k": None}]}, {"_id": "gone"}]
    path = f"/data/{DOCTYPES[0]}"
    made = alice.post(f"{path}/_bulk_docs", *SCOPES, json_body={"docs": docs}).json()
    alice.delete(f"{path}/gone", *SCOPES, params={"rev": made[2]["rev"]})
    branches = [{"_id": "conflicting", "_rev": "1-" + letter * 32} for letter in "ab"]
    alice.post(f"{path}/_bulk_docs", *SCOPES, json_body={"docs": branches, "new_edits": False})
    alice.post(f"{path}/_index", *SCOPES, json_body={"index": {"fields": ["n"]}, "ddoc": "by_n"})
    yield alice
    server.stop()


@pytest.fixture(scope="module")
def items(alice: Person) -> list[str]:
    """The ids of files and folders."""
    folder = alice.post("/files/?Type=directory&Name=folder", *SCOPES).json()["data"]["id"]
    file = alice.post(f"/files/{folder}?Type=file&Name=file.txt", *SCOPES, content=b"x").json()["data"]["id"]
    return [folder, file, file, "io.cozy.files.root-dir", "io.cozy.files.trash-dir"]


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
def test_every_answer_has_its_form(case: schemathesis.Case, alice: Person, items: list[str]) -> None:
    bend(case, items)
    headers = {"Host": alice.domain, "Authorization": f"Bearer {alice.token(*SCOPES)}", "Accept": "application/json"}
    if "{name}/copy" in case.path:
        headers["Destination"] = "_design/copy"
    answer = case.call(base_url=alice.server.origin, headers=headers)
    binary = any(part in case.path for part in BINARY)
    checks = [check for check in CHOSEN if not binary or check.__name__ == "not_a_server_error"]
    case.validate_response(answer, checks=checks)


def bend(case: schemathesis.Case, items: list[str]) -> None:
    """Put things that exist in the place of most names that were made up; a long poll shall not wait."""
    parameters = cast("dict[str, Any]", case.path_parameters or {})
    for name, value in parameters.items():
        pick = hashlib.sha256(str(value).encode("utf-8", "replace")).digest()[0]
        if pick % 5 == 0:
            continue
        chosen = {
            "doctype": DOCTYPES,
            "docid": IDS,
            "doc_id": IDS,
            "name": ("by_n", "x"),
            "file_id": items,
            "dir_id": items,
        }.get(name)
        if chosen:
            parameters[name] = chosen[pick % len(chosen)]
    query = cast("dict[str, Any]", case.query or {})
    if "feed" in query or "timeout" in query:
        query["timeout"] = 1
