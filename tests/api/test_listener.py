"""The sockets that a server takes its connections from (`web.listener`)."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from inglenook.web.listener import bind, bind_several


def one(host: str, port: int) -> socket.socket:
    """One of the sockets of several processes."""
    first, second = bind_several(host, port, 2)
    second.close()
    return first


@pytest.mark.parametrize("make", [bind, one])
def test_the_parts_of_an_answer_do_not_wait_for_each_other(make: Callable[[str, int], socket.socket]) -> None:
    """A connection has TCP_NODELAY: a body behind its head leaves at once, not with the client's late ACK."""
    with make("127.0.0.1", 0) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()):
            connection, _ = listener.accept()
            with connection:
                assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
