"""The server process: lock, control socket, graceful end, speed of start (spec/10 §3)."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from .conftest import COMMAND, Operator, wait_for


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_with_success(operator: Operator, number: int) -> None:
    process = operator.serve()
    assert operator.stop(process, number) == 0
    assert not (operator.data / "control.sock").exists()
    assert operator.stop(operator.serve(), number) == 0, "and it starts again"


def test_a_second_server_is_refused_with_the_pid_of_the_first(operator: Operator) -> None:
    process = operator.serve()
    message = operator.refused("serve", "--port", str(operator.port + 1))
    assert str(process.pid) in message
    assert httpx.get(f"{operator.origin}/version", trust_env=False).status_code == 200


def test_a_port_in_use_is_refused(operator: Operator, tmp_path: Path) -> None:
    operator.serve()
    other = Operator(tmp_path / "other", port=operator.port)
    other.folder.mkdir()
    assert str(operator.port) in other.refused("serve", "--port", str(operator.port))


def test_a_lock_left_by_a_killed_server_is_taken_over(operator: Operator) -> None:
    process = operator.serve()
    alice = operator.domain("alice")
    operator.ask("instances", "add", alice, "--passphrase", "cozy")
    process.kill()
    process.wait()
    assert operator.ask("instances", "count") == "1 instance"
    operator.serve()
    assert operator.ask("instances", "count") == "1 instance"


def test_a_running_request_is_finished_before_the_end(operator: Operator) -> None:
    process = operator.serve()
    alice = operator.domain("alice")
    operator.ask("instances", "add", alice, "--passphrase", "cozy")
    token = operator.ask("instances", "token-cli", alice, "io.cozy.files")
    head = (
        f"POST /files/?Type=file&Name=a.txt HTTP/1.1\r\nHost: {alice}\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: text/plain\r\nContent-Length: 10\r\nConnection: close\r\n\r\n"
    )
    before = sockets_of(process)
    with socket.create_connection(("127.0.0.1", operator.port), timeout=20) as connection:
        connection.sendall(head.encode() + b"01234")
        wait_for(lambda: sockets_of(process) - before, "the request has begun")
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: "stopping" in operator.log(), "the server has heard")
        wait_for(lambda: not takes_connections(operator.port), "no request is taken any more")
        connection.sendall(b"56789")
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 201")
    assert process.wait(20) == 0


def test_a_command_sees_and_changes_the_running_server_at_once(operator: Operator) -> None:
    operator.serve()
    alice = operator.domain("alice")
    operator.ask("instances", "add", alice, "--passphrase", "cozy")
    login = httpx.get(f"{operator.origin}/auth/login", headers={"Host": alice}, trust_env=False)
    assert login.status_code == 200
    operator.ask("instances", "modify", alice, "--blocked")
    assert httpx.get(f"{operator.origin}/auth/login", headers={"Host": alice}, trust_env=False).status_code == 503
    operator.ask("instances", "rm", alice, "--force")
    assert httpx.get(f"{operator.origin}/auth/login", headers={"Host": alice}, trust_env=False).status_code == 404


def test_the_data_folder_is_private(operator: Operator) -> None:
    operator.serve()
    assert stat.S_IMODE(operator.data.stat().st_mode) == 0o700
    assert stat.S_IMODE((operator.data / "control.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE((operator.data / "lock").stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can do harm to the folder of another user")
def test_root_leaves_nothing_in_the_folder_of_another_user(operator: Operator) -> None:
    operator.data.mkdir()
    os.chown(operator.data, 65534, 65534)
    for words in (("instances", "add", "alice.localhost"), ("serve", "--port", str(operator.port))):
        assert "belongs to nobody; run this as that user: sudo -u nobody" in operator.refused(*words)
    assert list(operator.data.iterdir()) == []


def test_a_data_folder_with_a_long_path_is_served_and_controlled(operator: Operator, tmp_path: Path) -> None:
    deep = tmp_path / ("long-name-" * 12) / ("another-" * 10)
    deep.mkdir(parents=True)
    somebody = Operator(deep, port=operator.port)
    operator.processes.append(somebody.serve())
    somebody.ask("instances", "add", somebody.domain("alice"), "--passphrase", "cozy")
    assert somebody.ask("instances", "count") == "1 instance"


def test_commands_that_come_while_the_server_starts_are_executed(operator: Operator) -> None:
    operator.start()
    operator.ask("instances", "add", operator.domain("alice"), "--passphrase", "cozy")
    wait_for(lambda: "listening" in operator.log(), "the server runs")
    assert operator.ask("instances", "count") == "1 instance"


def test_commands_without_a_server_wait_for_each_other(operator: Operator) -> None:
    names = ["alice", "bob", "carol"]
    threads = [
        threading.Thread(target=operator.ask, args=("instances", "add", operator.domain(name), "--passphrase", "cozy"))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert operator.ask("instances", "count") == "3 instances"


def test_a_command_ends_when_its_terminal_goes_away(operator: Operator) -> None:
    operator.serve()
    alice = operator.domain("alice")
    operator.ask("instances", "add", alice, "--passphrase", "cozy")
    waiting = subprocess.Popen(
        [*COMMAND, "instances", "rm", alice], env=operator.environment(), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert waiting.stderr is not None
    assert b"Delete" in waiting.stderr.read(10) + waiting.stderr.read(10)
    waiting.kill()
    waiting.communicate()
    assert operator.ask("instances", "count") == "1 instance"


def test_logs_are_one_event_per_line_and_hold_no_secrets(operator: Operator) -> None:
    process = operator.serve()
    alice = operator.domain("alice")
    operator.ask("instances", "add", alice, "--passphrase", "correct-horse")
    token = operator.ask("instances", "token-cli", alice, "io.cozy.files")
    headers = {"Host": alice, "Authorization": f"Bearer {token}"}
    answer = httpx.get(
        f"{operator.origin}/files/io.cozy.files.root-dir?state=battery&bearer_token={token}",
        headers=headers,
        trust_env=False,
    )
    operator.stop(process)
    events = [json.loads(line) for line in operator.log().splitlines()]
    request = next(event for event in events if event.get("request_id") == answer.headers["x-request-id"])
    assert (request["instance"], request["method"], request["status"]) == (alice, "GET", answer.status_code)
    for secret in (token, "battery", "correct-horse"):
        assert secret not in operator.log()


def takes_connections(port: int) -> bool:
    """Whether somebody listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def sockets_of(process: subprocess.Popen[bytes]) -> set[str]:
    """The sockets that a process has open."""
    sockets: set[str] = set()
    for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            sockets.add(os.readlink(descriptor))
    return {name for name in sockets if name.startswith("socket:")}
