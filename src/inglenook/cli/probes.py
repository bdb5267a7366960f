"""Trying what the configuration names: folder, database, object store, bus, mail server, certificate (spec/10 §2, §3).

A probe says in words what it found, or raises CommandFailed, OSError or TimeoutError with the cause and what to do.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from inglenook.cli.invocation import CommandFailed, Invocation
from inglenook.cli.sizes import show_size
from inglenook.environment import Config

PATIENCE = 10.0
"""Seconds that a service has to answer."""
LEAST_FREE = 100_000_000
"""Bytes of room on the disk below which something has to be done."""
EXPIRES_SOON = timedelta(days=14)

Probe = Callable[[], Awaitable[str]]


def probes(call: Invocation) -> Mapping[str, Probe]:
    """What can be tried, by the name of its key."""
    config = call.settings.config
    found: dict[str, Probe] = {"data": lambda: _data(config.data)}
    if config.database_url.startswith("postgresql:"):
        found["database_url"] = lambda: _postgres(config)
    if config.blobs_url.startswith("s3:"):
        found["blobs_url"] = lambda: _objects(call)
    if config.bus_url:
        found["bus_url"] = lambda: _redis(config)
    if config.smtp_url:
        found["smtp_url"] = lambda: _mail(config.smtp_url)
    if config.tls_cert or config.tls_key:
        found["tls"] = lambda: _tls(config)
    return found


async def _data(folder: Path) -> str:
    return await asyncio.to_thread(_look_at_folder, folder)


def _look_at_folder(folder: Path) -> str:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise CommandFailed(f"{folder} cannot be written; give it to the user who runs the server")
    space = os.statvfs(folder)
    free = space.f_bavail * space.f_frsize
    if free < LEAST_FREE:
        raise CommandFailed(f"{folder} has only {show_size(free)} left; make room")
    if space.f_files and space.f_favail < 1000:
        raise CommandFailed(f"the disk of {folder} has room for {space.f_favail} more files only; remove some")
    return f"{folder}, {show_size(free)} free"


async def _postgres(config: Config) -> str:
    _require("psycopg", config)
    import psycopg

    def ask() -> str:
        with psycopg.connect(config.database_url, connect_timeout=int(PATIENCE)) as connection:
            row = connection.execute(
                "SELECT current_setting('server_version'), current_database(),"
                " current_schema() IS NOT NULL AND has_schema_privilege(current_schema(), 'CREATE, USAGE')"
            ).fetchone()
        version, name, may_make_tables = row or ("", "", False)
        if not may_make_tables:
            raise CommandFailed(f"{name}: this user may not make tables there; GRANT CREATE, USAGE ON SCHEMA to it")
        return f"PostgreSQL {version}, database {name}"

    try:
        return await asyncio.to_thread(ask)
    except psycopg.Error as error:
        raise CommandFailed(f"the database cannot be used: {_one_line(error)}") from None


async def _objects(call: Invocation) -> str:
    _require("obstore", call.settings.config)
    from inglenook.environment import Environment
    from inglenook.kernel.errors import DomainError
    from inglenook.storage.blobs.objects import ObjectBlobStores

    config = call.settings.config
    try:
        async with asyncio.timeout(PATIENCE):
            place = await ObjectBlobStores(config.blobs_url, Environment(config)).try_out()
    except DomainError as error:
        raise CommandFailed(f"the object store cannot be used: {_one_line(error)}") from None
    except TimeoutError:
        raise CommandFailed(f"the object store does not answer within {PATIENCE:.0f} seconds") from None
    return f"{place} can be written, read and cleared"


async def _redis(config: Config) -> str:
    _require("redis", config)
    from redis.exceptions import RedisError

    from inglenook.storage import redis_bus

    client = redis_bus.connect(config.bus_url)
    try:
        async with asyncio.timeout(PATIENCE):
            told = await client.info("server")
    except (RedisError, OSError, TimeoutError) as error:
        raise CommandFailed(f"Redis cannot be used: {_one_line(error) or 'no answer'}") from None
    finally:
        await client.aclose()
    return f"Redis {told.get('redis_version', '')} answers"


async def _mail(url: str) -> str:
    import aiosmtplib

    from inglenook.mail.delivery import DROPPED, parse_server

    server = parse_server(url)
    if server.host == DROPPED:
        return "mails are thrown away"
    client = aiosmtplib.SMTP(
        hostname=server.host, port=server.port, username=server.user or None, password=server.password or None,
        use_tls=server.encryption == "tls", start_tls=server.encryption == "starttls", timeout=PATIENCE,
    )  # fmt: skip
    try:
        await client.connect()
        await client.quit()
    except (aiosmtplib.SMTPException, OSError) as error:
        raise CommandFailed(f"{server.host}:{server.port}: {_one_line(error)}") from None
    return f"{server.host}:{server.port} answers" + (f", and lets {server.user} in" if server.user else "")


async def _tls(config: Config) -> str:
    names, until = await asyncio.to_thread(certificate, config)
    shown = f"{config.tls_cert} for {', '.join(names) or 'nobody'}, good until {until:%Y-%m-%d}"
    now = datetime.now(UTC)
    if until < now:
        raise CommandFailed(f"{shown}: it has expired; renew it and start the server anew")
    if until < now + EXPIRES_SOON:
        raise CommandFailed(f"{shown}: it expires soon; renew it and start the server anew")
    return shown


def certificate(config: Config) -> tuple[list[str], datetime]:
    """The names of the server's certificate and its end. Raises CommandFailed when it and its key cannot be used."""
    import ssl

    from cryptography import x509

    if not config.tls_cert or not config.tls_key:
        raise CommandFailed("tls_cert and tls_key go together; one of them is missing")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(config.tls_cert, config.tls_key)
        first = x509.load_pem_x509_certificate(Path(config.tls_cert).read_bytes())
    except ssl.SSLError as error:
        raise CommandFailed(f"{config.tls_cert} and {config.tls_key} do not go together: {_one_line(error)}") from None
    except ValueError as error:
        raise CommandFailed(f"{config.tls_cert} is no certificate: {_one_line(error)}") from None
    except OSError as error:
        raise CommandFailed(f"{config.tls_cert} or {config.tls_key} cannot be read: {error.strerror}") from None
    try:
        names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [], first.not_valid_after_utc
    return names.get_values_for_type(x509.DNSName), first.not_valid_after_utc


def covers(names: list[str], host: str) -> bool:
    """Whether one of a certificate's names is a host, or a pattern for it (RFC 6125 §6.4)."""
    above = "*." + host.partition(".")[2]
    return any(name.lower() in (host, above) for name in names)


def _require(package: str, config: Config) -> None:
    from inglenook.web.backends import missing

    if package in missing(config):
        raise CommandFailed(f"{package} is not installed: pip install 'inglenook[distributed]'")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).partition("Debug source")[0].split())[:400]
