"""The demonstration does what the README says of it: with processes, data folders and ports of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

PORT = str(20_000 + os.getpid() % 5_000 * 2)
"""Of this process of the tests alone, so that several may run side by side."""
DEMO = (sys.executable, "-m", "inglenook.cli", "demo")


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment whose temporary files are in a folder of the test, where nothing may be left."""
    yield {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(180)
def test_with_check_it_compares_both_sides_and_ends_well(environ: dict[str, str]) -> None:
    done = subprocess.run([*DEMO, "--check", "--port", PORT], env=environ, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^OK: \d+ files in \d+ folders are equal on both servers, byte for byte$", done.stdout, re.M)
    assert "\x1b" not in done.stdout


@pytest.mark.timeout(180)
def test_without_check_it_stays_up_until_ctrl_c_and_leaves_nothing(environ: dict[str, str]) -> None:
    with subprocess.Popen([*DEMO, "--port", PORT], env=environ, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        shown = ""
        for line in demo.stdout:
            shown += line
            if "until you press Ctrl-C" in line:
                break
        assert "until you press Ctrl-C" in shown, shown
        ports = {int(port) for port in re.findall(r"http://\w+\.localhost:(\d+)/auth/login", shown)}
        for port in ports:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/version", timeout=10) as answer:
                assert answer.status == 200
        pids = [int(pid) for pid in re.findall(r"process (\d+)", shown)]
        demo.send_signal(signal.SIGINT)
        demo.stdout.read()
        assert demo.wait(30) == 0
    assert len(ports) == 2
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


def test_ports_that_are_taken_are_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        done = subprocess.run([*DEMO, "--check", "--port", str(port)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"{port}" in done.stderr
    assert "--port" in done.stderr
