"""The figures that a server gives on an address of its own (spec/10 §4)."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.servers import RunningServer, free_port

from inglenook.identity import letters

Labels = frozenset[tuple[str, str]]


@pytest.fixture
def watched(tmp_path: Path) -> tuple[RunningServer, int]:
    port = free_port()
    return RunningServer(tmp_path, metrics=f"127.0.0.1:{port}"), port


def figures(port: int) -> dict[tuple[str, Labels], float]:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).raise_for_status().text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def labels(**values: str) -> Labels:
    return frozenset(values.items())


def test_requests_readers_and_peers_are_told(watched: tuple[RunningServer, int]) -> None:
    server, port = watched
    server.start()
    try:
        alice = server.add("alice", passphrase="cozy")
        for n in range(3):
            alice.put(f"/data/io.cozy.tests/{n}", "io.cozy.tests", json={}).raise_for_status()
        alice.get("/data/io.cozy.tests/nothing", "io.cozy.tests")
        server.do(lambda runtime: alice.instance.store.write(lambda tx: tx.set_checkpoint("a-reader", 1)))
        seen = figures(port)
        route = "/data/{doctype}/{docid}"
        count = "inglenook_request_seconds_count"
        assert seen[count, labels(method="PUT", route=route, status="200")] == 3
        assert seen[count, labels(method="GET", route=route, status="404")] == 1
        domain = alice.instance.domain
        assert seen["inglenook_journal_lag", labels(instance=domain, reader="a-reader")] > 0
        assert seen["inglenook_storage_seconds", labels(part="database")] > 0
        assert seen["inglenook_disk_free_bytes", labels()] > 0
        assert seen["inglenook_files_bytes", labels(instance=domain)] == 0
        later = server.env.clock.now().timestamp() + 3600
        server.do(lambda runtime: alice.instance.store.write(lambda tx: letters.post(tx, "archiver", {}, later)))
        alice.post("/files/?Type=file&Name=a.txt", "io.cozy.files", content=b"1234").raise_for_status()
        seen = figures(port)
        assert seen["inglenook_jobs_waiting", labels(instance=domain, worker="sendmail")] == 1
        assert seen["inglenook_files_bytes", labels(instance=domain)] == 4
        assert httpx.get(f"http://127.0.0.1:{port}/data/", trust_env=False).status_code == 404
        assert alice.http.get("/metrics").status_code == 404
    finally:
        server.stop()


def test_a_taken_address_does_not_stop_the_server(tmp_path: Path, server: RunningServer) -> None:
    other = RunningServer(tmp_path, metrics=f"127.0.0.1:{server.port}").start()
    try:
        assert httpx.get(f"{other.origin}/version", trust_env=False).status_code == 200
    finally:
        other.stop()
