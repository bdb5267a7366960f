"""Which addresses of other servers may be contacted (spec/05 §20.1: protection against server-side request forgery).

Addresses come from people and from other servers: an invitation, a redirect, an address book. A server that
followed them blindly could be made to talk to the machines behind its own firewall. So the URL is judged before
each request and each redirect, and the IP address again at the moment of connecting, after the name is resolved.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache

from yarl import URL

from inglenook.peers.errors import PeerForbiddenAddress

DEFAULT_PORTS = {"http": 80, "https": 443}
USUAL_PORTS = frozenset(DEFAULT_PORTS.values())
LOOPBACK = "127.0.0.1"
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What may be contacted: public addresses on the usual ports; in development loopback too, on any port."""

    development: bool = False

    def check(self, url: URL) -> None:
        """Refuse a port that must not be contacted. Raises PeerForbiddenAddress."""
        if not self.development and url.port not in USUAL_PORTS:
            raise PeerForbiddenAddress(f"Port {url.port} of other servers is not contacted")

    def allows(self, address: str) -> bool:
        """Whether an IP address, as text, may be connected to."""
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        ip = embedded(ip)
        return is_public(ip) or (self.development and ip.is_loopback)


def embedded(ip: IPAddress) -> IPAddress:
    """The IPv4 address that an IPv6 address stands for (mapped, 6to4, NAT64), else the address itself."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    inner = ip.ipv4_mapped or ip.sixtofour
    if inner is None and ip in NAT64:
        inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return inner or ip


def is_public(ip: IPAddress) -> bool:
    """Whether an address belongs to the open internet and to one machine there."""
    if isinstance(ip, ipaddress.IPv6Address) and (ip.is_site_local or ip.teredo):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def parse_url(text: str) -> URL:
    """An http(s) URL of another server; what is percent-encoded stays as it is.

    Raises PeerForbiddenAddress when it is anything else, or carries a name and a password."""
    try:
        url = URL(text, encoded=True)
        host = url.raw_host
        if host and not (host.isascii() and host == host.lower()):
            url = url.with_host(host.lower())
        _ = url.port
    except ValueError as error:
        raise PeerForbiddenAddress("This is not the address of a server") from error
    if url.scheme not in ("http", "https") or not host or url.raw_user is not None or url.raw_password is not None:
        raise PeerForbiddenAddress("This is not the address of a server")
    if " " in text or not text.isprintable():
        raise PeerForbiddenAddress("This is not the address of a server")
    return url


def origin_of(instance: str) -> str:
    """Scheme and host of a stored address, without any path: `https://bob.example` (spec/04 §1.3).

    An address without a scheme is taken as https. Raises PeerForbiddenAddress."""
    return str(parse_url(instance if "://" in instance else f"https://{instance}").origin())


def host_of(address: str | URL) -> str:
    """The key under which the state of a server is kept: its host in lower case, with the port unless it is usual."""
    url = address if isinstance(address, URL) else parse_url(address if "://" in address else f"https://{address}")
    return _key(url.scheme, url.raw_host or "", url.port)


@lru_cache(maxsize=4096)
def _key(scheme: str, host: str, port: int | None) -> str:
    name = f"[{host}]" if ":" in host else host
    return name.lower() if port in (None, DEFAULT_PORTS.get(scheme)) else f"{name.lower()}:{port}"
