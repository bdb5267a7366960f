"""`inglenook apps …`: the web apps of an instance (spec/03 §16, spec/10 §3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from inglenook.cli.invocation import Called, CommandFailed, Flag
from inglenook.kernel.errors import DomainError

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance
    from inglenook.storage.documents.contract import Document, Reader

app = App(name="apps")

Domain = Annotated[str, Parameter(name="--domain", help="The instance; by default that of COZY_DOMAIN.")]
PAGE = 200


@app.command
async def install(
    slug: str,
    source: str = "",
    /,
    *,
    domain: Domain = "",
    all_domains: Flag = False,
    ask_permissions: Flag = False,
    call: Called,
) -> int:
    """Install a web app.

    SOURCE is file:///folder with a manifest, https://….tar.gz, builtin:, or registry://SLUG when a registry is
    configured; without it a built-in app is taken, else the registry.

    Parameters
    ----------
    all_domains
        In every instance of this server.
    ask_permissions
        Show what the app may do before it is installed.
    """
    from inglenook.apps import installing

    source = _source(call, source)
    if ask_permissions:
        instance = (await _instances(call, domain, everywhere=all_domains))[0]
        rights = await installing.asked_rights(instance, slug, source)
        for rule in rights.rules:
            call.say(f"- {rule.type}: {', '.join(rule.verbs) or 'everything'}  {rule.description}".rstrip())
        await call.confirm(f"Install {slug} with these rights?", force=False)

    async def one(instance: Instance) -> None:
        document = await installing.install(instance, slug, source)
        call.put(f"{slug} ({document.body['version']}) has been installed on {instance.domain}")

    return await _for_each(call, domain, one, everywhere=all_domains)


@app.command
async def update(
    slug: str,
    source: str = "",
    /,
    *,
    domain: Domain = "",
    all_domains: Flag = False,
    safe: Flag = False,
    call: Called,
) -> int:
    """Bring a web app up to date, from its source or from another one.

    Parameters
    ----------
    all_domains
        In every instance that has the app.
    safe
        Not when the new version asks for other rights or has other terms.
    """
    from inglenook.apps import documents, installing

    source = _source(call, source)

    async def one(instance: Instance) -> None:
        had = await instance.store.read(lambda view: documents.get(view, slug))
        if had is None and all_domains:
            return
        before = str(had.body.get("version")) if had else ""
        document = await installing.update(instance, slug, source, acknowledged=not safe)
        after = document.body["version"]
        word = installing.direction(before, after)
        if waiting := document.body.get("available_version"):
            call.say(f"{slug} {waiting} asks for other rights or has other terms: update without --safe to accept them")
        call.put(f"{slug} has been {word} to {after}" if word else f"{slug} is already up-to-date at {after}")

    return await _for_each(call, domain, one, everywhere=all_domains)


@app.command
async def uninstall(slug: str, /, *, domain: Domain = "", all_domains: Flag = False, call: Called) -> int:
    """Remove a web app.

    Parameters
    ----------
    all_domains
        From every instance that has the app.
    """
    from inglenook.apps import documents, installing

    async def one(instance: Instance) -> None:
        if all_domains and await instance.store.read(lambda view: documents.get(view, slug)) is None:
            return
        await installing.uninstall(instance, slug)
        call.put(f"{slug} has been uninstalled")

    return await _for_each(call, domain, one, everywhere=all_domains)


@app.command(name=["ls", "list"])
async def ls(*, domain: Domain = "", json: Flag = False, call: Called) -> None:
    """List the web apps of an instance.

    Parameters
    ----------
    json
        One object per line.
    """
    from inglenook.apps import documents

    instance = await call.instance(domain)
    rows: list[list[str]] = []
    start = ""
    while True:

        def read(view: Reader, start: str = start) -> list[Document]:
            return documents.page(view, start=start, limit=PAGE)

        page = await instance.store.scan(read)
        for document in page:
            if json:
                call.put_json_line(document.body)
            else:
                rows.append([str(document.body.get(name, "")) for name in ("slug", "source", "version", "state")])
        if len(page) < PAGE:
            break
        start = page[-1].id + "\x00"
    if not json:
        call.put_table(rows)


@app.command
async def show(slug: str, /, *, domain: Domain = "", json: Flag = False, call: Called) -> None:
    """Show a web app as JSON."""
    from inglenook.apps import documents

    instance = await call.instance(domain)
    document = await instance.store.read(lambda view: documents.find(view, slug))
    call.put_json(document.body)


def _source(call: Called, source: str) -> str:
    """The source, written as an address when it is a path: `./build`, `/srv/apps/mini.tar.gz`."""
    return call.path(source).resolve().as_uri() if source.startswith((".", "/", "~")) else source


async def _instances(call: Called, domain: str, *, everywhere: bool) -> list[Instance]:
    if not everywhere:
        return [await call.instance(domain)]
    if domain:
        raise CommandFailed("Give either --domain or --all-domains", 2)
    instances = call.runtime.instances
    found = [await instances.get(doc.domain) for doc in await instances.documents()]
    if not found:
        raise CommandFailed("There is no instance yet: inglenook instances add DOMAIN")
    return found


async def _for_each(
    call: Called, domain: str, action: Callable[[Instance], Awaitable[None]], *, everywhere: bool
) -> int:
    """Do something in one instance or in all of them, where one that fails does not stop the others; gives the exit
    code."""
    failed = 0
    for instance in await _instances(call, domain, everywhere=everywhere):
        try:
            await action(instance)
        except DomainError as error:
            if not everywhere:
                raise
            failed = 1
            call.say(f"Error: {instance.domain}: {error.detail}")
    return failed
