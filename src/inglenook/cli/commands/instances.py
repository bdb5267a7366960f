"""`inglenook instances …`: the people of the server (spec/03 §16, spec/10 §3)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from inglenook.cli.commands import archives
from inglenook.cli.invocation import Called, CommandFailed, Flag, Switch
from inglenook.cli.settings import read_duration
from inglenook.cli.sizes import read_size, show_size
from inglenook.kernel.errors import DomainError

if TYPE_CHECKING:
    from inglenook.identity.creation import Wish
    from inglenook.identity.instance import Instance, InstanceDoc

app = App(name="instances")
app.command(archives.export_instance, name="export")
app.command(archives.import_instance, name="import")
app.command(archives.list_imports, name="imports")
app.command(archives.move, name="move")

INDEXES_VERSION = 1
"""Shown as `v1`: the form of an instance's databases."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What an instance shall be."""

    email: Annotated[str | None, Parameter(help="Mail address of the owner.")] = None
    public_name: Annotated[str | None, Parameter(help="Name that others see.")] = None
    passphrase: Annotated[str | None, Parameter(help="In clear; without it the owner chooses one by a link.")] = None
    phone: str | None = None
    locale: Annotated[str | None, Parameter(help="Language: en or fr.")] = None
    tz: Annotated[str | None, Parameter(help="Time zone, such as Europe/Paris.")] = None
    context_name: Annotated[str | None, Parameter(help="Context of the configuration.")] = None
    settings: Annotated[str | None, Parameter(help="Further settings: key:value,key:value.")] = None
    disk_quota: Annotated[str | None, Parameter(help="Such as 10GB; -1 for no limit.")] = None
    domain_aliases: Annotated[str | None, Parameter(help="Other names, separated by commas.")] = None
    old_domain: str | None = None
    org_domain: str | None = None
    org_id: str | None = None
    uuid: str | None = None
    oidc_id: Annotated[str | None, Parameter(name=["--oidc_id", "--oidc-id"])] = None
    franceconnect_id: Annotated[str | None, Parameter(name=["--franceconnect_id", "--franceconnect-id"])] = None
    magic_link: Annotated[bool | None, Parameter(name=["--magic_link", "--magic-link"], negative="")] = None
    tos: str | None = None
    tos_latest: str | None = None
    sponsorships: str | None = None
    feature_sets: str | None = None

    def wish(self, **more: Any) -> Wish:
        """The wish for `identity.creation`."""
        from inglenook.identity.creation import Wish
        from inglenook.identity.passphrase import NewPassphrase

        value: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        value["timezone"], value["context"] = value.pop("tz"), value.pop("context_name")
        value["settings"] = _pairs(value["settings"] or "")
        for name in ("domain_aliases", "sponsorships", "feature_sets"):
            value[name] = None if value[name] is None else _words(value[name])
        if value["passphrase"] is not None:
            value["passphrase"] = NewPassphrase(value["passphrase"])
        if value["disk_quota"] is not None:
            value["disk_quota"] = read_size(value["disk_quota"])
        return Wish(**value, **more)


@app.command(name=["add", "create"])
async def add(domain: str, /, wanted: Wanted = Wanted(), *, apps: str = "", trace: Flag = False, call: Called) -> None:
    """Create an instance.

    DOMAIN may carry a port in development. Without a passphrase the link by which the owner chooses one is shown.

    Parameters
    ----------
    apps
        Apps to install, separated by commas.
    trace
        Show how long it took.
    """
    from inglenook.identity.creation import create_instance

    _refuse_if_disabled(call)
    clock = call.runtime.env.clock
    started = clock.monotonic()
    call.say(f'Creating instance for domain "{domain}": please wait...')
    instance = await create_instance(call.runtime.instances, domain, wanted.wish())
    call.put(f"Instance created with success for domain {instance.domain}")
    if instance.doc.register_token:
        token = instance.doc.register_token.hex()
        call.put(f'Registration token: "{token}"')
        call.put(f"Define your password by visiting {instance.url('/', {'registerToken': token})}")
    for slug in _words(apps):
        await _install(call, instance, slug)
    if trace:
        call.say(f"It took {clock.monotonic() - started:.3f} s")


def _refuse_if_disabled(call: Called) -> None:
    """Where another program makes and ends instances, nobody shall do it by hand."""
    if call.environ.get("COZY_DISABLE_INSTANCES_ADD_RM"):
        raise CommandFailed("Adding and removing instances is disabled here (COZY_DISABLE_INSTANCES_ADD_RM is set)")


async def _install(call: Called, instance: Instance, slug: str) -> None:
    from inglenook.apps import installing

    try:
        await installing.install(instance, slug)
    except DomainError as error:
        call.say(f"/!\\ Application {slug} has not been installed: {error.detail}")


@app.command(name=["ls", "list"])
async def ls(*, json: Flag = False, fields: str = "", available_fields: Flag = False, call: Called) -> None:
    """List the instances.

    Parameters
    ----------
    json
        One object per line.
    fields
        The fields to show, separated by commas.
    available_fields
        Show which fields there are.
    """
    rows: list[list[str]] = []
    for doc in await call.runtime.instances.documents():
        shown = _shown(doc)
        if available_fields:
            continue
        if json:
            call.put_json_line(shown)
        elif fields:
            rows.append([_cell(shown.get(name)) for name in _words(fields)])
        else:
            quota = int(doc.disk_quota or 0)
            shown_quota = show_size(quota) if quota > 0 else "unlimited"
            version = f"v{INDEXES_VERSION}"
            rows.append([doc.domain, doc.locale, shown_quota, _onboarding(doc), version, doc.prefix, doc.prefix])
    if available_fields:
        for name in _field_names():
            call.put(name)
    elif not json:
        call.put_table(rows)


@app.command
async def show(domain: str, /, *, json: Flag = False, call: Called) -> None:
    """Show an instance as JSON."""
    call.put_json(_resource(await call.instance(domain)))


@app.command(name=["modify", "update"])
async def modify(
    domain: str,
    /,
    wanted: Wanted = Wanted(),
    *,
    blocked: Switch = None,
    blocking_reason: str | None = None,
    deleting: Switch = None,
    onboarding_finished: Switch = None,
    json: Flag = False,
    call: Called,
) -> None:
    """Change an instance, and show it.

    Parameters
    ----------
    blocked
        Refuse to serve it.
    blocking_reason
        Why it is blocked.
    deleting
        Not here: an instance is deleted by `inglenook instances rm`, whole or not at all.
    onboarding_finished
        Whether its owner has chosen a passphrase.
    json
        The instance is shown as JSON in any case.
    """
    from inglenook.identity.creation import modify_instance

    if deleting:
        raise CommandFailed(f"An instance is deleted whole or not at all: inglenook instances rm {domain}")
    instance = await call.instance(domain)
    more = {"blocked": blocked, "blocking_reason": blocking_reason, "onboarding_finished": onboarding_finished}
    await modify_instance(instance, wanted.wish(**more))
    if wanted.passphrase is not None:
        from inglenook.identity import commands

        await commands.set_passphrase(instance, wanted.passphrase)
    call.put_json(_resource(instance))


@app.command(name=["destroy", "rm", "delete", "remove"])
async def destroy(domain: str, /, *, force: Flag = False, call: Called) -> None:
    """Delete an instance with everything in it.

    Parameters
    ----------
    force
        Do not ask.
    """
    _refuse_if_disabled(call)
    instance = await call.instance(domain)
    await call.confirm(f"Delete {instance.domain} with everything in it?", force=force, name=instance.domain)
    await call.runtime.instances.destroy(instance)
    call.put(f"Instance for domain {instance.domain} has been destroyed with success")


@app.command
async def count(*, json: Flag = False, call: Called) -> None:
    """How many instances there are."""
    number = await call.runtime.instances.count()
    if json:
        call.put_json({"count": number})
    else:
        call.put("1 instance" if number == 1 else f"{number} instances")


@app.command(name="show-db-prefix")
async def show_db_prefix(domain: str, /, *, json: Flag = False, call: Called) -> None:
    """Show the name of an instance's databases.

    Parameters
    ----------
    json
        One object.
    """
    prefix = (await call.instance(domain)).prefix
    if json:
        call.put_json({"prefix": prefix})
    else:
        call.put(prefix)


@app.command(name="set-passphrase")
async def set_passphrase(domain: str, passphrase: str | None = None, /, *, call: Called) -> None:
    """Change the passphrase of an instance; without PASSPHRASE, ask for it."""
    from inglenook.identity import commands

    instance = await call.instance(domain)
    if passphrase is None:
        passphrase = await call.terminal.ask("New passphrase: ", secret=True)
    await commands.set_passphrase(instance, passphrase)
    call.put(f"Passphrase has been changed for instance  {instance.domain}")


@app.command(name="set-disk-quota")
async def set_disk_quota(domain: str, quota: str, /, *, call: Called) -> None:
    """Set the most bytes of files of an instance, such as 10GB; -1 for no limit."""
    from inglenook.identity.creation import Wish, modify_instance

    await modify_instance(await call.instance(domain), Wish(disk_quota=read_size(quota)))


@app.command(name="auth-mode")
async def auth_mode(domain: str, mode: str, /, *, call: Called) -> None:
    """Set how the owner logs in: basic or two_factor_mail."""
    from inglenook.identity import commands

    instance = await call.instance(domain)
    changed = await commands.set_auth_mode(instance, mode)
    call.put(f"Auth mode has been changed for {instance.domain}" if changed else f"Auth mode is {mode} already")


@app.command(name="clean-sessions")
async def clean_sessions(domain: str, /, *, call: Called) -> None:
    """End all sessions of an instance and forget its logins."""
    from inglenook.identity import commands

    await commands.clean_sessions(await call.instance(domain))


async def settings(pairs: str = "", /, *, domain: str = "", json: Flag = False, call: Called) -> None:
    """Show the settings of an instance, after setting those of PAIRS (key:value,key:value).

    Parameters
    ----------
    domain
        The instance; by default that of COZY_DOMAIN.
    """
    from inglenook.identity.creation import Wish, modify_instance

    instance = await call.instance(domain)
    if pairs:
        await modify_instance(instance, Wish(settings=_pairs(pairs)))
    shown = {name: value for name, value in (await instance.settings()).items() if not name.startswith("_")}
    if json:
        call.put_json(shown)
    else:
        for name in sorted(shown):
            call.put(f"- {name}: {_cell(shown[name])}")


# -- OAuth clients and tokens


@app.command(name="client-oauth")
async def client_oauth(
    domain: str,
    redirect_uri: str,
    client_name: str,
    software_id: str,
    /,
    *,
    json: Flag = False,
    allow_login_scope: Flag = False,
    call: Called,
) -> None:
    """Register an OAuth client, and show its id.

    Parameters
    ----------
    json
        Show the whole client, with its secret and its registration token.
    allow_login_scope
        Let the client log its user in.
    """
    from inglenook.identity import clients, commands

    instance = await call.instance(domain)
    document = await commands.create_oauth_client(
        instance, redirect_uri, client_name, software_id, allow_login_scope=allow_login_scope
    )
    if json:
        call.put_json(clients.wire_client(instance, document, with_registration_token=True))
    else:
        call.put(document.id)


@app.command(name="find-oauth-client")
async def find_oauth_client(domain: str, software_id: str, /, *, json: Flag = False, call: Called) -> None:
    """Show the OAuth client of a software, as JSON."""
    from inglenook.identity import clients, commands

    instance = await call.instance(domain)
    call.put_json(clients.wire_client(instance, await commands.find_oauth_client(instance, software_id)))


@app.command(name="token-oauth")
async def token_oauth(domain: str, client_id: str, /, *scopes: str, expire: str = "", call: Called) -> None:
    """Show an access token of an OAuth client.

    Parameters
    ----------
    expire
        How long it shall be valid, such as 10m.
    """
    from inglenook.identity import commands

    instance = await call.instance(domain)
    call.put(await commands.oauth_token(instance, client_id, _scopes(call, scopes), expire=_seconds(expire)))


@app.command(name="refresh-token-oauth")
async def refresh_token_oauth(domain: str, client_id: str, /, *scopes: str, expire: str = "", call: Called) -> None:
    """Show a refresh token of an OAuth client; it has no end, whatever --expire says."""
    from inglenook.identity import commands

    instance = await call.instance(domain)
    _seconds(expire)
    call.put(await commands.oauth_refresh_token(instance, client_id, _scopes(call, scopes)))


@app.command(name="token-app")
async def token_app(domain: str, slug: str, /, *, expire: str = "", call: Called) -> None:
    """Show a token of a web app, good for half an hour."""
    from inglenook.identity import commands

    call.put(commands.app_token(await call.instance(domain), slug, expire=_seconds(expire)))


@app.command(name="token-konnector")
async def token_konnector(domain: str, slug: str, /, *, call: Called) -> None:
    """Show a token of a konnector."""
    from inglenook.identity import commands

    call.put(commands.konnector_token(await call.instance(domain), slug))


@app.command(name="token-cli")
async def token_cli(domain: str, /, *scopes: str, expire: str = "", call: Called) -> None:
    """Show a token of the command line."""
    from inglenook.identity import commands

    instance = await call.instance(domain)
    call.put(commands.cli_token(instance, _scopes(call, scopes), expire=_seconds(expire)))


def _scopes(call: Called, scopes: tuple[str, ...]) -> list[str]:
    words = " ".join(scopes).split()
    if not words:
        raise CommandFailed("Which scopes? For example io.cozy.files:GET io.cozy.contacts", 2)
    if any("," in word and ":" not in word for word in words):
        call.say("Warning: scopes are separated by spaces, a comma was found")
    return words


def _seconds(expire: str) -> float | None:
    if not expire:
        return None
    try:
        return read_duration(expire)
    except ValueError as error:
        raise CommandFailed(f"--expire {expire}: {error}", 2) from None


# -- showing


def _resource(instance: Instance) -> dict[str, Any]:
    return {"id": instance.id, "meta": {"rev": instance.rev}, "attributes": _shown(instance.doc)}


def _shown(doc: InstanceDoc) -> dict[str, Any]:
    return {**doc.public(), "indexes_version": INDEXES_VERSION, "db_prefix": doc.prefix}


def _field_names() -> list[str]:
    from inglenook.identity.instance import HIDDEN, InstanceDoc

    return [*sorted({*InstanceDoc.__struct_fields__, "indexes_version"} - HIDDEN), "db_prefix"]


def _onboarding(doc: InstanceDoc) -> str:
    if doc.onboarding_finished:
        return "onboarded"
    return "onboarding" if doc.register_token else "pending"


def _cell(value: Any) -> str:
    import msgspec

    return value if isinstance(value, str) else "" if value is None else msgspec.json.encode(value).decode()


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _pairs(text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for pair in _words(text):
        name, colon, value = pair.partition(":")
        if not colon:
            raise CommandFailed(f"--settings {pair}: write key:value,key:value", 2)
        pairs[name.strip()] = value.strip()
    return pairs
