"""Errors by family and by `Accept` (spec/01 §3, §15.3, spec/02 §9.1, spec/03 §2.2, §2.4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from litestar import get, post
from litestar.exceptions import ClientException
from tests.servers import Person, RunningServer

from inglenook import wire
from inglenook.kernel import errors

ERRORS: dict[str, errors.DomainError] = {
    "bad-request": errors.BadRequest("This makes no sense"),
    "not-found": errors.NotFound("file does not exist"),
    "conflict": errors.Conflict("file already exists"),
    "moved": errors.Gone("The Cozy has been moved to a new address", related="https://new.example/"),
    "precondition": errors.PreconditionFailed("Revision does not match", parameter="If-Match"),
    "too-large": errors.TooLarge("The file is too big and exceeds the disk quota"),
    "parameter": errors.InvalidParameter("Invalid Content-Type", parameter="mime"),
    "attribute": errors.InvalidAttribute("Invalid document type", pointer="/data/attributes/type"),
    "too-many": errors.TooManyRequests("Rate limit reached"),
    "unavailable": errors.Unavailable("Not now"),
    "full": errors.OutOfSpace("The disk is full"),
    "upstream": errors.UpstreamFailed("The sharing request failed"),
    "denied": errors.Denied("not you"),
    "unprocessed": errors.Unprocessed("Invalid passphrase"),
    "no-token": errors.NoToken(),
    "invalid-token": errors.InvalidToken(),
    "revoked-audience": errors.InvalidToken("Unrecognized token audience [refresh]"),
    "expired-token": errors.ExpiredToken(),
    "forbidden": errors.Forbidden(),
    "credentials": errors.BadCredentials("Permission scope is empty or malformed"),
    "missing": errors.DocumentNotFound(),
    "document-conflict": errors.DocumentConflict(),
    "bad-rev": errors.BadDocument("bad_request", "Invalid rev format"),
    "document-too-large": errors.DocumentTooLarge("doc1"),
}


@get("/raise/{name:str}", opt={"guard": wire.PUBLIC})
async def raise_it(name: str) -> wire.Answer:
    raise ERRORS[name]


@get("/data/raise/{name:str}", opt={"guard": wire.PUBLIC})
async def raise_below_data(name: str) -> wire.Answer:
    raise ERRORS[name]


@get(["/broken", "/data/broken/{what:str}"], opt={"guard": wire.PUBLIC})
async def broken() -> wire.Answer:
    raise ZeroDivisionError("hunter2")


class Body(msgspec.Struct):
    name: str


@post(["/decode", "/data/decode/{what:str}"], opt={"guard": wire.PUBLIC}, status_code=200)
async def decode(body: bytes) -> wire.Answer:
    return wire.plain_json(msgspec.json.decode(body, type=Body))


@post(["/refuse", "/data/refuse/{what:str}"], opt={"guard": wire.PUBLIC}, status_code=200)
async def refuse() -> wire.Answer:
    raise ClientException("something inside")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    routes = [raise_it, raise_below_data, broken, decode, refuse]
    running = RunningServer(tmp_path_factory.mktemp("data"), routes=routes, log_level="critical").start()
    yield running
    running.stop()


# -- JSON:API

JSONAPI_CASES: list[tuple[str, int, dict[str, Any]]] = [
    ("bad-request", 400, {"title": "Bad Request", "detail": "This makes no sense", "source": {}}),
    ("not-found", 404, {"title": "Not Found", "detail": "file does not exist", "source": {}}),
    ("conflict", 409, {"title": "Conflict", "detail": "file already exists", "source": {}}),
    (
        "moved",
        410,
        {
            "title": "Cozy has been moved",
            "detail": "The Cozy has been moved to a new address",
            "code": "moved",
            "source": {},
            "links": {"related": "https://new.example/"},
        },
    ),
    (
        "precondition",
        412,
        {"title": "Precondition Failed", "detail": "Revision does not match", "source": {"parameter": "If-Match"}},
    ),
    (
        "too-large",
        413,
        {
            "title": "Request Entity Too Large",
            "detail": "The file is too big and exceeds the disk quota",
            "source": {},
        },
    ),
    (
        "parameter",
        422,
        {"title": "Invalid Parameter", "detail": "Invalid Content-Type", "source": {"parameter": "mime"}},
    ),
    (
        "attribute",
        422,
        {
            "title": "Invalid Attribute",
            "detail": "Invalid document type",
            "source": {"pointer": "/data/attributes/type"},
        },
    ),
    ("too-many", 429, {"title": "Too Many Requests", "detail": "Rate limit reached", "source": {}}),
    ("unavailable", 503, {"title": "Service Unavailable", "detail": "Not now", "source": {}}),
    ("full", 507, {"title": "Insufficient Storage", "detail": "The disk is full", "source": {}}),
    ("upstream", 502, {"title": "Bad Gateway", "detail": "The sharing request failed", "source": {}}),
    ("denied", 403, {"title": "Forbidden", "detail": "not you", "source": {}}),
    ("unprocessed", 500, {"title": "Unqualified error", "detail": "Invalid passphrase", "source": {}}),
    ("missing", 404, {"title": "not_found", "detail": "missing", "source": {}}),
    ("document-conflict", 409, {"title": "conflict", "detail": "Document update conflict.", "source": {}}),
    ("bad-rev", 400, {"title": "bad_request", "detail": "Invalid rev format", "source": {}}),
]


@pytest.mark.parametrize(("name", "status", "expected"), JSONAPI_CASES)
@pytest.mark.parametrize("accept", ["application/json", "text/html", "application/vnd.api+json"])
def test_what_is_wrong_with_the_thing_is_jsonapi_whatever_is_accepted(
    alice: Person, name: str, status: int, expected: dict[str, Any], accept: str
) -> None:
    answer = alice.get(f"/raise/{name}", headers={"Accept": accept})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/vnd.api+json"
    assert answer.json() == {"errors": [{"status": str(status), **expected}]}


def test_a_limit_of_frequency_tells_when_to_come_back(alice: Person) -> None:
    assert int(alice.get("/raise/too-many").headers["retry-after"]) > 0


# -- plain

PLAIN_CASES = [
    ("no-token", 401, "No token in request"),
    ("invalid-token", 400, "Invalid JWT token"),
    ("revoked-audience", 400, "Unrecognized token audience [refresh]"),
    ("expired-token", 400, "Expired token"),
    ("forbidden", 403, "Forbidden"),
    ("credentials", 400, "Permission scope is empty or malformed"),
]


@pytest.mark.parametrize(("name", "status", "message"), PLAIN_CASES)
def test_who_is_asking_is_answered_in_the_accepted_form(alice: Person, name: str, status: int, message: str) -> None:
    def ask(accept: str) -> Any:
        answer = alice.get(f"/raise/{name}", headers={"Accept": accept})
        assert answer.status_code == status
        return answer

    as_json = ask("text/html, application/json;q=0.5")
    assert as_json.headers["content-type"] == "application/json"
    assert as_json.json() == {"error": message}
    as_page = ask("text/html,*/*;q=0.8")
    assert as_page.headers["content-type"].startswith("text/html")
    assert message in as_page.text
    for accept in ("application/vnd.api+json", "*/*"):
        as_text = ask(accept)
        assert as_text.headers["content-type"].startswith("text/plain")
        assert as_text.text == message


def test_token_errors_say_how_to_authenticate(alice: Person) -> None:
    def challenge(name: str) -> str | None:
        return alice.get(f"/raise/{name}").headers.get("www-authenticate")

    assert challenge("invalid-token") == 'Bearer error="invalid_token"'
    expected = 'Bearer error="invalid_token" error_description="The access token expired"'
    assert challenge("expired-token") == expected
    assert challenge("no-token") is None
    assert challenge("forbidden") is None
    assert challenge("revoked-audience") is None


def test_an_error_page_shows_its_message_as_text(alice: Person) -> None:
    ERRORS["script"] = errors.Forbidden("<script>alert(1)</script>")
    page = alice.get("/raise/script", headers={"Accept": "text/html"}).text
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_an_unknown_route_is_plain(alice: Person) -> None:
    assert alice.get("/nowhere", headers={"Accept": "application/json"}).json() == {"error": "Not Found"}
    assert alice.get("/nowhere").text == "Not Found"


# -- /data

DATA_CASES: list[tuple[str, int, dict[str, Any]]] = [
    ("no-token", 401, {"error": "code=401, message=No token in request"}),
    ("invalid-token", 400, {"error": "code=400, message=Invalid JWT token"}),
    ("expired-token", 400, {"error": "code=400, message=Expired token"}),
    ("forbidden", 403, {"error": "code=403, message=Forbidden"}),
    ("missing", 404, {"ok": False, "status": "404", "error": "not_found", "reason": "missing"}),
    (
        "document-conflict",
        409,
        {"ok": False, "status": "409", "error": "conflict", "reason": "Document update conflict."},
    ),
    ("bad-rev", 400, {"ok": False, "status": "400", "error": "bad_request", "reason": "Invalid rev format"}),
    ("document-too-large", 413, {"ok": False, "status": "413", "error": "document_too_large", "reason": "doc1"}),
    ("bad-request", 400, {"error": "Bad Request(400): This makes no sense"}),
    ("not-found", 404, {"error": "Not Found(404): file does not exist"}),
    ("moved", 410, {"error": "Cozy has been moved(410): The Cozy has been moved to a new address"}),
    ("unavailable", 503, {"error": "Service Unavailable(503): Not now"}),
]


@pytest.mark.parametrize(("name", "status", "expected"), DATA_CASES)
@pytest.mark.parametrize("accept", ["application/json", "text/html", "*/*"])
def test_below_data_every_error_is_json(
    alice: Person, name: str, status: int, expected: dict[str, Any], accept: str
) -> None:
    answer = alice.get(f"/data/raise/{name}", headers={"Accept": accept})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == expected


def test_below_data_token_errors_say_how_to_authenticate_too(alice: Person) -> None:
    assert "invalid_token" in alice.get("/data/raise/expired-token").headers["www-authenticate"]


# -- what nobody expected


def test_a_fault_of_the_server_tells_its_request_id_and_nothing_else(alice: Person) -> None:
    answer = alice.get("/broken")
    assert answer.status_code == 500
    item = answer.json()["errors"][0]
    assert (item["status"], item["title"]) == ("500", "Unqualified error")
    assert answer.headers["x-request-id"] in item["detail"]
    assert "hunter2" not in answer.text
    below = alice.get("/data/broken/1")
    assert below.status_code == 500
    assert set(below.json()) == {"error"}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"name": 1}', b"\xff"])
def test_a_body_that_cannot_be_read_is_a_bad_request(alice: Person, body: bytes) -> None:
    message = "JSON input is malformed or is missing mandatory fields"
    answer = alice.post("/decode", content=body)
    assert answer.status_code == 400
    assert answer.json()["errors"] == [{"status": "400", "title": "Bad Request", "detail": message, "source": {}}]
    below = alice.post("/data/decode/1", content=body)
    assert (below.status_code, below.json()) == (400, {"error": f"Bad Request(400): {message}"})


def test_what_the_framework_refuses_is_worded_by_us(alice: Person) -> None:
    assert "something inside" not in alice.post("/refuse").text
    assert alice.post("/refuse").status_code == 400
    assert alice.post("/data/refuse/1").status_code == 400


def test_an_error_to_head_has_no_body(alice: Person) -> None:
    answer = alice.call("HEAD", "/nowhere")
    assert (answer.status_code, answer.content) == (404, b"")


def test_every_status_has_a_title() -> None:
    assert set(wire.STATUSES.values()) <= set(wire.TITLES)
