"""What every request passes: hosts, paths, CORS, headers, request ids, compression, guards (spec/03 §1.2, §2)."""

from __future__ import annotations

import gzip
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Request, delete, get, post, route
from tests.servers import Person, RunningServer

from inglenook import wire
from inglenook.identity.caller import Caller
from inglenook.identity.instance import Instance
from inglenook.web import parts

THING = {"data": {"type": "io.cozy.things", "id": "t", "attributes": {"text": "x" * 400}, "meta": {}}}


@get("/things/{thing_id:str}", opt={"guard": wire.PUBLIC})
async def thing(thing_id: str) -> wire.Answer:
    return wire.plain_json({"id": thing_id})


@route("/things/{thing_id:str}", http_method="HEAD", opt={"guard": wire.PUBLIC})
async def thing_head(thing_id: str) -> wire.Answer:
    return wire.plain_json({"id": thing_id})


@get("/data/{doctype:str}/{doc_id:str}", opt={"guard": wire.PUBLIC})
async def document(doctype: str, doc_id: str) -> wire.Answer:
    return wire.plain_json({"doctype": doctype, "id": doc_id})


@get("/data/{doctype:str}/", opt={"guard": wire.PUBLIC})
async def database(doctype: str) -> wire.Answer:
    return wire.plain_json({"doctype": doctype})


@get("/resource", opt={"guard": wire.PUBLIC})
async def resource() -> wire.Answer:
    return wire.jsonapi(THING)


@get("/page", opt={"guard": wire.PUBLIC})
async def page() -> wire.Answer:
    return wire.html("<p>hello</p>")


@get("/own-policy", opt={"guard": wire.PUBLIC})
async def own_policy() -> wire.Answer:
    return wire.html("<p>hello</p>", headers={"content-security-policy": "default-src 'self';"})


@get("/careless", opt={"guard": wire.TOKEN})
async def careless(instance: Instance) -> wire.Answer:
    return wire.plain_json({"secret": instance.domain})


@get("/careful", opt={"guard": wire.TOKEN})
async def careful(caller: Caller) -> wire.Answer:
    permit = await caller.permit()
    return wire.plain_json({"kind": permit.kind})


@get("/number", opt={"guard": wire.PUBLIC})
async def number(count: int) -> wire.Answer:
    return wire.plain_json({"count": count})


@post("/measured", opt={"guard": wire.PUBLIC}, status_code=200)
async def measured(request: Request[Any, Any, Any]) -> wire.Answer:
    return wire.plain_json({"size": len(await wire.read_body(request, 1000))})


@post("/counted", opt={"guard": wire.PUBLIC}, status_code=200)
async def counted(request: Request[Any, Any, Any]) -> wire.Answer:
    size = 0
    async for chunk in wire.body_chunks(request):
        size += len(chunk)
    return wire.plain_json({"size": size})


async def pieces(fail_at: int) -> AsyncIterator[bytes]:
    for number in range(4):
        if number == fail_at:
            raise RuntimeError("the disk is gone")
        yield b"piece"


@get("/stream", opt={"guard": wire.PUBLIC})
async def stream(fail_at: int) -> wire.Answer:
    return wire.streamed(pieces(fail_at), media_type="text/plain")


@delete("/things/{thing_id:str}", opt={"guard": wire.PUBLIC}, status_code=200)
async def forget(thing_id: str) -> wire.Answer:
    return wire.no_content()


ROUTES = [
    thing, thing_head, document, database, resource, page, own_policy, careless, careful, number, measured, counted,
    stream, forget,
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = RunningServer(tmp_path_factory.mktemp("data"), routes=ROUTES).start()
    yield running
    running.stop()


# -- hosts


def test_an_unknown_host_is_not_found(server: RunningServer) -> None:
    answer = httpx.get(f"{server.origin}/things/1", headers={"Host": "nobody.localhost", "Accept": "application/json"})
    assert answer.status_code == 404
    assert "error" in answer.json()


def test_version_and_status_are_answered_on_any_host(server: RunningServer) -> None:
    version = httpx.get(f"{server.origin}/version").json()
    assert set(version) == {"version", "build_mode", "runtime_version"}
    status = httpx.get(f"{server.origin}/status", headers={"Host": "nobody.localhost"})
    as_devices_ask = httpx.get(f"{server.origin}/status/", headers={"Host": "nobody.localhost"})
    assert as_devices_ask.status_code == status.status_code == 200
    assert (status.status_code, status.json()["status"]) == (200, "OK")
    assert set(status.json()["latencies"]) == {"database", "storage"}


def test_no_api_is_reachable_on_the_host_of_an_app(alice: Person) -> None:
    answer = alice.get("/things/1", headers={"Host": f"drive.{alice.domain}"})
    assert answer.status_code == 404


def test_a_former_domain_leads_to_the_new_one_with_path_and_query(server: RunningServer) -> None:
    server.add("moved", old_domain=f"old.localhost:{server.port}")
    answer = httpx.post(f"{server.origin}/things/a%2Fb?x=1&y=%20", headers={"Host": f"old.localhost:{server.port}"})
    assert answer.status_code == 308
    assert answer.headers["location"] == f"http://moved.localhost:{server.port}/things/a%2Fb?x=1&y=%20"


@pytest.mark.parametrize(("reason", "status"), [("", 503), ("PAYMENT_FAILED", 402), ("LOGIN_FAILED", 503)])
def test_a_blocked_instance_answers_before_anything_else(server: RunningServer, reason: str, status: int) -> None:
    person = server.add(f"blocked{len(reason)}", blocked=True, blocking_reason=reason)
    answer = person.get("/things/1", headers={"Accept": "application/json"})
    assert answer.status_code == status
    if reason != "LOGIN_FAILED":
        assert isinstance(answer.json(), list)
    assert person.get("/settings/nothing").status_code == 404, "settings stay reachable"


# -- paths


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("%C3%A9", "é"),
        ("%252F", "%2F"),
        ("%2F", "/"),
        ("a%2F%2Fb%2F", "a//b/"),
        ("md5_%3D%3D", "md5_=="),
        ("100%", "100%"),
    ],
)
def test_a_segment_is_decoded_once_and_keeps_its_slashes(alice: Person, path: str, expected: str) -> None:
    assert raw_get(alice, f"/things/{path}") == (200, {"id": expected})
    assert raw_get(alice, f"/data/io.cozy.things/{path}") == (200, {"doctype": "io.cozy.things", "id": expected})


@pytest.mark.parametrize("path", ["/things/a%00b", "/things/%FF", "/data/io.cozy.things/%00"])
def test_what_is_no_text_is_a_bad_request(alice: Person, path: str) -> None:
    assert raw_get(alice, path)[0] == 400


@pytest.mark.parametrize(
    "path",
    [
        "/data", "/data/io.cozy.things", "/data/_doctypes", "/data/io.cozy.things/1/", "/data//",
        "/data/io.cozy.things/1/2/3",
    ],
)  # fmt: skip
def test_below_data_slashes_are_significant(alice: Person, path: str) -> None:
    answer = alice.get(path)
    assert (answer.status_code, answer.json()) == (404, {"error": "code=404, message=Not Found"})


def test_a_doctype_has_a_name(alice: Person) -> None:
    answer = alice.get("/data//1")
    assert (answer.status_code, answer.json()) == (400, {"error": "Bad Request(400): Invalid doctype ''"})


def test_below_data_an_unknown_method_is_not_found(alice: Person) -> None:
    answer = alice.call("PATCH", "/data/io.cozy.things/1")
    assert (answer.status_code, answer.json()) == (404, {"error": "code=404, message=Not Found"})
    assert alice.call("HEAD", "/data/io.cozy.things/1").status_code == 404
    assert alice.call("OPTIONS", "/data/io.cozy.things/1").status_code == 404


def test_elsewhere_an_unknown_method_is_refused_by_name(alice: Person) -> None:
    answer = alice.call("PUT", "/things/1", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()) == (405, {"error": "Method Not Allowed"})
    assert answer.headers["allow"] == "DELETE, GET, HEAD"


# -- headers


def test_every_answer_has_the_security_headers_and_a_request_id(alice: Person) -> None:
    answers = [alice.get("/things/1"), alice.get("/nowhere"), httpx.get(f"{alice.server.origin}/version")]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == (
            "default-src 'none';frame-src 'none';frame-ancestors 'none';base-uri 'none';"
        )
        assert "strict-transport-security" not in answer.headers, "only over https"
    assert len({answer.headers["x-request-id"] for answer in answers}) == 3


def test_pages_may_load_their_own_style_and_images(alice: Person) -> None:
    policy = alice.get("/page").headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "img-src 'self' data:;" in policy


def test_a_route_may_have_a_policy_of_its_own(alice: Person) -> None:
    assert alice.get("/own-policy").headers.get_list("content-security-policy") == ["default-src 'self';"]


# -- CORS


def test_an_answer_is_open_to_the_origin_that_asks(alice: Person) -> None:
    for path, status in (("/things/1", 200), ("/nowhere", 404), ("/data/io.cozy.things/1", 200)):
        answer = alice.get(path, headers={"Origin": "https://app.example"})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "Origin" in answer.headers["vary"]
        assert "access-control-expose-headers" not in answer.headers
    assert "access-control-allow-origin" not in alice.get("/things/1").headers


def test_a_pre_flight_allows_what_was_asked(alice: Person) -> None:
    answer = alice.call(
        "OPTIONS",
        "/data/io.cozy.things/1",
        headers={
            "Origin": "https://app.example",
            "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert answer.headers["access-control-allow-methods"] == "GET,HEAD,PUT,PATCH,POST,DELETE"
    assert answer.headers["access-control-allow-headers"] == "authorization,content-type"
    assert answer.headers["access-control-max-age"] == "43200"
    assert answer.headers["access-control-allow-credentials"] == "true"
    varies = ", ".join(answer.headers.get_list("vary"))
    assert varies == "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"


def test_below_auth_only_a_few_routes_are_open(alice: Person) -> None:
    origin = {"Origin": "https://app.example", "Access-Control-Request-Method": "DELETE"}
    opened = alice.call("OPTIONS", "/auth/login", headers=origin)
    assert (opened.status_code, opened.headers["access-control-allow-methods"]) == (204, "DELETE")
    closed = alice.call("OPTIONS", "/auth/authorize", headers=origin)
    assert closed.status_code == 404
    assert "access-control-allow-origin" not in closed.headers
    assert "access-control-allow-origin" not in alice.get("/auth/login", headers=origin).headers
    assert "access-control-allow-origin" in alice.delete("/auth/login", headers=origin).headers


# -- compression


def test_a_jsonapi_answer_is_compressed_for_who_accepts_it(alice: Person) -> None:
    packed = alice.get("/resource", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "Accept-Encoding"
    assert packed.json() == THING
    plain = alice.get("/resource", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.headers["vary"] == "Accept-Encoding"
    assert plain.content == msgspec.json.encode(THING)
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"])
    refused = alice.get("/resource", headers={"Accept-Encoding": "gzip;q=0, identity"})
    assert "content-encoding" not in refused.headers


def test_errors_are_not_compressed(alice: Person) -> None:
    answer = alice.post("/measured", content=b"x" * 2000, headers={"Accept-Encoding": "gzip"})
    assert answer.status_code == 413
    assert "content-encoding" not in answer.headers


def test_a_long_answer_is_the_same_compressed() -> None:
    body = msgspec.json.encode(["inglenook"] * 50_000)
    assert gzip.decompress(wire._gzip(body)) == body  # pyright: ignore[reportPrivateUsage]


# -- HEAD, bodies, streams


def test_head_has_the_headers_without_the_body(alice: Person) -> None:
    answer = alice.call("HEAD", "/things/abc")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) == len(alice.get("/things/abc").content)


def test_a_body_over_its_limit_is_refused_whether_announced_or_not(alice: Person) -> None:
    assert alice.post("/measured", content=b"x" * 1000).json() == {"size": 1000}
    assert alice.post("/measured", content=b"x" * 1001).status_code == 413

    def chunks() -> Iterator[bytes]:
        yield from (b"x" * 600, b"x" * 600)

    assert alice.post("/measured", content=chunks()).status_code == 413


def test_an_answer_can_come_before_the_body_has_arrived(alice: Person) -> None:
    assert alice.post("/measured", content=b"x" * 20_000_000).status_code == 413
    assert alice.post("/nowhere", content=b"x" * 20_000_000).status_code == 404


def test_a_body_that_breaks_off_does_no_harm(alice: Person) -> None:
    with socket.create_connection(("127.0.0.1", alice.server.port)) as connection:
        head = f"POST /counted HTTP/1.1\r\nHost: {alice.domain}\r\nContent-Length: 1000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 10)
    assert alice.post("/counted", content=b"x" * 10).json() == {"size": 10}


def test_a_stream_that_fails_before_its_first_piece_is_an_error(alice: Person) -> None:
    answer = alice.get("/stream?fail_at=0")
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in answer.text


def test_a_stream_that_fails_later_is_seen_to_be_cut(alice: Person) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        alice.get("/stream?fail_at=2")
    assert alice.get("/stream?fail_at=9").content == b"piece" * 4


# -- guards and unreadable parameters


def test_a_guarded_route_that_does_not_ask_for_the_permit_gives_nothing_away(alice: Person) -> None:
    answer = alice.get("/careless", "io.cozy.things")
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_a_guarded_route_that_asks_answers(alice: Person) -> None:
    assert alice.get("/careful", "io.cozy.things").json() == {"kind": "oauth"}
    refused = alice.get("/careful", headers={"Accept": "application/json"})
    assert (refused.status_code, refused.json()) == (401, {"error": "No token in request"})


@pytest.mark.parametrize("query", ["", "?count=many"])
def test_a_parameter_that_cannot_be_read_is_a_bad_request(alice: Person, query: str) -> None:
    answer = alice.get(f"/number{query}")
    assert answer.status_code == 400
    assert "count" in answer.json()["errors"][0]["detail"]


def test_every_route_of_the_server_names_a_guard() -> None:
    from litestar import Litestar
    from litestar.handlers import HTTPRouteHandler

    from inglenook.identity.caller import DEPENDENCIES

    app = Litestar(route_handlers=parts.routes(), dependencies=dict(DEPENDENCIES), openapi_config=None)
    handlers = [
        handler
        for route in app.routes
        for handler in getattr(route, "route_handlers", [getattr(route, "route_handler", None)])
        if not (isinstance(handler, HTTPRouteHandler) and handler.http_methods == {"OPTIONS"})
    ]
    assert handlers
    nameless = [str(handler) for handler in handlers if handler.opt.get("guard") not in wire.GUARDS]
    assert nameless == []


def raw_get(person: Person, path: str) -> tuple[int, Any]:
    """A GET whose path is sent as it is, without a client that mends it."""
    with socket.create_connection(("127.0.0.1", person.server.port), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {person.domain}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), msgspec.json.decode(body) if b"json" in head else body
