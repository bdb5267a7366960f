"""One of the processes of a server that has several (`web.supervisor`): `python -m inglenook.cli.worker`.

What it is to do it reads from its standard input: the configuration as the first process has read it, so that one that
is started anew later has the same.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from pathlib import Path
from typing import Any

import msgspec

from inglenook.cli.settings import Settings, Value
from inglenook.environment import Config
from inglenook.web.inherited import Inherited

COMMAND = (sys.executable, "-m", "inglenook.cli.worker")


class Orders(msgspec.Struct):
    """What a worker is told: its number, its descriptors, and the settings with the origin of each."""

    number: int
    inherited: Inherited
    config: Config
    origins: dict[str, str]
    file: str | None


def describe(settings: Settings, number: int, inherited: Inherited) -> bytes:
    """The orders, as a worker reads them."""
    origins = {name: value.origin for name, value in settings.values.items()}
    file = None if settings.file is None else str(settings.file)
    return msgspec.json.encode(Orders(number, inherited, settings.config, origins, file), enc_hook=str)


def understand(raw: bytes) -> tuple[Orders, Settings]:
    """What `describe` said."""

    def decode(kind: type, value: Any) -> Any:
        return kind(value)

    orders = msgspec.json.decode(raw, type=Orders, dec_hook=decode)
    values = {name: Value(getattr(orders.config, name), origin) for name, origin in orders.origins.items()}
    return orders, Settings(orders.config, values, None if orders.file is None else Path(orders.file))


async def work(orders: Orders, settings: Settings) -> None:
    """Answer requests; the first worker also executes the commands of the operator."""
    from inglenook.cli.answering import answering_commands
    from inglenook.cli.invocation import Invocation
    from inglenook.cli.terminal import LocalTerminal
    from inglenook.environment import Environment
    from inglenook.web.serve import serve_as_worker

    connection = socket.socket(fileno=adopt(orders.inherited.hub))
    listener = socket.socket(fileno=adopt(orders.inherited.listener))
    invocation = Invocation(LocalTerminal(), settings, Path.cwd(), os.environ)
    alongside = None if orders.number else lambda runtime: answering_commands(runtime, invocation)  # pyright: ignore
    await serve_as_worker(Environment(settings.config), connection, listener, alongside)


def main() -> None:
    """Read the orders, and work."""
    import uvloop

    from inglenook.cli.main import COLLECT_AFTER
    from inglenook.web import logs

    gc.set_threshold(COLLECT_AFTER, 20, 20)
    orders, settings = understand(sys.stdin.buffer.read())
    adopt(orders.inherited.lock)
    logs.configure(settings.config)
    try:
        uvloop.run(work(orders, settings))
    except OSError as error:
        sys.stderr.write(f"Error: {error.strerror or error}\n")
        sys.exit(1)


def adopt(descriptor: int) -> int:
    """Keep an inherited descriptor for this process alone."""
    os.set_inheritable(descriptor, False)
    return descriptor


if __name__ == "__main__":
    main()
