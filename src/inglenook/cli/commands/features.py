"""`inglenook features …`: the feature flags of an instance (spec/03 §16)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter

from inglenook.cli.invocation import Called, CommandFailed, Flag

app = App(name="features")

Domain = Annotated[str, Parameter(name="--domain", help="The instance; by default that of COZY_DOMAIN.")]


@app.command
async def flags(changes: str = "", /, *, domain: Domain = "", json: Flag = False, call: Called) -> None:
    """Show the flags of an instance, after setting those of CHANGES: a JSON object, where null takes a flag away.

    Parameters
    ----------
    json
        One object.
    """
    from inglenook.identity.creation import Wish, modify_instance
    from inglenook.identity.settings import flags as flags_of

    instance = await call.instance(domain)
    if changes:
        await modify_instance(instance, Wish(feature_flags=_object(changes)))
    shown = flags_of(instance)
    if json:
        call.put_json(shown)
        return
    for name in sorted(shown):
        call.put(f"- {name}: {msgspec.json.encode(shown[name]).decode()}")


def _object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        raise CommandFailed("The flags are not a JSON object, such as '{\"name\": true}'") from None
