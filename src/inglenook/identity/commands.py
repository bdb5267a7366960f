"""What an operator does with instances, as plain functions for the command line (spec/03 §16, spec/10 §3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from inglenook.identity import clients, creation, linked_apps, passphrase, sessions, tokens
from inglenook.identity.clients import CLIENTS
from inglenook.identity.passphrase import NewPassphrase
from inglenook.kernel.errors import BadRequest, NotFound
from inglenook.kernel.permissions import parse_scope
from inglenook.storage.documents.contract import Document, Writer

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance, InstanceDoc
    from inglenook.identity.instances import Instances

create_instance = creation.create_instance
modify_instance = creation.modify_instance


async def list_instances(instances: Instances) -> list[InstanceDoc]:
    """The registry documents of all instances, by domain (`InstanceDoc.public()` for what may be shown)."""
    return await instances.documents()


async def destroy_instance(instances: Instances, domain: str) -> None:
    """Take an instance down with everything in it. Raises NotFound."""
    await instances.destroy(await instances.get(domain))


def onboarding_link(instance: Instance) -> str:
    """Where the owner chooses the passphrase, empty when that is done."""
    token = instance.doc.register_token
    return instance.url("/", {"registerToken": token.hex()}) if token else ""


async def set_passphrase(instance: Instance, clear: str) -> None:
    """Another passphrase, given in clear; all sessions end. Raises BadRequest when it is empty."""
    await passphrase.set_passphrase(instance, NewPassphrase(clear))
    await instance.store.write(lambda tx: sessions.end_sessions(tx))


async def set_auth_mode(instance: Instance, mode: str) -> bool:
    """`basic` or `two_factor_mail`; False when it is so already. Raises BadRequest for another word."""
    number = creation.auth_mode(mode)
    if instance.doc.auth_mode == number:
        return False
    await instance.registry.modify(instance, lambda doc: msgspec.structs.replace(doc, auth_mode=number))
    return True


async def clean_sessions(instance: Instance) -> int:
    """End all sessions and forget the login history; gives how many sessions ended."""

    def clean(tx: Writer) -> int:
        ended = sessions.end_sessions(tx)
        sessions.forget_logins(tx)
        return ended

    return await instance.store.write(clean)


async def create_oauth_client(
    instance: Instance, redirect_uri: str, client_name: str, software_id: str, *, allow_login_scope: bool = False
) -> Document:
    """Register a client that is not pending; `clients.wire_client(…, with_registration_token=True)` is its JSON.

    Raises BadRequest with the reason."""
    declared = {"redirect_uris": [redirect_uri], "client_name": client_name, "software_id": software_id}

    def create(tx: Writer) -> Document:
        return clients.create_client(tx, instance, declared, pending=False, allow_login_scope=allow_login_scope)

    try:
        await linked_apps.check_software(instance, declared)
        return await instance.store.write(create)
    except clients.ClientRefused as error:
        raise BadRequest(error.detail or error.error) from error


async def find_oauth_client(instance: Instance, software_id: str) -> Document:
    """The first client of a piece of software. Raises NotFound."""
    found = await instance.store.read(lambda view: clients.by_software(view, software_id))
    if found is None:
        raise NotFound("Could not find client with this software_id")
    return found


async def oauth_token(instance: Instance, client_id: str, scopes: Sequence[str], *, expire: float | None = None) -> str:
    """An access token for a client. `scopes` are words or groups of words; `expire` is its life in seconds.

    Raises NotFound (client), BadCredentials (scope)."""
    scope = await _client_scope(instance, client_id, scopes)
    issued = _issued_at(instance, expire, tokens.ACCESS_SECONDS)
    return tokens.issue(instance, tokens.ACCESS, client_id, scope=scope, issued_at=issued)


async def oauth_refresh_token(instance: Instance, client_id: str, scopes: Sequence[str]) -> str:
    """A refresh token for a client. Raises as `oauth_token`."""
    scope = await _client_scope(instance, client_id, scopes)
    return tokens.issue(instance, tokens.REFRESH, client_id, scope=scope)


def app_token(instance: Instance, slug: str, *, expire: float | None = None) -> str:
    """A token of an app without session, good for at most half an hour; `expire` in seconds shortens that."""
    issued = _issued_at(instance, expire, tokens.APP_WITHOUT_SESSION_SECONDS)
    return tokens.issue(instance, tokens.APP, slug, issued_at=issued)


def konnector_token(instance: Instance, slug: str) -> str:
    """A token of a konnector."""
    return tokens.issue(instance, tokens.KONNECTOR, slug)


def cli_token(instance: Instance, scopes: Sequence[str], *, expire: float | None = None) -> str:
    """A token of the command line for these scopes. Raises BadCredentials for a malformed one."""
    scope = " ".join(scopes)
    parse_scope(scope)
    issued = _issued_at(instance, expire, tokens.CLI_SECONDS)
    return tokens.issue(instance, tokens.CLI, "CLI", scope=scope, issued_at=issued)


_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3}


def duration_seconds(text: str) -> float:
    """Seconds of a duration such as `10m` or `1h30m`. Raises BadRequest."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise BadRequest(f"{text} is not a duration such as 10m or 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


async def _client_scope(instance: Instance, client_id: str, scopes: Sequence[str]) -> str:
    scope = " ".join(scopes)
    if scope != "*" and not scope.startswith("@io.cozy.apps/"):
        parse_scope(scope)

    def settle(tx: Writer) -> bool:
        return clients.update_client(tx, client_id, {"pending": None}) is not None

    if await instance.store.read(lambda view: view.get(CLIENTS, client_id)) is None:
        raise NotFound(f"The client {client_id} is not registered")
    await instance.store.write(settle)
    return scope


def _issued_at(instance: Instance, expire: float | None, seconds: int) -> int | None:
    if not expire or expire <= 0:
        return None
    return int(instance.env.clock.now().timestamp() + min(expire, seconds) - seconds)
