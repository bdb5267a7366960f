"""Figures for Prometheus, on an address of their own (spec/10 §4): `INGLENOOK_METRICS=127.0.0.1:9090`.

What happens often is counted as it happens: requests by route and status. What has a state (other servers, readers
of the journal) is looked at when somebody asks. No figure names a document, a token or a person but by the domain of
an instance.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from inglenook.files.quota import disk_usage
from inglenook.identity.letters import LETTERS
from inglenook.kernel.errors import DomainError
from inglenook.sharing import steps

if TYPE_CHECKING:
    from inglenook.storage.documents.contract import Reader
    from inglenook.web.runtime import Runtime

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
"""Upper bounds of the request times, in seconds."""
MOST_INSTANCES = 500
"""Instances whose journal is told of, at most; beyond, those that were opened first."""
METRICS = "metrics"
_NAME = re.compile(r"[A-Za-z_:][\w:]*")
MOST_WAITING = 1000
"""Things of one kind that wait in an instance, as far as they are counted."""
STATES = ("ok", "failing", "open")

log = structlog.get_logger("inglenook.metrics")

Lags = dict[tuple[str, str], int]
"""How far a reader is behind the end of the journal, in sequence numbers, by instance and reader."""


@dataclass
class Found:
    """What was found when somebody asked: how far readers are behind; what waits by instance and kind (a step towards
    another server, or `sendmail`); bytes of files and versions by instance; seconds that the database
    and the folder take to answer; bytes free on the disk."""

    lags: Lags = field(default_factory=Lags)
    waiting: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    sizes: dict[str, int] = field(default_factory=dict[str, int])
    latencies: dict[str, float] = field(default_factory=dict[str, float])
    free: int = 0


class Metrics:
    """The figures of this process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "inglenook_request_seconds", "Requests by route and status, with the time they took",
            ("method", "route", "status"), buckets=BUCKETS, registry=self.registry,
        )  # fmt: skip
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request. `route` is the template of its path, empty when it reached none."""
        self._requests.labels(method, route, status).observe(seconds)


class MetricsServer:
    """Answers `GET /metrics` on the configured address, and nothing else."""

    def __init__(self, metrics: Metrics, runtime: Runtime) -> None:
        self._metrics = metrics
        self._runtime = runtime
        self._states = _States(runtime)
        metrics.registry.register(self._states)
        app = web.Application()
        app.router.add_get("/metrics", self._answer)
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> None:
        """Begin to answer; a taken address is told in the log, and the server runs without. Of several processes of one
        server the first one answers for all."""
        hub = self._runtime.hub
        if hub is not None:
            hub.replies[METRICS] = self._reply
        host, _, port = self._runtime.env.config.metrics.rpartition(":")
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host or "127.0.0.1", int(port)).start()
        except (OSError, ValueError) as error:
            if hub is not None and getattr(error, "errno", None) == errno.EADDRINUSE:
                return
            log.warning("no metrics", address=self._runtime.env.config.metrics, cause=str(error))

    async def stop(self) -> None:
        """End."""
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        hub = self._runtime.hub
        text = await self._text()
        if hub is not None:
            told = [[os.getpid(), text], *await hub.gather(METRICS)]
            text = side_by_side({str(pid): str(figures) for pid, figures in told})
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _reply(self) -> list[Any]:
        return [os.getpid(), await self._text()]

    async def _text(self) -> str:
        self._states.found = await look(self._runtime)
        return generate_latest(self._metrics.registry).decode()


def side_by_side(texts: Mapping[str, str]) -> str:
    """The figures of several processes in one text, each with the process in its label `process`."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for process, text in texts.items():
        name = ""
        for line in text.splitlines():
            if line.startswith("# "):
                name = line.split(" ", 3)[2]
                head = heads.setdefault(name, [])
                if line not in head:
                    head.append(line)
            elif line:
                end = _NAME.match(line)
                assert end is not None, line
                rest = line[end.end() :]
                labels = f'{{process="{process}"' + (f",{rest[1:]}" if rest.startswith("{") else f"}}{rest}")
                samples.setdefault(name, []).append(f"{end[0]}{labels}")
    return "\n".join(line for name in heads for line in (*heads[name], *samples.get(name, ()))) + "\n"


class _States(Collector):
    """The states of other servers and of the readers of the journal, at the moment of the question."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.found = Found()

    def collect(self) -> Iterator[Metric]:
        lag = GaugeMetricFamily(
            "inglenook_journal_lag", "How far behind a reader of the journal is", labels=("instance", "reader")
        )
        for labels, count in self.found.lags.items():
            lag.add_metric(labels, count)
        waiting = GaugeMetricFamily("inglenook_jobs_waiting", "What waits to be done", labels=("instance", "worker"))
        for labels, count in self.found.waiting.items():
            waiting.add_metric(labels, count)
        size = GaugeMetricFamily("inglenook_files_bytes", "Bytes of files and versions", labels=("instance",))
        for instance, count in self.found.sizes.items():
            size.add_metric((instance,), count)
        storage = GaugeMetricFamily("inglenook_storage_seconds", "Time that a part takes to answer", labels=("part",))
        for part, seconds in self.found.latencies.items():
            storage.add_metric((part,), seconds)
        free = GaugeMetricFamily("inglenook_disk_free_bytes", "Room on the disk of the data folder", self.found.free)
        yield from (lag, waiting, size, storage, free)
        circuit = GaugeMetricFamily("inglenook_peer_circuit", "State of another server (1)", labels=("host", "state"))
        failures = GaugeMetricFamily("inglenook_peer_failures", "Failures in a row of another server", labels=("host",))
        waiting = GaugeMetricFamily("inglenook_peer_waiting", "Who waits for another server", labels=("host",))
        latency = GaugeMetricFamily("inglenook_peer_latency_seconds", "Mean time of its answers", labels=("host",))
        for peer in self._runtime.peers.states():
            for state in STATES:
                circuit.add_metric((peer.host, state), peer.state == state)
            failures.add_metric((peer.host,), peer.failures)
            waiting.add_metric((peer.host,), peer.waiting)
            if peer.latency_ms is not None:
                latency.add_metric((peer.host,), peer.latency_ms / 1000)
        yield from (circuit, failures, waiting, latency)


async def look(runtime: Runtime) -> Found:
    """Look at the instances that are open, and at the storage."""
    found = Found()
    for instance in runtime.instances.opened()[:MOST_INSTANCES]:
        try:
            behind, waiting, size = await instance.store.read(
                lambda view: (_behind(view), _waiting(view), disk_usage(view).total)
            )
        except DomainError:  # taken down meanwhile, or its database is out of reach (which /status tells)
            continue
        domain = instance.domain
        found.lags.update({(domain, reader): count for reader, count in behind.items()})
        found.waiting.update({(domain, worker): count for worker, count in waiting.items()})
        found.sizes[domain] = size
    found.latencies, _ = await runtime.probe()
    space = await asyncio.to_thread(os.statvfs, runtime.folder)
    found.free = space.f_bavail * space.f_frsize
    return found


def _waiting(view: Reader) -> Counter[str]:
    """What waits, at most `MOST_WAITING` of each kind."""
    waiting = Counter(claim.waiting.step for claim in steps.all_waiting(view, limit=MOST_WAITING))
    letters = len(view.records(LETTERS, limit=MOST_WAITING))
    return waiting + Counter(sendmail=letters)


def _behind(view: Reader) -> dict[str, int]:
    last = view.last_seq()
    return {reader: max(last - seq, 0) for reader, seq in view.checkpoints().items()}
