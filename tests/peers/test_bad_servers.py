"""Whatever another server does, the answer is a clear error in the time allowed, or the truth."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from inglenook.peers.errors import PeerGarbage, PeerTimeout, PeerUnreachable
from inglenook.peers.peers import Limits, Peers
from peers.street import Street, free_port, read_request

pytestmark = pytest.mark.anyio
SOON = 0.3


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def test_a_server_that_refuses_connections_is_unreachable(peers: Peers) -> None:
    with pytest.raises(PeerUnreachable, match=r"bob\.localhost"):
        await peers.request("GET", f"http://bob.localhost:{await free_port()}/")


async def test_an_unknown_name_is_unreachable(peers: Peers) -> None:
    with pytest.raises(PeerUnreachable):
        await peers.request("GET", "http://no-such-host.invalid/")


async def test_a_server_that_never_answers_times_out(peers: Peers, street: Street) -> None:
    with pytest.raises(PeerTimeout):
        await peers.request("GET", await street.raw(hang), timeout=SOON)


async def test_a_server_that_stops_in_the_body_times_out(peers: Peers, street: Street) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await asyncio.Event().wait()

    with pytest.raises(PeerTimeout):
        await peers.request("GET", await street.raw(half), timeout=SOON)


async def test_a_slow_drip_ends_at_the_total_time(peers: Peers, street: Street) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.02)

    with pytest.raises(PeerTimeout):
        await peers.request("GET", await street.raw(drip), timeout=SOON)


async def test_a_body_without_end_is_cut_at_the_limit(peers: Peers, street: Street) -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    with pytest.raises(PeerGarbage, match="too large"):
        await peers.request("GET", await street.raw(flood), max_body=1_000_000)
    assert sent < 50_000_000


async def test_a_body_announced_too_large_is_not_read(peers: Peers, street: Street) -> None:
    async def announce(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n")
        await asyncio.Event().wait()

    with pytest.raises(PeerGarbage, match="too large"):
        await peers.request("GET", await street.raw(announce))


@pytest.mark.parametrize(
    "noise",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\xff\x00\xff\r\n\r\n",
        b"HTTP/1.1 two hundred OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot-hex\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain",
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"a" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_garbage(peers: Peers, street: Street, noise: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(noise)
        await writer.drain()

    with pytest.raises((PeerGarbage, PeerUnreachable)):
        await peers.request("GET", await street.raw(speak), timeout=5)


async def test_a_connection_closed_without_an_answer_is_unreachable(peers: Peers, street: Street) -> None:
    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)

    with pytest.raises(PeerUnreachable):
        await peers.request("GET", await street.raw(slam))


@pytest.mark.parametrize("status", [404, 409, 500, 503])
async def test_an_answer_is_given_whatever_its_status(peers: Peers, street: Street, status: int) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"error": "no"}, status=status)

    url = await street.web(("GET", "/x", refuse))
    response = await peers.request("GET", f"{url}/x")
    assert (response.status, response.ok, response.json()) == (status, False, {"error": "no"})


async def test_a_body_that_is_no_json_is_garbage_when_json_is_wanted(peers: Peers, street: Street) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<h1>hello</h1>")

    response = await peers.request("GET", await street.web(("GET", "/", page)))
    with pytest.raises(PeerGarbage):
        response.json()


async def test_percent_encoding_reaches_the_other_side_untouched(peers: Peers, street: Street) -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.Response(text=request.raw_path)

    url = await street.web(("GET", "/{rest:.*}", echo))
    response = await peers.request("GET", f"{url}/a%2Fb%20c?Path=%2Fd+e")
    assert response.body == b"/a%2Fb%20c?Path=%2Fd+e"


async def test_servers_present_themselves_as_the_wire_wants(peers: Peers, street: Street) -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.json_response(dict(request.headers))

    headers = (await peers.request("GET", await street.web(("GET", "/", echo)))).json()
    assert headers["User-Agent"] == "go-cozy-client"
    assert "Cookie" not in headers


async def test_cookies_are_not_kept(peers: Peers, street: Street) -> None:
    async def echo(request: web.Request) -> web.Response:
        response = web.json_response(dict(request.cookies))
        response.set_cookie("cozysessid", "x")
        return response

    url = await street.web(("GET", "/", echo))
    await peers.request("GET", url)
    assert (await peers.request("GET", url)).json() == {}


# -- contents


async def pieces(count: int, size: int) -> AsyncIterator[bytes]:
    for number in range(count):
        yield bytes([number % 256]) * size


async def test_a_streamed_body_arrives_whole_and_chunked(peers: Peers, street: Street) -> None:
    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        return web.json_response({"size": len(body), "te": request.headers.get("Transfer-Encoding")})

    url = await street.web(("PUT", "/", receive))
    response = await peers.request("PUT", url, body=lambda: pieces(40, 65536))
    assert response.json() == {"size": 40 * 65536, "te": "chunked"}


async def test_the_time_that_our_own_source_takes_is_not_counted(peers: Peers, street: Street) -> None:
    async def receive(request: web.Request) -> web.Response:
        size = 0
        async for chunk in request.content.iter_any():
            size += len(chunk)
        return web.json_response(size)

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(3):
            await asyncio.sleep(0.3)
            yield b"x" * 2000

    url = await street.web(("PUT", "/", receive))
    response = await peers.request("PUT", url, body=slow, timeout=Limits(total=None, stall=0.1, answer=5))
    assert response.json() == 6000


async def test_a_transfer_that_moves_may_take_longer_than_the_stall_limit(peers: Peers, street: Street) -> None:
    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_request(reader)
        assert b"chunked" in head
        left = 40 * 65536
        while left > 0:
            left -= len(await reader.read(65536))
            await asyncio.sleep(0.02)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    url = await street.raw(slowly)
    response = await peers.request(
        "PUT", url, body=lambda: pieces(40, 65536), timeout=Limits(total=None, stall=SOON, answer=10)
    )
    assert response.status == 204


async def test_a_receiver_that_stops_reading_stalls_the_transfer(peers: Peers, street: Street) -> None:
    url = await street.raw(hang)
    with pytest.raises(PeerTimeout):
        await peers.request(
            "PUT", url, body=lambda: pieces(2000, 65536), timeout=Limits(total=None, stall=SOON, answer=5)
        )


async def test_a_receiver_that_never_answers_a_content_times_out(peers: Peers, street: Street) -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass

    url = await street.raw(swallow)
    with pytest.raises(PeerTimeout):
        await peers.request("PUT", url, body=lambda: pieces(3, 10), timeout=Limits(total=None, stall=5, answer=SOON))


async def test_an_error_of_our_own_source_is_told_as_it_is(peers: Peers, street: Street) -> None:
    class DiskGone(RuntimeError):
        pass

    async def broken() -> AsyncIterator[bytes]:
        yield b"begin"
        raise DiskGone

    async def receive(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    url = await street.web(("PUT", "/", receive))
    with pytest.raises(DiskGone):
        await peers.request("PUT", url, body=broken)
    state = peers.state(url)
    assert state is not None
    assert state.failures == 0


async def test_an_early_refusal_of_a_large_body_is_seen(peers: Peers, street: Street) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        await writer.drain()
        await asyncio.Event().wait()

    url = await street.raw(refuse)
    response = await peers.request("PUT", url, body=lambda: pieces(5000, 65536), timeout=5)
    assert response.status == 413


async def test_a_large_answer_is_streamed(peers: Peers, street: Street) -> None:
    async def give(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(200):
            await response.write(b"y" * 65536)
        return response

    url = await street.web(("GET", "/", give))
    size = 0
    async with peers.stream("GET", url) as stream:
        assert stream.status == 200
        async for chunk in stream.chunks():
            size += len(chunk)
    assert size == 200 * 65536


async def test_a_streamed_answer_that_stalls_times_out(peers: Peers, street: Street) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await asyncio.Event().wait()

    url = await street.raw(half)
    received = bytearray()

    async def read() -> None:
        async with peers.stream("GET", url, timeout=Limits(total=None, stall=SOON, answer=5)) as stream:
            async for chunk in stream.chunks():
                received.extend(chunk)

    with pytest.raises(PeerTimeout):
        await read()
    assert received == b"half"


async def test_a_streamed_answer_that_is_cut_is_an_error_and_no_end(peers: Peers, street: Street) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    async def read() -> None:
        async with peers.stream("GET", url) as stream:
            async for _ in stream.chunks():
                pass

    url = await street.raw(half)
    with pytest.raises(PeerGarbage):
        await read()


# -- kept connections


async def test_connections_are_kept_and_used_again(peers: Peers, street: Street) -> None:
    connections = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await read_request(reader)
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    url = await street.raw(answer)
    for _ in range(5):
        assert (await peers.request("POST", url)).status == 204
    assert connections == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
async def test_a_kept_connection_closed_meanwhile_is_no_failure(peers: Peers, street: Street, method: str) -> None:
    bodies: list[bytes] = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one request, and cuts the connection at the second."""
        await read_request(reader)
        bodies.append(await reader.readexactly(len(b"5\r\nhello\r\n0\r\n\r\n")))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")

    async def hello() -> AsyncIterator[bytes]:
        yield b"hello"

    url = await street.raw(once)
    for _ in range(3):
        assert (await peers.request(method, url, body=hello, timeout=5)).status == 200
    assert bodies == [b"5\r\nhello\r\n0\r\n\r\n"] * 3
