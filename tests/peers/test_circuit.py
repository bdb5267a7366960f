"""A server that is gone costs its own callers a quick error, nobody else anything, and is found again."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from inglenook.peers.backoff import delay
from inglenook.peers.circuit import CEILING, THRESHOLD, Circuit
from inglenook.peers.errors import PeerCircuitOpen, PeerTimeout, PeerUnreachable
from inglenook.peers.peers import Peers
from inglenook.peers.states import EXCHANGES
from peers.street import FakeClock, Street, free_port, read_request

pytestmark = pytest.mark.anyio


async def ok(request: web.Request) -> web.Response:
    return web.Response(text="ok")


async def fail_until_open(peers: Peers, url: str) -> None:
    for _ in range(THRESHOLD):
        with pytest.raises(PeerUnreachable):
            await peers.request("GET", url)
    with pytest.raises(PeerCircuitOpen):
        await peers.request("GET", url)


# -- the delays


def test_delays_double_up_to_an_hour_with_a_quarter_of_jitter() -> None:
    assert [delay(n, 0.5) for n in range(5)] == [1, 2, 4, 8, 16]
    assert delay(40, 0.5) == delay(5000, 0.5) == 3600
    assert delay(0, 0.0) == 0.75
    assert delay(3, 0.999999) == pytest.approx(10)


# -- the circuit by itself


def test_a_closed_circuit_lets_everything_pass() -> None:
    circuit = Circuit()
    circuit.failed(0, 0.5, probe=False)
    circuit.succeeded()
    circuit.failed(0, 0.5, probe=False)
    circuit.failed(0, 0.5, probe=False)
    assert circuit.wait(0) == 0
    assert not circuit.is_open


def test_an_open_circuit_lets_one_probe_pass_after_its_delay() -> None:
    circuit = Circuit()
    for _ in range(THRESHOLD):
        circuit.failed(10, 0.5, probe=False)
    assert circuit.wait(10) == 1
    assert circuit.wait(11) == 0
    assert circuit.enter()
    assert circuit.wait(11) > 0
    circuit.failed(12, 0.5, probe=True)
    assert circuit.wait(12) == 2
    circuit.succeeded()
    assert circuit.wait(12) == 0


def test_failures_of_requests_already_on_their_way_do_not_lengthen_the_delay() -> None:
    circuit = Circuit()
    for _ in range(THRESHOLD + 10):
        circuit.failed(0, 0.5, probe=False)
    assert circuit.wait(0) == 1


def test_a_probe_given_up_leaves_the_place_to_another() -> None:
    circuit = Circuit()
    for _ in range(THRESHOLD):
        circuit.failed(0, 0.5, probe=False)
    assert circuit.enter()
    circuit.abandoned(probe=True)
    assert circuit.wait(1) == 0


def test_probes_are_at_most_five_minutes_apart() -> None:
    circuit = Circuit()
    now = 0.0
    for _ in range(THRESHOLD):
        circuit.failed(now, 0.5, probe=False)
    for _ in range(30):
        now += circuit.wait(now)
        circuit.failed(now, 0.5, probe=circuit.enter())
    assert circuit.wait(now) == CEILING


# -- at the door


async def test_after_failures_requests_fail_at_once_and_say_when_to_come_back(timed: Peers, clock: FakeClock) -> None:
    url = f"http://bob.localhost:{await free_port()}"
    await fail_until_open(timed, url)
    with pytest.raises(PeerCircuitOpen) as refused:
        await timed.request("GET", url)
    assert 0 < refused.value.retry_after <= 1.25
    state = timed.state(url)
    assert state is not None
    assert (state.state, state.failures, state.in_flight) == ("open", THRESHOLD, 0)
    assert state.next_try is not None
    assert "cannot be reached" in state.last_error


async def test_a_success_of_the_probe_closes_the_circuit_and_wakes_who_waits(
    timed: Peers, clock: FakeClock, street: Street
) -> None:
    port = await free_port()
    url = f"http://bob.localhost:{port}"
    woken: list[str] = []
    end = timed.on_recovery(url, lambda: woken.append("bob"))
    timed.on_recovery("http://carol.localhost:1", lambda: woken.append("carol"))
    await fail_until_open(timed, url)
    await street.web(("GET", "/", ok), port=port)
    with pytest.raises(PeerCircuitOpen):
        await timed.request("GET", url)
    clock.seconds += 2
    assert (await timed.request("GET", url)).status == 200
    assert woken == ["bob"]
    await timed.request("GET", url)
    assert woken == ["bob"]
    end()
    state = timed.state(url)
    assert state is not None
    assert (state.state, state.failures, state.waiting) == ("ok", 0, 0)


async def test_one_failed_probe_lengthens_the_wait(timed: Peers, clock: FakeClock) -> None:
    url = f"http://bob.localhost:{await free_port()}"
    await fail_until_open(timed, url)
    clock.seconds += 2
    with pytest.raises(PeerUnreachable):
        await timed.request("GET", url)
    with pytest.raises(PeerCircuitOpen) as refused:
        await timed.request("GET", url)
    assert refused.value.retry_after >= 1.5


async def test_an_operator_can_ask_for_a_try_now(timed: Peers, street: Street) -> None:
    port = await free_port()
    url = f"http://bob.localhost:{port}"
    await fail_until_open(timed, url)
    await street.web(("GET", "/", ok), port=port)
    assert timed.retry(f"bob.localhost:{port}")
    assert (await timed.request("GET", url)).status == 200
    assert not timed.retry("never-heard-of.example")


async def test_a_server_that_calls_us_is_tried_again_at_once(timed: Peers, street: Street) -> None:
    port = await free_port()
    url = f"http://bob.localhost:{port}"
    woken: list[str] = []
    timed.on_recovery(url, lambda: woken.append("bob"))
    await fail_until_open(timed, url)
    timed.heard_from(url)
    timed.heard_from(url)
    assert woken == ["bob"]
    await street.web(("GET", "/", ok), port=port)
    assert (await timed.request("GET", url)).status == 200
    timed.heard_from(url)
    assert woken == ["bob", "bob"]


async def test_a_proxy_without_its_server_is_an_illness_but_no_open_circuit(peers: Peers, street: Street) -> None:
    status = 502

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status)

    url = await street.web(("GET", "/", answer))
    woken: list[str] = []
    peers.on_recovery(url, lambda: woken.append("bob"))
    for _ in range(THRESHOLD + 2):
        assert (await peers.request("GET", url)).status == 502
    state = peers.state(url)
    assert state is not None
    assert state.state == "failing"
    assert woken == []
    status = 200
    await peers.request("GET", url)
    assert woken == ["bob"]


async def test_a_hanging_host_delays_no_other_host(peers: Peers, street: Street) -> None:
    arrived = asyncio.Semaphore(0)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.release()
        await asyncio.Event().wait()

    hanging = await street.raw(hang, name="carol")
    healthy = await street.web(("GET", "/", ok))
    stuck = [asyncio.create_task(peers.request("GET", hanging, timeout=30)) for _ in range(3 * EXCHANGES)]
    for _ in range(EXCHANGES):
        await arrived.acquire()
    answers = await asyncio.wait_for(asyncio.gather(*(peers.request("GET", healthy) for _ in range(50))), 5)
    assert {answer.status for answer in answers} == {200}
    assert arrived.locked()  # the hanging host got no more than its budget
    for task in stuck:
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)
    state = peers.state(hanging)
    assert state is not None
    assert state.in_flight == 0


async def test_waiting_for_a_place_is_part_of_the_time_allowed(peers: Peers, street: Street) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    url = await street.raw(hang)
    tries = [asyncio.create_task(peers.request("GET", url, timeout=0.3)) for _ in range(2 * EXCHANGES)]
    results = await asyncio.wait_for(asyncio.gather(*tries, return_exceptions=True), 5)
    assert {type(result) for result in results} <= {PeerTimeout, PeerCircuitOpen}


async def test_those_who_waited_for_a_place_fail_at_once_when_the_circuit_opens(peers: Peers, street: Street) -> None:
    arrived = asyncio.Semaphore(0)
    slam = asyncio.Event()

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.release()
        await slam.wait()

    url = await street.raw(cut)
    tries = [asyncio.create_task(peers.request("GET", url, timeout=30)) for _ in range(3 * EXCHANGES)]
    for _ in range(EXCHANGES):
        await arrived.acquire()
    slam.set()
    results = await asyncio.wait_for(asyncio.gather(*tries, return_exceptions=True), 5)
    assert sum(isinstance(result, PeerCircuitOpen) for result in results) == 2 * EXCHANGES


async def test_a_request_given_up_by_its_caller_frees_its_place(peers: Peers, street: Street) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await asyncio.Event().wait()

    url = await street.raw(hang)
    task = asyncio.create_task(peers.request("GET", url))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    state = peers.state(url)
    assert state is not None
    assert (state.in_flight, state.failures) == (0, 0)


async def test_the_list_of_peers_tells_latency_and_extensions(peers: Peers, street: Street) -> None:
    announced: dict[str, str] = {"Inglenook-Extensions": "batch=1, chunks=2;x=y, odd=yes, =3"}

    async def announce(request: web.Request) -> web.Response:
        return web.Response(headers=announced)

    url = await street.web(("GET", "/", announce))
    await peers.request("GET", url)
    [state] = peers.states()
    assert state.latency_ms is not None
    assert state.latency_ms > 0
    assert state.extensions == {"batch": 1, "chunks": 2}
    assert peers.extensions(url) == {"batch": 1, "chunks": 2}
    announced.clear()
    await peers.request("GET", url)
    assert peers.extensions(url) == {}
