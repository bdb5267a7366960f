"""The port of the server: bound by this project rather than by Granian, so that it stays while processes come and go.

One process binds the address alone, before it does anything else, and a second server that wants it is refused; it
listens when it can answer, so that whoever spreads requests over servers asks another one meanwhile. Several processes
have a socket each on the same address, where the kernel spreads the connections; the first process holds all of them,
so that those of a process that ends wait for the next one instead of being refused.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from granian.net import SocketHolder  # pyright: ignore[reportPrivateImportUsage]
from granian.server.embed import Server

BACKLOG = 1024
"""Connections that may wait to be accepted, at each socket."""


def bind(host: str, port: int) -> socket.socket:
    """A socket with the address, which takes connections when a server listens. Raises OSError, with the address in
    its words."""
    return _bind(host, port, socket.SO_REUSEADDR)


def bind_several(host: str, port: int, count: int) -> list[socket.socket]:
    """`count` sockets that share the connections to the address, with nobody else. Raises OSError."""
    bind(host, port).close()
    return [bind_beside(host, port) for _ in range(count)]


def bind_beside(host: str, port: int) -> socket.socket:
    """One more socket beside those of `bind_several`. Raises OSError."""
    return _bind(host, port, socket.SO_REUSEADDR, socket.SO_REUSEPORT)


def _bind(host: str, port: int, *options: int) -> socket.socket:
    family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, number)
    try:
        for option in options:
            listener.setsockopt(socket.SOL_SOCKET, option, 1)
        # each connection has it from here; without it the rest of an answer waits for the client's late ACK (40 ms)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"Cannot listen on {host}:{port}: {error.strerror}") from None
    return listener


class ListeningServer(Server):
    """Granian that takes its connections from a socket which is bound already."""

    def __init__(self, app: Any, listener: socket.socket, **settings: Any) -> None:
        """`listener` stays the caller's; `settings` are those of Granian."""
        super().__init__(app, backlog=BACKLOG, **settings)
        self._listener = listener

    def _init_shared_socket(self) -> None:
        self._listener.setblocking(False)
        self._listener.listen(BACKLOG)
        self._shd = SocketHolder(os.dup(self._listener.fileno()), False, BACKLOG)  # pyright: ignore[reportCallIssue]
