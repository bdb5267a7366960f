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
