"""Requests that are too large, too slow, too deep, or that unpack into too much."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.api.apps_workshop import add, install, packed
from tests.servers import Person, RunningServer

from inglenook import wire
from inglenook.apps import archives
from inglenook.kernel.errors import DomainError
from inglenook.web import serve

DEADLINE = 30.0  # seconds; what has to end does so long before


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with little patience."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serve, "HEADER_SECONDS", 1.0)
        patch.setattr(wire, "BODY_IDLE_SECONDS", 0.5)
        patch.setattr(wire, "BODY_SECONDS", 2.0)
        running = RunningServer(tmp_path_factory.mktemp("data")).start()
        yield running
        running.stop()


def connected(person: Person) -> socket.socket:
    return socket.create_connection(("127.0.0.1", person.server.port), timeout=DEADLINE)


def rest(connection: socket.socket) -> bytes:
    """What comes until the server hangs up."""
    answer = b""
    try:
        while piece := connection.recv(65536):
            answer += piece
    except ConnectionResetError:
        pass
    return answer


def status_line(connection: socket.socket) -> bytes:
    """The first line of the answer. Whether the connection ends with it is up to the HTTP server, which may go on
    waiting for the body without anything else being held."""
    answer = b""
    while b"\r\n" not in answer and (piece := connection.recv(65536)):
        answer += piece
    return answer.partition(b"\r\n")[0]


def test_a_head_that_never_ends_is_not_waited_for(alice: Person) -> None:
    with connected(alice) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {alice.domain}\r\nX-Slow: ".encode())
        rest(connection)  # returns when the server has hung up, else the time-out of the socket fails the test


def test_a_head_that_drips_is_not_waited_for(alice: Person) -> None:
    began = time.monotonic()
    with connected(alice) as connection:
        connection.settimeout(0.2)
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {alice.domain}\r\n".encode())
        while time.monotonic() - began < DEADLINE:
            try:
                connection.sendall(b"X")
                if connection.recv(1000) == b"":
                    return
            except TimeoutError:
                continue
            except OSError:
                return
    pytest.fail("the server still listens")


@pytest.mark.parametrize(
    "path", ["/auth/login", "/auth/register", "/permissions", "/data/io.cozy.tests/", "/settings/hint"]
)
def test_a_body_that_does_not_come_is_not_waited_for(alice: Person, path: str) -> None:
    token = alice.token("io.cozy.tests io.cozy.settings")
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {alice.domain}\r\nAuthorization: Bearer {token}\r\nAccept: application/json\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{"
    )
    method = "PUT" if path == "/settings/hint" else "POST"
    with connected(alice) as connection:
        connection.sendall(head.replace("POST", method, 1).encode())
        answer = status_line(connection)
    assert answer.startswith(b"HTTP/1.1 408 "), answer


def test_who_does_not_send_the_body_is_told_that_the_connection_ends(alice: Person) -> None:
    with connected(alice) as connection:
        head = f"POST /auth/login HTTP/1.1\r\nHost: {alice.domain}\r\nContent-Length: 100\r\n\r\n{{"
        connection.sendall(head.encode())
        answer = b""
        while b"\r\n\r\n" not in answer and (piece := connection.recv(65536)):
            answer += piece
        assert answer.startswith(b"HTTP/1.1 408 "), answer
        assert b"\r\nconnection: close\r\n" in answer.lower()
        told = time.monotonic()
        while connection.recv(65536):
            pass
        assert time.monotonic() - told < 5, "the connection ends when that was said"


def test_a_small_body_that_drips_ends_as_well(alice: Person) -> None:
    token = alice.token("io.cozy.tests")
    with connected(alice) as connection:
        connection.settimeout(0.2)
        connection.sendall(
            f"POST /data/io.cozy.tests/ HTTP/1.1\r\nHost: {alice.domain}\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n".encode()
        )
        began, answer = time.monotonic(), b""
        while not answer and time.monotonic() - began < DEADLINE:
            try:
                connection.sendall(b" ")
                answer = connection.recv(1000)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_an_upload_that_stalls_leaves_nothing_behind(alice: Person) -> None:
    token = alice.token("io.cozy.files")
    with connected(alice) as connection:
        connection.sendall(
            f"POST /files/io.cozy.files.root-dir?Type=file&Name=stalled.bin HTTP/1.1\r\nHost: {alice.domain}\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: application/octet-stream\r\nContent-Length: 5000000\r\n"
            "Connection: close\r\n\r\n".encode()
            + b"x" * 1_000_000
        )
        assert status_line(connection).startswith(b"HTTP/1.1 408 ")
    assert alice.get("/files/metadata?Path=/stalled.bin", "io.cozy.files").status_code == 404


def test_others_are_served_while_many_dawdle(alice: Person) -> None:
    slow = [connected(alice) for _ in range(200)]
    try:
        for connection in slow:
            connection.sendall(f"POST /auth/login HTTP/1.1\r\nHost: {alice.domain}\r\nContent-Length: 9\r\n".encode())
        assert alice.get("/public/prelogin").status_code == 200
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.parametrize("path", ["/auth/login", "/auth/register", "/auth/access_token", "/permissions", "/intents",
                                  "/settings/hint", "/data/io.cozy.tests/", "/sharings/"])  # fmt: skip
def test_a_body_without_end_is_cut(alice: Person, path: str) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(4000):
            yield b'{"a": "' + b"x" * 65536

    method = "PUT" if path == "/settings/hint" else "POST"
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {alice.token('io.cozy.tests io.cozy.settings io.cozy.sharings')}",
    }
    try:
        answer = alice.http.request(method, path, content=endless(), headers=headers)
    except httpx.TransportError:
        return  # cut off while it was sent
    assert answer.status_code in (400, 403, 413, 415)


def test_a_head_without_end_is_refused(alice: Person) -> None:
    with connected(alice) as connection:
        try:
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {alice.domain}\r\nX: ".encode() + b"x" * 2_000_000)
        except OSError:
            return
        answer = rest(connection)
    assert answer == b"" or answer.split(b" ")[1] in (b"400", b"413", b"431"), answer[:100]


@pytest.mark.parametrize(
    "path", ["/auth/register", "/permissions", "/intents", "/data/io.cozy.tests/", "/data/io.cozy.tests/_find"]
)
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_what_is_nested_too_deeply_is_refused(alice: Person, path: str, opening: str, closing: str) -> None:
    deep = (opening * 100_000 + "1" + closing * 100_000).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {alice.token('io.cozy.tests')}"}
    assert 400 <= alice.http.post(path, content=deep, headers=headers).status_code < 500


def test_a_compressed_body_is_not_unpacked(alice: Person) -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    headers = {
        "Content-Type": "application/json", "Content-Encoding": "gzip",
        "Authorization": f"Bearer {alice.token('io.cozy.tests')}",
    }  # fmt: skip
    assert alice.http.post("/data/io.cozy.tests/", content=bomb, headers=headers).status_code in (400, 415)


def test_a_form_of_very_many_fields_is_refused(alice: Person) -> None:
    body = "&".join(f"f{number}=1" for number in range(20_000))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert alice.http.post("/auth/access_token", content=body, headers=headers).status_code == 400


def test_a_number_of_impossible_length_is_refused(alice: Person) -> None:
    huge = "9" * 100_000
    token = alice.token("io.cozy.settings")
    answer = alice.put("/settings/passphrase", token=token, json_body={"iterations": huge, "current_passphrase": "x"})
    assert answer.status_code == 400
    body = f'{{"current_passphrase":"x","new_passphrase":"y","iterations":{huge}}}'
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    assert alice.http.put("/settings/passphrase", content=body, headers=headers).status_code in (400, 422)
    assert alice.get(f"/settings/clients?page[limit]={huge[:5000]}", "io.cozy.oauth.clients").status_code in (200, 422)


# -- archives of apps


def test_an_archive_that_unpacks_into_too_much_is_given_up(
    alice: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_UNPACKED", 1_000_000)
    bomb = tmp_path / "bomb.tar.gz"
    bomb.write_bytes(packed(extra=lambda tar: add(tar, "zeros.bin", b"\0" * 3_000_000)))
    assert bomb.stat().st_size < 100_000
    with pytest.raises(DomainError, match="too large"):
        install(alice, bomb, "bomb")
    assert alice.get("/apps/bomb", "io.cozy.apps").status_code == 404


@pytest.mark.parametrize("name", ["../evil.js", "/etc/evil", "a/../../evil", "a\\..\\evil", "./../evil", "a\nb"])
def test_an_archive_writes_nothing_outside(alice: Person, tmp_path: Path, name: str) -> None:
    archive = tmp_path / "slip.tar.gz"
    archive.write_bytes(packed(extra=lambda tar: add(tar, name, b"evil")))
    with pytest.raises(DomainError, match="impossible path"):
        install(alice, archive, "slip")


@pytest.mark.parametrize(
    "address", ["http://169.254.169.254/x.tar.gz", "http://[::1]:1/x.tar.gz", "http://10.0.0.1/x.tar"]
)
def test_in_production_an_archive_is_not_fetched_from_inside(
    tmp_path_factory: pytest.TempPathFactory, address: str
) -> None:
    server = RunningServer(tmp_path_factory.mktemp("data"), dev=False).start()
    try:
        carol = server.add("carol", passphrase="cozy")
        with pytest.raises(DomainError):
            install(carol, address, "inside")
    finally:
        server.stop()


def test_json_with_the_same_member_twice_means_one_thing(alice: Person) -> None:
    """What is checked is what is stored."""
    rule = '{"type":"io.cozy.tests","verbs":["GET"],"values":["1"],"type":"io.cozy.files"}'
    body = '{"data":{"attributes":{"permissions":{"a":' + rule + "}}}}"
    headers = {"Authorization": f"Bearer {alice.token('io.cozy.tests')}", "Content-Type": "application/json"}
    answer = alice.http.post("/permissions", content=body, headers=headers)
    if answer.status_code == 200:
        rules = json.loads(answer.text)["data"]["attributes"]["permissions"]
        assert rules["a"]["type"] == "io.cozy.tests"
    else:
        assert answer.status_code in (400, 403)
