"""Real servers for the tests of the distributed storage: PostgreSQL, Redis and an S3 server, each in a temporary folder
and on a free port or a socket of its own.

PostgreSQL refuses to run as root; it runs as the user that its Debian package makes then.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
from tests.servers import free_port

BUCKET = "inglenook"
REDIS_DATABASES = 10_000
PATIENCE = 60.0  # seconds for a server to answer


class NotInstalled(Exception):
    """A program that these tests need; `scripts/setup --dev` installs it."""


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL server; gives the connection string of its database."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise NotInstalled("postgresql")
    binaries, user = found[-1].parent, _ordinary_user()
    with _folder("inglenook-postgres-", user) as folder:
        data = folder / "data"
        initdb = [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale", "C", "-N"]
        subprocess.run([*_as(user), *map(str, initdb)], check=True, capture_output=True, cwd=folder)
        # What we test is killed processes of ours, not of PostgreSQL: it need not wait for the disk.
        settings = {"listen_addresses": "", "unix_socket_directories": folder, "fsync": "off", "max_connections": 200,
                    "shared_buffers": "64MB", "autovacuum_naptime": "5s"}  # fmt: skip
        command = [binaries / "postgres", "-D", data, *(f"-c{name}={value}" for name, value in settings.items())]
        url = f"postgresql:///postgres?host={quote(str(folder), safe='')}&user=postgres"
        with _running(
            [*_as(user), *map(str, command)], folder, lambda: psycopg.connect(url).close(), end=signal.SIGINT
        ):
            yield url


def schema_url(url: str, folder: Path) -> str:
    """A database of its own for a folder: a schema, made when it is missing."""
    name = "s" + hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {name}")
    return f"{url}&options=-csearch_path%3D{name}"


def objects_url(url: str, folder: Path) -> str:
    """A place of its own in the bucket for a folder."""
    bucket, _, options = url.partition("?")
    return f"{bucket}/{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}?{options}"


@contextmanager
def redis() -> Iterator[str]:
    """A Redis server; gives its URL."""
    program = shutil.which("redis-server")
    if program is None:
        raise NotInstalled("redis-server")
    with _folder("inglenook-redis-", None) as folder:
        port = free_port()
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder),
                   "--databases", str(REDIS_DATABASES)]  # fmt: skip
        with _running(command, folder, lambda: socket.create_connection(("127.0.0.1", port), 1).close()):
            yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def object_store() -> Iterator[str]:
    """An S3 server with a bucket; gives the URL for `ObjectBlobStores`."""
    with _folder("inglenook-s3-", None) as folder:
        port = free_port()
        endpoint = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]

        def make_bucket() -> None:
            request = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")
            request.add_header("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request")
            urllib.request.urlopen(request, timeout=10).close()

        with _running(command, folder, make_bucket, end=signal.SIGKILL):
            yield f"s3://{BUCKET}?endpoint={quote(endpoint, safe='')}&access_key_id=test&secret_access_key=test"


@contextmanager
def _running(
    command: Sequence[str], folder: Path, probe: Callable[[], None], end: signal.Signals = signal.SIGTERM
) -> Iterator[None]:
    """A server process, from its first answer on."""
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                probe()
                break
            except (OSError, psycopg.OperationalError):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError((folder / "log").read_text()) from None
                time.sleep(0.02)
        yield
    finally:
        process.send_signal(end)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _folder(prefix: str, user: str | None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    if user is not None:
        shutil.chown(folder, user)
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ordinary_user() -> str | None:
    return "postgres" if os.geteuid() == 0 else None


def _as(user: str | None) -> list[str]:
    return [] if user is None else ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--pdeathsig", "INT"]
