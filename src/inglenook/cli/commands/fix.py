"""`inglenook fix …`: mending what a change from outside has left behind (spec/03 §16, spec/12 §7.1)."""

from __future__ import annotations

from cyclopts import App

from inglenook.cli.invocation import Called

app = App(name="fix")


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
