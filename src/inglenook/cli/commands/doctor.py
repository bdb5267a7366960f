"""`inglenook doctor`: is all well, and what to do if not (spec/10 §3)."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from inglenook.cli import control
from inglenook.cli.invocation import Called, CommandFailed, Flag
from inglenook.cli.probes import certificate, covers, probes


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
        "mail": lambda: _mail(call),
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


async def _mail(call: Called) -> str:
    """Whether mails leave, and whether all that were written down did."""
    from inglenook.mail import outbox

    waiting = failed = 0
    example = ""
    for doc in await call.runtime.instances.documents():
        instance = await call.runtime.instances.get(doc.domain)
        letters, failures = await instance.store.read(lambda view: (outbox.waiting(view), outbox.failures(view)))
        late = [letter for letter in letters if letter.attempts > 1]
        waiting, failed = waiting + len(late), failed + len(failures)
        example = example or next((letter.last_error for letter in late if letter.last_error), "")
    if waiting:
        raise CommandFailed(f"{waiting} mails could not be sent yet{f' ({example})' if example else ''}; see smtp_url")
    kept = "" if call.settings.config.smtp_url else "no mail server, mails are kept: inglenook mails"
    given_up = f"{failed} mails were given up lately" if failed else ""
    return ", ".join(text for text in (kept, given_up) if text) or "all mails have left"


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
    """Whether the domains of the instances, and those of their apps, lead somewhere, and the certificate has them."""
    config = call.settings.config
    missing: list[str] = []
    documents = await call.runtime.instances.documents()
    hosts = [host for doc in documents for host in _hosts(doc.domain, flat=config.subdomains == "flat")]
    for host in hosts:
        try:
            await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except socket.gaierror:
            missing.append(host)
    if missing:
        raise CommandFailed(f"no address for {', '.join(missing)}; make a DNS record for each (* stands for all apps)")
    if config.tls_cert and config.tls_key:
        covered, _ = await asyncio.to_thread(certificate, config)
        bare = [host for host in hosts if not covers(covered, host)]
        if bare:
            raise CommandFailed(f"the certificate is not for {', '.join(bare)}; get one that is")
    if not documents:
        return "no instance yet (inglenook instances add)"
    return "1 instance, with an address" if len(documents) == 1 else f"{len(documents)} instances, all with an address"


def _hosts(domain: str, *, flat: bool) -> list[str]:
    """The host of an instance and one of its apps, as far as DNS has to know them."""
    host = domain.partition(":")[0]
    if host == "localhost" or host.endswith(".localhost"):
        return []
    label, _, rest = host.partition(".")
    return [host, f"{label}-home.{rest}" if flat else f"home.{host}"]
