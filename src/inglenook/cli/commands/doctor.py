"""`inglenook doctor`: is all well, and what to do if not (spec/10 §3)."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from inglenook.cli import control
from inglenook.cli.commands.config import probes
from inglenook.cli.invocation import Called, CommandFailed, Flag


async def doctor(*, json: Flag = False, call: Called) -> int:
    """Check configuration, storage, names, mail, TLS, clock and free space, and say what to do.

    Parameters
    ----------
    json
        One object per line.
    """
    checks: dict[str, Callable[[], Awaitable[str]]] = {
        "configuration": lambda: _configuration(call),
        **probes(call),
        "clock": _clock,
        "server": lambda: _server(call),
        "names": lambda: _names(call),
    }
    code = 0
    for name, check in checks.items():
        try:
            verdict, text = "ok", await check()
        except (OSError, CommandFailed, TimeoutError) as error:
            verdict, text, code = "failed", str(error) or type(error).__name__, 1
        if json:
            call.put_json_line({"check": name, "verdict": verdict, "text": text})
        else:
            call.put(f"{'ok    ' if verdict == 'ok' else 'FAILED'}  {name}: {text}")
    return code


async def _configuration(call: Called) -> str:
    config = call.settings.config
    if not config.dev and not config.tls_cert and not config.trusted_proxies:
        raise CommandFailed(
            "this server neither speaks TLS nor stands behind a proxy; set tls_cert and tls_key, or trusted_proxies "
            "(or dev, to try it out on this machine)"
        )
    return str(call.settings.file or "no file, environment and defaults")


async def _clock() -> str:
    now = datetime.now(UTC)
    if now.year < 2025:
        raise CommandFailed(f"the clock says {now:%Y-%m-%d}; set it right, tokens depend on it")
    return f"{now:%Y-%m-%d %H:%M:%S} UTC"


async def _server(call: Called) -> str:
    config = call.settings.config
    if not await asyncio.to_thread(control.answers, config.data):
        return "not running (inglenook serve)"
    started = time.monotonic()
    context = None
    if config.tls_cert:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(config.host, config.port, ssl=context)
        writer.write(b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await reader.read(65536)
        writer.close()
    if not answer.startswith(b"HTTP/1.1 200"):
        raise CommandFailed(f"the server is ill: {answer[-300:].decode('utf-8', 'replace')}")
    return f"answers on {config.host}:{config.port} in {(time.monotonic() - started) * 1000:.0f} ms"


async def _names(call: Called) -> str:
    """Whether the domains of the instances lead somewhere."""
    domains = [doc.domain for doc in await call.runtime.instances.documents()]
    missing: list[str] = []
    for domain in domains:
        host = domain.partition(":")[0]
        if host.endswith(".localhost"):
            continue
        try:
            await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except socket.gaierror:
            missing.append(host)
    if missing:
        raise CommandFailed(f"no address for {', '.join(missing)}; make a DNS record for each (and for its apps)")
    return f"{len(domains)} instances, all with an address" if domains else "no instance yet (inglenook instances add)"
