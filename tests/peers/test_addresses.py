"""What must not be contacted is not: not by a literal address, a name, a redirect, nor a name that changes."""

from __future__ import annotations

import pytest
from aiohttp import web

from inglenook.environment import Config, Environment
from inglenook.peers.addresses import AddressPolicy, host_of, origin_of
from inglenook.peers.errors import PeerForbiddenAddress, PeerUnreachable
from inglenook.peers.network import AiohttpTransport
from inglenook.peers.peers import Peers
from inglenook.peers.transport import PeerRequest
from peers.street import Street, read_request

pytestmark = pytest.mark.anyio

PRIVATE = [
    "10.0.0.1",
    "172.16.5.4",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a00:1",
    "2002:a00:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "not an address",
    "",
]
LOOPBACK = ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"]
PUBLIC = ["93.184.215.14", "1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.mark.parametrize("address", PRIVATE)
@pytest.mark.parametrize("development", [False, True])
def test_private_addresses_are_refused_everywhere(address: str, development: bool) -> None:
    assert not AddressPolicy(development).allows(address)


@pytest.mark.parametrize("address", LOOPBACK)
def test_loopback_is_for_development(address: str) -> None:
    assert AddressPolicy(development=True).allows(address)
    assert not AddressPolicy(development=False).allows(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert AddressPolicy(development=False).allows(address)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://bob.example/",
        "gopher://bob.example/",
        "javascript:alert(1)",
        "http://",
        "https:///path",
        "bob.example",
        "//bob.example/",
        "http://user:secret@bob.example/",
        "http://user@bob.example/",
        "http://bob.example:99999/",
        "http://bob.example:port/",
        "http://[::1",
        "http://bob.example/\r\nX-Injected: yes",
        "http://bob .example/",
        "",
    ],
)
async def test_what_is_no_web_address_is_refused(peers: Peers, url: str) -> None:
    with pytest.raises(PeerForbiddenAddress):
        await peers.request("GET", url)


async def resolve_to_nowhere(host: str, port: int) -> list[str]:
    raise AssertionError("no look-up should happen")


@pytest.fixture
async def production() -> Peers:
    return Peers(Environment(Config()))


@pytest.mark.parametrize("url", ["https://bob.example:8443/", "http://bob.example:22/", "https://bob.example:80801/"])
async def test_other_ports_are_not_contacted(production: Peers, url: str) -> None:
    with pytest.raises(PeerForbiddenAddress):
        await production.request("GET", url)
    await production.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://localhost/",
        "http://alice.localhost/",
        "http://ALICE.LOCALHOST./",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://0177.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "https://10.0.0.1/",
    ],
)
async def test_production_reaches_nothing_of_its_own(production: Peers, url: str) -> None:
    with pytest.raises((PeerForbiddenAddress, PeerUnreachable)) as refused:
        await production.request("GET", url, timeout=5)
    await production.close()
    # a strange spelling may be no host at all for the resolver; what counts is that nobody was contacted
    assert isinstance(refused.value, PeerForbiddenAddress) or "unknown" in str(refused.value)


async def test_a_name_that_leads_inside_is_refused(street: Street) -> None:
    contacted = False

    async def note(request: web.Request) -> web.Response:
        nonlocal contacted
        contacted = True
        return web.Response()

    async def inside(host: str, port: int) -> list[str]:
        return ["127.0.0.1", "::1"]

    url = (await street.web(("GET", "/", note))).replace("bob.localhost", "bob.example")
    transport = AiohttpTransport(AddressPolicy(development=False), lookup=inside)
    with pytest.raises(PeerForbiddenAddress):
        await transport.send(PeerRequest("GET", url))
    await transport.close()
    assert not contacted


async def test_only_the_allowed_addresses_of_a_name_are_tried(street: Street) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    async def mixed(host: str, port: int) -> list[str]:
        return ["169.254.169.254", "127.0.0.1"]

    url = (await street.web(("GET", "/", answer))).replace("bob.localhost", "bob.example")
    transport = AiohttpTransport(AddressPolicy(development=True), lookup=mixed)
    response = await transport.send(PeerRequest("GET", url))
    await transport.close()
    assert response.body == b"hello"


async def test_a_name_that_changes_its_mind_is_judged_at_each_connection(street: Street) -> None:
    """DNS rebinding: the name is harmless when it is looked at first, and leads inside when it is connected to."""
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])

    async def rebinding(host: str, port: int) -> list[str]:
        return next(answers)

    async def once(reader: object, writer: object) -> None:
        await read_request(reader)  # type: ignore[arg-type]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")  # type: ignore[attr-defined]

    url = (await street.raw(once)).replace("bob.localhost", "bob.example")
    transport = AiohttpTransport(AddressPolicy(development=True), lookup=rebinding, remember_names=0)
    assert (await transport.send(PeerRequest("GET", url))).status == 200
    with pytest.raises(PeerForbiddenAddress):
        await transport.send(PeerRequest("GET", url))
    await transport.close()


async def test_the_system_resolver_is_not_asked_for_localhost_names(street: Street) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.host)

    url = await street.web(("GET", "/", answer), name="drive.alice")
    transport = AiohttpTransport(AddressPolicy(development=True), lookup=resolve_to_nowhere)
    assert (await transport.send(PeerRequest("GET", url))).body.startswith(b"drive.alice.localhost")
    await transport.close()


# -- redirects


def leads_to(location: str, status: int = 302) -> object:
    async def redirect(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": location})

    return redirect


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://bob.example/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fc00::1]/",
        "http://user:pass@bob.localhost/",
        "http://[broken/",
    ],
)
async def test_a_redirect_is_judged_like_any_address(peers: Peers, street: Street, location: str) -> None:
    url = await street.web(("GET", "/", leads_to(location)))  # type: ignore[arg-type]
    with pytest.raises(PeerForbiddenAddress):
        await peers.request("GET", url, timeout=5)


async def test_redirects_without_end_are_ended(peers: Peers, street: Street) -> None:
    requests = 0

    async def again(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        return web.Response(status=307, headers={"Location": f"/{requests}"})

    url = await street.web(("GET", "/{rest:.*}", again))
    with pytest.raises(PeerForbiddenAddress):
        await peers.request("GET", url)
    assert requests == 6


async def echo(request: web.Request) -> web.Response:
    return web.json_response(
        {
            "method": request.method,
            "body": (await request.read()).decode(),
            "authorization": request.headers.get("Authorization"),
            "path": request.raw_path,
        }
    )


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_keeps_method_and_body(peers: Peers, street: Street, status: int) -> None:
    url = await street.web(("POST", "/old", leads_to("/new?x=%2F", status)), ("POST", "/new", echo))  # type: ignore[arg-type]
    response = await peers.request("POST", f"{url}/old", body=b"hello", headers={"Authorization": "Bearer t"})
    assert response.json() == {"method": "POST", "body": "hello", "authorization": "Bearer t", "path": "/new?x=%2F"}
    assert response.url == f"{url}/new?x=%2F"


async def test_see_other_is_followed_by_a_get(peers: Peers, street: Street) -> None:
    url = await street.web(("POST", "/old", leads_to("/new", 303)), ("GET", "/new", echo))  # type: ignore[arg-type]
    response = await peers.request("POST", f"{url}/old", body=b"hello", headers={"Content-Type": "text/plain"})
    assert (response.json()["method"], response.json()["body"]) == ("GET", "")


async def test_the_token_is_not_carried_to_another_host(peers: Peers, street: Street) -> None:
    new = await street.web(("GET", "/{rest:.*}", echo), name="new")
    old = await street.web(("GET", "/x", leads_to(f"{new}/y", 308)))  # type: ignore[arg-type]
    response = await peers.request("GET", f"{old}/x", headers={"Authorization": "Bearer t"})
    assert response.json()["authorization"] is None
    assert response.url == f"{new}/y"


# -- names


@pytest.mark.parametrize(
    ("stored", "origin"),
    [
        ("https://bob.example", "https://bob.example"),
        ("https://bob.example/", "https://bob.example"),
        ("https://bob.example/some/path?x=1", "https://bob.example"),
        ("http://bob.localhost:8081/", "http://bob.localhost:8081"),
        ("bob.example", "https://bob.example"),
        ("https://Bob.Example:443", "https://bob.example"),
        ("https://bücher.example/", "https://xn--bcher-kva.example"),
    ],
)
def test_only_scheme_and_host_of_a_stored_address_are_used(stored: str, origin: str) -> None:
    assert origin_of(stored) == origin


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://Bob.Example/x", "bob.example"),
        ("http://bob.example:80/", "bob.example"),
        ("http://bob.localhost:8081/", "bob.localhost:8081"),
        ("bob.example", "bob.example"),
        ("http://[2606:4700::1]:8080/", "[2606:4700::1]:8080"),
    ],
)
def test_the_name_of_a_host_is_one_for_all_its_spellings(address: str, host: str) -> None:
    assert host_of(address) == host
