"""`inglenook fix …`: mending what a change from outside has left behind (spec/03 §16, spec/12 §7.1)."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from inglenook.cli.invocation import Called, Flag

app = App(name="fix")

Domain = Annotated[str, Parameter(name="--domain", help="The instance; by default that of COZY_DOMAIN.")]


@app.command(name="sharings-moved")
async def sharings_moved(domain: str, /, *, call: Called) -> None:
    """After a change of domain: put the new address into all sharings, and tell their members."""
    from inglenook.moving import moved_address

    told = await moved_address.tell_everybody(await call.instance(domain))
    call.put("1 member will be told" if told == 1 else f"{told} members will be told")


@app.command(name="password-defined")
async def password_defined(domain: str, /, *, call: Called) -> None:
    """Note whether the owner has a passphrase, where that is not known."""
    import msgspec

    instance = await call.instance(domain)
    if instance.doc.password_defined is None:
        known = bool(instance.doc.passphrase_hash)
        await instance.registry.modify(instance, lambda doc: msgspec.structs.replace(doc, password_defined=known))
    call.put(f"password_defined is {'true' if instance.doc.password_defined else 'false'}")


@app.command
async def mime(domain: str, /, *, call: Called) -> None:
    """Give files the media type of their name, where they have the one for unknown contents or a wrong class."""
    from inglenook.files import mending

    mended = await mending.mend_media_types(await call.instance(domain))
    call.put("1 file was mended" if mended == 1 else f"{mended} files were mended")


@app.command
async def thumbnails(domain: str, /, *, call: Called) -> None:
    """Make the thumbnails that pictures lack."""
    from inglenook.files import mending

    made = await mending.make_missing_thumbnails(await call.instance(domain))
    call.put("1 file got its thumbnails" if made == 1 else f"{made} files got their thumbnails")


@app.command(name="contact-emails")
async def contact_emails(*, domain: Domain = "", call: Called) -> None:
    """Take what is around the mail addresses of contacts away: blanks, mailto:, a name and brackets."""
    from inglenook.contacts import mending

    mended = await mending.mend_addresses(await call.instance(domain))
    call.put("1 contact was mended" if mended == 1 else f"{mended} contacts were mended")


# -- what the reference has to mend, and cannot break here: scripts that run them all go on


@app.command
async def jobs(domain: str, /, *, call: Called) -> None:
    """Nothing to mend: there is no queue of jobs, and `inglenook jobs retry` tries again what waits."""
    await call.instance(domain)
    call.put("Nothing to mend: what waits to be done is a record of its own (inglenook jobs ls, inglenook jobs retry)")


@app.command(name="orphan-account")
async def orphan_account(domain: str, /, *, call: Called) -> None:
    """Nothing to mend: konnectors do not run here, so that no account can lose its own; accounts are kept."""
    await call.instance(domain)
    call.put("Nothing to mend: konnectors do not run on this server, and accounts are kept as they are")


@app.command(name="service-triggers")
async def service_triggers(domain: str, /, *, call: Called) -> None:
    """Nothing to mend: services of apps do not run here, and have no triggers."""
    await call.instance(domain)
    call.put("Nothing to mend: services of apps do not run on this server, and have no triggers")


@app.command
async def indexes(domain: str, /, *, call: Called) -> None:
    """Nothing to mend: an index is written together with the documents, and made anew when its form has changed."""
    await call.instance(domain)
    call.put("Nothing to mend: indexes are written together with the documents")


@app.command
async def redis(*, force: Flag = False, call: Called) -> None:
    """Nothing to mend: Redis carries wake-ups alone, and losing them loses nothing.

    Parameters
    ----------
    force
        Taken for scripts of the reference.
    """
    call.put("Nothing to mend: nothing is kept in Redis that would be missed")
