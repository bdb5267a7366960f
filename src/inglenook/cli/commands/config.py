"""`inglenook config …`: the effective configuration (spec/10 §2)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from cyclopts import App

from inglenook.cli.invocation import Called, CommandFailed, Flag
from inglenook.cli.settings import KEYS, masked, masked_tree

app = App(name="config")


@app.command
async def show(*, json: Flag = False, call: Called) -> None:
    """Show the effective values and where each comes from; secrets are masked."""
    settings = call.settings
    values = {name: (masked(name, settings.values[name].value), settings.values[name].origin) for name in KEYS}
    tables: dict[str, Any] = {"contexts": masked_tree(settings.config.contexts)}
    versioning = {
        "max_number_to_keep": settings.config.versions_to_keep,
        "min_delay_between_two_versions": f"{settings.config.seconds_between_versions:g}s",
    }
    if json:
        flat = {name: {"value": value, "origin": origin} for name, (value, origin) in values.items()}
        call.put_json({"file": str(settings.file or ""), **flat, **tables, "files": {"versioning": versioning}})
        return
    call.put_table([["KEY", "VALUE", "FROM"], *([name, value, origin] for name, (value, origin) in values.items())])
    for name, value in versioning.items():
        call.put(f"files.versioning.{name}  {value}")
    if settings.config.contexts:
        call.put_json(tables)


@app.command
async def check(*, call: Called) -> None:
    """Try everything that the configuration names; fails with the cause."""
    failures = 0
    for name, probe in probes(call).items():
        try:
            call.put(f"{name}: {await probe()}")
        except (OSError, CommandFailed, TimeoutError) as error:
            failures += 1
            call.put(f"{name}: FAILED: {error or type(error).__name__}")
    if failures:
        raise CommandFailed(f"{failures} of the services cannot be used")


def probes(call: Called) -> dict[str, Callable[[], Awaitable[str]]]:
    """What can be tried, by name; a probe raises OSError, TimeoutError or CommandFailed with the cause."""
    config = call.settings.config
    found: dict[str, Callable[[], Awaitable[str]]] = {"data": lambda: _data(call)}
    if config.smtp_url:
        found["smtp_url"] = lambda: _mail(config.smtp_url)
    if config.tls_cert or config.tls_key:
        found["tls"] = lambda: _tls(config.tls_cert, config.tls_key)
    return found


async def _data(call: Called) -> str:
    folder = call.settings.config.data
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise CommandFailed(f"{folder} cannot be written; give it to the user who runs the server")
    space = os.statvfs(folder)
    free = space.f_bavail * space.f_frsize
    if free < 100_000_000:
        raise CommandFailed(f"{folder} has only {free} bytes left; make room")
    return f"{folder}, {free // 1_000_000} MB free"


async def _mail(url: str) -> str:
    import aiosmtplib

    parts = urlsplit(url)
    port = parts.port or (465 if parts.scheme == "smtps" else 587)
    client = aiosmtplib.SMTP(
        hostname=parts.hostname, port=port, use_tls=parts.scheme == "smtps", start_tls=False, timeout=10
    )
    try:
        await client.connect()
        await client.quit()
    except aiosmtplib.SMTPException as error:
        raise CommandFailed(f"{parts.hostname}:{port}: {error}") from None
    return f"{parts.hostname}:{port} answers"


async def _tls(certificate: str, key: str) -> str:
    import ssl

    def read() -> None:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)

    await asyncio.to_thread(read)
    return f"{certificate} and its key can be read"
